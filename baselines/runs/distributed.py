"""Training on several processes: who plays what, how their numbers become one, and who holds which weights.

Each process plays its share of the episodes; all get all of them, and compute the same advantages; each runs its share
of every minibatch through the model; gradients are added up. Since the weight of every token is fixed over the whole
minibatch beforehand, the sum is the gradient that one process would have computed, and shares may differ in size or be
empty.

`accelerate launch -m baselines.grpo ...` starts the processes, each with the whole model; without it there is one. With
`--use_fsdp` each holds a part of every weight, of its gradient and of its optimiser state (torch's `fully_shard`; arXiv
1910.02054, stage 3). A layer is put together when its turn comes, by all processes at once: so all make the same number
of passes, and for rollouts, where no two processes make the same, the whole model is put together (`Ranks.gathered`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import chain
from types import MethodType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import fsdp
from torch.distributed.device_mesh import init_device_mesh
from transformers import PreTrainedModel

from baselines.errors import ConfigError, ModelError
from baselines.models.policy import backbone
from baselines.runs.log import Record

T = TypeVar("T")


def num_processes() -> int:
    """Return the number of processes that were launched together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Ranks:
    """The processes of a run.

    Attributes:
        rank: number of this process, from 0.
        count: number of processes.
        sharded: True if each holds a part of the weights alone.
        device: device of this process's model.
        load_device: device on which models are read; `shard` takes them on to `device`, so that none ever lies there whole.

    Raises:
        ConfigError: weights are to be sharded, and this torch cannot.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.count, self.device = 0, 1, device
        self.sharded = num_processes() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
        if num_processes() > 1:
            from accelerate import PartialState

            state = PartialState(cpu=device == "cpu")
            self.rank, self.count = state.process_index, state.num_processes
            if device == "cuda":
                self.device = str(state.device)
        self.load_device = "cpu" if self.sharded else self.device
        if self.sharded:
            if not hasattr(getattr(fsdp, "FSDPModule", None), "set_force_sum_reduction_for_comms"):
                raise ConfigError(f"expected torch >= 2.9 for --use_fsdp, got {torch.__version__}")
            self._mesh = init_device_mesh(torch.device(device).type, (self.count,))
            self._parts: list[fsdp.FSDPModule] = []
            # Or transformers would read no weights but in the first process, and wait for accelerate to hand them on.
            os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"

    @property
    def is_first(self) -> bool:
        """True if this process is the one that writes files and shows the live line."""
        return self.rank == 0

    def bounds(self, num_items: int) -> tuple[int, int]:
        """Return first index and the one after the last of this process's consecutive share."""
        return num_items * self.rank // self.count, num_items * (self.rank + 1) // self.count

    def deal(self, items: Iterable[T], spare: T) -> list[T]:
        """Return every `count`-th item, for this process; `spare` where the others have one more."""
        dealt = list(items)
        return [*dealt, *[spare] * (-len(dealt) % self.count)][self.rank :: self.count]

    def gather(self, items: Sequence[T]) -> list[T]:
        """Return all processes' items, in the order of the processes."""
        if self.count == 1:
            return list(items)
        found: list[list[T]] = [[] for _ in range(self.count)]
        dist.all_gather_object(found, list(items))
        return list(chain.from_iterable(found))

    def add(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, in the place of the tensor."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by the sum over all processes; those of sharded weights are sums already."""
        if self.count == 1 or self.sharded:
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
        """Add up numbers of the same names."""
        if self.count == 1:
            return dict(sums)
        every = self.gather([sums])
        names = sorted({name for one in every for name in one})
        return {name: sum(one.get(name, 0.0) for one in every) for name in names}

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.count > 1:
            dist.barrier()

    def shard(self, module: nn.Module) -> None:
        """Divide a module's weights among the processes, where they are to be `sharded`: layer by layer, and the rest.

        From here on all processes have to run the module together.

        Raises:
            ModelError: its weights are of several types.
        """
        if not self.sharded:
            return
        types = {weight.dtype for weight in module.parameters()}
        if len(types) > 1:
            raise ModelError(f"expected a model with weights of one type for --use_fsdp, got {types}")
        layers = set(getattr(module, "_no_split_modules", None) or ())
        for part in [*(layer for layer in module.modules() if type(layer).__name__ in layers), module]:
            sharded = fsdp.fully_shard(part, mesh=self._mesh)
            sharded.set_gradient_divide_factor(1.0)  # sums, not means
            sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no other
            self._parts.append(sharded)
        if isinstance(module, PreTrainedModel):
            _open_from_within(module)

    @contextmanager
    def gathered(self, module: nn.Module) -> Iterator[None]:
        """Inside, every process holds all weights of a sharded module and runs it on its own, without gradients."""
        parts = [part for part in module.modules() if isinstance(part, fsdp.FSDPModule)] if self.sharded else []
        for part in parts:
            part.unshard()
            part.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for part in parts:
                part.set_reshard_after_forward(part is not module, recurse=False)
                part.reshard()

    def reshard(self) -> None:
        """Let go of what passes without gradients have left whole: the embeddings and the head of each model."""
        if self.sharded:
            for part in self._parts:
                part.reshard()


def _open_from_within(model: PreTrainedModel) -> None:
    """Have the model's own weights (embeddings, last norm, head) put together also where its trunk is run by itself.

    Scores are computed from the trunk's hidden states, but torch watches the forward of the whole model alone. The head,
    which may be the embeddings once more, stays until `reshard` or the end of the backward pass.
    """
    owner: Any = model
    trunk: Any = backbone(model)
    forward, trunk_forward = owner.forward, trunk.forward

    @wraps(trunk_forward)
    def run_trunk(_: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        return trunk_forward(*args, **kwargs)

    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        trunk.forward = trunk_forward  # a part of the whole, which is watched already
        try:
            return forward(*args, **kwargs)
        finally:
            trunk.forward = owner.run_trunk

    owner.run_trunk = MethodType(run_trunk, model)
    fsdp.register_fsdp_forward_method(model, "run_trunk")
    owner.forward, trunk.forward = run, owner.run_trunk
