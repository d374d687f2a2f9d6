"""Trees of files as mappings from paths to bytes: what is source, what is test, and how a tree gets to disk and back."""

from __future__ import annotations

import atexit
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from textagent_gym.envs.swe.repo.mounts import mount_memory, unmount, unmount_below
from textagent_gym.envs.swe.repo.text import encoding_of

Tree = Mapping[str, bytes]
"""Path in the repository, with `/` -> content."""

Changes = dict[str, bytes | None]
"""Path -> new content, or None where the file was deleted; against some tree that both sides know."""


class UnwritableTreeError(ValueError):
    """A tree that no file system can hold; the message is a part of a sentence that says why, for the agent to read."""


MAX_FILE_BYTES = 1_000_000
"""Largest file that an agent can leave behind, in bytes; a larger one is not kept."""

MAX_CHANGED_BYTES = 8_000_000
"""Most that an agent can leave behind in all, in bytes."""

MAX_NAME_BYTES = 255
"""Longest name of a file or folder, as in most file systems."""

MAX_PATH_BYTES = 1_000
"""Longest path in a tree; a folder of the host comes before it, and the kernel takes 4,096 bytes in all."""

IGNORED = {".git", ".hg", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".tox", ".eggs"}
"""Names of folders of which nothing is kept."""

_NO_SOURCE = {"doc", "docs", "example", "examples", "bench", "benchmark", "benchmarks", "fuzz", "scripts", "tools", "build",
              "ci"}  # fmt: skip
_NO_SOURCE_FILES = {
    "setup.py",
    "conftest.py",
    "noxfile.py",
    "tasks.py",
    "fabfile.py",
    "runtests.py",
    "versioneer.py",
    "conf.py",
    "benchmark.py",
}
_TEST_FOLDERS = {"test", "tests", "testing", "test_utils"}


def is_test(path: str) -> bool:
    """Return whether a file affects the tests: tests, files of their folders, and configuration of pytest or Python."""
    *folders, name = PurePosixPath(path).parts
    if set(folders) & _TEST_FOLDERS or name in STEERING:
        return True
    return bool(re.fullmatch(r"test_.*\.py|.*_tests?\.py|tests?\.py|.*\.(pyc|pyo|pth|so|pyd)", name))


STEERING = {
    "conftest.py",
    "sitecustomize.py",
    "usercustomize.py",
    "pytest.ini",
    ".pytest.ini",
    "tox.ini",
    "pytest.toml",
}
"""Names of files that steer pytest or Python."""


def is_source(path: str) -> bool:
    """Return whether a file is Python source of the project itself."""
    *folders, name = PurePosixPath(path).parts
    if not name.endswith(".py") or is_test(path) or set(folders) & (_NO_SOURCE | IGNORED):
        return False
    return not (name in _NO_SOURCE_FILES and not folders)


def source_files(tree: Tree) -> tuple[str, ...]:
    """Return the project's own Python files, sorted."""
    return tuple(sorted(path for path in tree if is_source(path)))


def as_text(content: bytes) -> str | None:
    """Return the text in `content`, in whatever encoding it is, or None where it is binary."""
    encoding = encoding_of(content)
    return None if encoding is None else content.decode(encoding)


def texts(tree: Tree) -> dict[str, str]:
    """Return the files of a tree that are text, to be read."""
    return {path: text for path, content in tree.items() if (text := as_text(content)) is not None}


def patch_texts(tree: Tree) -> dict[str, str]:
    """Return the files of a tree that are no binary ones as patches have them: every byte stands for itself.

    Bytes that are no UTF-8 are surrogate escapes, so that `patch_bytes` gives the same bytes again.
    """
    return {path: content.decode("utf-8", "surrogateescape") for path, content in tree.items() if b"\0" not in content}


def patch_bytes(text: str) -> bytes:
    """Return the bytes of a text out of a patch.

    Raises:
        UnicodeEncodeError: It has half a pair of surrogates that stands for no byte.
    """
    return text.encode("utf-8", "surrogateescape")


def with_changes(tree: Tree, changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return a tree after changes."""
    files = {**tree, **{path: content for path, content in changes.items() if content is not None}}
    for path in [path for path, content in changes.items() if content is None]:
        files.pop(path, None)
    return files


def tree_digest(tree: Tree) -> str:
    """Return the hash of a tree's paths and contents."""
    content = hashlib.sha256()
    for path in sorted(tree):
        content.update(f"{len(path)} {path} {len(tree[path])} ".encode())
        content.update(tree[path])
    return content.hexdigest()


def is_writable(path: str) -> bool:
    """Return whether a file system can hold a file of this path: no name, nor the path, is too long."""
    encoded = os.fsencode(path)
    return len(encoded) <= MAX_PATH_BYTES and max(map(len, encoded.split(b"/"))) <= MAX_NAME_BYTES


def write_tree(tree: Tree, folder: Path) -> None:
    """Write a tree into an empty folder.

    Raises:
        UnwritableTreeError: A path is too long, or names a file where another path has a folder.
        OSError: The disk is full, or the folder cannot be written.
    """
    made: set[str] = set()
    base = str(folder)
    for path, content in tree.items():
        parent = path.rpartition("/")[0]
        try:
            if parent and parent not in made:
                os.makedirs(f"{base}/{parent}", exist_ok=True)
                made.add(parent)
            handle = os.open(f"{base}/{path}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise UnwritableTreeError(f"{path!r:.200} is a folder, or lies below a file") from error
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
                raise
            raise UnwritableTreeError(f"{path!r:.200} is no path that can be written") from error
        try:
            while content:
                content = content[os.write(handle, content) :]
        finally:
            os.close(handle)


def read_changes(folder: Path, tree: Tree) -> tuple[Changes, tuple[str, ...]]:
    """Return the changes of a folder that held `tree`: regular files alone, no link is followed.

    Returns:
        The changes, and the paths of files that were left out since they, or their paths, are too large.
    """
    changes: Changes = {}
    refused: list[str] = []
    seen: set[str] = set()
    budget = MAX_CHANGED_BYTES
    for path, entry in sorted(_regular_files(folder)):
        seen.add(path)
        known = tree.get(path)
        size = entry.stat(follow_symlinks=False).st_size if is_writable(path) else -1
        if size < 0:
            refused.append(path)
            continue
        # What cannot be kept is not read: holes of a file take no space and yet time.
        if size > min(MAX_FILE_BYTES, budget) and (known is None or size != len(known)):
            refused.append(path)
            continue
        content = read_regular(entry.path, size)
        if content is None or content == known:
            continue
        if len(content) > budget:
            refused.append(path)
        else:
            budget -= len(content)
            changes[path] = content
    for path in tree:
        if path not in seen:
            changes[path] = None
    return changes, tuple(refused)


def read_folder(folder: Path, most: int) -> Tree | None:
    """Return the regular files below a folder, none where it is a link or no folder.

    None for more than `most` bytes, and for paths that cannot be written again.
    """
    found: dict[str, bytes] = {}
    size = 0
    for path, entry in [] if folder.is_symlink() else sorted(_regular_files(folder)):
        size += entry.stat(follow_symlinks=False).st_size if is_writable(path) else most + 1
        if size > most:
            return None
        content = read_regular(entry.path, most)
        if content is not None:
            found[path] = content
    return found


def _regular_files(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    waiting = [("", str(folder))]
    while waiting:
        prefix, place = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue  # a folder that the command made unreadable holds nothing that can be kept
        for entry in entries:
            path = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in IGNORED:
                    waiting.append((f"{path}/", entry.path))
            elif entry.is_file(follow_symlinks=False) and path.isprintable() and not path.endswith((".pyc", ".pyo")):
                yield path, entry


_NO_FILE = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV}
"""Errors for which a command is to blame: what it left cannot be opened, or is a link or a socket."""


def read_regular(path: str, size: int) -> bytes | None:
    """Return a file up to one byte beyond a size; None for a link, a folder, a pipe, and what a command made unreadable.

    Raises:
        OSError: This process cannot read it, as it has too many open files or too little memory.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read(size + 1)
    finally:
        os.close(handle)


@contextmanager
def scratch_folder(num_bytes: int = 0, num_files: int = 0) -> Iterator[Path]:
    """Yield an empty folder for the length of the block.

    With a size it is a file system in memory, where this process may mount one. It lies in a folder of this process, locked
    as long as the process lives; the first use in a process removes what killed ones left behind.

    Args:
        num_bytes: Space of the folder, in bytes; 0 for no limit.
        num_files: Files and folders that fit into it.
    """
    with _lock:
        folder = Path(tempfile.mkdtemp(dir=own_folder()))
    folder.chmod(0o755)
    is_mounted = num_bytes > 0 and mount_memory(folder, num_bytes, num_files)
    try:
        yield folder
    finally:
        if is_mounted:
            unmount(folder)
        remove(folder)


def room_for(tree: Tree, disk_bytes: int, num_files: int) -> tuple[int, int]:
    """Return the bytes and files that a scratch folder needs for a tree that may grow by so much, and a little more."""
    of_tree = sum(4096 + (len(content) + 4095) // 4096 * 4096 for content in tree.values())
    return of_tree + disk_bytes * 5 // 4 + (1 << 20), 2 * len(tree) + num_files * 5 // 4 + 1_000


_lock = threading.RLock()
_own: tuple[int, Path, int] | None = None


def own_folder() -> Path:
    """Return a folder of this process, which goes with it."""
    global _own
    with _lock:
        if _own is not None and _own[0] == os.getpid() and _own[1].exists():
            return _own[1]
        base = Path(tempfile.gettempdir()) / f"textagent_gym-swe-{os.getuid()}"
        # Root's sandboxes give the work tree to a user of its own, who must be able to get there.
        mode = 0o711 if os.getuid() == 0 else 0o700
        base.mkdir(mode=mode, exist_ok=True)
        if base.is_symlink() or base.stat().st_uid != os.getuid():
            raise PermissionError(f"expected {base} to be a folder of this user, got somebody else's: remove it")
        _sweep(base)
        folder = Path(tempfile.mkdtemp(dir=base))
        lock = os.open(folder / "new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new").rename(folder / "lock")  # under this name it is locked from the first: no sweep can take it
        folder.chmod(mode)
        _own = os.getpid(), folder, lock
        atexit.register(_leave, os.getpid(), folder)
        return folder


def _leave(process: int, folder: Path) -> None:
    """Remove the folder of a process that ends; one that was forked from it leaves it alone."""
    if os.getpid() == process and folder.exists():
        unmount_below(folder)
        remove(folder)


def _sweep(base: Path) -> None:
    """Remove the folders of processes that are no more; a folder without a lock file yet is a process starting."""
    for folder in base.iterdir():
        try:
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (folder / "lock").exists():  # else another process has removed it meanwhile
                unmount_below(folder)
                remove(folder)
        except BlockingIOError:
            pass  # its process lives
        finally:
            os.close(lock)


def remove(folder: Path) -> None:
    """Remove a folder whatever modes a command gave to what is in it."""

    def open_up(function: object, path: str, problem: object) -> None:
        for place in [path] if str(path) == str(folder) else [os.path.dirname(path), path]:  # nothing beyond the folder
            if os.path.isdir(place) and not os.path.islink(place):
                os.chmod(place, 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            os.unlink(path)

    shutil.rmtree(folder, onerror=open_up)
