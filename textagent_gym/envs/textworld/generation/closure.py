"""Games that plain breadth-first search solves within a number of states: part of what makes a draft a game.

A draft is kept only where this search closes, whatever the planner can do, so that a seed names the same game for good.
"""

from __future__ import annotations

from collections.abc import Sequence

from textagent_gym.mechanics.planning.problem import (
    Operator,
    Problem,
    index_by_pivot,
    relevant_facts,
    union,
    useful_operators,
)

MAX_STATES = 100_000
"""States that the search may expand."""


def closes_breadth_first(problem: Problem, max_states: int = MAX_STATES) -> bool:
    """Return whether breadth-first search from the initial state ends before it expands more than `max_states`.

    It tries the operators that can come to apply when nothing is ever deleted, and of these the useful ones.
    """
    useful = useful_operators(problem, problem.operators)
    relevant = relevant_facts(problem, useful)
    start = problem.initial & relevant
    rows = {
        pivot: [(op.needs, ~op.deletes, op.adds & relevant, op.adds & problem.watched) for op in operators]
        for pivot, operators in index_by_pivot(_reached(problem, useful, start), problem.pivot).items()
    }
    seen, frontier, num_expanded = {start}, [start], 0
    while frontier and start & problem.won != problem.won:
        following: list[int] = []
        for state in frontier:
            num_expanded += 1
            if num_expanded > max_states:
                return False
            for needs, keeps, adds, watched in rows.get(state & problem.pivot, ()):
                if state & needs != needs:
                    continue
                after = problem.latched(state & keeps | adds) if watched else state & keeps | adds
                if after & problem.won == problem.won and not after & problem.lost:
                    return True
                if after not in seen and not after & problem.lost:
                    seen.add(after)
                    following.append(after)
        frontier = following
    return True


def _reached(problem: Problem, useful: Sequence[Operator], start: int) -> tuple[Operator, ...]:
    """Return those of the useful operators that can come to apply, as far as these make one another useful."""
    facts, before = start, -1
    while facts != before:
        before = facts
        facts |= union(op.adds for op in useful if not op.needs & ~facts)
    return useful_operators(problem, [op for op in useful if not op.needs & ~facts])
