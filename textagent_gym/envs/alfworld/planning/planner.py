"""Shortest plans for goals, from any state of a household.

Every receptacle can be reached from everywhere in one step and nothing has to be closed, so a shortest plan is a
sequence of short trips: go to a thing, open what it is in, take it, go and wash, heat or cool it, go to where it belongs,
open that, put it down. The search (A*) is over such trips. What it leaves out never helps: a thing that is in the hand
for a goal is not put down halfway (that costs two steps and saves at most one visit), and only the thing in hand
at the start may be put down anywhere. A test compares the plans with an exhaustive search over single actions.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Hashable
from typing import NamedTuple

from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.planning.goals import Goal
from textagent_gym.envs.alfworld.planning.lower_bound import Estimate
from textagent_gym.envs.alfworld.planning.model import AbstractState, PlanningModel, Step

NODE_BUDGET = 20_000
"""States that a search may expand before it settles for a plan that need not be the shortest."""


MAX_KNOWN = 50_000
"""Answers that a planner keeps before it forgets them all, so that a task played for days takes no more memory."""


class Plan(NamedTuple):
    """Steps that complete all goals.

    Attributes:
        steps: The actions.
        is_shortest: True if the search proved that there is no shorter plan.
    """

    steps: tuple[Step, ...]
    is_shortest: bool


class Planner:
    """Answers how many steps remain to complete all goals, from any state of one household.

    `remaining` is a function of the state alone, and falls by exactly one per step of `reference`. Proved answers are kept;
    an answer that is only an upper bound is found again each time, so that what was asked before never changes it.

    Args:
        facts: The initial state.
        goals: The goals.
        node_budget: States that one search may expand before it settles for one goal after the other.

    Attributes:
        goals: The goals.
        reference: The plan from the initial state, or None where there is none.
        num_expanded: States that were expanded so far, for measurements.
    """

    def __init__(self, facts: Facts, goals: tuple[Goal, ...], node_budget: int = NODE_BUDGET) -> None:
        self.goals = goals
        self._model = PlanningModel(facts, goals)
        self._estimate = Estimate(self._model)
        self._node_budget = node_budget
        self.num_expanded = 0
        self._known: dict[Hashable, int | None] = {}
        self._on_reference: dict[Hashable, int] = {}
        start = self._model.abstract(facts)
        self.reference = self._plan(start)
        steps = self.reference.steps if self.reference is not None else ()
        for done, step in enumerate(steps):
            self._on_reference[self._model.digest(start)] = len(steps) - done
            start = self._model.after(start, step)

    def remaining(self, facts: Facts) -> int | None:
        """Step of the plan from a state, 0 where all goals are done, None where they cannot be done any more."""
        return self.remaining_from(self.abstract(facts))

    def abstract(self, facts: Facts) -> AbstractState:
        """Return the part of a state that `remaining_from` reads; it does not follow later changes of the state."""
        return self._model.abstract(facts)

    def remaining_from(self, node: AbstractState) -> int | None:
        """Return the steps of the plan from the state with this part."""
        digest = self._model.digest(node)
        if digest in self._on_reference:
            return self._on_reference[digest]
        if len(self._known) > MAX_KNOWN:
            self._known = {}
        known = self._known
        if digest not in known:
            found, closed = self._search(node, self.goals, self._estimate.is_exact)
            if not closed:
                plan = self._plan(node)
                return None if plan is None else len(plan.steps)
            known[digest] = None if found is None else found.length
        return known[digest]

    def plan(self, facts: Facts) -> Plan | None:
        """Return a plan from a state, None where the goals cannot be done any more."""
        return self._plan(self.abstract(facts))

    def _plan(self, start: AbstractState) -> Plan | None:
        """Return a shortest plan if the search closes within the budget, otherwise one goal after the other."""
        found, closed = self._search(start, self.goals, self._is_done)
        if found is not None or closed:
            return None if found is None else Plan(tuple(found.steps), is_shortest=True)
        steps: list[Step] = []
        for number in range(1, len(self.goals) + 1):
            found, _ = self._search(start, self.goals[:number], self._is_done)
            if found is None:
                return None
            for step in found.steps:
                start = self._model.after(start, step)
            steps += found.steps
        return Plan(tuple(steps), is_shortest=False)

    def _is_done(self, node: AbstractState, goals: tuple[Goal, ...]) -> bool:
        return not self._model.undone(node, goals)

    def _search(
        self, start: AbstractState, goals: tuple[Goal, ...], arrived: Callable[[AbstractState, tuple[Goal, ...]], bool]
    ) -> tuple[_Found | None, bool]:
        """Search by A* over trips, to the first state that has `arrived` and from which the estimate is exact.

        Returns:
            What was found or None, and whether the search ended within the budget.
        """
        model = self._model
        costs = {start: 0}
        parents: dict[AbstractState, tuple[AbstractState, list[Step]]] = {}
        order = itertools.count()
        queue = [(self._estimate.of(start, goals), 0, next(order), start)]
        expanded = 0
        while queue:
            bound, minus_cost, _, node = heapq.heappop(queue)
            cost = -minus_cost
            if cost > costs[node]:
                continue
            if bound == math.inf:
                break
            if arrived(node, goals):
                return _Found(int(bound), _path(parents, node)), True
            expanded += 1
            self.num_expanded += 1
            if expanded > self._node_budget:
                return None, False
            for trip in model.trips(node, goals, at_start=node is start):
                after = node
                for step in trip:
                    after = model.after(after, step)
                total = cost + len(trip)
                if total < costs.get(after, math.inf):
                    costs[after] = total
                    parents[after] = node, trip
                    after_bound = total + self._estimate.of(after, goals)
                    if after_bound <= bound and arrived(after, goals):  # nothing else can take fewer steps
                        return _Found(int(after_bound), _path(parents, after)), True
                    heapq.heappush(queue, (after_bound, -total, next(order), after))
        return None, True


class _Found(NamedTuple):
    """The steps that remain, and those that lead to where the search ended."""

    length: int
    steps: list[Step]


def _path(parents: dict[AbstractState, tuple[AbstractState, list[Step]]], node: AbstractState) -> list[Step]:
    trips: list[list[Step]] = []
    while node in parents:
        node, trip = parents[node]
        trips.append(trip)
    return [step for trip in reversed(trips) for step in trip]
