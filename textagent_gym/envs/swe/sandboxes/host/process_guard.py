"""Supervision that all tiers share: start one command, feed and watch it, and end it with all that it has started."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO, Protocol

from textagent_gym.envs.swe.sandboxes.base import Command, Limits, SandboxError, SandboxResult, Stop
from textagent_gym.envs.swe.sandboxes.host.disk_usage import DiskUsage, measure
from textagent_gym.envs.swe.sandboxes.host.memory_group import MemoryGroup

FIRST_LOOK = 0.1
"""Seconds before a command is first looked at: quick ones pay nothing."""

INTERVAL = 0.05
"""Seconds between looks; longer where a look takes long, so that looking takes a fifth of the time at most."""

_CHUNK = 1 << 16


class ProcessGuard(Protocol):
    """A tier's hold on the command that it has started."""

    def hear(self, text: bytes) -> None:
        """Take what came on the status pipe, if the tier has one."""

    def elsewhere(self) -> DiskUsage:
        """Return the size of what the command wrote outside the work tree, if that is not limited already."""

    def empty(self, process: subprocess.Popen[bytes]) -> None:
        """Kill everything that is left of the command, and return when nothing runs any more."""


def supervise(
    command: Command,
    *,
    guard: ProcessGuard,
    before: DiskUsage,
    program: str | None = None,
    folder: str | None = None,
    descriptors: Sequence[int] = (),
    status: tuple[int, int] | None = None,
    group: MemoryGroup | None = None,
) -> SandboxResult:
    """Run a program under limits that are looked after from outside.

    Args:
        command: The program with paths of the host and all its variables; mounts are not looked at.
        guard: How to end it.
        before: What the work tree holds, whose growth is limited.
        program: Path of the program, where the first argument does not tell it.
        folder: Where it starts.
        descriptors: Open files that it inherits.
        status: A pipe on which the tier's own program reports, reading end first; both ends are closed here.
        group: Control group for its processes.

    Raises:
        SandboxError: It could not be started.
    """
    inherited = [*descriptors, *(status[1:] if status else ())]
    try:
        process = subprocess.Popen(
            command.argv,
            executable=program,
            stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=command.environment,
            pass_fds=inherited,
            start_new_session=True,
            bufsize=0,
        )
    except (OSError, ValueError) as error:
        for descriptor in status or ():
            os.close(descriptor)
        if isinstance(error, ValueError) or error.errno == errno.E2BIG:
            # What the kernel cannot take as an argument is the command's fault, as in a shell.
            return SandboxResult(returncode=126, output=f"the command cannot be run: {error}".encode())
        raise SandboxError(f"{command.argv[0]} cannot be started: {error}") from error
    if status is not None:
        os.close(status[1])
    if group is not None:
        group.add([process.pid])
        group.add(processes_below(process.pid)[1:])  # those that it had started before
    run = _Run(process, guard, command, before, status[0] if status else None, group)
    result = run.until_the_end()
    if result.stopped is None and group is not None and group.has_killed:
        return replace(result, returncode=-1, stopped="memory")
    return result


def unnamed_file(content: bytes) -> BinaryIO:
    """Return an open file without a name, for a program that inherits it and reads it from its beginning."""
    file = open(os.memfd_create("sandbox"), "w+b")  # noqa: SIM115 (its caller closes it)
    file.write(content)
    file.seek(0)
    return file


class _Run:
    def __init__(
        self,
        process: subprocess.Popen[bytes],
        guard: ProcessGuard,
        command: Command,
        before: DiskUsage,
        status: int | None,
        group: MemoryGroup | None,
    ) -> None:
        assert process.stdout is not None
        self._process, self._guard, self._before = process, guard, before
        self._worktree, self._limits = command.worktree, command.limits
        self._output, self._out = bytearray(), process.stdout.fileno()
        self._input = memoryview(command.stdin)
        self._in = process.stdin.fileno() if process.stdin is not None else None
        self._status = status
        self._group = group
        self._dead = os.pidfd_open(process.pid)
        self._poll = select.poll()

    def until_the_end(self) -> SandboxResult:
        """See the program through to its end."""
        started = time.monotonic()
        stopped: Stop | None = None
        try:
            try:
                self._listen()
                stopped = self._attend(started)
            finally:
                self._end()
            stopped = stopped or self._drain()
        finally:
            self._close()
        output = bytes(self._output[: self._limits.output_bytes])
        if stopped is not None:
            return SandboxResult(returncode=-1, output=output, stopped=stopped)
        code = self._process.returncode
        return SandboxResult(returncode=128 - code if code < 0 else code, output=output)

    def _listen(self) -> None:
        for reading in (self._out, self._dead, *(() if self._status is None else (self._status,))):
            self._poll.register(reading, select.POLLIN)
        os.set_blocking(self._out, False)
        if self._status is not None:
            os.set_blocking(self._status, False)
        if self._in is not None:
            os.set_blocking(self._in, False)
            self._poll.register(self._in, select.POLLOUT)

    def _attend(self, started: float) -> Stop | None:
        """Serve the pipes and looks at what is used, until the program ends or has to be ended."""
        deadline = started + self._limits.seconds
        look_at = started + FIRST_LOOK
        while True:
            now = time.monotonic()
            if now >= deadline:
                return "time"
            if now >= look_at:
                if excess := self._excess():
                    return excess
                spent = time.monotonic() - now
                look_at = now + max(INTERVAL, 5 * spent)
            wait = max(0.0, min(deadline, look_at) - time.monotonic())
            ready = {descriptor for descriptor, _ in self._poll.poll(wait * 1000 + 1)}
            self._serve(ready)
            if len(self._output) > self._limits.output_bytes:
                return "output"
            if self._dead in ready:
                return None

    def _serve(self, ready: set[int]) -> None:
        if self._status in ready:
            self._hear()
        if self._in in ready:
            self._feed()
        if self._out in ready and not self._read():
            self._poll.unregister(self._out)

    def _hear(self) -> bool:
        """Take what the status pipe has; whether there may be more at once."""
        assert self._status is not None
        try:
            text = os.read(self._status, _CHUNK)
        except BlockingIOError:
            return False
        if text:
            self._guard.hear(text)
            if self._group is not None:  # a process that was started before the first one had been moved
                self._group.add(processes_below(self._process.pid))
            return True
        self._poll.unregister(self._status)
        os.close(self._status)
        self._status = None
        return False

    def _feed(self) -> None:
        assert self._in is not None
        assert self._process.stdin is not None
        try:
            self._input = self._input[os.write(self._in, self._input[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._input = self._input[:0]
        if not self._input:
            self._poll.unregister(self._in)
            self._process.stdin.close()
            self._in = None

    def _read(self) -> bool:
        """Take what is there to read; whether there may be more one day."""
        try:
            text = os.read(self._out, _CHUNK)
        except BlockingIOError:
            return True
        self._output += text
        return bool(text)

    def _excess(self) -> Stop | None:
        limits = self._limits
        pids = processes_below(self._process.pid)
        if len(pids) > limits.num_processes + 8:  # the tier's own programs are among them
            return "processes"
        if memory_of(pids, limits.memory_bytes) > limits.memory_bytes or (self._group and self._group.has_killed):
            return "memory"
        return "disk" if self._grown_too_much(pids) else None

    def _grown_too_much(self, pids: Sequence[int]) -> bool:
        before, elsewhere = self._before, self._guard.elsewhere()
        most = before.num_files + self._limits.num_files - elsewhere.num_files
        now = measure(self._worktree, most)
        now.num_files += elsewhere.num_files
        now.disk_bytes += elsewhere.disk_bytes
        if not exceeds(now, before, self._limits):
            now.disk_bytes += _unnamed_bytes(pids, os.stat(self._worktree).st_dev)
        return exceeds(now, before, self._limits)

    def _end(self) -> None:
        self._hear_out()
        self._guard.empty(self._process)
        self._process.wait()

    def _hear_out(self) -> None:
        # Not until its end: a fork of ours in another thread may hold the other side open.
        while self._status is not None and self._hear():
            pass

    def _drain(self) -> Stop | None:
        """Read what is left in the pipe when all who wrote to it are gone."""
        self._hear_out()
        while len(self._output) <= self._limits.output_bytes:
            size = len(self._output)
            if not self._read() or len(self._output) == size:
                break
        if len(self._output) > self._limits.output_bytes:
            return "output"
        return None

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        os.close(self._dead)
        if self._status is not None:
            os.close(self._status)


def exceeds(now: DiskUsage, before: DiskUsage, limits: Limits) -> bool:
    """Return whether a tree has grown by more than what is allowed."""
    grown = now.disk_bytes - before.disk_bytes > limits.disk_bytes
    return grown or now.num_files - before.num_files > limits.num_files or now.too_deep


def processes_below(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                found += map(int, _text(f"/proc/{parent}/task/{thread}/children").split())
    return found


def memory_of(pids: Sequence[int], enough: int) -> int:
    """Return bytes that processes have in memory apart from files.

    What they share is counted for each at first, which is quick; if that comes to more than `enough`, it is counted again
    with what is shared divided among the sharers. Shared memory without a file counts once for all, with all pages that it
    has: a process can give its own view of them back, and the pages stay.
    """
    shared = sum(deleted_mappings(pids, memory=True).values())
    private = sum(_kilobytes(f"/proc/{pid}/status", ("RssAnon:",)) for pid in pids) << 10
    seen = sum(_kilobytes(f"/proc/{pid}/status", ("RssShmem:",)) for pid in pids) << 10
    quick = private + max(shared, seen)
    if quick <= enough:
        return quick
    private = sum(_kilobytes(f"/proc/{pid}/smaps_rollup", ("Pss_Anon:",)) for pid in pids) << 10
    seen = sum(_kilobytes(f"/proc/{pid}/smaps_rollup", ("Pss_Shmem:",)) for pid in pids) << 10
    exact = private + max(shared, seen)
    return exact if private else quick  # nothing, where the kernel does not let us see it


def deleted_mappings(pids: Sequence[int], *, memory: bool) -> dict[tuple[int, int], int]:
    """Return device and inode -> bytes of what processes have mapped and no folder names.

    Args:
        pids: The processes.
        memory: True if shared memory is asked for, rather than files.
    """
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        for line in _text(f"/proc/{pid}/maps").split("\n"):
            if not line.endswith(" (deleted)"):
                continue
            place, _, offset, device, inode, path = line.split(None, 5)
            if path.startswith(("/dev/zero", "/memfd:", "/SYSV")) != memory:
                continue
            try:
                status = os.stat(f"/proc/{pid}/map_files/{place}")
                key, size = (status.st_dev, status.st_ino), status.st_blocks * 512
            except OSError:  # only root may look there: it is taken to be full as far as it is mapped
                start, end = (int(address, 16) for address in place.split("-"))
                major, minor = (int(number, 16) for number in device.split(":"))
                key, size = (os.makedev(major, minor), int(inode)), int(offset, 16) + end - start
            found[key] = max(found.get(key, 0), size)
    return found


def _kilobytes(path: str, names: tuple[str, ...]) -> int:
    return sum(int(line.split()[1]) for line in _text(path).split("\n") if line.startswith(names))


def _unnamed_bytes(pids: Sequence[int], device: int) -> int:
    """Return space of files that processes hold open or mapped without a name: no walk through a tree finds them."""
    mapped = deleted_mappings(pids, memory=False)
    found = {key: size for key, size in mapped.items() if key[0] == device}  # no library that the host has replaced
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    status = os.stat(f"/proc/{pid}/fd/{descriptor}")
                    if status.st_nlink == 0:
                        found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""  # the process is gone
