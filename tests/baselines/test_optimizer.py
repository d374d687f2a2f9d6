"""Tests of the optimiser that all trainers share."""

from __future__ import annotations

import pytest
import torch

from baselines.config.settings import OptimiserSettings
from baselines.models.policy import Policy
from baselines.rl.losses import k3_kl
from baselines.rl.optimizer import apply_gradients, make_optimiser, trained_parameters


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_weight_decay_shrinks_matrices_of_layers_alone(weight_decay: float) -> None:
    policy = Policy.tiny(["open the red door", "take the key"], 1)
    settings = OptimiserSettings(learning_rate=0.5, weight_decay=weight_decay)
    optimiser = make_optimiser(policy, settings)
    names = {id(weight): name for name, weight in policy.model.named_parameters()}
    assert {id(weight) for weight in trained_parameters(optimiser)} == set(names)
    before = {name: weight.detach().clone() for name, weight in policy.model.named_parameters()}
    for weight in policy.model.parameters():
        weight.grad = torch.zeros_like(weight)
    apply_gradients(optimiser, 1.0, 1.0)
    for name, weight in policy.model.named_parameters():
        shrinks = weight_decay > 0 and weight.ndim > 1 and "embed" not in name and "norm" not in name
        factor = 1 - 0.5 * weight_decay if shrinks else 1.0
        torch.testing.assert_close(weight.detach(), factor * before[name], msg=name)


def test_the_gradient_of_k3_is_on_average_that_of_the_reversed_divergence() -> None:
    logits = torch.tensor([0.3, -1.0, 0.8], requires_grad=True)
    ref = torch.tensor([0.5, 0.2, 0.3])
    pi = logits.softmax(0)
    estimate = (pi.detach() * k3_kl(logits.log_softmax(0), ref.log())).sum()
    torch.testing.assert_close(estimate, (pi * (pi.log() - ref.log())).sum())
    (gradient,) = torch.autograd.grad(estimate, logits)
    (reversed_gradient,) = torch.autograd.grad((ref * (ref.log() - logits.log_softmax(0))).sum(), logits)
    torch.testing.assert_close(gradient, reversed_gradient)
