"""The files about the project agree with each other and with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import textagent_gym

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs" / "project").glob("*.md")]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    version = textagent_gym.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert f"\nversion: {version}\n" in text("CITATION.cff")
    assert version in text("CHANGELOG.md")
    assert 'version = { attr = "textagent_gym.__version__" }' in text("pyproject.toml")


def test_the_workflow_runs_the_script_of_the_checkout() -> None:
    assert "- run: .ci/run\n" in text(".github/workflows/ci.yml")
    assert "make test" in text(".ci/run")


def test_commands_of_make_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    pattern = r"make ([a-z][a-z-]+)(?:`| +#)"
    named = {name for page in PAGES for name in re.findall(pattern, page.read_text(encoding="utf-8"))}
    assert {"test", "demo", "lint", "audit"} <= named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert "://" in link or (page.parent / link).exists(), link


def test_every_security_exception_has_a_reason() -> None:
    section = text("pyproject.toml").partition("[tool.ruff.lint.per-file-ignores]\n")[2].partition("\n[")[0]
    above = ""
    for line in filter(None, section.splitlines()):
        if re.search(r'"S\d', line):
            assert "  # " in line or above.startswith("# "), line
        above = line
