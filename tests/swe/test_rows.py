"""Rows of data sets as git writes them: renames, deletions, offsets, encodings, binary files; played, solved and graded."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from textagent_gym.envs.swe.repo.tree import Tree
from textagent_gym.envs.swe.sources.projects import projects

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

REPO = "bundled/ledgerline"
TREE = dict(projects()[REPO].tree)
ODD = "src/ledgerline/odd.py"
TEST = "from ledgerline.odd import f\n\n\ndef test_f():\n    assert f(1) == 2\n"
BAD, GOOD = "def f(x):\n    return x - 1\n", "def f(x):\n    return x + 1\n"
HEAD = "# h\n" * 20
LATIN = "# -*- coding: latin-1 -*-\nN = 'café'\n"
SEPARATORS = "# one\n\x0c\nS = 'a\u2028b'\nN = 'x\x85y'\n"

Files = dict[str, bytes | None]
CASES: dict[str, tuple[Files, Files]] = {
    "rename": ({"src/ledgerline/old.py": GOOD.encode()}, {"src/ledgerline/old.py": None, ODD: GOOD.encode()}),
    "rename with a change": (
        {"src/ledgerline/old.py": (HEAD + BAD).encode()},
        {"src/ledgerline/old.py": None, ODD: (HEAD + GOOD).encode()},
    ),
    "delete": (
        {ODD: BAD.encode(), "src/ledgerline/dead.py": b"X = 1\n"},
        {ODD: GOOD.encode(), "src/ledgerline/dead.py": None},
    ),
    "offset": ({ODD: (HEAD + BAD).encode()}, {ODD: (HEAD + GOOD).encode()}),
    "latin-1": ({ODD: (LATIN + BAD).encode("latin-1")}, {ODD: (LATIN + GOOD).encode("latin-1")}),
    "separators": ({ODD: (SEPARATORS + BAD).encode()}, {ODD: (SEPARATORS + GOOD).encode()}),
    "carriage returns": (
        {ODD: (HEAD + BAD).replace("\n", "\r\n").encode()},
        {ODD: (HEAD + GOOD).replace("\n", "\r\n").encode()},
    ),
    "further binary file": ({ODD: BAD.encode()}, {ODD: GOOD.encode(), "docs/logo.png": b"\x89PNG\0\1"}),
    "final line feed": ({ODD: BAD.encode()}, {ODD: GOOD.encode().removesuffix(b"\n")}),
}


def git_diff(folder: Path, before: Tree, after: Tree) -> str:
    """Return the patch that git itself writes."""
    folder.mkdir()

    def run(*arguments: str) -> bytes:
        command = ["git", "-c", "core.autocrlf=false", "-c", "user.email=a@b", "-c", "user.name=a", *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout

    def write(tree: Tree) -> None:
        for file in [file for file in folder.rglob("*") if file.is_file() and ".git" not in file.parts]:
            file.unlink()
        for path, content in tree.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        run("add", "-A", "-f")

    run("init", "-q")
    write(before)
    run("commit", "-qm", "before", "--allow-empty")
    write(after)
    return run("diff", "--cached", "-M", "HEAD").decode("utf-8", "surrogateescape")


def row(name: str, folder: Path) -> Path:
    start_files, gold_files = CASES[name]
    start = {**TREE, **{path: content for path, content in start_files.items() if content is not None}}
    start["tests/test_odd.py"] = TEST.encode()
    gold = {path: content for path, content in {**start, **gold_files}.items() if content is not None}
    patch = git_diff(folder / "gold", start, gold)
    if name == "offset":
        assert "@@ -19,4 +19,4 @@" in patch
        patch = patch.replace("@@ -19,4 +19,4 @@", "@@ -14,4 +14,4 @@")
    columns = {
        "instance_id": name.replace(" ", "-"), "repo": REPO, "base_commit": "x", "version": "1", "patch": patch,
        "test_patch": "", "problem_statement": "Fix it.", "hints_text": "", "created_at": "2024-01-01",
        "FAIL_TO_PASS": ["tests/test_odd.py::test_f"], "PASS_TO_PASS": [], "origin": "bundled",
        "setup_patch": git_diff(folder / "start", TREE, start),
    }  # fmt: skip
    (folder / "rows.jsonl").write_text(json.dumps(columns) + "\n")
    return folder / "rows.jsonl"


def make(path: Path, **options: Any) -> gym.Env[str, str]:
    made: gym.Env[str, str] = gym.make(
        "SWEGym-Custom-v0", tasks=str(path), expose_solution=True, disable_env_checker=True, **options
    )
    return made


@pytest.mark.parametrize("name", CASES)
def test_a_row_is_solved_by_its_reference(name: str, tmp_path: Path) -> None:
    path = row(name, tmp_path)
    for interface in ("tools", "bash"):
        env = make(path, interface=interface, max_steps=30)
        _, info = env.reset(seed=0)
        assert info["task_card"]["measured"]["solution_length"] >= 1
        for action in info["solution"]:
            *_, step = env.step(action)
            assert step["valid_command"], action
        assert step["success"]


def test_a_task_whose_solution_no_tool_can_give_is_played_all_the_same(tmp_path: Path) -> None:
    env = make(row("delete", tmp_path), action_space_size=6)
    _, info = env.reset(seed=0)
    assert "solution" not in info
    assert info["task_card"]["max_steps"] >= 9
    env.step(json.dumps({"tool": "edit", "path": ODD, "old": "x - 1", "new": "x + 1"}))
    *_, info = env.step('{"tool": "submit"}')
    assert info["success"]
