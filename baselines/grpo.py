r"""Group Relative Policy Optimisation (GRPO, arXiv 2402.03300) over whole multi-turn episodes.

One iteration plays `groups_per_batch` tasks `group_size` times each (the same seed repeated) and gives episode i, in the
decision s that `credit` names (see `rl/advantages.py`), the advantage

    A_is = (G_is - mean_j G_js) / std_j(R_j)     G_is = r_is + gamma G_i(s+1), R_i = G_i0; j over the group

and maximises, in `update_epochs` passes of `num_minibatches` optimiser steps,

    1/G sum_i 1/|o_i| sum_t { min[r_t A_t, clip(r_t, 1 - eps, 1 + eps) A_t] - beta KL_t }        eq. 3

with `r_t = pi(a_t) / pi_old(a_t)`, `pi_old` as recorded at rollout, and `KL_t` the k3 estimate against the initial
policy (eq. 4), left out at `kl_coef = 0`. Observation tokens carry no loss.

- `credit="trajectory"` is the paper's outcome supervision (section 4.1.2): A_i = (R_i - mean R) / std R for all tokens.
- `credit="turn"` lets per-step rewards through: the advantage of an action depends on the rewards after it. Members that
  have finished count with G = 0, so the baseline always exists. One standard deviation a group, that of R, keeps turns
  comparable.
- `credit="token"` is turn plus the KL penalty from each token on, and needs `kl_placement="reward"`.
- `credit="step"` is GiGPO (arXiv 2505.10978, section 4): trajectory plus `step_weight` times the same comparison among the
  decisions of a group that met the same state, with G_is in place of R_i.

A KL penalty in the reward is centred on the group (not with `credit="token"`) but never divided by its deviation: in a
group with equal returns, the division would scale the noise of the penalty up to the size of a success.

Left out: process supervision by a reward model (section 4.1.3) and an iteratively renewed reference (section 4.1.4).
Episodes with zero advantage count in the means but are not run through the model, which changes no gradient.

How to run:

    python -m baselines.grpo --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --model runs/sft/model --out runs/grpo \
        --group-size 8 --credit turn --eval-every 10 --eval-episodes 100 --eval-env-kwargs '{"split": "test"}'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from baselines.config.settings import GroupConfig, RunSettings, UpdateSettings
from baselines.errors import ConfigError
from baselines.rl.advantages import (
    GROUP_DECISIONS,
    Decisions,
    group_scale,
    mean_scale,
    minus_group_mean,
    rewards_to_go,
)
from baselines.rl.learner import Collected, Learner
from baselines.rl.update import describe_groups, kl_rewards, select_episodes, update_policy, within_states
from baselines.runs.run import TrainResult, run_command


@dataclass(frozen=True)
class Config(GroupConfig):
    """Options of GRPO."""

    scale_by_std: bool = True
    """Divide by the group's standard deviation. False is one half of Dr. GRPO (arXiv 2503.20783); the other is
    `loss_aggregation="constant"` in place of the mean within each episode."""
    scale_by_mean: bool = False
    """Divide by the group's mean return instead, as in MaxRL (arXiv 2602.02710); 0 for a group whose mean is not above 0."""
    update: UpdateSettings = field(default_factory=lambda: UpdateSettings(loss_aggregation="sequence"))
    """Passes, clip, KL (beta is 0.04 in the paper) and aggregation (the paper's: by sequence)."""
    run: RunSettings = field(default_factory=lambda: RunSettings(out=Path("runs/grpo")))
    """Folder, seed, evaluation, checkpoints."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        super().check()
        if self.scale_by_mean and self.scale_by_std:
            raise ConfigError("expected scale_by_std=False with scale_by_mean, which divides in its place, got both")


def train(config: Config) -> TrainResult:
    """Train by GRPO and return the trained policy.

    Raises:
        BaselinesError: the configuration, environment or model does not fit; what and where is in its message.
    """
    config.check()
    with Learner("GRPO", config) as learner:
        for iteration in learner.iterations():
            collected = learner.collect(
                iteration, config.groups_per_batch, config.group_size, config.refill, config.min_group_spread
            )
            advantages = group_advantages(collected, config)
            record = describe_groups(collected, advantages, config.credit)
            batch, left_out = select_episodes(collected, collected.batch.with_columns(advantages=advantages), config)
            record |= left_out | update_policy(learner, batch, iteration, config)
            learner.close_iteration(iteration, collected, advantages, record)
        return learner.finish()


def group_advantages(collected: Collected, config: Config) -> Tensor:
    """Return (B, T) advantages of an iteration's action tokens."""
    batch, groups = collected.batch, collected.groups
    decisions = batch.decisions(GROUP_DECISIONS[config.credit])
    returns = rewards_to_go(decisions.sum(batch.rewards), config.gamma)
    centred = minus_group_mean(returns, groups)
    if config.scale_by_std:
        centred = centred * group_scale(returns[:, 0], groups)[:, None]
    if config.scale_by_mean:
        centred = centred * mean_scale(returns[:, 0], groups)[:, None]
    advantages = decisions.spread(centred)
    if config.credit == "step":
        advantages = advantages + config.step_weight * within_states(
            collected, minus_group_mean, config.gamma, config.scale_by_std
        )
    if config.update.kl_in_reward:
        advantages = advantages + kl_advantages(collected, decisions, config)
    return advantages


def kl_advantages(collected: Collected, decisions: Decisions, config: Config) -> Tensor:
    """Return (B, T) what the KL penalty in the reward adds: from each token on, or from each decision on and centred."""
    penalty = kl_rewards(collected.batch, config.update)
    if config.credit == "token":
        tokens = collected.batch.decisions("token")
        return tokens.spread(rewards_to_go(tokens.sum(penalty), config.gamma))
    to_go = rewards_to_go(decisions.sum(penalty), config.gamma)
    return decisions.spread(minus_group_mean(to_go, collected.groups))


def main() -> None:
    """Run GRPO from the command line."""
    run_command(Config, train, __doc__)


if __name__ == "__main__":
    main()
