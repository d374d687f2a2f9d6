"""The steps that remain from any state of a problem."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from textagent_gym.mechanics.planning.problem import Operator, Plan, Problem
from textagent_gym.mechanics.planning.search import Answers, ShortestPath


class Planner:
    """Answers how many steps remain to win from any state of one problem.

    `remaining` is a function of the state alone. Along `reference`, the plan from the initial state, it falls by exactly
    one per step. Where that plan is proved to be shortest, every answer is the exact distance, and what was proved helps to
    prove more. Where it is not, an answer may be an upper bound; it is then found without the help of other answers, so that
    what was asked before never changes it. Nothing is searched before the first question.

    Args:
        problem: What to solve.
        node_budget: States that a search may expand before it gives up proving and settles for some plan; without effect
            once the reference is proved.
        reference: The plan from the initial state where it is known from before.
    """

    def __init__(self, problem: Problem, node_budget: int = 100_000, reference: Plan | None = None) -> None:
        self.problem = problem
        self.node_budget = node_budget
        self._given = reference
        self._proved: Answers = {}

    @cached_property
    def reference(self) -> Plan | None:
        """The plan from the initial state; None where the search ended without one."""
        return self._given or self._plan(self.problem.initial, self._proved)

    def remaining(self, state: int) -> int | None:
        """Return the steps of the plan from `state` (0 when won), or None where the game cannot be won any more."""
        problem = self.problem
        if state & problem.lost:
            return None
        if state & problem.won == problem.won:
            return 0
        if state == problem.initial and self.reference is not None:
            return self.reference.length
        answers = self._answers
        state &= self._search.relevant
        if state not in answers:
            if self._is_exact:
                self._search.count(state, answers)
            else:
                plan = self._plan(state, {})
                answers[state] = None if plan is None else plan.length
        return answers[state]

    def plan(self, state: int) -> Plan | None:
        """Return a plan from `state`: shortest where the search closes within the budget.

        Of several shortest plans it is the one whose first operator comes first among the problem's, and so on. Past the
        budget it completes the goals one after the other, nearest first; such a plan is valid but marked as not proved.
        None where the game is lost, or where every search ended without a plan.
        """
        return self._plan(state, self._answers if self._is_exact else {})

    def prepare(self) -> None:
        """Do what the first question would do before it searches."""
        _ = self._answers

    @property
    def num_expanded(self) -> int:
        """States that were expanded so far, for measurements."""
        return self._search.num_expanded

    @cached_property
    def _search(self) -> ShortestPath:
        return ShortestPath(self.problem)

    @cached_property
    def _is_exact(self) -> bool:
        return self.reference is not None and self.reference.is_shortest

    @cached_property
    def _answers(self) -> Answers:
        """Answers by relevant facts; those along the reference to begin with."""
        answers = self._proved if self._is_exact else {}
        if self.reference is not None:
            state = self.problem.initial
            for done, operator in enumerate(self.reference.operators):
                answers[state & self._search.relevant] = self.reference.length - done
                state = self.problem.successor(state, operator)
        return answers

    def _plan(self, state: int, proved: Answers) -> Plan | None:
        if self.problem.is_lost(state):
            return None
        state &= self._search.relevant
        operators: list[Operator] = []
        if self._steps(state, proved) is not None:
            while not self.problem.is_won(state):
                operator, state = self._next(state, proved)
                operators.append(operator)
            return Plan(tuple(operators), is_shortest=True)
        if state in proved:
            return None
        while not self.problem.is_won(state):
            path = self._search.nearest_goal(state, self.node_budget)
            if path is None:
                return None
            for operator in path:
                state = self.problem.successor(state, operator) & self._search.relevant
            operators += path
        return Plan(tuple(operators), is_shortest=False)

    def _next(self, state: int, proved: Answers) -> tuple[Operator, int]:
        """Return the first operator of a shortest plan from `state`, whose steps are proved, and the state after it."""
        left = (self._steps(state, proved) or 0) - 1
        for operator in self._search.operators[state & self.problem.pivot]:
            if state & operator.needs == operator.needs:
                after = self.problem.successor(state, operator) & self._search.relevant
                if not self.problem.is_lost(after) and self._steps(after, proved) == left:
                    return operator, after
        raise AssertionError("expected an operator that leads on, got none")

    def _steps(self, state: int, proved: Answers) -> int | None:
        """Return the steps to win where `proved` has them or the search closes within the budget; None otherwise."""
        if self.problem.is_won(state):
            return 0
        if state not in proved:
            self._search.count(state, proved, self.node_budget)
        return proved.get(state)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return problem, budget and reference; the rest is found again."""
        return Planner, (self.problem, self.node_budget, self.__dict__.get("reference", self._given))
