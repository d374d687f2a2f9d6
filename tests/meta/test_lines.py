"""No text is cut with `str.splitlines`, for which eleven characters other than the line feed end a line."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "textagent_gym" / "envs" / "swe" / "bundled"
"""Libraries whose text is part of frozen digests."""


def uses(source: str) -> list[int]:
    """Return the lines on which `splitlines` is named."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if getattr(node, "attr", None) == "splitlines"]


@pytest.mark.parametrize("package", ["textagent_gym", "baselines", "benchmarks", "docs"])
def test_lines_are_cut_at_line_feeds(package: str) -> None:
    files = [path for path in sorted((ROOT / package).rglob("*.py")) if BUNDLED not in path.parents]
    assert files
    found = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in uses(path.read_text(encoding="utf-8"))]
    assert not found, (
        f"cut at line feeds with split, or with the functions of textagent_gym.envs.swe.repo.text: {found}"
    )


def test_a_use_is_found() -> None:
    assert uses("x = 1\nfor line in open('x').read().splitlines(True):\n    pass\n") == [2]
    assert uses("cut = str.splitlines\n") == [1]
