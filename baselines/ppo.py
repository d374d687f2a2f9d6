r"""Proximal Policy Optimisation (PPO, arXiv 1707.06347) over whole multi-turn episodes, with a critic.

One iteration plays `episodes_per_batch` episodes, each of a different task. The critic predicts the value of the state
before every decision s (see `rl/advantages.py`), and generalised advantage estimation (arXiv 1506.02438)

    delta_s = r_s + gamma V_(s+1) - V_s        A_s = delta_s + gamma lambda A_(s+1)

gives advantages, whitened over the batch, and targets `A_s + V_s` for the critic. Passes over the batch minimise

    - min[r_t A_t, clip(r_t, 1 - eps, 1 + eps) A_t]  -  c_ent H_t  +  c_v 1/2 (V_s - target_s)^2        eq. 9

- `credit="token"`: every action token is a decision. What follows the last token of an action is the first token of the
  next one: the estimate bridges the observation between them, whose tokens are nobody's decision.
- `credit="turn"`: one value at the start of each turn, one advantage for all tokens of its action.
- `credit="trajectory"`: A = R - V(prompt).
- `credit="bilevel"` (VAGEN, arXiv 2510.16907): the estimate from turn to turn, with gamma, is given to the last token of
  each turn and handed on to the tokens before it within the turn, with `token_gamma` (see `advantages.bilevel_gae`).

The critic reads the same tokens as the policy, prompt included, from the policy's own hidden states (`critic="head"`) or
with a separate model (`critic="separate"`). More than one optimiser step per batch keeps the ratio and the clip alive;
both are logged.

A budget of steps is part of the task, and a policy that reads its whole history knows how much of it is left: an
episode that runs out of steps is worth nothing more (F. Pardo et al., arXiv 1712.00378, section 3). With
`bootstrap_truncated` it is continued by the critic's value of the final observation instead, as is right where the cut
is not the task's (section 4). At gamma = 1 that takes the signal away: a wasted step then costs nothing, since what it
delayed is still promised.

Left out: a reward model, normalised rewards (returns lie in [0, 1] already).

How to run:

    python -m baselines.ppo --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --model runs/sft/model --out runs/ppo \
        --credit turn --eval-every 10 --eval-episodes 100 --eval-env-kwargs '{"split": "test"}'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from baselines.config.settings import (
    CreditConfig,
    RunSettings,
    check_all_positive,
    check_at_least,
    check_fraction,
    check_one_of,
)
from baselines.rl.advantages import Credit, bilevel_gae, gae, whiten
from baselines.rl.batch import Batch, collate_ends
from baselines.rl.critic import Critic, CriticKind
from baselines.rl.learner import Collected, Learner, Meter
from baselines.rl.logprobs import score_actions
from baselines.rl.losses import explained_variance, value_loss, weighted_sum
from baselines.rl.update import kl_rewards, minibatches, policy_loss, select_episodes, token_weights
from baselines.runs.log import Record
from baselines.runs.run import TrainResult, run_command
from baselines.sampling.episode import Episode


@dataclass(frozen=True)
class Config(CreditConfig):
    """Options of PPO."""

    episodes_per_batch: int = 64
    """Episodes of one iteration, each of a different task (256 in arXiv 2510.01132)."""
    credit: Credit = "turn"
    """Unit that gets one advantage: token, turn, trajectory, or bilevel (VAGEN)."""
    gae_lambda: float = 0.95
    """lambda (0.95 in arXiv 1707.06347, table 3)."""
    token_gamma: float = 1.0
    """Discount from one token to the next within a turn, for `credit="bilevel"` (arXiv 2510.16907)."""
    whiten_advantages: bool = True
    """Bring a batch's advantages to zero mean and unit variance."""
    bootstrap_truncated: bool = False
    """Continue episodes that were truncated by the critic's value of their final observation; needs gamma < 1."""
    critic: CriticKind = "head"
    """A linear head on the policy's hidden states, or a separate model."""
    critic_learning_rate: float = 1e-3
    """AdamW's for the critic; 1e-3 suits a head, 1e-5 a separate pretrained model (arXiv 2510.01132)."""
    value_coef: float = 0.5
    """c_v of eq. 9; it also scales the loss of a separate critic."""
    value_clip: float | None = None
    """Largest change of a prediction that counts, in units of the return; None for no clip."""
    run: RunSettings = field(default_factory=lambda: RunSettings(out=Path("runs/ppo")))
    """Folder, seed, evaluation, checkpoints."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_at_least("episodes_per_batch", self.episodes_per_batch, 1)
        check_one_of("critic", self.critic, ("head", "separate"))
        check_fraction("gae_lambda", self.gae_lambda)
        check_fraction("token_gamma", self.token_gamma)
        check_all_positive(self, "critic_learning_rate", "value_clip")
        check_at_least("value_coef", self.value_coef, 0.0)
        self.check_shared(self.episodes_per_batch, "bilevel")


def train(config: Config) -> TrainResult:
    """Train by PPO and return the trained policy.

    Raises:
        BaselinesError: the configuration, environment or model does not fit; what and where is in its message.
    """
    config.check()
    with Learner("PPO", config, lambda policy: Critic(policy, config.critic), config.critic_learning_rate) as learner:
        for iteration in learner.iterations():
            collected = learner.collect(iteration, config.episodes_per_batch, group_size=1)
            batch, record = estimate(learner, collected, config)
            kept, left_out = select_episodes(collected, batch, config)
            record |= left_out | update(learner, kept, iteration, config)
            learner.close_iteration(iteration, collected, batch["advantages"], record)
        return learner.finish()


def estimate(learner: Learner, collected: Collected, config: Config) -> tuple[Batch, Record]:
    """Add the critic's values, its targets and the advantages to an iteration's batch.

    Returns:
        The batch with the columns `advantages`, `values`, `targets` and `decided` (1.0 at the first token of each
        decision, where values and targets hold), and metrics of the critic.
    """
    critic, batch = learner.critic, collected.batch
    assert critic is not None
    rewards = batch.rewards + kl_rewards(batch, config.update)
    decisions = batch.decisions("token" if config.credit == "bilevel" else config.credit)
    decided = decisions.first_tokens()
    token_values = learner.score(lambda piece: critic.values(learner.policy, piece), batch)
    values = decisions.sum(token_values * decided)
    bootstrap = torch.zeros(len(values), device=values.device)
    if config.bootstrap_truncated:
        bootstrap = final_values(learner, collected.episodes)
    earned, present, discounts = decisions.sum(rewards), decisions.present(), (config.gamma, config.gae_lambda)
    if config.credit == "bilevel":
        turns = torch.where(present, decisions.sum(batch.turns), -1)
        advantages = bilevel_gae(earned, values, turns, bootstrap, *discounts, config.token_gamma)
    else:
        advantages = gae(earned, values, present, bootstrap, *discounts)
    targets = decisions.spread(advantages + values) * decided
    token_advantages = decisions.spread(advantages)
    if config.whiten_advantages:
        token_advantages = whiten(token_advantages, batch.action_mask)
    record: Record = {
        "train/explained_variance": explained_variance(token_values[decided], targets[decided]),
        "train/value": float(token_values[decided].mean()) if decided.any() else 0.0,
    }
    columns = {"advantages": token_advantages, "values": token_values, "targets": targets, "decided": decided.float()}
    return batch.with_columns(**columns), record


def final_values(learner: Learner, episodes: list[Episode]) -> Tensor:
    """Return (N,) the critic's value of each final observation: 0 unless the episode was truncated and did not terminate."""
    critic, policy = learner.critic, learner.policy
    assert critic is not None
    result = torch.zeros(len(episodes), device=policy.device)
    cut = [row for row, episode in enumerate(episodes) if episode.truncated and not episode.terminated]
    if cut:
        ends = collate_ends([episodes[row] for row in cut], policy.chat.end_token_id, policy.device)
        result[cut] = learner.score(lambda piece: critic.values(policy, piece), ends).sum(1)
    return result


def update(learner: Learner, batch: Batch, iteration: int, config: Config) -> Record:
    """Take `update_epochs * num_minibatches` optimiser steps on one iteration's episodes and return their metrics."""
    settings, meter, critic = config.update, Meter(), learner.critic
    assert critic is not None
    for part, minibatch in enumerate(minibatches(batch, settings, (config.run.seed, iteration))):
        value_weights = token_weights(minibatch["decided"] > 0, minibatch, settings)
        minibatch = minibatch.with_columns(value_weights=value_weights)
        every_row = torch.ones(len(minibatch), dtype=torch.bool, device=value_weights.device)
        for piece in learner.micro_batches(minibatch, every_row):
            scores = score_actions(
                learner.policy,
                piece,
                config.rollout.temperature,
                value_head=critic.shared_head,
                entropy_gradient=settings.entropy_coef > 0,
            )
            loss, sums = policy_loss(scores, piece, settings)
            values = scores.values if scores.values is not None else critic.values(learner.policy, piece)
            per_decision = value_loss(values, piece["values"], piece["targets"], config.value_clip)
            critic_loss = weighted_sum(per_decision, piece["value_weights"])
            torch.autograd.backward(loss + config.value_coef * critic_loss)
            meter.add(sums | {"value_loss": float(critic_loss.detach())})
        learner.step(meter, iteration, part)
        if meter.is_past(settings.target_kl):
            break
    return meter.record()


def main() -> None:
    """Run PPO from the command line."""
    run_command(Config, train, __doc__)


if __name__ == "__main__":
    main()
