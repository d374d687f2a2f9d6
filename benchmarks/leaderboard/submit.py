"""Packs a run as an entry of the leaderboard, once it has been re-simulated.

    python -m benchmarks submit runs/random --slug random

The entry is written to `benchmarks/results/SUITE/TRACK/SLUG`; docs/benchmarks.md says how it gets listed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from baselines.errors import BaselinesError
from benchmarks.leaderboard.entries import CACHE, RESULTS, EntryError, check_entry, pack, remember
from benchmarks.runs.verify import verify


def submit(run: Path, slug: str, results: Path = RESULTS, memory: Path | None = None) -> Path:
    """Verify a run, pack it, and return the folder of the entry.

    The arguments are those of `main`; `memory` is the folder that remembers what was verified, None for none.

    Raises:
        BaselinesError: the run is not what it says or not whole, or there is an entry of that name.
    """
    found = verify(run)
    folder = results / found.config.suite / found.config.track / slug
    check_entry(found, folder)
    if folder.exists():
        raise EntryError(f"expected a name that is not taken, got {slug}: {folder} exists")
    pack(found, folder)
    if memory is not None:
        remember(memory, folder, found.repairs)
    return folder


def main(run: tyro.conf.Positional[Path], slug: str, results: Path | None = None) -> None:
    """Verify a run and pack it as an entry.

    Args:
        run: folder of the run.
        slug: name of the entry's folder and page.
        results: folder of the entries; by default those of this repository.
    """
    try:
        folder = submit(run, slug, results or RESULTS, CACHE / "verified")
    except BaselinesError as error:
        raise SystemExit(f"rejected: {error}") from error
    size = sum(path.stat().st_size for path in folder.iterdir())
    sys.stdout.write(f"packed into {folder} ({size / 1024:.0f} kB)\nnext: python -m benchmarks leaderboard\n")
