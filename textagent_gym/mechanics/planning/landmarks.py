"""Operators that every plan contains, and those of them that may as well come first.

A landmark is an operator that every plan from a state contains (Porteous, Sebastia and Hoffmann 2001). The number of
landmarks that are still to be done, and the walk to the places where they can be done, are a lower bound on the steps that
remain. A landmark that no other operator can spoil, and that spoils no other, can come first (a stubborn set of one
operator; Valmari 1989), so that a search need not try anything else where it applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from textagent_gym.mechanics.planning.problem import Operator, Problem, bits, union

UNREACHABLE = 1 << 30
"""Length of a walk that does not exist."""

MAX_STOPS = 6
"""Places that the bound on a walk visits; the nearest of more are left out."""


@dataclass(slots=True)
class Landmarks:
    """Landmarks of a state, as bit masks of the operators' numbers.

    Attributes:
        needed: Operators that every plan contains.
        possible: Operators that come to apply when nothing is ever deleted.
        missing: Facts that do not hold.
        wins: Masks that may complete a goal.
        first: Those that can come first in some shortest plan, wherever they apply before they were done, as far as asked.
        later: Those for which this is not known to hold.
    """

    needed: int
    possible: int
    missing: int
    wins: tuple[int, ...]
    first: int = 0
    later: int = 0


class LandmarkFinder:
    """Finds landmarks and the bound that they give.

    Args:
        problem: Problem.
        operators: Operators that a shortest plan may need; an operator's number is its place in this sequence.
    """

    def __init__(self, problem: Problem, operators: Sequence[Operator]) -> None:
        self._problem, self._operators = problem, operators
        self._pivot = problem.pivot
        self._fails = union(mask for goal in problem.goals for mask in goal.fails)
        self._rows = _by_layer(problem, [(op.needs, op.adds, 1 << number) for number, op in enumerate(operators)])
        self._adders = _by_fact(op.adds for op in operators)
        self._deleters = _by_fact(op.deletes for op in operators)
        self._users = _by_fact(op.needs for op in operators)
        self._conflicts: dict[int, int] = {}
        self._distances = _distances(problem, operators)
        self._found: dict[int, tuple[int, Landmarks | None]] = {}
        self._there = tuple((place, self._users.get(place, 0)) for place in bits(problem.pivot))
        self._places: dict[int, int] = {}
        self._walks: dict[tuple[int, int], int] = {}

    def landmarks(self, state: int) -> Landmarks | None:
        """Return the landmarks of a state, or None where even a plan that never deletes a fact does not win.

        What was found at one pivot serves at every pivot that can be reached from it.
        """
        elsewhere = state & ~self._pivot
        reached, found = self._found.get(elsewhere, (0, None))
        if not reached or state & self._pivot & ~reached:
            facts, possible = self._relaxed(state)
            found = self._find(state, facts, possible)
            self._found[elsewhere] = facts & self._pivot or 1, found
        return found

    def lower_bound(self, state: int, needed: int) -> int:
        """Return a lower bound on the steps from `state` of a plan that contains the operators in `needed`.

        `UNREACHABLE` or more where there is none.
        """
        places = self._places.get(needed)
        if places is None:
            places = self._places[needed] = union(place for place, there in self._there if there & needed)
        here = state & self._pivot
        walk = self._walks.get((here, places))
        return needed.bit_count() + (self._walk(here, places) if walk is None else walk)

    def _relaxed(self, state: int) -> tuple[int, int]:
        """Return the facts that come true when nothing is ever deleted, and the operators that come to apply."""
        facts, possible, waiting = state, 0, self._rows
        while True:
            blocked = []
            for row in waiting:
                needs, adds, bit = row
                if needs & ~facts:
                    blocked.append(row)
                else:
                    facts |= adds
                    possible |= bit
            if len(blocked) == len(waiting):
                return facts, possible
            waiting = blocked

    def _find(self, state: int, facts: int, possible: int) -> Landmarks | None:
        goals = [goal for goal in self._problem.goals if goal.wins and not state & goal.latch]
        wanted = 0
        for goal in goals:
            reachable = [mask for mask in goal.wins if not mask & ~facts]
            if not reachable:
                return None
            wanted |= _intersection(reachable)
        needed, done = 0, state | self._pivot
        wanted &= ~done
        while wanted:
            fact = wanted & -wanted
            done |= fact
            adders = self._adders[fact] & possible
            if adders & adders - 1:
                wanted |= _intersection(self._operators[number].needs for number in numbers(adders))
            else:
                only = self._operators[adders.bit_length() - 1]
                wanted |= only.needs
                if not only.adds & self._pivot:
                    needed |= adders
            wanted &= ~done
        return Landmarks(needed, possible, ~state, tuple(mask for goal in goals for mask in goal.wins))

    def can_come_first(self, number: int, landmarks: Landmarks) -> bool:
        """Return whether a landmark can be moved to the front of any plan from a state in which it applies.

        What comes before it in the plan must not need what it deletes, nor delete what it adds. Operators and goals that
        need a fact that it alone adds come after it in every plan.
        """
        bit = 1 << number
        if not (landmarks.first | landmarks.later) & bit:
            if self._can_come_first(number, landmarks):
                landmarks.first |= bit
            else:
                landmarks.later |= bit
        return bool(landmarks.first & bit)

    def _can_come_first(self, number: int, landmarks: Landmarks) -> bool:
        op, possible, alone = self._operators[number], landmarks.possible, 0
        if (op.adds | op.deletes) & self._fails:
            return False
        conflicts = self._conflicts.get(number)
        if conflicts is None:
            conflicts = self._conflicts[number] = self._conflicts_of(number)
        for fact in bits(op.adds & landmarks.missing):
            if self._adders[fact] & possible == 1 << number:
                alone |= fact
                conflicts &= ~self._users.get(fact, 0)
        return not conflicts & possible and all(mask & alone for mask in landmarks.wins if mask & op.deletes)

    def _conflicts_of(self, number: int) -> int:
        op = self._operators[number]
        rivals = union(self._users.get(fact, 0) for fact in bits(op.deletes))
        return (rivals | union(self._deleters.get(fact, 0) for fact in bits(op.adds))) & ~(1 << number)

    def _walk(self, here: int, places: int) -> int:
        """Return the length of the shortest walk from `here` to all of `places`, in any order, with every way open."""
        known = self._walks.get((here, places))
        if known is not None:
            return known
        distances, shortest = self._distances.get(here, {}), UNREACHABLE
        stops = sorted(bits(places & ~here), key=lambda place: -distances.get(place, UNREACHABLE))[:MAX_STOPS]
        left = union(stops)
        for place in stops:
            shortest = min(shortest, distances.get(place, UNREACHABLE) + self._walk(place, left & ~place))
        self._walks[here, places] = shortest if stops else 0
        return self._walks[here, places]


def _intersection(masks: Iterable[int]) -> int:
    common = -1
    for mask in masks:
        common &= mask
    return common


def numbers(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits of a mask, lowest first."""
    while mask:
        bit = mask & -mask
        yield bit.bit_length() - 1
        mask ^= bit


def _by_fact(masks: Iterable[int]) -> dict[int, int]:
    """Return fact -> bits of the numbers of the masks that hold it."""
    found: dict[int, int] = {}
    for number, mask in enumerate(masks):
        for fact in bits(mask):
            found[fact] = found.get(fact, 0) | 1 << number
    return found


def _by_layer(problem: Problem, rows: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return rows of needs, adds and bit in the order in which they come to apply from the start, without deletions."""
    facts, ordered, waiting = problem.initial, [], rows
    while waiting:
        ready = [row for row in waiting if not row[0] & ~facts]
        ordered += ready or waiting
        waiting = [row for row in waiting if row[0] & ~facts] if ready else []
        facts |= union(row[1] for row in ready)
    return ordered


def _distances(problem: Problem, operators: Sequence[Operator]) -> dict[int, dict[int, int]]:
    """Return pivot -> pivot -> steps of the shortest walk, with every way open."""
    ways: dict[int, int] = dict.fromkeys(bits(problem.pivot), 0)
    for op in operators:
        arrivals = op.adds & problem.pivot
        for pivot in bits(op.needs & problem.pivot or problem.pivot) if arrivals else ():
            ways[pivot] |= arrivals
    distances = {}
    for start in ways:
        found = {start: 0}
        queue = [start]
        for place in queue:
            for way in bits(ways[place]):
                if way not in found:
                    found[way] = found[place] + 1
                    queue.append(way)
        distances[start] = found
    return distances
