"""Experiments: their arms are trained and evaluated, and the tables are shown with the published figures.

    python -m benchmarks experiment algorithms --out docs/experiments/algorithms

The experiments are data in `studies`. An experiment that was interrupted is continued by the same command,
and one that is half done has a table of what is known. Results are kept in `successes/`, one file for each run, so that
an experiment can be continued elsewhere without its models. `--num-workers` runs are trained in parallel, each in a
process of its own, and what they find does not depend on how many there are.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from importlib import import_module
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from baselines import rft, sft
from baselines.config.settings import RunSettings, TaskSettings, check_at_least
from baselines.errors import BaselinesError
from baselines.evaluate import Evaluation, evaluate_policy
from baselines.models.policy import Policy, silence_transformers
from baselines.recipe import ALGORITHMS, batch_sizes
from baselines.runs.files import write_whole
from baselines.sampling.environments import EnvPool
from benchmarks.experiments.design import (
    FIRST_SEED,
    RL_FIELDS,
    Arm,
    Column,
    Experiment,
    Results,
    Scale,
)
from benchmarks.experiments.report import write_report
from benchmarks.suites.suite import sha256

Name: TypeAlias = Literal[
    "alfworld_subgoals",
    "algorithms",
    "algorithms_hard",
    "density",
    "density_hard",
    "grid",
    "horizon",
    "length",
    "scratch",
    "settings",
    "sft_share",
    "sft_share_hard",
    "size",
]

GAMES_PER_SEED = 1_000_000
"""Seeds of games between those of two training seeds; demonstrations are the seeds from 0 on."""

TRAINERS: dict[str, Any] = {"sft": sft, "rft": rft, **{str(name): module for name, module in ALGORITHMS.items()}}


@dataclass(frozen=True)
class Config:
    """Options of an experiment."""

    name: tyro.conf.Positional[Name]
    """Name of the experiment."""
    scale: Literal["laptop", "gpu"] = "laptop"
    """Scale of the experiment."""
    out: Path | None = None
    """Folder of the runs, the table and the figure; by default runs/NAME-SCALE."""
    seeds: tuple[int, ...] = ()
    """Training seeds; by default from 1 to the number of the scale."""
    only: tuple[str, ...] = ()
    """Arms to train, with those that they start from; all by default."""
    num_workers: int = 1
    """Runs that are trained in parallel."""
    num_threads: int = 1
    """Threads of torch, of each of them."""
    dry: bool = False
    """Print the arms, and train nothing."""


@dataclass(frozen=True)
class ExperimentRun:
    """An experiment at one scale, in one folder.

    Attributes:
        experiment: the question.
        scale: the size of everything.
        out: folder.
        num_threads: of torch.
        progress: True if a run shows its live line.
    """

    experiment: Experiment
    scale: Scale
    out: Path
    num_threads: int = 1
    progress: bool = True

    def folder(self, arm: Arm, seed: int) -> Path:
        """Return the folder of one training run."""
        return self.out / f"seed-{seed}" / arm.name.replace(", ", "-").replace(" ", "-").replace(":", "-")

    def result(self, arm: Arm, seed: int) -> Path:
        """Return the file with the results of one training run."""
        return self.out / "successes" / f"seed-{seed}" / f"{self.folder(arm, seed).name}.json"

    def arm(self, name: str) -> Arm:
        """Return the arm of that name."""
        return next(arm for arm in self.experiment.arms if arm.name == name)

    def model(self, arm: Arm, seed: int) -> str:
        """Return the model that an arm leaves: a folder, or the scale's model where nothing is trained."""
        return self.scale.model if arm.algorithm == "base" else str(self.folder(arm, seed) / "model")

    def train(self, arm: Arm, seed: int) -> Policy:
        """Train one arm and return its policy."""
        if arm.algorithm == "base":
            return Policy.load(self.scale.model, self.scale.dtype, self.scale.device)
        config = self._sft(arm, seed) if arm.algorithm == "sft" else self._rl(arm, seed)
        policy: Policy = TRAINERS[arm.algorithm].train(config).policy
        return policy

    def evaluate(self, policy: Policy) -> dict[str, Evaluation]:
        """Return an evaluation for each column, by its name."""
        found = {}
        for column in self.experiment.columns:
            settings = replace(self.scale.rollout, temperature=1.0 if column.sampled else 0.0)
            with EnvPool([(column.env_id, self.options(column, column.split))]) as pool:
                found[column.name] = evaluate_policy(policy, pool, self.games(column), settings)
        return found

    def games(self, column: Column) -> range:
        """Return the seeds of the games of a column."""
        first = FIRST_SEED.get(column.split, 0) if column.first_seed is None else column.first_seed
        return range(first, first + (column.num_games or self.scale.num_test_games))

    def options(self, place: Arm | Column, split: str) -> dict[str, Any]:
        """Return constructor options of an arm's or a column's environment."""
        return {**self.scale.options, "split": split, **place.env_kwargs}

    def digest(self, arm: Arm) -> str:
        """Return a digest of all that the results of an arm depend on, but the seed.

        A field with the value that its class gives it is left out, so that a new option changes no digest.
        """
        chain = [arm]
        while (start := chain[-1].start) is not None:
            chain.append(self.arm(start))
        scale = replace(self.scale, num_seeds=0)
        if all(one.algorithm in ("base", "sft") for one in chain):
            nothing: dict[str, Any] = dict.fromkeys(RL_FIELDS, 0)
            scale = replace(scale, **nothing)
        parts: list[Any] = [scale, *chain, *self.experiment.columns]
        return sha256(json.dumps([set_fields(one) for one in parts], sort_keys=True))[:16]

    def _common(self, arm: Arm, seed: int) -> dict[str, Any]:
        scale = self.scale
        run = RunSettings(
            out=self.folder(arm, seed),
            seed=seed,
            resume=True,
            checkpoint_every=10,
            num_threads=self.num_threads,
            progress=self.progress,
            device=scale.device,
            dtype=scale.dtype,
        )
        model = scale.model if arm.start is None else self.model(self.arm(arm.start), seed)
        options = self.options(arm, "train")
        return {"env_id": arm.env_id, "env_kwargs": options, "model": model, "rollout": scale.rollout, "run": run}

    def _sft(self, arm: Arm, seed: int) -> sft.Config:
        options = {
            "num_demos": arm.num_demos or self.scale.num_demos,
            "num_epochs": self.scale.sft_epochs,
            "learning_rate": self.scale.sft_learning_rate,
        }
        config: sft.Config = with_options(sft.Config(**self._common(arm, seed)), options | dict(arm.options))
        return config

    def _rl(self, arm: Arm, seed: int) -> Any:
        scale = self.scale
        # No game is demonstrated and trained on, and two training seeds meet different games.
        tasks = TaskSettings(first_train_seed=seed * GAMES_PER_SEED, also=dict(arm.also))
        options: dict[str, Any] = {
            "num_iterations": arm.num_iterations or scale.num_iterations,
            **batch_sizes(arm.algorithm, scale.episodes_per_batch, scale.group_size),
            "num_minibatches": scale.num_minibatches,
            "learning_rate": scale.learning_rate,
            "warmup_steps": scale.warmup_steps,
        }
        if arm.algorithm != "rft":  # it has no advantages
            options |= {"credit": "turn", "gamma": scale.gamma}
        config = TRAINERS[arm.algorithm].Config(**self._common(arm, seed), tasks=tasks)
        return with_options(config, options | dict(arm.options))


def set_fields(part: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that have another value than their default, those of nested dataclasses likewise."""
    found = {}
    for one in fields(part):
        value = getattr(part, one.name)
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        if value != default:
            found[one.name] = set_fields(value) if is_dataclass(value) else value
    return found


def with_options(config: Any, options: Mapping[str, Any]) -> Any:
    """Return a trainer's configuration with these options, wherever they are nested in it.

    Raises:
        ValueError: the trainer has no option of a name.
    """
    known = {one.name for one in fields(config)}
    own = {name: value for name, value in options.items() if name in known}
    nested = {name: value for name, value in options.items() if name not in known}
    for part in ("update", "optimiser", "rollout"):
        names = {one.name for one in fields(getattr(config, part))} if part in known else set()
        chosen = {name: nested.pop(name) for name in list(nested) if name in names}
        own |= {part: replace(getattr(config, part), **chosen)} if chosen else {}
    if nested:
        raise ValueError(f"expected options of {type(config).__module__}, got {', '.join(nested)}")
    return replace(config, **own)


def run(job: ExperimentRun, only: Sequence[str] = (), seeds: Sequence[int] = (), num_workers: int = 1) -> Results:
    """Train and grade what is missing, and write what is known after each run.

    Args:
        job: the experiment.
        only: names of arms, trained with those that they start from; all if empty.
        seeds: training seeds; from 1 to the number of the scale if empty.
        num_workers: runs that are trained in parallel.
    """
    results = read_results(job)
    write_report(job.experiment, results, job.out)
    seeds = seeds or range(1, job.scale.num_seeds + 1)
    wanted = wanted_arms(job.experiment, only)
    for wave in waves(wanted):
        missing = [(arm, seed) for seed in seeds for arm in wave if not is_done(job, arm, seed, wanted)]
        for _ in train_all(job, missing, num_workers):
            results = read_results(job)
            write_report(job.experiment, results, job.out)
    return results


def waves(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Return arms that can be trained side by side, since what they start from stands in an earlier wave."""
    depths: dict[str, int] = {}
    for arm in arms:
        depths[arm.name] = 0 if arm.start is None else depths[arm.start] + 1
    return [[arm for arm in arms if depths[arm.name] == depth] for depth in range(max(depths.values(), default=-1) + 1)]


def is_done(job: ExperimentRun, arm: Arm, seed: int, wanted: Sequence[Arm]) -> bool:
    """Return whether a run was evaluated, and has left its model if one that is wanted has still to start from it."""
    waiting = [other for other in wanted if other.start == arm.name and not job.result(other, seed).is_file()]
    needed = waiting and arm.algorithm != "base"
    return job.result(arm, seed).is_file() and (not needed or Path(job.model(arm, seed)).is_dir())


def train_all(job: ExperimentRun, runs: Sequence[tuple[Arm, int]], num_workers: int) -> Iterator[None]:
    """Train and evaluate these, one after the other or in processes, and yield after each."""
    if num_workers == 1:
        for arm, seed in runs:
            train_and_evaluate(job, arm, seed)
            yield
        return
    with ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn")) as workers:
        for done in as_completed([workers.submit(train_and_evaluate, job, arm, seed) for arm, seed in runs]):
            done.result()
            yield


def train_and_evaluate(job: ExperimentRun, arm: Arm, seed: int) -> None:
    """Train one arm, and evaluate it unless it has been."""
    silence_transformers()
    torch.set_num_threads(job.num_threads)
    started = time.monotonic()
    policy, result = job.train(arm, seed), job.result(arm, seed)
    seconds = time.monotonic() - started
    if not result.is_file():
        found = job.evaluate(policy)
        content = {
            "digest": job.digest(arm),
            "seconds": round(seconds),
            "threads": job.num_threads,
            "returns": {name: round(float(one.returns.mean()), 4) for name, one in found.items()},
            "loops": {name: round(one.loop_rate, 4) for name, one in found.items()},
            "successes": {name: one.successes.tolist() for name, one in found.items()},
        }
        write_whole(result, json.dumps(content) + "\n")


def wanted_arms(experiment: Experiment, only: Sequence[str]) -> list[Arm]:
    """Return the arms of these names and those that they start from, in order; all if there are no names.

    Raises:
        BaselinesError: there is no arm of a name.
    """
    names = {arm.name: arm for arm in experiment.arms}
    unknown = [name for name in only if name not in names]
    if unknown:
        raise BaselinesError(f"expected arms among {', '.join(map(repr, names))}, got {', '.join(map(repr, unknown))}")
    wanted = set(only or names)
    for arm in reversed(experiment.arms):
        if arm.name in wanted and arm.start is not None:
            wanted.add(arm.start)
    return [arm for arm in experiment.arms if arm.name in wanted]


def read_results(job: ExperimentRun) -> Results:
    """Read the results: of each arm the seeds from 1 up to the first that is missing.

    Raises:
        BaselinesError: something there was found with another scale, or another version of the experiment.
    """
    results: dict[str, dict[str, NDArray[np.bool_]]] = {}
    for arm in job.experiment.arms:
        by_seed = []
        for path in takewhile(Path.is_file, (job.result(arm, seed) for seed in count(1))):
            found = json.loads(path.read_text())
            if found["digest"] != job.digest(arm):
                raise BaselinesError(
                    f"expected {path} of this scale and experiment, got another's: choose another --out"
                )
            by_seed.append(found["successes"])
        if by_seed:
            results[arm.name] = {
                column.name: np.array([one[column.name] for one in by_seed], dtype=np.bool_)
                for column in job.experiment.columns
            }
    return results


def find_experiment(name: Name) -> Experiment:
    """Return the experiment of that name: `EXPERIMENT` of a module of `studies`, or its `HARD` for a name in "_hard"."""
    study = import_module(f"benchmarks.experiments.studies.{name.removesuffix('_hard')}")
    found: Experiment = study.HARD if name.endswith("_hard") else study.EXPERIMENT
    return found


def main(config: Config) -> None:
    """Run an experiment and print its table."""
    check_at_least("num_workers", config.num_workers, 1)
    check_at_least("num_threads", config.num_threads, 1)
    check_at_least("seeds", min(config.seeds, default=1), 1)
    out = config.out or Path("runs") / f"{config.name}-{config.scale}"
    alone = config.num_workers == 1
    experiment = find_experiment(config.name)
    job = ExperimentRun(experiment, experiment.scale(config.scale), out, config.num_threads, progress=alone)
    if config.dry:
        lines = [f"{arm.name}: {arm.algorithm} on {arm.env_id}" for arm in wanted_arms(job.experiment, config.only)]
        sys.stdout.write("\n".join([job.experiment.question, *lines]) + "\n")
        return
    run(job, config.only, config.seeds, config.num_workers)
    sys.stdout.write((out / "table.md").read_text(encoding="utf-8"))
