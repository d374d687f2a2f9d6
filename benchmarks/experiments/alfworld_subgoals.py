"""Comparison of sub-goals for training in ALFWorld: steps of the shortest remaining plan, or stages of the task.

SFT on the expert gives one policy per seed; GRPO continues from it under each reward, on the same games; all play the same
held-out floor plans. The table gives success rates with 95 % bootstrap intervals, and paired differences to the
SFT policy.

    python -m benchmarks.experiments.alfworld_subgoals --out alfworld_subgoals
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from baselines import grpo, sft
from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings, TaskSettings
from baselines.evaluate import Evaluation, evaluate_policy, paired_difference_interval
from baselines.models.policy import Policy, silence_transformers
from baselines.sampling.environments import EnvPool

ENV_ID = "textagent_gym:ALFWorld-Easy-Sparse-v0"
OPTIONS: dict[str, Any] = {
    "task_types": ["pick_and_place_simple"],
    "state_space_size": 4,
    "action_space_size": 2,
    "max_steps": 10,
    "preamble": False,
    "show_admissible": True,
}
"""Two objects in four receptacles: the expert knows where things are, the learner has to look for them."""

REWARDS: dict[str, dict[str, Any]] = {
    "success": {},
    "steps": {"reward_density": 1.0, "subgoals": "steps"},
    "stages": {"reward_density": 1.0, "subgoals": "stages"},
}
FIRST_TEST_SEED = 1_000_000
ROLLOUT = RolloutSettings(max_context_tokens=1536, max_new_tokens=16)


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    out: Path = Path("alfworld_subgoals")
    """Folder for the results."""
    seeds: tuple[int, ...] = (1,)
    """Each seeds weights, sampling and the order of the games."""
    num_demos: int = 500
    """Games that the expert demonstrates."""
    sft_epochs: int = 6
    """Passes over the demonstrations."""
    grpo_iterations: int = 24
    """Rounds of rollout and update."""
    groups_per_batch: int = 12
    """Training games of one round."""
    learning_rate: float = 3e-5
    """Of GRPO; 1e-4 lowered the dense ones in a first run."""
    num_train_games: int = 1000
    """Games from which GRPO draws."""
    num_test_games: int = 400
    """Games on held-out floor plans."""


def main() -> None:
    """Run the experiment from the command line."""
    config = tyro.cli(Config, description=__doc__)
    silence_transformers()
    console = Console(highlight=False)
    rows: list[dict[str, Any]] = []
    for seed in config.seeds:
        folder = config.out / f"seed-{seed}"
        tuned = sft.train(
            sft.Config(
                env_id=ENV_ID,
                env_kwargs={**OPTIONS, "split": "train"},
                num_demos=config.num_demos,
                num_epochs=config.sft_epochs,
                rollout=ROLLOUT,
                run=RunSettings(out=folder / "sft", seed=seed),
            )
        )
        results = {"SFT": play(tuned.policy, config.num_test_games)}
        for name, options in REWARDS.items():
            trained = grpo.train(
                grpo.Config(
                    env_id=ENV_ID,
                    env_kwargs={**OPTIONS, **options, "split": "train"},
                    model=str(tuned.model_folder),
                    num_iterations=config.grpo_iterations,
                    groups_per_batch=config.groups_per_batch,
                    tasks=TaskSettings(num_train_seeds=config.num_train_games),
                    rollout=ROLLOUT,
                    optimiser=OptimiserSettings(learning_rate=config.learning_rate),
                    run=RunSettings(out=folder / name, seed=seed),
                )
            )
            results[name] = play(trained.policy, config.num_test_games)
        for name, result in results.items():
            rows.append({"seed": seed, "agent": name, **figures(result, results["SFT"])})
            console.print(rows[-1])
        config.out.mkdir(parents=True, exist_ok=True)
        (config.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")


def figures(result: Evaluation, tuned: Evaluation) -> dict[str, Any]:
    """Return the success rate with its interval, and the paired difference to the SFT policy with its own."""
    return {
        "success_rate": result.success_rate,
        "interval": result.success_interval(),
        "gain": result.success_rate - tuned.success_rate,
        "gain_interval": paired_difference_interval(result, tuned),
    }


def play(policy: Policy, num_games: int) -> Evaluation:
    """Return one greedy episode per held-out game."""
    seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + num_games)
    with EnvPool([(ENV_ID, {**OPTIONS, "split": "test"})], ROLLOUT.max_broken_envs) as pool:
        return evaluate_policy(policy, pool, seeds, replace(ROLLOUT, temperature=0.0, num_envs=48))


if __name__ == "__main__":
    main()
