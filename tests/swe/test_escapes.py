"""Escapes from the protected tiers, as an attacker tried them."""

import errno
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from textagent_gym.envs.swe.repo.mounts import can_mount
from textagent_gym.envs.swe.repo.tree import MAX_CHANGED_BYTES, read_changes, room_for, scratch_folder
from textagent_gym.envs.swe.sandboxes.base import Command, Limits, Sandbox, SandboxError, SandboxResult
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sandboxes.host.disk_usage import measure, take_back
from textagent_gym.envs.swe.sandboxes.host.memory_group import memory_group

pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sandboxes need Linux"),
]

MEGABYTE = 1 << 20


class SandboxRunner:
    """A work tree and a sandbox for it."""

    def __init__(self, sandbox: Sandbox, worktree: Path) -> None:
        self.sandbox, self.worktree = sandbox, worktree

    def python(self, program: str, **limits: Any) -> SandboxResult:
        command = [self.sandbox.python, "-I", "-c", program]
        return self.sandbox.run(Command(command, worktree=self.worktree, limits=Limits(**{"seconds": 60.0, **limits})))


@pytest.fixture(params=["bubblewrap", "landlock"])
def runner(request: pytest.FixtureRequest) -> Iterator[SandboxRunner]:
    try:
        sandbox = choose_sandbox(request.param)
    except SandboxError as error:
        pytest.skip(str(error))
    with scratch_folder() as worktree:
        yield SandboxRunner(sandbox, worktree)


# --- what the kernel is asked for

FAMILIES = """
import json, socket
opened = []
for family in range(1, 46):
    for kind in (1, 2, 3, 5):
        for make in (socket.socket, socket.socketpair):
            try:
                make(family, kind)
                opened.append(family)
            except OSError:
                pass
print(json.dumps(sorted(set(opened))))
"""


def test_only_sockets_that_stay_inside_can_be_opened(runner: SandboxRunner) -> None:
    outcome = runner.python(FAMILIES)
    opened = json.loads(outcome.output)
    name = runner.sandbox.protection.name
    assert set(opened) <= ({1, 2, 10} if name == "bubblewrap" else {1})
    assert 1 in opened


CALLS = """
import ctypes, json, platform
library = ctypes.CDLL(None, use_errno=True)
numbers = {"x86_64": [64, 68, 29, 240, 285, 294], "aarch64": [190, 186, 194, 180, 47, 26]}[platform.machine()]
semget, msgget, shmget, mq_open, fallocate, inotify = numbers
made = []
file = open("sized", "w")
for name, call in [
    ("semget", (semget, 0, 8, 0o1600)), ("msgget", (msgget, 0, 0o1600)), ("shmget", (shmget, 0, 4096, 0o1600)),
    ("mq_open", (mq_open, b"queue", 0o102, 0o600, 0)), ("inotify", (inotify, 0)),
    ("fallocate", (fallocate, file.fileno(), 0, ctypes.c_long(0), ctypes.c_long(1 << 30))),
]:
    if library.syscall(*call) >= 0:
        made.append(name)
import os
os.posix_fallocate(file.fileno(), 0, 4096)
print(json.dumps([made, os.stat("sized").st_size]))
"""


def test_nothing_is_kept_in_the_kernel_and_no_space_is_taken_unwritten(runner: SandboxRunner) -> None:
    made, size = json.loads(runner.python(CALLS).output)
    assert made == []
    assert size == 4096, "the C library writes where the kernel does not allocate"


LOCKS = """
import fcntl, sys, time
file = open(sys.executable, "rb")
fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("locked", flush=True)
time.sleep(1)
"""


def test_locks_on_programs_of_the_host_are_the_command_s_alone() -> None:
    sandbox = choose_sandbox("bubblewrap")
    if any("locks on programs" in gap for gap in sandbox.protection.gaps):
        pytest.skip("this user cannot put layers of folders together")
    with scratch_folder() as one, scratch_folder() as other, ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda worktree: SandboxRunner(sandbox, worktree).python(LOCKS), [one, other])
        assert [result.output for result in results] == [b"locked\n"] * 2


# --- memory and disk that a walk does not find

COLD = """
import mmap, os, time
for _ in range(3):
    if os.fork() == 0:
        kept = []
        for _ in range(8):
            view = mmap.mmap(-1, 20 << 20)
            for place in range(0, len(view), 4096):
                view[place] = 1
            view.madvise(mmap.MADV_DONTNEED)
            kept.append(view)
        time.sleep(20)
        os._exit(0)
time.sleep(20)
"""


def test_shared_memory_counts_when_nobody_looks_at_it(runner: SandboxRunner) -> None:
    assert runner.python(COLD, memory_bytes=300 * MEGABYTE).stopped == "memory"


BURST = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        held = bytearray(150 << 20)
        time.sleep(5)
        os._exit(0)
time.sleep(5)
print("held")
"""


def test_a_control_group_ends_what_nobody_looks_at(runner: SandboxRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(memory_bytes=300 * MEGABYTE, disk_bytes=16 * MEGABYTE)
    with memory_group(limits) as group:
        if group is None:
            pytest.skip("this process may make no control group")
    monkeypatch.setattr("textagent_gym.envs.swe.sandboxes.host.process_guard.FIRST_LOOK", 100.0)
    result = runner.python(BURST, memory_bytes=limits.memory_bytes, disk_bytes=limits.disk_bytes)
    assert result.stopped == "memory"


def test_a_command_within_its_memory_is_left_alone_and_no_group_stays(runner: SandboxRunner) -> None:
    assert runner.python("x = bytearray(100 << 20); print('had')", memory_bytes=400 * MEGABYTE).output == b"had\n"
    assert not list(Path("/sys/fs/cgroup").rglob(f"textagent-{os.getpid()}-*"))


SHARED = """
import mmap, os
view = mmap.mmap(-1, 100 << 20)
for place in range(0, len(view), 4096):
    view[place] = 1
for _ in range(4):
    if os.fork() == 0:
        total = sum(view[place] for place in range(0, len(view), 4096))
        os._exit(total != 25600)
for _ in range(4):
    assert os.wait()[1] == 0
import time
time.sleep(0.5)
print("shared")
"""


def test_memory_that_is_shared_counts_once(runner: SandboxRunner) -> None:
    assert runner.python(SHARED, memory_bytes=400 * MEGABYTE).output == b"shared\n"


MAPPED = """
import mmap, os, time
kept = []
for number in range(12):
    with open("held", "w+b") as file:
        for _ in range(8):
            file.write(bytes(1 << 20))
        file.flush()
        kept.append(mmap.mmap(file.fileno(), 0))
    os.unlink("held")
time.sleep(20)
"""


def test_files_that_only_a_mapping_holds_count(runner: SandboxRunner) -> None:
    assert runner.python(MAPPED, disk_bytes=32 * MEGABYTE).stopped == "disk"


IN_FLIGHT = """
import os, socket
kept = []
try:
    for number in range(100):
        kept.append(socket.socketpair())
        with open("file", "wb") as file:
            file.write(bytes(1 << 20))
            socket.send_fds(kept[-1][0], [b"x"], [file.fileno()])
        os.unlink("file")
except OSError as error:
    print(error.errno)
print(len(kept))
try:
    print([line.split()[3] for line in open("/proc/self/mountinfo") if line.split()[4] == "/testbed"])
except PermissionError:
    print([])
"""


@pytest.mark.parametrize("kind", ["bubblewrap", "landlock"])
def test_files_in_flight_have_their_space_in_a_sized_work_tree(kind: Any) -> None:
    if not can_mount():
        pytest.skip("this process may not mount a file system")
    with scratch_folder(*room_for({}, 16 * MEGABYTE, 100)) as worktree:
        result = SandboxRunner(choose_sandbox(kind), worktree).python(IN_FLIGHT, disk_bytes=16 * MEGABYTE)
        if result.stopped != "disk":
            error, number, shown = result.output.decode().splitlines()
            assert (int(error), int(number)) == (errno.ENOSPC, 22)
            assert shown == ("['/']" if kind == "bubblewrap" else "[]"), "no path of the host"
        assert not list(worktree.iterdir()) or [path.name for path in worktree.iterdir()] == ["file"]


def test_a_sized_folder_is_full_at_its_size_and_gone_at_the_end() -> None:
    if not can_mount():
        pytest.skip("this process may not mount a file system")
    with scratch_folder(1 << 20, 50) as folder:
        assert os.path.ismount(folder)
        with pytest.raises(OSError, match="No space left"):
            (folder / "file").write_bytes(bytes(2 << 20))
        with pytest.raises(OSError, match="No space left"):
            for number in range(60):
                (folder / f"{number}").touch()
    assert not folder.exists()


def test_what_a_killed_process_had_mounted_is_taken_off() -> None:
    if not can_mount():
        pytest.skip("this process may not mount a file system")
    program = (
        "import os, sys\nfrom textagent_gym.envs.swe.repo.tree import scratch_folder\n"
        "with scratch_folder(1 << 20, 50) as folder:\n    print(folder, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    left = Path(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stdout.strip()
    )
    assert os.path.ismount(left)
    again = program.replace("os.kill(os.getpid(), 9)", "pass")
    subprocess.run([sys.executable, "-c", again], capture_output=True, check=True)
    assert not left.exists()


HOLES = """
import os
for number in range(3000):
    with open(f"{number}", "wb") as file:
        file.truncate(1_000_000)
"""


def test_files_of_holes_cost_the_host_no_time(runner: SandboxRunner) -> None:
    assert runner.python(HOLES).returncode == 0
    started = time.process_time()
    changes, refused = read_changes(runner.worktree, {})
    assert time.process_time() - started < 2
    assert sum(len(content or b"") for content in changes.values()) <= MAX_CHANGED_BYTES
    assert len(changes) + len(refused) == 3000


CLOSED = """
import os, time
os.mkdir("d")
os.chdir("d")
for number in range(5):
    with open(f"{number}", "wb") as file:
        file.write(bytes(10 << 20))
os.chmod(".", 0o300)
time.sleep(20)
"""


def test_a_closed_folder_hides_nothing(runner: SandboxRunner) -> None:
    assert runner.python(CLOSED, disk_bytes=16 * MEGABYTE).stopped == "disk"


@pytest.mark.parametrize("mode", ["000", "300", "111"])
def test_a_work_tree_that_is_closed_is_no_failure_of_the_sandbox(runner: SandboxRunner, mode: str) -> None:
    outcome = runner.python(
        f"import os, time; open('x', 'w'); os.chmod('.', 0o{mode}); time.sleep(0.5); print('closed')"
    )
    assert (outcome.output, outcome.stopped) == (b"closed\n", None)
    assert (runner.worktree / "x").exists()


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o200, 0o300, 0o400])
def test_an_ordinary_user_counts_what_closed_folders_hold(mode: int) -> None:
    """Root opens anything; so a child of this process becomes somebody, where it is root's."""
    with scratch_folder() as folder:
        folder.chmod(0o777)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if os.geteuid() == 0:
                    os.setresuid(12_345, 12_345, 12_345)
                top = folder / "top"
                top.mkdir()
                for place in (top / "d", top / "d" / "below"):
                    place.mkdir()
                    (place / "file").write_bytes(bytes(1 << 20))
                for place in (top / "d" / "below", top / "d", top):
                    place.chmod(mode)
                found = measure(top)
                kept = stat.S_IMODE(top.stat().st_mode) == mode
                code = 0 if (found.num_files, found.disk_bytes >> 20, kept) == (4, 2, True) else 2
                take_back(top, None)
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
