"""Entries of the leaderboards: folders of verified runs, one for each agent, under `results/SUITE/TRACK/NAME`.

What was verified is remembered by content in `verified.json`, which is made here and never taken from a submission: an
entry whose files have changed by a byte is re-simulated before it is listed.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.errors import BaselinesError
from baselines.files import write_whole
from benchmarks.records import (
    EPISODES,
    SESSIONS,
    SETTINGS,
    TRAJECTORIES,
    Played,
    RunConfig,
    Table,
    check_file,
    make_table,
    read_config,
    read_sessions,
    read_trajectories,
)
from benchmarks.verify import Verified, verify

RESULTS = Path(__file__).parent / "results"
"""Where the entries of this repository are."""

FILES = (SETTINGS, SESSIONS, EPISODES, TRAJECTORIES)
"""All that the folder of an entry holds."""

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
    """

    folder: Path
    config: RunConfig
    table: Table
    sessions: list[dict[str, Any]]

    @property
    def slug(self) -> str:
        """Name of the folder."""
        return self.folder.name

    def played(self) -> Iterator[Played]:
        """The episodes, read from the file one by one."""
        return read_trajectories(self.folder, most=len(self.config.places()))


def load_entries(results: Path = RESULTS) -> list[Entry]:
    """All entries under `results`, each verified now or before; sorted by suite, track and name.

    Raises:
        BaselinesError: a folder is no entry, or is not what it says; which and why is in the message.
    """
    known = _known(results)
    entries = []
    for settings in sorted(results.glob(f"*/*/*/{SETTINGS}")):
        folder = settings.parent
        digest = entry_digest(folder)
        if known.get(_place(results, folder)) != digest:
            check_entry(verify(folder), folder)
            known[_place(results, folder)] = digest
        entries.append(_read(folder))
    kept = {_place(results, entry.folder) for entry in entries}
    write_whole(results / "verified.json", json.dumps({k: known[k] for k in sorted(kept)}, indent=2) + "\n")
    return entries


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


def pack(found: Verified, source: Path, folder: Path) -> None:
    """Writes a verified run as an entry: in the order of the suite, as one xz stream, which is many times smaller."""
    played = sorted(found.played, key=lambda episode: episode.place)
    text = "".join(json.dumps(episode.trajectory(), allow_nan=False) + "\n" for episode in played)
    folder.mkdir(parents=True)
    (folder / TRAJECTORIES).write_bytes(lzma.compress(text.encode(), preset=9))
    write_whole(folder / EPISODES, "".join(json.dumps(episode.summary()) + "\n" for episode in played))
    for name in (SETTINGS, SESSIONS):
        write_whole(folder / name, (source / name).read_text(encoding="utf-8"))


def remember(results: Path, folder: Path) -> None:
    """Notes that an entry has been verified as it is."""
    known = {**_known(results), _place(results, folder): entry_digest(folder)}
    write_whole(results / "verified.json", json.dumps(dict(sorted(known.items())), indent=2) + "\n")


def _read(folder: Path) -> Entry:
    config = read_config(folder)
    played = list(read_trajectories(folder, most=len(config.places())))
    return Entry(folder, config, make_table(config, played), read_sessions(folder))


def _known(results: Path) -> dict[str, str]:
    path = results / "verified.json"
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def _place(results: Path, folder: Path) -> str:
    return folder.relative_to(results).as_posix()
