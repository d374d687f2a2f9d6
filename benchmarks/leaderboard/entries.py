"""Entries of the leaderboards: folders of verified runs, one for each agent, under `results/SUITE/TRACK/NAME`.

What was verified on this machine is remembered there, by content, and never handed on: an entry whose files have changed by
a byte is re-simulated before it is listed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from baselines.errors import BaselinesError
from baselines.runs.files import write_whole
from benchmarks.agents.agents import REFERENCES, parse_agent
from benchmarks.leaderboard.table import Table, make_table
from benchmarks.runs.records import (
    FILES,
    SETTINGS,
    EpisodeKey,
    EpisodeRecord,
    RunConfig,
    check_file,
    read_config,
    read_sessions,
    read_trajectories,
    read_unplayed,
)
from benchmarks.runs.run_folder import write_entry
from benchmarks.runs.verify import Repair, Verified, verify
from benchmarks.suites.suite import Presentation

RESULTS = Path(__file__).parents[1] / "results"
"""Folder of the entries of this repository."""

SPEED = "speed.json"
"""The file that is not an entry."""

CACHE = platformdirs.user_cache_path("benchmarks", appauthor=False)
"""Folder of this machine for what was verified, and for replays."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")


class EntryError(BaselinesError):
    """A folder cannot be an entry."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A verified run of a whole suite.

    Attributes:
        folder: its folder; its name is that of the entry's page.
        config: settings of the run.
        table: its episodes as arrays.
        sessions: software and machine, one for each time that the run was started.
        unplayed: attempts at an episode that came to nothing.
        repairs: solved repairs of software, by episode.
        digest: of its files, see `entry_digest`; empty for a run that is no entry.
    """

    folder: Path
    config: RunConfig
    table: Table
    sessions: list[dict[str, Any]]
    unplayed: list[dict[str, Any]]
    repairs: dict[EpisodeKey, Repair] = field(default_factory=dict)
    digest: str = ""

    @property
    def slug(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def is_flagged(self) -> bool:
        """True if a solved repair of software has flags."""
        return self.num_flagged > 0

    @property
    def num_flagged(self) -> int:
        """Number of solved repairs of software with flags."""
        return sum(bool(repair.flags) for repair in self.repairs.values())

    def is_called_as(self, other: Entry) -> bool:
        """Return whether both have one name, but for capitals, in one table."""
        mine, its = (
            (config.suite, config.split, config.track, config.name.casefold()) for config in (self.config, other.config)
        )
        return mine == its

    def played(self) -> Iterator[EpisodeRecord]:
        """Yield the episodes, read from the file one by one."""
        return read_trajectories(self.folder, most=len(self.config.episode_keys()))


def load_entries(
    results: Path = RESULTS, memory: Path | None = None, say: Callable[[str], object] = lambda _: None
) -> list[Entry]:
    """Return all entries under `results`, each verified now or before; sorted by suite, track and name.

    Args:
        results: their folder.
        memory: folder that remembers what was verified before; None verifies all.
        say: gets a line before each entry that is verified, which takes a while.

    Raises:
        BaselinesError: a folder is no entry, is not what it says, or has another's name; which and why is in the message.
    """
    entries: list[Entry] = []
    folders = entry_folders(results)
    for number, folder in enumerate(folders, start=1):
        digest = entry_digest(folder)
        repairs = None if memory is None else _remembered(memory / digest)
        missing = "" if repairs is not None else read_config(folder).found_suite().missing_games()
        which = f"{folder.relative_to(results)} ({number} of {len(folders)})"
        if repairs is None:
            say(f"not replayed, since {missing}: {which}" if missing else f"verifying {which}")
        found = read_verified(folder, repairs) if missing or repairs is not None else verify(folder)
        check_entry(found, folder)
        if entry_digest(folder) != digest:
            raise EntryError(f"expected {folder} to stay as it is while it is verified, got a change")
        if memory is not None and repairs is None and not missing:
            remember(memory, folder, found.repairs)
        table = make_table(found.config, found.played)
        entry = Entry(folder, found.config, table, found.sessions, found.unplayed, found.repairs, digest)
        for other in entries:
            if other.is_called_as(entry):
                raise EntryError(f"expected a name that is not taken in its table, got {entry.config.name!r} twice")
        entries.append(entry)
    return entries


def entry_folders(results: Path) -> list[Path]:
    """Return the folders of all entries, sorted.

    Raises:
        EntryError: there is no such folder, or anything else under it.
    """
    if not results.is_dir():
        raise EntryError(f"expected a folder of entries, got {results}, which is none")
    folders = sorted({path.parent for path in results.glob(f"*/*/*/{SETTINGS}")})
    expected = {parent for folder in folders for parent in (folder, folder.parent, folder.parent.parent)}
    for path in sorted(results.rglob("*")):
        place = path.relative_to(results)
        is_right = path in expected or path.parent in folders or place.as_posix() == SPEED
        if path.is_symlink() or not is_right or any(part.startswith(".") for part in place.parts):
            raise EntryError(f"expected nothing but entries under {results.name}, got {place}")
    return folders


def check_entry(found: Verified, folder: Path) -> None:
    """Raise `EntryError` unless a verified run may be listed, and lies where an entry of its kind lies."""
    if found.is_partial:
        raise EntryError(f"expected a run of the whole suite, got {found.config.limit} tasks of each cell (--limit)")
    if not NAME.fullmatch(folder.name):
        raise EntryError(f"expected a name of small letters, digits, dots and dashes, got {folder.name!r}")
    spec = parse_agent(found.config.agent)
    if spec.is_reference and found.config.presentation != Presentation():
        raise EntryError(f"expected the reference {spec} with plain options, since it sets the scale, got others")
    for name in (found.config.name.casefold(), folder.name):
        if name in REFERENCES and name != spec.kind:
            raise EntryError(f"expected a name that no reference has, got {name!r} for the agent {spec}")
    wanted = (found.config.suite, found.config.track)
    if (folder.parent.parent.name, folder.parent.name) != wanted:
        raise EntryError(f"expected {folder.name} under {'/'.join(wanted)}, got {folder.parent}")


def entry_digest(folder: Path) -> str:
    """Return sha256 over the files of an entry.

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
    """Write a verified run as an entry, in the order of the suite; without the text of games that are data of others."""
    cells = found.config.found_suite().cells
    played = [
        episode.without_text() if cells[episode.key[1]].by_name and episode.has_text else episode
        for episode in sorted(found.played, key=lambda episode: episode.key)
    ]
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_entry(folder, found.config, found.sessions, found.unplayed, played)


def remember(memory: Path, folder: Path, repairs: Mapping[EpisodeKey, Repair]) -> None:
    """Note in the folder `memory` that an entry has been verified as it is, and its solved repairs."""
    rows = [[*place, repair.patch, repair.flags] for place, repair in sorted(repairs.items())]
    write_whole(memory / entry_digest(folder), json.dumps(rows))


def _remembered(path: Path) -> dict[EpisodeKey, Repair] | None:
    """Return the solved repairs of an entry that was verified before; None where it was not, or they were not noted."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {(run, cell, task): Repair(patch, tuple(flags)) for run, cell, task, patch, flags in rows}


def read_verified(folder: Path, repairs: dict[EpisodeKey, Repair] | None = None) -> Verified:
    """Read the result of an earlier verification, without playing; what the replay found is given."""
    config = read_config(folder)
    played = list(read_trajectories(folder, most=len(config.episode_keys())))
    return Verified(config, played, read_sessions(folder), read_unplayed(folder), repairs or {})
