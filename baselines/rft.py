r"""Expert iteration: roll out, keep the episodes that succeed, imitate them (rejection-sampling fine-tuning).

One iteration plays `episodes_per_batch` episodes, each of a different task, and maximises the likelihood of the actions of
those that succeeded (arXiv 2203.14465, section 3; arXiv 2312.06585, section 3, with a reward of 0 or 1),

    L = - sum_i k_i sum_t log pi(a_it | everything before t) / sum_i k_i |o_i|          k_i = 1 if episode i succeeded

in `update_epochs` passes of `num_minibatches` optimiser steps. It is REINFORCE without a baseline and without credit: a
failure teaches nothing, and every action of a success is imitated, detours included. `keep_shortest` keeps the share of the
successes that took the fewest steps.

Left out: replay of earlier iterations, and a restart from the initial policy in each of them.

How to run:

    python -m baselines.rft --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --model tiny-base --decode listed \
        --out runs/rft --eval-every 10 --eval-episodes 100 --eval-env-kwargs '{"split": "test"}'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from baselines.config.settings import LearnerConfig, RunSettings, UpdateSettings, check_at_least, check_fraction
from baselines.errors import ConfigError
from baselines.rl.batch import Batch
from baselines.rl.learner import Learner
from baselines.rl.logprobs import score_actions
from baselines.rl.losses import k3_kl, weighted_sum
from baselines.rl.update import update_policy
from baselines.runs.log import Record
from baselines.runs.run import TrainResult, run_command
from baselines.sampling.episode import Episode


@dataclass(frozen=True)
class Config(LearnerConfig):
    """Options of expert iteration."""

    episodes_per_batch: int = 64
    """Episodes of one iteration, each of a different task."""
    keep_shortest: float = 1.0
    """Share of the successful episodes that is imitated, the shortest first."""
    update: UpdateSettings = field(default_factory=UpdateSettings)
    """Passes and aggregation; clip, entropy and KL have no part in this loss and are refused."""
    run: RunSettings = field(default_factory=lambda: RunSettings(out=Path("runs/rft")))
    """Folder, seed, evaluation, checkpoints."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_at_least("episodes_per_batch", self.episodes_per_batch, 1)
        check_fraction("keep_shortest", self.keep_shortest)
        self.check_shared(self.episodes_per_batch)
        for name in ("kl_coef", "entropy_coef"):
            if getattr(self.update, name):
                value = getattr(self.update, name)
                raise ConfigError(f"expected {name}=0, which this algorithm does not use, got {value}")


def train(config: Config) -> TrainResult:
    """Train by expert iteration and return the trained policy.

    Raises:
        BaselinesError: the configuration, environment or model does not fit; what and where is in its message.
    """
    config.check()
    with Learner("RFT", config) as learner:
        for iteration in learner.iterations():
            collected = learner.collect(iteration, config.episodes_per_batch, group_size=1)
            kept_episodes = kept_rows(collected.episodes, config.keep_shortest)
            rows = collected.batch.rows_of(kept_episodes)
            record: Record = {"train/kept": len(kept_episodes) / len(collected.episodes)}
            record |= update_policy(learner, collected.batch.select(rows), iteration, config, imitation_loss)
            kept = torch.zeros(len(collected.batch), 1, device=collected.batch.token_ids.device)
            kept[rows] = 1.0
            learner.close_iteration(iteration, collected, kept * collected.batch.action_mask, record)
        return learner.finish()


def kept_rows(episodes: Sequence[Episode], keep_shortest: float) -> list[int]:
    """Return the numbers of the successful episodes that are imitated; at least one, where one succeeded."""
    solved = sorted((len(episode.turns), row) for row, episode in enumerate(episodes) if episode.success)
    count = max(1, round(keep_shortest * len(solved)))
    return sorted(row for _, row in solved[:count])


def imitation_loss(learner: Learner, piece: Batch) -> tuple[Tensor, Record]:
    """Return the mean negative log-likelihood of a micro-batch's actions, and sums over its tokens for the log."""
    scores = score_actions(learner.policy, piece, learner.config.rollout.temperature)
    loss = weighted_sum(-scores.logprobs, piece["weights"])
    return loss, {
        "tokens": float(piece.action_mask.sum()),
        "loss": float(loss.detach()),
        "approx_kl": float(k3_kl(piece.old_logprobs, scores.logprobs.detach()).sum()),
        "entropy": float(scores.entropy.detach().sum()),
    }


def main() -> None:
    """Run expert iteration from the command line."""
    run_command(Config, train, __doc__)


if __name__ == "__main__":
    main()
