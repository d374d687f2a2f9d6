"""Shortest plans by breadth-first search: the yardstick of `textagent_gym.mechanics.planning`."""

from __future__ import annotations

from collections.abc import Sequence

from textagent_gym.mechanics.planning.problem import Operator, Plan, Problem, index_by_pivot, relevant_facts, union


class BreadthFirstPlanner:
    """Answers of a search through all states in the order of their distance.

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
        self._relevant = relevant_facts(problem, self._useful)
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
        by_pivot = index_by_pivot(useful_operators(self.problem, reached), pivot)
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
    wanted = union(mask for goal in problem.goals for mask in goal.wins)
    feared = union(mask for goal in problem.goals for mask in goal.fails)
    useful, waiting = [], []
    for op in operators:
        if op.adds & wanted or op.deletes & feared:
            useful.append(op)
        elif op.adds:
            waiting.append(op)
    frontier = useful
    while frontier:
        needed = union(user.needs for user in frontier)
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


def _path(parents: dict[int, tuple[int, Operator] | None], state: int) -> list[Operator]:
    path: list[Operator] = []
    while (step := parents[state]) is not None:
        state, operator = step
        path.append(operator)
    return path[::-1]


def distances_around(problem: Problem, start: int, limit: int) -> dict[int, int | None] | None:
    """Return the steps to win from `start` and every state that plans from there may pass, None where none wins.

    All states are found forwards first, and then their distances backwards from the won ones. Returns None where there are
    more than `limit` states.
    """
    operators = index_by_pivot(useful_operators(problem, problem.operators), problem.pivot)
    predecessors: dict[int, list[int]] = {start: []}
    queue = [start]
    for state in queue:
        if problem.is_won(state):
            continue
        for operator in operators.get(state & problem.pivot, ()):
            if state & operator.needs == operator.needs:
                after = problem.successor(state, operator)
                if problem.is_lost(after):
                    continue
                if after not in predecessors:
                    predecessors[after] = []
                    queue.append(after)
                predecessors[after].append(state)
        if len(queue) > limit:
            return None
    found: dict[int, int | None] = {state: 0 for state in queue if problem.is_won(state)}
    frontier, steps = list(found), 0
    while frontier:
        steps += 1
        frontier = [before for state in frontier for before in predecessors[state]]
        frontier = [state for state in dict.fromkeys(frontier) if state not in found]
        found.update(dict.fromkeys(frontier, steps))
    return {state: found.get(state) for state in queue}
