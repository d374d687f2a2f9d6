"""Every command of `python -m benchmarks` reads its options, and says in one line what a user got wrong."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import COMMANDS, main


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """Run a command that ends by SystemExit, and return its code: a number, or the line that it prints."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_its_options(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, name, "--help") == 0
    assert f"usage: python -m benchmarks {name} [-h]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("play", "error: expected a command among run, import, .*, got 'play'"),
        ("scores", "error: expected the folder of at least one run, got none"),
        ("scores none", "error: expected the file run.json in none, got none"),
        ("verify none", "rejected: expected the file run.json in none, got none"),
        ("submit none --slug x", "rejected: expected the file run.json in none, got none"),
        ("freeze core-v0", "error: expected a suite that was not published yet, got core-v0"),
        ("leaderboard --results none", "error: expected a folder of entries, got none, which is none"),
        ("run --suite no-v0 --agent random --out x", "error: expected one of the suites .*, got 'no-v0'"),
        ("import none --suite smoke-v0 --track open --name x --out y", "rejected: expected the file none in ."),
        ("speed --runs 0", "error: expected runs >= 1, got 0"),
        ("speed --results none", "error: expected something that was measured before, got nothing"),
        ("speed --results .", r"error: \[Errno 21\] Is a directory: '.'"),
        ("push suite no-v0 me/data", "error: expected one of the suites .*, got 'no-v0'"),
        ("load me/data --out .", "error: expected a folder that does not exist yet, got ."),
    ],
)
def test_a_mistake_is_one_line(words: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = call(monkeypatch, *words.split())
    assert isinstance(code, str) and "\n" not in code
    assert re.match(line, code), code
    assert not list(tmp_path.iterdir())


def test_a_domain_that_is_not_measured_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "speed", "--measure", "--domains", "Chess") == 2
    assert "TextWorld" in capsys.readouterr().err
