"""Size and owners of a work tree: walked without following a link, whatever a command has left there."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_DEPTH = 100
"""Levels of folders that a command may leave; what lies deeper is removed, as most programs stumble over it."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class DiskUsage:
    """Sizes found by a walk.

    Attributes:
        disk_bytes: Space that the files take, each counted once however many names it has.
        num_files: Names of files and folders.
        too_deep: True if there are more than `MAX_DEPTH` levels.
    """

    disk_bytes: int = 0
    num_files: int = 0
    too_deep: bool = False
    _seen: set[tuple[int, int]] = field(default_factory=set, repr=False)

    def add(self, status: os.stat_result) -> None:
        """Count one name."""
        self.num_files += 1
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in self._seen:
                return
            self._seen.add((status.st_dev, status.st_ino))
        self.disk_bytes += status.st_blocks * 512


def measure(folder: Path, most: int = 1 << 62) -> DiskUsage:
    """Measure a tree, also while a command changes it; stops soon after `most` names."""
    found = DiskUsage()
    with _opened(str(folder), os.stat(folder, follow_symlinks=False).st_mode, None) as handle:
        if handle is not None:
            _measure(handle, found, MAX_DEPTH, most)
    return found


@contextlib.contextmanager
def _opened(name: str, mode: int, parent: int | None) -> Iterator[int | None]:
    """Open a folder for the length of the block, also one that its owner has closed to himself; None where it is gone.

    What a folder holds counts whatever its mode says. A closed one is opened while it is looked at, and then closed again.
    """
    closed = os.geteuid() != 0 and mode & 0o500 != 0o500
    with contextlib.ExitStack() as stack:
        handle: int | None = None
        with contextlib.suppress(OSError):  # gone, or no folder any more, or somebody else's
            # By a handle: a command may put a link in the place of a folder that it has seen us look at.
            place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            stack.callback(os.close, place)
            itself = f"/proc/self/fd/{place}"
            if closed:
                os.chmod(itself, stat.S_IMODE(mode) | 0o500)
                stack.callback(os.chmod, itself, stat.S_IMODE(mode))
            handle = os.open(itself, _FOLDER & ~os.O_NOFOLLOW)
            stack.callback(os.close, handle)
        yield handle


def _measure(handle: int, found: DiskUsage, levels: int, most: int) -> None:
    for name, status in _entries(handle):
        found.add(status)
        if found.num_files > most:
            return
        if not stat.S_ISDIR(status.st_mode):
            continue
        if levels == 0:
            found.too_deep = True
            return
        with _opened(name, status.st_mode, handle) as below:
            if below is not None:
                _measure(below, found, levels - 1, most)


def hand_over(folder: Path, owner: int) -> DiskUsage:
    """Give a tree to a user, links themselves and not what they lead to; measures it on the way."""
    return _settle(folder, owner, tidy=False)


def take_back(folder: Path, owner: int | None) -> DiskUsage:
    """Make a tree, in which nothing runs any more, one that its owner can read, write and remove; measures it.

    Args:
        folder: The tree.
        owner: Who gets all that is in it, or None to leave owners alone.
    """
    return _settle(folder, owner, tidy=True)


def _settle(folder: Path, owner: int | None, *, tidy: bool) -> DiskUsage:
    if tidy and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        folder.chmod(0o755)
    found = DiskUsage()
    handle = os.open(folder, _FOLDER)
    try:
        if owner is not None:
            os.chown(handle, owner, owner)
        _Walk(handle, owner, tidy, found).visit(handle, MAX_DEPTH)
    finally:
        os.close(handle)
    return found


@dataclass
class _Walk:
    top: int
    owner: int | None
    tidy: bool
    found: DiskUsage

    def visit(self, handle: int, levels: int) -> None:
        for name, status in _entries(handle):
            self.found.add(status)
            if self.owner is not None and status.st_uid != self.owner:
                os.chown(name, self.owner, self.owner, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._enter(handle, name, status.st_mode, levels)

    def _enter(self, handle: int, name: str, mode: int, levels: int) -> None:
        if self.tidy:
            _open_up(handle, name, mode)
        if levels == 0:
            self.found.too_deep = True
            if self.tidy:
                _remove(self.top, handle, name)
            return
        below = os.open(name, _FOLDER, dir_fd=handle)
        try:
            self.visit(below, levels - 1)
        finally:
            os.close(below)


def _open_up(handle: int, name: str, mode: int) -> None:
    if mode & 0o700 != 0o700:
        os.chmod(name, stat.S_IMODE(mode) | 0o700, dir_fd=handle)


def _remove(top: int, parent: int, name: str) -> None:
    """Remove a folder of any depth: what lies too deep moves to the top, and is removed from there."""
    waiting = [_move_up(top, parent, name)]

    def empty(handle: int, levels: int) -> None:
        for child, status in _entries(handle):
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(child, dir_fd=handle)
                continue
            _open_up(handle, child, status.st_mode)
            if levels == 0:
                waiting.append(_move_up(top, handle, child))
                continue
            below = os.open(child, _FOLDER, dir_fd=handle)
            try:
                empty(below, levels - 1)
            finally:
                os.close(below)
            os.rmdir(child, dir_fd=handle)

    while waiting:
        folder = waiting.pop()
        handle = os.open(folder, _FOLDER, dir_fd=top)
        try:
            empty(handle, MAX_DEPTH)
        finally:
            os.close(handle)
        os.rmdir(folder, dir_fd=top)


def _move_up(top: int, parent: int, name: str) -> str:
    moved = f".too-deep-{secrets.token_hex(8)}"
    os.rename(name, moved, src_dir_fd=parent, dst_dir_fd=top)
    return moved


def _entries(handle: int) -> list[tuple[str, os.stat_result]]:
    found = []
    with os.scandir(handle) as entries:
        for entry in entries:
            try:
                found.append((entry.name, entry.stat(follow_symlinks=False)))
            except FileNotFoundError:
                continue  # it went away meanwhile
    return found
