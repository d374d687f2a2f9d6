"""Quests sampled as textworld samples them, without the work that it throws away.

`sample_chain` returns what `textworld.generator.chaining.sample_quest` (textworld 1.7) returns for the same options and
generator state, for chains of breadth one; the tests compare them. Of all continuations of a chain textworld tries every
one and then follows the last; this file tries them from the last and stops at the first that holds. Most candidates are
seen to be of no use by names alone, and whether a state respects the knowledge base's constraints is found by joining plain
tuples, from the facts that are new.

This module imports textworld: import it from inside functions, after `packages.import_textworld`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, combinations, product
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from textworld.generator.chaining import Chain, ChainingOptions, QuestGenerationError, _Chainer, _Node
from textworld.logic import Action, Placeholder, Proposition, Rule, Signature, State, Variable

from textagent_gym.envs.textworld.world.grounding import Atom, Fact, FactTable, as_fact, atoms_of, subtypes


def sample_chain(state: State, options: ChainingOptions, node_budget: int | None = None) -> Chain:
    """Return a chain of exactly `options.max_length` actions that ends in `state`.

    Args:
        state: The world at the end of the chain.
        options: textworld's options, with a generator.
        node_budget: Nodes that may be expanded; None for no limit.

    Raises:
        QuestGenerationError: No such chain exists, or none was found within the budget.
    """
    chainer = _LazyChainer(state, options)
    stack = [chainer.continuations(chainer.root())]
    num_expanded = 1
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        elif node.length == options.max_length:
            return chainer.make_chain(node)
        else:
            stack.append(chainer.continuations(node))
            num_expanded += 1
            if node_budget is not None and num_expanded > node_budget:
                break
    raise QuestGenerationError(f"no quest of {options.max_length} actions fits this map")


class _Candidate(NamedTuple):
    """An action that may come before a chain: a rule and what stands in its places, None for what is still to be made."""

    rule: Rule
    mapping: dict[Placeholder, Variable | None]


class _Block:
    """Candidates of one rule with the same places still to be made, in textworld's order; made when one is asked for.

    Args:
        rule: Rule.
        fixed: Places that are filled in every candidate, and those that are still to be made.
        choices: Other place -> what may stand in it, both sorted; two places never hold the same.
    """

    def __init__(
        self, rule: Rule, fixed: dict[Placeholder, Variable | None], choices: dict[Placeholder, list[Variable]]
    ) -> None:
        self.rule, self._fixed, self._choices = rule, fixed, choices
        self._rows: list[tuple[Variable, ...]] | None = None

    def __len__(self) -> int:
        pools = [set(pool) for pool in self._choices.values()]
        if all(first.isdisjoint(second) for first, second in combinations(pools, 2)):
            return math.prod(map(len, pools))
        return len(self._all_rows())

    def candidate(self, number: int) -> _Candidate:
        """Return one candidate."""
        return _Candidate(self.rule, {**self._fixed, **dict(zip(self._choices, self._all_rows()[number], strict=True))})

    def _all_rows(self) -> list[tuple[Variable, ...]]:
        if self._rows is None:
            self._rows = [row for row in product(*self._choices.values()) if len(set(row)) == len(row)]
        return self._rows


class _LazyChainer(_Chainer):  # type: ignore[misc]
    def __init__(self, state: State, options: ChainingOptions) -> None:
        super().__init__(state, options)
        self._types = subtypes(options.kb)
        self._forbidden: dict[str, list[tuple[list[Atom], int]]] = {}
        for rule in self.constraints:
            atoms = atoms_of(rule.preconditions)
            for position, atom in enumerate(atoms):
                self._forbidden.setdefault(atom[0], []).append((atoms, position))
        self._added_names: dict[Rule, frozenset[str]] = {}

    def continuations(self, node: _Node) -> Iterator[_Node]:
        """Yield the nodes that may follow `node`, in the order in which textworld would explore them."""
        blocks = self._blocks(node.state, self.options.get_rules(node.depth))
        starts = [0, *accumulate(map(len, blocks))]
        order = np.arange(starts[-1])
        self.rng.shuffle(order)
        wanted = self._wanted_names(node)
        useful = [wanted is None or self._may_add(block.rule, wanted) for block in blocks]
        table = self._table(node.state)
        for number in reversed(order.tolist()):
            place = bisect_right(starts, number) - 1
            if not useful[place]:
                continue
            candidate = blocks[place].candidate(number - starts[place])
            action = self.try_instantiate(node.state, candidate)
            if action is None or not self.check_action(node, node.state, action):
                continue
            state = self._before(node, action, table)
            if state is not None:
                yield _Node(node, node, state, action, [], {action}, node.breadth)

    def _blocks(self, state: State, rules: Iterable[Rule]) -> list[_Block]:
        """Return every candidate, sorted by rule, missing places and filled ones, which is textworld's own order."""
        here = next(iter(state.facts_with_signature(Signature("at", ["P", "r"]))), None)
        blocks = []
        for rule in sorted((forward.inverse() for forward in rules), key=attrgetter("name")):
            fixed = self.get_fixed_mapping(rule, here)
            places = sorted((place for place in rule.placeholders if place not in fixed), key=_name_and_type)
            taken = set(fixed.values())
            pools = {place: sorted(self._known(state, place.type) - taken, key=_name_and_type) for place in places}
            new = [place for place in places if self._may_be_new(state, place.type)]
            missing = [subset for size in range(len(new) + 1) for subset in combinations(new, size)]
            for absent in sorted(missing, key=lambda subset: list(map(_name_and_type, subset))):
                choices = {place: pools[place] for place in places if place not in absent}
                block = _Block(rule, {**fixed, **dict.fromkeys(absent)}, choices)
                if len(block):
                    blocks.append(block)
        return blocks

    def _known(self, state: State, kind: str) -> set[Variable]:
        return set().union(*(state.variables_of_type(name) for name in self._types[kind]))

    def _may_be_new(self, state: State, kind: str) -> bool:
        return bool(self.options.check_new_variable(state, kind, len(state.variables_of_type(kind))))

    def _wanted_names(self, node: _Node) -> set[str] | None:
        """Names of the facts of which an action must add one to be of use to the next that is no walk; None for any.

        A quick test of what `check_action` asks for, by names alone.
        """
        if node.action is None:
            return None
        names = {atom.name for atom in node.action.inverse().preconditions}
        while node.action is not None and self._is_navigation(node.action):
            node = node.parent
            if node.action is not None:
                names |= {atom.name for atom in node.action.inverse().preconditions}
        return names if node.action is not None else None

    def _may_add(self, rule: Rule, wanted: set[str]) -> bool:
        if rule not in self._added_names:
            forward = rule.inverse()
            kept = set(forward.preconditions)
            self._added_names[rule] = frozenset(p.name for p in forward.postconditions if p not in kept)
        return self._is_navigation(rule) or not wanted.isdisjoint(self._added_names[rule])

    def _before(self, node: _Node, action: Action, table: FactTable) -> State | None:
        """Return the state from which `action` leads to the node's, or None where there is none."""
        state = node.state.copy()
        needed = [prop for prop in action.preconditions if not state.is_fact(prop)]
        for prop in needed:
            state.add_fact(prop)
        if self._breaks(state, table, added=needed, removed=[]):
            return None
        state.apply(action)
        gone = [prop for prop in action.removed if not state.is_fact(prop)]
        added = [prop for prop in (*needed, *action.added) if state.is_fact(prop)]
        if self._breaks(state, table, added=added, removed=gone) or self._returns(node, action, state):
            return None
        return state

    def _breaks(self, state: State, table: FactTable, *, added: list[Proposition], removed: list[Proposition]) -> bool:
        """Return whether a constraint matches the table's facts with some added and some removed.

        The table's own facts match none, so a match must read one that was added.
        """
        new = [fact for fact in dict.fromkeys(map(as_fact, added)) if fact not in table]
        old = [fact for fact in map(as_fact, removed) if fact in table]
        for entity in state.variables:
            table.know(entity.name, entity.type)
        for fact in old:
            table.discard(fact)
        for fact in new:
            table.add(fact)
        broken = any(self._is_forbidden(fact, table) for fact in new)
        for fact in new:
            table.discard(fact)
        for fact in old:
            table.add(fact)
        return broken

    def _is_forbidden(self, fact: Fact, table: FactTable) -> bool:
        for atoms, position in self._forbidden.get(fact[0], ()):
            start = table.unify(atoms[position], fact, {})
            if (
                start is not None
                and next(table.join(atoms[:position] + atoms[position + 1 :], start), None) is not None
            ):
                return True
        return False

    def _returns(self, node: _Node, action: Action, state: State) -> bool:
        """Return whether the chain has been in `state` before."""
        past = state.copy()
        past.apply(action.inverse())
        while node.action:
            past.apply(node.action.inverse())
            if state == past:
                return True
            node = node.parent
        return False

    def _table(self, state: State) -> FactTable:
        table = FactTable({entity.name: entity.type for entity in state.variables}, self._types)
        for fact in state.facts:
            table.add(as_fact(fact))
        return table


def _name_and_type(entity: Placeholder | Variable) -> tuple[str, str]:
    return entity.name, entity.type
