"""The folder of a training run: its configuration, metrics, checkpoints and final model."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from baselines.checkpoint import Checkpoint, list_checkpoints, save_checkpoint
from baselines.environments import EnvKwargs, TextEnv, close_envs, make_envs
from baselines.errors import ConfigError
from baselines.evaluate import Evaluation, evaluate_policy
from baselines.log import MetricsLog, Record, draw_curves
from baselines.policy import Policy
from baselines.settings import RolloutSettings, RunSettings


@dataclass(frozen=True)
class TrainResult:
    """What a training run leaves in memory.

    Attributes:
        policy: the trained policy.
        records: every line of metrics.jsonl.
        evaluation: the last evaluation on held-out seeds, or None if there was none.
        model_folder: where the policy was saved; it loads as `--model`.
    """

    policy: Policy
    records: list[Record]
    evaluation: Evaluation | None
    model_folder: Path


@dataclass(frozen=True)
class Run:
    """An open run.

    Attributes:
        out: its folder.
        checkpoint: where it goes on, or None for a new run.
        log: its metrics.
    """

    out: Path
    checkpoint: Checkpoint | None
    log: MetricsLog

    @property
    def first_step(self) -> int:
        """Iterations that are already done."""
        return self.checkpoint.step if self.checkpoint else 0

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.out / "checkpoints"

    def save_if_due(self, settings: RunSettings, step: int, policy: Policy, optimiser: torch.optim.Optimizer) -> None:
        """Writes a checkpoint after every `checkpoint_every` iterations; `step` counts from 1."""
        if settings.checkpoint_every and step % settings.checkpoint_every == 0:
            save_checkpoint(self.checkpoints, step, policy, optimiser, keep=settings.keep_checkpoints)

    def finish(self, policy: Policy, evaluation: Evaluation | None, title: str) -> TrainResult:
        """Saves the model and the learning curves."""
        folder = self.out / "model"
        policy.save(folder)
        draw_curves(self.log.records, self.out / "curves.png", title)
        return TrainResult(policy, self.log.records, evaluation, folder)


def open_run(config: Any, settings: RunSettings) -> Run:
    """Opens the run's folder, new or to be resumed.

    Args:
        config: the algorithm's frozen `Config`, kept as config.json.
        settings: its run settings.

    Raises:
        ConfigError: the folder holds another run and `resume` is not set, or the configuration has changed since.
    """
    out = settings.out
    kept, described = out / "config.json", _described(config)
    if settings.resume and kept.is_file():
        _check_same(json.loads(kept.read_text()), described)
        found = list_checkpoints(out / "checkpoints")
        checkpoint = found[-1] if found else None
    elif (out / "metrics.jsonl").exists():
        raise ConfigError(f"expected --out to be a new folder (or --resume), got {out}, which holds a run")
    else:
        checkpoint = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(described, indent=2) + "\n")
        log = MetricsLog(out / "metrics.jsonl", checkpoint.step if checkpoint else 0)
    except OSError as error:
        raise ConfigError(f"expected --out to be a folder that can be written, got {out}: {error}") from error
    return Run(out, checkpoint, log)


class HeldOut:
    """The evaluation of a run: fixed held-out seeds, greedy play, environments made once and only if needed."""

    def __init__(self, env_id: str, env_kwargs: EnvKwargs, settings: RunSettings, rollout: RolloutSettings) -> None:
        self._env_id, self._env_kwargs = env_id, {**env_kwargs, **settings.eval_env_kwargs}
        self._settings = settings
        self._rollout = dataclasses.replace(rollout, temperature=0.0)
        self._envs: list[TextEnv] = []
        self.last: Evaluation | None = None

    def record(self, policy: Policy, step: int, num_steps: int) -> Record:
        """Metrics of an evaluation, if one is due after iteration `step` (from 1) of `num_steps`; else nothing."""
        every, count = self._settings.eval_every, self._settings.eval_episodes
        if count == 0 or not (step == num_steps or (every and step % every == 0)):
            return {}
        if not self._envs:
            self._envs = make_envs(self._env_id, self._env_kwargs, min(count, self._settings.num_eval_envs))
        self.last = evaluate_policy(policy, self._envs, self._settings.eval_seeds, self._rollout)
        low, high = self.last.success_interval()
        return {
            "eval/success_rate": self.last.success_rate,
            "eval/ci_low": low,
            "eval/ci_high": high,
            "eval/return": float(self.last.returns.mean()),
        }

    def close(self) -> None:
        """Closes the environments."""
        close_envs(self._envs)


def prepare_torch(settings: RunSettings) -> None:
    """Checks the device and sets the number of threads, before any model is loaded.

    Raises:
        ConfigError: the device does not exist here.
    """
    try:
        torch.zeros(1, device=settings.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"expected a torch device that exists here, got {settings.device!r}: {reason}") from error
    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)


def check_context(policy: Policy, rollout: RolloutSettings) -> None:
    """Raises `ConfigError` if an episode may grow beyond the positions that the model was made for."""
    limit = policy.max_context_tokens
    if limit is not None and rollout.max_context_tokens > limit:
        raise ConfigError(
            f"expected max_context_tokens <= {limit} (positions of the model), got {rollout.max_context_tokens}"
        )


def _described(config: Any) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return described


def _check_same(old: dict[str, Any], new: dict[str, Any]) -> None:
    old_flat, new_flat = _flat(old), _flat(new)
    free = {"resume", "out", "progress", "num_threads", "checkpoint_every", "keep_checkpoints"}
    for key in sorted((old_flat.keys() | new_flat.keys()) - free):
        if old_flat.get(key) != new_flat.get(key):
            raise ConfigError(f"expected the resumed run's own {key}={old_flat.get(key)!r}, got {new_flat.get(key)!r}")


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    nested = {"rollout", "optimiser", "run"}
    flat = {key: value for key, value in config.items() if key not in nested}
    for key in nested & config.keys():
        flat.update(config[key])
    return flat
