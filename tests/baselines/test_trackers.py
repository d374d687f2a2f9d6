"""Trackers of a run: TensorBoard for real, the others through accelerate's classes and stand-ins of their modules."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from baselines import sft
from baselines.config.settings import RolloutSettings, RunSettings
from baselines.errors import ConfigError
from baselines.models.policy import Policy
from baselines.runs.log import MetricsLog, Record, read_metrics
from baselines.runs.trackers import RunTracker
from tests.support.toy_text_env import TOY

CONFIG = {"seed": 1, "env_kwargs": {"split": "train"}, "resume": False}
KEPT = {"seed": 1, "env_kwargs": '{"split": "train"}', "resume": False}
RECORD: Record = {"step": 1, "train/loss": 0.5, "eval/success_rate/Id-v0@1": 1.0}


class Recorder(ModuleType):
    """A stand-in of a tracker's module: notes what it is asked, in order."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, Any]] = []
        self.config = SimpleNamespace(update=lambda values, **_: self.calls.append(("config", values)))
        self.utils = SimpleNamespace(
            validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=6000, MAX_PARAMS_TAGS_PER_BATCH=100)
        )
        self.run_id = 0

    def init(self, **options: Any) -> SimpleNamespace:
        self.calls.append(("init", options))
        return SimpleNamespace(
            id=options.get("id"),
            name=options["name"],
            log=lambda values, step: self.calls.append(("log", (step, values))),
            finish=lambda: self.calls.append(("finish", None)),
        )

    def search_experiments(self, filter_string: str) -> list[Any]:
        return []

    def create_experiment(self, name: str, **_: Any) -> str:
        self.calls.append(("experiment", name))
        return name

    def start_run(self, run_id: str | None, run_name: str, **_: Any) -> SimpleNamespace:
        self.run_id += 1
        self.calls.append(("start", (run_id, run_name)))
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id or f"run-{self.run_id}"))

    def log_params(self, values: dict[str, Any]) -> None:
        self.calls.append(("config", values))

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.calls.append(("log", (step, values)))

    def end_run(self) -> None:
        self.calls.append(("finish", None))

    def named(self, name: str) -> list[Any]:
        return [found for call, found in self.calls if call == name]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_ERROR_REPORTING", "GRADIO_ANALYTICS_ENABLED", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "set")  # and put back after the test


def stand_in(name: str, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    module = Recorder(name)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def config_of(out: Path, **run: Any) -> sft.Config:
    return sft.Config(
        env_id=TOY,
        num_demos=2,
        num_epochs=2,
        batch_size=2,
        rollout=RolloutSettings(max_new_tokens=2, max_context_tokens=128),
        run=RunSettings(out=out, checkpoint_every=1, num_threads=1, progress=False, **run),
    )


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


@pytest.mark.parametrize("named", [{"tracker": "tensorboard"}, {"tensorboard": True}])
def test_tensorboard_reads_the_metrics_back(tmp_path: Path, named: dict[str, Any]) -> None:
    records = sft.train(config_of(tmp_path, **named)).records
    assert scalars(tmp_path, "train/loss") == [
        (record["step"], pytest.approx(record["train/loss"])) for record in records
    ]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    assert not [path.name for path in tmp_path.iterdir() if path.name.replace(".", "").isdigit()]  # named by the clock


def test_tensorboard_hides_what_is_played_again(tmp_path: Path) -> None:
    for last_step, steps, loss in ((0, (1, 2, 3), 1.0), (1, (2, 3, 4), 2.0)):
        tracker = RunTracker("tensorboard", tmp_path / "run", last_step, {})
        for step in steps:
            tracker.log({"step": step, "train/loss": loss})
        tracker.close()
    assert scalars(tmp_path / "run", "train/loss") == [(1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)]


def test_wandb_is_offline_unless_the_user_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = stand_in("wandb", monkeypatch)
    out = tmp_path / "grpo"
    tracker = RunTracker("wandb", out, 0, CONFIG)
    tracker.log(RECORD)
    tracker.close()
    tracker.close()
    (options,) = wandb.named("init")
    assert options == {
        "project": "textagent-gym",
        "name": "grpo",
        "id": options["id"],
        "resume": "allow",
        "dir": str(out),
        "mode": "offline",
    }
    assert wandb.named("config") == [KEPT]
    assert wandb.named("log") == [(1, {"train/loss": 0.5, "eval/success_rate/Id-v0@1": 1.0})]
    assert len(wandb.named("finish")) == 1
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    RunTracker("wandb", out, 5, CONFIG).close()  # resumed
    RunTracker("wandb", tmp_path / "other" / "grpo", 0, CONFIG).close()
    first, resumed, other = wandb.named("init")
    assert (resumed["mode"], resumed["project"]) == ("online", "mine")
    assert resumed["id"] == first["id"] != other["id"]
    assert len(wandb.named("config")) == 2  # a resumed run keeps its own


def test_trackio_continues_a_run_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackio = stand_in("trackio", monkeypatch)
    for out, last_step in ((tmp_path / "grpo", 0), (tmp_path / "grpo", 5), (tmp_path / "other" / "grpo", 0)):
        tracker = RunTracker("trackio", out, last_step, CONFIG)
        tracker.log({**RECORD, "step": last_step + 1})
        tracker.close()
    first, resumed, other = (options.pop("name") for options in trackio.named("init"))
    assert first == resumed != other and first.startswith("grpo-") and other.startswith("grpo-")
    assert trackio.named("init") == [{"project": "textagent-gym", "resume": "allow"}] * 3
    assert [step for step, _ in trackio.named("log")] == [1, 6, 1]
    assert trackio.named("config") == [KEPT] * 2 and len(trackio.named("finish")) == 3


def test_mlflow_continues_a_run_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = stand_in("mlflow", monkeypatch)
    for last_step in (0, 5):
        tracker = RunTracker("mlflow", tmp_path / "grpo", last_step, CONFIG)
        tracker.log(RECORD)
        tracker.close()
    assert mlflow.named("experiment") == ["textagent-gym"] * 2
    assert mlflow.named("start") == [(None, "grpo"), ("run-1", "grpo")]
    assert mlflow.named("config") == [KEPT]  # MLflow refuses to change an option
    assert mlflow.named("log")[0] == (1, {"train/loss": 0.5, "eval/success_rate/Id-v0_1": 1.0})
    assert json.loads((tmp_path / "grpo" / "tracker.json").read_text()) == {"mlflow": "run-1"}


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio", "mlflow"])
def test_a_missing_package_is_refused_before_a_model_is_made(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a model was made")

    monkeypatch.setattr(Policy, "tiny", never)
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"^expected {name} for --tracker {name}, got none that can be imported: pip install {name}$"
    with pytest.raises(ConfigError, match=message):
        sft.train(config_of(tmp_path / "run", tracker=name))
    assert not (tmp_path / "run").exists()
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ConfigError, match=rf"pip install 'accelerate>=1\.9' {name}$"):
        sft.train(config_of(tmp_path / "run", tracker=name))


def test_an_accelerate_without_the_tracker_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("trackio", monkeypatch)
    monkeypatch.delattr("accelerate.tracking.TrackioTracker")
    with pytest.raises(ConfigError, match=r"got none that can be imported: pip install 'accelerate>=1\.9'$"):
        RunTracker("trackio", tmp_path, 0, {})


def test_a_tracker_that_cannot_start_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("no API key\nconfigured")

    stand_in("wandb", monkeypatch).init = fail  # type: ignore[method-assign]
    with pytest.raises(
        ConfigError, match=r"^expected --tracker wandb to start, got RuntimeError: no API key configured$"
    ):
        RunTracker("wandb", tmp_path, 0, {})


def test_a_tracker_that_fails_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow = stand_in("mlflow", monkeypatch)
    tracker = RunTracker("mlflow", tmp_path, 0, {})

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("the server is gone")

    mlflow.log_metrics = fail  # type: ignore[method-assign]
    log = MetricsLog(tmp_path / "metrics.jsonl", 0, [tracker])
    for step in (1, 2):
        log.write({"step": step, "train/loss": 1.0})
    log.close()
    assert [record["step"] for record in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]
    assert capsys.readouterr().err.count("--tracker mlflow failed, and gets no more metrics") == 1


def test_a_tracker_changes_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers(config: sft.Config) -> list[Record]:
        records = sft.train(config).records
        return [{key: value for key, value in record.items() if "per_second" not in key} for record in records]

    wandb = stand_in("wandb", monkeypatch)
    plain, tracked = config_of(tmp_path / "plain"), config_of(tmp_path / "tracked", tracker="wandb")
    expected = numbers(plain)
    assert numbers(tracked) == expected
    assert [step for step, _ in wandb.named("log")] == [1, 2] and len(wandb.named("finish")) == 1
    # A run may be resumed with another tracker.
    mlflow = stand_in("mlflow", monkeypatch)
    resumed = replace(tracked, run=replace(tracked.run, resume=True, tracker="mlflow"))
    assert numbers(resumed) == expected and not mlflow.named("log")


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="expected tracker to be one of none, tensorboard, wandb, trackio, mlflow, got"
    ):
        config_of(tmp_path, tracker="comet").check()
