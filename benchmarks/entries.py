"""Entries of the leaderboards: folders of verified runs, one for each agent, under `results/SUITE/TRACK/NAME`.

What was verified is remembered by content in `verified.json`, which is of this machine and never handed on: an entry whose
files have changed by a byte is re-simulated before it is listed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.errors import BaselinesError
from baselines.files import write_whole
from benchmarks.records import (
    FILES,
    SETTINGS,
    Played,
    RunConfig,
    check_file,
    read_config,
    read_sessions,
    read_trajectories,
    read_unplayed,
)
from benchmarks.run_folder import write_entry
from benchmarks.table import Table, make_table
from benchmarks.verify import Verified, verify

RESULTS = Path(__file__).parent / "results"
"""Where the entries of this repository are."""

OTHERS = ("speed.json", "verified.json")
"""Files beside the entries."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")


class EntryError(BaselinesError):
    """A folder cannot be an entry."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A verified run of a whole suite.

    Attributes:
        folder: where it lies; its name is that of the entry's page.
        config: what was asked for.
        table: its episodes as arrays.
        sessions: what was running, one for each time that the run was started.
        unplayed: attempts at an episode that came to nothing.
    """

    folder: Path
    config: RunConfig
    table: Table
    sessions: list[dict[str, Any]]
    unplayed: list[dict[str, Any]]

    @property
    def slug(self) -> str:
        """Name of the folder."""
        return self.folder.name

    def played(self) -> Iterator[Played]:
        """The episodes, read from the file one by one."""
        return read_trajectories(self.folder, most=len(self.config.places()))


def load_entries(results: Path = RESULTS, anew: bool = False) -> list[Entry]:
    """All entries under `results`, each verified now or before; sorted by suite, track and name.

    Args:
        results: their folder.
        anew: verify all, whatever is remembered.

    Raises:
        BaselinesError: a folder is no entry, or is not what it says; which and why is in the message.
    """
    known = {} if anew else _known(results)
    entries = []
    for folder in entry_folders(results):
        digest = entry_digest(folder)
        if known.get(_place(results, folder)) != digest:
            found = verify(folder)
            check_entry(found, folder)
            if entry_digest(folder) != digest:
                raise EntryError(f"expected {folder} to stay as it is while it is verified, got a change")
            known[_place(results, folder)] = digest
        else:
            found = read_verified(folder)
        table = make_table(found.config, found.played)
        entries.append(Entry(folder, found.config, table, found.sessions, found.unplayed))
    _write_known(results, {_place(results, entry.folder): known[_place(results, entry.folder)] for entry in entries})
    return entries


def entry_folders(results: Path) -> list[Path]:
    """The folders of all entries, sorted.

    Raises:
        EntryError: there is anything else under `results`.
    """
    folders = sorted({path.parent for path in results.glob(f"*/*/*/{SETTINGS}")})
    expected = {parent for folder in folders for parent in (folder, folder.parent, folder.parent.parent)}
    for path in sorted(results.rglob("*")):
        place = path.relative_to(results)
        is_right = path in expected or path.parent in folders or place.as_posix() in OTHERS
        if path.is_symlink() or not is_right or any(part.startswith(".") for part in place.parts):
            raise EntryError(f"expected nothing but entries under {results.name}, got {place}")
    return folders


def check_entry(found: Verified, folder: Path) -> None:
    """Raises `EntryError` unless a verified run may be listed, and lies where an entry of its kind lies."""
    if found.is_partial:
        raise EntryError(f"expected a run of the whole suite, got {found.config.limit} tasks of each cell (--limit)")
    if not NAME.fullmatch(folder.name):
        raise EntryError(f"expected a name of small letters, digits, dots and dashes, got {folder.name!r}")
    wanted = (found.config.suite, found.config.track)
    if (folder.parent.parent.name, folder.parent.name) != wanted:
        raise EntryError(f"expected {folder.name} under {'/'.join(wanted)}, got {folder.parent}")


def entry_digest(folder: Path) -> str:
    """sha256 over the files of an entry.

    Raises:
        EntryError: there are other files, or some are missing.
    """
    found = sorted(path.name for path in folder.iterdir())
    if found != sorted(FILES):
        raise EntryError(f"expected {', '.join(sorted(FILES))} in {folder}, got {', '.join(found)}")
    digest = hashlib.sha256()
    for name in FILES:
        check_file(folder / name)
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def pack(found: Verified, folder: Path) -> None:
    """Writes a verified run as an entry, in the order of the suite."""
    played = sorted(found.played, key=lambda episode: episode.place)
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_entry(folder, found.config, found.sessions, found.unplayed, played)


def remember(results: Path, folder: Path) -> None:
    """Notes that an entry has been verified as it is."""
    _write_known(results, {**_known(results), _place(results, folder): entry_digest(folder)})


def read_verified(folder: Path) -> Verified:
    """What was verified before, read again and not played."""
    config = read_config(folder)
    played = list(read_trajectories(folder, most=len(config.places())))
    return Verified(config, played, read_sessions(folder), read_unplayed(folder))


def _write_known(results: Path, known: dict[str, str]) -> None:
    write_whole(results / "verified.json", json.dumps(dict(sorted(known.items())), indent=2) + "\n")


def _known(results: Path) -> dict[str, str]:
    path = results / "verified.json"
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def _place(results: Path, folder: Path) -> str:
    return folder.relative_to(results).as_posix()
