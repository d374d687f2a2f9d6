"""Weights of which each of several processes holds a part: how they become whole for a file, and parts again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

T = TypeVar("T")


def is_first() -> bool:
    """Return whether this process is the one that writes files."""
    return not dist.is_initialized() or dist.get_rank() == 0


def is_sharded(weights: Iterable[Tensor]) -> bool:
    """Return whether this process holds parts of the weights alone."""
    return any(isinstance(weight, DTensor) for weight in weights)


def whole(state: T) -> T:
    """Return nested dicts and lists with every sharded tensor in them put together, on the CPU of the first process.

    All processes have to call; the others get empty tensors. A tensor that stands in several places stays one.
    """
    made: dict[int, Tensor] = {}

    def put_together(value: Any) -> Any:
        if not isinstance(value, DTensor):
            return value
        if id(value) not in made:
            full = value.full_tensor().detach()
            made[id(value)] = full.cpu() if is_first() else full.new_empty(0)
        return made[id(value)]

    result: T = tree_map(put_together, state)
    return result


def whole_weights(model: nn.Module) -> dict[str, Tensor] | None:
    """Return a sharded model's weights by name, as by `whole`; None if the model is not sharded."""
    weights = model.state_dict(keep_vars=True)  # then tied weights are one object
    return whole(dict(weights)) if is_sharded(weights.values()) else None


def part_like(tensor: Tensor, weight: Tensor) -> Tensor:
    """Return this process's part of `tensor`, if `weight` is sharded and of the same shape; else the tensor itself."""
    if not isinstance(weight, DTensor) or weight.shape != tensor.shape:
        return tensor
    # A copy: the part would hold on to the whole.
    return distribute_tensor(tensor, weight.device_mesh, weight.placements, src_data_rank=None).clone()
