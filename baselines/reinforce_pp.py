r"""REINFORCE++ (arXiv 2501.03262) over whole multi-turn episodes: no critic, no group, one whitening over the batch.

Each of the `episodes_per_batch` episodes plays a different task. The return of decision s (see `rl/advantages.py` for what
`credit` calls a decision), whitened over all action tokens of the batch, is the advantage:

    G_s = r_s + gamma G_(s+1)        A_t = (G_s(t) - mean) / std        eq. 5 and 6

It crosses turns: observation tokens lie between two actions but neither end a return nor start one. The policy maximises
the clipped surrogate (arXiv 1707.06347, eq. 7) in `update_epochs` passes of `num_minibatches` optimiser steps.

- `credit="token"` is the paper's: with `kl_placement="reward"` every token is charged `beta log(pi_old / pi_ref)`, and
  a token's return holds the charges from itself on.
- `credit="turn"`: the advantage of an action depends on the rewards after it, all its tokens alike.
- `credit="trajectory"`: R for all tokens.

Left out: a reward model, and the mini-group variant "REINFORCE++-baseline" (use RLOO or GRPO).

How to run:

    python -m baselines.reinforce_pp --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --model runs/sft/model \
        --out runs/reinforce_pp --credit turn --eval-every 10 --eval-episodes 100 --eval-env-kwargs '{"split": "test"}'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from baselines.config.settings import CreditConfig, RunSettings, check_at_least
from baselines.errors import ConfigError
from baselines.rl.advantages import rewards_to_go, whiten
from baselines.rl.learner import Collected, Learner
from baselines.rl.update import kl_rewards, select_episodes, update_policy
from baselines.runs.run import TrainResult, run_command


@dataclass(frozen=True)
class Config(CreditConfig):
    """Options of REINFORCE++."""

    episodes_per_batch: int = 64
    """Episodes of one iteration, each of a different task."""
    run: RunSettings = field(default_factory=lambda: RunSettings(out=Path("runs/reinforce_pp")))
    """Folder, seed, evaluation, checkpoints."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_at_least("episodes_per_batch", self.episodes_per_batch, 1)
        self.check_shared(self.episodes_per_batch)
        if self.credit == "token" and self.gamma == 1 and not self.update.kl_in_reward:
            raise ConfigError(
                "expected kl_coef > 0 and kl_placement=reward, or gamma < 1, for credit=token (without them it is "
                f"credit=turn), got kl_coef={self.update.kl_coef}, kl_placement={self.update.kl_placement}, gamma=1"
            )


def train(config: Config) -> TrainResult:
    """Train by REINFORCE++ and return the trained policy.

    Raises:
        BaselinesError: the configuration, environment or model does not fit; what and where is in its message.
    """
    config.check()
    with Learner("REINFORCE++", config) as learner:
        for iteration in learner.iterations():
            collected = learner.collect(iteration, config.episodes_per_batch, group_size=1)
            advantages = whitened_advantages(collected, config)
            batch, record = select_episodes(collected, collected.batch.with_columns(advantages=advantages), config)
            record |= update_policy(learner, batch, iteration, config)
            learner.close_iteration(iteration, collected, advantages, record)
        return learner.finish()


def whitened_advantages(collected: Collected, config: Config) -> Tensor:
    """Return (B, T) advantages of an iteration's action tokens."""
    batch = collected.batch
    rewards = batch.rewards + kl_rewards(batch, config.update)
    decisions = batch.decisions(config.credit)
    returns = rewards_to_go(decisions.sum(rewards), config.gamma)
    return whiten(decisions.spread(returns), batch.action_mask)


def main() -> None:
    """Run REINFORCE++ from the command line."""
    run_command(Config, train, __doc__)


if __name__ == "__main__":
    main()
