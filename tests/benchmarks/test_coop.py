"""Players who share a policy: its inputs, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pettingzoo", reason="pip install 'textagent-gym[multiagent]'")
import torch

from benchmarks.experiments.coop import Config, SharedPolicy, View, make, overlaps, play, run


def test_a_view_is_scored_by_itself() -> None:
    torch.manual_seed(0)
    policy = SharedPolicy(8)
    views = [View("take the key", "a room", ("take key", "pass")), View("go", "a hall", ("look", "go north", "pass"))]
    together, values = policy(views)
    alone = [policy([view]) for view in views]
    for scores, value, (own, own_value) in zip(together, values, alone, strict=True):
        assert scores.exp().sum().item() == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(scores, own[0])
        torch.testing.assert_close(value, own_value[0])
    assert overlaps(views[0], "take book") == (0.5, 0.0)


def test_what_the_team_gets_is_laid_down_by_game_and_round() -> None:
    torch.manual_seed(0)
    policy = SharedPolicy(8)
    envs = [make(Config(), "train") for _ in range(3)]
    decisions, rewards = play(policy, envs, range(3), np.random.default_rng(0))
    assert rewards.shape == (3, envs[0].max_steps)
    assert [sum(decision.game == game and decision.round == 0 for decision in decisions) for game in range(3)] == [
        2
    ] * 3
    assert all(0 <= decision.chosen < len(decision.view.commands) for decision in decisions)
    again, same = play(policy, envs, range(3), np.random.default_rng(0))
    assert again == decisions
    np.testing.assert_array_equal(same, rewards)


@pytest.mark.slow
def test_a_shared_policy_learns_games_that_it_never_saw(tmp_path: Path) -> None:
    chance, shared, experts = run(Config(out=tmp_path, num_iterations=100, num_test_seeds=100))
    assert shared["success_interval"][0] > chance["success_interval"][1]
    assert experts["success_rate"] == 1
    assert json.loads((tmp_path / "table.json").read_text())[1]["team"] == "shared policy"
