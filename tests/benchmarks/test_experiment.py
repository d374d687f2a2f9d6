"""Experiments: their data fit the trainers, and what is there already is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
import torch

from baselines.errors import BaselinesError
from benchmarks import experiment
from benchmarks.experiment import (
    TRAINERS,
    Lab,
    Name,
    find_experiment,
    is_done,
    read_results,
    report,
    run,
    wanted_arms,
    waves,
)
from benchmarks.experiments.design import (
    SCALES,
    Arm,
    Column,
    Experiment,
    difference,
    is_clear,
    mean_difference,
    rate,
    textworld,
)

NAMES = get_args(Name)
ENV_ID = textworld("w2-o3-q4")

SMALL = replace(
    SCALES["laptop"],
    num_demos=3,
    sft_epochs=1,
    num_iterations=1,
    episodes_per_batch=8,
    num_train_games=2,
    num_test_games=3,
    num_seeds=2,
)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_every_arm_can_be_trained(name: Name, scale: str, tmp_path: Path) -> None:
    found = find_experiment(name)
    lab = Lab(found, found.scale(scale), tmp_path)
    seen: set[str] = set()
    for arm in found.arms:
        assert arm.start is None or arm.start in seen, "expected an arm to stand after its start"
        assert arm.name not in seen
        seen.add(arm.name)
        config = lab._cloning(arm, 1) if arm.algorithm == "sft" else lab._practice(arm, 1)
        assert isinstance(config, TRAINERS[arm.algorithm].Config)
        config.check()
    assert len({lab.folder(arm, 1) for arm in found.arms}) == len(found.arms)
    assert {one for pair in found.compared for one in pair} <= seen
    places: list[Arm | Column] = [*found.arms, *found.columns]
    for env_id, kwargs in {(p.env_id, json.dumps(lab.options(p, "test"))) for p in places}:
        gym.make(env_id, **json.loads(kwargs)).close()


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_without_results_has_a_report(name: Name) -> None:
    found = find_experiment(name)
    assert report(found, {}).startswith(found.question)


def toy() -> Experiment:
    return Experiment(
        question="Does anything happen?",
        arms=(
            Arm("SFT", "sft", ENV_ID),
            Arm("GRPO, turn", "grpo", ENV_ID, "SFT", options={"credit": "turn"}),
            Arm("PPO", "ppo", ENV_ID, "SFT"),
        ),
        columns=(Column("practised", ENV_ID, practised=True), Column("held out", ENV_ID)),
        compared=(("GRPO, turn", "SFT"),),
        published="Published: nothing.",
        analyse=lambda results: [f"{len(results)} arms are known."],
    )


def test_an_experiment_runs_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    lab = Lab(toy(), SMALL, tmp_path)
    results = run(lab, only=("GRPO, turn",))
    assert list(results) == ["SFT", "GRPO, turn"]
    assert {column: found.shape for column, found in results["SFT"].items()} == {
        "practised": (2, 2),
        "held out": (2, 3),
    }
    told = (tmp_path / "table.md").read_text()
    assert "| GRPO, turn - SFT |" in told
    assert "2 arms are known." in told
    assert "Published: nothing." in told
    assert json.loads((tmp_path / "table.json").read_text())["SFT"]["held out"]["low"] >= 0
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")

    def refuse(*_: Any) -> None:
        raise AssertionError("expected nothing to be trained again")

    monkeypatch.setattr(experiment.Lab, "train", refuse)
    again = run(lab, only=("GRPO, turn",))
    assert all(np.array_equal(again[arm][column], results[arm][column]) for arm in results for column in results[arm])


def test_runs_side_by_side_find_what_they_find_one_by_one(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    found = find_experiment("sft_share")
    labs = [
        Lab(
            replace(found, arms=tuple(replace(arm, num_demos=3) for arm in found.arms)),
            SMALL,
            tmp_path / name,
            progress=False,
        )
        for name in ("one", "two")
    ]
    only = ("share 1.0", "160 demonstrations")
    alone, together = (run(lab, only, seeds=(1,), num_workers=number) for number, lab in enumerate(labs, start=1))
    assert list(alone) == list(together) == list(only)
    for arm in only:
        assert np.array_equal(alone[arm]["held-out games"], together[arm]["held-out games"])


def test_an_arm_stands_in_a_later_wave_than_its_start() -> None:
    chain = (
        Arm("a", "sft", ENV_ID),
        Arm("b", "ppo", ENV_ID, "a"),
        Arm("c", "sft", ENV_ID),
        Arm("d", "ppo", ENV_ID, "b"),
    )
    assert [[arm.name for arm in wave] for wave in waves(chain)] == [["a", "c"], ["b"], ["d"]]
    assert waves(()) == []


def test_a_start_without_its_model_is_trained_again_for_those_that_need_it(tmp_path: Path) -> None:
    lab = Lab(toy(), SMALL, tmp_path)
    sft, _, ppo = arms = lab.experiment.arms
    assert not is_done(lab, sft, 1, [sft])
    tell(lab, 1, lab.recipe(sft))
    assert is_done(lab, sft, 1, [sft])
    assert not is_done(lab, sft, 1, arms), "GRPO and PPO are still to start from it"
    lab.model(sft, 1).mkdir(parents=True)
    assert is_done(lab, sft, 1, arms) and not is_done(lab, ppo, 1, arms)


def test_practised_games_are_those_that_are_practised_and_not_demonstrated(tmp_path: Path) -> None:
    lab = Lab(toy(), SMALL, tmp_path)
    practised, held_out = lab.experiment.columns
    grpo = lab._practice(lab.arm("GRPO, turn"), 1)
    assert list(lab.games(practised)) == list(grpo.tasks.train_seeds)
    assert min(lab.games(practised)) >= lab._cloning(lab.arm("SFT"), 1).num_demos
    assert lab.options(held_out, "test")["split"] == "test"
    assert grpo.env_kwargs["split"] == "train"


def tell(lab: Lab, seed: int, recipe: str) -> None:
    verdict = lab.verdict(lab.arm("SFT"), seed)
    verdict.parent.mkdir(parents=True)
    found = {"practised": [True, False], "held out": [True] * 3}
    verdict.write_text(json.dumps({"recipe": recipe, "successes": found}))


def test_verdicts_of_another_scale_are_refused(tmp_path: Path) -> None:
    lab = Lab(toy(), SMALL, tmp_path)
    tell(lab, 1, Lab(toy(), replace(SMALL, num_demos=4), tmp_path).recipe(lab.arm("SFT")))
    with pytest.raises(BaselinesError, match=r"expected .*SFT\.json of this scale and experiment, got another's"):
        read_results(lab)


def test_a_clone_does_not_depend_on_how_it_is_practised(tmp_path: Path) -> None:
    usual, other = (
        Lab(toy(), scale, tmp_path) for scale in (SMALL, replace(SMALL, learning_rate=1e-4, warmup_steps=3))
    )
    sft, grpo, _ = usual.experiment.arms
    assert usual.recipe(sft) == other.recipe(sft) != Lab(toy(), replace(SMALL, sft_epochs=2), tmp_path).recipe(sft)
    assert usual.recipe(grpo) != other.recipe(grpo)


def test_practice_warms_up_unless_an_experiment_was_run_without(tmp_path: Path) -> None:
    for name, steps in (("size", 12), ("density", 0)):
        found = find_experiment(name)
        lab = Lab(found, found.scale("laptop"), tmp_path)
        assert lab._practice(next(arm for arm in found.arms if arm.start), 1).optimiser.warmup_steps == steps


def test_only_seeds_without_a_gap_are_read(tmp_path: Path) -> None:
    lab = Lab(toy(), replace(SMALL, num_seeds=3), tmp_path)
    for seed in (1, 3):
        tell(lab, seed, lab.recipe(lab.arm("SFT")))
    assert read_results(lab)["SFT"]["practised"].tolist() == [[True, False]]


def test_an_arm_comes_with_those_that_it_starts_from() -> None:
    assert [arm.name for arm in wanted_arms(toy(), ("PPO",))] == ["SFT", "PPO"]
    assert len(wanted_arms(toy(), ())) == 3
    with pytest.raises(BaselinesError, match=r"expected arms among 'SFT', .*, got 'DPO'"):
        wanted_arms(toy(), ("DPO",))


def test_a_difference_is_of_the_same_seeds_and_games() -> None:
    rng = np.random.default_rng(0)
    worse = rng.random((2, 400)) < 0.3
    better = np.concatenate([worse | (rng.random((2, 400)) < 0.3), rng.random((1, 400)) < 0.5])
    results = {"a": {"x": worse}, "b": {"x": better}}
    found = difference(results, "b", "a", "x")
    assert found is not None
    assert found.value == pytest.approx(better[:2].mean() - worse.mean())
    assert is_clear(found)
    assert difference(results, "b", "c", "x") is None
    both = mean_difference(results, [("b", "a"), ("a", "a")], "x")
    assert both is not None
    assert both.value == pytest.approx(found.value / 2)
    assert mean_difference(results, [("b", "a"), ("c", "a")], "x") is None
    assert rate(worse).low < worse.mean() < rate(worse).high
