"""Harbor task folders: exported, graded by their own script, imported again with the same verdicts, refused when changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest

import textagent_gym  # noqa: F401
from textagent_gym.agents import ExpertAgent
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sources.formats import read_instances
from textagent_gym.envs.swe.sources.index import indexed_instance, load_index
from textagent_gym.envs.swe.synthesis.export_harbor import export, write_task
from textagent_gym.testing import play

INDEX = load_index("bundled")
NAMES = tuple({task.project: name for name, task in INDEX.items()}.values())[:2]
"""Two bundled tasks, of two libraries."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Path:
    out = tmp_path_factory.mktemp("harbor")
    for name in NAMES:
        write_task(indexed_instance("bundled", name), sandbox, out)
    return out


@pytest.fixture
def folder(folders: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders, tmp_path / "tasks")) / NAMES[0]


def in_container(task: Path, place: Path, script: str) -> str:
    """Run a script of a task as its container would, with folders of this machine; return the reward."""
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TASK_REPOSITORY": str(place / "app"),
        "TASK_LOGS": str(place / "logs"),
    }
    done = subprocess.run(["bash", str(task / script)], env=variables, capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    reward = place / "logs" / "reward.txt"
    return reward.read_text() if reward.exists() else ""


@pytest.mark.parametrize("name", NAMES)
def test_tasks_come_back_with_equal_verdicts(folders: Path, name: str) -> None:
    assert read_instances(folders / name) == [indexed_instance("bundled", name)]
    options = {"expose_solution": True, "split": INDEX[name].split}
    imported = gym.make("SWEGym-Custom-v0", tasks=str(folders), **options)
    original = gym.make("SWEGym-Easy-Dense-v0", solution_length=INDEX[name].num_edits, **options)
    assert set(imported.unwrapped.task_ids) == set(NAMES)  # type: ignore[attr-defined]
    for env in (imported, original):
        env.reset(options={"task_id": name})
        _, _, terminated, _, info = env.step('{"tool": "submit"}')
        assert terminated and not info["success"]
        _, info = env.reset(options={"task_id": name})
        assert info["task_id"] == name
        steps = [env.step(action) for action in info["solution"]]
        assert steps[-1][4]["success"] and steps[-1][2]
        env.close()


@pytest.mark.parametrize("name", NAMES)
def test_the_task_grades_itself_as_the_environment_does(folders: Path, tmp_path: Path, name: str) -> None:
    task = folders / name
    shutil.copytree(task / "environment" / "repository", tmp_path / "app")
    assert in_container(task, tmp_path, "tests/test.sh") == "0\n"
    tests = next((tmp_path / "app" / "tests").glob("test_*.py"))
    tests.write_text("")  # a repair of the tests is none
    (tmp_path / "app" / "conftest.py").write_text("raise RuntimeError")
    assert in_container(task, tmp_path, "tests/test.sh") == "0\n"
    in_container(task, tmp_path, "solution/solve.sh")
    assert in_container(task, tmp_path, "tests/test.sh") == "1\n"
    assert not list((tmp_path / "app").rglob("__pycache__"))


def test_the_folder_has_what_harbor_asks_for(folder: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"task.toml", "instruction.md", "environment/Dockerfile", "tests/test.sh", "solution/solve.sh"} <= names
    assert os.access(folder / "tests" / "test.sh", os.X_OK) and os.access(folder / "solution" / "solve.sh", os.X_OK)
    config = (folder / "task.toml").read_text()
    for part in ('version = "1.0"\n', "[metadata]", "[verifier]\ntimeout_sec = ", "[agent]", "[environment]"):
        assert part in config
    repair = [line for line in (folder / "solution" / "gold.patch").read_text().splitlines() if line.startswith("+ ")]
    seen = [path.read_text() for path in (folder / "environment").rglob("*") if path.is_file()]
    assert repair and not any(all(line[1:] in text for line in repair) for text in seen)
    assert "COPY repository /app" in (folder / "environment" / "Dockerfile").read_text()


def test_an_edited_statement_counts(folder: Path) -> None:
    place = folder / "instruction.md"
    place.write_text(place.read_text().replace("Repair the source", "Mend the code"))
    (instance,) = read_instances(folder)
    statement = indexed_instance("bundled", NAMES[0]).problem_statement
    assert instance.problem_statement == statement.replace("Repair the source", "Mend the code") != statement


def weaker_tests(task: Path) -> None:
    (task / "tests" / "files" / "tests").joinpath("extra.py").write_text("")


def repaired(task: Path) -> None:
    next((task / "environment" / "repository" / "src").rglob("*.py")).write_text("")


def own_grader(task: Path) -> None:
    (task / "tests" / "test.sh").write_text("echo 1 > /logs/verifier/reward.txt")


def foreign(task: Path) -> None:
    (task / "task.toml").write_text('version = "1.0"\n[metadata]\nauthor_name = "x"\n')


def no_toml(task: Path) -> None:
    (task / "task.toml").write_text("version =")


def no_tests(task: Path) -> None:
    (task / "tests" / "tests.json").write_text(json.dumps({"FAIL_TO_PASS": []}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (weaker_tests, "expected the repository and the tests as they were exported, got changed ones"),
        (repaired, "expected the repository and the tests as they were exported, got changed ones"),
        (own_grader, "expected the repository and the tests as they were exported, got changed ones"),
        (foreign, "expected a Harbor task that `textagent-gym export harbor` made, got one without its metadata"),
        (no_toml, r"task.toml: expected TOML, got "),
        (no_tests, "expected the files of an exported task, got another one"),
    ],
)
def test_a_folder_that_is_no_export_is_refused(folder: Path, change: Callable[[Path], None], message: str) -> None:
    change(folder)
    with pytest.raises(ValueError, match=message) as caught:
        read_instances(folder.parent)
    assert NAMES[0] in str(caught.value) and "\n" not in str(caught.value)


def test_what_cannot_be_exported_is_refused(folders: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    instance = indexed_instance("bundled", NAMES[0])
    with pytest.raises(FileExistsError, match="expected a folder that does not exist yet"):
        write_task(instance, sandbox, folders)
    with pytest.raises(ValueError, match=r"got .*, which lives in a container image"):
        write_task(replace(instance, origin="dataset", image="some/image"), sandbox, tmp_path)
    with pytest.raises(ValueError, match=r"expected a name that can be a folder's, got '../x'"):
        write_task(replace(instance, instance_id="../x"), sandbox, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_exports_the_tasks_of_an_id(tmp_path: Path) -> None:
    env = gym.make("SWEGym-Easy-Dense-v0")
    first = env.unwrapped.task_ids[0]  # type: ignore[attr-defined]
    assert list(export("SWEGym-Easy-Dense-v0", {}, tmp_path, 1)) == [first]
    env = gym.make("SWEGym-Custom-v0", tasks=str(tmp_path), expose_solution=True)
    assert play(env, ExpertAgent(), 0)[-1][4]["success"]
    command = [sys.executable, "-c", "from textagent_gym.cli import main; main()", "export", "harbor"]
    done = subprocess.run([*command, "TextWorld-Easy-Dense-v0", "--out", "x"], capture_output=True, text=True)
    assert (
        done.stderr
        == "textagent-gym: expected a form among openenv, verifiers for TextWorld-Easy-Dense-v0, got harbor\n"
    )
