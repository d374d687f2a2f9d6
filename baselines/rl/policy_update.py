"""The optimiser steps of algorithms without a critic: passes over an iteration's episodes with the clipped policy loss."""

from __future__ import annotations

from typing import Protocol

import torch

from baselines.config.settings import RolloutSettings, RunSettings, UpdateSettings
from baselines.rl.batch import Batch
from baselines.rl.learner import Learner
from baselines.rl.logprobs import score_actions
from baselines.rl.update import Meter, minibatches, policy_loss, useful_rows
from baselines.runs.log import Record


class UpdateConfig(Protocol):
    """The settings of an algorithm that its optimiser steps depend on."""

    @property
    def rollout(self) -> RolloutSettings: ...  # noqa: D102
    @property
    def update(self) -> UpdateSettings: ...  # noqa: D102
    @property
    def run(self) -> RunSettings: ...  # noqa: D102


def update_policy(learner: Learner, batch: Batch, iteration: int, config: UpdateConfig) -> Record:
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
