"""Expert play where commands fail by chance: what was not carried out is given again, and not for ever."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from baselines.sampling.demonstrations import MAX_ATTEMPTS, collect_demonstrations, play_expert
from baselines.sampling.environments import make_env


def test_demonstrations_repeat_what_failed_by_chance() -> None:
    env_id = "textagent_gym:TextWorld-w2-o3-q4-Dense-v0"
    options = {"expose_solution": True, "max_steps": 60}
    plain = collect_demonstrations(make_env(env_id, options), range(4))
    faulty = collect_demonstrations(make_env(env_id, {**options, "fault_rate": 0.4, "distractors": 1}), range(4))
    assert [one.task_id for one in faulty] == [one.task_id for one in plain]
    for one, other in zip(plain, faulty, strict=True):
        failed = [text.startswith("Nothing was done: the command failed by chance") for text in other.observations[1:]]
        assert tuple(action for action, fails in zip(other.actions, failed, strict=True) if not fails) == one.actions
        assert sum(other.rewards) == pytest.approx(1)
    assert sum(len(one.actions) for one in faulty) > sum(len(one.actions) for one in plain)


class Refusing(gym.Env[str, str]):
    """Carries out nothing, and never ends."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        return "go", {"solution": ("go", "stay")}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "no", 0.0, False, False, {"valid_command": False}


def test_a_command_that_is_never_carried_out_is_given_up() -> None:
    assert play_expert(Refusing(), 0).actions == ("go",) * MAX_ATTEMPTS + ("stay",) * MAX_ATTEMPTS
