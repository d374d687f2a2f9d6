"""State of a household: rows by predicate, found through indexes that follow every change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from textagent_gym.envs.alfworld.pddl.parser import Row

Index = dict[Any, set[Row]]
"""Rows by the argument, or the tuple of arguments, at some positions."""

Mark = tuple[frozenset[Row], ...]
"""The rows of all fluent predicates at some moment."""


_NO_ROWS: set[Row] = set()


class Facts:
    """The true atoms of one state. Predicates that never change share their rows with the state they were copied from.

    Args:
        rows: Predicate -> rows that hold.
        fluents: Predicates that may change, in the order in which a mark lists them.

    Attributes:
        table: Predicate -> its rows; not to be changed but by `add` and `remove`.
        changed: Predicates that have changed since who reads this last cleared it.
    """

    def __init__(self, rows: Mapping[str, Iterable[Row]], fluents: tuple[str, ...]) -> None:
        self.fluents = fluents
        self.table: dict[str, set[Row]] = {name: set(found) for name, found in rows.items()}
        self._static_indexes: dict[tuple[str, tuple[int, ...]], Index] = {}
        self._start_again({})

    def _start_again(self, changing: dict[str, set[Row]]) -> None:
        self.changed: set[str] = set(self.fluents)
        self.table = {**self.table, **{name: changing.get(name, self.table.get(name, set())) for name in self.fluents}}
        self._indexes: dict[tuple[str, tuple[int, ...]], Index] = {}
        self._following: dict[str, list[tuple[tuple[int, ...], Index]]] = {name: [] for name in self.fluents}

    def copy(self) -> Facts:
        """Return the facts that change, apart from these."""
        other = object.__new__(Facts)
        other.fluents, other.table, other._static_indexes = self.fluents, self.table, self._static_indexes
        other._start_again({name: set(self.table[name]) for name in self.fluents})
        return other

    def rows(self, predicate: str) -> set[Row]:
        """Return the rows of a predicate; not to be changed."""
        return self.table.get(predicate, _NO_ROWS)

    def holds(self, predicate: str, *arguments: str) -> bool:
        """Return whether one atom is true."""
        return arguments in self.rows(predicate)

    def index(self, predicate: str, positions: tuple[int, ...]) -> Index:
        """Return the rows of a predicate by their arguments at `positions` (one argument where there is one position)."""
        key = predicate, positions
        shared = predicate not in self._following
        indexes = self._static_indexes if shared else self._indexes
        found = indexes.get(key)
        if found is None:
            found = {}
            for row in self.rows(predicate):
                found.setdefault(_key(row, positions), set()).add(row)
            indexes[key] = found
            if not shared:
                self._following[predicate].append((positions, found))
        return found

    def add(self, predicate: str, row: Row) -> None:
        """Make a fluent atom true."""
        self.changed.add(predicate)
        self.table[predicate].add(row)
        for positions, index in self._following[predicate]:
            index.setdefault(_key(row, positions), set()).add(row)

    def remove(self, predicate: str, row: Row) -> None:
        """Make a fluent atom false."""
        rows = self.table[predicate]
        if row in rows:
            self.changed.add(predicate)
            rows.remove(row)
            for positions, index in self._following[predicate]:
                key = _key(row, positions)
                index[key].remove(row)
                if not index[key]:
                    del index[key]

    def mark(self) -> Mark:
        """Return the present values of everything that can change."""
        return tuple(frozenset(self.table[name]) for name in self.fluents)

    def go_to(self, mark: Mark) -> None:
        """Make true what was true at `mark`, and nothing else of what can change."""
        for name, wanted in zip(self.fluents, mark, strict=True):
            present = self.table[name]
            for row in present - wanted:
                self.remove(name, row)
            for row in wanted - present:
                self.add(name, row)


def _key(row: Row, positions: tuple[int, ...]) -> Any:
    return row[positions[0]] if len(positions) == 1 else tuple(row[position] for position in positions)
