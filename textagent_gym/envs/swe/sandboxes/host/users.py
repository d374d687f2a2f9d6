"""Users without rights for commands that root starts."""

from __future__ import annotations

import functools
import itertools
import os
from pathlib import Path

from textagent_gym.envs.swe.sandboxes.base import SandboxError

_started = itertools.count()


def free_user() -> int:
    """Return a user whom no other command of this host has at the time, short of 64 at once in one process."""
    first, number = _user_range()
    return first + (os.getpid() * 64 + next(_started) % 64) % number


def are_for_one_command() -> bool:
    """Return whether the numbers suffice for all processes of the host, so that a user is one command's for sure."""
    return _user_range()[1] > 1 << 28


@functools.cache
def _user_range() -> tuple[int, int]:
    """Return users that exist for nobody: the first, and how many. In a container with users of its own there may be fewer.

    Raises:
        SandboxError: There are none.
    """
    known = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    size = int(known[2]) if known[0] == "0" else 0
    if size > 1 << 31:
        return 200_000, (1 << 31) - 400_000
    if size > 50_000:
        return 20_000, size - 22_000
    raise SandboxError(
        "root needs users to become for commands, and this container has too few: run as an ordinary user"
    )
