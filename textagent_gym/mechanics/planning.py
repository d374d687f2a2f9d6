"""Shortest plans over states that are bit masks of facts; knows nothing of any domain.

A domain grounds its rules into `Operator`s and its quests into `Goal`s, and asks a `Planner` how many steps remain.
Every search limit counts expanded states, never time, so an answer is the same on every machine.

Two facts make exhaustive search cheap here. Preconditions are positive, so a state that holds more facts allows more:
an operator whose only use is to be undone can be left out (`useful_operators`). And in a text game nearly every other
operator moves the quest forward for good, so the states that are left are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operator:
    """One grounded action (STRIPS): applicable where all of `needs` hold, removes `deletes`, then adds `adds`.

    Attributes:
        name: The command that performs it.
        needs: Bit mask of the facts that must hold.
        adds: Bit mask of the facts that it makes true and that it did not need.
        deletes: Bit mask of the facts that it makes false.
    """

    name: str
    needs: int
    adds: int
    deletes: int


@dataclass(frozen=True, slots=True)
class Goal:
    """A quest: completed for good once any mask of `wins` holds, lost for good once any mask of `fails` holds.

    Attributes:
        latch: The single bit that records completion; a bit of the state like any fact.
        wins: Alternative bit masks, each a conjunction of facts.
        fails: Alternative bit masks, each a conjunction of facts; checked before `wins`, and never after completion.
    """

    latch: int
    wins: tuple[int, ...]
    fails: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A sequence of operators that wins, and whether the search proved that none is shorter."""

    operators: tuple[Operator, ...]
    is_shortest: bool

    @property
    def length(self) -> int:
        """Number of operators, which is the number of steps."""
        return len(self.operators)


class Problem:
    """An initial state, operators, and goals that latch.

    Args:
        initial: Facts that hold at the start, before any goal was looked at.
        operators: All grounded operators, in the order in which ties are broken.
        goals: Quests; all that can be won must be won.
        lost: The single bit that records a lost game.
        pivot: Facts of which exactly one holds in every state (where the player is), used to index operators; 0 where
            there is no such group.
    """

    def __init__(
        self, *, initial: int, operators: Sequence[Operator], goals: Sequence[Goal], lost: int, pivot: int = 0
    ) -> None:
        self.operators = tuple(operators)
        self.goals = tuple(goals)
        self.lost = lost
        self.pivot = pivot
        self.won = _union(goal.latch for goal in self.goals if goal.wins)
        self._latches = self.lost | _union(goal.latch for goal in self.goals)
        self._watched = _union(mask for goal in self.goals for mask in (*goal.wins, *goal.fails))
        self.initial = self._judge(initial)
        self._by_pivot = _index(self.operators, pivot)

    def applicable(self, state: int) -> list[Operator]:
        """Return the operators whose needs hold in `state`, in their given order."""
        return [op for op in self._by_pivot.get(state & self.pivot, ()) if state & op.needs == op.needs]

    def successor(self, state: int, operator: Operator) -> int:
        """Return the state after `operator`, goals evaluated; `operator` must be applicable."""
        after = state & ~operator.deletes | operator.adds
        # Goals are conjunctions of facts that hold, so only a new fact can settle one.
        return self._judge(after) if operator.adds & self._watched else after

    def is_won(self, state: int) -> bool:
        """Return whether every goal that can be won is completed and the game is not lost."""
        return state & self.won == self.won and not self.is_lost(state)

    def is_lost(self, state: int) -> bool:
        """Return whether a goal failed before it was completed."""
        return bool(state & self.lost)

    def evaluate_goals(self, facts: int, previous: int) -> int:
        """Return the state that holds `facts`, keeping what was latched in `previous`.

        For engines that report the world's facts but not which quests were completed on the way.
        """
        return self._judge(facts | previous & self._latches)

    def _judge(self, state: int) -> int:
        for goal in self.goals:
            if state & goal.latch:
                continue
            for mask in goal.fails:
                if state & mask == mask:
                    state |= self.lost
                    break
            else:
                for mask in goal.wins:
                    if state & mask == mask:
                        state |= goal.latch
                        break
        return state


class Planner:
    """Answers how many steps remain to win from any state of one problem.

    `remaining` is a function of the state alone. Along `reference`, the plan from the initial state, it falls by exactly
    one per step. Proved answers are kept; an answer that is only an upper bound is found again each time, so that what
    was asked before never changes it.

    Args:
        problem: Problem to solve.
        node_budget: States that one search may expand before it gives up proving and settles for some plan.
    """

    def __init__(self, problem: Problem, node_budget: int = 100_000) -> None:
        self.problem = problem
        self.node_budget = node_budget
        self._useful = useful_operators(problem, problem.operators)
        self._relevant = _relevant_facts(problem, self._useful)
        self._reachable: dict[int, tuple[int, dict[int, list[Operator]]]] = {}
        self._proved: dict[int, int | None] = {}
        self.reference = self.plan(problem.initial)
        self._reference_remaining: dict[int, int] = {}
        if self.reference is not None:
            state, length = problem.initial, self.reference.length
            for done, operator in enumerate(self.reference.operators):
                self._reference_remaining[state & self._relevant] = length - done
                state = problem.successor(state, operator)

    def remaining(self, state: int) -> int | None:
        """Return the steps of the plan from `state` (0 when won), or None where the game cannot be won any more."""
        if self.problem.is_won(state):
            return 0
        relevant = state & self._relevant
        known = self._reference_remaining.get(relevant)
        if known is not None:
            return known
        if relevant not in self._proved:
            plan = self.plan(state)
            if plan is not None and not plan.is_shortest:
                return plan.length
            if plan is None:
                self._proved[relevant] = None
            else:
                for done, operator in enumerate(plan.operators):
                    self._proved[state & self._relevant] = plan.length - done
                    state = self.problem.successor(state, operator)
        return self._proved[relevant]

    def plan(self, state: int) -> Plan | None:
        """Return a plan from `state`: shortest where the search closes within the budget.

        Past the budget it completes the goals one after the other, nearest first, each by a separate search; such a
        plan is valid but marked as not proved. None where the game is lost, or where every search ended without a plan.
        """
        if self.problem.is_lost(state):
            return None
        state &= self._relevant
        path, closed = self._search(state, self.problem.won, self.node_budget)
        if path is not None or closed:
            return None if path is None else Plan(tuple(path), is_shortest=True)
        operators: list[Operator] = []
        while not self.problem.is_won(state):
            path, _ = self._search(state, 0, self.node_budget)
            if path is None:
                return None
            for operator in path:
                state = self.problem.successor(state, operator)
            operators += path
        return Plan(tuple(operators), is_shortest=False)

    def _operators_from(self, state: int) -> dict[int, list[Operator]]:
        """Return the operators that a shortest plan from `state` may need, by pivot.

        Those that can come to apply when nothing is ever deleted; and of these the useful ones, for what cannot be
        reached makes nothing useful. What was found at one pivot serves at every pivot that it reaches.
        """
        pivot = self.problem.pivot
        reached_pivots, by_pivot = self._reachable.get(state & ~pivot, (0, {}))
        if pivot and state & reached_pivots:
            return by_pivot
        waiting, num_before, facts = list(self._useful), 0, state
        while len(waiting) != num_before:
            num_before = len(waiting)
            blocked = []
            for op in waiting:
                if facts & op.needs == op.needs:
                    facts |= op.adds
                else:
                    blocked.append(op)
            waiting = blocked
        reached = [op for op in self._useful if facts & op.needs == op.needs]
        by_pivot = _index(useful_operators(self.problem, reached), pivot)
        self._reachable[state & ~pivot] = facts & pivot, by_pivot
        return by_pivot

    def _search(self, start: int, target: int, budget: int) -> tuple[list[Operator] | None, bool]:
        """Breadth-first from `start` until all bits of `target` hold (any further goal where it is 0).

        Returns:
            The operators of a shortest path or None, and whether the space was closed within the budget.
        """
        problem, lost, relevant = self.problem, self.problem.lost, self._relevant
        latched = start & problem.won

        def arrived(state: int) -> bool:
            return state & target == target if target else state & problem.won != latched

        if target and arrived(start):
            return [], True
        by_pivot = self._operators_from(start)
        parents: dict[int, tuple[int, Operator] | None] = {start: None}
        frontier, expanded = [start], 0
        while frontier:
            following: list[int] = []
            for state in frontier:
                expanded += 1
                if expanded > budget:
                    return None, False
                for operator in by_pivot.get(state & problem.pivot, ()):
                    if state & operator.needs != operator.needs:
                        continue
                    after = problem.successor(state, operator) & relevant
                    if after in parents or after & lost:
                        continue
                    parents[after] = (state, operator)
                    if arrived(after):
                        return _path(parents, after), True
                    following.append(after)
            frontier = following
        return None, True


def useful_operators(problem: Problem, operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """Return those of `operators` that some shortest plan made of them may need, in their order.

    An operator is useful if it adds a fact of a goal, deletes a fact by which a goal fails, or adds a fact that a useful
    operator other than its exact inverse needs. The rest can be dropped from any plan together with the inverses that
    undo them: what is left then holds a superset of the facts at every step, and needs and goals are all positive.
    """
    wanted = _union(mask for goal in problem.goals for mask in goal.wins)
    feared = _union(mask for goal in problem.goals for mask in goal.fails)
    useful, waiting = [], []
    for op in operators:
        if op.adds & wanted or op.deletes & feared:
            useful.append(op)
        elif op.adds:
            waiting.append(op)
    frontier = useful
    while frontier:
        needed = _union(user.needs for user in frontier)
        found: list[Operator] = []
        rest: list[Operator] = []
        for op in waiting:
            serves = op.adds & needed and any(op.adds & user.needs and not _undoes(user, op) for user in frontier)
            (found if serves else rest).append(op)
        waiting, frontier = rest, found
        useful = useful + found
    keep = set(useful)
    # Two commands with one effect ("take x", "take x from y" never coincide, but twins may): the first is enough.
    distinct: dict[tuple[int, int, int], Operator] = {}
    for op in operators:
        if op in keep:
            distinct.setdefault((op.needs, op.adds, op.deletes), op)
    return tuple(distinct.values())


def _undoes(second: Operator, first: Operator) -> bool:
    return second.adds == first.deletes and second.deletes == first.adds


def _relevant_facts(problem: Problem, operators: Iterable[Operator]) -> int:
    """Return the facts that a useful operator or a goal looks at, and the latches; the others cannot change a plan."""
    relevant = problem.lost | problem.pivot
    for op in operators:
        relevant |= op.needs
    for goal in problem.goals:
        relevant |= goal.latch | _union(goal.wins) | _union(goal.fails)
    return relevant


def _index(operators: Iterable[Operator], pivot: int) -> dict[int, list[Operator]]:
    """Return operators by the one pivot fact under which they can apply; those that need none stand under every one."""
    by_pivot: dict[int, list[Operator]] = {}
    bits = [1 << i for i in range(pivot.bit_length()) if pivot >> i & 1] or [0]
    for op in operators:
        needed = op.needs & pivot
        for bit in [needed] if needed else bits:
            by_pivot.setdefault(bit, []).append(op)
    return by_pivot


def _union(masks: Iterable[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union


def _path(parents: dict[int, tuple[int, Operator] | None], state: int) -> list[Operator]:
    path: list[Operator] = []
    while (step := parents[state]) is not None:
        state, operator = step
        path.append(operator)
    return path[::-1]
