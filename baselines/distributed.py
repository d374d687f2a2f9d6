"""Training on several processes: who plays what, and how their numbers become one.

Every process holds the whole model. Each plays its share of the episodes; all get all of them, and compute the same
advantages; each runs its share of every minibatch through the model; gradients are added up. Since the weight of every
token is fixed over the whole minibatch beforehand, the sum is the gradient that one process would have computed, and
shares may differ in size or be empty.

`accelerate launch -m baselines.grpo ...` starts the processes; without it there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from baselines.log import Record

T = TypeVar("T")


def num_processes() -> int:
    """How many processes were launched together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Ranks:
    """The processes of a run.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
        device: where this process's model belongs.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.count, self.device = 0, 1, device
        if num_processes() > 1:
            from accelerate import PartialState

            state = PartialState(cpu=device == "cpu")
            self.rank, self.count = state.process_index, state.num_processes
            if device == "cuda":
                self.device = str(state.device)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and shows the live line."""
        return self.rank == 0

    def bounds(self, num_items: int) -> tuple[int, int]:
        """First index and the one after the last of this process's consecutive share."""
        return num_items * self.rank // self.count, num_items * (self.rank + 1) // self.count

    def deal(self, items: Iterable[T]) -> list[T]:
        """Every `count`-th item, for this process."""
        return list(items)[self.rank :: self.count]

    def gather(self, items: Sequence[T]) -> list[T]:
        """All processes' items, in the order of the processes."""
        if self.count == 1:
            return list(items)
        found: list[list[T]] = [[] for _ in range(self.count)]
        dist.all_gather_object(found, list(items))
        return list(chain.from_iterable(found))

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replaces every gradient by the sum over all processes."""
        if self.count == 1:
            return
        trained = list(parameters)
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.reshape(-1) for parameter in trained if parameter.grad is not None])
        dist.all_reduce(flat)
        start = 0
        for parameter in trained:
            part = flat[start : start + parameter.numel()]
            parameter.grad = part.view_as(parameter).to(parameter.dtype, copy=True)
            start += parameter.numel()

    def add_numbers(self, sums: Record) -> Record:
        """Adds up numbers of the same names."""
        if self.count == 1:
            return dict(sums)
        every = self.gather([sums])
        names = sorted({name for one in every for name in one})
        return {name: sum(one.get(name, 0.0) for one in every) for name in names}

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.count > 1:
            dist.barrier()
