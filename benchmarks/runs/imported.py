r"""Makes a run of actions that were chosen elsewhere: every episode is replayed, and nothing but the actions is believed.

    python -m benchmarks import actions.jsonl --suite alfworld-v0 --track open --name "GRPO 7B" --out runs/grpo

A line of the file is one episode:

    {"task": "valid_seen/pick_...-301/trial_T...", "actions": ["go to desk 1", ...], "tokens"?: 812, "cost"?: 0.01}

`task` is a name of the suite's tasks, ALFWorld's own path of the game (as `infos["extra.gamefile"]` gives it), or the file
of a TextWorld game as the study names it (`w2-o3-q4_10001.z8`). `actions` are commands as the world takes them, without tags
or thoughts. `tokens` are those that the model wrote, or {"prompt": ..., "completion": ...}; `cost` is in any one currency.

The run that it writes is verified and listed as any other, marked as imported. That it was made with no more help than the
track grants is its author's word.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import tyro
from tqdm import tqdm

from baselines.config.settings import JsonObject, check_at_least
from baselines.errors import BaselinesError, ConfigError
from benchmarks.agents.agents import IMPORTED, OutOfContextError, check_settings, parse_agent
from benchmarks.runs.play import MAX_ACTION, EpisodeRunner
from benchmarks.runs.records import MAX_NAME, MAX_RUNS, EpisodeKey, EpisodeRecord, RunConfig, Usage, is_name, read_text
from benchmarks.runs.run import provenance
from benchmarks.runs.run_folder import RunFolder
from benchmarks.suites.suite import Presentation, Suite, load_suite

MAX_ACTIONS = 100_000
"""Actions of one episode at most."""


class ImportRunError(BaselinesError):
    """A file of actions is not one of a whole run; the first fault is in the message."""


@dataclass(frozen=True)
class Config:
    """Options of an import."""

    actions: tyro.conf.Positional[Path]
    """File of JSON lines, one episode each."""
    suite: str
    """Name of a suite, such as alfworld-v0."""
    track: str
    """Help that the agent was granted: open, listed, open-reactive or listed-reactive."""
    name: str
    """Name of the entry."""
    out: Path
    """Folder of the run."""
    seeds: int = 1
    """Runs in the file: each task stands in so many lines."""
    split: str | None = None
    """The one split that the file covers, such as valid_seen of alfworld-v0; it is listed in a table of that split."""
    details: JsonObject = field(default_factory=dict)
    """Further facts to record, such as '{"framework": "verl-agent", "checkpoint": "last"}'; shown as handed in."""

    def described(self) -> RunConfig:
        """Return the settings as they are recorded; raises `BaselinesError` for values outside their range."""
        check_at_least("seeds", self.seeds, 1)
        if self.seeds > MAX_RUNS:
            raise ConfigError(f"expected seeds of at most {MAX_RUNS}, got {self.seeds}")
        if not is_name(self.name):
            raise ConfigError(f"expected a name of 1 to {MAX_NAME} printable characters, got {self.name!r:.120}")
        check_settings(self.details)
        suite = load_suite(self.suite)
        digest = hashlib.sha256(read_text(self.actions).encode()).hexdigest()
        config = RunConfig(
            name=self.name,
            agent=IMPORTED,
            agent_settings={**self.details, "actions_sha256": digest},
            suite=suite.name,
            suite_digest=suite.digest,
            track=self.track,
            presentation=Presentation(),
            num_runs=self.seeds,
            split=self.split,
        )
        config.found_track()
        return config


@dataclass(frozen=True)
class Line:
    """One episode of the file.

    Attributes:
        number: of the line, from 1.
        task: as it is named there.
        actions: in order.
        usage: tokens and cost, where they are given.
    """

    number: int
    task: str
    actions: tuple[str, ...]
    usage: Usage


def import_run(config: Config) -> list[EpisodeRecord]:
    """Replay a file of actions and write the folder of the run; return its episodes.

    Raises:
        BaselinesError: the file is not of one whole run, or an action follows the end of its episode; nothing is written.
    """
    described = config.described()
    suite = described.found_suite()
    lines = place_lines(suite, read_lines(config.actions), config.seeds)
    recorded = _Recorded()
    runner = EpisodeRunner(described, parse_agent(described.agent), lambda: recorded)
    bar = tqdm(described.episode_keys(), unit="episode", disable=None, file=sys.stderr)
    played = [_replayed(runner, recorded, key, lines[key]) for key in bar]
    with RunFolder(config.out, described, {**provenance(), "model_sha256": {}}) as folder:
        for episode in played:
            if episode.key not in folder.done:
                folder.append(replace(episode, session=folder.session))
    return played


def read_lines(path: Path) -> list[Line]:
    """Read a file of actions.

    Raises:
        ImportRunError: a line is not an episode; its number is in the message.
    """
    lines = [line for line in enumerate(read_text(path).removeprefix("\ufeff").split("\n"), start=1) if line[1].strip()]
    if not lines:
        raise ImportRunError(f"expected episodes in {path}, one a line, got none")
    return [_line(number, text) for number, text in lines]


def place_lines(suite: Suite, lines: Sequence[Line], num_runs: int = 1) -> dict[EpisodeKey, Line]:
    """Give each line its place in the suite; the k-th line of a task is of run k.

    Raises:
        ImportRunError: a task is not of the suite, stands there too often, or is missing.
    """
    find, found = _names(suite), defaultdict[tuple[int, int], list[Line]](list)
    for line in lines:
        task = find.get(_short_name(line.task))
        if task is None:
            raise ImportRunError(
                f"line {line.number}: expected a task of {suite.title}, such as {next(iter(find))!r} or ALFWorld's path of "
                f"the game, got {line.task!r:.160}"
            )
        if len(found[task]) == num_runs:
            times = "once" if num_runs == 1 else f"{num_runs} times"
            raise ImportRunError(
                f"line {line.number}: expected every task {times}, got {line.task!r:.160} again (first in line "
                f"{found[task][0].number}); --seeds N takes N lines for each task"
            )
        found[task].append(line)
    begun = {suite.cells[cell].groups.get("split") for cell, _ in found}
    missing = [task for task in suite.tasks() if len(found[task]) < num_runs]
    if missing:
        cell, number = missing[0]
        alone = f"; --split {begun.pop()} takes that split alone" if len(begun) == 1 < len(suite.splits) else ""
        raise ImportRunError(
            f"expected {num_runs} line{'s' * (num_runs > 1)} for each of the {len(suite.tasks())} tasks of {suite.title}, "
            f"got fewer for {len(missing)} of them, the first {suite.cells[cell].tasks[number].task_id!r}{alone}"
        )
    return {(run, *task): line for task, of_task in found.items() for run, line in enumerate(of_task)}


@dataclass
class _Recorded:
    """An agent that says what it was given."""

    left: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    def reset(self, info: dict[str, Any], seed: int) -> None:
        """Nothing is to be done."""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        if not self.left:
            raise OutOfContextError("expected an action, got the end of the line")
        return self.left.pop()


def _replayed(runner: EpisodeRunner, recorded: _Recorded, key: EpisodeKey, line: Line) -> EpisodeRecord:
    """Play the actions of a line."""
    recorded.left, recorded.usage = list(reversed(line.actions)), line.usage
    played = runner.play(key)
    if left := recorded.left:
        raise ImportRunError(
            f"line {line.number}: expected no action after the end of the episode at step "
            f"{len(played.transcript['turns'])}, got {len(left)} more, the first {left[-1]!r:.60}"
        )
    return replace(played, seconds=0.0)


def _names(suite: Suite) -> dict[str, tuple[int, int]]:
    """Name of each task -> its cell and number; games of the study by their file's name, too."""
    found: dict[str, tuple[int, int]] = {}
    for cell, number in suite.tasks():
        task = suite.cells[cell].tasks[number]
        found[task.task_id] = (cell, number)
        if suite.cells[cell].options.get("split") == "literature":
            found[f"{task.task_id.partition('-drawn')[0]}_{task.seed}"] = (cell, number)
    return found


def _short_name(task: str) -> str:
    """Return the name of a task from whatever path it is given by."""
    parts = PurePosixPath(task.replace("\\", "/")).parts
    for place, part in enumerate(parts[:-2]):
        if part in ("valid_seen", "valid_unseen", "train"):
            return "/".join(parts[place : place + 3])
    name = parts[-1] if parts else ""
    return name.partition(".")[0] if re.fullmatch(r"w\d+-o\d+-q\d+_\d+(\.\w+)?", name) else task


def _line(number: int, text: str) -> Line:
    def wrong(expected: str, found: Any) -> ImportRunError:
        return ImportRunError(f"line {number}: expected {expected}, got {found!r:.120}")

    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise wrong("a JSON object", text) from error
    if not isinstance(given, dict):
        raise wrong("a JSON object", given)
    if unknown := sorted(given.keys() - {"task", "actions", "tokens", "cost"}):
        raise wrong("the keys task, actions, tokens and cost", unknown)
    task, actions = given.get("task"), given.get("actions")
    if not isinstance(task, str):
        raise wrong("the name of a task in 'task'", task)
    if not isinstance(actions, list) or len(actions) > MAX_ACTIONS:
        raise wrong(f"a list of at most {MAX_ACTIONS} actions in 'actions'", actions)
    for action in actions:
        if not isinstance(action, str) or len(action) > MAX_ACTION:
            raise wrong(f"actions as strings of at most {MAX_ACTION} characters", action)
    return Line(number, task, tuple(actions), Usage(*_tokens(given.get("tokens"), wrong), cost=_cost(given, wrong)))


def _tokens(given: Any, wrong: Any) -> tuple[int | None, int | None]:
    """Return prompt and completion tokens."""
    pair = [given.get("prompt"), given.get("completion")] if isinstance(given, dict) else [None, given]
    if any(value is not None and (type(value) is not int or not 0 <= value < 2**53) for value in pair):
        raise wrong("a whole number of tokens, or {'prompt': ..., 'completion': ...}", given)
    return pair[0], pair[1]


def _cost(given: dict[str, Any], wrong: Any) -> float | None:
    cost = given.get("cost")
    if cost is not None and (type(cost) not in (int, float) or not math.isfinite(cost) or not 0 <= cost < 1e18):
        raise wrong("a cost of at least 0", cost)
    return cost


def summary(config: Config, played: Sequence[EpisodeRecord]) -> Iterator[str]:
    """Yield lines for a person: what was imported, and how much of each group was solved."""
    suite = load_suite(config.suite).of_split(config.split)
    wins = sum(episode.transcript["success"] for episode in played)
    yield f"imported {len(played)} episodes of {suite.title}, track {config.track}, {wins} of them solved"
    total, solved = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for episode in played:
        for group in suite.cells[episode.key[1]].groups.items():
            total[group] += 1
            solved[group] += episode.transcript["success"]
    yield from (f"  {group[1]}: {solved[group]} of {total[group]}" for group in sorted(total))
    yield f"next: python -m benchmarks scores {config.out}"


def main(config: Config) -> None:
    """Import a run."""
    try:
        played = import_run(config)
    except BaselinesError as error:
        raise SystemExit(f"rejected: {error}") from error
    sys.stdout.write("\n".join(summary(config, played)) + "\n")
