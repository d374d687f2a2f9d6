"""Parts of the host that commands can see: system programs and libraries, and the Python of this installation.

A fixed version of the code under repair may lie in some folder for packages: all of them are found here, to be hidden.
"""

from __future__ import annotations

import functools
import os
import sys
from fnmatch import fnmatch
from pathlib import Path

PROGRAMS = "/python/bin"
"""Folder inside a sandbox with links to the interpreter, by both of its names."""

# Each place costs half a millisecond a command, so there is what tests and a shell need; and an application below /usr/lib
# or /usr/share may have brought any package along. Newer C libraries have the locale C.UTF-8 built in.
_LIBRARIES = ("*-linux-*", "python3*")
"""Parts of /usr/lib inside a sandbox where libraries lie in a folder of their architecture; Python if it is the
interpreter."""

_PACKAGE_FOLDERS = {"site-packages", "dist-packages", "python-wheels"}


@functools.cache
def prefix() -> Path:
    """Return the folder whose `bin` and `lib` make up the interpreter; outside any virtual environment."""
    return Path(sys.base_prefix).resolve()


@functools.cache
def executable() -> str:
    """Return the interpreter, as a path that is the same on the host and inside."""
    named = prefix() / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(named) if named.exists() else os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@functools.cache
def visible_folders() -> tuple[str, ...]:
    """Return folders of programs and libraries, the interpreter's among them."""
    base = str(prefix())
    folders = ["/usr/bin", "/usr/lib32", "/usr/lib64", "/usr/share/zoneinfo"]
    names = sorted(os.listdir("/usr/lib"))
    if any(fnmatch(name, "libc.so*") for name in names):
        folders.append("/usr/lib")  # libraries lie in it side by side
    else:
        patterns = _LIBRARIES if base == "/usr" else _LIBRARIES[:1]
        folders += [f"/usr/lib/{name}" for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
        folders += ["/usr/lib/locale"] if _old_c_library() else []
    if base != "/usr":
        folders += [f"{base}/bin", f"{base}/lib"]
    return tuple(folder for folder in folders if os.path.isdir(folder))


def _old_c_library() -> bool:
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return name == "glibc" and tuple(map(int, version.split("."))) < (2, 35)
    except ValueError:
        return False  # another C library


@functools.cache
def hidden_folders() -> tuple[str, ...]:
    """Return folders below the visible ones that hold packages of third parties."""
    found: set[str] = set()
    for folder in visible_folders():
        if "/lib" in folder:
            found.update(package_folders(folder, levels=8 if folder == "/usr/lib" else 3))
    return tuple(sorted(found))


@functools.cache
def package_folders(root: str, levels: int = 3) -> tuple[str, ...]:
    """Return folders that hold packages or wheels, at most so many levels below `root`; links are not followed."""
    found: list[str] = []
    depth = root.count("/")
    for place, folders, _ in os.walk(root):
        for name in list(folders):
            bundled = name == "_bundled" and os.path.basename(place) == "ensurepip"
            if name in _PACKAGE_FOLDERS or bundled:
                folders.remove(name)
                if not os.path.islink(f"{place}/{name}"):
                    found.append(f"{place}/{name}")
        if place.count("/") - depth >= levels - 1:
            folders.clear()
    return tuple(sorted(found))
