"""One optimiser for all trainers: AdamW, a schedule of the learning rate, and gradients clipped to a norm."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from baselines.config.settings import OptimiserSettings
from baselines.errors import TrainingError
from baselines.models.policy import Policy


def make_optimiser(
    policy: Policy, settings: OptimiserSettings, critic: nn.Module | None = None, critic_learning_rate: float = 0.0
) -> torch.optim.AdamW:
    """Make AdamW over the policy's trained weights, and the critic's with a rate of their own.

    Each group's `initial_lr` is what the schedule multiplies. Weight decay reaches matrices of linear layers and LoRA alone.
    """
    groups = _groups(policy.model, settings.learning_rate, settings.weight_decay)
    if critic is not None:
        groups += _groups(critic, critic_learning_rate, settings.weight_decay)
    betas = (settings.adam_beta1, settings.adam_beta2)
    return torch.optim.AdamW(groups, betas=betas, eps=settings.adam_epsilon, fused=True)


def schedule_factor(step: int, num_steps: int, settings: OptimiserSettings) -> float:
    """Return the share of the learning rate that optimiser step `step` (from 0) of `num_steps` uses.

    It rises linearly over `warmup_steps`, times the schedule: of a cosine the half from 1 to 0 (arXiv 1608.03983, eq. 5).
    """
    num_steps = max(1, num_steps)
    warmup = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    if settings.schedule == "cosine":
        return warmup * (0.5 * (1 + math.cos(math.pi * step / num_steps)))
    return warmup * (1 - step / num_steps) if settings.schedule == "linear" else warmup


def apply_gradients(optimiser: torch.optim.Optimizer, factor: float, max_norm: float) -> float:
    """Clip the accumulated gradients of all groups together, take one step and clear them.

    Args:
        optimiser: the optimiser of these gradients.
        factor: of every group's learning rate.
        max_norm: largest global L2 norm.

    Returns:
        The gradients' L2 norm before clipping.

    Raises:
        TrainingError: the norm is not finite; the weights are then untouched.
    """
    total = torch.nn.utils.clip_grad_norm_(trained_parameters(optimiser), max_norm)
    norm = float(total.full_tensor() if isinstance(total, DTensor) else total)
    if not math.isfinite(norm):
        raise TrainingError(
            f"expected finite gradients, got norm {norm}; the weights are "
            "those before this step; start a new run from the last checkpoint (--model) with a lower --learning-rate"
        )
    for group in optimiser.param_groups:
        group["lr"] = factor * group["initial_lr"]
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm


def trained_parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return all weights that an optimiser changes."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return one group for all weights without decay, else one for those that decay and one for the others."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    tables = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding)}
    decayed = [one for one in trained if weight_decay > 0 and one.ndim > 1 and id(one) not in tables]
    matrices = {id(one) for one in decayed}
    others = [one for one in trained if id(one) not in matrices]
    common = {"lr": learning_rate, "initial_lr": learning_rate}
    parts = ((others, 0.0), (decayed, weight_decay))
    return [{"params": weights, "weight_decay": decay, **common} for weights, decay in parts if weights]
