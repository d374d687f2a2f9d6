"""Runs an experiment, or goes on with it: trains its arms, judges them, and tells what came out beside what was published.

    python -m benchmarks.experiment algorithms --scale laptop --out runs/algorithms

The experiments are pure data in `benchmarks/experiments`. What is there already is kept: an experiment that was interrupted
goes on where it stopped, and one that is half done has a table of what is known. What was found lies in `successes/`, a file
for each run, so that an experiment goes on elsewhere without its models. `--num-workers` runs are done side by side, each
in a process of its own, and what they find does not depend on how many there are.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from baselines import sft
from baselines.environments import EnvPool
from baselines.errors import BaselinesError
from baselines.evaluate import evaluate_policy
from baselines.files import write_whole
from baselines.policy import Policy, silence_transformers
from baselines.recipe import ALGORITHMS, batch_sizes
from baselines.settings import OptimiserSettings, RunSettings, TaskSettings, check_at_least
from benchmarks.experiments.design import (
    FIRST_TEST_SEED,
    PRACTICE,
    Arm,
    Column,
    Experiment,
    Results,
    Scale,
    difference,
    is_clear,
    rate,
)
from benchmarks.suite import sha256

Name: TypeAlias = Literal["algorithms", "density", "length", "mixture", "sft_share", "size"]

TRAINERS: dict[str, Any] = {"sft": sft, **{str(name): module for name, module in ALGORITHMS.items()}}


@dataclass(frozen=True)
class Config:
    """Options of an experiment."""

    name: tyro.conf.Positional[Name]
    """Which question."""
    scale: Literal["laptop", "gpu"] = "laptop"
    """How large."""
    out: Path | None = None
    """Folder of the runs, the table and the figure; by default runs/NAME-SCALE."""
    seeds: tuple[int, ...] = ()
    """Training seeds; by default from 1 to the number of the scale."""
    only: tuple[str, ...] = ()
    """Arms to train, with those that they start from; all by default."""
    num_workers: int = 1
    """Runs that are done side by side."""
    num_threads: int = 1
    """Threads of torch, of each of them."""
    dry: bool = False
    """Tell the arms, and train nothing."""


@dataclass(frozen=True)
class Lab:
    """Where an experiment is done.

    Attributes:
        experiment: what is asked.
        scale: how large.
        out: folder.
        num_threads: of torch.
        progress: whether a run shows its live line.
    """

    experiment: Experiment
    scale: Scale
    out: Path
    num_threads: int = 1
    progress: bool = True

    def folder(self, arm: Arm, seed: int) -> Path:
        """The folder of one run."""
        return self.out / f"seed-{seed}" / arm.name.replace(", ", "-").replace(" ", "-")

    def verdict(self, arm: Arm, seed: int) -> Path:
        """The file of what was found of one run."""
        return self.out / "successes" / f"seed-{seed}" / f"{self.folder(arm, seed).name}.json"

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.experiment.arms if arm.name == name)

    def model(self, arm: Arm, seed: int) -> Path:
        """The folder of the model that a run leaves."""
        return self.folder(arm, seed) / "model"

    def train(self, arm: Arm, seed: int) -> Policy:
        """Trains one arm, from the model that its start has left."""
        config = self._cloning(arm, seed) if arm.algorithm == "sft" else self._practice(arm, seed)
        policy: Policy = TRAINERS[arm.algorithm].train(config).policy
        return policy

    def judge(self, policy: Policy) -> dict[str, list[bool]]:
        """Column -> success on each of its games, played greedily."""
        settings = replace(self.scale.rollout, temperature=0.0)
        found = {}
        for column in self.experiment.columns:
            with EnvPool([(column.env_id, self.options(column, "train" if column.practised else "test"))]) as pool:
                result = evaluate_policy(policy, pool, self.games(column), settings)
            found[column.name] = result.successes.tolist()
        return found

    def games(self, column: Column) -> range:
        """Seeds of the games of a column."""
        if column.practised:
            first, usual = self.scale.num_demos, self.scale.num_train_games
        else:
            first, usual = FIRST_TEST_SEED, self.scale.num_test_games
        return range(first, first + (column.num_games or usual))

    def options(self, place: Arm | Column, split: str) -> dict[str, Any]:
        """Constructor options of an arm's or a column's environment."""
        return {**self.scale.options, **place.env_kwargs, "split": split}

    def recipe(self, arm: Arm) -> str:
        """A digest of all that the verdict on an arm depends on, but the seed."""
        chain = [arm]
        while (start := chain[-1].start) is not None:
            chain.append(self.arm(start))
        scale = replace(self.scale, num_seeds=0)
        if all(one.algorithm == "sft" for one in chain):
            nothing: dict[str, Any] = dict.fromkeys(PRACTICE, 0)
            scale = replace(scale, **nothing)
        told: list[Any] = [scale, *chain, *self.experiment.columns]
        return sha256(json.dumps([asdict(one) for one in told], sort_keys=True))[:16]

    def _common(self, arm: Arm, seed: int) -> dict[str, Any]:
        scale = self.scale
        model = scale.model if arm.start is None else str(self.model(self.arm(arm.start), seed))
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
        options = self.options(arm, "train")
        return {"env_id": arm.env_id, "env_kwargs": options, "model": model, "rollout": scale.rollout, "run": run}

    def _cloning(self, arm: Arm, seed: int) -> sft.Config:
        scale = self.scale
        config = sft.Config(**self._common(arm, seed), num_demos=arm.num_demos or scale.num_demos, **arm.options)
        optimiser = replace(config.optimiser, learning_rate=scale.sft_learning_rate)
        return replace(config, num_epochs=scale.sft_epochs, optimiser=optimiser)

    def _practice(self, arm: Arm, seed: int) -> Any:
        scale = self.scale
        num_games = arm.num_train_games or scale.num_train_games
        tasks = TaskSettings(num_train_seeds=num_games, first_train_seed=scale.num_demos, also=dict(arm.also))
        config = TRAINERS[arm.algorithm].Config(
            **self._common(arm, seed),
            num_iterations=arm.num_iterations or scale.num_iterations,
            tasks=tasks,
            optimiser=OptimiserSettings(learning_rate=scale.learning_rate, warmup_steps=scale.warmup_steps),
            **batch_sizes(arm.algorithm, scale.episodes_per_batch, scale.group_size),
            **arm.options,
        )
        if arm.num_minibatches is None:
            return config
        return replace(config, update=replace(config.update, update_epochs=1, num_minibatches=arm.num_minibatches))


def run(lab: Lab, only: Sequence[str] = (), seeds: Sequence[int] = (), num_workers: int = 1) -> Results:
    """Trains and judges what is missing, and writes what is known after each run.

    Args:
        lab: the experiment.
        only: names of arms, trained with those that they start from; all if empty.
        seeds: training seeds; from 1 to the number of the scale if empty.
        num_workers: runs that are done side by side.
    """
    results = read_results(lab)
    write_report(lab, results)
    seeds = seeds or range(1, lab.scale.num_seeds + 1)
    wanted = wanted_arms(lab.experiment, only)
    for wave in waves(wanted):
        missing = [(arm, seed) for seed in seeds for arm in wave if not is_done(lab, arm, seed, wanted)]
        for _ in conduct_all(lab, missing, num_workers):
            results = read_results(lab)
            write_report(lab, results)
    return results


def waves(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Arms that can be trained side by side, since what they start from stands in an earlier wave."""
    depths: dict[str, int] = {}
    for arm in arms:
        depths[arm.name] = 0 if arm.start is None else depths[arm.start] + 1
    return [[arm for arm in arms if depths[arm.name] == depth] for depth in range(max(depths.values(), default=-1) + 1)]


def is_done(lab: Lab, arm: Arm, seed: int, wanted: Sequence[Arm]) -> bool:
    """Whether a run was judged, and has left its model if one that is wanted has still to start from it."""
    waiting = [other for other in wanted if other.start == arm.name and not lab.verdict(other, seed).is_file()]
    return lab.verdict(arm, seed).is_file() and (not waiting or lab.model(arm, seed).is_dir())


def conduct_all(lab: Lab, runs: Sequence[tuple[Arm, int]], num_workers: int) -> Iterator[None]:
    """Does these runs, one after the other or in processes of their own, and yields after each."""
    if num_workers == 1:
        for arm, seed in runs:
            conduct(lab, arm, seed)
            yield
        return
    with ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn")) as workers:
        for done in as_completed([workers.submit(conduct, lab, arm, seed) for arm, seed in runs]):
            done.result()
            yield


def conduct(lab: Lab, arm: Arm, seed: int) -> None:
    """Trains one arm, and judges it unless it has been."""
    silence_transformers()
    policy, verdict = lab.train(arm, seed), lab.verdict(arm, seed)
    if not verdict.is_file():
        write_whole(verdict, json.dumps({"recipe": lab.recipe(arm), "successes": lab.judge(policy)}) + "\n")


def wanted_arms(experiment: Experiment, only: Sequence[str]) -> list[Arm]:
    """The arms of these names and those that they start from, in order; all if there are no names.

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


def read_results(lab: Lab) -> Results:
    """What is known: of each arm the seeds from 1 up to the first that is missing.

    Raises:
        BaselinesError: something there was found with another scale, or another version of the experiment.
    """
    results: dict[str, dict[str, NDArray[np.bool_]]] = {}
    for arm in lab.experiment.arms:
        told = []
        for verdict in takewhile(Path.is_file, (lab.verdict(arm, seed) for seed in count(1))):
            found = json.loads(verdict.read_text())
            if found["recipe"] != lab.recipe(arm):
                raise BaselinesError(
                    f"expected {verdict} of this scale and experiment, got another's: choose another --out"
                )
            told.append(found["successes"])
        if told:
            results[arm.name] = {
                column.name: np.array([one[column.name] for one in told], dtype=np.bool_)
                for column in lab.experiment.columns
            }
    return results


def report(experiment: Experiment, results: Results) -> str:
    """The table, the differences, the sentences and what was published, as Markdown."""
    columns = [column.name for column in experiment.columns]
    lines = [experiment.question, "", *_table(["success rate", *columns, "seeds"], _rates(results, columns))]
    rows = [
        [f"{later} - {earlier}", *(_difference(results, later, earlier, column) for column in columns)]
        for later, earlier in experiment.compared
        if later in results and earlier in results
    ]
    if rows:
        lines += ["", *_table(["difference", *columns], rows)]
    lines += ["", *(f"- {sentence}" for sentence in experiment.analyse(results))]
    if experiment.published:
        lines += ["", experiment.published.strip()]
    return "\n".join(lines) + "\n"


def write_report(lab: Lab, results: Results) -> None:
    """Writes `table.md`, `table.json` and `figure.png`."""
    shown = "\n![Success of each arm, with its interval](figure.png)\n" if results else ""
    write_whole(lab.out / "table.md", report(lab.experiment, results) + shown)
    told = {
        arm: {
            column: {**asdict(rate(successes)), "by_seed": successes.mean(1).tolist()}
            for column, successes in found.items()
        }
        for arm, found in results.items()
    }
    write_whole(lab.out / "table.json", json.dumps(told, indent=2) + "\n")
    if results:
        draw(lab.experiment, results, lab.out / "figure.png")


def draw(experiment: Experiment, results: Results, path: Path) -> None:
    """A panel for each column: success of each arm, with its interval."""
    columns = experiment.columns
    figure = Figure(figsize=(2.4 + 2.3 * len(columns), 1.2 + 0.32 * len(results)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        rates = [rate(found[column.name]) for found in results.values()]
        centres = np.array([one.value for one in rates])
        spread = np.array([[one.value - one.low for one in rates], [one.high - one.value for one in rates]])
        panel.errorbar(centres, range(len(rates)), xerr=np.abs(spread), fmt="o", capsize=3)
        panel.set(title=column.name, xlim=(0, 1), xlabel="success rate")
        panel.grid(alpha=0.3, axis="x")
    panels[0].set_yticks(range(len(results)), list(results))
    panels[0].invert_yaxis()
    figure.savefig(path, dpi=120)


def _rates(results: Results, columns: list[str]) -> list[list[str]]:
    return [
        [arm, *(str(rate(found[column])) for column in columns), str(len(next(iter(found.values()))))]
        for arm, found in results.items()
    ]


def _difference(results: Results, later: str, earlier: str, column: str) -> str:
    found = difference(results, later, earlier, column)
    return f"**{found:+.2f}**" if is_clear(found) else f"{found:+.2f}"


def _table(titles: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}", *(f"| {' | '.join(row)} |" for row in rows)]


def find_experiment(name: Name) -> Experiment:
    """The experiment of that name."""
    found: Experiment = import_module(f"benchmarks.experiments.{name}").EXPERIMENT
    return found


def main() -> None:
    """Runs an experiment from the command line and prints its table."""
    config = tyro.cli(Config, description=__doc__)
    out = config.out or Path("runs") / f"{config.name}-{config.scale}"
    alone = config.num_workers == 1
    experiment = find_experiment(config.name)
    lab = Lab(experiment, experiment.scale(config.scale), out, config.num_threads, progress=alone)
    try:
        check_at_least("num_workers", config.num_workers, 1)
        if config.dry:
            lines = [f"{arm.name}: {arm.algorithm} on {arm.env_id}" for arm in wanted_arms(lab.experiment, config.only)]
            sys.stdout.write("\n".join([lab.experiment.question, *lines]) + "\n")
            return
        run(lab, config.only, config.seeds, config.num_workers)
        sys.stdout.write((out / "table.md").read_text(encoding="utf-8"))
    except BaselinesError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
