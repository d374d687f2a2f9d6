"""All five trainers on one TextWorld id: the same clones, the same number of episodes, several seeds, intervals.

For each seed `tiny` is cloned from the expert (SFT); from that clone each algorithm goes on for the same number of
episodes; all play the same held-out games greedily. The table gives the success rate with a 95 % interval over seeds and
games, and the paired gain over the clone.

    python -m benchmarks.experiments.algorithms --out algorithms

What is there already is kept: started again, the experiment goes on where it stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from baselines import grpo, ppo, reinforce_pp, rloo, sft
from baselines.environments import EnvPool
from baselines.evaluate import evaluate_policy, two_level_interval
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
    """AdamW's, for all algorithms. At 1e-4 this many episodes move `tiny` too little to tell them apart."""
    num_train_games: int = 1000
    """Games from which the algorithms draw."""
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
    results: dict[str, list[NDArray[np.bool_]]] = {}
    rows: list[dict[str, Any]] = []
    for seed in range(1, config.num_seeds + 1):
        results.setdefault("SFT", []).append(judged(config, "SFT", seed, lambda s: clone(config, s)))
        for name in ALGORITHMS:
            results.setdefault(name, []).append(
                judged(config, name, seed, lambda s, name=name: practise(config, name, s))
            )
            rows = [row(name, np.stack(found), results) for name, found in results.items()]
            (config.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    draw(rows, config)
    return rows


def judged(config: Config, name: str, seed: int, train: Any) -> NDArray[np.bool_]:
    """(N,) success on the held-out games, read back where it is known."""
    verdict = folder(config, name, seed) / "successes.json"
    if not verdict.is_file():
        policy: Policy = train(seed)
        settings = replace(ROLLOUT, temperature=0.0)
        with EnvPool([(ENV_ID, {**OPTIONS, "split": "test"})]) as pool:
            seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + config.num_test_games)
            result = evaluate_policy(policy, pool, seeds, settings)
        verdict.write_text(json.dumps(result.successes.tolist()) + "\n")
    return np.array(json.loads(verdict.read_text()), dtype=np.bool_)


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


def row(name: str, successes: NDArray[np.bool_], results: dict[str, list[NDArray[np.bool_]]]) -> dict[str, Any]:
    """One line of the table; `successes` is (seeds, games)."""
    gains = successes.astype(np.float64) - np.stack(results["SFT"])[: len(successes)]
    return {
        "algorithm": name,
        "success_rate": float(successes.mean()),
        "interval": two_level_interval(successes.astype(np.float64)),
        "gain": float(gains.mean()),
        "gain_interval": two_level_interval(gains),
        "by_seed": successes.mean(axis=1).tolist(),
    }


def draw(rows: list[dict[str, Any]], config: Config) -> None:
    """Gains over the clone, with intervals."""
    gained = [entry for entry in rows if entry["algorithm"] != "SFT"]
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    gains = np.array([entry["gain"] for entry in gained])
    bounds = np.array([entry["gain_interval"] for entry in gained]).T
    axis.errorbar(gains, range(len(gained)), xerr=np.abs(bounds - gains), fmt="o", capsize=3)
    axis.set_yticks(range(len(gained)), [entry["algorithm"] for entry in gained])
    axis.invert_yaxis()
    axis.axvline(0, color="grey", linewidth=0.8)
    axis.set_xlabel(f"gain in success over SFT, {config.num_seeds} seeds")
    axis.grid(alpha=0.3, axis="x")
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
