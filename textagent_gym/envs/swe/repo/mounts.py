"""File systems in memory, of a limited size, for work trees: the kernel refuses what does not fit, however it is written."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
import tempfile
from pathlib import Path

_NO_SETUID, _NO_DEVICES, _DETACH = 2, 4, 2  # MS_NOSUID, MS_NODEV, MNT_DETACH


def mount_memory(folder: Path, num_bytes: int, num_files: int) -> bool:
    """Mount an empty file system on a folder, and return whether that was possible: root may, but in most containers not.

    Args:
        folder: An empty folder.
        num_bytes: Size of the file system.
        num_files: Files and folders that fit into it.
    """
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    options = f"size={num_bytes},nr_inodes={num_files},mode=755".encode()
    flags = ctypes.c_ulong(_NO_SETUID | _NO_DEVICES)
    return bool(ctypes.CDLL(None).mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options) == 0)


def can_mount() -> bool:
    """Return whether this process may mount such file systems."""
    return _can_mount(os.geteuid())


@functools.cache
def _can_mount(user: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        if not mount_memory(Path(folder), 1 << 16, 10):
            return False
        unmount(Path(folder))
    return True


def unmount(folder: Path) -> None:
    """Take a file system off a folder; what is still open there goes when it is closed."""
    ctypes.CDLL(None).umount2(os.fsencode(folder), _DETACH)


def unmount_below(folder: Path) -> None:
    """Take file systems off the folders in a folder."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if os.path.ismount(entry.path):
                unmount(Path(entry.path))
