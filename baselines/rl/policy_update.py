"""Parts that algorithms share: the choice of episodes, optimiser steps without a critic, comparisons within groups."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from baselines.config.settings import GroupConfig, LearnerConfig
from baselines.rl.advantages import Credit, has_partner, informative_groups, rewards_to_go, step_advantages
from baselines.rl.batch import Batch
from baselines.rl.learner import Collected, Learner
from baselines.rl.logprobs import score_actions
from baselines.rl.update import Meter, fraction_zero_advantage_groups, minibatches, policy_loss, useful_rows
from baselines.runs.log import Record


def update_policy(learner: Learner, batch: Batch, iteration: int, config: LearnerConfig) -> Record:
    """Take `update_epochs * num_minibatches` optimiser steps on one iteration's episodes and return their metrics.

    Args:
        learner: holds the policy and its optimiser.
        batch: with the column `advantages`.
        iteration: from 0; with the run's seed it decides the order of the episodes.
        config: the algorithm's.
    """
    settings, meter = config.update, Meter()
    for part, minibatch in enumerate(minibatches(batch, settings, (config.run.seed, iteration))):
        for piece in learner.micro_batches(minibatch, useful_rows(minibatch, settings)):
            scores = score_actions(
                learner.policy, piece, config.rollout.temperature, entropy_gradient=settings.entropy_coef > 0
            )
            loss, sums = policy_loss(scores, piece, settings)
            torch.autograd.backward(loss)
            meter.add(sums)
        learner.step(meter, iteration, part)
        if meter.is_past(settings.target_kl):
            break
    return meter.record()


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
    record: Record = {"train/groups_without_signal": fraction_zero_advantage_groups(advantages, groups)}
    if credit == "step":
        labels = collected.state_labels()
        met = labels >= 0
        record["train/step_partners"] = float(has_partner(labels)[met].float().mean()) if met.any() else 0.0
    return record
