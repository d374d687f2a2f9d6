"""Credit assignment: from rewards to one advantage per token.

Every function is pure. Returns come as (N,) over episodes, groups as (N,) labels; advantages leave as (N,), one per
trajectory, and `spread` gives them to an episode's action tokens, (N, T).
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this a group's returns differ only by rounding (sums of rewards such as 1/3), and carry no signal.
ZERO_STD = 1e-6


def group_normalised_advantages(returns: Tensor, groups: Tensor) -> Tensor:
    """Trajectory advantage of GRPO: `A_i = (R_i - mean(R)) / std(R)` over the episodes of one group.

    Section 4.1.2 (outcome supervision) of arXiv 2402.03300; `std` is the population's (divided by the group size).

    Args:
        returns: (N,) episode returns.
        groups: (N,) label of the group that each episode belongs to, such as its seed.

    Returns:
        (N,) advantages; 0 throughout a group whose returns are all equal.
    """
    _, inverse = torch.unique(groups, return_inverse=True)
    num_groups = int(inverse.max()) + 1 if len(inverse) else 0
    counts = torch.zeros(num_groups, dtype=returns.dtype).index_add(0, inverse, torch.ones_like(returns))
    means = torch.zeros(num_groups, dtype=returns.dtype).index_add(0, inverse, returns) / counts
    centred = returns - means[inverse]
    variances = torch.zeros(num_groups, dtype=returns.dtype).index_add(0, inverse, centred**2) / counts
    stds = variances.sqrt()[inverse]
    return torch.where(stds > ZERO_STD, centred / stds.clamp(min=ZERO_STD), torch.zeros_like(centred))


def spread(advantages: Tensor, action_mask: Tensor) -> Tensor:
    """Gives every action token its trajectory's advantage: (B,) and (B, T) to (B, T), 0 off the mask."""
    return advantages[:, None] * action_mask
