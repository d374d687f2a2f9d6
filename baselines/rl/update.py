"""From an iteration's episodes to optimiser steps: what every policy-gradient algorithm here does alike.

An iteration's batch is cut twice: into minibatches, one optimiser step each, and these into micro-batches that fit the
memory. Each token's weight in the mean is fixed over the whole minibatch first, so the second cut changes no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from baselines.config.settings import GroupConfig, LearnerConfig, UpdateSettings
from baselines.rl.advantages import Credit, has_partner, informative_groups, rewards_to_go, step_advantages
from baselines.rl.batch import Batch, split_evenly
from baselines.rl.learner import Collected, Learner, Meter
from baselines.rl.logprobs import TokenScores, score_actions
from baselines.rl.losses import (
    clip_fraction,
    clipped_policy_loss,
    k3_kl,
    kl_penalty,
    log_ratios,
    loss_weights,
    weighted_sum,
)
from baselines.runs.log import Record

Loss: TypeAlias = Callable[[Learner, Batch], tuple[Tensor, Record]]
"""From a micro-batch to the loss, and sums over its action tokens for the log."""


def update_policy(
    learner: Learner, batch: Batch, iteration: int, config: LearnerConfig, loss_of: Loss | None = None
) -> Record:
    """Take `update_epochs * num_minibatches` optimiser steps on one iteration's episodes and return their metrics.

    Args:
        learner: holds the policy and its optimiser.
        batch: with the column `advantages`, unless there is a loss that reads none.
        iteration: from 0; with the run's seed it decides the order of the episodes.
        config: the algorithm's.
        loss_of: loss of every row of a micro-batch; by default `policy_loss`, of those rows that have a gradient.
    """
    settings, meter = config.update, Meter()
    for part, minibatch in enumerate(minibatches(batch, settings, (config.run.seed, iteration))):
        useful = useful_rows(minibatch, settings) if loss_of is None else minibatch.action_mask.any(1)
        for piece in learner.micro_batches(minibatch, useful):
            loss, sums = (loss_of or surrogate_loss)(learner, piece)
            torch.autograd.backward(loss)
            meter.add(sums)
        learner.step(meter, iteration, part)
        if meter.is_past(settings.target_kl):
            break
    return meter.record()


def surrogate_loss(learner: Learner, piece: Batch) -> tuple[Tensor, Record]:
    """Score a micro-batch and return its `policy_loss`."""
    config = learner.config
    entropy_gradient = config.update.entropy_coef > 0
    scores = score_actions(learner.policy, piece, config.rollout.temperature, entropy_gradient=entropy_gradient)
    return policy_loss(scores, piece, config.update)


def minibatches(batch: Batch, settings: UpdateSettings, seed: Sequence[int]) -> Iterator[Batch]:
    """Yield `update_epochs * num_minibatches` minibatches, each with the column `weights` of the loss.

    Args:
        batch: an iteration's episodes.
        settings: numbers of passes and parts, aggregation.
        seed: numbers, such as the run's seed and the iteration; with the pass they decide the order of the episodes.
    """
    episodes = torch.unique(batch.episodes).tolist()
    for epoch in range(settings.update_epochs):
        order = np.random.default_rng([*seed, epoch]).permutation(episodes).tolist()
        for chosen in split_evenly(order, settings.num_minibatches):
            part = batch.select(batch.rows_of(chosen))
            yield part.with_columns(weights=token_weights(part.action_mask, part, settings))


def token_weights(mask: Tensor, minibatch: Batch, settings: UpdateSettings) -> Tensor:
    """Return (B, T) weights in a minibatch's mean of the tokens of `mask` (B, T); see `losses.loss_weights`."""
    return loss_weights(mask, settings.loss_aggregation, settings.loss_length, minibatch.episodes)


def useful_rows(minibatch: Batch, settings: UpdateSettings) -> Tensor:
    """Return (B,) True for a row that the policy's loss has a gradient for."""
    if settings.kl_in_loss or settings.entropy_coef > 0:
        return torch.ones(len(minibatch), dtype=torch.bool, device=minibatch.token_ids.device)
    return (minibatch["advantages"] != 0).any(1)


def policy_loss(scores: TokenScores, batch: Batch, settings: UpdateSettings) -> tuple[Tensor, Record]:
    """Return the policy's part of a minibatch's loss over one micro-batch.

        L = sum_t w_t { -min[r_t A_t, clip(r_t) A_t]  -  c_ent H_t  +  beta KL_t }      r_t of `log_ratios`

    Equations 7 and 9 of arXiv 1707.06347, KL_t by equation 4 of arXiv 2402.03300 where it is in the loss. Where a server has
    sampled the tokens, A_t is multiplied by its weight (`losses.truncated_weights`).

    Args:
        scores: of the policy in training, with gradients.
        batch: with the columns `advantages`, `weights`, `ref_logprobs` where there is a KL term, and `rollout_weights`
            where a server has sampled the tokens.
        settings: its coefficients.

    Returns:
        The loss, and sums over the micro-batch's action tokens for the log.
    """
    advantages, old_logprobs = batch["advantages"], batch.old_logprobs
    if "rollout_weights" in batch.columns:
        advantages = advantages * batch["rollout_weights"]
    bounds = settings.clip_coef, settings.clip_coef_high
    log_ratio = log_ratios(scores.logprobs, old_logprobs, batch.action_mask, batch.turns, settings.ratio)
    per_token = clipped_policy_loss(log_ratio, advantages, *bounds)
    if settings.entropy_coef > 0:
        per_token = per_token - settings.entropy_coef * scores.entropy
    if settings.kl_in_loss:
        per_token = per_token + settings.kl_coef * k3_kl(scores.logprobs, batch["ref_logprobs"])
    loss = weighted_sum(per_token, batch["weights"])
    with torch.no_grad():
        sums: Record = {
            "tokens": float(batch.action_mask.sum()),
            "loss": float(loss),
            # k3 of (old, new): tokens were drawn from the old policy.
            "approx_kl": float(k3_kl(old_logprobs, scores.logprobs).sum()),
            "clip_fraction": float(clip_fraction(log_ratio, advantages, *bounds).sum()),
            "entropy": float(scores.entropy.sum()),
        }
        if "ref_logprobs" in batch.columns:
            sums["ref_kl"] = float(k3_kl(scores.logprobs, batch["ref_logprobs"]).sum())
    return loss, sums


def select_episodes(collected: Collected, batch: Batch, config: LearnerConfig) -> tuple[Batch, Record]:
    """Return the rows of a batch whose episodes are trained on, and the share of episodes that are left out.

    Args:
        collected: an iteration's episodes.
        batch: theirs, with all columns of the update.
        config: the algorithm's, with `mask_truncated` and, for groups, `keep_top_groups` and `min_group_spread`.
    """
    episodes, groups = collected.episodes, collected.groups
    kept = torch.ones(len(episodes), dtype=torch.bool, device=groups.device)
    if config.update.mask_truncated:
        cut = [episode.truncated and not episode.terminated for episode in episodes]
        kept &= ~torch.tensor(cut, device=groups.device)
    if isinstance(config, GroupConfig):
        returns = torch.tensor([episode.episode_return for episode in episodes], device=groups.device)
        kept &= informative_groups(returns, groups, config.keep_top_groups, config.min_group_spread)
    record: Record = {"train/left_out": 1 - float(kept.float().mean())}
    return batch if kept.all() else batch.select(batch.rows_of(kept.nonzero()[:, 0].tolist())), record


def within_states(
    collected: Collected, baseline: Callable[[Tensor, Tensor], Tensor], gamma: float, scaled: bool = False
) -> Tensor:
    """Return (B, T) advantages of turns over the other turns of their group in the same state, without a KL penalty.

    Args:
        collected: an iteration's episodes, in groups.
        baseline: `advantages.minus_group_mean` or `leave_one_out`.
        gamma: discount from one turn to the next.
        scaled: divide by the standard deviation within the state.
    """
    turns = collected.batch.decisions("turn")
    returns = rewards_to_go(turns.sum(collected.batch.rewards), gamma)
    return turns.spread(step_advantages(returns, collected.state_labels(), baseline, scaled))


def describe_groups(collected: Collected, advantages: Tensor, credit: Credit) -> Record:
    """Return metrics of an iteration's groups; `advantages` are (B, T)."""
    groups = collected.groups[collected.batch.episodes]
    signals = (advantages != 0).any(1).float()
    signals = signals.new_zeros(int(groups.max()) + 1).index_add(0, groups, signals)
    record: Record = {"train/groups_without_signal": float((signals == 0).double().mean())}
    if credit == "step":
        labels = collected.state_labels()
        met = labels >= 0
        record["train/step_partners"] = float(has_partner(labels)[met].float().mean()) if met.any() else 0.0
    return record


def kl_rewards(batch: Batch, settings: UpdateSettings) -> Tensor:
    """Return (N, T) the KL penalty that each action token is charged; 0 where there is none in the reward."""
    if not settings.kl_in_reward:
        return torch.zeros_like(batch.rewards)
    return kl_penalty(batch.old_logprobs, batch["ref_logprobs"], settings.kl_coef) * batch.action_mask
