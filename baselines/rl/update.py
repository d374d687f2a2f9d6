"""From an iteration's episodes to optimiser steps: what every policy-gradient algorithm here does alike.

An iteration's batch is cut twice: into minibatches, one optimiser step each, and these into micro-batches that fit the
memory. Each token's weight in the mean is fixed over the whole minibatch first, so the second cut changes no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from baselines.config.settings import GroupConfig, LearnerConfig, UpdateSettings
from baselines.rl.advantages import Credit, has_partner, informative_groups, rewards_to_go, step_advantages
from baselines.rl.batch import Batch, split_by_tokens, split_evenly
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
from baselines.runs.distributed import Ranks
from baselines.runs.log import Record

if TYPE_CHECKING:  # the learner runs parts of this module
    from baselines.rl.learner import Collected, Learner

TARGET_KL_SLACK = 1.5  # as in OpenAI Spinning Up's PPO


Loss: TypeAlias = Callable[["Learner", Batch], tuple[Tensor, Record]]
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


def micro_batches(minibatch: Batch, max_tokens: int, useful: Tensor, packed: bool) -> Iterator[Batch]:
    """Cut a minibatch into pieces of at most `max_tokens` tokens; rows where `useful` (B,) is False are left out.

    A row that has no action token, or whose advantage is 0 throughout with nothing else in the loss, adds nothing to
    the gradient: its weight has been counted, and it need not go through the model. `packed` as in `split_by_tokens`.
    """
    rows = (useful & minibatch.action_mask.any(1)).nonzero()[:, 0].tolist()
    lengths = minibatch.lengths
    for piece in split_by_tokens([lengths[row] for row in rows], max_tokens, packed):
        yield minibatch.select([rows[place] for place in piece])


def empty_row(batch: Batch) -> Batch:
    """Return one row of the batch's columns without an action, all zeros: what a process runs when only others have work.

    It has no part in any loss or sum, and takes the model through the same passes.
    """
    return batch.select([0]).map(torch.zeros_like)


def score_in_chunks(
    score: Callable[[Batch], Tensor], batch: Batch, max_tokens: int, packed: bool, ranks: Ranks | None = None
) -> Tensor:
    """Apply `score`, which returns (B, T), to a batch in pieces of at most `max_tokens` tokens, without gradients.

    Each of several processes takes its share of the pieces, and gets the whole result.
    """
    result = torch.zeros(batch.token_ids.shape, device=batch.token_ids.device)
    pieces = split_by_tokens(batch.lengths, max_tokens, packed)
    with torch.no_grad():
        for rows in pieces if ranks is None else ranks.deal(pieces, spare=[]):
            scores = score(batch.select(rows) if rows else empty_row(batch))
            if rows:
                result[torch.as_tensor(rows, device=result.device), : scores.shape[1]] = scores
    if ranks is None:
        return result
    ranks.reshard()
    return ranks.add(result)


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


class Meter:
    """Adds up what micro-batches report, until an optimiser step and over an iteration.

    Attributes:
        open_sums: sums since the last optimiser step.
    """

    def __init__(self) -> None:
        self.open_sums: Record = {}
        self._sums: Record = {}
        self._norms: list[float] = []
        self._last_kl = 0.0

    def add(self, sums: Record) -> None:
        """Take the sums of one micro-batch."""
        for name, value in sums.items():
            self.open_sums[name] = self.open_sums.get(name, 0.0) + value

    def close_step(self, sums: Record, grad_norm: float) -> None:
        """End an optimiser step: `sums` are those of all processes."""
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._norms.append(grad_norm)
        self._last_kl = sums["approx_kl"] / max(1.0, sums["tokens"])
        self.open_sums = {}

    def is_past(self, target_kl: float | None) -> bool:
        """Return whether the last step's minibatch was further from the policy of the rollout than is wanted."""
        return target_kl is not None and self._last_kl > TARGET_KL_SLACK * target_kl

    def record(self) -> Record:
        """Return means of an iteration: losses over optimiser steps, everything else over the action tokens scored."""
        if not self._norms:
            return {"train/optimiser_steps": 0}
        tokens = self._sums.pop("tokens")
        losses = {name: value / len(self._norms) for name, value in self._sums.items() if name.endswith("loss")}
        means = {name: value / tokens for name, value in self._sums.items() if name not in losses}
        return {
            **{f"train/{name}": value for name, value in (losses | means).items()},
            "train/grad_norm": sum(self._norms) / len(self._norms),
            "train/optimiser_steps": len(self._norms),
        }
