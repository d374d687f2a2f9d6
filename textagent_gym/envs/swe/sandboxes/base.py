"""Interface of a sandbox: one command in a fresh environment, which leaves nothing but its writes to the work tree.

The tiers are in `sandboxes`: `bubblewrap.py` (the default), `container.py` (an image of the task's own), `landlock.py`
(weaker, asked for) and `unprotected.py` (none, asked for); `choose.py` chooses among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

TESTBED = "/testbed"
"""Folder of the work tree inside a sandbox, in which a command starts."""

RUNTIME = "/runtime"
"""Folder inside a sandbox with pytest and the packages that pytest needs, and nothing else."""

Stop = Literal["time", "output", "memory", "disk", "processes"]
"""The limit that ended a command."""


class SandboxError(RuntimeError):
    """The sandbox itself failed, or is not to be had here; what a command does wrong is a `SandboxResult` instead."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Resources that one command may use before it is ended, with everything that it started.

    Attributes:
        seconds: Wall-clock time, in seconds.
        output_bytes: Standard output and error together; what goes beyond is cut, and the command ended.
        memory_bytes: Resident memory of all processes together; half as much again may be touched for an instant.
        disk_bytes: Growth of the work tree; /tmp and /dev/shm are sized by a quarter of it each at most.
        num_files: Growth of the work tree in files and folders.
        num_processes: Processes and threads alive at a time.
    """

    seconds: float = 30.0
    output_bytes: int = 1_000_000
    memory_bytes: int = 2 << 30
    disk_bytes: int = 256 << 20
    num_files: int = 20_000
    num_processes: int = 64


@dataclass(frozen=True)
class Command:
    """A command and what it runs on.

    Attributes:
        argv: The program and its arguments; paths are those inside.
        worktree: Folder of the host that is `/testbed`, the only place whose changes stay. It belongs to the command while
            it runs; the sandbox may change who owns its files, and puts that back.
        mounts: Path inside -> file or folder of the host that can be read there.
        environment: All variables but `PATH`, `HOME`, `LANG` and `TMPDIR`, which the sandbox sets.
        stdin: What the command can read on its standard input, which is closed after that.
        limits: What it may use.
    """

    argv: Sequence[str]
    _: KW_ONLY
    worktree: Path
    mounts: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class SandboxResult:
    """Result of a command.

    Attributes:
        returncode: Exit status, 128 + the signal where a signal ended it; -1 where a limit did.
        output: Standard output and error in the order in which they came, at most `Limits.output_bytes`.
        stopped: The limit that ended the command, or None where it ended by itself.
    """

    returncode: int
    output: bytes
    stopped: Stop | None = None


@dataclass(frozen=True, kw_only=True)
class Protection:
    """Protection of the host from a command, for the task card.

    Attributes:
        name: The tier: "bubblewrap", "container", "landlock" or "none".
        detail: The program and version behind it, in a few words.
        gaps: What remains possible, a sentence each.
    """

    name: str
    detail: str
    gaps: tuple[str, ...] = ()


class Sandbox(Protocol):
    """Runs commands on a work tree of the host, each by itself.

    Promises of every tier but "none": no network, nothing of the host can be written but the work tree, the limits hold, no
    process outlives the command. What a tier cannot promise stands in `protection.gaps`.
    """

    @property
    def protection(self) -> Protection:
        """Protection of the host."""

    @property
    def python(self) -> str:
        """The Python interpreter, as a path inside."""

    @property
    def brings_pytest(self) -> bool:
        """True if pytest is installed inside, so that none is mounted."""

    @property
    def identity(self) -> str:
        """Identity of the tests' environment: an image's id; empty for this installation."""

    def run(self, command: Command) -> SandboxResult:
        """Run one command in `/testbed`.

        Raises:
            SandboxError: The sandbox could not be set up; the command did not run.
        """
