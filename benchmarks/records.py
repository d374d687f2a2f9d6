"""A run on disk: what was played, in files that survive a kill and that anyone can read.

A folder holds

- `run.json`: what was asked for (`RunConfig`), written once; a run is resumed with the same or not at all;
- `sessions.jsonl`: one line each time the run was started: versions of the packages, git revision, machine;
- `trajectories.jsonl.xz`: one line per episode, in the order in which they ended: a transcript (`baselines.transcripts`)
  with the keys of `Played` beside it. Every line is an xz stream of its own, so that the file only ever grows;
- `episodes.jsonl`: the same without the text, one line per episode, for tables.

Each line is on disk (fsync) before the next episode is written. A torn last line is cut off when the run is resumed; the
trajectories are what counts, and lines that `episodes.jsonl` lacks are made from them.
"""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baselines.errors import BaselinesError
from baselines.files import write_whole
from baselines.transcripts import Transcript, TranscriptError, parse_transcript
from benchmarks.suite import Presentation, Suite, Track, find_track, load_suite

Place: TypeAlias = tuple[int, int, int]
"""Run, cell and task of an episode, each counted from 0."""

SETTINGS, SESSIONS, EPISODES, TRAJECTORIES = "run.json", "sessions.jsonl", "episodes.jsonl", "trajectories.jsonl.xz"

FORMAT = 1

MAX_NAME = 100
"""Characters of the name of an entry at most."""

MAX_LINE = 32 * 2**20
"""Bytes of one episode at most."""

MAX_CONTENT = 2**30
"""Bytes of all episodes of a run at most."""

MAX_FILE = 256 * 2**20
"""Bytes of one file at most, as it lies on disk."""

_NULL = type(None)
_USAGE: dict[str, tuple[type, ...]] = {
    "prompt_tokens": (int, _NULL),
    "completion_tokens": (int, _NULL),
    "cost": (int, float, _NULL),
    "retries": (int,),
    "empty_replies": (int,),
}
_TURN_KEYS = {"observation", "action", "reward", "cut"}
_XZ_MEMORY = 128 * 2**20
_CHUNK = 2**16


class RecordError(BaselinesError):
    """A folder is not that of a run, or its files are damaged."""


@dataclass(frozen=True)
class RunConfig:
    """What was asked for.

    Attributes:
        name: of the entry, as the leaderboard shows it.
        agent: how the agent was named on the command line.
        agent_settings: its options, never a key.
        suite: name of the suite.
        suite_digest: sha256 of its file.
        track: name of the track.
        presentation: how the agent wanted to be told.
        num_runs: times that each task is played.
        limit: tasks of each cell, None for all; a limited run is partial and never listed.
        format: version of this format.
    """

    name: str
    agent: str
    agent_settings: dict[str, Any]
    suite: str
    suite_digest: str
    track: str
    presentation: Presentation
    num_runs: int
    limit: int | None = None
    format: int = FORMAT

    def found_suite(self) -> Suite:
        """The suite that this is about, or an error where it is another one by now."""
        suite = load_suite(self.suite)
        if suite.digest != self.suite_digest:
            raise RecordError(
                f"expected suite {self.suite} with digest {suite.digest[:12]}, got a run of {self.suite_digest[:12]}"
            )
        return suite

    def found_track(self) -> Track:
        """The track, once it is known to grant the presentation."""
        track = find_track(self.track)
        self.presentation.check(track)
        return track

    def places(self) -> list[Place]:
        """Every episode of the run, in the order in which they are played."""
        tasks = self.found_suite().tasks(self.limit)
        return [(run, cell, task) for run in range(self.num_runs) for cell, task in tasks]


@dataclass(frozen=True)
class Usage:
    """What an episode cost; tokens and money are None where nobody counted them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    """US dollars."""
    retries: int = 0
    empty_replies: int = 0


@dataclass(frozen=True)
class Played:
    """One episode.

    Attributes:
        place: run, cell and task.
        transcript: what was seen, done and paid.
        invalid_actions: steps whose action was no command.
        seconds: wall-clock seconds.
        usage: tokens and money.
        session: line of `sessions.jsonl`, from 0.
    """

    place: Place
    transcript: Transcript
    invalid_actions: int
    seconds: float
    usage: Usage = field(default_factory=Usage)
    session: int = 0

    def trajectory(self) -> dict[str, Any]:
        """The line of the trajectory."""
        return {**self.transcript, **self._beside()}

    def summary(self) -> dict[str, Any]:
        """The line of `episodes.jsonl`."""
        told = {
            key: value for key, value in self.transcript.items() if key not in ("turns", "final_observation", "version")
        }
        return {**told, "steps": len(self.transcript["turns"]), **self._beside()}

    def _beside(self) -> dict[str, Any]:
        run, cell, task = self.place
        return {
            "run": run,
            "cell": cell,
            "task": task,
            "invalid_actions": self.invalid_actions,
            "seconds": round(self.seconds, 3),
            **asdict(self.usage),
            "session": self.session,
        }


class RunFolder:
    """A run that is being written.

    Args:
        path: its folder, made if it is missing.
        config: what is asked for.
        session: what `sessions.jsonl` says about this start.

    Raises:
        RecordError: the folder holds another run, or something else.
    """

    def __init__(self, path: Path, config: RunConfig, session: dict[str, Any]) -> None:
        self.path = path
        settings = path / SETTINGS
        if settings.exists():
            found = read_config(path)
            if found != config:
                raise RecordError(
                    f"expected {path} to be empty or a run with the same options, got {_difference(found, config)}"
                )
        elif path.exists() and any(path.iterdir()):
            raise RecordError(f"expected {path} to be empty or the folder of a run, got other files in it")
        else:
            write_whole(settings, json.dumps(asdict(config), indent=2) + "\n")
        self.done = self._repair()
        self.session = self._start(session)

    def append(self, played: Played) -> None:
        """Writes one episode; it is on disk when this returns."""
        _append(self.path / TRAJECTORIES, lzma.compress(_line(played.trajectory())))
        _append(self.path / EPISODES, _line(played.summary()))
        self.done.add(played.place)

    def _repair(self) -> set[Place]:
        """Cuts torn ends off, and makes the lines that `episodes.jsonl` lacks; the places of what was played."""
        found = self._cut() if (self.path / TRAJECTORIES).exists() else []
        write_whole(self.path / EPISODES, "".join(_line(played.summary()).decode() for played in found))
        return {played.place for played in found}

    def _cut(self) -> list[Played]:
        """The whole episodes; what follows the last of them is cut off."""
        found: list[Played] = []
        end, content = 0, b""
        with (self.path / TRAJECTORIES).open("rb") as stream, suppress(RecordError):
            for piece, after in _decompressed(stream):
                content += piece
                if after is not None:
                    found.append(parse_played(content))
                    end, content = after, b""
        os.truncate(self.path / TRAJECTORIES, end)
        return found

    def _start(self, session: dict[str, Any]) -> int:
        sessions = self.path / SESSIONS
        text = sessions.read_text(encoding="utf-8") if sessions.exists() else ""
        lines = [line for line in text.split("\n")[:-1] if line]
        write_whole(sessions, "".join(f"{line}\n" for line in [*lines, json.dumps(session)]))
        return len(lines)


def read_config(folder: Path) -> RunConfig:
    """What a run was asked for.

    Raises:
        RecordError: the file is missing, damaged, or says something that no run says.
    """
    told = _object(read_text(folder / SETTINGS), SETTINGS)
    try:
        config = RunConfig(**{**told, "presentation": Presentation(**told["presentation"])})
    except (KeyError, TypeError) as error:
        raise RecordError(f"expected {SETTINGS} with the options of a run, got {error}") from error
    kinds = {
        "name": str,
        "agent": str,
        "agent_settings": dict,
        "suite": str,
        "suite_digest": str,
        "track": str,
        "num_runs": int,
    }
    wrong = [name for name, kind in kinds.items() if type(getattr(config, name)) is not kind]
    wrong += [] if wrong or is_name(config.name) else ["name"]
    if wrong or config.format != FORMAT or not 1 <= config.num_runs <= 1000 or not _is_limit(config.limit):
        raise RecordError(
            f"expected {SETTINGS} of format {FORMAT} with values in range, got {', '.join(wrong) or told}"
        )
    return config


def is_name(text: str) -> bool:
    """Whether an entry may be called so."""
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """What was running, one for each time that the run was started.

    Raises:
        RecordError: the file is missing or damaged.
    """
    lines = read_text(folder / SESSIONS).split("\n")
    if lines.pop() or not lines:
        raise RecordError(f"expected whole lines in {SESSIONS}, got {len(lines)} and a torn one")
    return [_object(line, SESSIONS) for line in lines]


def read_text(path: Path) -> str:
    """The text of a file that is a file and not too large.

    Raises:
        RecordError: it is missing, a link, too large, or not UTF-8.
    """
    check_file(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"expected UTF-8 in {path.name}, got {error.reason}") from error


def check_file(path: Path) -> None:
    """Raises `RecordError` unless `path` is an ordinary file of bounded size."""
    if path.is_symlink() or not path.is_file():
        raise RecordError(
            f"expected the file {path.name} in {path.parent}, got {'a link' if path.is_symlink() else 'none'}"
        )
    if path.stat().st_size > MAX_FILE:
        raise RecordError(f"expected {path.name} of at most {MAX_FILE} bytes, got {path.stat().st_size}")


def read_trajectories(folder: Path, most: int) -> Iterator[Played]:
    """The episodes of a run, one by one.

    Args:
        folder: of the run.
        most: episodes at most; more are an error.

    Raises:
        RecordError: the file is damaged, torn, or larger than a run can be.
    """
    path = folder / TRAJECTORIES
    check_file(path)
    with path.open("rb") as stream:
        for number, line in enumerate(_lines(stream), start=1):
            if number > most:
                raise RecordError(f"expected at most {most} episodes in {path.name}, got more")
            yield parse_played(line)


def parse_played(line: bytes) -> Played:
    """An episode from its line.

    Raises:
        RecordError: the line is not that of an episode.
    """
    try:
        told: Any = parse_transcript(line)
        _check_keys(told)
        return Played(
            place=(_number(told.pop("run"), int), _number(told.pop("cell"), int), _number(told.pop("task"), int)),
            invalid_actions=_number(told.pop("invalid_actions"), int),
            seconds=_number(told.pop("seconds"), int, float),
            usage=Usage(**{name: _number(told.pop(name), *kinds) for name, kinds in _USAGE.items()}),
            session=_number(told.pop("session"), int),
            transcript=told,
        )
    except KeyError as missing:
        raise RecordError(f"expected an episode with the key {missing}, got none") from missing
    except (TranscriptError, ValueError) as error:
        raise RecordError(f"damaged episode: {error}") from error


@dataclass(frozen=True, eq=False)
class Table:
    """A whole run as arrays of runs x tasks, in the order of the suite.

    Attributes:
        config: what was asked for.
        rows: (R, T) summaries.
        strata: (T,) name of each task's cell.
    """

    config: RunConfig
    rows: list[list[dict[str, Any]]]
    strata: list[str]

    def column(self, key: str) -> NDArray[np.float64]:
        """(R, T) values; NaN where nobody counted."""
        return np.array(
            [[np.nan if row[key] is None else row[key] for row in run] for run in self.rows], dtype=np.float64
        )


def make_table(config: RunConfig, played: list[Played]) -> Table:
    """Puts episodes in the order of the suite.

    Raises:
        RecordError: one is missing.
    """
    suite = config.found_suite()
    found = {episode.place: episode.summary() for episode in played}
    places = config.places()
    missing = [place for place in places if place not in found]
    if missing:
        raise RecordError(
            f"expected all {len(places)} episodes, got {len(missing)} fewer: first {missing[0]} is missing"
        )
    tasks = suite.tasks(config.limit)
    rows = [[found[run, cell, task] for cell, task in tasks] for run in range(config.num_runs)]
    return Table(config, rows, [suite.cells[cell].name for cell, _ in tasks])


def _decompressed(file: BinaryIO) -> Iterator[tuple[bytes, int | None]]:
    """Pieces of the content of xz streams, and after the last piece of each stream the place in the file behind it.

    Raises:
        RecordError: a stream is torn or damaged, or there is more content than a run can have.
    """
    pending, total = b"", 0
    while pending or (pending := file.read(_CHUNK)):
        decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        while not decompressor.eof:
            if not pending and decompressor.needs_input and not (pending := file.read(_CHUNK)):
                raise RecordError(f"expected whole episodes in {TRAJECTORIES}, got a torn end")
            try:
                piece = decompressor.decompress(pending, max_length=_CHUNK)
            except lzma.LZMAError as error:
                raise RecordError(f"expected xz streams in {TRAJECTORIES}, got {error}") from error
            pending = b""
            total += len(piece)
            if total > MAX_CONTENT:
                raise RecordError(f"expected at most {MAX_CONTENT} bytes in {TRAJECTORIES}, got more")
            yield piece, None
        pending = decompressor.unused_data
        yield b"", file.tell() - len(pending)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines in xz streams.

    Raises:
        RecordError: a stream is torn or damaged, or a line is too long or has no end.
    """
    line = bytearray()
    for piece, _ in _decompressed(file):
        line += piece
        *whole, rest = line.split(b"\n")
        yield from map(bytes, whole)
        line = bytearray(rest)
        if len(line) > MAX_LINE:
            raise RecordError(f"expected episodes of at most {MAX_LINE} bytes, got a longer one")
    if line:
        raise RecordError(f"expected {TRAJECTORIES} to end with a whole episode, got a torn one")


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told, allow_nan=False).encode() + b"\n"


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        told = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"expected JSON in {where}, got text that does not parse ({error})") from error
    if not isinstance(told, dict):
        raise RecordError(f"expected a JSON object in {where}, got {type(told).__name__}")
    return told


def _check_keys(told: dict[str, Any]) -> None:
    """Raises ValueError for what no run writes: nothing comes along unseen."""
    known = {*Transcript.__required_keys__, "run", "cell", "task", "invalid_actions", "seconds", "session", *_USAGE}
    unknown = {*told} - known
    for turn in told["turns"]:
        unknown |= {*turn} - _TURN_KEYS
    if unknown:
        raise ValueError(f"expected the keys of an episode, got also {', '.join(sorted(unknown))}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _number(value: Any, *kinds: type) -> Any:
    """`value`, once it is known to be a number of one of these kinds that is neither below 0 nor infinite."""
    if type(value) not in kinds or (value is not None and not 0 <= value < 1e18):
        raise ValueError(f"expected a number of at least 0, got {value!r:.60}")
    return value


def _is_limit(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 1)


def _difference(found: RunConfig, asked: RunConfig) -> str:
    names = [name for name in RunConfig.__dataclass_fields__ if getattr(found, name) != getattr(asked, name)]
    return ", ".join(f"{name}={getattr(found, name)!r} there, {getattr(asked, name)!r} asked" for name in names)
