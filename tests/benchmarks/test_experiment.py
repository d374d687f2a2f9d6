"""Experiments: their data fit the trainers, and results that are there already are kept."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
import torch

from baselines import grpo
from baselines.config.settings import RolloutSettings
from baselines.errors import BaselinesError
from baselines.models import tiny
from baselines.models.policy import Policy
from benchmarks.experiments import experiment
from benchmarks.experiments.design import (
    FIRST_SEED,
    SCALES,
    Arm,
    Column,
    Experiment,
    Results,
    difference,
    is_clear,
    mean_difference,
    rate,
    textworld,
)
from benchmarks.experiments.experiment import (
    TRAINERS,
    ExperimentRun,
    Name,
    find_experiment,
    is_done,
    read_results,
    run,
    set_fields,
    wanted_arms,
    waves,
    with_options,
)
from benchmarks.experiments.report import report
from benchmarks.leaderboard.scores import Estimate

NAMES = get_args(Name)
ENV_ID = textworld("w2-o3-q4")
COMMITTED = Path(__file__).parents[2] / "docs" / "experiments"

SMALL = replace(
    SCALES["laptop"],
    model="tiny",
    num_demos=3,
    sft_epochs=1,
    num_iterations=1,
    episodes_per_batch=8,
    num_test_games=3,
    num_seeds=2,
)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_every_arm_can_be_trained(name: Name, scale: str, tmp_path: Path) -> None:
    found = find_experiment(name)
    job = ExperimentRun(found, found.scale(scale), tmp_path)
    seen: set[str] = set()
    for arm in found.arms:
        assert arm.start is None or arm.start in seen, "expected an arm to stand after its start"
        assert arm.name not in seen
        seen.add(arm.name)
        if arm.algorithm != "base":
            config = job._sft(arm, 1) if arm.algorithm == "sft" else job._rl(arm, 1)
            assert isinstance(config, TRAINERS[arm.algorithm].Config)
            config.check()
    assert len({job.folder(arm, 1) for arm in found.arms}) == len(found.arms)
    assert {one for pair in found.compared for one in pair} <= seen
    assert len({column.name for column in found.columns}) == len(found.columns)
    for place in (*found.arms, *found.columns):
        split = place.split if isinstance(place, Column) else "train"
        gym.make(place.env_id, **job.options(place, split)).close()


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_without_results_has_a_report(name: Name) -> None:
    found = find_experiment(name)
    assert report(found, {}).startswith(found.question)


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_analysed_when_it_is_whole(name: Name) -> None:
    """Each sentence is about results that are there; what is half done is left out or said with what is known."""
    found = find_experiment(name)
    rng = np.random.default_rng(0)
    results = {arm.name: {column.name: rng.random((2, 5)) < 0.5 for column in found.columns} for arm in found.arms}
    assert found.analyse(results)
    for count in range(len(found.arms)):
        found.analyse(dict(list(results.items())[:count]))


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `tiny` one layer: these tests need runs, and no skill."""
    monkeypatch.setitem(tiny.SHAPE, "num_hidden_layers", 1)


def count_arms(results: Results) -> list[str]:
    return [f"{len(results)} arms are known."]


def toy() -> Experiment:
    return Experiment(
        question="Does anything happen?",
        arms=(
            Arm("SFT", "sft", ENV_ID),
            Arm("GRPO, turn", "grpo", ENV_ID, "SFT", options={"credit": "turn"}),
            Arm("PPO", "ppo", ENV_ID, "SFT"),
        ),
        columns=(Column("new seeds", ENV_ID, split="train", sampled=True), Column("test split", ENV_ID)),
        compared=(("GRPO, turn", "SFT"),),
        published="Published: nothing.",
        analyse=count_arms,
    )


def test_an_experiment_runs_and_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    job = ExperimentRun(toy(), SMALL, tmp_path)
    results = run(job, only=("GRPO, turn",))
    assert list(results) == ["SFT", "GRPO, turn"]
    assert {column: found.shape for column, found in results["SFT"].items()} == {
        "new seeds": (2, 3),
        "test split": (2, 3),
    }
    table = (tmp_path / "table.md").read_text()
    assert "| GRPO, turn - SFT |" in table
    assert "2 arms are known." in table
    assert "Published: nothing." in table
    assert json.loads((tmp_path / "table.json").read_text())["SFT"]["test split"]["low"] >= 0
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads(job.result(job.arm("SFT"), 1).read_text())
    assert set(content["returns"]) == set(content["loops"]) == {"new seeds", "test split"} and content["seconds"] >= 0

    def refuse(*_: Any) -> None:
        raise AssertionError("expected nothing to be trained again")

    monkeypatch.setattr(experiment.ExperimentRun, "train", refuse)
    again = run(job, only=("GRPO, turn",))
    assert all(np.array_equal(again[arm][column], results[arm][column]) for arm in results for column in results[arm])


def test_a_base_is_evaluated_as_it_is(tmp_path: Path, tiny_folder: Path) -> None:
    base = replace(toy(), arms=(Arm("base", "base", ENV_ID), Arm("PPO", "ppo", ENV_ID, "base")), compared=())
    job = ExperimentRun(base, replace(SMALL, model=str(tiny_folder), num_seeds=1), tmp_path)
    results = run(job, only=("base",))
    assert list(results) == ["base"] and not job.folder(job.arm("base"), 1).exists()
    assert is_done(job, job.arm("base"), 1, base.arms)
    assert job._rl(job.arm("PPO"), 1).model == str(tiny_folder)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    Policy.tiny(["go east", "take lamp"]).save(folder)
    return folder


def test_runs_in_parallel_find_what_they_find_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    fork = multiprocessing.get_context("fork")  # whose processes need not import everything again
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: fork)
    found = replace(toy(), arms=(Arm("a", "sft", ENV_ID), Arm("b", "sft", ENV_ID, num_demos=2)), compared=())
    jobs = [ExperimentRun(found, SMALL, tmp_path / name, progress=False) for name in ("one", "two")]
    alone, together = (run(job, seeds=(1,), num_workers=number) for number, job in enumerate(jobs, start=1))
    assert list(alone) == list(together) == ["a", "b"]
    for arm in ("a", "b"):
        assert np.array_equal(alone[arm]["test split"], together[arm]["test split"])


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
    job = ExperimentRun(toy(), SMALL, tmp_path)
    sft, _, ppo = arms = job.experiment.arms
    assert not is_done(job, sft, 1, [sft])
    write_result(job, 1, job.digest(sft))
    assert is_done(job, sft, 1, [sft])
    assert not is_done(job, sft, 1, arms), "GRPO and PPO are still to start from it"
    Path(job.model(sft, 1)).mkdir(parents=True)
    assert is_done(job, sft, 1, arms) and not is_done(job, ppo, 1, arms)


def test_no_game_is_trained_on_and_tested(tmp_path: Path) -> None:
    job = ExperimentRun(toy(), SMALL, tmp_path)
    new_seeds, test_split = job.experiment.columns
    first, second = (job._rl(job.arm("GRPO, turn"), seed) for seed in (1, 2))
    assert first.tasks.num_train_seeds == 0 and first.tasks.first_train_seed != second.tasks.first_train_seed
    assert second.tasks.first_train_seed < FIRST_SEED["train"] == min(job.games(new_seeds)) < min(job.games(test_split))
    assert job._sft(job.arm("SFT"), 1).num_demos < first.tasks.first_train_seed
    assert job.options(test_split, "test")["split"] == "test" and first.env_kwargs["split"] == "train"


def write_result(job: ExperimentRun, seed: int, digest: str) -> None:
    path = job.result(job.arm("SFT"), seed)
    path.parent.mkdir(parents=True)
    found = {"new seeds": [True, False], "test split": [True] * 3}
    path.write_text(json.dumps({"digest": digest, "successes": found}))


def test_results_of_another_scale_are_refused(tmp_path: Path) -> None:
    job = ExperimentRun(toy(), SMALL, tmp_path)
    write_result(job, 1, ExperimentRun(toy(), replace(SMALL, num_demos=4), tmp_path).digest(job.arm("SFT")))
    with pytest.raises(BaselinesError, match=r"expected .*SFT\.json of this scale and experiment, got another's"):
        read_results(job)


def test_the_results_of_sft_do_not_depend_on_settings_of_rl(tmp_path: Path) -> None:
    usual, other = (
        ExperimentRun(toy(), scale, tmp_path) for scale in (SMALL, replace(SMALL, learning_rate=1e-4, warmup_steps=3))
    )
    sft, grpo, _ = usual.experiment.arms
    assert usual.digest(sft) == other.digest(sft)
    assert usual.digest(sft) != ExperimentRun(toy(), replace(SMALL, sft_epochs=2), tmp_path).digest(sft)
    assert usual.digest(grpo) != other.digest(grpo)


def test_only_seeds_without_a_gap_are_read(tmp_path: Path) -> None:
    job = ExperimentRun(toy(), replace(SMALL, num_seeds=3), tmp_path)
    for seed in (1, 3):
        write_result(job, seed, job.digest(job.arm("SFT")))
    assert read_results(job)["SFT"]["new seeds"].tolist() == [[True, False]]


def test_zero_of_three_hundred_is_no_certainty() -> None:
    nothing = np.zeros((3, 100), dtype=bool)
    results = {"a": {"x": nothing}, "b": {"x": nothing}}
    assert str(rate(nothing)) == "0.00 [0.00, 0.04]"
    assert f"{difference(results, 'b', 'a', 'x'):+.2f}" == "+0.00 [-0.04, +0.04]"


@pytest.mark.parametrize(
    ("low", "high", "clear"),
    [(-0.19, -0.004, False), (0.004, 0.2, False), (-0.19, -0.006, True), (0.006, 0.2, True), (-0.1, 0.1, False)],
)
def test_an_end_that_is_shown_as_0_is_no_finding(low: float, high: float, clear: bool) -> None:
    found = Estimate((low + high) / 2, low, high)
    assert is_clear(found) == clear
    assert "-0.00" not in f"{found:+.2f}"


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


def test_options_of_an_arm_are_put_where_the_trainer_has_them() -> None:
    config = with_options(grpo.Config(env_id="x"), {"gamma": 0.3, "num_minibatches": 2, "adam_beta2": 0.98})
    assert (config.gamma, config.update.num_minibatches, config.optimiser.adam_beta2) == (0.3, 2, 0.98)
    assert config.update.loss_aggregation == grpo.Config(env_id="x").update.loss_aggregation
    with pytest.raises(ValueError, match=r"expected options of baselines\.grpo, got gae_lambda"):
        with_options(config, {"gae_lambda": 0.9})


@pytest.mark.parametrize("folder", sorted(COMMITTED.iterdir()), ids=lambda folder: folder.name)
def test_committed_tables_are_those_of_the_committed_results(folder: Path) -> None:
    found = find_experiment(folder.name)
    results = read_results(ExperimentRun(found, found.scale("laptop"), folder))
    assert results
    assert (folder / "table.md").read_text().startswith(report(found, results))


def test_a_digest_leaves_defaults_out_and_nothing_else(tmp_path: Path) -> None:
    job = ExperimentRun(toy(), SMALL, tmp_path)
    digest = job.digest(job.arm("SFT"))
    rollout = replace(SMALL.rollout, max_context_tokens=SMALL.rollout.max_context_tokens + 1)
    assert ExperimentRun(toy(), replace(SMALL, rollout=rollout), tmp_path).digest(job.arm("SFT")) != digest
    assert set_fields(RolloutSettings()) == {}
    assert set_fields(replace(SMALL, rollout=RolloutSettings(temperature=0.5)))["rollout"] == {"temperature": 0.5}
