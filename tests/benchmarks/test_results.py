"""Committed entries hold what they say: no other files, a sample of episodes that replays, and the page.

`make verify-results` plays all of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.leaderboard.entries import RESULTS, check_entry, entry_digest, entry_folders, read_verified
from benchmarks.runs.records import read_config
from benchmarks.runs.verify import Replayer

ENTRIES = entry_folders(RESULTS)


def name(entry: Path) -> str:
    return entry.relative_to(RESULTS).as_posix()


def test_there_are_entries_of_whole_files() -> None:
    assert ENTRIES
    assert len({entry_digest(entry) for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=name)
def test_a_sample_of_an_entry_plays_again(entry: Path) -> None:
    found = read_verified(entry)
    config, played = found.config, found.played
    assert [episode.key for episode in played] == config.episode_keys()
    check_entry(found, entry)
    if missing := config.found_suite().missing_games():
        pytest.skip(missing)
    cells, replayer = config.found_suite().cells, Replayer(config)
    for episode in played[::13]:
        if cells[episode.key[1]].exact_text:
            assert len(list(replayer.replay(episode))) == len(episode.transcript["turns"])


def test_the_page_tells_every_entry() -> None:
    page = (RESULTS.parent.parent / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    for entry in ENTRIES:
        config = read_config(entry)
        assert f"{config.suite}, track {config.track}" in page
        assert config.name in page
