"""Engines of other packages, whose state cannot be copied: what was typed is typed again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic

from textagent_gym.contract import StepResult, TaskT


class ReplayedEngine(ABC, Generic[TaskT]):
    """An engine on an interpreter: a point of a game is the commands typed so far, which are typed again."""

    def __init__(self) -> None:
        self._env: Any = None
        self._task: TaskT | None = None
        self._commands: list[str] = []
        self._is_started = False
        self.state: Any = 0

    @abstractmethod
    def load(self, task: TaskT) -> None:
        """Make `task` the game that `reset` starts."""

    @abstractmethod
    def reset(self) -> StepResult:
        """Start the loaded game from its beginning."""

    @abstractmethod
    def step(self, command: str) -> StepResult:
        """Type one line."""

    def snapshot(self) -> tuple[str, ...]:
        """Return the commands typed so far, which is all that an interpreter without chance depends on."""
        return tuple(self._commands)

    def restore(self, snapshot: tuple[str, ...]) -> None:
        """Type the commands of a snapshot again."""
        self.reset()
        for command in snapshot:
            self.step(command)

    def __getstate__(self) -> tuple[TaskT | None, tuple[str, ...] | None]:
        """Return the task and the commands typed so far; an interpreter cannot be copied, but replays them."""
        is_open = self._env is not None
        return (self._task if is_open else None), (self.snapshot() if is_open and self._is_started else None)

    def __setstate__(self, state: tuple[TaskT | None, tuple[str, ...] | None]) -> None:
        self.__init__()  # type: ignore[misc]
        task, commands = state
        if task is not None:
            self.load(task)
        if commands is not None:
            self.restore(commands)

    def close(self) -> None:
        """End the interpreter."""
        if self._env is not None:
            self._env.close()
        self._env = self._task = None
        self._is_started = False
