"""Z-machine story files without a description: played by jericho's interpreter, with what their text says.

Textworld plays any story file by jericho (M. Hausknecht et al., "Interactive Fiction Games: A Colossal Adventure", 2020,
arXiv 1909.05398). Of the games that jericho knows it reads score, end and a walkthrough; of any other, score and moves are
read from the game's own answer to `score`, asked on the side, and the end from its last words. There is no plan, and no
list of admissible commands.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textagent_gym.contract import StepResult, Task
from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.replayed import ReplayedEngine
from textagent_gym.envs.textworld.lines import is_played
from textagent_gym.envs.textworld.reference import spoken

UNIT = {3: 2, 4: 4, 5: 4, 8: 8}
"""Version of the Z-machine -> bytes that one unit of the length in a story's header stands for (Z-machine Standards 1.1)."""

STORY_SUFFIXES = tuple(f".z{version}" for version in UNIT)
"""Endings of story files."""

NUM_REFERENCE_STEPS = 34
"""Steps that a game without a walkthrough is taken to need: its budget is 3 x 34 = 102 steps unless `max_steps` is given."""

_SEED = 1
"""Seed of the interpreter's chance in games whose walkthrough asks for no other; 0 would be taken from the clock."""

_SCORE = re.compile(
    r"\bscored? (?:is |was )?(-?\d+)\b[^\d\n]{1,40}(\d+)[^\d\n]{1,30}(\d+) (?:turn|move)", re.IGNORECASE
)
"""Inform's "scored 0 out of a possible 1, in 1 turn" and Infocom's "score is 0 (total of 350 points), in 1 move"."""

_END = re.compile(
    r"^ *\*\*\*+ +(.+?) +\*\*\*+ *$.*?^Would you like to restart", re.IGNORECASE | re.MULTILINE | re.DOTALL
)
"""The last words of a game, and the question that follows them."""

_WON = re.compile(r"\b(?:won|win|victory|victorious)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class StoryTask(Task):
    """A story file.

    Attributes:
        max_score: Points that there are; 0 where the game does not say.
    """

    max_score: int = 0

    def __hash__(self) -> int:
        return hash(self.task_id)


@dataclass(frozen=True)
class Account:
    """A game's account of itself: points, the most there are (0 if unknown), and moves."""

    score: int = 0
    max_score: int = 0
    moves: int = 0


def story_task(path: Path) -> StoryTask:
    """Return the task of a story file.

    Raises:
        ValueError: The file is cut short or is no story for the Z-machine of version 3, 4, 5 or 8.
    """
    content = path.read_bytes()
    _check_story(path, content)
    game = _start(path)
    with undisturbed():
        walkthrough = tuple(game.get_walkthrough()) if game.is_fully_supported else ()
        game.reset()
        max_score = _account(game).max_score
        game.close()
    task = StoryTask(
        task_id=f"file-{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}",
        solution=(),
        solution_is_shortest=False,
        subgoals_total=max(1, max_score),
        measured={},
        split="train",
        game_file=str(path),
        details={
            "generator": "story",
            "max_score": max_score or None,
            "plan": "none",
            "walkthrough": "none",
            "known_to_jericho": bool(game.is_fully_supported),
        },
        num_reference_steps=NUM_REFERENCE_STEPS,
        max_score=max_score,
    )
    solution = _winning_part(task, walkthrough) if all(map(is_played, walkthrough)) else ()
    if not solution:
        return task
    details = {**task.details, "walkthrough": f"{len(solution)} steps"}
    return replace(task, solution=solution, measured={"solution_length": len(solution)}, details=details)


class StoryEngine(ReplayedEngine[StoryTask]):
    """Plays a story file."""

    def __init__(self) -> None:
        super().__init__()
        self._account = Account()

    def load(self, task: StoryTask) -> None:
        """Start the interpreter with a story."""
        if task is self._task and self._env is not None:
            return
        self.close()
        assert task.game_file is not None
        self._env, self._task = _start(Path(task.game_file)), task

    def reset(self) -> StepResult:
        """Start the game from its beginning; every time with the same chance."""
        self._commands = []
        self._is_started = True
        printed = self._env.reset()[0]
        self._account = _account(self._env)
        return StepResult(text=spoken(printed), subgoals_done=self._account.score, points=self._account.score)

    def step(self, command: str) -> StepResult:
        """Type one line; it is valid if it took a turn."""
        self._commands.append(command)
        assert self._task is not None
        printed = self._env.step(command)[0]
        has_changed = bool(self._env._world_changed())
        before, end = self._account, _END.search(printed)
        is_known = self._env.is_fully_supported
        if is_known or (end is None and not self._env._emulator_halted()):
            self._account = _account(self._env, before)
        elif found := _SCORE.search(printed):  # a game that is over answers no question
            self._account = Account(*map(int, found.groups()))
        won, lost = self._env.victory(), self._env.game_over() or self._env._emulator_halted()
        if not is_known and end is not None:
            won = self._account.score >= self._task.max_score > 0 or _WON.search(end[1]) is not None
            lost = not won
        return StepResult(
            text=spoken(printed),
            subgoals_done=self._account.score,
            won=bool(won),
            lost=bool(lost),
            valid=bool(won or lost) or (self._account.moves > before.moves if self._account.moves else has_changed),
            points=self._account.score,
        )

    @property
    def account(self) -> str:
        """Points and moves in words."""
        most = f" of {self._account.max_score}" if self._account.max_score else ""
        return f"{self._account.score}{most} points, {self._account.moves} moves"


def _start(path: Path) -> Any:
    """Return jericho's interpreter with a story, which it has not started."""
    import_textworld()
    import jericho

    with undisturbed():
        game = jericho.FrotzEnv(str(path))
    if not game.is_fully_supported:
        game.seed(_SEED)
    return game


def _account(game: Any, before: Account | None = None) -> Account:
    """Return a running game's account of itself; asking costs no move, since the game is put back."""
    if game.is_fully_supported:
        return Account(game.get_score(), game.get_max_score(), game.get_moves())
    here = game.get_state()
    found = _SCORE.search(game.step("score")[0])
    game.set_state(here)
    return Account(*map(int, found.groups())) if found else before or Account()


def _winning_part(task: StoryTask, commands: tuple[str, ...]) -> tuple[str, ...]:
    """Return commands up to the one that wins; none where none does."""
    engine = StoryEngine()
    engine.load(task)
    engine.reset()
    won = next((number for number, command in enumerate(commands, start=1) if engine.step(command).won), 0)
    engine.close()
    return commands[:won]


def _check_story(path: Path, content: bytes) -> None:
    """Raise `ValueError` unless a file is a whole story: an interpreter ends the process at one that is not."""
    version = content[0] if content else 0
    if version not in UNIT or len(content) < 64:
        raise ValueError(f"expected a story file for the Z-machine of version 3, 4, 5 or 8, got {path}")
    length = int.from_bytes(content[26:28], "big") * UNIT[version]
    checksum = int.from_bytes(content[28:30], "big")
    if length > len(content) or (length and sum(content[64:length]) % 2**16 != checksum):
        raise ValueError(f"expected a whole story file, got {path}, which is cut short or damaged")
