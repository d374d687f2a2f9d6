"""One optimiser for all trainers: AdamW, a linear warm-up, and gradients clipped to a norm."""

from __future__ import annotations

import math

import torch

from baselines.errors import TrainingError
from baselines.policy import Policy
from baselines.settings import OptimiserSettings


def make_optimiser(policy: Policy, settings: OptimiserSettings) -> torch.optim.AdamW:
    """Makes AdamW over all weights of the policy; betas are those of arXiv 1711.05101, section 4."""
    return torch.optim.AdamW(
        policy.model.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.999),
        weight_decay=settings.weight_decay,
        fused=True,
    )


def warmup_factor(step: int, settings: OptimiserSettings) -> float:
    """Share of the learning rate that optimiser step `step` (from 0) uses; rises linearly to 1."""
    if settings.warmup_steps == 0:
        return 1.0
    return min(1.0, (step + 1) / settings.warmup_steps)


def cosine_factor(step: int, num_steps: int) -> float:
    """Share of the learning rate at `step` (from 0) of a half cosine from 1 to 0 (arXiv 1608.03983, eq. 5)."""
    return 0.5 * (1 + math.cos(math.pi * step / max(1, num_steps)))


def apply_gradients(policy: Policy, optimiser: torch.optim.Optimizer, learning_rate: float, max_norm: float) -> float:
    """Clips the accumulated gradients, takes one step and clears them.

    Returns:
        The gradients' L2 norm before clipping.

    Raises:
        TrainingError: the norm is not finite; the weights are then untouched.
    """
    norm = float(torch.nn.utils.clip_grad_norm_(policy.model.parameters(), max_norm))
    if not math.isfinite(norm):
        raise TrainingError(f"expected finite gradients, got norm {norm}; lower --learning-rate or --max-grad-norm")
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm
