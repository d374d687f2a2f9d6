"""Rows of data sets on source distributions: against a small index made here, and one real row."""

import hashlib
import json
import os
import zipfile
from dataclasses import replace
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import pytest

from tests.support import calc
from tests.support.archives import make_archive
from textagent_gym.agents import ExpertAgent
from textagent_gym.envs.swe.env import SWEGymEnv, SweTask
from textagent_gym.envs.swe.grading import runtime
from textagent_gym.envs.swe.grading.pytest_runs import run_tests
from textagent_gym.envs.swe.grading.runtime import WheelError, runtime_folder
from textagent_gym.envs.swe.interfaces.shell import Shell
from textagent_gym.envs.swe.repo.patches import make_patch, num_hunks
from textagent_gym.envs.swe.repo.workspace import Workspace
from textagent_gym.envs.swe.sandboxes.base import Limits, Sandbox
from textagent_gym.envs.swe.sources import rebase, sdists
from textagent_gym.envs.swe.sources.formats import read_instances, to_row, write_instances
from textagent_gym.envs.swe.sources.sdists import Release
from textagent_gym.envs.swe.tasks import prepare_task, requirements_of
from textagent_gym.envs.swe.types import Sdist, TaskInstance
from textagent_gym.testing import play

WORDS = """

@pytest.mark.parametrize("words", ["2 3 5", "4 1 5"])
def test_words(words):
    a, b, c = map(int, words.split())
    assert calc.add(a, b) == c


def test_table():
    with open("tests/table.txt") as table:
        assert calc.add(1, 1) == int(table.read())


def test_elsewhere():
    assert False
"""
OLD_TESTS = "import pytest\n" + calc.TESTS.decode()
NEW_TESTS = OLD_TESTS + WORDS
TABLE = "tests/table.txt"
START = calc.BUGGY_SOURCE.decode()
GOLD = calc.GOLD_SOURCE.decode()
ROW = TaskInstance(
    instance_id="someone__calc-7",
    repo="someone/Calc",
    base_commit="c0ffee",
    problem_statement="It subtracts.",
    patch=make_patch({calc.SOURCE: START}, {calc.SOURCE: GOLD}),
    test_patch=make_patch({calc.TEST_FILE: OLD_TESTS}, {calc.TEST_FILE: NEW_TESTS, TABLE: "2\n"}),
    FAIL_TO_PASS=(
        f"{calc.TEST_FILE}::test_add",
        f"{calc.TEST_FILE}::test_table",
        f"{calc.TEST_FILE}::test_words[2",
        f"{calc.TEST_FILE}::test_words[4",
    ),
    PASS_TO_PASS=(
        calc.MUL,
        f"{calc.TEST_FILE}::test_elsewhere",
        f"{calc.TEST_FILE}::test_gone",
        "tests/test_gone.py::test",
    ),
    created_at="2020-09-01T12:00:00Z",
    version="1",
    image="someone/calc:7",
)


def archive(version: str, files: dict[str, str]) -> tuple[Sdist, bytes]:
    content = make_archive(files, f"calc-{version}")
    name = f"calc-{version}.tar.gz"
    return Sdist(project="calc", version=version, filename=name, sha256=hashlib.sha256(content).hexdigest()), content


def tree(source: str = START, tests: str = OLD_TESTS) -> dict[str, str]:
    return {calc.SOURCE: source, calc.TEST_FILE: tests, "README.md": "Calculates.\n"}


class Index:
    """Releases that a test made; every question to it is counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offered: list[Release] = []
        self.archives: dict[str, bytes] = {}
        self.asked = 0
        monkeypatch.setattr(rebase, "releases", self.releases)
        monkeypatch.setattr(sdists, "fetch", lambda sdist: self.archives[sdist.sha256])

    def add(self, version: str, uploaded: str, files: dict[str, str]) -> None:
        sdist, content = archive(version, files)
        self.archives[sdist.sha256] = content
        self.offered.append(Release(sdist=sdist, url="", uploaded=uploaded))

    def releases(self, project: str) -> tuple[Release, ...]:
        assert project == "calc"
        self.asked += 1
        return tuple(self.offered)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Index:
    runtime_folder()  # that of all tests
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path / "cache"))
    made = Index(monkeypatch)
    made.add("1.0", "2020-01-01T00:00:00.123456Z", tree("# Old.\n" + START))
    made.add("1.10", "2020-06-01T00:00:00Z", tree("# A line\n# more.\n" + START))
    made.add("1.9.1", "2020-08-01T00:00:00Z", tree("# Maintained.\n" + START))
    made.add("2.0rc1", "2020-08-20T00:00:00Z", tree())
    made.add("2.0", "2020-09-01T12:00:01Z", tree(GOLD))
    made.add("0.1", "", tree())
    return made


def test_a_row_moves_to_the_nearest_earlier_sdist(index: Index, sandbox: Sandbox, tmp_path: Path) -> None:
    found = rebase.rebase(ROW, sandbox)
    assert (found.origin, found.base_commit, found.version, found.image) == ("rebased", "calc==1.10", "1.10", "")
    assert found.sdist == index.offered[1].sdist
    assert found.extra == {"rebased_from": "c0ffee", "source_files": 1}
    assert found.seconds > 0
    ids = {f"{calc.TEST_FILE}::{name}" for name in ("test_add", "test_table", "test_words[2 3 5]", "test_words[4 1 5]")}
    assert set(found.FAIL_TO_PASS) == ids
    assert found.PASS_TO_PASS == (calc.MUL,)  # the others fail, or are not there
    assert ("@@ -7,4 " in ROW.patch, "@@ -9,4 " in found.patch) == (True, True)  # two lines further down
    assert found.test_patch == ROW.test_patch
    assert num_hunks(found.patch) == num_hunks(ROW.patch)
    write_instances([found], tmp_path / "rows.jsonl")
    assert read_instances(tmp_path / "rows.jsonl") == [found]


def test_a_rebased_row_is_played_and_made_once(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rows.jsonl"
    write_instances([ROW], rows)
    made = 0
    plain = rebase.rebase

    def counting(*arguments: Any) -> TaskInstance:
        nonlocal made
        made += 1
        return plain(*arguments)

    monkeypatch.setattr(rebase, "rebase", counting)
    for interface in ("tools", "bash"):
        env = gym.make("SWEGym-Custom-v0", tasks=str(rows), rebase=True, interface=interface, expose_solution=True)
        seen = play(env, ExpertAgent(), seed=0)
        assert seen[-1][4]["success"]
        assert sum(step[1] for step in seen) == pytest.approx(1)
    assert made == 1
    env = gym.make("SWEGym-Custom-v0", tasks=str(rows), rebase=True, state_space_size=1, tests_visible=False)
    _, info = env.reset(seed=0)
    assert info["task_card"]["measured"]["state_space_size"] == 1
    assert info["task_card"]["details"]["origin"] == "rebased"
    task = cast(SweTask, cast(SWEGymEnv, env.unwrapped).task)
    assert "test_words" not in task.base[calc.TEST_FILE].decode()
    _, reward, terminated, _, info = env.step(json.dumps({"tool": "submit"}))
    assert (reward, terminated, info["success"]) == (0, True, False)


def test_data_files_of_the_tests_count_but_not_the_agents(index: Index, sandbox: Sandbox) -> None:
    test_spec = prepare_task(rebase.rebased(ROW, sandbox), sandbox).test_spec
    assert test_spec.tests[TABLE] == b"2\n"
    assert TABLE not in test_spec.start


def test_without_rebase_the_error_says_how(index: Index, tmp_path: Path) -> None:
    write_instances([ROW], tmp_path / "rows.jsonl")
    env = gym.make("SWEGym-Custom-v0", tasks=str(tmp_path / "rows.jsonl"))
    with pytest.raises(ValueError, match="rebase=True"):
        env.reset(seed=0)
    with pytest.raises(ValueError, match="expected rebase=True with tasks"):
        gym.make("SWEGym-Easy-Dense-v0", rebase=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"created_at": "2019-12-31"}, "expected a source distribution of calc from before 2019-12-31, got none"),
        ({"created_at": "soon"}, "expected a date in ISO 8601"),
        ({"patch": ROW.patch.replace("a - b", "a // b")}, "fit calc 1.10, got one that does not: expected hunk 1 of 2"),
        (
            {"test_patch": ROW.test_patch.replace(calc.TEST_FILE, "tests/test_no.py")},
            "expected tests/test_no.py to exist",
        ),
        (
            {"patch": make_patch({calc.SOURCE: "# A line\n# more.\n" + START}, {})},
            "test_add to pass with the repair, got no such test: .*No module named 'calc'",
        ),
        (
            {"test_patch": make_patch({calc.TEST_FILE: OLD_TESTS}, {calc.TEST_FILE: f"import absent\n{NEW_TESTS}"})},
            "test_add to pass with the repair, got no such test: E   ModuleNotFoundError: No module named 'absent'",
        ),
        (
            {"test_patch": make_patch({}, {"tests/conftest.py": "import absent\n"})},
            "test_add to pass with the repair, got no such test: .*ModuleNotFoundError: No module named 'absent'",
        ),
        ({"FAIL_TO_PASS": (calc.MUL,)}, "to fail before the repair, got .*test_mul that passes"),
        ({"FAIL_TO_PASS": (f"{calc.TEST_FILE}::test_elsewhere",)}, "to pass with the repair, got that it failed"),
        ({"FAIL_TO_PASS": (f"{calc.TEST_FILE}::test_gone",)}, "test_gone to pass with the repair, got no such test"),
        ({"FAIL_TO_PASS": (f"{calc.TEST_FILE}::test_",)}, "got no such test: none, or several, have that name"),
        ({"FAIL_TO_PASS": ("tests/test_gone.py::test",)}, "in the source distribution, got no tests/test_gone.py"),
        ({"extra": {"requirements": ["calc==2.0"]}}, "expected requirements without the code under repair, got calc"),
        ({"extra": {"requirements": ["--index-url=x"]}}, "expected a requirement 'name==version', got '--index-url=x'"),
        ({"extra": {"requirements": ["Packaging==25.0"]}}, "that do not come with pytest, got Packaging==25.0"),
        ({"FAIL_TO_PASS": ()}, "got an empty FAIL_TO_PASS"),
        ({"origin": "rebased"}, "expected a row of a data set without an sdist"),
    ],
)
def test_what_does_not_fit_is_said(index: Index, sandbox: Sandbox, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rebase.rebase(replace(ROW, **change), sandbox)


def test_wheels_that_bring_a_module_of_the_repository_are_refused() -> None:
    row = replace(ROW, origin="rebased", repo="pytest-dev/other")
    assert requirements_of(row, {"src/other/__init__.py": b""}) == ()
    with pytest.raises(ValueError, match="without the code under repair, got a module pluggy"):
        requirements_of(row, {"src/pluggy/__init__.py": b""})


def test_truncated_ids_stand_for_one_test() -> None:
    seen = {"t.py::a[x y]", "t.py::a[xx y]", "t.py::b[x y]", "t.py::b[x z]", "t.py::c"}
    ids = ("t.py::a[x", "t.py::b[x", "t.py::c", "t.py::d")
    assert [rebase.whole_id(test, seen) for test in ids] == ["t.py::a[x y]", None, "t.py::c", None]


def test_the_command_says_of_each_row_how_it_went(
    index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_instances([ROW, replace(ROW, instance_id="early", created_at="1999-01-01")], tmp_path / "rows.jsonl")
    rebase.main(str(tmp_path / "rows.jsonl"), tmp_path / "out.jsonl")
    answer = capsys.readouterr().out.splitlines()
    assert answer[0].startswith("someone__calc-7: calc==1.10, 4 tests to repair, 1 of 4 to keep, ")
    assert answer[1].startswith("early: not rebased: expected a source distribution of calc")
    assert [instance.origin for instance in read_instances(tmp_path / "out.jsonl")] == ["rebased"]
    with pytest.raises(SystemExit, match=r"\.jsonl"):
        rebase.main(str(tmp_path / "rows.jsonl"), tmp_path / "out.csv")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip takes for the index: a wheel, and an sdist whose build would leave a file."""
    info = "tinywheel-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "tinywheel-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinywheel.py", "value = 7\n")
        metadata = "Metadata-Version: 2.1\nName: tinywheel\nVersion: 1.0\nRequires-Dist: calc\n"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    script = f"open({str(tmp_path / 'built')!r}, 'w').close()\nfrom setuptools import setup\nsetup()\n"
    (tmp_path / "calc-2.0.tar.gz").write_bytes(archive("2.0", {"setup.py": script})[1])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_wheels_are_beside_pytest_without_what_they_need(wheels: Path, sandbox: Sandbox) -> None:
    folder = runtime_folder(("tinywheel==1.0",))
    assert (folder / "tinywheel.py").exists()
    assert (folder / "pytest").is_dir()
    assert not list(folder.glob("calc*"))
    test = {"test_x.py": b"import tinywheel\n\ndef test_x():\n    assert tinywheel.value == 7\n"}
    with_it = run_tests(test, ["test_x.py"], sandbox=sandbox, seconds=20, requirements=("tinywheel==1.0",))
    assert with_it.passed == {"test_x.py::test_x"}
    assert not run_tests(test, ["test_x.py"], sandbox=sandbox, seconds=20).passed
    shell = Shell(Workspace(test), sandbox, Limits(), 20, ("tinywheel==1.0",))
    assert shell.test() == "1 passed"
    assert shell.run("python3 -m pytest -q test_x.py").returncode == 0


def test_nothing_is_ever_built(wheels: Path) -> None:
    with pytest.raises(WheelError, match=r"expected pip to install wheels of calc==2\.0"):
        runtime_folder(("calc==2.0",))
    assert not (wheels / "built").exists()
    assert not list((wheels / "cache" / "swe").iterdir())


@pytest.mark.slow
def test_a_real_row_is_repaired_on_its_sdist(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = os.environ.get("TEXTAGENT_SWE_ROWS")
    if not folder:
        pytest.skip("TEXTAGENT_SWE_ROWS names no folder with rows of real data sets")
    instances = {instance.instance_id: instance for instance in read_instances(Path(folder) / "swegym_rows.jsonl")}
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(to_row(instances["dask__dask-9378"])) + "\n")
    env = gym.make("SWEGym-Custom-v0", tasks=str(rows), rebase=True, expose_solution=True)
    seen = play(env, ExpertAgent(), seed=0)
    assert seen[-1][4]["success"]
    assert sum(step[1] for step in seen) == pytest.approx(1)
    _, info = env.reset(seed=0)
    details = info["task_card"]["details"]
    assert (details["origin"], details["version"]) == ("rebased", "2022.8.0")
    assert (details["num_fail_to_pass"], details["num_pass_to_pass"]) == (3, 134)
    _, reward, terminated, _, info = env.step(json.dumps({"tool": "submit"}))
    assert (reward, terminated, info["success"]) == (0, True, False)


def test_files_that_a_package_lists_and_lacks_are_left_out(tmp_path: Path) -> None:
    """Ray brings colorama without its tests."""
    info = tmp_path / "tiny-1.0.dist-info"
    info.mkdir()
    (tmp_path / "tiny.py").write_text("X = 1\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (info / "RECORD").write_text("tiny.py,,\ntests/test_tiny.py,,\n")
    (building := tmp_path / "building").mkdir()
    runtime._fill(building, [PathDistribution(info)])
    assert [path.name for path in building.glob("*.py")] == ["tiny.py"] and not (building / "tests").exists()
