"""Checkpoints that are either whole or not there.

A checkpoint is a folder `step-00000040`: the policy as an ordinary Hugging Face folder (so it loads as `--model`), and
`trainer.pt` with the optimiser's state, the critic's and LoRA's weights and the step, read back with
`weights_only=True`. Randomness needs no state: every stream is a function of the run's seed and the step.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from baselines.errors import TrainingError
from baselines.models.lora import load_lora_state, lora_state
from baselines.models.policy import Policy
from baselines.models.sharded import is_first, is_sharded, part_like, whole, whole_weights
from baselines.rl.optimizer import trained_parameters

_PREFIX = "step-"
_TRAINER = "trainer.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A saved training state.

    Attributes:
        folder: a complete checkpoint.
        step: iterations that were finished when it was written.
    """

    folder: Path
    step: int

    def restore(
        self, policy: Policy, optimiser: torch.optim.Optimizer, critic: nn.Module | None = None
    ) -> dict[str, float]:
        """Put back the optimiser's state, LoRA's weights and the critic's, and return the trainer's own numbers.

        Raises:
            TrainingError: the file is damaged, or belongs to another model or step.
        """
        path, mapped = self.folder / _TRAINER, is_sharded(trained_parameters(optimiser))  # then parts of it are read
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
            if state["step"] != self.step:
                raise TrainingError(f"expected a checkpoint of step {self.step} in {self.folder}, got {state['step']}")
            optimiser.load_state_dict(_parts_of_optimiser(state["optimiser"], optimiser))
            if critic is not None:
                own = critic.state_dict()
                critic.load_state_dict({name: part_like(value, own[name]) for name, value in state["critic"].items()})
        except (ValueError, RuntimeError, LookupError, EOFError, UnpicklingError) as error:
            raise TrainingError(f"expected an optimiser state for this model in {self.folder}, got: {error}") from error
        if state["lora"]:
            load_lora_state(policy.model, state["lora"])
        counters: dict[str, float] = state["counters"]
        return counters


def save_checkpoint(
    folder: Path,
    step: int,
    policy: Policy,
    optimiser: torch.optim.Optimizer,
    critic: nn.Module | None = None,
    counters: dict[str, float] | None = None,
    keep: int = 2,
) -> Checkpoint:
    """Write a checkpoint, give it its name when it is complete, and drop all but the newest.

    Of several processes all call, and the first writes.

    Args:
        folder: holds the checkpoints of one run.
        step: iterations finished.
        policy: saved with its tokenizer.
        optimiser: optimiser to save.
        critic: critic to save, if there is one.
        counters: a trainer's own running numbers.
        keep: number of the newest checkpoints that stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{_PREFIX}{step:08d}"
    # Not tempfile's folder, which its owner alone may read.
    partial = folder / f".partial-{secrets.token_hex(8)}"
    partial.mkdir()
    try:
        policy.save(partial)
        state = {
            "step": step,
            "optimiser": whole(optimiser.state_dict()),
            "critic": (whole_weights(critic) or critic.state_dict()) if critic is not None else {},
            "lora": lora_state(policy.model),
            "counters": counters or {},
        }
        if not is_first():
            return Checkpoint(target, step)
        torch.save(state, partial / _TRAINER)
        for path in [*partial.rglob("*"), partial]:
            _flush(path)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
        _flush(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old.folder)
    return Checkpoint(target, step)


def _parts_of_optimiser(state: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state of an optimiser of whole weights as one of this process's parts of them."""
    weights = trained_parameters(optimiser)
    parts = {
        place: {name: part_like(value, weights[place]) for name, value in values.items()}
        for place, values in state["state"].items()
    }
    return {**state, "state": parts}


def _flush(path: Path) -> None:
    """Have the disk hold a file or a folder's names before anything relies on it: power may fail, too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Return complete checkpoints, oldest first; what has another name, half-written or copied aside, is not seen."""
    found = [
        Checkpoint(path, int(path.name.removeprefix(_PREFIX)))
        for path in folder.glob(f"{_PREFIX}*")
        if path.name.removeprefix(_PREFIX).isdecimal() and (path / _TRAINER).is_file()
    ]
    return sorted(found, key=lambda checkpoint: checkpoint.step)
