"""The planner's plans are shortest, from every state."""

from pathlib import Path
from typing import cast

import gymnasium as gym
import pytest

from tests.alfworld.exhaustive import disagreements, small_game
from textagent_gym.agents import RandomAgent, ReplanningAgent
from textagent_gym.core import TextAgentEnv
from textagent_gym.envs.alfworld.planning.planner import Planner


@pytest.mark.parametrize("seed", [0, 1, 4, 7, 9])
def test_remaining_steps_are_those_of_an_exhaustive_search(seed: int) -> None:
    game = small_game(seed)
    assert game is not None
    found = disagreements(game, max_states=20_000)
    assert found is not None
    num_states, wrong = found
    assert num_states > 10
    assert wrong == []


def test_no_real_game_has_a_walkthrough_that_is_shorter(real_data: Path) -> None:
    env = gym.make("ALFWorld-v0", split="valid_seen")
    for task_id in env.unwrapped.task_ids:  # type: ignore[attr-defined]
        env.reset(options={"task_id": task_id})
        task = env.unwrapped.task  # type: ignore[attr-defined]
        assert task.solution_is_shortest
        assert len(task.solution) == len(task.data["walkthrough"])


def test_past_the_budget_a_plan_still_solves_and_is_not_called_shortest() -> None:
    env = gym.make("ALFWorld-Extreme-Dense-v0")
    env.reset(seed=0)
    task = env.unwrapped.task  # type: ignore[attr-defined]
    planner = Planner(task.game.initial, task.planner.goals, node_budget=10)
    assert planner.reference is not None
    assert not planner.reference.is_shortest
    for step in planner.reference.steps:
        _, _, terminated, _, info = env.step(task.game.command_of(step))
    assert terminated
    assert info["success"]


@pytest.mark.parametrize("env_id", ["ALFWorld-Medium-Dense-v0", "ALFWorld-Hard-Dense-v0"])
def test_the_expert_solves_in_the_remaining_steps_from_wherever_chance_led(env_id: str) -> None:
    env = gym.make(env_id, max_steps=200)
    expert, lost = ReplanningAgent(env), RandomAgent()
    text_env = cast(TextAgentEnv, env.unwrapped)
    for seed in range(3):
        observation, info = env.reset(seed=seed)
        lost.reset(info, seed)
        for _ in range(25):
            observation, _, terminated, _, info = env.step(lost.act(observation, info))
            assert not terminated
        expert.reset(info)
        for _ in range(len(text_env.plan() or ())):
            assert not terminated
            observation, _, terminated, _, info = env.step(expert.act(observation, info))
        assert info["success"]


@pytest.mark.parametrize("env_id", ["ALFWorld-Medium-Dense-v0", "ALFWorld-Extreme-Dense-v0"])
def test_answers_are_those_of_a_planner_that_was_asked_nothing_before(env_id: str) -> None:
    env, agent = gym.make(env_id, max_steps=200), RandomAgent()
    for seed in range(3):
        observation, info = env.reset(seed=seed)
        agent.reset(info, seed)
        task, engine = env.unwrapped.task, env.unwrapped._engine  # type: ignore[attr-defined]
        for number in range(60):
            observation, _, _, _, info = env.step(agent.act(observation, info))
            if number % 6 == 0:
                plan = Planner(task.game.initial, task.planner.goals).plan(engine.state)
                assert plan is not None and plan.is_shortest
                assert task.planner.remaining(engine.state) == len(plan.steps)
