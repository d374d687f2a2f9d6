"""Metrics of a run in TensorBoard, Weights & Biases, trackio or MLflow, through the tracker classes of accelerate.

The classes are constructed directly, without an `Accelerator`; only the first process of a run makes one. Everything stays
on this machine unless the user's own environment says otherwise: wandb runs offline unless WANDB_MODE is set, and trackio
and MLflow write locally unless TRACKIO_SPACE_ID, TRACKIO_SERVER_URL or MLFLOW_TRACKING_URI names another place.

`tracker.json` in the run's folder keeps the tracker's name of the run, so that a resumed run continues there.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from baselines.errors import ConfigError
from baselines.runs.files import write_whole
from baselines.runs.log import Record, warn

PROJECT = "textagent-gym"
"""Project of wandb and trackio, experiment of MLflow; WANDB_PROJECT and MLFLOW_EXPERIMENT_NAME name others."""

FILE = "tracker.json"
"""Name of the file in a run's folder that maps trackers to their names of the run."""

_CLASSES = {
    "tensorboard": "TensorBoardTracker",
    "wandb": "WandBTracker",
    "trackio": "TrackioTracker",
    "mlflow": "MLflowTracker",
}
_NO_TELEMETRY = {
    "wandb": {"WANDB_ERROR_REPORTING": "false"},
    "trackio": {"GRADIO_ANALYTICS_ENABLED": "False"},
    "mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true"},
}
_REFUSED_BY_MLFLOW = re.compile(r"[^\w\-. :/]")


def check_installed(name: str) -> None:
    """Refuse a tracker whose packages are missing.

    Raises:
        ConfigError: with the command that installs them.
    """
    for variable, value in _NO_TELEMETRY.get(name, {}).items():
        os.environ.setdefault(variable, value)
    missing = [package for package in ("accelerate>=1.9", name) if not _can_import(package.partition(">")[0])]
    if not missing and not hasattr(importlib.import_module("accelerate.tracking"), "TrackioTracker"):  # the newest used
        missing = ["accelerate>=1.9"]
    if missing:
        command = " ".join(f"'{package}'" if ">" in package else package for package in missing)
        names = " and ".join(package.partition(">")[0] for package in missing)
        raise ConfigError(
            f"expected {names} for --tracker {name}, got none that can be imported: pip install {command}"
        )


class RunTracker:
    """A run in one tracker; what the tracker raises while metrics are logged ends its use, and not the run.

    Args:
        name: `tensorboard`, `wandb`, `trackio` or `mlflow`.
        out: folder of the run.
        last_step: iterations that are finished; 0 for a new run.
        config: options by name, kept with a new run; values that are no numbers or strings are kept as JSON.
        device: torch device of the run, for accelerate's state of the process.

    Raises:
        ConfigError: a package is missing, or the tracker cannot start.
    """

    def __init__(self, name: str, out: Path, last_step: int, config: Mapping[str, Any], device: str = "cpu") -> None:
        check_installed(name)
        known = _read(out)
        is_new = last_step == 0 or name not in known
        self.name = name
        try:
            self._tracker: Any = _start(name, out, last_step, None if is_new else known[name], device)
            if is_new and name != "tensorboard":  # it would write into folders named by the clock
                self._tracker.store_init_configuration(_plain(config))
        except Exception as error:  # third-party code may raise anything
            raise ConfigError(f"expected --tracker {name} to start, got {_reason(error)}") from error
        write_whole(out / FILE, json.dumps({**known, name: _run_name(name, self._tracker)}) + "\n")

    def log(self, record: Record) -> None:
        """Log the metrics of one iteration; it must carry `step`."""
        values = {key: value for key, value in record.items() if key != "step"}
        if self.name == "mlflow":
            values = {_REFUSED_BY_MLFLOW.sub("_", key): value for key, value in values.items()}
        self._attempt(lambda: self._tracker.log(values, step=record["step"]))

    def close(self) -> None:
        """Close the tracker; a second call does nothing."""
        self._attempt(lambda: self._tracker.finish())
        self._tracker = None

    def _attempt(self, call: Callable[[], object]) -> None:
        if self._tracker is None:
            return
        try:
            call()
        except Exception as error:  # third-party code, or a service that is gone
            self._tracker = None
            warn(f"--tracker {self.name} failed, and gets no more metrics; metrics.jsonl holds all: {_reason(error)}")


def _start(name: str, out: Path, last_step: int, run: str | None, device: str) -> Any:
    """Start a tracker; `run` is its name of a run that it is to continue."""
    from accelerate import PartialState, tracking

    PartialState(cpu=device == "cpu")  # accelerate's logger asks for it; of several processes it exists already
    options: dict[str, Any]
    if name == "tensorboard":
        # The events lie in the run's folder itself; those of iterations that are played again are hidden.
        options = {"run_name": out.name, "logging_dir": str(out.parent), "purge_step": last_step + 1}
    elif name == "wandb":
        options = {
            "run_name": os.environ.get("WANDB_PROJECT", PROJECT),
            "name": out.name,
            "id": run or secrets.token_hex(4),
            "resume": "allow",
            "dir": str(out),
            "mode": os.environ.get("WANDB_MODE", "offline"),
        }
    elif name == "trackio":
        options = {"run_name": PROJECT, "name": run or f"{out.name}-{secrets.token_hex(4)}", "resume": "allow"}
    else:
        options = {"experiment_name": PROJECT, "run_name": out.name, "run_id": run}
    tracker = getattr(tracking, _CLASSES[name])(**options)
    tracker.start()
    return tracker


def _run_name(name: str, tracker: Any) -> str:
    """Return the name by which the tracker finds the run again."""
    if name == "tensorboard":
        return str(tracker.run_name)
    run = tracker.tracker
    if name == "mlflow":
        return str(run.info.run_id)
    return str(run.id if name == "wandb" else run.name)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if isinstance(value, bool | int | float | str) else json.dumps(value, default=str)
            for key, value in config.items()}  # fmt: skip


def _read(out: Path) -> dict[str, str]:
    try:
        found = json.loads((out / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _can_import(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
