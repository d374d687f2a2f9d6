"""Memory control groups of the kernel, one for a command: a ceiling that no process passes even for an instant.

A group is made within this process's own (version 1) or next to it (version 2), so that every limit above stays in force.
The ceiling lies above `Limits.memory_bytes`, as the kernel counts files in memory, too.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from textagent_gym.envs.swe.sandboxes.base import Limits

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "textagent-"
_numbers = itertools.count()


class MemoryGroup:
    """A control group for the processes of one command.

    Args:
        folder: Its folder in the file system of control groups.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, pids: list[int]) -> None:
        """Move processes into the group; those that they start later are in it, too."""
        for pid in pids:
            with contextlib.suppress(OSError):  # gone already
                (self._folder / "cgroup.procs").write_text(str(pid))

    @property
    def has_killed(self) -> bool:
        """True if the kernel has ended a process because the group was full."""
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                found = re.search(r"^oom_kill (\d+)", (self._folder / name).read_text(), re.MULTILINE)
                return found is not None and int(found[1]) > 0
        return False


@contextlib.contextmanager
def memory_group(limits: Limits) -> Iterator[MemoryGroup | None]:
    """Yield a group for the length of the block; None where this process may make none."""
    parent = _parent(os.getpid())
    folder = None if parent is None else parent / f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
    if folder is not None:
        # Besides the work tree, /tmp and /dev/shm hold files in memory.
        folder = _made(folder, limits.memory_bytes + 2 * limits.disk_bytes)
    try:
        yield None if folder is None else MemoryGroup(folder)
    finally:
        if folder is not None:
            _remove(folder)


def _made(folder: Path, num_bytes: int) -> Path | None:
    try:
        folder.mkdir()
    except OSError:
        return None
    for name in ("memory.max", "memory.limit_in_bytes"):
        if (folder / name).exists():
            with contextlib.suppress(OSError):
                (folder / name).write_text(str(num_bytes))
                return folder
    _remove(folder)
    return None


def _remove(folder: Path) -> None:
    for _ in range(20):
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.002)  # the last process of it is not gone altogether yet


@functools.cache
def _parent(process: int) -> Path | None:
    """Return the folder in which a process can make groups, emptied of those of processes that are no more."""
    if os.geteuid() != 0:
        return None
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii", errors="replace").split("\n"):
        if not line:
            continue
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            parent = _ROOT / "memory" / path.lstrip("/")
        elif not controllers and path != "/":
            parent = (_ROOT / path.lstrip("/")).parent
            with contextlib.suppress(OSError):
                if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
                    continue
        else:
            continue
        if os.access(parent / "cgroup.procs", os.W_OK):
            _sweep(parent)
            return parent
    return None


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            with contextlib.suppress(OSError):
                folder.rmdir()
