"""The seam between a text domain's environment and what plays a game; every backend is an `Engine`."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar

TaskT = TypeVar("TaskT", contravariant=True)


class Reply(NamedTuple):
    """Result of an engine's reset or command.

    Attributes:
        text: The game's words: one contiguous slice of what the game printed.
        state: The world and what was completed in it, in the form that the domain's planner reads.
        admissible: Commands that do something now, sorted.
        valid: Whether the world carried out the command.
        score: Points so far, as the game counts them.
        won: Whether the game says that it is won.
        lost: Whether the game says that it is lost.
    """

    text: str
    state: Any
    admissible: tuple[str, ...]
    valid: bool
    score: int
    won: bool
    lost: bool


class Engine(Protocol[TaskT]):
    """Plays one game at a time."""

    @property
    def state(self) -> Any:
        """The world now."""

    def load(self, task: TaskT) -> None:
        """Make `task` the game that `reset` starts."""

    def reset(self) -> Reply:
        """Start the loaded game from its beginning."""

    def step(self, command: str) -> Reply:
        """Play one printable line."""

    def snapshot(self) -> Any:
        """Return the current point of the game, for `restore` of an engine that has loaded the same task."""

    def restore(self, snapshot: Any) -> None:
        """Go back to `snapshot`."""

    def close(self) -> None:
        """Free what the engine holds; a closed engine can load again."""
