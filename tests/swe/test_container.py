"""The container tier on a real engine: what a command cannot do, and a task in an image from its row to its grade."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import pytest

from tests.support import calc, podman
from textagent_gym.envs.swe.env import SWEGymEnv, SweTask
from textagent_gym.envs.swe.grading.grader import grade
from textagent_gym.envs.swe.repo.patches import apply_patch
from textagent_gym.envs.swe.repo.tree import scratch_folder, texts
from textagent_gym.envs.swe.sandboxes.base import Command, Limits, SandboxError, SandboxResult
from textagent_gym.envs.swe.sandboxes.container.container import ContainerSandbox, container_sandbox
from textagent_gym.envs.swe.sandboxes.container.engine import LABEL, engine
from textagent_gym.envs.swe.sources.datasets import adapt, swebench_row
from textagent_gym.envs.swe.sources.formats import write_instances
from textagent_gym.envs.swe.sources.images import image_tree, read_archive
from textagent_gym.envs.swe.tasks import prepare_task

pytest.importorskip("docker", reason="the package docker is not installed")
pytestmark = pytest.mark.slow

CHEAT = """
import sys
reports = sys.modules.get("_pytest.reports")
if reports is not None:
    reports.TestReport.from_item_and_call = classmethod(
        lambda cls, item, call: cls(item.nodeid, item.location, {}, "passed", None, call.when)
    )
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if reason := podman.missing():
        pytest.skip(reason)
    before = os.environ.get("DOCKER_HOST")
    try:
        serving = podman.serving()
        found = serving.__enter__()
    except subprocess.SubprocessError as error:
        pytest.skip(f"podman cannot be run here: {error}")
    os.environ["DOCKER_HOST"] = found
    try:
        yield found
    finally:
        engine().close()
        os.environ.pop("DOCKER_HOST")
        if before is not None:
            os.environ["DOCKER_HOST"] = before
        serving.__exit__(None, None, None)


@pytest.fixture
def runner(address: str) -> ContainerSandbox:
    return container_sandbox(podman.IMAGE)


def run(
    runner: ContainerSandbox, command: str, stdin: bytes = b"", **limits: Any
) -> tuple[SandboxResult, dict[str, bytes]]:
    with scratch_folder() as worktree:
        (worktree / "given").write_bytes(b"given")
        result = runner.run(Command(["bash", "-c", command], worktree=worktree, stdin=stdin, limits=Limits(**limits)))
        assert not [entry for entry in worktree.rglob("*") if entry.lstat().st_uid != os.geteuid()]
        left = {entry.name: entry.read_bytes() for entry in worktree.iterdir() if entry.is_file()}
    assert not engine().containers.list(all=True, filters={"label": LABEL})
    return result, left


def test_a_command_reads_its_input_and_leaves_its_files(runner: ContainerSandbox) -> None:
    result, left = run(runner, "cat given; echo warned >&2; cat > copy; pwd; exit 3", stdin=b"x" * 300_000)
    assert (result.returncode, result.output, result.stopped) == (3, b"givenwarned\n/testbed\n", None)
    assert left == {"given": b"given", "copy": b"x" * 300_000}


def test_a_signal_and_a_program_that_is_not_there_are_told_as_shells_do(runner: ContainerSandbox) -> None:
    assert run(runner, "kill -9 $$")[0].returncode == 137
    assert run(runner, "kill -TERM $$")[0].returncode == 143
    with scratch_folder() as worktree:
        for argv, code in ((["nonesuch"], 127), (["echo", "\0"], 126), (["echo", "x" * 200_000], 126)):
            result = runner.run(Command(argv, worktree=worktree))
            assert (result.returncode, result.stopped) == (code, None)


def test_mounts_can_be_read_and_nothing_outside_the_tree_can_be_written(
    runner: ContainerSandbox, tmp_path: Path
) -> None:
    (tmp_path / "greeting").write_text("greeting")
    tmp_path.chmod(0o777)
    with scratch_folder() as worktree:
        write = "cat /there/greeting; echo x > /there/y; for d in / /etc /usr /root /opt; do echo x > $d/x; done"
        result = runner.run(Command(["bash", "-c", write], worktree=worktree, mounts={"/there": tmp_path}))
    assert result.output.startswith(b"greeting")
    assert len(result.output.splitlines()) == 6, "every write failed with a line of its own"
    assert [path.name for path in tmp_path.iterdir()] == ["greeting"]


def test_a_command_has_neither_rights_nor_network(runner: ContainerSandbox) -> None:
    result, _ = run(
        runner, "grep -E '^(Cap|NoNewPrivs|Uid)' /proc/self/status; tail -n +3 /proc/net/dev; env; ls /proc"
    )
    answer = result.output.decode()
    assert all(f"Cap{kind}:\t{0:016x}" in answer for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
    assert "NoNewPrivs:\t1" in answer
    assert "Uid:\t0" not in answer
    assert "eth" not in answer
    assert "DOCKER_HOST" not in answer
    reach = "import socket; s = socket.socket(); s.settimeout(3); s.connect(('192.0.2.1', 53))"
    assert b"Network is unreachable" in run(runner, f'python3 -c "{reach}"')[0].output


@pytest.mark.parametrize(
    ("command", "limits", "stopped"),
    [
        ("sleep 60", {"seconds": 1.0}, "time"),
        ("exec > /dev/null 2>&1 < /dev/null; (trap '' TERM; sleep 60) & wait", {"seconds": 1.0}, "time"),
        ("yes", {}, "output"),
        ("python3 -c 'x = bytearray(900 << 20)'", {"memory_bytes": 200 << 20}, "memory"),
        ("for i in 1 2 3; do head -c 15000000 /dev/zero > $i; done; sleep 60", {"disk_bytes": 20 << 20}, "disk"),
        ("for i in {1..9000}; do echo > $i; done; sleep 60", {"num_files": 2_000}, "disk"),
    ],
)
def test_limits_hold(runner: ContainerSandbox, command: str, limits: dict[str, Any], stopped: str) -> None:
    result, _ = run(runner, command, **limits)
    assert (result.returncode, result.stopped) == (-1, stopped)
    assert len(result.output) <= Limits().output_bytes


def test_a_fork_bomb_and_memory_for_files_are_contained(runner: ContainerSandbox) -> None:
    result, _ = run(runner, "f() { f | f & }; f; sleep 2; echo alive", seconds=20)
    assert b"Resource temporarily unavailable" in result.output
    for place in ("/tmp", "/dev/shm"):
        result, _ = run(runner, f"head -c 100000000 /dev/zero > {place}/x", disk_bytes=64 << 20)
        assert result.returncode == 1
        assert b"No space left" in result.output


def test_nothing_outlives_its_command_and_every_mode_can_be_removed(runner: ContainerSandbox) -> None:
    result, _ = run(
        runner, "(setsid sh -c 'sleep 1; echo late > late' &); mkdir -p a/b; touch a/b/c; chmod 0 a/b a; echo ok"
    )
    assert (result.returncode, result.output) == (0, b"ok\n")


def test_containers_of_dead_processes_are_swept(runner: ContainerSandbox) -> None:
    code = (
        "import os; from textagent_gym.envs.swe.sandboxes.container.engine import LABEL, engine, owner;"
        f"c = engine().containers.create({podman.IMAGE!r}, ['sleep', '60'], labels={{LABEL: owner()}}, network_mode='none');"
        "c.start(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(engine().containers.list(filters={"label": LABEL})) == 1
    subprocess.run(
        [sys.executable, "-c", "from textagent_gym.envs.swe.sandboxes.container.engine import engine; engine()"],
        check=True,
    )
    assert not engine().containers.list(all=True, filters={"label": LABEL})


def test_the_image_is_described(runner: ContainerSandbox) -> None:
    assert runner.python == "/opt/miniconda3/envs/testbed/bin/python"
    assert runner.protection.name == "container"
    assert "Podman" in runner.protection.detail
    assert len(runner.protection.gaps) == 5
    result, _ = run(runner, "python -c 'import sys; print(sys.executable)'; id -un; echo $HOME $CONDA_DEFAULT_ENV")
    assert result.output == b"/opt/miniconda3/envs/testbed/bin/python\nagent\n/tmp testbed\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_not_there_is_said_in_a_sentence(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="fetch it with 'docker pull localhost/nonesuch:1'"):
        ContainerSandbox("localhost/nonesuch:1")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(SandboxError, match="got no answer: start Docker"):
        ContainerSandbox(podman.IMAGE)
    gc.collect()  # the package docker leaves a socket open that it could not connect


def test_the_tree_of_an_image_is_its_repository_without_git_and_links(runner: ContainerSandbox) -> None:
    assert image_tree(podman.IMAGE) == podman.TREE
    assert image_tree(podman.IMAGE) is image_tree(podman.IMAGE)


def test_an_archive_may_hold_anything() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in (
            ("testbed/a.py", b"a"),
            ("testbed/.git/x", b"x"),
            ("testbed/../../b", b"b"),
            ("testbed/a.pyc", b""),
        ):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for path, kind, target in (
            ("testbed/h.py", tarfile.LNKTYPE, "testbed/a.py"),
            ("testbed/s.py", tarfile.SYMTYPE, "/etc/passwd"),
        ):
            member = tarfile.TarInfo(path)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    pieces = [packed.getvalue()[place : place + 700] for place in range(0, len(packed.getvalue()), 700)]
    assert dict(read_archive(pieces, "x")) == {"a.py": b"a", "h.py": b"a"}


@pytest.fixture
def tasks(tmp_path: Path) -> str:
    path = tmp_path / "tasks.jsonl"
    write_instances([podman.INSTANCE], path)
    return str(path)


def make(tasks: str, **options: Any) -> SWEGymEnv:
    env = gym.make("SWEGym-Custom-v0", tasks=tasks, sandbox="docker", expose_solution=True, **options)
    return cast(SWEGymEnv, env.unwrapped)


def call(tool: str, **arguments: object) -> str:
    return json.dumps({"tool": tool, **arguments})


@pytest.mark.parametrize("interface", ["tools", "bash"])
def test_the_reference_repair_resolves(runner: ContainerSandbox, tasks: str, interface: str) -> None:
    env = make(tasks, interface=interface, reward_density=1.0)
    _, info = env.reset(seed=0)
    assert info["task_card"]["backend"] == info["task_card"]["details"]["sandbox"] == "container"
    assert info["task_card"]["details"]["image"] == podman.IMAGE
    rewards = [env.step(action)[1] for action in info["solution"]]
    assert sum(rewards) == pytest.approx(1)
    assert env.grading_report is not None
    assert env.grading_report.resolved


def test_submitting_at_once_is_worth_nothing(runner: ContainerSandbox, tasks: str) -> None:
    env = make(tasks)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(call("submit"))
    assert (reward, terminated, info["success"]) == (0, True, False)


def test_a_cheat_is_worth_nothing(runner: ContainerSandbox, tasks: str) -> None:
    env = make(tasks, reward_density=1.0)
    env.reset(seed=0)
    source = podman.TREE[calc.SOURCE].decode()
    _, first, *_ = env.step(call("create", path=calc.SOURCE, content=CHEAT + source))
    assert "passed" in env.step(call("test", target=calc.TEST_FILE))[0]
    _, reward, _, _, info = env.step(call("submit"))
    assert (first, reward, info["success"]) == (0, 0, False)
    assert env.grading_report is not None
    assert env.grading_report.reason.startswith("the tests did not run to their end: exit status 3 (")


def test_the_image_has_the_tools_of_the_task(runner: ContainerSandbox, tasks: str) -> None:
    env = make(tasks, interface="bash")
    env.reset(seed=0)
    text, *_ = env.step("python -m pytest -q tests; python -c 'import calc; print(calc.__file__)'; ls; id -u")
    assert "5 failed, 1 passed" in text
    assert "/testbed/src/calc/__init__.py" in text
    ready = cast(SweTask, env.task).prepared
    assert ready.visible["src/calc/_fast.so"] == podman.BINARY
    assert f"{calc.TEST_FILE}::test_words[a b]" in ready.test_spec.fail_to_pass


def test_tasks_without_an_image_are_refused(address: str, tmp_path: Path) -> None:
    write_instances([podman.with_image("")], tmp_path / "tasks.jsonl")
    env = make(str(tmp_path / "tasks.jsonl"))  # a row of SWE-Gym tells its image by its name
    with pytest.raises(SandboxError, match=r"docker pull xingyaoww/sweb\.eval\.x86_64\.getmoto_s_moto-1:latest"):
        env.reset()
    with pytest.raises(ValueError, match="with tasks=PATH_OR_HUB_ID that live in images"):
        gym.make("SWEGym-Easy-Dense-v0", sandbox="docker")


@pytest.mark.parametrize(
    ("patch", "resolved"),
    [(podman.INSTANCE.patch, True), ("", False), (podman.HALF, False)],
    ids=["gold", "empty", "half"],
)
def test_swebench_comes_to_the_same_verdict(
    runner: ContainerSandbox, tmp_path: Path, patch: str, resolved: bool
) -> None:
    pytest.importorskip("swebench", minversion="5", reason="swebench 5 is not installed")
    from swebench.harness.grading import get_eval_report
    from swebench.harness.utils import make_test_spec

    spec = make_test_spec(swebench_row(podman.INSTANCE))
    log = tmp_path / "test_output.txt"
    log.write_text(_evaluated(spec.eval_script, patch))
    prediction = {"instance_id": spec.instance_id, "model_name_or_path": "x", "model_patch": patch}
    theirs = get_eval_report(spec, prediction, str(log), include_tests_status=True)[spec.instance_id]
    test_spec = prepare_task(adapt(podman.INSTANCE), runner).test_spec
    changed = apply_patch(texts(test_spec.start), patch) if patch else {}
    ours = grade(test_spec, {path: None if text is None else text.encode() for path, text in changed.items()}, runner)
    assert theirs["patch_successfully_applied"]
    assert theirs["resolved"] == ours.resolved == resolved
    assert len(theirs["tests_status"]["FAIL_TO_PASS"]["failure"]) == ours.num_failing
    assert len(theirs["tests_status"]["PASS_TO_PASS"]["failure"]) == ours.num_broken


def _evaluated(script: str, patch: str) -> str:
    """Return the output of the test script in the image after a patch, run as swebench does: as root, in one container."""
    container = engine().containers.create(podman.IMAGE, ["sleep", "600"], network_mode="none", working_dir="/testbed")
    try:
        container.start()
        for name, content in (("patch.diff", patch), ("eval.sh", script)):
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as archive:
                member = tarfile.TarInfo(name)
                member.size = len(content.encode())
                archive.addfile(member, io.BytesIO(content.encode()))
            container.put_archive("/", packed.getvalue())
        if patch:
            applied = container.exec_run(["git", "apply", "--verbose", "/patch.diff"], workdir="/testbed")
            assert applied.exit_code == 0, applied.output
        return cast(bytes, container.exec_run(["/bin/bash", "/eval.sh"], environment={"HOME": "/root"}).output).decode()
    finally:
        container.kill()
        container.remove(force=True)
