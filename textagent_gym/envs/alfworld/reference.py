"""The reference: games played by ALFWorld's own path (textworld's `PddlEnv` under `AlfredDemangler`, without shuffling)."""

from __future__ import annotations

from typing import Any

from textagent_gym.engines import Reply
from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.types import AlfworldTask
from textagent_gym.envs.packages import import_alfworld, import_textworld, undisturbed


class ReferenceEngine:
    """Plays one game at a time; a snapshot is the list of commands that led there, and restoring plays them again.

    Attributes:
        state: What is true now.
    """

    def load(self, task: AlfworldTask) -> None:
        """Make `task` the game that `reset` starts."""
        self._task = task
        self._env = bare_env()
        with undisturbed():
            self._env.load(dict(task.data))

    def reset(self) -> Reply:
        """Start the loaded game from its beginning."""
        self._past: tuple[str, ...] = ()
        with undisturbed():
            return self._reply(self._env.reset(), valid=True)

    def step(self, command: str) -> Reply:
        """Play one command, which must be one of the admissible ones to the letter."""
        valid = command.strip() in self._told["admissible_commands"]
        self._past += (command,)
        with undisturbed():
            return self._reply(self._env.step(command)[0], valid=valid)

    def snapshot(self) -> tuple[str, ...]:
        """Return the current point of the game, for `restore` of an engine that has loaded the same task."""
        return self._past

    def restore(self, snapshot: tuple[str, ...]) -> None:
        """Go back to `snapshot`."""
        self.reset()
        for command in snapshot:
            self.step(command)

    def close(self) -> None:
        """Free nothing: a closed engine can load again."""

    def _reply(self, state: Any, valid: bool) -> Reply:
        self._told = state
        self.state = self._facts()
        won = bool(state["won"])
        return Reply(state["feedback"], self.state, tuple(state["admissible_commands"]), valid, int(won), won, False)

    def _facts(self) -> Facts | None:
        """Return the present facts in the form that the planner reads, or None if there is no planner."""
        if self._task.game is None:
            return None
        rows: dict[str, list[tuple[str, ...]]] = {}
        for fact in self._told["_facts"]:
            rows.setdefault(fact.name, []).append(tuple(argument.name for argument in fact.arguments))
        return Facts(rows, self._task.game.logic.fluents)


def bare_env() -> Any:
    """ALFWorld's own environment, asked for admissible commands and whether the game is won; `load` comes first."""
    textworld, alfworld = import_textworld(), import_alfworld()
    with undisturbed():
        infos = textworld.EnvInfos(won=True, admissible_commands=True)
        return alfworld.AlfredDemangler(textworld.envs.pddl.PddlEnv(infos), shuffle=False)


class SpeedReference:
    """ALFWorld's own path on one task: as in its own environments, every reset loads the game."""

    def __init__(self, task: AlfworldTask) -> None:
        self._data = dict(task.data)
        self._env = bare_env()

    def reset(self) -> None:
        """Load the game and start it."""
        self._env.load(self._data)
        self._env.reset()

    def step(self, command: str) -> None:
        """Play one command."""
        self._env.step(command)

    def close(self) -> None:
        """End the game."""
        self._env.close()
