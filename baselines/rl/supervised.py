"""One optimiser step of supervised training on episodes: SFT on demonstrations, pretraining on play."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from baselines.config.settings import OptimiserSettings
from baselines.models.policy import Policy
from baselines.rl.batch import collate, empty_row, micro_batches
from baselines.rl.logprobs import can_pack, score_actions
from baselines.rl.losses import loss_weights, weighted_sum
from baselines.rl.optimizer import apply_gradients, trained_parameters
from baselines.runs.distributed import Ranks
from baselines.runs.log import Record
from baselines.sampling.episode import Episode


def batch_rows(num_episodes: int, steps_per_epoch: int, step: int, batch_size: int, seed: int) -> list[int]:
    """Return the episodes of optimiser step `step` (from 0); every epoch has its own order, a function of `seed`."""
    epoch, position = divmod(step, steps_per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(num_episodes)
    rows: list[int] = order[position * batch_size : (position + 1) * batch_size].tolist()
    return rows


def supervised_step(
    policy: Policy,
    optimiser: torch.optim.Optimizer,
    episodes: list[Episode],
    settings: OptimiserSettings,
    factor: float,
    ranks: Ranks,
    observation_coef: float = 0.0,
) -> Record:
    """Take one optimiser step on the mean cross-entropy of the episodes' action tokens.

    Args:
        policy: trained in place.
        optimiser: of its weights.
        episodes: demonstrations.
        settings: clipping, size of a micro-batch.
        factor: of the learning rate.
        ranks: the processes that share the work.
        observation_coef: weight of the mean cross-entropy of all other tokens, added to it.

    Returns:
        Metrics of the step.
    """
    started = time.perf_counter()
    batch = collate(episodes, policy.pad_token_id, policy.device)
    batch = batch.with_columns(weights=loss_weights(batch.action_mask, "token"), acted=batch.action_mask.float())
    if observation_coef > 0:
        scored = batch.attention_mask > 0
        scored[:, 0] = False  # nothing comes before it
        others = loss_weights(scored & ~batch.action_mask, "token")
        weights = batch["weights"] + observation_coef * others
        batch = replace(batch, action_mask=scored).with_columns(weights=weights)
    sums: Record = {"loss": 0.0, "correct": 0.0, "tokens": 0.0}
    every_row, packed = batch.action_mask.any(1), can_pack(policy.model)
    pieces = micro_batches(batch, settings.micro_batch_tokens, every_row, packed)
    for piece in ranks.deal(pieces, spare=empty_row(batch)):
        scores = score_actions(policy, piece)
        loss = weighted_sum(-scores.logprobs, piece["weights"])
        torch.autograd.backward(loss)
        acted = piece["acted"]
        sums["loss"] -= float((scores.logprobs.detach() * piece["weights"] * acted).sum())
        sums["correct"] += float((scores.correct * acted).sum())
        sums["tokens"] += float(acted.sum())
    sums = ranks.add_numbers(sums)
    ranks.add_gradients(trained_parameters(optimiser))
    grad_norm = apply_gradients(optimiser, factor, settings.max_grad_norm)
    return {
        "train/loss": sums["loss"],
        "train/accuracy": sums["correct"] / sums["tokens"],
        "train/grad_norm": grad_norm,
        "train/learning_rate": settings.learning_rate * factor,
        "train/tokens_per_second": sum(batch.lengths) / (time.perf_counter() - started),
    }
