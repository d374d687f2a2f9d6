"""Records of a run: its settings and episodes, and their checked reading from untrusted files.

The folder of a run holds

- `run.json`: what was asked for (`RunConfig`), written once; a run is resumed with the same or not at all;
- `sessions.jsonl`: one line each time the run was started: versions of the packages, git revision, machine;
- `trajectories.jsonl.xz`: one line per episode, in the order in which they ended: a transcript
  (`baselines.runs.transcripts`) with the keys of `EpisodeRecord`. Every line is a separate xz stream, so that the file
  only ever grows;
- `episodes.jsonl`: the same without the text, one line per episode, for tables;
- `unplayed.jsonl`: one line for each attempt at an episode that came to nothing, and why.

`run_folder` writes them. A line is valid only as this module would write it: nothing can come along unseen.
"""

from __future__ import annotations

import json
import lzma
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from baselines.errors import BaselinesError
from baselines.runs.transcripts import Transcript, TranscriptError, parse_json, parse_transcript
from benchmarks.suites.suite import Presentation, Suite, Track, find_track, load_suite, sha256

EpisodeKey: TypeAlias = tuple[int, int, int]
"""Run, cell and task of an episode, each counted from 0."""

SETTINGS, SESSIONS, UNPLAYED = "run.json", "sessions.jsonl", "unplayed.jsonl"
EPISODES, TRAJECTORIES = "episodes.jsonl", "trajectories.jsonl.xz"

FILES = (SETTINGS, SESSIONS, UNPLAYED, EPISODES, TRAJECTORIES)
"""All that the folder of a run holds in the end."""

FORMAT = 1

MAX_NAME = 100
"""Characters of the name of an entry at most."""

MAX_AGENT = 500
"""Characters of the name of an agent at most."""

MAX_LINE = 32 * 2**20
"""Bytes of one episode at most."""

MAX_CONTENT = 2**30
"""Bytes of all episodes of a run at most."""

MAX_SETTINGS = 2**20
"""Bytes of `run.json` at most."""

MAX_NOTES = 4 * 2**20
"""Bytes of `sessions.jsonl`, and of `unplayed.jsonl`, at most."""

MAX_RUNS = 50
"""Times that a task is played at most."""

TEXT_DIGEST = "sha256 of all observations: "
"""Begins the last observation of an episode whose observations are not kept, before their digest."""

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
# Printable by their category, and yet not to be seen: DerivedCoreProperties.txt, Default_Ignorable_Code_Point, and the
# Braille pattern without a dot.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_XZ_MEMORY = 128 * 2**20
_CHUNK = 2**16


class RecordError(BaselinesError):
    """A folder is not that of a run, or its files are damaged."""


class TornError(RecordError):
    """A file ends in the middle of an episode."""


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run.

    Attributes:
        name: of the entry, as the leaderboard shows it.
        agent: name of the agent on the command line.
        agent_settings: its options, never a key.
        suite: name of the suite.
        suite_digest: sha256 of its file.
        track: name of the track.
        presentation: presentation of the agent's help.
        num_runs: times that each task is played.
        limit: tasks of each cell, None for all; a limited run is partial and never listed.
        split: the one split that was played, None for the whole suite; listed in a table of that split.
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
    split: str | None = None

    def found_suite(self) -> Suite:
        """Return the suite, or the split of it, that this is about; an error where it is another one by now."""
        suite = load_suite(self.suite)
        if suite.digest != self.suite_digest:
            raise RecordError(
                f"expected suite {self.suite} with digest {suite.digest[:12]}, got a run of {self.suite_digest[:12]}"
            )
        return suite.of_split(self.split)

    def found_track(self) -> Track:
        """Return the track, once it is known to grant the presentation."""
        track = find_track(self.track)
        self.presentation.check(track)
        if self.agent_settings.get("decode") == "listed" and not track.lists:
            raise RecordError(
                f"expected decode=listed in a track that grants the list of commands, got track {self.track}: decoding "
                "over listed commands uses the list"
            )
        return track

    def episode_keys(self) -> list[EpisodeKey]:
        """Return every episode of the run, in the order in which they are played."""
        tasks = self.found_suite().tasks(self.limit)
        return [(run, cell, task) for run in range(self.num_runs) for cell, task in tasks]


@dataclass(frozen=True)
class Usage:
    """Costs of an episode; tokens and money are None if they were not counted."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    """In the currency of the prices; None where no price was given."""
    retries: int = 0
    empty_replies: int = 0


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode.

    Attributes:
        key: run, cell and task.
        transcript: observations, actions and rewards.
        invalid_actions: steps whose action was no command.
        seconds: wall-clock seconds.
        usage: tokens and money.
        session: line of `sessions.jsonl`, from 0.
    """

    key: EpisodeKey
    transcript: Transcript
    invalid_actions: int
    seconds: float
    usage: Usage = field(default_factory=Usage)
    session: int = 0

    def trajectory(self) -> dict[str, Any]:
        """Return its line of `trajectories.jsonl.xz`."""
        return {**self.transcript, **self._beside()}

    def line(self) -> bytes:
        """Return the trajectory as it is written."""
        return json.dumps(self.trajectory(), allow_nan=False).encode() + b"\n"

    def summary(self) -> dict[str, Any]:
        """Return its line of `episodes.jsonl`."""
        record = {
            key: value for key, value in self.transcript.items() if key not in ("turns", "final_observation", "version")
        }
        return {**record, "steps": len(self.transcript["turns"]), **self._beside()}

    def without_text(self) -> EpisodeRecord:
        """Return the same with one digest of all observations in their place, for games whose text may not be kept."""
        recorded = self.transcript
        turns = [{**turn, "observation": ""} for turn in recorded["turns"]]
        texts = [turn["observation"] for turn in recorded["turns"]]
        digest = digest_of_texts([*texts, recorded["final_observation"]])
        bare = cast(Transcript, {**recorded, "turns": turns, "final_observation": digest})
        return replace(self, transcript=bare)

    @property
    def has_text(self) -> bool:
        """False where a digest stands in the place of the observations."""
        return not self.transcript["final_observation"].startswith(TEXT_DIGEST)

    def _beside(self) -> dict[str, Any]:
        run, cell, task = self.key
        return {
            "run": run,
            "cell": cell,
            "task": task,
            "invalid_actions": self.invalid_actions,
            "seconds": round(self.seconds, 3),
            **asdict(self.usage),
            "session": self.session,
        }


def digest_of_texts(texts: Sequence[str]) -> str:
    """Return what stands in the place of observations that are not kept."""
    return TEXT_DIGEST + sha256(json.dumps(list(texts)))


def render_config(config: RunConfig) -> str:
    """Return the text of `run.json`.

    Raises:
        RecordError: a setting is not finite.
    """
    try:
        shown = asdict(config)
        if config.split is None:
            del shown["split"]
        if config.presentation.show_list:  # entries are older than this field
            del shown["presentation"]["show_list"]
        return json.dumps(shown, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise RecordError(f"expected settings that JSON can say, got {config.agent_settings}: {error}") from error


def read_config(folder: Path) -> RunConfig:
    """Read the settings of a run.

    Raises:
        RecordError: the file is missing, damaged, or says something that no run says.
    """
    text = read_text(folder / SETTINGS, MAX_SETTINGS)
    record = _object(text, SETTINGS)
    try:
        config = RunConfig(**{**record, "presentation": Presentation(**record["presentation"])})
    except (KeyError, TypeError) as error:
        raise RecordError(f"expected {SETTINGS} with the options of a run, got {str(error)!r:.200}") from error
    wrong = [name for name, is_right in _CONFIG.items() if not is_right(getattr(config, name))]
    if wrong:
        raise RecordError(f"expected {SETTINGS} with values in range, got another {', '.join(wrong)}")
    if text != render_config(config):
        raise RecordError(f"expected {SETTINGS} as a run writes it, got the same values in another spelling")
    return config


def is_name(text: str) -> bool:
    """Return whether an entry may be called so: what is seen of a name is all that there is of it."""
    is_plain = text == unicodedata.normalize("NFKC", text).strip() and not _UNSEEN.search(text)
    return 0 < len(text) <= MAX_NAME and text.isprintable() and is_plain and any(letter.isalnum() for letter in text)


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """Read the software and machine of a run, one record for each start.

    Raises:
        RecordError: the file is missing or damaged.
    """
    sessions = _objects(folder, SESSIONS)
    if not sessions:
        raise RecordError(f"expected whole lines in {SESSIONS}, got none")
    return sessions


def read_unplayed(folder: Path) -> list[dict[str, Any]]:
    """Return the attempts that came to nothing.

    Raises:
        RecordError: the file is missing or damaged.
    """
    return _objects(folder, UNPLAYED)


def read_text(path: Path, most: int | None = None) -> str:
    """Return the text of a file that is a file and not too large.

    Args:
        path: the file.
        most: bytes; `MAX_FILE` if None.

    Raises:
        RecordError: it is missing, a link, too large, or not UTF-8.
    """
    check_file(path, most)
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"expected UTF-8 in {path.name}, got {error.reason}") from error


def check_file(path: Path, most: int | None = None) -> None:
    """Raise `RecordError` unless `path` is an ordinary file of at most `most` bytes (`MAX_FILE` if None)."""
    most = MAX_FILE if most is None else most
    if path.is_symlink() or not path.is_file():
        raise RecordError(
            f"expected the file {path.name} in {path.parent}, got {'a link' if path.is_symlink() else 'none'}"
        )
    if path.stat().st_size > most:
        raise RecordError(f"expected {path.name} of at most {most} bytes, got {path.stat().st_size}")


def read_trajectories(folder: Path, most: int) -> Iterator[EpisodeRecord]:
    """Yield the episodes of a run, one by one.

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
            played = parse_played(line)
            if played.line() != line + b"\n":
                raise RecordError(
                    f"expected line {number} of {path.name} as a run writes it, got the same values in another spelling"
                )
            yield played


def parse_played(line: bytes) -> EpisodeRecord:
    """Return an episode from its line.

    Raises:
        RecordError: the line is not that of an episode.
    """
    try:
        record: Any = parse_transcript(line)
        _check_keys(record)
        for amount in (record["return"], *(turn["reward"] for turn in record["turns"])):
            _number(abs(amount), int, float)
        return EpisodeRecord(
            key=(_number(record.pop("run"), int), _number(record.pop("cell"), int), _number(record.pop("task"), int)),
            invalid_actions=_number(record.pop("invalid_actions"), int),
            seconds=_number(record.pop("seconds"), int, float),
            usage=Usage(**{name: _number(record.pop(name), *kinds) for name, kinds in _USAGE.items()}),
            session=_number(record.pop("session"), int),
            transcript=record,
        )
    except KeyError as missing:
        raise RecordError(f"expected an episode with the key {missing}, got none") from missing
    except (TranscriptError, ValueError, RecursionError) as error:
        raise RecordError(f"damaged episode: {error}") from error


def decompressed(file: BinaryIO) -> Iterator[tuple[bytes, int | None]]:
    """Yield pieces of the content of xz streams, and after the last piece of each stream the place in the file behind it.

    Raises:
        RecordError: a stream is torn or damaged, or there is more content than a run can have.
    """
    pending, total = b"", 0
    while pending or (pending := file.read(_CHUNK)):
        decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        while not decompressor.eof:
            if not pending and decompressor.needs_input and not (pending := file.read(_CHUNK)):
                raise TornError(f"expected whole episodes in {TRAJECTORIES}, got a torn end")
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
    """Yield the lines in xz streams.

    Raises:
        RecordError: a stream is torn or damaged, or a line is too long or has no end.
    """
    line = bytearray()
    for piece, _ in decompressed(file):
        first, *others = piece.split(b"\n")
        line += first
        for other in others:
            yield bytes(line)
            line = bytearray(other)
        if len(line) > MAX_LINE:
            raise RecordError(f"expected episodes of at most {MAX_LINE} bytes, got a longer one")
    if line:
        raise RecordError(f"expected {TRAJECTORIES} to end with a whole episode, got a torn one")


def _objects(folder: Path, name: str) -> list[dict[str, Any]]:
    *lines, torn = read_text(folder / name, MAX_NOTES).split("\n")
    if torn:
        raise RecordError(f"expected whole lines in {name}, got {len(lines)} and a torn one")
    return [_object(line, name) for line in lines]


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        record = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"expected JSON in {where}, got text that does not parse ({error})") from error
    if not isinstance(record, dict):
        raise RecordError(f"expected a JSON object in {where}, got {type(record).__name__}")
    return record


def _check_keys(record: dict[str, Any]) -> None:
    """Raise ValueError for what no run writes: nothing comes along unseen."""
    known = {*Transcript.__required_keys__, "run", "cell", "task", "invalid_actions", "seconds", "session", *_USAGE}
    unknown = {*record} - known
    for turn in record["turns"]:
        unknown |= {*turn} - _TURN_KEYS
    if unknown:
        raise ValueError(f"expected the keys of an episode, got also {', '.join(map(repr, sorted(unknown))):.200}")


def _number(value: Any, *kinds: type) -> Any:
    """Return `value`, once it is known to be a number of one of these kinds that is neither below 0 nor infinite."""
    if type(value) not in kinds or (value is not None and not 0 <= value < 1e18):
        raise ValueError(f"expected a number of at least 0, got {value!r:.60}")
    return value


def _is_shallow(value: Any, depth: int = 20) -> bool:
    """Return whether dictionaries and lists are nested at most `depth` times."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_is_shallow(one, depth - 1) for one in inner)


_CONFIG: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: type(value) is str and is_name(value),
    "agent": lambda value: type(value) is str and len(value) <= MAX_AGENT,
    "agent_settings": lambda value: type(value) is dict and _is_shallow(value),
    "suite": lambda value: type(value) is str,
    "suite_digest": lambda value: type(value) is str,
    "track": lambda value: type(value) is str,
    "num_runs": lambda value: type(value) is int and 1 <= value <= MAX_RUNS,
    "limit": lambda value: value is None or (type(value) is int and value >= 1),
    "format": lambda value: type(value) is int and value == FORMAT,
    "split": lambda value: value is None or type(value) is str,
}
"""Option of a run -> whether a value is one."""
