"""A budget and what it buys: whole demonstrations, whole iterations, nothing beyond it; sweeps that go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import recipe, sft
from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings
from baselines.errors import ConfigError
from baselines.models.policy import Policy
from baselines.stats import two_level_interval
from tests.support.toy_text_env import TOY


def config(out: Path, **changes: object) -> recipe.Config:
    small = recipe.Config(
        env_id=TOY,
        budget=100,
        demo_cost=5,
        shares=(0.0, 0.5, 1.0),
        sweep=True,
        algorithm="rloo",
        episodes_per_batch=16,
        sft_epochs=2,
        rollout=RolloutSettings(max_new_tokens=8, max_context_tokens=256),
        optimiser=OptimiserSettings(learning_rate=1e-3),
        run=RunSettings(out=out, eval_episodes=12, num_threads=1, progress=False),
    )
    return replace(small, **changes)  # type: ignore[arg-type]


@given(
    budget=st.integers(50, 2000),
    cost=st.sampled_from([1.0, 2.5, 10.0]),
    share=st.floats(0, 1),
    batch=st.integers(1, 50),
)
def test_nothing_is_spent_that_is_not_there(budget: int, cost: float, share: float, batch: int) -> None:
    bought = replace(config(Path("runs")), budget=budget, demo_cost=cost, episodes_per_batch=batch)
    spent = bought.spent(share)
    assert spent <= budget + 1e-6
    assert budget - spent < batch + cost or share == 1  # what is left buys neither
    assert bought.num_demos(share) * cost <= share * budget + 1e-6


@pytest.mark.parametrize(("share", "demos", "iterations"), [(0.0, 0, 25), (0.6, 60, 10), (0.8, 80, 5), (1.0, 100, 0)])
def test_the_study_s_budget(share: float, demos: int, iterations: int) -> None:
    study = replace(config(Path("runs")), budget=1000, demo_cost=10, episodes_per_batch=40)
    assert (study.num_demos(share), study.num_iterations(share)) == (demos, iterations)


def test_a_sweep_goes_on_where_it_stopped(
    make_tiny: Callable[[int], Policy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny(1).save(tmp_path / "model")
    whole = config(tmp_path / "runs", num_seeds=2, model=str(tmp_path / "model"))
    recipes = recipe.train(whole)
    assert [(r.num_demos, r.num_episodes, r.unspent) for r in recipes] == [(0, 96, 4), (10, 48, 2), (20, 0, 0)]
    assert all(r.successes.shape == (2, 12) for r in recipes)
    rows = json.loads((tmp_path / "runs/table.json").read_text())
    assert [row["sft_share"] for row in rows] == [0.0, 0.5, 1.0]
    assert (tmp_path / "runs/sweep.png").stat().st_size > 1000

    def never(*args: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(sft, "train", never)
    again = recipe.train(whole)
    assert all(np.array_equal(a.successes, b.successes) for a, b in zip(recipes, again, strict=True))
    with pytest.raises(ConfigError, match="expected the resumed run's own algorithm='rloo', got 'grpo'"):
        recipe.train(replace(whole, algorithm="grpo"))
    monkeypatch.setattr(sys, "argv", ["recipe", "--env-id", TOY, "--help"])
    with pytest.raises(SystemExit) as stopped:
        recipe.main()
    assert stopped.value.code == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"budget": 3}, "expected a budget that buys a demonstration or an iteration of 16 episodes, got 3"),
        ({"shares": (0.5, 1.2)}, r"expected sft_share in \[0, 1\], got 1.2"),
        ({"shares": ()}, "expected at least one of --shares to try, got none"),
        ({"group_size": 0}, "expected group_size >= 1, got 0"),
        ({"episodes_per_batch": 0}, "expected episodes_per_batch >= 1, got 0"),
        ({"demo_cost": 0}, "expected demo_cost > 0, got 0"),
        ({"algorithm": "dqn"}, "expected algorithm to be one of grpo, rloo, ppo, reinforce_pp, got 'dqn'"),
        ({"group_size": 5}, "expected group_size to divide episodes_per_batch=16, got 5"),
        ({"credit": "token"}, "expected kl_coef > 0 and kl_placement=reward for credit=token"),
    ],
)
def test_budgets_that_make_no_sense(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        config(Path("runs"), **changes).check()


def test_an_interval_over_seeds_is_wider_than_one_over_tasks() -> None:
    rng = np.random.default_rng(0)
    agreeing = (rng.random((3, 200)) < 0.5).astype(float)
    differing = (rng.random((3, 200)) < np.array([[0.2], [0.5], [0.8]])).astype(float)
    narrow, wide = two_level_interval(agreeing), two_level_interval(differing)
    assert narrow[1] - narrow[0] < 0.2 < 0.3 < wide[1] - wide[0]
    assert narrow[0] < agreeing.mean() < narrow[1] and wide[0] < differing.mean() < wide[1]
    assert two_level_interval(np.ones((2, 5))) == (1, 1)


def test_the_interval_is_that_of_drawing_seeds_and_tasks_one_by_one() -> None:
    rng = np.random.default_rng(5)
    values = (rng.random((3, 200)) < [[0.3], [0.4], [0.5]]).astype(np.float64)
    drawn = [values[rng.integers(3, size=3)].mean(0)[rng.integers(200, size=200)].mean() for _ in range(20_000)]
    assert np.allclose(two_level_interval(values), np.quantile(drawn, [0.025, 0.975]), atol=0.01)


def test_shares_that_are_close_have_folders_of_their_own() -> None:
    study = config(Path("runs"))
    names = [study.folder(share, 1).parent.name for share in (0.6, 0.1, 1 / 3, 0.334, 0.001, 0.002)]
    assert names[:2] == ["share-0.60", "share-0.10"] and len(set(names)) == 6
