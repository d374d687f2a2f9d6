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
from collections.abc import Hashable
from typing import NamedTuple

from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.planning.goals import Goal
from textagent_gym.envs.alfworld.planning.lower_bound import Estimate
from textagent_gym.envs.alfworld.planning.model import AbstractState, PlanningModel, Step

NODE_BUDGET = 20_000
"""States that a search may expand before it settles for a plan that need not be the shortest."""


MAX_KNOWN = 50_000
"""Answers that a planner keeps before it forgets them all, so that a task played for days takes no more memory."""


Answers = dict[Hashable, int | None]
"""Digest of a state -> steps that remain, or None where the goals cannot be done any more."""


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

    `remaining` is a function of the state alone, and falls by exactly one per step of `reference`. Where that plan is proved
    to be shortest, every answer is exact, whatever its search expands, and what was proved helps to prove more. Where it is
    not, an answer may be an upper bound; it is then found without the help of others, so that what was asked before never
    changes it.

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
        self._on_reference: Answers = {}
        start = self._model.abstract(facts)
        self.reference = self._plan(start)
        steps = self.reference.steps if self.reference is not None else ()
        for done, step in enumerate(steps):
            self._on_reference[self._model.digest(start)] = len(steps) - done
            start = self._model.after(start, step)
        self._is_exact = self.reference is not None and self.reference.is_shortest
        self._known = self._on_reference.copy()

    def remaining(self, facts: Facts) -> int | None:
        """Step of the plan from a state, 0 where all goals are done, None where they cannot be done any more."""
        return self.remaining_from(self.abstract(facts))

    def abstract(self, facts: Facts) -> AbstractState:
        """Return the part of a state that `remaining_from` reads; it does not follow later changes of the state."""
        return self._model.abstract(facts)

    def remaining_from(self, node: AbstractState) -> int | None:
        """Return the steps of the plan from the state with this part."""
        if len(self._known) > MAX_KNOWN:
            self._known = self._on_reference.copy()
        digest = self._model.digest(node)
        if digest not in self._known:
            known, budget = (self._known, math.inf) if self._is_exact else ({}, self._node_budget)
            found, closed = self._search(node, self.goals, budget, known)
            if not closed:
                plan = self._plan(node)
                return None if plan is None else len(plan.steps)
            self._keep(node, found)
        return self._known[digest]

    def plan(self, facts: Facts) -> Plan | None:
        """Return a plan from a state, None where the goals cannot be done any more."""
        return self._plan(self.abstract(facts))

    def _plan(self, start: AbstractState) -> Plan | None:
        """Return a shortest plan if the search closes within the budget, otherwise one goal after the other."""
        found, closed = self._search(start, self.goals, self._node_budget)
        if found is not None or closed:
            return None if found is None else Plan(tuple(found.steps), is_shortest=True)
        steps: list[Step] = []
        for number in range(1, len(self.goals) + 1):
            found, _ = self._search(start, self.goals[:number], self._node_budget)
            if found is None:
                return None
            for step in found.steps:
                start = self._model.after(start, step)
            steps += found.steps
        return Plan(tuple(steps), is_shortest=False)

    def _keep(self, node: AbstractState, found: _Found | None) -> None:
        """Keep the answer of a state, and those of the states on the way that was found."""
        self._known[self._model.digest(node)] = None if found is None else found.length
        if found is not None and self._is_exact:
            for done, step in enumerate(found.steps, start=1):
                node = self._model.after(node, step)
                self._known[self._model.digest(node)] = found.length - done

    def _bound(self, node: AbstractState, goals: tuple[Goal, ...], known: Answers | None) -> tuple[float, bool]:
        """Return a lower bound of the steps that remain, and whether a search may end here."""
        if known is None:
            return self._estimate.of(node, goals), not self._model.undone(node, goals)
        digest = self._model.digest(node)
        if digest in known:
            answer = known[digest]
            return (math.inf if answer is None else answer), True
        return self._estimate.of(node, goals), self._estimate.is_exact(node, goals)

    def _search(
        self, start: AbstractState, goals: tuple[Goal, ...], budget: float, known: Answers | None = None
    ) -> tuple[_Found | None, bool]:
        """Search by A* over trips.

        Args:
            start: Where to start.
            goals: All goals or the first of them.
            budget: States that the search may expand.
            known: Answers that are proved already. With them the search ends at the first state whose answer they hold or
                the estimate gives exactly; without, where all is done.

        Returns:
            What was found or None, and whether the search ended within the budget.
        """
        model = self._model
        costs = {start: 0}
        parents: dict[AbstractState, tuple[AbstractState, list[Step]]] = {}
        order = itertools.count()
        bound, is_end = self._bound(start, goals, known)
        queue = [(bound, 0, next(order), start, is_end)]
        expanded = 0
        while queue:
            bound, minus_cost, _, node, is_end = heapq.heappop(queue)
            cost = -minus_cost
            if cost > costs[node]:
                continue
            if bound == math.inf:
                break
            if is_end:
                return _Found(int(bound), _path(parents, node)), True
            expanded += 1
            self.num_expanded += 1
            if expanded > budget:
                return None, False
            for trip in model.trips(node, goals, at_start=node is start):
                after = node
                for step in trip:
                    after = model.after(after, step)
                total = cost + len(trip)
                if total < costs.get(after, math.inf):
                    costs[after] = total
                    parents[after] = node, trip
                    left, is_end = self._bound(after, goals, known)
                    after_bound = total + left
                    if is_end and after_bound <= bound:  # nothing else can take fewer steps
                        return _Found(int(after_bound), _path(parents, after)), True
                    heapq.heappush(queue, (after_bound, -total, next(order), after, is_end))
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
