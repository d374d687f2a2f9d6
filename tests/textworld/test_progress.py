"""Progress in the tiers' games against breadth-first search over their states."""

import gymnasium as gym
import numpy as np
import pytest

from tests.support.breadth_first import BreadthFirstPlanner, distances_around
from textagent_gym.envs.textworld.generation.closure import closes_breadth_first
from textagent_gym.envs.textworld.types import TextWorldTask
from textagent_gym.mechanics.planning import Planner, Problem

TIERS = ("Easy", "Medium", "Hard", "Extreme")


def task_of(tier: str, seed: int) -> TextWorldTask:
    env = gym.make(f"TextWorld-{tier}-Dense-v0")
    env.reset(seed=seed)
    task = env.unwrapped.task
    env.close()
    return task


def wander(task: TextWorldTask, rng: np.random.Generator, num_steps: int) -> int:
    """Return a state some random steps off the reference: doors are shut, keys lie about."""
    problem, state = task.ground.problem, task.ground.problem.initial
    assert task.planner.reference is not None
    for operator in task.planner.reference.operators[: rng.integers(task.planner.reference.length)]:
        state = problem.successor(state, operator)
    for _ in range(num_steps):
        after = problem.successor(state, problem.applicable(state)[rng.integers(len(problem.applicable(state)))])
        state = state if problem.is_lost(after) or problem.is_won(after) else after
    return state


def compare_around(tier: str, seed: int, num_starts: int, limit: int) -> int:
    """Compare all states around some starts, in random order; return how many."""
    task, rng, num_compared = task_of(tier, seed), np.random.default_rng(seed), 0
    planner = Planner(task.ground.problem, reference=task.planner.reference)
    for _ in range(num_starts):
        distances = distances_around(task.ground.problem, wander(task, rng, int(rng.integers(12))), limit) or {}
        for state in rng.permutation(np.array(list(distances), dtype=object)):
            assert planner.remaining(state) == distances[state]
        num_compared += len(distances)
    return num_compared


@pytest.mark.parametrize(("tier", "num_starts"), [("Easy", 8), ("Medium", 6), ("Hard", 3)])
def test_remaining_is_the_distance_in_all_states_around_a_wanderer(tier: str, num_starts: int) -> None:
    assert compare_around(tier, seed=3, num_starts=num_starts, limit=4_000) > 8 * num_starts


@pytest.mark.slow
def test_remaining_is_the_distance_in_a_hundred_thousand_states_of_all_tiers() -> None:
    compared = {tier: sum(compare_around(tier, seed, 6, 20_000) for seed in range(8)) for tier in TIERS}
    assert min(compared.values()) > 400
    assert sum(compared.values()) > 100_000


@pytest.mark.parametrize(("tier", "seed"), [("Easy", 0), ("Medium", 1), ("Medium", 2), ("Hard", 3), ("Hard", 6)])
def test_plans_are_those_of_breadth_first_search(tier: str, seed: int) -> None:
    task, rng = task_of(tier, seed), np.random.default_rng(seed)
    yardstick = BreadthFirstPlanner(task.ground.problem)
    assert Planner(task.ground.problem).reference == yardstick.reference
    for _ in range(5):
        state = wander(task, rng, 4)
        assert task.planner.plan(state) == yardstick.plan(state)


@pytest.mark.parametrize("tier", ["Easy", "Medium", "Hard"])
def test_closure_is_that_of_the_breadth_first_planner_at_every_budget(tier: str) -> None:
    problem: Problem = task_of(tier, 4).ground.problem

    def closes(budget: int) -> bool:
        path, closed = BreadthFirstPlanner(problem, 1)._search(
            problem.initial & yardstick._relevant, problem.won, budget
        )
        return path is not None or closed

    yardstick = BreadthFirstPlanner(problem)
    low, high = 0, 100_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if closes(middle) else (middle, high)
    assert closes_breadth_first(problem, high)
    assert not closes_breadth_first(problem, low)


def test_nothing_is_searched_along_a_reference_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("Medium", 2)
    planner, state = Planner(task.ground.problem, reference=task.planner.reference), task.ground.problem.initial
    monkeypatch.setattr(planner._search, "count", None)
    assert planner.reference is not None
    for done, operator in enumerate(planner.reference.operators):
        assert planner.remaining(state) == planner.reference.length - done
        state = task.ground.problem.successor(state, operator)
    assert planner.remaining(state) == 0
