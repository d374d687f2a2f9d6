"""Games of one's own: files that `tw-make` made, and other story files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.textworld.story import STORY_SUFFIXES, StoryTask, story_task
from textagent_gym.envs.textworld.tasks import split_of, task_of
from textagent_gym.envs.textworld.types import TextWorldTask

SUFFIXES = (".json", *STORY_SUFFIXES)
"""Endings of game files."""


def file_tasks(game: str | Sequence[str]) -> dict[str, TextWorldTask | StoryTask]:
    """Return the tasks of game files by their names, in the order of the files.

    Args:
        game: Path of a game file, or of a folder, whose game files are all played, sorted; or a list of such paths.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds no game file.
        ValueError: As of `file_task`; or two files hold one game.
    """
    tasks: dict[str, TextWorldTask | StoryTask] = {}
    paths = [game] if isinstance(game, str | PathLike) else game
    if not isinstance(paths, Sequence) or not all(isinstance(path, str | PathLike) for path in paths):
        raise ValueError(f"expected game to be a path or a list of paths, got {game!r:.120}")
    for name in paths:
        for path in _game_files(Path(name)) if Path(name).is_dir() else [name]:
            task = file_task(str(path))
            if task.task_id in tasks:
                other = tasks[task.task_id].game_file
                raise ValueError(f"expected each game once, got one in {other} and again in {path}")
            tasks[task.task_id] = task
    if not tasks:
        raise FileNotFoundError(f"expected at least one game file, got {game!r}")
    return tasks


def _game_files(folder: Path) -> list[Path]:
    """Return one file of each game in a folder: the description, or a story without one."""
    found = {path.with_suffix(""): path for path in sorted(folder.iterdir(), reverse=True) if path.suffix in SUFFIXES}
    if not found:
        raise FileNotFoundError(f"expected game files ({', '.join(SUFFIXES)}) in the folder {folder}, found none")
    return sorted(found.values())


def file_task(name: str) -> TextWorldTask | StoryTask:
    """Return the task of a game file.

    Args:
        name: Path of `game.json` or `game.z8`, as `tw-make` writes them side by side; the first is what is read. A story
            file without it is played as what it is, see `story`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, is no game of textworld, or cannot be won.
    """
    path = Path(name)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"expected a game file that ends in {', '.join(SUFFIXES)}, got {name}")
    if not path.is_file():
        raise FileNotFoundError(f"expected a game file, got {name}, which does not exist")
    described = path.with_suffix(".json")
    if not described.is_file():
        return story_task(path)
    textworld = import_textworld()
    try:
        with undisturbed():  # its parser knows one text at a time
            game = textworld.Game.deserialize(json.loads(described.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected a whole game file made by tw-make, got {described} ({error})") from error
    try:
        return task_of(game, described, name=f"file-{path.stem}", split=split_of(game), details={"generator": "file"})
    except ValueError as error:
        raise ValueError(f"{described}: {error}") from error
