"""No sandbox at all: a plain subprocess with limits, for machines that are themselves thrown away."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from textagent_gym.envs.swe.repo.tree import scratch_folder
from textagent_gym.envs.swe.sandboxes.base import TESTBED, Command, Protection, SandboxResult
from textagent_gym.envs.swe.sandboxes.host import host_paths
from textagent_gym.envs.swe.sandboxes.host.disk_usage import DiskUsage, measure, take_back
from textagent_gym.envs.swe.sandboxes.host.path_mapping import PathMapping
from textagent_gym.envs.swe.sandboxes.host.process_guard import exceeds, processes_below, supervise

_PYTHON = host_paths.PROGRAMS.rpartition("/")[0]
_EXEC = 'ulimit -c 0 -n 1024 -f "$1" -v "$2"; shift 2; exec -- "$@"'


class UnprotectedSandbox:
    """Runs each command as a plain subprocess of the user's own, with limits and without protection."""

    brings_pytest = False
    identity = ""

    @property
    def protection(self) -> Protection:
        """Protection of the host: none."""
        return Protection(
            name="none",
            detail="a plain subprocess",
            gaps=(
                "A command can read, change and delete whatever the user can, and reach the network.",
                "A command can see and end the user's other processes.",
                "A process that leaves its parents outlives the command.",
                "Only the size of a file and of a process's memory, and open files, are limited by the kernel; all else is "
                "looked at every twentieth of a second, so that it can be exceeded for a moment.",
                "Paths such as /testbed are replaced in arguments, variables, input and output alone, not in files.",
            ),
        )

    @property
    def python(self) -> str:
        """The Python interpreter, as a path inside."""
        return f"{host_paths.PROGRAMS}/python3"

    def run(self, command: Command) -> SandboxResult:
        """Run one command; see `Sandbox.run`."""
        worktree, limits = command.worktree, command.limits
        before = measure(worktree)
        kilobytes = [str(limits.disk_bytes >> 10), str(limits.memory_bytes >> 10)]
        with private_folders(command) as private:
            on_host = replace(
                command,
                argv=["/bin/bash", "-c", _EXEC, "sandbox", *kilobytes, *map(private.paths.to_host, command.argv)],
                stdin=private.paths.bytes_to_host(command.stdin),
                environment=private.variables(command.environment),
            )
            guard = _Descendants(private.temporary)
            result = supervise(on_host, guard=guard, before=before, folder=str(worktree))
        return finished(result, private, exceeded=exceeds(take_back(worktree, None), before, limits))


class _Descendants:
    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary

    def hear(self, text: bytes) -> None:
        """Nothing reports."""

    def elsewhere(self) -> DiskUsage:
        """Return the size of the command's temporary folder; its writes to other places are not known."""
        return measure(self._temporary)

    def empty(self, process: subprocess.Popen[bytes]) -> None:
        """Kill what can be found: the process group, and descendants that kept their parents."""
        found = [pid for pid in processes_below(process.pid) if pid != process.pid]
        with contextlib.ExitStack() as stack:
            handles = [handle for pid in found if (handle := _handle(pid, stack)) is not None]
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            for handle in handles:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            for handle in handles:
                select.select([handle], [], [], 1.0)


def _handle(pid: int, stack: contextlib.ExitStack) -> int | None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return None  # gone already
    stack.callback(os.close, handle)
    return handle


@dataclass(frozen=True)
class Private:
    """Private folders of a command where nothing can be mounted.

    Attributes:
        folder: Removed afterwards.
        paths: From the command's paths to those of the host.
    """

    folder: Path
    paths: PathMapping

    @property
    def temporary(self) -> Path:
        """The command's /tmp, by `TMPDIR` and `HOME` alone."""
        return self.folder / "tmp"

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return all variables of the command, with the host's paths."""
        own = {name: self.paths.to_host(value) for name, value in environment.items()}
        place = str(self.temporary)
        path = f"{self.folder}/python/bin:/usr/bin:/bin"
        return {**own, "PATH": path, "HOME": place, "TMPDIR": place, "LANG": "C.UTF-8"}


@contextlib.contextmanager
def private_folders(command: Command) -> Iterator[Private]:
    """Yield a temporary folder and a Python without packages, for the length of the block.

    The Python is a virtual environment of a link and two lines: it leaves out the packages of the one that it comes from,
    also with `-I`, which is deaf to variables.
    """
    with scratch_folder() as folder:
        programs = folder / "python" / "bin"
        programs.mkdir(parents=True)
        (folder / "tmp").mkdir()
        real = Path(host_paths.executable())
        for name in dict.fromkeys(("python", "python3", real.name)):
            (programs / name).symlink_to(real)
        (folder / "python" / "pyvenv.cfg").write_text(f"home = {real.parent}\ninclude-system-site-packages = false\n")
        try:
            places = {TESTBED: command.worktree, _PYTHON: folder / "python", **command.mounts}
            yield Private(folder, PathMapping(places))
        finally:
            take_back(folder, os.geteuid() if os.geteuid() == 0 else None)


def finished(result: SandboxResult, private: Private, *, exceeded: bool) -> SandboxResult:
    """Return the outcome with the command's own paths, and the limit on the work tree looked at once more."""
    result = replace(result, output=private.paths.to_command(result.output))
    if result.stopped is None and exceeded:
        return replace(result, returncode=-1, stopped="disk")
    return result
