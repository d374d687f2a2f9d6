"""PPO of stable-baselines3 and MaskablePPO of sb3-contrib train on eight games of TextWorld-Easy: 0.5 above random."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

import gymnasium as gym
import torch
from gymnasium.error import ResetNeeded
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.support.blocks import run_with_library
from tests.support.eight_games import MAX_ACTIONS, make_game, report, score
from tests.support.rooms import HOT_APPLE, write_room
from textagent_gym.interop.numeric import AdmissibleActionIndex, HashedBagOfWords
from textagent_gym.wrappers import EachTaskOnce

OPTIONS: dict[str, Any] = {
    "policy": "MlpPolicy",
    "n_steps": 32,
    "batch_size": 128,
    "gamma": 0.9,
    "gae_lambda": 0.9,
    "seed": 0,
    "device": "cpu",
    "policy_kwargs": {"net_arch": [64]},
}


def eight_games() -> DummyVecEnv:
    return DummyVecEnv([make_game] * 8)


def test_the_checker_of_stable_baselines3_accepts_it() -> None:
    check_env(make_game())


def test_the_mask_reaches_sb3_contrib() -> None:
    envs = eight_games()
    envs.reset()
    masks = get_action_masks(envs)
    assert masks.shape == (8, MAX_ACTIONS)
    assert masks[:, 0].all()
    assert not masks.all(axis=1).any()


def test_the_block_on_the_page_runs() -> None:
    assert run_with_library("libraries.md", "MaskablePPO", {"12_288": "256"})["model"].num_timesteps == 256


@pytest.mark.parametrize("num_envs", [1, 3])
def test_evaluate_policy_plays_each_task_once(num_envs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path / "cache"))
    for number in range(7):
        write_room(tmp_path / "data", HOT_APPLE, name=f"X-None-Y-{number}")

    def make_share(share: int) -> gym.Env[Any, Any]:
        env = EachTaskOnce(gym.make("textagent_gym:ALFWorld-v0", max_steps=2), share=share, num_shares=num_envs)
        return HashedBagOfWords(AdmissibleActionIndex(env, max_actions=64))

    envs = DummyVecEnv([partial(make_share, share) for share in range(num_envs)])
    played: list[str] = []

    def note(local: dict[str, Any], _: object) -> None:
        if local["done"]:
            played.append(names[local["i"]])
        names[local["i"]] = envs.envs[local["i"]].unwrapped.task.task_id

    model = PPO(env=envs, **OPTIONS)
    for _ in range(2):  # a callback evaluates with the same environments again and again
        names, played[:] = [""] * num_envs, []
        evaluate_policy(model, envs, n_eval_episodes=7, callback=note)
        assert len(set(played)) == 7 and len(played) == 7
    with pytest.raises(ResetNeeded, match="expected at most 7 episodes"):
        evaluate_policy(model, envs, n_eval_episodes=8)


def test_maskable_ppo_learns_its_games() -> None:
    torch.set_num_threads(1)
    model = MaskablePPO(env=eight_games(), learning_rate=2.5e-3, n_epochs=4, ent_coef=0.01, **OPTIONS)
    started = time.process_time()
    model.learn(12_288)
    seconds = time.process_time() - started
    scores = score(lambda observation, mask: int(model.predict(observation, action_masks=mask)[0]))
    report("sb3-contrib", "MaskablePPO", 12_288, seconds, scores)
    assert scores.train > scores.random + 0.5


@pytest.mark.slow
def test_ppo_learns_its_games_without_a_mask() -> None:
    torch.set_num_threads(1)
    model = PPO(env=eight_games(), learning_rate=1e-3, n_epochs=8, ent_coef=0.02, **OPTIONS)
    started = time.process_time()
    model.learn(32_768)
    seconds = time.process_time() - started
    scores = score(lambda observation, _: int(model.predict(observation)[0]))
    report("stable-baselines3", "PPO, no mask", 32_768, seconds, scores)
    assert scores.train > scores.random + 0.5
