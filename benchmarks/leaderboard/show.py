"""Shows the scores of one run or of several of one suite and track, with intervals, without adding them to anything.

    python -m benchmarks scores runs/mine
    python -m benchmarks scores runs/mine runs/random runs/expert

The episodes are read as they were written; `python -m benchmarks verify` replays them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from benchmarks.leaderboard.entries import Entry, EntryError, read_verified
from benchmarks.leaderboard.leaderboard import board_markdown
from benchmarks.leaderboard.standings import make_boards
from benchmarks.leaderboard.table import make_table


def scores(folders: Sequence[Path]) -> str:
    """Return the tables of some runs, as Markdown.

    Raises:
        BaselinesError: there is no folder, or one is not that of a whole run.
    """
    if not folders:
        raise EntryError("expected the folder of at least one run, got none")
    entries = []
    for folder in folders:
        found = read_verified(folder)
        if found.is_partial:
            raise EntryError(
                f"expected a run of the whole suite in {folder}, got {found.config.limit} tasks of each cell"
            )
        table = make_table(found.config, found.played)
        entries.append(Entry(folder, found.config, table, found.sessions, found.unplayed))
    return "\n".join(map(board_markdown, make_boards(entries)))


def main(folders: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Print the scores of runs.

    Args:
        folders: of the runs.
    """
    sys.stdout.write(scores(folders))
