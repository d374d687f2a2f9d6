"""Task folders of Harbor, the framework of Terminal-Bench 2: reading those that this package exported.

    task.toml                  limits, and under [metadata.textagent_gym] what Harbor has no place for
    instruction.md             the problem statement, and where the repository is
    environment/Dockerfile     Python, pytest, git, and environment/repository in /app
    tests/test.sh              runs tests/grade.py, which writes /logs/verifier/reward.txt
    tests/tests.json, files/   tests that count, and the files that they are in
    solution/solve.sh          applies solution/gold.patch

The format is the documented minimum (harborframework.com/docs, version "1.0").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from textagent_gym.envs.swe.repo.tree import tree_digest

CONFIG = "task.toml"

INSTRUCTION_END = """

The repository is in `/app`; its tests run there with `python3 -m pytest`. Changes to the source count; changes to tests do
not.
"""
"""Text after the problem statement in `instruction.md`."""

PLACES = {
    "problem_statement": "instruction.md",
    "patch": "solution/gold.patch",
    "test_patch": "tests/test.patch",
}
"""Field of an instance -> its file; the last is missing where the field is empty."""

TESTS = ("FAIL_TO_PASS", "PASS_TO_PASS")
"""Fields in `tests/tests.json`."""


def is_harbor(folder: Path) -> bool:
    """Return whether a folder is a Harbor task, or holds some."""
    return (folder / CONFIG).is_file() or any(folder.glob(f"*/{CONFIG}"))


def harbor_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the row of each task in a folder, in the order of their names.

    Raises:
        ValueError: A task was not exported by this package, a file is missing, or its repository or tests were changed.
        OSError: A file cannot be read.
    """
    tasks = [folder] if (folder / CONFIG).is_file() else sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    for task in tasks:
        yield str(task), _row(task)


def folder_digest(folder: Path) -> str:
    """Return the digest of the regular files below a folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return tree_digest({name: path.read_bytes() for name, path in files.items()})


def digest_of(task: Path) -> str:
    """Return the digest of a task's repository and of all that grades it."""
    digests = [folder_digest(task / name) for name in ("environment/repository", "tests/files")]
    programs = [hashlib.sha256((task / "tests" / name).read_bytes()).hexdigest() for name in ("test.sh", "grade.py")]
    return hashlib.sha256("".join([*digests, *programs]).encode()).hexdigest()


def _row(task: Path) -> dict[str, Any]:
    own = _config(task).get("metadata", {}).get("textagent_gym")
    if not isinstance(own, dict) or not isinstance(own.get("instance"), str):
        raise ValueError(
            f"{task}: expected a Harbor task that `textagent-gym export harbor` made, got one without its metadata"
        )
    try:
        row = dict(json.loads(own["instance"]))
        tests = json.loads((task / "tests" / "tests.json").read_bytes())
        row |= {name: tests[name] for name in TESTS}
        row |= {
            name: _text(task / place)
            for name, place in PLACES.items()
            if name != "test_patch" or (task / place).exists()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{task}: expected the files of an exported task, got another one ({error})") from error
    row["problem_statement"] = row["problem_statement"].removesuffix(INSTRUCTION_END)
    if digest_of(task) != own.get("digest"):
        raise ValueError(f"{task}: expected the repository and the tests as they were exported, got changed ones")
    return {"test_patch": "", **row}


def _config(task: Path) -> dict[str, Any]:
    try:
        toml = import_module("tomllib")  # Python 3.11 and later
    except ImportError:
        toml = import_module("tomli")  # comes with pytest elsewhere
    try:
        found: dict[str, Any] = toml.loads(_text(task / CONFIG))
    except toml.TOMLDecodeError as error:
        raise ValueError(f"{task / CONFIG}: expected TOML, got {error}") from error
    return found


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")
