"""Every registered id keeps the contract; the trajectories of a few are known byte for byte."""

import json
from pathlib import Path

import gymnasium as gym
import pytest

from tests.golden import GOLDEN_IDS, digests
from textagent_gym.agents import ExpertAgent, RandomAgent
from textagent_gym.registration import environment_specs
from textagent_gym.testing import check_text_env, play

LARGE = ("TextWorld-Extreme", "SWEGym-Hard", "SWEGym-Extreme")
"""Tiers whose first tasks take half a minute to make; what is theirs alone is tested with their domains."""

QUICK = {"SWEGym-Easy": {"max_steps": 12}, "SWEGym-Medium": {"max_steps": 12, "max_state_space_size": 6}}
"""Prefix of ids -> options with which random episodes are short, and whose projects have tests of less than a second."""


@pytest.mark.parametrize(
    "env_id",
    [pytest.param(env_id, marks=[pytest.mark.slow] * env_id.startswith(LARGE)) for env_id in environment_specs()],
)
def test_contract(env_id: str) -> None:
    options = next((found for prefix, found in QUICK.items() if env_id.startswith(prefix)), {})
    check_text_env(env_id, seeds=(0,), **options)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [env_id for env_id in environment_specs() if "Dense" in env_id])
def test_the_expert_solves_both_splits_over_many_seeds(env_id: str) -> None:
    for split in ("train", "test"):
        env = gym.make(env_id, split=split, expose_solution=True)
        few = "Extreme" in env_id or env_id.startswith("SWEGym")  # all repairs are judged in tests/swe/test_tasks.py
        for seed in range(1000, 1005 if few else 1025):
            seen = play(env, ExpertAgent(), seed)
            card = seen[0][4]["task_card"]
            assert sum(step[1] for step in seen) == pytest.approx(1, abs=1e-9)
            if card["details"].get("generator", "exact") == "exact":
                assert_as_requested(card["measured"], card["requested"])


def assert_as_requested(measured: dict[str, int], requested: dict[str, float]) -> None:
    """Each knob has the number that was asked for, or one in the range that was."""
    for knob, value in measured.items():
        asked = requested.get(knob)
        low, high = (requested.get(f"{end}_{knob}", asked) for end in ("min", "max"))
        assert (low, high) != (None, None), knob
        assert low is None or value >= low, knob
        assert high is None or value <= high, knob


@pytest.mark.slow
@pytest.mark.parametrize("env_id", environment_specs())
def test_random_play_never_raises(env_id: str) -> None:
    env = gym.make(env_id)
    agent = RandomAgent(action_space=env.action_space if env_id.startswith("SWEGym") else None)
    for seed in range(3):
        assert len(play(env, agent, seed)) > 1


@pytest.mark.parametrize("domain", ["TextWorld", "ALFWorld"])
def test_where_success_alone_pays_nothing_is_searched_before_sub_goals_are_read(
    domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = gym.make(f"{domain}-Medium-Dense-v0")
    # Gymnasium's checker reads all values of the first two steps.
    sparse = gym.make(f"{domain}-Medium-Sparse-v0", disable_env_checker=True)
    agent = RandomAgent()
    for seed in range(3):
        expected = [step[4] for step in play(dense, agent, seed)]
        planner = type(dense.unwrapped.task.planner)  # type: ignore[attr-defined]
        with monkeypatch.context() as patch:
            for name in ("prepare", "remaining", "remaining_from", "plan"):
                if hasattr(planner, name):
                    patch.setattr(planner, name, lambda *_: pytest.fail("the planner was asked"))
            seen = [step[4] for step in play(sparse, agent, seed)]
        assert [info["subgoals_done"] for info in seen] == [info["subgoals_done"] for info in expected]
        assert seen[1:] == expected[1:]


def test_trajectories_are_those_of_every_other_machine() -> None:
    known = json.loads((Path(__file__).parent / "golden.json").read_text())
    assert digests() == known
    assert digests(by_reference=True) == known
    assert set(known) == set(GOLDEN_IDS)
