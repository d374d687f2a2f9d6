"""The agent's files: a tree that is shared and never changed, and what this episode made of it, all in memory.

File tools read and write here; no path that an agent names ever reaches the host's file system, so that neither `..` nor a
link leads anywhere. A shell gets a copy on disk, and what it changed is read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from textagent_gym.envs.swe.repo.text import encoded
from textagent_gym.envs.swe.repo.tree import (
    MAX_CHANGED_BYTES,
    MAX_FILE_BYTES,
    Changes,
    Tree,
    as_text,
    is_writable,
    with_changes,
)

MAX_UNDO = 100

MAX_UNDO_BYTES = 4 * MAX_CHANGED_BYTES
"""Most that is kept to be taken back, in bytes; what several states share is counted once."""


class FileProblemError(ValueError):
    """An impossible request of an agent for a file; the message gives the reason to the agent."""


class Workspace:
    """The files of one episode.

    Args:
        base: The tree that it starts with.
    """

    def __init__(self, base: Tree) -> None:
        self.base = base
        self.changes: Changes = {}
        self._past: list[Changes] = []
        self.repository: Tree | None = None
        """The files of `.git`, once a command has named git."""

    @property
    def files(self) -> Tree:
        """All files as they are now."""
        return with_changes(self.base, self.changes) if self.changes else self.base

    def text(self, path: str) -> str:
        """Return the text of a file.

        Raises:
            FileProblemError: There is no such file, or it is binary.
        """
        path = clean_path(path)
        content = self.changes[path] if path in self.changes else self.base.get(path)
        if content is None:
            raise FileProblemError(f"there is no file {path!r}{self._guess(path)}")
        text = as_text(content)
        if text is None:
            raise FileProblemError(f"{path!r} is binary ({len(content)} bytes)")
        return text

    def exists(self, path: str) -> bool:
        """Return whether there is such a file."""
        path = clean_path(path)
        return self.changes[path] is not None if path in self.changes else path in self.base

    def write(self, path: str, text: str, whole: bool = False) -> None:
        """Give a file a new text in the encoding that it has, or create it in UTF-8.

        Args:
            path: The file.
            text: All its text.
            whole: True if the text replaces all that was there. Where the file's encoding lacks a character, such a text is
                written in the encoding that it declares, or in UTF-8.

        Raises:
            FileProblemError: The text is too long, or cannot be written in the file's encoding, or the path is that of a
                folder or below a file.
        """
        path = clean_path(path)
        files = self.files
        before = files.get(path, b"")
        try:
            try:
                content = encoded(text, before)
            except UnicodeEncodeError:
                content = encoded(text, b"" if whole else before)
        except UnicodeEncodeError as error:
            what = text[error.start : error.start + 1]
            raise FileProblemError(f"{path!r} is a file in {error.encoding}, which has no {what!r}") from error
        if len(content) > MAX_FILE_BYTES:
            raise FileProblemError(f"{path!r} would have {len(content)} bytes, more than {MAX_FILE_BYTES}")
        above = [str(parent) for parent in PurePosixPath(path).parents]
        if any(parent in files for parent in above) or any(file.startswith(f"{path}/") for file in files):
            raise FileProblemError(f"{path!r} is a folder, or lies below a file")
        self.become({**self.changes, path: content})

    def become(self, changes: Changes) -> None:
        """Take over changes against the base tree, remembering those before for `undo`.

        Raises:
            FileProblemError: All changes of the episode together are too large; nothing is taken over.
        """
        changes = {path: content for path, content in changes.items() if self.base.get(path) != content}
        if changes == self.changes:
            return
        size = _num_bytes([changes])
        if size > MAX_CHANGED_BYTES and size >= _num_bytes([self.changes]):
            raise FileProblemError(f"all changes together would have {size} bytes, more than {MAX_CHANGED_BYTES}")
        self._past.append(self.changes)
        del self._past[:-MAX_UNDO]
        while _num_bytes(self._past) > MAX_UNDO_BYTES:
            del self._past[0]
        self.changes = changes

    def undo(self) -> tuple[str, ...] | None:
        """Take the last change back; the files that it concerned, or None where there is nothing to take back."""
        if not self._past:
            return None
        before, self.changes = self.changes, self._past.pop()
        paths = {*before, *self.changes}
        return tuple(sorted(path for path in paths if before.get(path, b"?") != self.changes.get(path, b"?")))

    def below(self, path: str) -> Iterator[str]:
        """Yield paths of the files in a folder, at any depth, sorted; "." is the whole tree."""
        path = clean_path(path, folder=True)
        prefix = "" if path == "." else f"{path}/"
        for file in sorted(self.files):
            if file == path or file.startswith(prefix):
                yield file

    def snapshot(self) -> tuple[Changes, tuple[Changes, ...], Tree | None]:
        """Return the state of the files that `restore` takes back."""
        return dict(self.changes), tuple(self._past), self.repository

    def restore(self, snapshot: tuple[Changes, tuple[Changes, ...], Tree | None]) -> None:
        """Go back to a snapshot of a workspace of the same tree."""
        changes, past, self.repository = snapshot
        self.changes, self._past = dict(changes), list(past)

    def _guess(self, path: str) -> str:
        name = PurePosixPath(path).name
        near = [file for file in sorted(self.files) if file.endswith(f"/{name}") or file == name]
        return f"; did you mean {near[0]!r}?" if near else ""


def _num_bytes(states: Sequence[Changes]) -> int:
    """Return the space that states take; deleted files have their paths, and a content that several share counts once."""
    contents = {id(content): len(content) for state in states for content in state.values() if content is not None}
    return sum(contents.values()) + sum(len(path) for state in states[-1:] for path in state)


def clean_path(path: str, *, folder: bool = False) -> str:
    """Return a path in the repository without `.` parts and without the repository's own place before it.

    Raises:
        FileProblemError: It is empty, leaves the repository, or has characters that no path here has.
    """
    if not path.isprintable() or len(path) > 300 or not is_writable(path):
        raise FileProblemError("a path has at most 300 printable characters, and a name in it at most 255 bytes")
    path = path.removeprefix("/testbed/") if path != "/testbed" else "."
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts:
        raise FileProblemError(
            f"{path!r} is outside the repository: paths are relative to its top folder, without '..'"
        )
    if not parts and not folder:
        raise FileProblemError("the path of a file is missing")
    return "/".join(parts) or "."
