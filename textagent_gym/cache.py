"""The cache folder of generated files; each file is written whole or not at all."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import platformdirs
from gymnasium import logger

CACHE_VARIABLE = "TEXTAGENT_GYM_CACHE"
"""Environment variable that names the cache folder."""


def cache_folder() -> Path:
    """Return the cache folder: `TEXTAGENT_GYM_CACHE` where it is set, the user's cache folder otherwise."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("textagent_gym", appauthor=False))


def find(path: Path) -> Path | None:
    """Return where a file lies that `keep` has written, or None where there is none, or none that can be read."""
    substitutes = (_temporary_folder() / path.name,) if _temporary_folder.cache_info().currsize else ()
    return next((place for place in (path, *substitutes) if os.path.isfile(place) and os.access(place, os.R_OK)), None)


def read(path: Path) -> bytes | None:
    """Return the content of a file that `keep` has written, or None where there is none, or none that can be read."""
    place = find(path)
    try:
        return None if place is None else place.read_bytes()
    except OSError:
        return None


def read_json(path: Path) -> Any | None:
    """Read a JSON file that `keep` has written; None, with a warning, where it is damaged, and None where there is none."""
    content = read(path)
    try:
        return None if content is None else json.loads(content)
    except ValueError as error:
        logger.warn(f"{path} in the cache is damaged ({error}): its content is made again")
        return None


def keep(path: Path, content: bytes) -> Path:
    """Write a file of the cache, and return where it lies.

    Where the cache folder cannot be written or is full, the file goes into a folder that this process removes at its end,
    with a warning: play continues, nothing is kept.

    Raises:
        OSError: The temporary folder cannot take it either.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
        return path
    except OSError as error:
        substitute = in_place_of(path, error)
    write_atomic(substitute, content)
    return substitute


def in_place_of(path: Path, error: OSError) -> Path:
    """Return a path in a folder that this process removes at its end, for a file or folder that the cache cannot take.

    A warning gives `error` as the reason.
    """
    logger.warn(
        f"the cache folder {path.parent} cannot be written ({error.strerror}): playing without a cache; "
        f"{CACHE_VARIABLE} names another folder"
    )
    return _temporary_folder() / path.name


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that every reader sees either what was there before or all of `content`.

    It is not waited for the disk, which takes longer than making most files: after a failure of power a file may be
    cut short, and readers check what they read.

    Raises:
        OSError: The folder cannot be written or the disk is full; nothing is left behind.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@functools.cache
def _temporary_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="textagent_gym-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder).chmod(0o711)  # a sandbox may run as another user, and mounts what lies here
    return Path(folder)
