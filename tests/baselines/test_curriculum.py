"""Curricula of stages: by schedule, by success, horizons; read from a file, resumed bit for bit."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import tyro

from baselines import grpo, ppo
from baselines.config.settings import RolloutSettings, RunSettings, TaskSettings, UpdateSettings
from baselines.config.stages import parse_stages, read_curriculum
from baselines.errors import ConfigError
from baselines.rl.learner import Learner
from baselines.runs import run
from baselines.runs.log import MetricsLog, Record
from baselines.runs.run import TrainResult
from baselines.sampling.environments import TaskSchedule
from tests.support.blocks import DOCS, blocks
from tests.support.scripted_text_env import SCRIPTED, ScriptedOutcomes
from tests.support.toy_text_env import TOY

ROLLOUT = RolloutSettings(max_new_tokens=2, max_context_tokens=128)
BY_SUCCESS = {"success": 0.6, "iterations": 2}


def schedule(*stages: dict[str, Any]) -> TaskSchedule:
    settings = TaskSettings(curriculum=list(stages))
    settings.check()
    return TaskSchedule("A-v0", {"split": "train", "max_steps": 9}, settings, 10, 1)


def played(tasks: TaskSchedule, successes: list[float]) -> list[int]:
    """Return the stage of each iteration."""
    stages = []
    for iteration, success in enumerate(successes):
        kinds = {task.kind for task in tasks.draw(iteration, 3)}
        assert kinds == {tasks.stage}
        stages.append(tasks.stage)
        tasks.observe(iteration, success)
    return stages


def test_stages_are_laid_over_the_environment_of_the_run() -> None:
    tasks = schedule({"until": 3}, {"env_kwargs": {"max_steps": 30}, "until": 4}, {"env_id": "B-v0"})
    assert tasks.kinds == [
        ("A-v0", {"split": "train", "max_steps": 9}),
        ("A-v0", {"split": "train", "max_steps": 30}),
        ("B-v0", {"split": "train", "max_steps": 9}),
    ]


def test_a_schedule_by_hand() -> None:
    assert played(schedule({"until": 2}, {"until": 5}, {}), [0.0, 1.0] * 4) == [0, 0, 1, 1, 1, 2, 2, 2]


def test_success_by_hand() -> None:
    """Above 0.6 twice in a row; 0.6 itself is not above it, and a new stage counts from 0."""
    tasks = schedule({"until": BY_SUCCESS}, {"until": BY_SUCCESS}, {})
    successes = [0.7, 0.6, 0.7, 0.8, 0.9, 0.0, 0.9, 1.0, 0.0, 0.0]
    assert played(tasks, successes) == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_a_stage_whose_end_has_passed_is_left_out() -> None:
    """The first stage ends after iteration 3; that of the second one was iteration 2."""
    tasks = schedule({"until": BY_SUCCESS}, {"until": 2}, {"until": 5}, {})
    assert played(tasks, [0.0, 0.7, 0.7, 0.0, 0.0, 0.0]) == [0, 0, 0, 2, 2, 3]


def config(out: Path, stages: list[dict[str, Any]], **changes: Any) -> grpo.Config:
    made = grpo.Config(
        env_id=SCRIPTED,
        env_kwargs={"won": [2, 3, 4, 5]},  # of 2 tasks an iteration: half of the first one's, all of the two after it
        num_iterations=6,
        groups_per_batch=2,
        group_size=2,
        tasks=TaskSettings(curriculum=stages),
        update=UpdateSettings(num_minibatches=2),
        rollout=ROLLOUT,
        run=RunSettings(out=out, num_threads=1, progress=False, checkpoint_every=2),
    )
    return replace(made, **changes)


STAGES: list[dict[str, Any]] = [
    {"env_kwargs": {"label": "first"}, "until": BY_SUCCESS},
    {"env_kwargs": {"label": "second"}, "until": 5},
    {"env_kwargs": {"label": "third"}},
]


class Killed(BaseException):
    """Exception that a test raises in the middle of a run."""


def train(made: grpo.Config) -> TrainResult:
    ScriptedOutcomes.num_played.clear()
    return grpo.train(made)


def without_times(records: list[Record]) -> list[Record]:
    return [{k: v for k, v in record.items() if "second" not in k} for record in records]


def test_a_run_goes_through_its_stages_and_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint of iteration 2 holds one success of the two that end the first stage."""
    whole = train(config(tmp_path / "whole", STAGES))
    assert [record["train/success_rate"] for record in whole.records[:4]] == [0.5, 1.0, 1.0, 0.5]
    assert [record["train/stage"] for record in whole.records] == [0, 0, 0, 1, 1, 2]
    parts, write = config(tmp_path / "parts", STAGES), MetricsLog.write

    def killing(self: MetricsLog, record: Record) -> None:
        write(self, record)
        if record["step"] == 3:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(MetricsLog, "write", killing)
        train(parts)
    resumed = grpo.train(replace(parts, run=replace(parts.run, resume=True)))
    assert without_times(resumed.records) == without_times(whole.records)
    one, two = whole.policy.model.state_dict(), resumed.policy.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    changed = [{**STAGES[0], "until": 3}, *STAGES[1:]]
    with pytest.raises(ConfigError, match="expected the resumed run's own curriculum="):
        grpo.train(config(tmp_path / "parts", changed, run=replace(parts.run, resume=True)))


def test_every_stage_is_evaluated(tmp_path: Path) -> None:
    made = config(tmp_path, STAGES, num_iterations=1)
    (record,) = train(replace(made, run=replace(made.run, eval_episodes=2))).records
    assert {f"eval/success_rate/{SCRIPTED}{mark}" for mark in ("", "@1", "@2")} <= record.keys()


@pytest.mark.parametrize(
    "tasks",
    [
        TaskSettings(also={f"{TOY}@short": {"max_steps": 2}, f"{TOY}@long": {"max_steps": 5, "weight": 2}}),
        TaskSettings(
            curriculum=[{"until": 1}, {"env_kwargs": {"max_steps": 2}, "until": 2}, {"env_kwargs": {"max_steps": 5}}]
        ),
    ],
    ids=["also", "stages"],
)
def test_entries_have_horizons_of_their_own(tasks: TaskSettings, tmp_path: Path) -> None:
    """A policy that knows nothing is cut at the budget of each entry: 6 steps, the environment's own, 2 and 5."""
    made = ppo.Config(
        env_id=TOY,
        episodes_per_batch=12,
        tasks=tasks,
        rollout=replace(ROLLOUT, max_context_tokens=512),
        run=RunSettings(out=tmp_path, num_threads=1, progress=False),
    )
    made.check()
    found: set[tuple[int, int]] = set()
    drawn = TaskSchedule(TOY, {}, tasks, made.num_iterations, made.run.seed)
    with Learner("PPO", made) as learner:
        for iteration in range(3):
            kinds = [task.kind for task in drawn.draw(iteration, 12)]
            collected = learner.collect(iteration, 12, 1)
            found |= {(kind, len(episode.turns)) for kind, episode in zip(kinds, collected.episodes, strict=True)}
            assert all(episode.truncated and not episode.truncated_by_context for episode in collected.episodes)
            assert collected.record["train/stage"] == sum(kinds) / 12
            drawn.observe(iteration, collected.record["train/success_rate"])
    assert found == {(0, 6), (1, 2), (2, 5)}


def test_a_file_of_stages_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "stages.json"
    path.write_text(json.dumps(STAGES))
    for options, expected in (
        (["--curriculum", str(path)], STAGES),
        (["--curriculum", "adaptive"], "adaptive"),
        ([], "none"),
    ):
        read = tyro.cli(grpo.Config, args=["--env-id", TOY, *options], config=(tyro.conf.OmitArgPrefixes,))
        assert read.tasks.curriculum == expected
    assert [stage.until for stage in parse_stages(read_curriculum(str(path)))][1:] == [5, None]


def test_the_stages_of_the_page() -> None:
    (example,) = (found for found in blocks((DOCS / "training" / "tasks.md").read_text(), "") if '"until"' in found)
    assert len(parse_stages(json.loads(example))) == 4


BAD: list[tuple[Any, str]] = [
    ([], r"expected a curriculum to be a list of stages, got \[\]"),
    ({"until": 3}, "expected a curriculum to be a list of stages, got {'until': 3}"),
    ([3], "expected stage 1 to be an object with keys among env_id, env_kwargs, until, got 3"),
    ([{"steps": 3}], "expected stage 1 to be an object with keys among"),
    ([{"env_id": 3}], "expected env_id of stage 1 to be a string, got 3"),
    ([{"env_kwargs": [1]}], r"expected env_kwargs of stage 1 to be an object, got \[1\]"),
    ([{}, {}], "expected an until in stage 1, which says when the next one follows, got None"),
    ([{"until": 3}, {"until": 5}], "expected no until in the last stage, which says when the next one follows, got 5"),
    ([{"until": 3}, {"until": 3}, {}], "expected until > 3 in stage 2, got 3"),
    ([{"until": 0}, {}], "expected until > 0 in stage 1, got 0"),
    ([{"until": True}, {}], "expected until of stage 1 to be a number of iterations or .*, got True"),
    (
        [{"until": {"success": 0.5}}, {}],
        "expected until of stage 1 to be a number of iterations or .*, got {'success': 0.5}",
    ),
    (
        [{"until": {"success": 1, "iterations": 2}}, {}],
        r"expected success of stage 1 to be a number in \[0, 1\), got 1",
    ),
    ([{"until": {"success": 0.5, "iterations": 0}}, {}], "expected iterations of stage 1 to be an integer >= 1, got 0"),
]


@pytest.mark.parametrize(("stages", "reason"), BAD)
def test_bad_stages_are_refused_in_one_sentence(
    stages: Any, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=reason):
        TaskSettings(curriculum=stages).check()
    path = tmp_path / "stages.json"
    path.write_text(json.dumps(stages))
    assert_refused(["--curriculum", str(path)], reason, tmp_path, monkeypatch)


def assert_refused(options: list[str], reason: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(run, "load_policy", never)
    monkeypatch.setattr(sys, "argv", ["grpo", "--env-id", TOY, *options, "--out", str(out / "run")])
    with pytest.raises(SystemExit, match=f"^error: {reason}") as stopped:
        grpo.main()
    assert "\n" not in str(stopped.value)


def test_bad_files_and_environments_are_refused_before_a_model_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stages.json"
    named = "expected curriculum to be none, fixed, adaptive or a JSON file of stages, got"
    assert_refused(["--curriculum", "adaptve"], f"{named} 'adaptve': .*No such file", tmp_path, monkeypatch)
    path.write_text("[{")
    assert_refused(["--curriculum", str(path)], named, tmp_path, monkeypatch)
    path.write_bytes(b"\xff\xfe\x00")
    assert_refused(["--curriculum", str(path)], named, tmp_path, monkeypatch)
    path.write_text(json.dumps([{"until": 2}, {"env_id": "NoSuch-v0"}]))
    reason = "expected a registered environment id, got 'NoSuch-v0'"
    assert_refused(["--curriculum", str(path)], reason, tmp_path, monkeypatch)
    path.write_text(json.dumps([{"until": 2}, {"env_kwargs": {"colour": "red"}}]))
    assert_refused(["--curriculum", str(path)], "expected options that .* accepts", tmp_path, monkeypatch)
    path.write_text(json.dumps([{"until": 2}, {}]))
    options = ["--curriculum", str(path), "--also", json.dumps({TOY: 1})]
    assert_refused(options, "expected no also with a curriculum of stages, got", tmp_path, monkeypatch)
