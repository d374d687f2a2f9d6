"""The Python on the pages runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": ROOT / "README.md",
    **{name: ROOT / "docs" / name for name in ("libraries.md", "multi_agent_notes.md")},
}
BLOCKS = [
    pytest.param(block, id=f"{name}-{number}")
    for name, path in PAGES.items()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL), 1)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_runs(block: str) -> None:
    exec(compile(block, "<example>", "exec"), {})


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 3
