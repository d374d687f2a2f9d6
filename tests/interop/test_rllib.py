"""RLlib's PPO trains on eight games of TextWorld-Easy, without a mask: 0.5 above random."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray.rllib")

import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune.registry import register_env

from tests.support.blocks import run_with_library
from tests.support.eight_games import make_game, report, score

# RLlib registers its environments again with every runner.
pytestmark = pytest.mark.filterwarnings("ignore:.*Overriding environment rllib-single-agent-env-v0:UserWarning")

STEPS = 512  # between updates


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=10**8, log_to_driver=False)
    yield
    ray.shutdown()


def make_config() -> PPOConfig:
    """PPO whose environments are played in this process."""
    register_env("eight-games", lambda _: make_game())
    return (
        PPOConfig()
        .environment("eight-games")
        .debugging(seed=0)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64]))
        .training(
            lr=1e-3,
            gamma=0.9,
            lambda_=0.9,
            entropy_coeff=0.02,
            use_kl_loss=False,
            train_batch_size_per_learner=STEPS,
            minibatch_size=128,
            num_epochs=6,
        )
    )


def test_the_runner_of_rllib_plays_it() -> None:
    runner = SingleAgentEnvRunner(config=make_config())
    runner.assert_healthy()
    episodes = runner.sample(num_episodes=8, random_actions=True)
    runner.stop()
    assert len(episodes) == 8
    for episode in episodes:
        assert episode.is_done
        assert len({info["task_id"] for info in episode.get_infos()}) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_the_block_of_the_page_runs() -> None:
    algorithm = run_with_library("libraries.md", "PPOConfig()")["algorithm"]
    assert algorithm.iteration == 1
    algorithm.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_ppo_learns_its_games_without_a_mask() -> None:
    torch.set_num_threads(1)
    started = time.process_time()
    algorithm = make_config().build_algo()
    for _ in range(60):
        algorithm.train()
    seconds = time.process_time() - started
    module, rng = algorithm.get_module(), np.random.default_rng(0)

    def act(observation: Any, _: Any) -> int:
        with torch.no_grad():
            logits = module.forward_inference({Columns.OBS: torch.as_tensor(observation)[None]})
        chances = logits[Columns.ACTION_DIST_INPUTS][0].double().softmax(0).numpy()
        return int(rng.choice(len(chances), p=chances))

    scores = score(act)
    report("ray", "PPO, no mask", 60 * STEPS, seconds, scores)
    algorithm.stop()
    assert scores.train > scores.random + 0.5
