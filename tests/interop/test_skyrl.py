"""SkyRL-gym: `skyrl_gym.make` gives TextWorld as a BaseTextEnv; messages, rewards and ends are the environment's own."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from tests.support.blocks import run_with_library
from tests.support.chat_player import solution

skyrl_gym = pytest.importorskip("skyrl_gym")

from skyrl_gym.envs.base_text_env import BaseTextEnv  # noqa: E402  # needs what may be absent

ENV_ID = "textagent_gym:TextWorld-Easy-Dense-v0"
NAME = "textagent-gym-under-test"
RULES = [{"role": "system", "content": "Answer with one command."}]


@pytest.fixture(autouse=True)
def registered() -> Any:
    skyrl_gym.register(
        id=NAME, entry_point="textagent_gym.interop.skyrl:GymTextEnv", kwargs={"env_id": ENV_ID, "env_kwargs": {}}
    )
    yield
    skyrl_gym.registry.pop(NAME)


def make(**extras: Any) -> BaseTextEnv:
    return skyrl_gym.make(NAME, env_config={}, extras=extras)


@pytest.mark.parametrize("row", [{"seed": 3}, {"extra_info": {"seed": 3}}])
def test_an_episode_is_that_of_the_environment(row: dict[str, Any]) -> None:
    env, plain = make(**row, max_turns=50), gym.make(ENV_ID)
    assert isinstance(env, BaseTextEnv)
    prompt, metrics = env.init(RULES)
    observation, _ = plain.reset(seed=3)
    assert prompt == [*RULES, {"role": "user", "content": observation}]
    assert metrics["num_steps"] == 0
    total = 0.0
    for action in solution(ENV_ID, 3):
        answer = env.step(action)
        observation, reward, terminated, truncated, _ = plain.step(action)
        done = terminated or truncated
        assert set(answer) <= {"observations", "reward", "done", "metadata", "postprocessed_action"}
        assert (answer["reward"], answer["done"]) == (reward, done)
        assert answer["observations"] == ([] if done else [{"role": "user", "content": observation}])
        total += answer["reward"]
    assert answer["done"]
    assert total == pytest.approx(1)
    metrics = {"episode_return": total, "num_steps": len(solution(ENV_ID, 3)), "success": 1.0}
    assert env.get_metrics() == pytest.approx(metrics)
    assert env.aggregate_metrics([env.get_metrics(), env.get_metrics()])["success"] == 1.0
    env.close()


def test_the_block_on_the_page_runs() -> None:
    run_with_library("llm_libraries.md", "skyrl_gym")
    env = skyrl_gym.make("textworld-easy", env_config={}, extras={"seed": 0})
    skyrl_gym.registry.pop("textworld-easy")
    messages, _ = env.init(RULES)
    assert len(messages) > len(RULES)


def test_max_turns_cuts_and_pays_what_was_reached() -> None:
    env = make(seed=3, max_turns=4)
    env.init([])
    steps = [env.step(action) for action in solution(ENV_ID, 3)[:4]]
    assert [step["done"] for step in steps] == [False, False, False, True]
    assert 0 < sum(step["reward"] for step in steps) < 1
    assert env.get_metrics()["success"] == 0.0
    env.close()


def test_environments_do_not_share_a_world() -> None:
    first, second = make(seed=3), make(seed=3)
    assert first.init([])[0] == second.init([])[0]
    for action in solution(ENV_ID, 3):
        answer = first.step(action)
    assert answer["done"]
    assert not second.step("look")["done"]


def test_a_row_without_a_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a seed in the row, got max_turns"):
        make(max_turns=3)
