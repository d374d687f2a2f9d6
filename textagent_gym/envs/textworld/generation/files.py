"""Games of one's own: files that `tw-make` made."""

from __future__ import annotations

import json
from pathlib import Path

from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.textworld.tasks import split_of, task_of
from textagent_gym.envs.textworld.types import TextWorldTask


def file_task(name: str) -> TextWorldTask:
    """Return the task of a game file.

    Args:
        name: Path of `game.json` or `game.z8`, as `tw-make` writes them side by side; the first is what is read.

    Raises:
        FileNotFoundError: There is no such file, or a `.z8` without the `.json` that says what is in it.
        ValueError: The file is cut short, is no game of textworld, or cannot be won.
    """
    path = Path(name)
    if path.suffix not in (".json", ".z8"):
        raise ValueError(f"expected a game file that ends in .json or .z8, got {name}")
    if not path.is_file():
        raise FileNotFoundError(f"expected a game file, got {name}, which does not exist")
    described = path.with_suffix(".json")
    if not described.is_file():
        raise FileNotFoundError(f"expected {described} in the folder of {name}: it lists the game's facts and quests")
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
