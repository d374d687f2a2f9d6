"""Every registered id keeps the contract; the trajectories of a few are known byte for byte."""

import json
from pathlib import Path

import gymnasium as gym
import pytest

from tests.golden import GOLDEN_IDS, digests
from textagent_gym.agents import ExpertAgent, RandomAgent
from textagent_gym.registration import environment_specs
from textagent_gym.testing import check_text_env, play


@pytest.mark.parametrize("env_id", environment_specs())
def test_contract(env_id: str) -> None:
    check_text_env(env_id, seeds=(0,))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [env_id for env_id in environment_specs() if "Dense" in env_id])
def test_the_expert_solves_both_splits_over_many_seeds(env_id: str) -> None:
    for split in ("train", "test"):
        env = gym.make(env_id, split=split, expose_solution=True)
        for seed in range(1000, 1005 if "Extreme" in env_id else 1025):
            seen = play(env, ExpertAgent(), seed)
            card = seen[0][4]["task_card"]
            assert sum(step[1] for step in seen) == pytest.approx(1, abs=1e-9)
            if card["details"].get("generator", "exact") == "exact":
                assert all(card["measured"][knob] == card["requested"][knob] for knob in card["measured"])


@pytest.mark.slow
@pytest.mark.parametrize("env_id", environment_specs())
def test_random_play_never_raises(env_id: str) -> None:
    env = gym.make(env_id)
    for seed in range(3):
        assert len(play(env, RandomAgent(), seed)) > 1


def test_trajectories_are_those_of_every_other_machine() -> None:
    known = json.loads((Path(__file__).parent / "golden.json").read_text())
    assert digests() == known
    assert digests(by_reference=True) == known
    assert set(known) == set(GOLDEN_IDS)
