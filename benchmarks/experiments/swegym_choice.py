"""Can a policy of a million parameters learn to repair software, when it may choose among edits?

`tiny` learns from a few of the expert's episodes what an action looks like; GRPO continues from there on
`SWEGym-Easy-Dense-v0` with `interface="choice"`. The table gives returns and success rates with 95 % bootstrap intervals, of
a random agent, the clone and what GRPO made of it, on the tasks that GRPO played and on those of a library that it
never saw.

    python -m benchmarks.experiments.swegym_choice --out swegym_choice
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import tyro
from rich.console import Console

from baselines import grpo, sft
from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings, TaskSettings
from baselines.evaluate import Evaluation, evaluate_agent, evaluate_policy, paired_difference_interval
from baselines.models.policy import Policy, silence_transformers
from baselines.sampling.environments import EnvPool, Task, TextEnv
from baselines.sampling.task_lists import choose_tasks
from baselines.stats import mean_interval
from benchmarks.demo import random_commands

ENV_ID = "textagent_gym:SWEGym-Easy-Dense-v0"
OPTIONS: dict[str, Any] = {
    "interface": "choice",
    "action_space_size": 4,
    "max_steps": 6,
    "preamble": False,
    "hint_level": 0,
}
"""Two edits that repair and two that break; with all four made and taken back there are 16 trees a task."""

ROLLOUT = RolloutSettings(max_context_tokens=2048, max_new_tokens=4)


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    out: Path = Path("swegym_choice")
    """Folder for the results."""
    seed: int = 1
    """Seeds weights, sampling and the order of the tasks."""
    num_demos: int = 32
    """Tasks that the expert demonstrates."""
    sft_epochs: int = 8
    """Passes over the demonstrations."""
    num_train_seeds: int = 16
    """Seeds of the tasks that GRPO plays; a verdict is remembered, so that few tasks soon cost nothing."""
    grpo_iterations: int = 40
    """Rounds of rollout and update."""
    groups_per_batch: int = 8
    """Tasks of one round."""
    learning_rate: float = 3e-4
    """Of GRPO."""


def main() -> None:
    """Run the experiment from the command line."""
    config = tyro.cli(Config, description=__doc__)
    console = Console(highlight=False)
    for row in run(config):
        console.print(row)


def run(config: Config) -> list[dict[str, Any]]:
    """Train, play, and write `table.json` and the learning curve; return the rows of the table."""
    silence_transformers()
    tuned = sft.train(
        sft.Config(
            env_id=ENV_ID,
            env_kwargs={**OPTIONS, "split": "train"},
            num_demos=config.num_demos,
            num_epochs=config.sft_epochs,
            batch_size=8,
            optimiser=OptimiserSettings(learning_rate=1e-3, schedule="cosine"),
            rollout=ROLLOUT,
            run=RunSettings(out=config.out / "sft", seed=config.seed),
        )
    )
    trained = grpo.train(
        grpo.Config(
            env_id=ENV_ID,
            env_kwargs={**OPTIONS, "split": "train"},
            model=str(tuned.model_folder),
            num_iterations=config.grpo_iterations,
            groups_per_batch=config.groups_per_batch,
            tasks=TaskSettings(num_train_seeds=config.num_train_seeds),
            rollout=ROLLOUT,
            optimiser=OptimiserSettings(learning_rate=config.learning_rate),
            run=RunSettings(out=config.out / "grpo", seed=config.seed),
        )
    )
    rows = []
    for split in ("train", "test"):
        env = gym.make(ENV_ID, **OPTIONS, split=split)
        tasks = trained_on(env, config.num_train_seeds) if split == "train" else choose_tasks(env, "all")
        chance = evaluate_agent(random_commands(seed=0), env, tasks)
        results = {
            "random": chance,
            "SFT": play(tuned.policy, split, tasks),
            "SFT + GRPO": play(trained.policy, split, tasks),
        }
        rows += [{"split": split, "agent": name, **figures(result, chance)} for name, result in results.items()]
    (config.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    shutil.copy(config.out / "grpo" / "curves.png", config.out / "curves.png")
    return rows


def figures(result: Evaluation, chance: Evaluation) -> dict[str, Any]:
    """Return means with their intervals, and the paired difference in success to the random agent."""
    return {
        "num_tasks": len(result.seeds),
        "mean_return": float(result.returns.mean()),
        "return_interval": mean_interval(result.returns),
        "success_rate": result.success_rate,
        "success_interval": result.success_interval(),
        "gain_interval": paired_difference_interval(result, chance),
    }


def trained_on(env: TextEnv, num_seeds: int) -> list[Task]:
    """Return the tasks that the first seeds draw, each once."""
    names = (str(env.reset(seed=seed)[1]["task_id"]) for seed in range(num_seeds))
    return [Task(place, task_id=name) for place, name in enumerate(dict.fromkeys(names))]


def play(policy: Policy, split: str, tasks: Sequence[Task]) -> Evaluation:
    """Return one greedy episode per task."""
    with EnvPool([(ENV_ID, {**OPTIONS, "split": split})], ROLLOUT.max_broken_envs) as pool:
        return evaluate_policy(policy, pool, tasks, replace(ROLLOUT, temperature=0.0, num_envs=16))


if __name__ == "__main__":
    main()
