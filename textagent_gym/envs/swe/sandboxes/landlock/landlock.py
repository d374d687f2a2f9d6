"""A weaker tier, for hosts that permit no namespaces: Landlock says what a command may open, seccomp what it may call.

A supervisor, `run.py`, starts the command and adopts whatever the command leaves behind, to end it. There is no
file system of its own: paths such as `/testbed` are replaced by those of the host in arguments, variables and input, and
put back in output. Commands have no sockets at all, not even to themselves, and no semaphores in /dev/shm: tests that
need them fail here.

As root, the command becomes a user without rights whom nobody else is. Where folders on the way are closed to such a user
(a Python below /root), it keeps the right to pass through and read, CAP_DAC_READ_SEARCH, of which Landlock leaves only
what was granted. It never stays root: Landlock does not restrict changes of modes and owners.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import platform
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from textagent_gym.envs.swe.sandboxes.base import Command, Protection, SandboxError, SandboxResult
from textagent_gym.envs.swe.sandboxes.host import host_paths
from textagent_gym.envs.swe.sandboxes.host.disk_usage import DiskUsage, hand_over, measure, take_back
from textagent_gym.envs.swe.sandboxes.host.memory_group import memory_group
from textagent_gym.envs.swe.sandboxes.host.process_guard import exceeds, supervise, unnamed_file
from textagent_gym.envs.swe.sandboxes.host.users import are_for_one_command, free_user
from textagent_gym.envs.swe.sandboxes.landlock import seccomp
from textagent_gym.envs.swe.sandboxes.unprotected import Private, finished, private_folders

_CREATE_RULESET, _VERSION = 444, 1
_PROGRAM = Path(__file__).with_name("run.py")
_END_SECONDS = 10.0

_FILES = ("/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime",
    "/sys/devices/system/cpu")  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class LandlockSandbox:
    """Runs each command under Landlock rules, a filter of system calls, limits, and a supervisor that ends what is left.

    Raises:
        SandboxError: The kernel has no Landlock, or not enough of it.
    """

    brings_pytest = False
    identity = ""

    def __init__(self) -> None:
        self._abi = landlock_version()
        # Before version 3 a file that cannot be opened for writing can still be cut by its path.
        refused = ("socket",) if self._abi >= 3 else ("socket", "truncate")
        self._filter = seccomp.program(also=refused)
        if self._abi < 3 and self._filter is None:
            raise SandboxError(f"expected Landlock 3 (Linux 6.2) on a {platform.machine()}, got {self._abi}")
        self._as_root = os.geteuid() == 0
        self._grants = _grants()

    @functools.cached_property
    def protection(self) -> Protection:
        """Protection of the host."""
        gaps = [
            "There are no namespaces: names, sizes and dates of all files, and that other processes exist, can be seen.",
            "Paths such as /testbed are replaced in arguments, variables, input and output alone, not in files.",
            "Modes, dates and attributes of files outside can be changed where they belong to the user.",
            "Of the limits, those on memory in sum and on the work tree are looked at every twentieth of a second.",
        ]
        if self._as_root:
            del gaps[2]
        else:
            gaps.append("The limit on processes counts the user's other processes as they were at the start.")
        if self._filter is None:
            gaps.append("System calls are not filtered for this processor: UDP and named Unix sockets are not blocked.")
            if self._abi < 4:
                gaps.append("TCP is not blocked: that needs Landlock 4 (Linux 6.7).")
        if self._abi < 6 and not self._as_root:
            gaps.append("The user's other processes, the supervisor too, can be ended: closing that needs Landlock 6.")
        return Protection(name="landlock", detail=f"Landlock {self._abi}, seccomp, supervisor", gaps=tuple(gaps))

    @property
    def python(self) -> str:
        """The Python interpreter, as a path inside."""
        return f"{host_paths.PROGRAMS}/python3"

    def run(self, command: Command) -> SandboxResult:
        """Run one command; see `Sandbox.run`."""
        worktree, limits = command.worktree, command.limits
        user = free_user() if self._as_root else None
        with private_folders(command) as private:
            before = measure(worktree) if user is None else hand_over(worktree, user)
            if user is not None:
                os.chown(private.temporary, user, user)
            guard = _Supervised(private.temporary)
            try:
                job = json.dumps(self._job(command, user, private)).encode()
                with memory_group(limits) as group, unnamed_file(job) as description:
                    status = os.pipe()
                    descriptors = [description.fileno(), status[1]]
                    on_host = replace(
                        command,
                        argv=[host_paths.executable(), "-I", "-S", str(_PROGRAM), *map(str, descriptors)],
                        stdin=private.paths.bytes_to_host(command.stdin),
                        environment={},
                    )
                    result = supervise(
                        on_host,
                        guard=guard,
                        before=before,
                        descriptors=descriptors[:1],
                        status=status,
                        group=group,
                    )
            finally:
                after = take_back(worktree, None if user is None else os.geteuid())
        if guard.problem:
            raise SandboxError(f"Landlock cannot be set up: {guard.problem.decode('utf-8', 'replace')}")
        return finished(result, private, exceeded=exceeds(after, before, limits))

    def _job(self, command: Command, user: int | None, private: Private) -> dict[str, object]:
        """Return the job for the supervisor."""
        worktree, limits = command.worktree, command.limits
        readable = [*command.mounts.values(), private.folder / "python"]
        needed = [worktree, private.temporary, *readable, Path(host_paths.executable())]
        search = user is not None and any(_is_closed(parent) for path in needed for parent in path.absolute().parents)
        if search and not _may_search():
            raise SandboxError(
                "a folder above the work tree or Python is closed to users without rights, and root here is"
            )
        processes = limits.num_processes + (0 if self._as_root else _num_threads_of_user())
        return {
            "parent": os.getpid(),
            "abi": self._abi,
            "argv": [private.paths.to_host(argument) for argument in command.argv],
            "environment": private.variables(command.environment),
            "folder": str(worktree),
            "user": user,
            "alone": user is not None and are_for_one_command(),
            "search": search,
            "grants": [
                *self._grants,
                *((str(path), "read") for path in readable),
                *((str(path), "write") for path in (worktree, private.temporary)),
            ],
            "filter": self._filter.hex() if self._filter else "",
            "limits": {
                "RLIMIT_CORE": 0,
                "RLIMIT_NOFILE": 1024,
                "RLIMIT_FSIZE": limits.disk_bytes,
                "RLIMIT_AS": limits.memory_bytes,
                "RLIMIT_NPROC": processes,
            },
        }


class _Supervised:
    """A command by its supervisor."""

    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary
        self.problem = b""

    def hear(self, text: bytes) -> None:
        """Take what the supervisor says, which it does only when it cannot start the command."""
        self.problem += text

    def elsewhere(self) -> DiskUsage:
        """Return the size of the command's temporary folder."""
        return measure(self._temporary)

    def empty(self, process: subprocess.Popen[bytes]) -> None:
        """Have the supervisor kill what is left; a supervisor that has ended has done so."""
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise SandboxError("a command under Landlock could not be ended") from error


def landlock_version() -> int:
    """Return the version of Landlock in this kernel.

    Raises:
        SandboxError: There is none, or it is switched off.
    """
    library = ctypes.CDLL(None, use_errno=True)
    version = int(library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION))
    if version < 1:
        raise SandboxError(
            f"this kernel offers no Landlock ({os.strerror(ctypes.get_errno())}): Linux 5.13 and lsm=landlock do"
        )
    return version


@functools.cache
def _grants() -> tuple[tuple[str, str], ...]:
    """Return the files that every command may open, as `run.ruleset` takes them."""
    grants: list[tuple[str, str]] = []
    for folder in (*host_paths.visible_folders(), "/bin", "/lib", "/lib32", "/lib64"):
        if not os.path.islink(folder) and os.path.isdir(folder):
            grants += _readable(folder, host_paths.hidden_folders())
    grants += [(path, "read") for path in _FILES]
    return (*grants, *((path, "device") for path in _DEVICES))


def _readable(folder: str, hidden: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield a folder without those that are hidden: rules can only allow, so all others are allowed one by one."""
    if folder in hidden:
        return
    if not any(place.startswith(f"{folder}/") for place in hidden):
        yield folder, "read"
        return
    yield folder, "list"
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _readable(entry.path, hidden)
        elif entry.is_file():
            yield entry.path, "read"


def _is_closed(folder: Path) -> bool:
    """Return whether a folder lets only some users pass."""
    return not folder.stat().st_mode & stat.S_IXOTH


def _may_search() -> bool:
    """Return whether root here has the right to pass through and read everything; in containers it often has not."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) & 1 << 2)


def _num_threads_of_user() -> int:
    """Return processes and threads of this user, which the kernel's limit counts in."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == os.geteuid():
                total += len(os.listdir(f"/proc/{pid}/task"))
    return total
