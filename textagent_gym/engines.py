"""The seam between a text domain's environment and what plays a game; every backend is an `Engine`."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from textagent_gym.contract import StepResult

TaskT = TypeVar("TaskT", contravariant=True)


class Engine(Protocol[TaskT]):
    """Plays one game at a time; its results leave `subgoals_done` to the environment, which counts them in `state`."""

    @property
    def state(self) -> Any:
        """The world and what was completed in it, in the form that the domain's planner reads."""

    def load(self, task: TaskT) -> None:
        """Make `task` the game that `reset` starts."""

    def reset(self) -> StepResult:
        """Start the loaded game from its beginning."""

    def step(self, command: str) -> StepResult:
        """Play one printable line."""

    def snapshot(self) -> Any:
        """Return the current point of the game, for `restore` of an engine that has loaded the same task."""

    def restore(self, snapshot: Any) -> None:
        """Go back to `snapshot`."""

    def close(self) -> None:
        """Free what the engine holds; a closed engine can load again."""
