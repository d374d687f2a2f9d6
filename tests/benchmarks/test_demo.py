"""Tests of the demo's options; `tests/baselines/test_first_commands.py` plays what it trains."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from rich.console import Console

from baselines.errors import ConfigError
from benchmarks.demo import FIRST_TEST, FIRST_VALIDATION, Config, run_demo


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("{}")
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"expected --out to be new or an earlier demo's folder, found thesis\.tex"):
        run_demo(Config(out=tmp_path), Console(quiet=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.json", "thesis.tex"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("kept")
    with pytest.raises(ConfigError, match="expected --out to be a folder, got the file"):
        run_demo(Config(out=tmp_path / "notes"), Console(quiet=True))
    assert (tmp_path / "notes").read_text() == "kept"


@pytest.mark.parametrize("change", [{"seed": -1}, {"num_iterations": 0}, {"num_test_games": 0}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"expected {next(iter(change))} >= "):
        run_demo(replace(Config(out=tmp_path / "demo"), **change), Console(quiet=True))
    assert not (tmp_path / "demo").exists()


def test_no_two_demos_share_a_game() -> None:
    played = []
    for seed in (0, 1, 2, 7):
        config = Config(seed=seed)
        counts = {
            0: config.num_iterations * config.episodes_per_batch,
            FIRST_VALIDATION: config.num_validation_games,
            FIRST_TEST: config.num_test_games,
        }
        games = [set(config.games(first, count)) for first, count in counts.items()]
        assert all(not one & other for one, other in combinations(games, 2))
        played.append(set().union(*games))
    assert all(not one & other for one, other in combinations(played, 2))
