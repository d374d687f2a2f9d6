"""Tasks of a user's own projects: made, resumed, played, and said in a sentence where none can be made."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import pytest

from tests.support.archives import make_archive
from textagent_gym import cli
from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.swe.grading.pytest_runs import run_plainly, run_tests
from textagent_gym.envs.swe.grading.runtime import required_name
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sources import sdists
from textagent_gym.envs.swe.synthesis import prepare_projects, requirement_lines
from textagent_gym.envs.swe.synthesis.bug_finder import BugFinder, reads_clock
from textagent_gym.envs.swe.synthesis.journal import Journal
from textagent_gym.envs.swe.synthesis.verify import verify
from textagent_gym.envs.swe.types import Sdist

SOURCE = "".join(
    f"""
def bounded_{number}(low, value, high):
    if value < low:
        return low
    if value > high:
        return high
    return value + {number}
"""
    for number in range(6)
)
TESTS = "from demo import shapes\n" + "".join(
    f"""
def test_low_{number}():
    assert shapes.bounded_{number}(3, 1, 9) == 3

def test_high_{number}():
    assert shapes.bounded_{number}(3, 11, 9) == 9

def test_between_{number}():
    assert shapes.bounded_{number}(3, 5, 9) == {5 + number}
"""
    for number in range(6)
)
METADATA = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nLicense: MIT\n"
FILES = {
    "tests/test_other.py": "import a_package_that_nobody_has\n",
    "PKG-INFO": METADATA,
    "demo/__init__.py": "",
    "demo/shapes.py": SOURCE,
    "tests/test_shapes.py": TESTS,
}


@pytest.fixture
def package_index(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Return a package index in memory: name of an archive -> content."""
    offered = {
        "demo-0.9.tar.gz": make_archive({**FILES, "demo/shapes.py": "an old release that nobody wants\n"}, "demo-0.9"),
        "demo-1.0.tar.gz": make_archive(FILES, "demo-1.0"),
        "untested-1.0.tar.gz": make_archive({"PKG-INFO": METADATA, "untested.py": "x = 1\n"}, "untested-1.0"),
        "online-2.0.tar.gz": make_archive(
            {
                "PKG-INFO": METADATA,
                "online.py": "import urllib.request\n\ndef get():\n    return urllib.request.urlopen('http://1.1.1.1').read()\n",
                "test_online.py": "import online\n"
                + "".join(f"\ndef test_{number}():\n    assert online.get()\n" for number in range(12)),
            },
            "online-2.0",
        ),
    }

    def releases(project: str) -> tuple[sdists.Release, ...]:
        found = [
            sdists.Release(
                sdist=Sdist(
                    project=project,
                    version=filename.removeprefix(f"{project}-").removesuffix(".tar.gz"),
                    filename=filename,
                    sha256=hashlib.sha256(content).hexdigest(),
                ),
                url=filename,
                uploaded="",
            )
            for filename, content in offered.items()
            if filename.startswith(f"{project}-")
        ]
        if not found and project != "compiled":
            raise sdists.IndexUnreachableError(f"the package index has nothing at {project}: is the name right?")
        return tuple(found)

    monkeypatch.setattr(sdists, "releases", releases)
    monkeypatch.setattr(requirement_lines, "releases", releases)
    monkeypatch.setattr(sdists, "_get", lambda url: offered[url])
    return offered


def prepare(tmp_path: Path, lines: list[str], out: Path, count: int = 3) -> str:
    (tmp_path / "requirements.txt").write_text("\n".join(["# mine", "", *lines]) + "\n")
    return prepare_projects.prepare(
        tmp_path / "requirements.txt", out, count=count, split="train", workers=2, tell=lambda *_: None
    )


def test_projects_become_tasks_that_are_played(tmp_path: Path, package_index: dict[str, bytes]) -> None:
    out = tmp_path / "index"
    lines = [
        "demo  # ours",
        "untested",
        "online",
        "absent",
        "compiled",
        "demo @ file:///demo",
        "two words",
        "demo[none]",
    ]
    card = prepare(tmp_path, lines, out)
    assert "| demo | 1.0 | MIT | train | 2 | 18 |" in card
    left_out = json.loads((out / "left_out.json").read_text())
    messages = {
        "untested": "holds no tests",
        "online": "0 of its tests pass in the sandbox, which has no network",
        "absent": "the package index has nothing at absent",
        "compiled": "no source distribution of compiled",
        "demo @ file:///demo": "expected a project of the package index",
        "two words": "expected a line 'name'",
        "demo[none]": "another line, demo, names the same project",
    }
    assert {line: message in left_out[line] for line, message in messages.items()} == dict.fromkeys(messages, True)
    assert not any("\n" in reason for reason in left_out.values())
    assert not [path for path in out.rglob("*") if path.is_file() and b"bounded_1(low" in path.read_bytes()]

    env = gym.make("SWEGym-Custom-v0", index=str(out), expose_solution=True, reward_density=1.0)
    assert cast(SWEGymEnv, env.unwrapped).task_ids == tuple(f"demo-1.0.m{number}" for number in range(3))
    _, info = env.reset(seed=0)
    rewards = [float(env.step(action)[1]) for action in info["solution"]]
    assert sum(rewards) == pytest.approx(1)
    choice = gym.make("SWEGym-Custom-v0", index=str(out), interface="choice", action_space_size=4)
    assert "Edits:" in choice.reset(seed=1)[0]
    found = list(verify(out, 1, Journal(tmp_path / "verified.jsonl", "x")))
    assert [(name, problem) for name, problem, _ in found] == [(f"demo-1.0.m{number}", "") for number in range(3)]


def test_work_that_was_ended_goes_on_and_gives_the_same(
    tmp_path: Path, package_index: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, ["demo==1.0"], tmp_path / "whole")
    runs: list[int] = []
    failing = BugFinder.failing

    def end_after_five(self: BugFinder, mutated: Any) -> frozenset[str] | None:
        runs.append(len(mutated))
        if len(runs) > 5:
            raise MemoryError
        return failing(self, mutated)

    monkeypatch.setattr(BugFinder, "failing", end_after_five)
    with pytest.raises(MemoryError):
        prepare(tmp_path, ["demo==1.0"], tmp_path / "ended")
    with (tmp_path / "ended" / ".work" / "demo.jsonl").open("a") as file:
        file.write('["half a li')

    def count(self: BugFinder, mutated: Any) -> frozenset[str] | None:
        runs.append(len(mutated))
        return failing(self, mutated)

    monkeypatch.setattr(BugFinder, "failing", count)
    runs.clear()
    prepare(tmp_path, ["demo==1.0"], tmp_path / "ended")
    num_resumed = len(runs)
    journal = (tmp_path / "whole" / ".work" / "demo.jsonl").read_text().split("\n")
    assert num_resumed == sum(line.startswith('["demo/') for line in journal) - 5
    contents = [json.loads((tmp_path / name / "mutation" / "demo.json").read_text()) for name in ("whole", "ended")]
    assert [content.pop("seconds") > 0 for content in contents] == [True, True]
    assert contents[0] == contents[1]
    runs.clear()
    prepare(tmp_path, ["demo==1.0"], tmp_path / "ended")
    assert not runs


def test_the_command_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "requirements.txt"
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"env_ids": ("SWEGym-Medium-Dense-v0",), "projects": file}, "expected swe in place of ids with --projects"),
        ({"env_ids": ("swe",), "projects": file}, "got no folder"),
        ({"env_ids": ("swe",), "out": tmp_path / "index"}, "got no file"),
        ({"env_ids": ("swe",), "projects": file, "out": tmp_path / "index"}, "No such file"),
    )
    for arguments, message in cases:
        with pytest.raises(SystemExit):
            cli.prepare(**arguments)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": "/nowhere"}, "expected index=FOLDER that `textagent-gym prepare swe` has made"),
        ({"index": "/nowhere", "tasks": "tasks.jsonl"}, "without tasks"),
        ({"index": "/nowhere", "origin": "release"}, "without origin='release'"),
    ],
)
def test_an_index_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gym.make("SWEGym-Custom-v0", **options)


def test_a_seed_draws_the_project_first_and_no_file_of_a_project_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = {"version": "1", "licence": "MIT", "split": "train", "filename": "x", "sha256": "0", "source_files": 1}
    entries = [{"name": "few", "tasks": [1], **line}, {"name": "many", "tasks": [1] * 99, **line}]
    (tmp_path / "projects.json").write_text(json.dumps(entries))
    env = gym.make("SWEGym-Custom-v0", index=str(tmp_path))
    drawn: list[str] = []

    def stop(self: SWEGymEnv, task_id: str) -> None:
        drawn.append(task_id.partition("-")[0])
        raise LookupError

    monkeypatch.setattr(SWEGymEnv, "_find_task", stop)
    for seed in range(60):
        with pytest.raises(LookupError):
            env.reset(seed=seed)
    assert 20 <= drawn.count("few") <= 40


def test_randomness_is_the_same_in_each_test_and_run(sandbox: Sandbox) -> None:
    random.seed(0)
    first = random.random()
    test = "import random\n\n\ndef test_{name}():\n    assert random.random() == {value}\n"
    tree = {f"test_{name}.py": test.format(name=name, value=first).encode() for name in ("a", "b")}
    ids = [f"test_{name}.py::test_{name}" for name in ("a", "b")]
    assert run_tests(tree, sorted(tree), sandbox=sandbox, seconds=20).passed == frozenset(ids)
    assert run_plainly(tree, ids, sandbox=sandbox, seconds=20).passed == frozenset(ids)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"import time\nstart = time.perf_counter()\n", True),
        (b"from threading import Lock\n", True),
        (b"from time import sleep\n", True),
        (b"import datetime, uptime\nlifetime.time()\n", False),
    ],
)
def test_files_that_look_at_the_clock_are_known(source: bytes, expected: bool) -> None:
    assert reads_clock(source) == expected


def test_a_requirement_may_have_a_hash() -> None:
    assert required_name(f"Some.Thing==1.0 --hash=sha256:{'0' * 64}") == "some-thing"
    with pytest.raises(ValueError, match="expected a requirement"):
        required_name("thing==1.0 --hash=sha256:0")
    with pytest.raises(ValueError, match="expected a requirement"):
        required_name("thing==1.0 --index-url=http://127.0.0.1")
