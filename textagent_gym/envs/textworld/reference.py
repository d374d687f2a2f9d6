"""The reference backend: games compiled with Inform 7 and played by the interpreter of the textworld package."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from textagent_gym.bench import compare
from textagent_gym.cache import cache_folder, find, keep
from textagent_gym.contract import StepResult
from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.replayed import ReplayedEngine
from textagent_gym.envs.textworld.types import TextWorldTask

_FOLDER = "textworld-stories-1"
"""Name of the cache's folder of compiled games."""

_BANNER_END = r"\$$   \$$ \$$$$$$$$ \$$$$$$$ "
"""Last line of the banner that textworld prints before a game (textworld 1.7, `generator/inform7/world2inform7.py`)."""

_PROMPT = "\n>"
"""Text that the interpreter prints before it waits for a line; the status line follows it."""

_AFTER_END = "Would you like to RESTART,"
"""The question that follows a finished game."""

_CARRIED_OUT = re.compile(r"^\[(?!\().* - succeeded\]$", re.MULTILINE)
"""A line of the interpreter's trace that says that an action, not a part of one, was carried out."""


class Inform7Engine(ReplayedEngine[TextWorldTask]):
    """Plays a task on the Z-machine, as the textworld package does."""

    def load(self, task: TextWorldTask) -> None:
        """Compile the game where that was not done before, and start the interpreter."""
        if task is self._task and self._env is not None:
            return
        self.close()
        textworld = import_textworld()
        infos = textworld.EnvInfos(admissible_commands=True, score=True, won=True, lost=True)
        with undisturbed():
            self._env = textworld.start(str(compiled(task)), infos)
        self._task = task

    def reset(self) -> StepResult:
        """Start the game from its beginning."""
        self._commands = []
        self._is_started = True
        try:
            game_state = self._env.reset()
        except UnicodeDecodeError as error:
            raise ValueError(
                "expected a game with texts of ASCII characters for the interpreter, got others"
            ) from error
        assert self._task is not None  # load() comes first
        return self._reply(game_state, game_state["feedback"], self._task.ground.problem.initial, valid=True)

    def step(self, command: str) -> StepResult:
        """Type one line."""
        self._commands.append(command)
        game_state, _, _ = self._env.step(command)
        valid = _CARRIED_OUT.search(game_state["raw"]) is not None
        return self._reply(game_state, game_state["feedback"], self.state, valid)

    def _reply(self, game_state: Any, printed: str, previous: int, valid: bool) -> StepResult:
        assert self._task is not None
        self.state = self._task.ground.state(game_state["_facts"], previous)
        return StepResult(
            text=spoken(printed),
            admissible=tuple(game_state["admissible_commands"]),
            valid=valid,
            points=int(game_state["score"] or 0),
            won=game_state["won"],
            lost=game_state["lost"],
        )


def compare_with_interpreter(
    env_id: str, *, reference: str, num_steps: int, num_tasks: int, env_kwargs: dict[str, Any]
) -> dict[str, float | str]:
    """Time the native engine against the interpreter, see `textagent_gym.bench.compare`."""
    return compare(env_id, bare_gym, num_steps=num_steps, env_kwargs=env_kwargs, steps_per_game=40)


def bare_gym(task: TextWorldTask) -> Any:
    """Return the package's own Gym environment of the task, asked for admissible commands only: the reference of speed."""
    textworld = import_textworld()
    infos = textworld.EnvInfos(admissible_commands=True)
    with undisturbed():
        name = textworld.gym.register_game(str(compiled(task)), infos, max_episode_steps=10**6)
        return textworld.gym.make(name)


def spoken(printed: str) -> str:
    """Return the part of the output that a player reads: no banner, prompt, status line, or question after the end."""
    start = printed.find(_BANNER_END)
    start = 0 if start < 0 else start + len(_BANNER_END)
    end = printed.rfind(_PROMPT)
    end = len(printed) if end < 0 else end
    question = printed.rfind(_AFTER_END, start, end)
    return printed[start : end if question < 0 else question].strip()


def compiled(task: TextWorldTask) -> Path:
    """Return the task's story file in the cache folder, compiled where it is missing or damaged.

    A SHA-256 digest follows the story; interpreters read as far as the story's header says and never see it. textworld
    wants its own description of the game in the same folder.

    Raises:
        RuntimeError: Inform 7 cannot compile the game.
    """
    path = cache_folder() / _FOLDER / f"{task.task_id.rpartition('.')[2]}.z8"
    known = find(path)
    if known is not None and _is_whole(known.read_bytes()) and known.with_suffix(".json").exists():
        return known
    game = task.whole_game
    import_textworld()
    from textworld.generator.inform7 import compile_inform7_game, generate_inform7_source

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "story.z8"
        compile_inform7_game(generate_inform7_source(game), str(output))
        story = output.read_bytes()
    kept = keep(path, story + hashlib.sha256(story).digest())
    keep(kept.with_suffix(".json"), json.dumps(game.serialize()).encode())
    return kept


def _is_whole(content: bytes) -> bool:
    return len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]
