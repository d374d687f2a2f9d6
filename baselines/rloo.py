r"""REINFORCE Leave-One-Out (RLOO, arXiv 2402.14740) over whole multi-turn episodes.

One iteration plays `groups_per_batch` tasks `group_size` times each (the same seed repeated). Each member's baseline is
the mean of the others, which makes the estimate unbiased (section 3.2; W. Kool et al., 2019): in the decision s that
`credit` names (see `rl/advantages.py`),

    A_is = G_is - 1/(k - 1) sum_(j != i) G_js     G_is = r_is + gamma G_i(s+1); j over the k members of the group

and the policy maximises the clipped surrogate (arXiv 1707.06347, eq. 7), whose gradient at the first optimiser step of
an iteration is REINFORCE's, `A grad log pi`; the paper takes that one step and needs no clip.

- `credit="trajectory"` is the paper's: A_i = R_i - mean of the others' R, for all tokens.
- `credit="turn"` lets per-step rewards through: the advantage of an action depends on the rewards after it. Members that
  have finished count with G = 0, so the baseline always exists.
- `credit="token"` is turn plus the KL penalty from each token on, and needs `kl_placement="reward"`.
- `credit="step"` is trajectory plus `step_weight` times `G_is` minus the mean of the group's other decisions in the same
  state, the idea of GiGPO (arXiv 2505.10978, section 4) with this baseline.

With `kl_placement="reward"` R holds the KL penalty, as in the paper (section 2). Left out: a reward model. Episodes with
zero advantage count in the means but are not run through the model, which changes no gradient.

How to run:

    python -m baselines.rloo --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --model runs/sft/model --out runs/rloo \
        --group-size 4 --credit turn --eval-every 10 --eval-episodes 100 --eval-env-kwargs '{"split": "test"}'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from baselines.config.settings import GroupConfig, RunSettings
from baselines.rl.advantages import GROUP_DECISIONS, leave_one_out, rewards_to_go
from baselines.rl.learner import Collected, Learner
from baselines.rl.update import describe_groups, kl_rewards, select_episodes, update_policy, within_states
from baselines.runs.run import TrainResult, run_command


@dataclass(frozen=True)
class Config(GroupConfig):
    """Options of RLOO."""

    run: RunSettings = field(default_factory=lambda: RunSettings(out=Path("runs/rloo")))
    """Folder, seed, evaluation, checkpoints."""


def train(config: Config) -> TrainResult:
    """Train by RLOO and return the trained policy.

    Raises:
        BaselinesError: the configuration, environment or model does not fit; what and where is in its message.
    """
    config.check()
    with Learner("RLOO", config) as learner:
        for iteration in learner.iterations():
            collected = learner.collect(
                iteration, config.groups_per_batch, config.group_size, config.refill, config.min_group_spread
            )
            advantages = leave_one_out_advantages(collected, config)
            record = describe_groups(collected, advantages, config.credit)
            batch, left_out = select_episodes(collected, collected.batch.with_columns(advantages=advantages), config)
            record |= left_out | update_policy(learner, batch, iteration, config)
            learner.close_iteration(iteration, collected, advantages, record)
        return learner.finish()


def leave_one_out_advantages(collected: Collected, config: Config) -> Tensor:
    """Return (B, T) advantages of an iteration's action tokens."""
    batch, groups = collected.batch, collected.groups
    decisions = batch.decisions(GROUP_DECISIONS[config.credit])
    penalty = kl_rewards(batch, config.update)
    rewards = batch.rewards if config.credit == "token" else batch.rewards + penalty
    returns = rewards_to_go(decisions.sum(rewards), config.gamma)
    advantages = decisions.spread(leave_one_out(returns, groups))
    if config.credit == "token":
        tokens = batch.decisions("token")
        return advantages + tokens.spread(rewards_to_go(tokens.sum(penalty), config.gamma))
    if config.credit == "step":
        return advantages + config.step_weight * within_states(collected, leave_one_out, config.gamma)
    return advantages


def main() -> None:
    """Run RLOO from the command line."""
    run_command(Config, train, __doc__)


if __name__ == "__main__":
    main()
