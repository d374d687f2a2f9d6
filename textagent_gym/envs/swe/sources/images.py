"""The repository in a task's image: the files below `/testbed`, read into memory and kept by the image's id.

A tree holds what regular files contain, text or not: compiled extensions survive, and an installation in the image that
points at `/testbed` keeps working, as the work tree of every command holds them. It does not hold symbolic links, modes
(a script has to be run through its interpreter), empty folders, or the git repository; a task whose tests need any of these
fails when its reference repair is checked, before it is played.
"""

from __future__ import annotations

import functools
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from gymnasium import logger
from typing_extensions import Buffer

from textagent_gym.cache import cache_folder, keep, read
from textagent_gym.envs.swe.repo.tree import IGNORED
from textagent_gym.envs.swe.sandboxes.base import TESTBED, SandboxError
from textagent_gym.envs.swe.sandboxes.container.engine import (
    LABEL,
    discard,
    docker_package,
    engine,
    find_image,
    owner,
    translated,
)

MAX_TREE_BYTES = 500 << 20
"""Largest tree that is read from an image, in bytes, without its git repository."""


def image_tree(name: str) -> dict[str, bytes]:
    """Return the repository in an image; the same object for the same image, not to be changed.

    Raises:
        SandboxError: No container engine answers, it does not have the image, or the image has nothing in `/testbed`.
        ValueError: The tree is too large.
    """
    return _tree(name, find_image(name).id)


@functools.lru_cache(maxsize=8)
def _tree(name: str, identity: str) -> dict[str, bytes]:
    path = cache_folder() / "swe" / "images" / f"{identity.rpartition(':')[2]}.zip"
    content = read(path)
    if content is not None:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as known:
                return {entry: known.read(entry) for entry in known.namelist()}
        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
            logger.warn(f"the remembered tree {path} is damaged ({error}): the image is read again")
    tree = dict(sorted(_files(name, identity)))
    if not tree:
        raise SandboxError(f"expected the image {name} to hold a repository in {TESTBED}, got no files there")
    keep(path, _packed(tree))
    return tree


def _packed(tree: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, content in tree.items():
            archive.writestr(zipfile.ZipInfo(path), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _files(name: str, identity: str) -> Iterator[tuple[str, bytes]]:
    with translated(f"read {TESTBED} of the image {name}"):
        container = engine().containers.create(identity, command=["true"], network_mode="none", labels={LABEL: owner()})
        try:
            stream, _ = container.get_archive(TESTBED, chunk_size=1 << 20)
            yield from read_archive(stream, name)
        except docker_package().errors.NotFound as error:
            raise SandboxError(f"expected the image {name} to hold a repository in {TESTBED}, got none") from error
        finally:
            discard(container)


def read_archive(stream: Iterable[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of the regular files in a stream of a tar archive, below its one top folder.

    Raises:
        ValueError: They are too large, or a path leads outside.
    """
    contents: dict[str, bytes] = {}
    size = 0
    with tarfile.open(fileobj=_Stream(stream), mode="r|") as archive:
        for member in archive:
            path = _inside(member.name)
            if not _is_kept(path):
                continue
            content = contents.get(str(_inside(member.linkname))) if member.islnk() else None
            if member.isfile() and size + member.size <= MAX_TREE_BYTES:
                file = archive.extractfile(member)
                content = file.read() if file is not None else b""
            elif member.isfile():
                raise ValueError(f"expected {TESTBED} of {name} to hold at most {MAX_TREE_BYTES} bytes, got more")
            if content is not None:
                size += len(content)
                contents[str(path)] = content
    yield from contents.items()


def _inside(path: str) -> PurePosixPath:
    return PurePosixPath(*PurePosixPath(path.removeprefix("./")).parts[1:])


def _is_kept(path: PurePosixPath) -> bool:
    """Return whether commands keep a file, too: what they leave out would look as if they had deleted it."""
    safe = path.parts and ".." not in path.parts and not path.is_absolute() and str(path).isprintable()
    return bool(safe) and not IGNORED & set(path.parts[:-1]) and path.suffix not in (".pyc", ".pyo")


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file that can be read once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = filter(None, pieces)
        self._waiting = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Put the next bytes into a buffer, as many as one piece has, and return their number."""
        self._waiting = self._waiting or memoryview(next(self._pieces, b""))
        size = min(len(self._waiting), len(memoryview(buffer)))
        memoryview(buffer)[:size] = self._waiting[:size]
        self._waiting = self._waiting[size:]
        return size
