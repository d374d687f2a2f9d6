"""Checkpoints that are either whole or not there.

A checkpoint is a folder `step-00000040`: the policy as an ordinary Hugging Face folder (so it loads as `--model`), and
`trainer.pt` with the optimiser's state and the step, read back with `weights_only=True`. Randomness needs no state:
every stream is a function of the run's seed and the step.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from baselines.errors import TrainingError
from baselines.policy import Policy

_PREFIX = "step-"
_TRAINER = "trainer.pt"


@dataclass(frozen=True)
class Checkpoint:
    """Where a run can go on.

    Attributes:
        folder: a complete checkpoint.
        step: iterations that were finished when it was written.
    """

    folder: Path
    step: int

    def load_policy(self, dtype: str, device: str) -> Policy:
        """Loads the policy as it was."""
        return Policy.load(self.folder, dtype, device)

    def restore_optimiser(self, optimiser: torch.optim.Optimizer) -> dict[str, float]:
        """Puts the optimiser's state back and returns the trainer's own numbers.

        Raises:
            TrainingError: the file belongs to another model or step.
        """
        state: dict[str, Any] = torch.load(self.folder / _TRAINER, map_location="cpu", weights_only=True)
        if state["step"] != self.step:
            raise TrainingError(f"expected a checkpoint of step {self.step} in {self.folder}, got {state['step']}")
        try:
            optimiser.load_state_dict(state["optimiser"])
        except ValueError as error:
            raise TrainingError(f"expected an optimiser state for this model in {self.folder}, got: {error}") from error
        counters: dict[str, float] = state["counters"]
        return counters


def save_checkpoint(
    folder: Path,
    step: int,
    policy: Policy,
    optimiser: torch.optim.Optimizer,
    counters: dict[str, float] | None = None,
    keep: int = 2,
) -> Checkpoint:
    """Writes a checkpoint beside the others, gives it its name when it is complete, and drops all but the newest.

    Args:
        folder: holds the checkpoints of one run.
        step: iterations finished.
        policy: saved with its tokenizer.
        optimiser: whose state is saved.
        counters: a trainer's own running numbers.
        keep: how many of the newest stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{_PREFIX}{step:08d}"
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        policy.save(partial)
        state = {"step": step, "optimiser": optimiser.state_dict(), "counters": counters or {}}
        torch.save(state, partial / _TRAINER)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old.folder)
    return Checkpoint(target, step)


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Complete checkpoints, oldest first; half-written ones carry another name and are not seen."""
    found = [
        Checkpoint(path, int(path.name.removeprefix(_PREFIX)))
        for path in folder.glob(f"{_PREFIX}*")
        if (path / _TRAINER).is_file()
    ]
    return sorted(found, key=lambda checkpoint: checkpoint.step)
