"""Blocks of code on the pages of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"


def blocks(text: str, mark: str) -> list[str]:
    """Return the blocks of a page's text that are marked `mark`, a pattern."""
    return re.findall(rf"^```{mark}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run_with_library(page: str, name: str, changes: dict[str, str] | None = None) -> dict[str, Any]:
    """Run the block marked `py` that contains `name`, after the page's blocks marked `python` before it.

    Args:
        page: Path of the page in `docs`.
        name: Text of the block, found in no other.
        changes: Text of the block -> text to run instead, such as a smaller number of steps.

    Returns:
        The names that the blocks have defined.
    """
    text = (DOCS / page).read_text(encoding="utf-8")
    (block,) = (found for found in blocks(text, "py") if name in found)
    space: dict[str, Any] = {}
    for before in blocks(text[: text.index(block)], "python"):
        exec(compile(before, f"<{page}>", "exec"), space)
    for old, new in (changes or {}).items():
        assert old in block, old
        block = block.replace(old, new)
    exec(compile(block, f"<{page}, {name}>", "exec"), space)
    return space
