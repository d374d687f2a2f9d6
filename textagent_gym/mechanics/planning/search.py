"""Searches over the states of a problem.

`ShortestPath` is A* (Hart, Nilsson and Raphael 1968) with the bound of `landmarks`; where a landmark applies that can come
first, nothing else is tried, and a search ends at the first state whose answer is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from textagent_gym.mechanics.planning.landmarks import UNREACHABLE, LandmarkFinder, Landmarks, numbers
from textagent_gym.mechanics.planning.problem import Operator, Problem, index_by_pivot, relevant_facts, useful_operators

Row = tuple[int, int, int, bool, int]
"""An operator as the search reads it: needs, facts that it keeps, adds, whether goals look at these, and its bit."""

Answers = dict[int, int | None]
"""State -> steps to win, or None where it cannot be won."""


class ShortestPath:
    """Counts the steps of a shortest way to win.

    Attributes:
        relevant: Facts that can change an answer; all states here hold no others.
        operators: Operators that a shortest plan may need, by pivot, in their order.
        num_expanded: States that `count` has expanded so far.

    Args:
        problem: Problem.
    """

    def __init__(self, problem: Problem) -> None:
        useful = useful_operators(problem, problem.operators)
        self._problem = problem
        self.relevant = relevant_facts(problem, useful)
        self.operators = index_by_pivot(useful, problem.pivot)
        self.num_expanded = 0
        self._finder = LandmarkFinder(problem, useful)
        self._rows: list[Row] = [
            (op.needs, ~op.deletes, op.adds & self.relevant, bool(op.adds & problem.watched), 1 << number)
            for number, op in enumerate(useful)
        ]
        row_of = dict(zip(useful, self._rows, strict=True))
        self._rows_at = {pivot: [row_of[op] for op in operators] for pivot, operators in self.operators.items()}
        self._bits_at = {pivot: sum(row[4] for row in rows) for pivot, rows in self._rows_at.items()}

    def count(self, start: int, known: Answers, budget: int = UNREACHABLE) -> bool:
        """Put into `known` the steps to win from `start` and from all states along the way.

        Args:
            start: A state in which the game is neither won nor lost.
            known: Answers that are proved already; each may end the search.
            budget: States that the search may expand.

        Returns:
            Whether the answer was found within the budget.
        """
        landmarks = self._finder.landmarks(start)
        if landmarks is None:
            known[start] = None
            return True
        won, pivot = self._problem.won, self._problem.pivot
        costs, parents = {start: 0}, {start: start}
        frontier = _Frontier()
        frontier.push(0, (start, 0, landmarks.needed))
        num_before = self.num_expanded
        while frontier.layers:
            total, (state, cost, needed) = frontier.pop()
            if cost > costs[state]:
                continue
            answer = 0 if state & won == won else known.get(state)
            if answer is not None:
                self._keep(state, answer, parents, known)
                return True
            self.num_expanded += 1
            if self.num_expanded - num_before > budget:
                return False
            rows = self._first_of(state, needed, landmarks) or self._rows_at.get(state & pivot, ())
            for after, bit in self._successors(state, rows):
                if costs.get(after, UNREACHABLE) <= cost + 1:
                    continue
                left = needed & ~bit
                bound = self._bound(after, left, known)
                if bound < UNREACHABLE:
                    costs[after], parents[after] = cost + 1, state
                    frontier.push(max(total, cost + 1 + bound), (after, cost + 1, left))
        known[start] = None
        return True

    def nearest_goal(self, start: int, budget: int) -> list[Operator] | None:
        """Return the operators of a shortest path to a state in which one more goal is completed.

        Breadth-first. None where there is no such path, or none was found within the budget.
        """
        problem, latched = self._problem, start & self._problem.won
        parents: dict[int, tuple[int, Operator] | None] = {start: None}
        frontier, num_expanded = [start], 0
        while frontier:
            following: list[int] = []
            for state in frontier:
                num_expanded += 1
                if num_expanded > budget:
                    return None
                for operator in self.operators.get(state & problem.pivot, ()):
                    if state & operator.needs != operator.needs:
                        continue
                    after = problem.successor(state, operator) & self.relevant
                    if after in parents or problem.is_lost(after):
                        continue
                    parents[after] = (state, operator)
                    if after & problem.won != latched:
                        return _path(parents, after)
                    following.append(after)
            frontier = following
        return None

    def _successors(self, state: int, rows: Iterable[Row]) -> Iterator[tuple[int, int]]:
        """Yield each state to which a row that applies leads, unless the game is lost there, with the row's bit."""
        for needs, keeps, adds, watched, bit in rows:
            if state & needs == needs:
                after = state & keeps | adds
                if watched:
                    after = self._problem.latched(after)
                    if after & self._problem.lost:
                        continue
                yield after, bit

    def _bound(self, state: int, needed: int, known: Answers) -> int:
        """Return the steps from a state where they are known, and a lower bound otherwise."""
        if state not in known:
            return self._finder.lower_bound(state, needed)
        answer = known[state]
        return UNREACHABLE if answer is None else answer

    def _first_of(self, state: int, needed: int, landmarks: Landmarks) -> tuple[Row, ...]:
        """Return the first landmark among `needed` that applies in a state and can come first; none where there is none."""
        for number in numbers(needed & self._bits_at.get(state & self._problem.pivot, 0)):
            row = self._rows[number]
            if state & row[0] == row[0] and self._finder.can_come_first(number, landmarks):
                return (row,)
        return ()

    def _keep(self, state: int, answer: int, parents: Mapping[int, int], known: Answers) -> None:
        """Put the answers of a state and of those on the way to it into `known`."""
        while known.setdefault(state, answer) == answer and parents[state] != state:
            state, answer = parents[state], answer + 1


class _Frontier:
    """Nodes to expand, those of the lowest total first and of these the last.

    Attributes:
        layers: Total -> nodes; a node is a state, its cost, and the landmarks that are still needed.
    """

    def __init__(self) -> None:
        self.layers: dict[int, list[tuple[int, int, int]]] = {}
        self._lowest = 0

    def push(self, total: int, node: tuple[int, int, int]) -> None:
        """Add a node whose total is not below that of the last one popped."""
        self.layers.setdefault(total, []).append(node)

    def pop(self) -> tuple[int, tuple[int, int, int]]:
        """Remove a node and return it after its total."""
        if self._lowest not in self.layers:
            self._lowest = min(self.layers)
        total, layer = self._lowest, self.layers[self._lowest]
        node = layer.pop()
        if not layer:
            del self.layers[total]
        return total, node


def _path(parents: Mapping[int, tuple[int, Operator] | None], state: int) -> list[Operator]:
    path: list[Operator] = []
    while (step := parents[state]) is not None:
        state, operator = step
        path.append(operator)
    return path[::-1]
