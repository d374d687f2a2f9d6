r"""A fixed budget, split between demonstrations and RL training: supervised training first, then reinforcement learning.

Demonstrations are expensive, episodes are cheap. With a budget B, a demonstration at `demo_cost` times the price of an
episode and a share s for demonstrations (the study of arXiv 2510.01132, where B = 1,000 and the cost is 10),

    num_demos = s B / demo_cost          num_episodes = (1 - s) B

SFT trains on the demonstrations, the chosen algorithm continues from there for as many whole iterations as the episodes
allow, and held-out tasks measure the result. `--sweep` does so for several shares and seeds, and ends with a table
and a plot with intervals over seeds and tasks. An interrupted sweep continues where it stopped.

How to run:

    python -m baselines.recipe --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --algorithm ppo --budget 1000 \
        --demo-cost 10 --sft-share 0.6 --out runs/recipe --eval-env-kwargs '{"split": "test"}'
    python -m baselines.recipe ... --sweep --num-seeds 3
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from baselines import grpo, ppo, reinforce_pp, rloo, sft
from baselines.config.settings import (
    JsonObject,
    OptimiserSettings,
    RolloutSettings,
    RunSettings,
    TaskSettings,
    check_all_at_least,
    check_all_positive,
    check_at_least,
    check_fraction,
    check_one_of,
)
from baselines.errors import ConfigError, one_line_errors
from baselines.models.policy import Policy, silence_transformers
from baselines.rl.advantages import Credit
from baselines.runs.distributed import Ranks, num_processes
from baselines.runs.files import write_whole
from baselines.runs.run import Evaluator, write_config
from baselines.stats import Interval, two_level_interval

Algorithm: TypeAlias = Literal["grpo", "rloo", "ppo", "reinforce_pp"]

ALGORITHMS: dict[Algorithm, Any] = {"grpo": grpo, "rloo": rloo, "ppo": ppo, "reinforce_pp": reinforce_pp}

MEMORY = ("micro_batch_tokens", "checkpoint_activations", "lora_rank", "lora_alpha")
"""Options of the optimiser that SFT shares with RL training."""

FREE = {"sweep", "shares", "sft_share", "num_seeds"}
"""Options that choose the shares to try: a sweep may be widened later."""


@dataclass(frozen=True)
class Config:
    """Options of a budget."""

    env_id: str
    """Environment; `package:Id-v0` imports the package first."""
    env_kwargs: JsonObject = field(default_factory=dict)
    """Constructor options of the environment."""
    model: str = "tiny"
    """`tiny`, `tiny-base`, `smollm2-135m`, a folder, or a hub name."""
    budget: float = 1000.0
    """The budget, in training episodes."""
    demo_cost: float = 10.0
    """Price of one demonstration, in training episodes."""
    sft_share: float = 0.6
    """Share of the budget that buys demonstrations, in [0, 1]."""
    sweep: bool = False
    """Try all `shares` instead of `sft_share`."""
    shares: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """The shares of a sweep (those of arXiv 2510.01132)."""
    num_seeds: int = 1
    """Runs of each share, with the seeds `seed`, `seed` + 1, ..."""
    algorithm: Algorithm = "ppo"
    """Algorithm that trains after SFT."""
    credit: Credit = "turn"
    """Unit that gets one advantage."""
    episodes_per_batch: int = 40
    """Episodes of one training iteration; what is left of the budget below that is not spent, and reported."""
    group_size: int = 4
    """Episodes of one task, for GRPO and RLOO."""
    sft_epochs: int = 14
    """Passes over the demonstrations."""
    sft_learning_rate: float = 1e-3
    """AdamW's for SFT."""
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    """Sampling of the episodes."""
    optimiser: OptimiserSettings = field(default_factory=lambda: OptimiserSettings(learning_rate=3e-4, warmup_steps=12))
    """AdamW of RL training; passes, clip and aggregation are the algorithm's own defaults."""
    run: RunSettings = field(
        default_factory=lambda: RunSettings(out=Path("runs/recipe"), eval_episodes=200, checkpoint_every=5)
    )
    """Folder, seed, and the held-out tasks that evaluate each run, played greedily after its end alone."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_all_positive(self, "budget", "demo_cost")
        check_all_at_least(self, 1, "num_seeds", "episodes_per_batch", "group_size", "sft_epochs")
        if not self.all_shares:
            raise ConfigError("expected at least one of --shares to try, got none")
        for share in self.all_shares:
            check_fraction("sft_share", share)
            if self.num_demos(share) == 0 and self.num_iterations(share) == 0:
                raise ConfigError(
                    f"expected a budget that buys a demonstration or an iteration of {self.episodes_per_batch} "
                    f"episodes, got {self.budget} at sft_share {share}"
                )
        check_at_least("eval_episodes", self.run.eval_episodes, 1)
        self.run.check_unpushed()
        check_one_of("algorithm", self.algorithm, tuple(ALGORITHMS))
        if self.algorithm in ("grpo", "rloo") and self.episodes_per_batch % self.group_size:
            raise ConfigError(
                f"expected group_size to divide episodes_per_batch={self.episodes_per_batch}, got {self.group_size}"
            )
        self.training_config(0.0, self.run.seed, self.model).check()
        if num_processes() > 1:
            raise ConfigError("expected one process for a budget: launch its SFT and its algorithm by themselves")

    @property
    def all_shares(self) -> tuple[float, ...]:
        """The shares to be tried."""
        return self.shares if self.sweep else (self.sft_share,)

    def num_demos(self, share: float) -> int:
        """Return the number of demonstrations that a share of the budget buys."""
        return math.floor(share * self.budget / self.demo_cost + 1e-9)

    def num_iterations(self, share: float) -> int:
        """Return the number of whole training iterations that the rest of the budget buys."""
        rest = self.budget - self.num_demos(share) * self.demo_cost
        return math.floor(rest / self.episodes_per_batch + 1e-9) if share < 1 else 0

    def spent(self, share: float) -> float:
        """Return the spent part of the budget, in training episodes."""
        return self.num_demos(share) * self.demo_cost + self.num_iterations(share) * self.episodes_per_batch

    def folder(self, share: float, seed: int) -> Path:
        """Return the folder of one run."""
        name = f"{share:.2f}" if round(share, 2) == share else f"{share!r}"  # no two shares have one folder
        return self.run.out / f"share-{name}" / f"seed-{seed}"

    def sft_config(self, share: float, seed: int) -> sft.Config:
        """Return the configuration of SFT on the demonstrations that a share buys."""
        usual = sft.Config(self.env_id).optimiser
        memory = {name: getattr(self.optimiser, name) for name in MEMORY}
        return sft.Config(
            env_id=self.env_id,
            env_kwargs=self.env_kwargs,
            model=self.model,
            num_demos=self.num_demos(share),
            num_epochs=self.sft_epochs,
            rollout=self.rollout,
            optimiser=replace(usual, learning_rate=self.sft_learning_rate, **memory),
            run=self._run(share, seed, "sft"),
        )

    def training_config(self, share: float, seed: int, model: str) -> Any:
        """Return the algorithm's configuration, starting from `model`."""
        return ALGORITHMS[self.algorithm].Config(
            env_id=self.env_id,
            env_kwargs=self.env_kwargs,
            model=model,
            num_iterations=max(1, self.num_iterations(share)),
            credit=self.credit,
            # No game is demonstrated and trained on, whatever the share.
            tasks=TaskSettings(first_train_seed=self.num_demos(1.0)),
            rollout=self.rollout,
            optimiser=self.optimiser,
            run=self._run(share, seed, self.algorithm),
            **batch_sizes(self.algorithm, self.episodes_per_batch, self.group_size),
        )

    def _run(self, share: float, seed: int, name: str) -> RunSettings:
        return replace(
            self.run,
            out=self.folder(share, seed) / name,
            seed=seed,
            resume=True,
            eval_episodes=0,
            eval_tasks=None,
            eval_every=0,
        )


def batch_sizes(algorithm: str, episodes_per_batch: int, group_size: int) -> dict[str, int]:
    """Return options of an algorithm for so many episodes an iteration, in groups where it has groups."""
    if algorithm in ("grpo", "rloo"):
        return {"group_size": group_size, "groups_per_batch": episodes_per_batch // group_size}
    return {"episodes_per_batch": episodes_per_batch}


@dataclass(frozen=True, eq=False)
class ShareResult:
    """Result of one share of the budget.

    Attributes:
        share: of the budget, for demonstrations.
        num_demos: demonstrations bought.
        num_episodes: training episodes bought.
        unspent: remainder of the budget, in episodes.
        successes: (S, N) of S seeds on N held-out tasks.
    """

    share: float
    num_demos: int
    num_episodes: int
    unspent: float
    successes: NDArray[np.bool_]

    @property
    def interval(self) -> Interval:
        """95 % interval of the success rate over seeds and tasks."""
        return two_level_interval(self.successes.astype(np.float64), bounds=(0.0, 1.0))


def train(config: Config) -> list[ShareResult]:
    """Train every share with every seed, and write `table.json` and `sweep.png` into the run's folder.

    Raises:
        BaselinesError: the configuration, environment or model does not fit; what and where is in its message.
    """
    config.check()
    write_config(config, config.run.out, FREE)
    results = []
    for share in config.all_shares:
        seeds = range(config.run.seed, config.run.seed + config.num_seeds)
        successes = np.stack([run_once(config, share, seed) for seed in seeds])
        episodes = config.num_iterations(share) * config.episodes_per_batch
        unspent = config.budget - config.spent(share)
        results.append(ShareResult(share, config.num_demos(share), episodes, unspent, successes))
        write_table(results, config)
    return results


def run_once(config: Config, share: float, seed: int) -> NDArray[np.bool_]:
    """Return (N,) success of one run on the held-out tasks, played greedily; a result that is on disk is read back."""
    path = config.folder(share, seed) / "successes.json"
    if not path.is_file():
        policy = train_run(config, share, seed)
        with closing(Evaluator([(config.env_id, config.env_kwargs)], config.run, config.rollout)) as held_out:
            result = held_out.play(policy, Ranks(config.run.device))
        write_whole(path, json.dumps(result.successes.tolist()) + "\n")
    return np.array(json.loads(path.read_text()), dtype=np.bool_)


def train_run(config: Config, share: float, seed: int) -> Policy:
    """Train by SFT, then by the algorithm, as far as the budget goes."""
    model = config.model
    if config.num_demos(share):
        trained = sft.train(config.sft_config(share, seed))
        model = str(trained.model_folder)
        if not config.num_iterations(share):
            return trained.policy
    policy: Policy = ALGORITHMS[config.algorithm].train(config.training_config(share, seed, model)).policy
    return policy


def write_table(results: Sequence[ShareResult], config: Config) -> None:
    """Write what is known so far."""
    rows = [
        {
            "sft_share": result.share,
            "num_demos": result.num_demos,
            "num_episodes": result.num_episodes,
            "unspent": result.unspent,
            "success_rate": float(result.successes.mean()),
            "interval": result.interval,
            "by_seed": result.successes.mean(axis=1).tolist(),
        }
        for result in results
    ]
    (config.run.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    rates = np.array([row["success_rate"] for row in rows])
    bounds = np.array([result.interval for result in results]).T
    axis.errorbar([r.share for r in results], rates, yerr=np.abs(bounds - rates), marker="o", capsize=3)
    axis.set(xlabel="share of the budget for demonstrations", ylabel="success rate", ylim=(0, 1))
    axis.set_title(f"SFT, then {config.algorithm}: budget {config.budget:g}, a demonstration {config.demo_cost:g}")
    axis.grid(alpha=0.3)
    figure.savefig(config.run.out / "sweep.png", dpi=120)


def main() -> None:
    """Run a budget from the command line and print its table."""
    silence_transformers()
    with one_line_errors(lambda: "the same command continues with the runs that are missing"):
        results = train(tyro.cli(Config, config=(tyro.conf.OmitArgPrefixes,), description=__doc__))
    for result in results:
        low, high = result.interval
        sys.stdout.write(
            f"share {result.share:.2f}: {result.num_demos:4d} demonstrations + {result.num_episodes:5d} episodes, "
            f"success {result.successes.mean():.3f} [{low:.3f}, {high:.3f}], {result.unspent:g} unspent\n"
        )


if __name__ == "__main__":
    main()
