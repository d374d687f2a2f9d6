"""The native engine: plays games of ALFWorld as its own path plays them, without translating or parsing anything twice."""

from __future__ import annotations

from textagent_gym.contract import StepResult
from textagent_gym.envs.alfworld.pddl.game import Action, Game
from textagent_gym.envs.alfworld.pddl.state import Mark
from textagent_gym.envs.alfworld.types import AlfworldTask

NOTHING_HAPPENS = "Nothing happens."


class NativeEngine:
    """Plays one game at a time; engines share nothing that changes.

    Attributes:
        state: Present facts; they change with every step.
    """

    def load(self, task: AlfworldTask) -> None:
        """Make `task` the game that `reset` starts."""
        assert task.game is not None
        self.open(task.game)

    def open(self, game: Game) -> None:
        """Make `game` the one that `reset` starts."""
        self._game = game
        self.state = game.initial.copy()
        self._scene = game.context(self.state)
        self._start = self.state.mark()
        self._commands: dict[str, Action] = {}

    def reset(self) -> StepResult:
        """Start the loaded game from its beginning."""
        self.state.go_to(self._start)
        return self._reply(self._game.logic.intro(self._scene, ()), valid=True)

    def step(self, command: str) -> StepResult:
        """Play one command, which must be one of the admissible ones to the letter."""
        action = self._commands.get(command.strip())
        if action is None:
            return self._reply(NOTHING_HAPPENS, valid=False)
        rule, row = action
        rule.apply(self.state, self._game.types, row)
        return self._reply(rule.feedback(self._scene, row), valid=True)

    def snapshot(self) -> Mark:
        """Return the current point of the game, for `restore` of an engine that has loaded the same task."""
        return self.state.mark()

    def restore(self, snapshot: Mark) -> None:
        """Go back to `snapshot`."""
        self.state.go_to(snapshot)
        self._look_around()

    def __getstate__(self) -> tuple[Game, Mark] | None:
        """Return the game and the point of it; the commands, made of functions, are found again."""
        return (self._game, self.snapshot()) if hasattr(self, "_game") else None

    def __setstate__(self, state: tuple[Game, Mark]) -> None:
        game, point = state
        self.open(game)
        self.restore(point)

    def close(self) -> None:
        """Free nothing: a closed engine can load again."""

    def _reply(self, text: str, valid: bool) -> StepResult:
        if valid:
            self._look_around()
        return StepResult(text, won=self._won, valid=valid, admissible=self._admissible, points=int(self._won))

    def _look_around(self) -> None:
        if self._game.watched.isdisjoint(self.state.changed):
            return
        self.state.changed.clear()
        self._commands = self._game.commands(self.state)
        self._admissible = tuple(sorted(self._commands))
        self._won = self._game.is_won(self.state)
