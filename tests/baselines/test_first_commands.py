"""The commands that the page on training shows first end in a policy that plays."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def first_commands() -> list[list[str]]:
    """Return the commands of the first code block of docs/training.md, as lists of words."""
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    block = re.search(r"## First commands\n+```\n(.*?)```", text, flags=re.DOTALL)
    assert block is not None
    lines = block[1].replace("\\\n", " ").strip().split("\n")
    return [shlex.split(line) for line in lines]


@pytest.mark.slow
def test_the_first_commands_end_in_a_policy_that_plays(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in first_commands():
        assert words[0] == "python"
        command = [sys.executable, *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"success[^0-9]*([01]\.\d+)", done.stdout)
    assert found is not None, done.stdout
    assert float(found[1]) > 0.65
