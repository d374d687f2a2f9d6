"""Learning speed: minutes and episodes until a policy solves most validation games, for our trainers and TRL's GRPO.

    python -m benchmarks learning --out runs/learning --trl TRL/bin/python

Every trial starts from the same base, plays new games of the same environment on the same threads, and is validated by the
same greedy episodes over the listed commands; the time of validation does not count. Each trainer is tuned with the same
number of trials, which differ in step size and batch; the table has the fastest of each, and `trials.json` has all. A trial
that was finished is not run again.

`--trl` names an interpreter that has TRL and this project's dependencies. There TRL's `GRPOTrainer` plays through
`rollout_func` with the usual loop around `model.generate` (`peers/generate_rollout.py`), because it has no decoding over
listed commands; with `--trl-rollouts ours` it plays through this project's rollouts in free text instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from baselines import grpo, ppo
from baselines.config.settings import (
    OptimiserSettings,
    RolloutSettings,
    RunSettings,
    TaskSettings,
    UpdateSettings,
    check_at_least,
    check_fraction,
)
from baselines.errors import BaselinesError, ConfigError
from baselines.models.policy import silence_transformers
from baselines.runs.files import write_whole
from baselines.runs.log import MetricsLog, Record, read_metrics

ROOT = Path(__file__).parents[2]
TRL_SCRIPT = Path(__file__).parent / "peers" / "trl_learning.py"

VALIDATION_SEED = 40_000_000
"""First seed of the validation games, of the train split."""


@dataclass(frozen=True)
class Config:
    """Options of the measurement."""

    out: Path = Path("runs/learning")
    """Folder of the trials."""
    env_id: str = "textagent_gym:TextWorld-w2-o3-q4-Dense-v0"
    """Environment; its observations have no preamble."""
    model: str = "tiny-base"
    """Start of every trial."""
    trl: Path | None = None
    """An interpreter that has TRL; without it only our trainers are measured."""
    trl_rollouts: Literal["generate", "ours"] = "generate"
    """Loop that plays for TRL."""
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    """Step sizes that every trainer is tried with, each with every group size."""
    group_sizes: tuple[int, ...] = (4, 8)
    """Group sizes that every trainer is tried with; for PPO optimiser steps of an iteration."""
    target: float = 0.75
    """Success rate on validation games at which the clock stops."""
    num_validation_games: int = 200
    """Validation games."""
    episodes_per_batch: int = 64
    """Episodes of one iteration."""
    max_minutes: float = 15.0
    """Minutes of training after which a trial is given up."""
    eval_every: int = 2
    """Iterations between validations."""
    num_threads: int = 2
    """Threads of torch."""
    seed: int = 1
    """Seed of every trial."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_fraction("target", self.target)
        for name in ("num_validation_games", "episodes_per_batch", "eval_every", "num_threads"):
            check_at_least(name, getattr(self, name), 1)


@dataclass(frozen=True)
class Trial:
    """One training run until the target.

    Attributes:
        trainer: its name.
        settings: options that differ between trials.
        minutes: of training until the target, validation left out; None where it was not reached.
        episodes: training episodes until the target, or until the trial was given up.
        success_rate: of the last validation.
    """

    trainer: str
    settings: dict[str, Any]
    minutes: float | None
    episodes: int
    success_rate: float


class ReachedError(Exception):
    """Ends a run whose trial is over."""


def trials(config: Config) -> list[tuple[str, dict[str, Any]]]:
    """Return trainer and settings of every trial."""
    found: list[tuple[str, dict[str, Any]]] = []
    for rate in config.learning_rates:
        for group in config.group_sizes:
            found.append(("PPO", {"learning_rate": rate, "num_minibatches": group}))
            found.append(("GRPO", {"learning_rate": rate, "group_size": group}))
            if config.trl is not None:
                found.append(("TRL GRPO", {"learning_rate": rate, "group_size": group}))
    return found


def claim(config: Config) -> None:
    """Note what all trials of the folder share: a finished trial is read again, and must be one of these options.

    Raises:
        ConfigError: the folder holds trials of other options.
    """
    own = ("out", "trl", "learning_rates", "group_sizes")
    shared = {name: value for name, value in asdict(config).items() if name not in own}
    path = config.out / "options.json"
    found = json.loads(path.read_text()) if path.is_file() else shared
    if other := [name for name in shared if found.get(name) != shared[name]]:
        raise ConfigError(f"expected --out without trials of another {', '.join(other)}, got {config.out}")
    write_whole(path, json.dumps(shared, indent=2) + "\n")


def run_trial(config: Config, trainer: str, settings: dict[str, Any]) -> Trial:
    """Run one trial, or read what it has left."""
    name = "-".join([trainer.replace(" ", "-"), *(f"{key}-{value}" for key, value in settings.items())])
    folder = config.out / name
    result = folder / "trial.json"
    if result.is_file():
        return Trial(**json.loads(result.read_text()))
    run = run_trl if trainer == "TRL GRPO" else run_ours
    records = run(config, trainer, settings, folder)
    reached = [record for record in records if record.get("eval/success_rate", 0.0) >= config.target]
    last = reached[0] if reached else records[-1]
    seconds = sum(
        record["time/rollout_seconds"] + record["time/update_seconds"]
        for record in records
        if record["step"] <= last["step"]
    )
    rates = [record["eval/success_rate"] for record in records if "eval/success_rate" in record]
    trial = Trial(
        trainer,
        settings,
        round(seconds / 60, 2) if reached else None,
        last["step"] * config.episodes_per_batch,
        rates[-1] if rates else 0.0,
    )
    write_whole(result, json.dumps(asdict(trial)) + "\n")
    return trial


def run_ours(config: Config, trainer: str, settings: dict[str, Any], folder: Path) -> list[Record]:
    """Train with one of our trainers until the target or the end of the time, and return its metrics."""
    module: Any = {"PPO": ppo, "GRPO": grpo}[trainer]
    options: dict[str, Any] = {"env_kwargs": {"preamble": False, "split": "train"}, "credit": "turn", "gamma": 0.5}
    update = UpdateSettings(num_minibatches=settings.get("num_minibatches", 4))
    if trainer == "PPO":
        options["episodes_per_batch"] = config.episodes_per_batch
    else:
        group = settings["group_size"]
        options |= {"group_size": group, "groups_per_batch": config.episodes_per_batch // group}
    rollout = RolloutSettings(decode="listed", max_new_tokens=24)
    run = RunSettings(
        out=folder,
        seed=config.seed,
        eval_every=config.eval_every,
        eval_episodes=config.num_validation_games,
        eval_first_seed=VALIDATION_SEED,
        num_threads=config.num_threads,
        progress=False,
    )
    optimiser = OptimiserSettings(learning_rate=settings["learning_rate"], warmup_steps=12)
    with stopping(config):
        module.train(
            module.Config(
                env_id=config.env_id,
                model=config.model,
                num_iterations=1000,
                tasks=TaskSettings(first_train_seed=config.seed * 1_000_000),
                rollout=rollout,
                update=update,
                optimiser=optimiser,
                run=run,
                **options,
            )
        )
    return read_metrics(folder / "metrics.jsonl")


@contextmanager
def stopping(config: Config) -> Iterator[None]:
    """End a training run by an exception once its metrics say that the trial is over."""
    write, seconds = MetricsLog.write, 0.0

    def writing(log: MetricsLog, record: Record) -> None:
        nonlocal seconds
        write(log, record)
        seconds += record["time/rollout_seconds"] + record["time/update_seconds"]
        if record.get("eval/success_rate", 0.0) >= config.target or seconds > 60 * config.max_minutes:
            raise ReachedError

    with patch.object(MetricsLog, "write", writing), suppress(ReachedError):
        yield


def run_trl(config: Config, _: str, settings: dict[str, Any], folder: Path) -> list[Record]:
    """Train with TRL's `GRPOTrainer` in its own interpreter, and return its metrics under our names.

    Raises:
        BaselinesError: the interpreter ends with an error; its last line is in the message.
    """
    options = {**asdict(replace(config, out=folder)), **settings}
    write_whole(folder / "options.json", json.dumps(options, default=str))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [str(config.trl), str(TRL_SCRIPT), str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or "no message").split("\n")[-1]
        raise BaselinesError(f"expected TRL's trainer to end well in {folder}, got: {reason}")
    return read_metrics(folder / "metrics.jsonl")


def fastest(found: Sequence[Trial], trainer: str) -> Trial | None:
    """Return the trial of a trainer that reached the target first, or None if none did."""
    reached = [trial for trial in found if trial.trainer == trainer and trial.minutes is not None]
    return min(reached, key=lambda trial: trial.minutes or 0.0, default=None)


def report(config: Config, found: Sequence[Trial], console: Console) -> None:
    """Print the fastest trial of each trainer and write all to `out`/trials.json."""
    title = f"until {config.target:.2f} of {config.num_validation_games} validation games"
    table = Table("trainer", "minutes", "episodes", "settings", "trials", title=title)
    for trainer in dict.fromkeys(trial.trainer for trial in found):
        count = sum(trial.trainer == trainer for trial in found)
        best = fastest(found, trainer)
        if best is None:
            table.add_row(trainer, "not reached", "", "", str(count))
        else:
            shown = ", ".join(f"{key} {value}" for key, value in best.settings.items())
            table.add_row(trainer, f"{best.minutes:.2f}", str(best.episodes), shown, str(count))
    console.print(table)
    write_whole(config.out / "trials.json", json.dumps([asdict(trial) for trial in found], indent=2) + "\n")


def main(config: Config) -> None:
    """Measure, print the fastest trials and write all of them."""
    silence_transformers()
    started = time.monotonic()
    found: list[Trial] = []
    config.check()
    claim(config)
    for trainer, settings in trials(config):
        found.append(run_trial(config, trainer, settings))
        sys.stdout.write(f"{found[-1]}\n")
    report(config, found, Console(highlight=False))
    sys.stdout.write(f"{time.monotonic() - started:.0f} seconds\n")
