"""The reference: games played by ALFWorld's own path (textworld's `PddlEnv` under `AlfredDemangler`, without shuffling)."""

from __future__ import annotations

from typing import Any

from textagent_gym.bench import compare
from textagent_gym.contract import StepResult
from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.types import AlfworldTask
from textagent_gym.envs.packages import import_alfworld, import_textworld, undisturbed
from textagent_gym.envs.replayed import ReplayedEngine


class ReferenceEngine(ReplayedEngine[AlfworldTask]):
    """Plays one game at a time.

    Attributes:
        state: Present facts; None where there is no planner.
    """

    def load(self, task: AlfworldTask) -> None:
        """Make `task` the game that `reset` starts."""
        self.close()
        self._env, self._task = bare_env(), task
        with undisturbed():
            self._env.load(dict(task.data))

    def reset(self) -> StepResult:
        """Start the loaded game from its beginning."""
        self._commands, self._is_started = [], True
        with undisturbed():
            return self._reply(self._env.reset(), valid=True)

    def step(self, command: str) -> StepResult:
        """Play one command, which must be one of the admissible ones to the letter."""
        valid = command.strip() in self._answer["admissible_commands"]
        self._commands.append(command)
        with undisturbed():
            return self._reply(self._env.step(command)[0], valid=valid)

    def _reply(self, state: Any, valid: bool) -> StepResult:
        self._answer = state
        self.state = self._facts()
        won = bool(state["won"])
        admissible = tuple(state["admissible_commands"])
        return StepResult(state["feedback"], won=won, valid=valid, admissible=admissible, points=int(won))

    def _facts(self) -> Facts | None:
        """Return the present facts in the form that the planner reads, or None if there is no planner."""
        if self._task is None or self._task.game is None:
            return None
        rows: dict[str, list[tuple[str, ...]]] = {}
        for fact in self._answer["_facts"]:
            rows.setdefault(fact.name, []).append(tuple(argument.name for argument in fact.arguments))
        return Facts(rows, self._task.game.logic.fluents)


def bare_env() -> Any:
    """ALFWorld's own environment, asked for admissible commands and whether the game is won; `load` comes first."""
    textworld, alfworld = import_textworld(), import_alfworld()
    with undisturbed():
        infos = textworld.EnvInfos(won=True, admissible_commands=True)
        return alfworld.AlfredDemangler(textworld.envs.pddl.PddlEnv(infos), shuffle=False)


def compare_with_alfworld(
    env_id: str, *, reference: str, num_steps: int, num_tasks: int, env_kwargs: dict[str, Any]
) -> dict[str, float | str]:
    """Time the native engine against the alfworld package, see `textagent_gym.bench.compare`."""
    return compare(env_id, SpeedReference, num_steps=num_steps, env_kwargs=env_kwargs, steps_per_game=12)


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
