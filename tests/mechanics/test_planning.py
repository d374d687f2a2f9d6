"""The planner against plain breadth-first search over everything, on small random problems."""

import pickle
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import breadth_first
from tests.support.breadth_first import BreadthFirstPlanner, distances_around
from textagent_gym.mechanics.planning import Goal, Operator, Planner, Problem, useful_operators

NUM_FACTS = 6
masks = st.integers(0, 2**NUM_FACTS - 1)


@st.composite
def operators(draw: st.DrawFn) -> list[Operator]:
    """Return random operators, half of them with their inverse, as doors and boxes have."""
    found = []
    for index in range(draw(st.integers(1, 6))):
        needs, gives = draw(masks), draw(masks)
        adds = gives & ~needs
        deletes = needs & draw(masks)
        found.append(Operator(f"do {index}", needs, adds, deletes))
        if draw(st.booleans()):
            found.append(Operator(f"undo {index}", needs & ~deletes | adds, deletes, adds))
    return found


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    nonempty = masks.filter(bool)
    goals = [
        Goal(
            latch=1 << NUM_FACTS + index,
            wins=tuple(draw(st.lists(nonempty, min_size=1, max_size=2))),
            fails=tuple(draw(st.lists(nonempty, max_size=1))),
        )
        for index in range(draw(st.integers(1, 2)))
    ]
    return Problem(initial=draw(masks), operators=draw(operators()), goals=goals, lost=1 << NUM_FACTS + len(goals))


def brute_force(problem: Problem, start: int) -> int | None:
    """Return the steps to win by trying every operator in every state."""
    queue, seen = deque([(start, 0)]), {start}
    while queue:
        state, steps = queue.popleft()
        if problem.is_lost(state):
            continue
        if problem.is_won(state):
            return steps
        for operator in problem.operators:
            if state & operator.needs == operator.needs:
                after = problem.successor(state, operator)
                if after not in seen:
                    seen.add(after)
                    queue.append((after, steps + 1))
    return None


@settings(max_examples=300, deadline=None)
@given(problems(), st.lists(st.integers(0, 99), max_size=6))
def test_remaining_is_the_shortest_distance_from_every_state_of_a_walk(problem: Problem, walk: list[int]) -> None:
    planner = Planner(problem)
    state = problem.initial
    for choice in walk:
        assert planner.remaining(state) == brute_force(problem, state)
        options = problem.applicable(state)
        if options:
            state = problem.successor(state, options[choice % len(options)])
    assert planner.remaining(state) == brute_force(problem, state)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_the_reference_plan_wins_and_remaining_falls_by_one_along_it(problem: Problem) -> None:
    planner = Planner(problem)
    if planner.reference is None:
        return
    state = problem.initial
    for done, operator in enumerate(planner.reference.operators):
        assert operator in problem.applicable(state)
        assert planner.remaining(state) == planner.reference.length - done
        state = problem.successor(state, operator)
    assert problem.is_won(state)
    assert planner.remaining(state) == 0


@settings(max_examples=300, deadline=None)
@given(problems(), st.lists(st.integers(0, 99), max_size=4))
def test_plans_and_useful_operators_are_those_of_breadth_first_search(problem: Problem, walk: list[int]) -> None:
    assert useful_operators(problem, problem.operators) == breadth_first.useful_operators(problem, problem.operators)
    planner, yardstick = Planner(problem), BreadthFirstPlanner(problem)
    assert planner.reference == yardstick.reference
    state = problem.initial
    for choice in walk:
        options = problem.applicable(state)
        if options:
            state = problem.successor(state, options[choice % len(options)])
        assert planner.plan(state) == yardstick.plan(state)
        if not problem.is_lost(state):
            for other, steps in (distances_around(problem, state, limit=10_000) or {}).items():
                assert planner.remaining(other) == steps


def test_a_planner_that_is_given_its_reference_gives_the_same_answers_also_after_pickling() -> None:
    problem = chain(4)
    planner = Planner(problem)
    given = pickle.loads(pickle.dumps(Planner(problem, reference=planner.reference)))
    assert given.reference == planner.reference
    for operator in problem.applicable(problem.initial):
        state = problem.successor(problem.initial, operator)
        assert given.remaining(state) == planner.remaining(state)


def chain(length: int) -> Problem:
    """Return facts 0..length, each needed for the next, and enough idle switches to make the space large."""
    ladder = [Operator(f"climb {i}", 1 << i, 1 << i + 1, 1 << i) for i in range(length)]
    switches = [Operator(f"switch {i}", 1, 1 << length + 1 + i, 0) for i in range(8)]
    goals = [
        Goal(latch=1 << length + 9, wins=(1 << length,)),
        Goal(latch=1 << length + 10, wins=tuple(1 << length + 1 + i for i in range(8))),
    ]
    return Problem(initial=1, operators=ladder + switches, goals=goals, lost=1 << length + 11)


def test_past_the_budget_a_plan_is_valid_and_says_that_it_is_not_proved() -> None:
    problem = chain(12)
    proved, guessed = Planner(problem), Planner(problem, node_budget=3)
    assert proved.reference is not None
    assert proved.reference.is_shortest
    assert proved.reference.length == 13
    assert guessed.reference is None or not guessed.reference.is_shortest


def test_what_was_asked_before_never_changes_an_answer() -> None:
    problem = chain(5)
    fresh, used = Planner(problem, node_budget=20), Planner(problem, node_budget=20)
    state = problem.initial
    states = [state]
    for operator in problem.operators:
        if operator in problem.applicable(state):
            state = problem.successor(state, operator)
            states.append(state)
    for state in reversed(states):
        used.remaining(state)
    for state in states:
        assert fresh.remaining(state) == used.remaining(state)


def test_a_goal_once_completed_stays_completed() -> None:
    take, drop = Operator("take", 1, 2, 1), Operator("drop", 2, 1, 2)
    other = Operator("other", 1, 4, 0)
    goals = [Goal(latch=8, wins=(2,)), Goal(latch=16, wins=(4,))]
    problem = Problem(initial=1, operators=[take, drop, other], goals=goals, lost=32)
    assert [op.name for op in Planner(problem).plan(1).operators] == ["other", "take"]  # type: ignore[union-attr]
    state = problem.successor(problem.successor(1, take), drop)
    assert state == 1 | 8
    assert Planner(problem).remaining(state) == 1
    assert problem.evaluate_goals(1, previous=state) == state
