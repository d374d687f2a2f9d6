"""Whatever tree an agent leaves behind, a step answers: what no file system can hold is worth nothing."""

import json
from pathlib import Path
from typing import cast

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import calc
from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.swe.grading.grader import TestSpec, accepted, run_grading
from textagent_gym.envs.swe.repo.tree import (
    MAX_PATH_BYTES,
    Changes,
    UnwritableTreeError,
    read_changes,
    scratch_folder,
    write_tree,
)
from textagent_gym.envs.swe.repo.workspace import FileProblemError, Workspace
from textagent_gym.envs.swe.sandboxes.base import Sandbox

pytestmark = pytest.mark.attack

EXAM = TestSpec(
    start={**calc.START, "tox.ini": b"[tox]\n"},
    tests={calc.TEST_FILE: calc.TESTS, "tox.ini": b"[tox]\n"},
    groups=(calc.ADD, calc.LARGEST),
    fail_to_pass=frozenset(calc.ADD + calc.LARGEST),
    pass_to_pass=frozenset({calc.MUL}),
    seconds=0.5,
)

UNWRITABLE: dict[str, Changes] = {
    "a name of 256 bytes": {"src/" + "n" * 256: b""},
    "a name of 128 characters and 256 bytes": {"src/" + "é" * 128: b""},
    "a long path": {"/".join(["d" * 200] * 25): b""},
    "a file in the place of the tests' folder": {calc.TEST_FILE: None, "tests": b"x"},
    "a folder in the place of tox.ini": {"tox.ini/x.py": b"x"},
    "a folder in the place of a test file": {f"{calc.TEST_FILE}/x/y.txt": b"x", "tests": b""},
    "a file that is a folder, too": {"a": b"", "a/b": b""},
    "a folder that is a file, too": {"a/b": b"", "a": b""},
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_such_a_tree_is_worth_nothing(name: str, sandbox: Sandbox) -> None:
    grading_report = run_grading(EXAM, accepted({calc.SOURCE: calc.GOLD_SOURCE, **UNWRITABLE[name]}), sandbox)
    assert grading_report.groups_done == (False, False)
    assert grading_report.reason.startswith("the tests cannot be added to the source: ")
    assert len(grading_report.reason) < 300


COMMANDS = {
    "a long name": f"touch {'n' * 255}x {'é' * 127}",
    "a file in the place of the tests' folder": "rm -r tests; echo > tests",
    "a folder in the place of a test file": "for f in tests/*.py; do rm $f; mkdir $f; echo > $f/x.txt; done",
    "folders deeper than a path may be long": "for i in $(seq 60); do d=$(printf 'd%.0s' $(seq 200)); mkdir $d && cd $d && "
    "echo > f; done",
    "a closed folder": "mkdir d; echo > d/x; chmod 0 d",
    "pipes and links in the place of files": "rm README.md; mkfifo README.md; rm -r tests; ln -s /etc tests",
}


@pytest.mark.parametrize("interface", ["tools", "bash"])
def test_a_step_answers_whatever_a_command_has_left(interface: str) -> None:
    made = gym.make("SWEGym-Easy-Dense-v0", interface=interface, max_steps=100)
    env = cast(SWEGymEnv, made.unwrapped)
    env.reset(seed=0)
    for command in COMMANDS.values():
        action = command if interface == "bash" else json.dumps({"tool": "bash", "command": command})
        observation, reward, terminated, truncated, _ = env.step(action)
        assert observation
        assert (reward, terminated, truncated) == (0, False, False)
    _, reward, terminated, _, info = env.step("submit" if interface == "bash" else '{"tool": "submit"}')
    assert (reward, terminated, info["success"]) == (0, True, False)


def test_tools_refuse_a_path_that_cannot_be_written() -> None:
    workspace = Workspace({})
    for path in ("n" * 256, "é" * 128, "d/" + "é" * 200 + "/x"):
        with pytest.raises(FileProblemError, match="255 bytes"):
            workspace.write(path, "text")
    workspace.write("é" * 127, "text")


NAMES = st.sampled_from(["a", "b", "tests", "n" * 255, "n" * 256, "é" * 128, "\0", "x\n", " "])
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=8).map("/".join), st.binary(max_size=4), max_size=6)


@given(TREES)
def test_a_tree_is_written_whole_or_refused(tree: dict[str, bytes]) -> None:
    with scratch_folder() as folder:
        try:
            write_tree(tree, folder)
        except UnwritableTreeError:
            return
        assert {path: Path(folder, path).read_bytes() for path in tree} == tree


def test_paths_that_are_too_long_are_left_out() -> None:
    with scratch_folder() as folder:
        deep = "/".join(["d" * 250] * 4)
        Path(folder, deep).mkdir(parents=True)
        Path(folder, deep, "f").write_text("x")
        Path(folder, "kept").write_text("x")
        changes, refused = read_changes(folder, {})
        assert len(f"{deep}/f") > MAX_PATH_BYTES
        assert changes == {"kept": b"x"}
        assert refused == (f"{deep}/f",)
