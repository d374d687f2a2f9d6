"""The folder of a run while it is played: every line is on disk before the next, and what was played is never lost.

A torn end, which a kill leaves, is cut off when the run is resumed; any other damage stops it, and nothing is touched. The
trajectories are what counts, and lines that `episodes.jsonl` lacks are made from them.
"""

from __future__ import annotations

import fcntl
import json
import lzma
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from baselines.runs.files import append_line, write_whole
from benchmarks.runs.records import (
    EPISODES,
    SESSIONS,
    SETTINGS,
    TRAJECTORIES,
    UNPLAYED,
    EpisodeKey,
    EpisodeRecord,
    RecordError,
    RunConfig,
    TornError,
    decompressed,
    parse_played,
    read_config,
    read_sessions,
    render_config,
)


class RunFolder:
    """A run that is being written, by one process at a time.

    Args:
        path: its folder, made if it is missing.
        config: settings of the run.
        session: record of this start in `sessions.jsonl`.

    Attributes:
        done: keys of the episodes that were played.
        session: number of this start, from 0.

    Raises:
        RecordError: the folder holds another run or something else, is damaged, is in use, or was played with other models.
    """

    def __init__(self, path: Path, config: RunConfig, session: dict[str, Any]) -> None:
        self.path = path
        self._stack = ExitStack()
        try:
            self._lock()
            self._claim(config)
            self.done = self._repair()
            self.session = self._start(session)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def append(self, played: EpisodeRecord) -> None:
        """Write one episode; it is on disk when this returns.

        Raises:
            RecordError: it is none that could be read again; nothing is written.
        """
        line = played.line()
        parse_played(line)
        append_line(self.path / TRAJECTORIES, lzma.compress(line))
        append_line(self.path / EPISODES, _summary(played))
        self.done.add(played.key)

    def append_unplayed(self, key: EpisodeKey, reason: str) -> None:
        """Note an attempt that came to nothing."""
        run, cell, task = key
        record = {"run": run, "cell": cell, "task": task, "reason": reason[:500], "session": self.session}
        append_line(self.path / UNPLAYED, json.dumps(record).encode() + b"\n")

    def _lock(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDONLY)
        self._stack.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecordError(
                f"expected {self.path} for this process alone, got one that another run is writing"
            ) from error

    def _claim(self, config: RunConfig) -> None:
        """Write the settings, or hold them against those that are there."""
        text = render_config(config)
        if (self.path / SETTINGS).exists():
            found = read_config(self.path)
            if render_config(found) != text:
                record = _difference(found, config)
                raise RecordError(f"expected {self.path} to be empty or a run with the same options, got {record}")
            return
        others = [path.name for path in self.path.iterdir() if path.suffix != ".partial"]
        if others:
            raise RecordError(f"expected {self.path} to be empty or the folder of a run, got other files in it")
        write_whole(self.path / SETTINGS, text)

    def _repair(self) -> set[EpisodeKey]:
        """Cut a torn end off, and make the lines that `episodes.jsonl` lacks; the keys of what was played."""
        found = self._whole_episodes() if (self.path / TRAJECTORIES).exists() else []
        write_whole(self.path / EPISODES, b"".join(map(_summary, found)).decode())
        unplayed = self.path / UNPLAYED
        lines = unplayed.read_text(encoding="utf-8").split("\n")[:-1] if unplayed.exists() else []
        write_whole(unplayed, "".join(f"{line}\n" for line in lines))
        return {played.key for played in found}

    def _whole_episodes(self) -> list[EpisodeRecord]:
        """Return the episodes; the file is cut after the last one that is whole."""
        found: list[EpisodeRecord] = []
        end, content = 0, b""
        with (self.path / TRAJECTORIES).open("rb") as stream:
            try:
                for piece, after in decompressed(stream):
                    content += piece
                    if after is not None:
                        found += [parse_played(line) for line in content.split(b"\n")[:-1]]
                        end, content = after, b""
            except TornError:
                pass  # what a kill leaves
            except RecordError as error:
                raise RecordError(
                    f"{self.path / TRAJECTORIES}, after byte {end}: {error}; nothing was changed"
                ) from error
        os.truncate(self.path / TRAJECTORIES, end)
        return found

    def _start(self, session: dict[str, Any]) -> int:
        earlier = read_sessions(self.path) if (self.path / SESSIONS).exists() else []
        models = session.get("model_sha256")
        if self.done and earlier and earlier[-1].get("model_sha256") != models:
            raise RecordError("expected the models with which the run was begun, got others: begin a run of its own")
        lines = [*map(json.dumps, earlier), json.dumps(session)]
        write_whole(self.path / SESSIONS, "".join(f"{line}\n" for line in lines))
        return len(earlier)


def write_entry(
    folder: Path, config: RunConfig, sessions: Sequence[Any], unplayed: Sequence[Any], played: Sequence[EpisodeRecord]
) -> None:
    """Write a finished run again: one xz stream, which is many times smaller. The folder is whole or not there."""
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True)
    (partial / SETTINGS).write_text(render_config(config), encoding="utf-8")
    for name, lines in ((SESSIONS, sessions), (UNPLAYED, unplayed)):
        (partial / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    (partial / EPISODES).write_bytes(b"".join(map(_summary, played)))
    content = b"".join(episode.line() for episode in played)
    (partial / TRAJECTORIES).write_bytes(lzma.compress(content, preset=9))
    partial.rename(folder)


def _summary(played: EpisodeRecord) -> bytes:
    return json.dumps(played.summary(), allow_nan=False).encode() + b"\n"


def _difference(found: RunConfig, asked: RunConfig) -> str:
    names = [name for name in RunConfig.__dataclass_fields__ if getattr(found, name) != getattr(asked, name)]
    return ", ".join(f"{name}={getattr(found, name)!r} there, {getattr(asked, name)!r} asked" for name in names)
