"""The native backend: a game played from textworld's own description of it, with the words that Inform would have used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from textagent_gym.contract import StepResult
from textagent_gym.envs.textworld.parser.fast_path import plain_commands
from textagent_gym.envs.textworld.parser.grammar import NUMBER_WORDS
from textagent_gym.envs.textworld.parser.parser import Parser
from textagent_gym.envs.textworld.parser.tokens import Command, Memory, tokenise
from textagent_gym.envs.textworld.rules.context import ActionResult
from textagent_gym.envs.textworld.rules.cooking import COOKING_ACTIONS
from textagent_gym.envs.textworld.rules.standard import ACTIONS, act, look, score_text
from textagent_gym.envs.textworld.types import TextWorldTask
from textagent_gym.envs.textworld.world.descriptions import Template, objective_text
from textagent_gym.envs.textworld.world.known import check_known
from textagent_gym.envs.textworld.world.saved_game import SavedGame
from textagent_gym.envs.textworld.world.state import PLAYER, GameMap, World

_END = " " * 55 + "*** The End ***"
_LOST = " " * 54 + "*** You lost! ***"


class CompiledGame:
    """Parts of a game, read once and shared by all environments that play it.

    Raises:
        UnknownGameError: The game holds something that only the interpreter knows.
    """

    def __init__(self, task: TextWorldTask) -> None:
        game = task.game
        if not isinstance(game, SavedGame):  # only games that are known are saved
            check_known(game)
        self.ground = task.ground
        self.game_map = GameMap(game)
        self.actions = ACTIONS if self.game_map.kitchen is None else COOKING_ACTIONS
        self.start = World.at_start(game, self.game_map)
        self.objective = objective_text(game.objective)
        self.max_score: int = sum(quest.reward for quest in game.quests if not quest.optional or quest.reward > 0)
        self.headings = {room: f"-= {self.game_map.name(room).title()} =-" for room in self.game_map.rooms}
        self.plain = plain_commands(self.ground.acts, self.game_map)
        self.descriptions = {
            key: Template(info.desc, self.game_map, about=None if key in self.game_map.rooms else key)
            for key, info in game.infos.items()
            if info.desc and key not in (PLAYER, "I")
        }

    def evaluate_goals(self, state: int, quest_state: int, world: World) -> int:
        """Return the quests as the game itself counts them; `quest_state` is what it counted before.

        These are the goals of the facts in `state`, except in cooking games, whose facts do not follow the world in
        everything.
        """
        if self.game_map.kitchen is None:
            return state
        true = (bit for bit, fact in self.ground.quest_facts if world.holds(fact))
        return self.ground.problem.evaluate_goals(sum(true), quest_state)


@lru_cache(maxsize=256)
def compiled_game(task: TextWorldTask) -> CompiledGame:
    """Return the parts of a task's game, from memory if they were read before."""
    return CompiledGame(task)


@dataclass(frozen=True, slots=True)
class Position:
    """A point of a game.

    Attributes:
        state: textworld's facts.
        quest_state: The quests as the game itself counts them.
        is_sure: True if the facts have followed the world so far.
    """

    world: World
    state: int
    quest_state: int
    is_sure: bool
    turns: int
    memory: Memory


class NativeEngine:
    """Plays a task without an interpreter."""

    def __init__(self) -> None:
        self._task: TextWorldTask | None = None

    def load(self, task: TextWorldTask) -> None:
        """Make `task` the game that `reset` starts."""
        if task is self._task:
            return
        self._task = task
        self._compiled = compiled_game(task)
        self.game_map, self.actions = self._compiled.game_map, self._compiled.actions
        self.objective, self.max_score = self._compiled.objective, self._compiled.max_score
        self._parser = Parser(self.game_map)

    def reset(self) -> StepResult:
        """Start the game from its beginning."""
        self.world = self._compiled.start.copy()
        self.state = self._compiled.ground.problem.initial
        self.quest_state = self.state
        self._is_sure = True
        self.turns = 1
        self._settle()
        self._line = ""
        self._parser.memory = Memory()
        objective = f"{self.objective}\n\n" if self.objective else ""
        return self._reply(objective + look(self).text, done=True)

    def step(self, command: str) -> StepResult:
        """Play one line."""
        plain = self._compiled.plain.get(command)
        if plain is not None and self._is_sure and command in self._admissible and self._parser.memory.question is None:
            self._parser.recall(*plain)
            read = plain[0]
        else:
            understood = self._parser.read(command, self.world)
            if isinstance(understood, str):
                return self._reply(understood, done=False)
            read = understood
        self._line = command
        outcome = self._perform(read)
        text = read.preface + outcome.text
        if self.actions[read.action].happens:
            text += self._end_turn("\n" * outcome.gap)
        return self._reply(text, outcome.done)

    def snapshot(self) -> Position:
        """Return the current point of the game."""
        return Position(self.world.copy(), self.state, self.quest_state, self._is_sure, self.turns, self._parser.memory)

    def restore(self, snapshot: Position) -> None:
        """Go back to a snapshot."""
        self.world = snapshot.world.copy()
        self.state, self.quest_state, self.turns = snapshot.state, snapshot.quest_state, snapshot.turns
        self._is_sure = snapshot.is_sure
        self._settle()
        self._parser.memory = snapshot.memory

    def close(self) -> None:
        """Nothing is held."""

    def __getstate__(self) -> tuple[TextWorldTask | None, Position | None]:
        """Return the task and the point of the game; the compiled story, made of functions, is made again from them."""
        return self._task, self.snapshot() if hasattr(self, "world") else None

    def __setstate__(self, state: tuple[TextWorldTask | None, Position | None]) -> None:
        self._task, point = None, None
        task, point = state
        if task is not None:
            self.load(task)
        if point is not None:
            self.restore(point)

    # What actions see.

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the line that is being carried out."""
        return tokenise(self._line)

    def heading(self, room: str) -> str:
        """Return the name of a room as it stands above its description."""
        return self._compiled.headings[room]

    def describe(self, entity: str) -> str:
        """Return the description of a thing or room as it is now; "" where it has none."""
        description = self._compiled.descriptions.get(entity)
        return description.say(self.world) if description else ""

    def notice(self, thing: str) -> None:
        """Make `thing` what "it" means."""
        self._parser.notice(thing)

    def do(self, *act: str) -> None:
        """Carry out one act of the game's rules, in the facts and in the world."""
        self.record(*act)
        verb, *nouns = act
        world = self.world
        if verb == "go":
            room, _ = self.game_map.exits[world.room][nouns[0]]
            world.walk(room, self.game_map)
        elif verb == "take":
            world.move(nouns[0], PLAYER)
        elif verb == "drop":
            world.move(nouns[0], world.room)
        elif verb in ("put", "insert"):
            world.move(nouns[0], nouns[1])
        elif verb == "eat":
            world.remove(nouns[0])
        else:
            world.status[nouns[0]] = {"open": "open", "close": "closed", "lock": "locked", "unlock": "closed"}[verb]

    def record(self, *act: str) -> None:
        """Carry out one act of the game's rules in the facts alone; nothing where they do not allow it."""
        self._has_acted = True
        for operator in self._compiled.ground.acts.get(act, ()):
            if self.state & operator.needs == operator.needs:
                self.state = self.state & ~operator.deletes | operator.adds
                return
        self._is_sure = False

    def _perform(self, command: Command) -> ActionResult:
        if command.things is None:
            return act(self, command.action, *command.nouns)
        said, done = [], False
        for thing in command.things:
            nouns = [noun or thing for noun in command.nouns]
            self.notice(thing)
            outcome = act(self, command.action, *nouns)
            text = "Done." if outcome.done and command.action in ("put", "insert") else outcome.text
            said.append(f"{self.game_map.name(thing)}: {text}")
            done = done or outcome.done
        return ActionResult("\n".join(said), done)

    def _settle(self) -> None:
        """Find out what follows from the facts: points, ends, and what can be done next."""
        ground = self._compiled.ground
        self._has_acted = False
        self.score = ground.completed_points(self.quest_state)
        self._won, self._lost = ground.problem.is_won(self.quest_state), ground.problem.is_lost(self.quest_state)
        self._admissible = ground.commands(self.state)

    def _end_turn(self, gap: str) -> str:
        if not self._has_acted:
            self.turns += 1
            return ""
        before = self.score
        self.state = self._compiled.ground.problem.evaluate_goals(self.state, self.state)
        self.quest_state = self._compiled.evaluate_goals(self.state, self.quest_state, self.world)
        self._settle()
        if self._lost:
            return f"{gap}{_LOST}\n\nYou scored {score_text(self)}"
        self.turns += 1
        gained = self.score - before
        text = f"{gap}Your score has just {_change(gained)}." if gained else ""
        if self._won:
            text += f"\n\n\n{_END}\n\nYou scored {score_text(self)}"
        return text

    def _reply(self, text: str, done: bool) -> StepResult:
        return StepResult(
            text=text.strip(),
            admissible=self._admissible,
            valid=done,
            points=self.score,
            won=self._won,
            lost=self._lost,
        )


def _change(gained: int) -> str:
    way = "gone up" if gained > 0 else "changed"
    number = NUMBER_WORDS.get(abs(gained), str(abs(gained)))
    return f"{way} by {number} point{'' if abs(gained) == 1 else 's'}"
