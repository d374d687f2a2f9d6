"""Errands that can be held up, so that a test may take their process or machine away in the middle of an episode."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym

from tests.support.toy_text_env import ToyErrands


class DeadlyErrands(ToyErrands):
    """The toy; its second step waits or dies on request.

    Args:
        gate: a folder. While it holds a file `hold`, the process leaves a file with its number there, and waits.
        hold_from: only episodes with at least this seed wait.
        deadly: kill the process.
        **options: those of the toy.
    """

    def __init__(self, gate: str = "", hold_from: int = 0, deadly: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._gate, self._hold_from, self._deadly = gate, hold_from, deadly

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._seed = seed or 0
        return super().reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._steps == 1 and self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._steps == 1 and self._gate and self._seed >= self._hold_from:
            while (Path(self._gate) / "hold").exists():
                (Path(self._gate) / f"{os.getpid()}.waits").touch()
                time.sleep(0.05)
        return super().step(action)


gym.register("DeadlyErrands-v0", entry_point="tests.support.deadly_text_env:DeadlyErrands", disable_env_checker=True)
