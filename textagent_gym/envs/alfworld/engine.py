"""The native engine: plays games of ALFWorld as its own path plays them, without translating or parsing anything twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textagent_gym.engines import Reply
from textagent_gym.envs.alfworld.facts import Mark
from textagent_gym.envs.alfworld.game import Game
from textagent_gym.envs.alfworld.logic import Rule
from textagent_gym.envs.alfworld.pddl import Row

if TYPE_CHECKING:
    from textagent_gym.envs.alfworld.tasks import AlfworldTask

NOTHING_HAPPENS = "Nothing happens."


class NativeEngine:
    """Plays one game at a time; engines share nothing that changes.

    Attributes:
        state: What is true now; it changes with every step.
    """

    def load(self, task: AlfworldTask) -> None:
        """Makes `task` the game that `reset` starts."""
        assert task.game is not None
        self.open(task.game)

    def open(self, game: Game) -> None:
        """Makes `game` the one that `reset` starts."""
        self._game = game
        self.state = game.initial.copy()
        self._household = game.household(self.state)
        self._start = self.state.mark()
        self._commands: dict[str, tuple[Rule, Row]] = {}
        self._wording: dict[tuple[str, Row], str] = {}
        self._kept: dict[tuple[str, frozenset[Row]], dict[str, tuple[Rule, Row]]] = {}

    def reset(self) -> Reply:
        """Starts the loaded game from its beginning."""
        self.state.go_to(self._start)
        return self._reply(self._game.logic.intro(self._household, ()), valid=True)

    def step(self, command: str) -> Reply:
        """Plays one command, which must be one of the admissible ones to the letter."""
        action = self._commands.get(command.strip())
        if action is None:
            return self._reply(NOTHING_HAPPENS, valid=False)
        rule, row = action
        rule.apply(self.state, self._game.types, row)
        return self._reply(rule.feedback(self._household, row), valid=True)

    def snapshot(self) -> Mark:
        """The current point of the game, for `restore` of an engine that has loaded the same task."""
        return self.state.mark()

    def restore(self, snapshot: Mark) -> None:
        """Goes back to `snapshot`."""
        self.state.go_to(snapshot)
        self._commands = self._admissible()

    def close(self) -> None:
        """Frees nothing: a closed engine can load again."""

    def _reply(self, text: str, valid: bool) -> Reply:
        self._commands = self._admissible()
        won = self._game.is_won(self.state)
        return Reply(text, self.state, tuple(sorted(self._commands)), valid, int(won), won, False)

    def _admissible(self) -> dict[str, tuple[Rule, Row]]:
        """Command -> what it does now. Where two actions share a command, the first is meant."""
        found: dict[str, tuple[Rule, Row]] = {}
        for rule in self._game.logic.rules:
            if len(rule.reads) == 1:  # what depends on one predicate, such as where the agent is, comes back often
                key = rule.name, frozenset(self.state.rows(rule.reads[0]))
                commands = self._kept.get(key)
                if commands is None:
                    commands = self._kept[key] = self._instances(rule)
            else:
                commands = self._instances(rule)
            found = {**commands, **found}
        return found

    def _instances(self, rule: Rule) -> dict[str, tuple[Rule, Row]]:
        commands: dict[str, tuple[Rule, Row]] = {}
        for row in rule.instances(self.state, self._game.types):
            word = rule.name, row
            command = self._wording.get(word)
            if command is None:
                command = self._wording[word] = rule.command(self._household, row)
            commands.setdefault(command, (rule, row))
        return commands
