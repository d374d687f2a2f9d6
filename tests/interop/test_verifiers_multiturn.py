"""verifiers before 0.4: a MultiTurnEnv evaluates a model behind a chat server; every reward is the return of its episode."""

from __future__ import annotations

import asyncio
from typing import Any

import gymnasium as gym
import pytest

from tests.interop.chat_player import playing, solution

vf = pytest.importorskip("verifiers")
if not hasattr(vf, "MultiTurnEnv"):
    pytest.skip("verifiers has no MultiTurnEnv since 0.4", allow_module_level=True)

from textagent_gym.interop.verifiers_multiturn import GymMultiTurnEnv  # noqa: E402  # needs what may be absent

ENV_ID = "textagent_gym:TextWorld-Easy-Dense-v0"
SEEDS = (3, 4, 5)


def first_words(seed: int) -> str:
    return str(gym.make(ENV_ID).reset(seed=seed)[0])


@pytest.mark.filterwarnings("ignore")  # what the library says of its own
def test_rewards_are_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_PLAYER_KEY", "none")
    by_heart = {first_words(seed): solution(ENV_ID, seed) for seed in SEEDS}
    by_heart[first_words(4)] = solution(ENV_ID, 4)[:3] + ("look",) * 50  # one that runs out of its steps
    env = GymMultiTurnEnv(ENV_ID, {"max_steps": 8}, seeds=SEEDS)
    assert isinstance(env, vf.MultiTurnEnv)
    with playing(by_heart) as base_url:
        client = vf.ClientConfig(
            client_type="openai_chat_completions", api_base_url=base_url, api_key_var="CHAT_PLAYER_KEY"
        )
        results = asyncio.run(
            env.evaluate(client, "by-heart", num_examples=3, rollouts_per_example=2, max_concurrent=3)
        )
    rewards: dict[int, set[float]] = {}
    for output in results["outputs"]:
        rewards.setdefault(output["info"]["seed"], set()).add(round(output["reward"], 6))
        assert output["prompt"][1]["content"] == first_words(output["info"]["seed"])
    assert rewards == {3: {1.0}, 4: {round(replay(4, by_heart[first_words(4)]), 6)}, 5: {1.0}}


def replay(seed: int, actions: Any) -> float:
    env = gym.make(ENV_ID, max_steps=8)
    env.reset(seed=seed)
    return float(sum(env.step(action)[1] for action in actions[:8]))
