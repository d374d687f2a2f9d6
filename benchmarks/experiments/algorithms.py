"""All five trainers on one TextWorld id: the same clones, the same number of episodes, several seeds, intervals.

For each seed `tiny` is cloned from the expert (SFT); from that clone each algorithm practises the same few games for the
same number of episodes. All then play those games and as many held-out ones greedily: the first says what an algorithm
makes of its episodes, the second what of that is of use elsewhere. The table gives success rates with 95 % intervals over
seeds and games, and the paired gains over the clone.

    python -m benchmarks.experiments.algorithms --out algorithms

What is there already is kept: started again, the experiment goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from baselines import grpo, ppo, reinforce_pp, rloo, sft
from baselines.environments import EnvPool
from baselines.evaluate import evaluate_policy, two_level_interval
from baselines.files import write_whole
from baselines.policy import Policy, silence_transformers
from baselines.settings import OptimiserSettings, RolloutSettings, RunSettings, TaskSettings

ENV_ID = "textagent_gym:TextWorld-w2-o3-q4-Dense-v0"
OPTIONS: dict[str, Any] = {"preamble": False, "by_number": True}
ROLLOUT = RolloutSettings(max_context_tokens=2048, max_new_tokens=4)
FIRST_TEST_SEED = 1_000_000

ALGORITHMS: dict[str, Any] = {
    "GRPO, turn": (grpo, {"credit": "turn"}),
    "RLOO, turn": (rloo, {"credit": "turn"}),
    "REINFORCE++, turn": (reinforce_pp, {"credit": "turn"}),
    "PPO, turn": (ppo, {"credit": "turn"}),
}
"""Name in the table -> module and options; every batch has the same number of episodes."""


Successes: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    out: Path = Path("algorithms")
    """Folder of the runs, `table.json` and `algorithms.png`."""
    num_seeds: int = 3
    """Training seeds, from 1."""
    num_demos: int = 200
    """Games that the expert demonstrates."""
    sft_epochs: int = 14
    """Passes over them."""
    num_iterations: int = 24
    """Rounds of rollout and update."""
    episodes_per_batch: int = 64
    """Episodes of one round."""
    group_size: int = 8
    """Episodes of one game, for GRPO and RLOO."""
    learning_rate: float = 3e-4
    """AdamW's, for all algorithms."""
    num_train_games: int = 32
    """Games that the algorithms practise, the first of those that were demonstrated."""
    num_test_games: int = 200
    """Held-out games."""
    num_threads: int = 1
    """Threads of torch."""


def main() -> None:
    """Runs the experiment from the command line."""
    config = tyro.cli(Config, description=__doc__)
    console = Console(highlight=False)
    for row in run(config):
        console.print(row)


def run(config: Config) -> list[dict[str, Any]]:
    """Trains and plays what is missing, and returns the rows of the table, those known so far after every run."""
    silence_transformers()
    results: dict[str, dict[str, list[Successes]]] = {split: {} for split in games(config)}
    rows: list[dict[str, Any]] = []

    def judge(name: str, seed: int, train: Callable[[int], Policy]) -> None:
        for split, successes in judged(config, name, seed, train).items():
            results[split].setdefault(name, []).append(successes)

    for seed in range(1, config.num_seeds + 1):
        judge("SFT", seed, partial(clone, config))
        for name in ALGORITHMS:
            judge(name, seed, partial(practise, config, name))
            rows = [row(split, other, found) for split, found in results.items() for other in found]
            (config.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    draw(rows, config)
    return rows


def games(config: Config) -> dict[str, range]:
    """Split -> seeds of the games that are played at the end."""
    return {
        "train": range(config.num_train_games),
        "test": range(FIRST_TEST_SEED, FIRST_TEST_SEED + config.num_test_games),
    }


def judged(config: Config, name: str, seed: int, train: Callable[[int], Policy]) -> dict[str, Successes]:
    """Split -> (N,) success on its games, read back where it is known."""
    verdict = folder(config, name, seed) / "successes.json"
    if not verdict.is_file():
        policy, found = train(seed), {}
        for split, seeds in games(config).items():
            with EnvPool([(ENV_ID, {**OPTIONS, "split": split})]) as pool:
                result = evaluate_policy(policy, pool, seeds, replace(ROLLOUT, temperature=0.0))
            found[split] = result.successes.tolist()
        write_whole(verdict, json.dumps(found) + "\n")
    told: dict[str, list[bool]] = json.loads(verdict.read_text())
    return {split: np.array(successes, dtype=np.bool_) for split, successes in told.items()}


def clone(config: Config, seed: int) -> Policy:
    """SFT on the expert's episodes."""
    return sft.train(
        sft.Config(
            env_id=ENV_ID,
            env_kwargs={**OPTIONS, "split": "train"},
            num_demos=config.num_demos,
            num_epochs=config.sft_epochs,
            rollout=ROLLOUT,
            run=run_settings(config, "SFT", seed),
        )
    ).policy


def practise(config: Config, name: str, seed: int) -> Policy:
    """One algorithm, from the clone of the same seed."""
    module, options = ALGORITHMS[name]
    groups = {"group_size": config.group_size, "groups_per_batch": config.episodes_per_batch // config.group_size}
    sizes = groups if module in (grpo, rloo) else {"episodes_per_batch": config.episodes_per_batch}
    policy: Policy = module.train(
        module.Config(
            env_id=ENV_ID,
            env_kwargs={**OPTIONS, "split": "train"},
            model=str(folder(config, "SFT", seed) / "model"),
            num_iterations=config.num_iterations,
            tasks=TaskSettings(num_train_seeds=config.num_train_games),
            rollout=ROLLOUT,
            optimiser=OptimiserSettings(learning_rate=config.learning_rate),
            run=run_settings(config, name, seed),
            **sizes,
            **options,
        )
    ).policy
    return policy


def row(split: str, name: str, results: dict[str, list[Successes]]) -> dict[str, Any]:
    """One line of the table, about one algorithm on the games of one split."""
    successes = np.stack(results[name]).astype(np.float64)
    gains = successes - np.stack(results["SFT"])[: len(successes)]
    return {
        "games": split,
        "algorithm": name,
        "success_rate": float(successes.mean()),
        "interval": two_level_interval(successes),
        "gain": float(gains.mean()),
        "gain_interval": two_level_interval(gains),
        "by_seed": successes.mean(axis=1).tolist(),
    }


def draw(rows: list[dict[str, Any]], config: Config) -> None:
    """Gains over the clone, with intervals; filled on the games that were practised, open on held-out ones."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for split, face, shift, label in (
        ("train", "C0", -0.12, "practised games"),
        ("test", "white", 0.12, "held-out games"),
    ):
        gained = [entry for entry in rows if entry["games"] == split and entry["algorithm"] != "SFT"]
        gains = np.array([entry["gain"] for entry in gained])
        bounds = np.array([entry["gain_interval"] for entry in gained]).T
        places = np.arange(len(gained)) + shift
        axis.errorbar(
            gains,
            places,
            xerr=np.abs(bounds - gains),
            fmt="o",
            color="C0",
            markerfacecolor=face,
            capsize=3,
            label=label,
        )
    axis.set_yticks(range(len(ALGORITHMS)), list(ALGORITHMS))
    axis.invert_yaxis()
    axis.axvline(0, color="grey", linewidth=0.8)
    axis.set_xlabel(f"gain in success over SFT, {config.num_seeds} seeds")
    axis.grid(alpha=0.3, axis="x")
    axis.legend()
    figure.savefig(config.out / "algorithms.png", dpi=120)


def run_settings(config: Config, name: str, seed: int) -> RunSettings:
    """Where one run lives."""
    out = folder(config, name, seed)
    return RunSettings(out=out, seed=seed, resume=True, checkpoint_every=4, num_threads=config.num_threads)


def folder(config: Config, name: str, seed: int) -> Path:
    """The folder of one run."""
    return config.out / f"seed-{seed}" / name.replace(", ", "-")


if __name__ == "__main__":
    main()
