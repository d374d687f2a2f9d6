"""ALFWorld's real games, as `alfworld-download` leaves them: found once, measured once, remembered in the cache folder."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from gymnasium import logger

from textagent_gym.cache import cache_folder, keep
from textagent_gym.envs.alfworld.tasks import file_task
from textagent_gym.envs.alfworld.types import TASK_TYPES, AlfworldTask, TaskType
from textagent_gym.mechanics.knobs import check_integer

RealSplit = Literal["train", "valid_seen", "valid_unseen"]
"""The splits of ALFWorld's own games."""

DATA_VARIABLE = "ALFWORLD_DATA"
"""Environment variable that names the folder into which `alfworld-download` put its data."""

GAME_FILE = "game.tw-pddl"

_FORMAT = "alfworld-index-1"
"""Name of the cache folder; to be changed with whatever changes the entries."""


Range = tuple[int | None, int | None, int | None]
"""Request for a knob: exactly, at least, at most."""


@dataclass(frozen=True)
class Entry:
    """One real game.

    Attributes:
        task_id: Split, folder of the task and folder of the trial, joined by slashes.
        task_type: One of the six types.
        state_space_size: Receptacles.
        action_space_size: Portable objects.
        solution_length: Steps of the shortest solution.
    """

    task_id: str
    task_type: TaskType
    state_space_size: int
    action_space_size: int
    solution_length: int


def data_folder() -> Path:
    """Return the folder of ALFWorld's data: `ALFWORLD_DATA` if it is set, alfworld's own cache folder otherwise."""
    named = os.environ.get(DATA_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "alfworld"


def split_folder(split: RealSplit) -> Path:
    """Return the folder that holds the games of a split.

    Raises:
        FileNotFoundError: There is none; the message says how to get it, and where it was looked for.
        PermissionError: It cannot be read.
    """
    data = data_folder()
    for version in ("json_2.1.1", "json_2.1.2"):
        if (data / version / split).is_dir():
            return data / version / split
    raise FileNotFoundError(
        f"expected ALFWorld's games in {data / 'json_2.1.1' / split}, found no such folder: run `alfworld-download`, or set "
        f"{DATA_VARIABLE} to the folder that holds json_2.1.1; the ids ALFWorld-Easy-Dense-v0 and the like need no data"
    )


def index(split: RealSplit, *, rebuild: bool = False) -> tuple[Entry, ...]:
    """Return all playable games of a split, sorted by name: from memory, from the cache folder, or read one by one.

    A file that is no playable game is reported by a warning and left out. The list is made again where the folder of the
    split has changed, and with `rebuild`, for changes further down.

    Raises:
        FileNotFoundError: The data is missing, or holds not one playable game.
        PermissionError: A folder cannot be read.
    """
    folder = split_folder(split)
    try:
        changed = folder.stat().st_mtime_ns
        if rebuild:
            _index_file(folder, split, changed).unlink(missing_ok=True)
            _index.cache_clear()
            _load.cache_clear()
        return _index(folder, split, changed)
    except PermissionError as error:
        raise PermissionError(
            f"expected to read ALFWorld's games in {folder}: {error.strerror} ({error.filename})"
        ) from error


@functools.lru_cache(maxsize=8)
def _index(folder: Path, split: RealSplit, changed: int) -> tuple[Entry, ...]:
    path = _index_file(folder, split, changed)
    entries = _read_index(path)
    if entries is None:
        entries = tuple(_measured(folder, split))
        if entries:
            keep(path, json.dumps([asdict(entry) for entry in entries]).encode())
    if not entries:
        raise FileNotFoundError(
            f"expected games ({GAME_FILE}) in {folder}, found no playable one: run `alfworld-download`"
        )
    return entries


def _index_file(folder: Path, split: RealSplit, changed: int) -> Path:
    name = hashlib.sha256(f"{folder.resolve()} {changed}".encode()).hexdigest()[:16]
    return cache_folder() / _FORMAT / f"{split}-{name}.json"


def select(split: RealSplit, task_types: tuple[TaskType, ...], ranges: dict[str, Range]) -> dict[str, Entry]:
    """Return the real games of a split that have what was asked for, by name.

    Args:
        split: Split to search.
        task_types: Types that will do.
        ranges: Knob -> what is asked of it.

    Raises:
        ValueError: No game has it; the message says what there is.
        FileNotFoundError: As in `index`.
    """
    wanted = []
    for name, (exact, low, high) in ranges.items():
        for label, bound in ((name, exact), (f"min_{name}", low), (f"max_{name}", high)):
            if bound is not None:
                check_integer(label, bound, low=1)
                wanted.append(f"{label}={bound}")
    games = index(split)

    def fits(entry: Entry) -> bool:
        return entry.task_type in task_types and all(
            exact in (None, getattr(entry, name))
            and (low is None or getattr(entry, name) >= low)
            and (high is None or getattr(entry, name) <= high)
            for name, (exact, low, high) in ranges.items()
        )

    found = {entry.task_id: entry for entry in games if fits(entry)}
    if not found:
        have = "; ".join(
            f"{name} {min(getattr(entry, name) for entry in games)} to {max(getattr(entry, name) for entry in games)}"
            for name in ranges
        )
        raise ValueError(
            f"expected games of {split!r} with task_types {', '.join(task_types)}"
            f"{''.join(', ' + wish for wish in wanted)}, found none among {len(games)}, which have {have}"
        )
    return found


def load(split: RealSplit, entry: Entry) -> AlfworldTask:
    """Return the task of an entry.

    Raises:
        ValueError: The file has changed since it was indexed, and is no playable game any more.
    """
    path = split_folder(split).joinpath(*entry.task_id.split("/")[1:]) / GAME_FILE
    return _load(path, entry.task_id, entry.task_type, split)


@functools.lru_cache(maxsize=512)
def _load(path: Path, task_id: str, task_type: TaskType, split: RealSplit) -> AlfworldTask:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected a whole game file ({error})") from error
    try:
        return file_task(data, task_id=task_id, task_type=task_type, split=split, game_file=str(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _measured(folder: Path, split: RealSplit) -> Iterator[Entry]:
    for path in _game_files(folder):
        task_id = "/".join((split, *path.relative_to(folder).parts[:-1]))
        task_type = path.relative_to(folder).parts[0].partition("-")[0]
        if task_type not in TASK_TYPES:
            continue  # movable receptacles: ALFWorld leaves them out as well
        try:
            task = _load.__wrapped__(path, task_id, task_type, split)
        except ValueError as error:
            logger.warn(f"left out of the index: {error}")
            continue
        yield Entry(task_id, task_type, **task.measured)


def _game_files(folder: Path) -> Iterator[Path]:
    """Yield the game files of a split, sorted; sliced objects are left out, as ALFWorld does."""
    for task in sorted(_folders(folder)):
        if "Sliced" in task.name or "movable" in task.name:
            continue
        for trial in sorted(_folders(task)):
            if (trial / GAME_FILE).exists():
                yield trial / GAME_FILE


def _folders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]


def _read_index(path: Path) -> tuple[Entry, ...] | None:
    try:
        return tuple(Entry(**entry) for entry in json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
