"""`make demo`: a language model of a million parameters learns a text game while you watch.

It trains `tiny` by SFT on expert episodes, goes on with GRPO on games of which most were never demonstrated, and plays
random, SFT and SFT + GRPO on held-out games. The folder `demo/` then holds a table with 95 % bootstrap intervals, the
learning curves and one transcript. All seeds are fixed.

    python -m benchmarks.demo --out demo
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from baselines import grpo, sft
from baselines.environments import EnvPool
from baselines.evaluate import Evaluation, evaluate_agent, evaluate_policy, paired_difference_interval
from baselines.policy import Policy, silence_transformers
from baselines.settings import OptimiserSettings, RolloutSettings, RunSettings, TaskSettings

ENV_ID = "textagent_gym:TextWorld-w2-o3-q4-Dense-v0"
OPTIONS: dict[str, Any] = {"preamble": False, "by_number": True}
TRAIN: dict[str, Any] = {**OPTIONS, "split": "train"}
TEST: dict[str, Any] = {**OPTIONS, "split": "test"}
FIRST_TEST_SEED = 1_000_000
ROLLOUT = RolloutSettings(max_context_tokens=2048, max_new_tokens=4)


@dataclass(frozen=True)
class Config:
    """Options of the demo."""

    out: Path = Path("demo")
    """Folder for the results; what an earlier demo left there is replaced."""
    num_demos: int = 200
    """Games that the expert demonstrates, the first of the training games."""
    num_train_games: int = 1000
    """Games from which GRPO draws; most of them were never demonstrated."""
    num_test_games: int = 400
    """Held-out games of the table."""
    sft_epochs: int = 14
    """Passes over the demonstrations."""
    grpo_iterations: int = 24
    """Rounds of rollout and update."""
    groups_per_batch: int = 16
    """Training games of one round."""
    seed: int = 1
    """Seeds weights and sampling."""


def main() -> None:
    """Runs the demo from the command line."""
    config = tyro.cli(Config, description=__doc__)
    console = Console(highlight=False)
    silence_transformers()
    if config.out.exists():
        shutil.rmtree(config.out)
    config.out.mkdir(parents=True)
    started = time.monotonic()

    train_seeds = range(config.num_train_games)
    test_seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + config.num_test_games)
    console.print(
        f"[bold]1/4[/bold] {len(train_seeds)} training games and {len(test_seeds)} held-out games of {ENV_ID}"
    )
    prepare_games([(TRAIN, seed) for seed in train_seeds] + [(TEST, seed) for seed in test_seeds])
    console.print("[bold]2/4[/bold] a new tiny Llama is shown the expert's episodes (SFT)")
    cloned = sft.train(sft_config(config))
    console.print("[bold]3/4[/bold] it plays by itself and learns from its returns (GRPO)")
    trained = grpo.train(grpo_config(config, cloned.model_folder))
    console.print("[bold]4/4[/bold] all play the held-out games")
    results = {
        "random": evaluate_agent(RandomCommands(), gym.make(ENV_ID, **TEST), test_seeds),
        "SFT": play_greedily(cloned.policy, test_seeds),
        "SFT + GRPO": play_greedily(trained.policy, test_seeds),
    }
    report(results, config.out, console)
    shutil.copy(config.out / "grpo" / "curves.png", config.out / "curves.png")
    (config.out / "transcript.txt").write_text(readable_transcript(results["SFT + GRPO"]))
    console.print((config.out / "transcript.txt").read_text(), markup=False)
    console.print(
        f"{time.monotonic() - started:.0f} seconds. See {config.out / 'table.json'}, {config.out / 'curves.png'} and "
        f"{config.out / 'transcript.txt'}; metrics are in {config.out / 'sft'} and {config.out / 'grpo'}."
    )


class RandomCommands:
    """Draws the number of an admissible command uniformly, with one generator for all episodes."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def __call__(self, observation: str, info: Mapping[str, Any]) -> str:
        """The number of one admissible command."""
        return str(self._rng.integers(len(info["admissible_commands"])) + 1)


def sft_config(config: Config) -> sft.Config:
    """SFT on the expert's episodes of the training games."""
    return sft.Config(
        env_id=ENV_ID,
        env_kwargs=TRAIN,
        num_demos=config.num_demos,
        num_epochs=config.sft_epochs,
        rollout=ROLLOUT,
        run=RunSettings(out=config.out / "sft", seed=config.seed),
    )


def grpo_config(config: Config, model: Path) -> grpo.Config:
    """GRPO on all training games, from the cloned policy."""
    return grpo.Config(
        env_id=ENV_ID,
        env_kwargs=TRAIN,
        model=str(model),
        num_iterations=config.grpo_iterations,
        groups_per_batch=config.groups_per_batch,
        tasks=TaskSettings(num_train_seeds=config.num_train_games),
        rollout=ROLLOUT,
        optimiser=OptimiserSettings(learning_rate=1e-4),
        run=RunSettings(out=config.out / "grpo", seed=config.seed),
    )


def prepare_games(games: list[tuple[dict[str, Any], int]]) -> None:
    """Makes the games that are not in the cache folder yet, on all cores."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(tqdm(pool.map(_prepare_game, games), total=len(games), desc="games", dynamic_ncols=True))


def play_greedily(policy: Policy, seeds: range) -> Evaluation:
    """One greedy episode per held-out game."""
    with EnvPool([(ENV_ID, TEST)], ROLLOUT.max_broken_envs) as pool:
        return evaluate_policy(policy, pool, seeds, replace(ROLLOUT, temperature=0.0, num_envs=48))


def report(results: dict[str, Evaluation], out: Path, console: Console) -> None:
    """Prints the table and writes it to `out`/table.json."""
    num_games = len(next(iter(results.values())).seeds)
    table = Table("agent", "success rate", "95 % interval", title=f"{num_games} held-out games of {ENV_ID}")
    rows = []
    for agent, result in results.items():
        low, high = result.success_interval()
        table.add_row(agent, f"{result.success_rate:.3f}", f"[{low:.3f}, {high:.3f}]".replace("[", r"\["))
        rows.append({"agent": agent, "success_rate": result.success_rate, "ci_low": low, "ci_high": high})
    agents = list(results)
    differences = []
    table.add_section()
    for worse, better in pairwise(agents):
        low, high = paired_difference_interval(results[better], results[worse])
        difference = results[better].success_rate - results[worse].success_rate
        name = f"({better}) - ({worse})"
        table.add_row(name, f"{difference:+.3f}", f"[{low:+.3f}, {high:+.3f}]".replace("[", r"\["))
        differences.append({"difference": name, "mean": difference, "ci_low": low, "ci_high": high})
    console.print(table)
    content = {"env_id": ENV_ID, "num_games": num_games, "agents": rows, "paired_differences": differences}
    (out / "table.json").write_text(json.dumps(content, indent=2) + "\n")


def readable_transcript(result: Evaluation) -> str:
    """The first solved episode, or the first if none is."""
    return max(result.episodes, key=lambda episode: episode.success).transcript()


def _prepare_game(game: tuple[dict[str, Any], int]) -> None:
    kwargs, seed = game
    env = gym.make(ENV_ID, **kwargs)
    env.reset(seed=seed)
    env.close()


if __name__ == "__main__":
    main()
