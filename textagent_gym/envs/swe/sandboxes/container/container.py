"""The container tier: every command in a fresh container of the task's own image, through Docker or podman.

The image brings the interpreter, the installed packages and pytest, as SWE-Gym's and SWE-bench's do. A container has no
network, no capabilities, a read-only file system but for /tmp and /dev/shm, and the work tree as its `/testbed`; it is
removed when its command ends, whatever happens. The engine has to run on this machine, as it mounts the work tree.

Who runs the command follows from the engine: where root asks an engine of root's, a user whom nobody else is, and who owns
the work tree meanwhile; where an ordinary user asks such an engine, that user; in a rootless engine the root of the
container, who is the asking user outside. So what a command leaves behind can always be removed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from textagent_gym.envs.swe.repo.tree import scratch_folder
from textagent_gym.envs.swe.sandboxes.base import TESTBED, Command, Protection, SandboxError, SandboxResult, Stop
from textagent_gym.envs.swe.sandboxes.container.engine import (
    LABEL,
    discard,
    docker_package,
    engine,
    find_image,
    owner,
    translated,
)
from textagent_gym.envs.swe.sandboxes.host.disk_usage import DiskUsage, hand_over, measure, take_back
from textagent_gym.envs.swe.sandboxes.host.process_guard import FIRST_LOOK, INTERVAL, exceeds
from textagent_gym.envs.swe.sandboxes.host.users import free_user

_CHUNK = 1 << 16
_MAX_ARGUMENT = (1 << 17) - 1  # the kernel's, in bytes

# The shell stays the first process: it buries orphans, and a command that is the first process would not die of signals. The
# command's standard error goes to its output, in the order of writing; the shell's own carries what the kernel counted.
_EXEC = (
    'ulimit -c 0; ulimit -n 1024; ulimit -f {blocks}; (exec "$@" 2>&1); code=$?; '
    "cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control >&2; exit $code"
)
_OOM = re.compile(rb"^oom_kill [1-9]", re.M)

_FIND_PYTHON = (
    'for found in /opt/*/envs/testbed/bin/python; do if [ -x "$found" ]; then echo "$found"; exit; fi; done; '
    "command -v python3"
)
_PASSWD = "root:x:0:0::/:/bin/false\nagent:x:{user}:{group}::/tmp:/bin/sh\n"


@functools.cache
def container_sandbox(image: str) -> ContainerSandbox:
    """Return the sandbox of an image, the same one at each call.

    Raises:
        SandboxError: No container engine answers, or it does not have the image.
        gymnasium.error.DependencyNotInstalled: The package `docker` is not installed.
    """
    return ContainerSandbox(image)


class ContainerSandbox:
    """Runs each command in a container of its own.

    Args:
        image: Name of an image that the engine has, with a POSIX shell, `cat` and Python in it.

    Raises:
        SandboxError: No container engine answers, or it does not have the image.
        gymnasium.error.DependencyNotInstalled: The package `docker` is not installed.
    """

    brings_pytest = True

    def __init__(self, image: str) -> None:
        found = find_image(image)
        self._name = image
        self.identity: str = found.id
        variables = dict(entry.partition("=")[::2] for entry in found.attrs["Config"].get("Env") or ())
        self._path: str = variables.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
        with translated("describe itself"):
            self._info: dict[str, Any] = engine().info()
        options = self._info.get("SecurityOptions") or ()
        self._rootless = any("rootless" in option for option in options)
        self._remapped = any("userns" in option for option in options)

    @functools.cached_property
    def protection(self) -> Protection:
        """Protection of the host."""
        details = engine().version()
        name = next((part["Name"] for part in details.get("Components") or ()), "Docker")
        rights = "rootless" if self._rootless else "as root"
        return Protection(
            name="container",
            detail=f"{name} {details.get('Version', '?')} {rights}, {self._name}",
            gaps=tuple(self._gaps()),
        )

    def _gaps(self) -> Iterator[str]:
        yield "The kernel is the host's: a hole in it, or in the container engine, is a hole in the sandbox."
        if not self._rootless:
            yield "The engine runs as root, so that a hole in it leads to all of the host."
        yield "The work tree is measured some twenty times a second, without files that are open and have no name."
        yield "The number of files in /tmp and /dev/shm is limited by memory alone."
        yield "Where this process is killed, its command goes on until the next start of such a sandbox removes it."
        for key, what in (("MemoryLimit", "Memory is"), ("PidsLimit", "The number of processes is")):
            if not self._info.get(key):
                yield f"{what} not limited: the engine has no control group for it."
        if not any("seccomp" in option for option in self._info.get("SecurityOptions") or ()):
            yield "No system call is refused: the engine does not filter them."

    @functools.cached_property
    def python(self) -> str:
        """The Python interpreter, as a path inside: that of the conda environment `testbed`, or `python3`.

        Raises:
            SandboxError: The image has none.
        """
        with scratch_folder() as worktree:
            find = ["/bin/sh", "-c", _FIND_PYTHON]
            result = self._run(Command(find, worktree=worktree, environment={"PATH": self._path}))
        found = result.output.decode("utf-8", "replace").strip()
        if result.returncode or not found.startswith("/"):
            raise SandboxError(f"expected a Python interpreter in the image {self._name}, got none")
        return found

    @functools.cached_property
    def _variables(self) -> dict[str, str]:
        folder = os.path.dirname(self.python)
        fixed = {"PATH": f"{folder}:{self._path}", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}
        if folder.endswith("/envs/testbed/bin"):
            fixed |= {"CONDA_DEFAULT_ENV": "testbed", "CONDA_PREFIX": os.path.dirname(folder)}
        return fixed

    def run(self, command: Command) -> SandboxResult:
        """Run one command; see `Sandbox.run`."""
        arguments = [argument.encode("utf-8", "surrogatepass") for argument in command.argv]
        if any(b"\0" in argument or len(argument) > _MAX_ARGUMENT for argument in arguments):
            return SandboxResult(
                returncode=126, output=b"the command cannot be run: an argument is too long or holds a NUL"
            )
        return self._run(replace(command, environment={**command.environment, **self._variables}))

    def _run(self, command: Command) -> SandboxResult:
        worktree, limits = command.worktree, command.limits
        user, group = self._user()
        gives = user not in (0, os.geteuid())
        before = hand_over(worktree, user) if gives else measure(worktree)
        try:
            with scratch_folder() as folder, translated("run a container (it has to run on this machine)"):
                passwd = folder / "passwd"
                passwd.write_text(_PASSWD.format(user=user, group=group), encoding="ascii")
                seen = {**command.mounts, **({"/etc/passwd": passwd} if user else {})}
                options = self._options(replace(command, mounts=seen))
                container = engine().containers.create(**options, user=f"{user}:{group}")
                try:
                    result = _Conversation(container, command, before).until_the_end()
                finally:
                    discard(container)
        finally:
            after = take_back(worktree, os.geteuid() if gives else None)
        if result.stopped is None and exceeds(after, before, limits):
            return replace(result, returncode=-1, stopped="disk")
        return result

    def _user(self) -> tuple[int, int]:
        """Return the user and the group that run the command, as the container numbers them."""
        if self._rootless:
            return 0, 0
        if os.geteuid() == 0:
            user = free_user()
            return user, user
        return os.geteuid(), os.getegid()

    def _options(self, command: Command) -> dict[str, Any]:
        """Return the options of the container; no rlimits are requested, as podman then raises those that are not named."""
        mount, limits = docker_package().types.Mount, command.limits
        size = max(limits.disk_bytes // 4, 1 << 16)
        return {
            "image": self.identity,
            "entrypoint": ["/bin/sh", "-c", _EXEC.format(blocks=limits.disk_bytes >> 9), "sandbox"],
            "command": list(command.argv),
            "working_dir": TESTBED,
            "environment": dict(command.environment),
            "labels": {LABEL: owner()},
            "hostname": "sandbox",
            "stdin_open": bool(command.stdin),
            "network_mode": "none",
            "ipc_mode": "private",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "read_only": True,
            "tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={size}"},
            "shm_size": size,
            "mem_limit": limits.memory_bytes,
            "memswap_limit": limits.memory_bytes,
            "pids_limit": limits.num_processes + 1,  # the shell is one more
            "log_config": {"Type": "none"},
            "mounts": [mount(TESTBED, str(command.worktree), type="bind")]
            + [mount(inside, str(outside), type="bind", read_only=True) for inside, outside in command.mounts.items()],
            **({"userns_mode": "host"} if self._remapped else {}),
        }


class _Conversation:
    """Input and output of one container, from its start to its end."""

    def __init__(self, container: Any, command: Command, before: DiskUsage) -> None:
        self._container, self._before = container, before
        self._worktree, self._limits = command.worktree, command.limits
        self._input, self._feeds = memoryview(command.stdin), bool(command.stdin)
        self._frames = _Frames()
        self._poll = select.poll()

    def until_the_end(self) -> SandboxResult:
        """Start the container, and see its command through to its end or to a limit."""
        streams = {"stdin": int(self._feeds), "stdout": 1, "stderr": 1, "stream": 1}
        stream = engine().api.attach_socket(self._container.id, params=streams)
        self._socket: socket.socket = getattr(stream, "_sock", stream)
        try:
            self._socket.setblocking(False)
            self._poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._feeds else 0))
            self._container.start()
            deadline = time.monotonic() + self._limits.seconds
            stopped = self._attend(deadline)
            code = None if stopped else self._exit_code(deadline)
        finally:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # or the engine waits for us to read what is left
            stream.close()
            self._socket.close()
        return self._outcome(code, stopped)

    def _attend(self, deadline: float) -> Stop | None:
        """Serve the connection and look at the tree, until the output ends or a limit is reached."""
        look_at = time.monotonic() + FIRST_LOOK
        while True:
            now = time.monotonic()
            if now >= deadline:
                return "time"
            if now >= look_at:
                most = self._before.num_files + self._limits.num_files
                if exceeds(measure(self._worktree, most), self._before, self._limits):
                    return "disk"
                look_at = time.monotonic() + max(INTERVAL, 5 * (time.monotonic() - now))
            wait = max(0.0, min(deadline, look_at) - time.monotonic())
            for _, event in self._poll.poll(wait * 1000 + 1):
                if event & select.POLLOUT:
                    self._feed()
                if event & ~select.POLLOUT and not self._read():
                    return None
            if len(self._frames.output) > self._limits.output_bytes:
                return "output"

    def _feed(self) -> None:
        try:
            self._input = self._input[self._socket.send(self._input[:_CHUNK]) :]
            if not self._input:
                self._socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self._input = self._input[:0]  # it ended without reading all
        if not self._input:
            self._poll.modify(self._socket, select.POLLIN)

    def _read(self) -> bool:
        """Take what is there to read; whether there may be more."""
        try:
            text = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._frames.take(text)
        return bool(text)

    def _exit_code(self, deadline: float) -> int | None:
        """Return the status with which the container ended, or None where it did not in time."""
        import requests.exceptions

        try:
            # The engine is granted a moment to notice the end.
            return int(self._container.wait(timeout=max(5.0, deadline - time.monotonic()))["StatusCode"])
        except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
            return None

    def _outcome(self, code: int | None, stopped: Stop | None) -> SandboxResult:
        output = bytes(self._frames.output[: self._limits.output_bytes])
        if stopped is None and code is None:
            stopped = "time"
        if stopped is None and self._out_of_memory():
            stopped = "memory"
        if stopped is None and len(self._frames.output) > self._limits.output_bytes:
            stopped = "output"
        if stopped is not None or code is None:
            return SandboxResult(returncode=-1, output=output, stopped=stopped)
        return SandboxResult(returncode=code, output=output)

    def _out_of_memory(self) -> bool:
        """Return whether the kernel killed a process for memory: as the command's control group tells, or the engine."""
        if _OOM.search(self._frames.aside):
            return True
        self._container.reload()
        return bool(self._container.attrs["State"].get("OOMKilled"))


class _Frames:
    """Takes apart the two streams that the engine sends as one, each piece behind eight bytes: stream, 0, 0, 0, length."""

    def __init__(self) -> None:
        self.output, self.aside = bytearray(), bytearray()
        self._waiting = bytearray()

    def take(self, text: bytes) -> None:
        """Take what came, whole pieces or not."""
        self._waiting += text
        while len(self._waiting) >= 8:
            size = int.from_bytes(self._waiting[4:8], "big")
            if len(self._waiting) < 8 + size:
                return
            stream = self.aside if self._waiting[0] == 2 else self.output
            stream += self._waiting[8 : 8 + size]
            del self._waiting[: 8 + size]
