"""Re-simulates a run: every episode again from its seed and actions, rewards and texts compared.

    python -m benchmarks verify runs/random

What it proves: these actions, in these environments, earn these rewards; nothing was left out, added or played twice; and
the references `random` and `expert` are what they say. What it does not prove: who chose the actions, that they were chosen
with what the track grants alone, or that the run is not the best of many.

Nothing of a submission is executed: its files are read as bounded text, and the actions of software repair run in that
environment's sandbox, as they did before.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

from baselines.errors import BaselinesError
from baselines.sampling.environments import TextEnv, is_success, step_env
from benchmarks.agents.agents import parse_agent
from benchmarks.runs.play import MAX_ACTION, EpisodeRunner, TaskCheck, outcome_of
from benchmarks.runs.records import (
    EPISODES,
    SESSIONS,
    EpisodeKey,
    EpisodeRecord,
    RunConfig,
    digest_of_texts,
    read_config,
    read_sessions,
    read_text,
    read_trajectories,
    read_unplayed,
)
from benchmarks.suites.suite import Cell, Suite, SuiteTask, open_env

TOLERANCE = 1e-9
"""Between a reward as written and as paid."""


MAX_PATCH = 20_000
"""Characters of a repair that are kept, to be shown."""

MAX_UNVERIFIED = 20_000
"""Longest observation where programs may print another text than they did, in characters; environments show half of it."""


class VerificationError(BaselinesError):
    """A run is not what it says; the first difference is in the message."""


@dataclass(frozen=True)
class Repair:
    """A solved repair of software, as it was replayed.

    Attributes:
        patch: Unified diff of what was changed, `MAX_PATCH` characters at most.
        flags: What a reader should look at, since attacks on the grading use it.
    """

    patch: str
    flags: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Verified:
    """A run that has been re-simulated.

    Attributes:
        config: settings of the run.
        played: its episodes, in the order in which they were played.
        sessions: software and machine, one for each time that the run was started.
        unplayed: attempts that came to nothing.
        repairs: of its solved episodes those of software repair.
    """

    config: RunConfig
    played: list[EpisodeRecord]
    sessions: list[dict[str, Any]]
    unplayed: list[dict[str, Any]]
    repairs: dict[EpisodeKey, Repair] = field(default_factory=dict)

    @property
    def is_partial(self) -> bool:
        """True if it is of less than the whole suite; such a run is never listed."""
        return self.config.limit is not None


def verify(folder: Path) -> Verified:
    """Re-simulate a run.

    Raises:
        BaselinesError: the run is not what it says, is not whole, or is of another suite; it names the first difference.
    """
    config = read_config(folder)
    keys = config.episode_keys()
    replayer = Replayer(config)
    played = list(
        tqdm(verified(folder, config, replayer), total=len(keys), unit="episode", disable=None, file=sys.stderr)
    )
    missing = set(keys) - {episode.key for episode in played}
    if missing:
        raise VerificationError(f"expected all {len(keys)} episodes, got {len(missing)} fewer: {_named(min(missing))}")
    _check_summaries(folder, played)
    sessions = read_sessions(folder)
    latest = max(episode.session for episode in played)
    if latest >= len(sessions):
        raise VerificationError(f"expected {latest + 1} lines in {SESSIONS}, got {len(sessions)}")
    return Verified(config, played, sessions, read_unplayed(folder), replayer.repairs)


def verified(folder: Path, config: RunConfig, replayer: Replayer) -> Iterator[EpisodeRecord]:
    """Yield the episodes of a run, each once it is known to be right; not known is whether they are all.

    Raises:
        BaselinesError: see `verify`.
    """
    spec = parse_agent(config.agent)
    reference = EpisodeRunner(config, spec, tasks=replayer.tasks) if spec.is_reference else None
    left = set(config.episode_keys())
    for played in read_trajectories(folder, most=len(left)):
        if played.key not in left:
            raise VerificationError(f"expected each episode of the suite once, got another {_named(played.key)}")
        left.remove(played.key)
        for _ in replayer.replay(played):
            pass
        if reference is not None:
            _check_reference(reference, played)
        yield played


@dataclass(frozen=True)
class Step:
    """One step of a replay.

    Attributes:
        observation: observation before the action.
        info: the `info` that came with it.
        env: the environment in this state.
    """

    observation: str
    info: dict[str, Any]
    env: TextEnv


class Replayer:
    """The environments in which a run is replayed.

    Args:
        config: of the run.

    Attributes:
        tasks: holds the tasks against their digests.
        final_observation: the last one of the episode that was replayed last.
        repairs: solved repairs of software that were replayed to their end.
    """

    final_observation = ""

    def __init__(self, config: RunConfig) -> None:
        self._presentation = config.presentation
        self._suite: Suite = config.found_suite()
        self._track = config.found_track()
        self.tasks = TaskCheck()
        self.repairs: dict[EpisodeKey, Repair] = {}
        self._envs: dict[int, TextEnv] = {}

    def replay(self, played: EpisodeRecord) -> Iterator[Step]:
        """Play an episode again, and yield where it stands before each action.

        Raises:
            VerificationError: something differs; the message gives the first difference.
            SuiteError: the environment is not what it was when the suite was published.
        """
        _, number, task_number = played.key
        cell = self._suite.cells[number]
        task = cell.tasks[task_number]
        self.tasks.check(cell, task)
        if number not in self._envs:
            self._envs[number] = open_env(cell, self._presentation, self._track)
        recorded, where = played.transcript, _named(played.key)
        _same(where, "env_id", recorded["env_id"], cell.env_id)
        _same(where, "seed", recorded["seed"], task.seed)
        _same(where, "task_id", recorded["task_id"], task.task_id)
        self.final_observation = yield from _replay(self._envs[number], cell, task, played, where)
        report = getattr(self._envs[number].unwrapped, "grading_report", None)
        if report is not None and recorded["success"]:
            patch: str = getattr(self._envs[number].unwrapped, "patch", "")
            shown = patch.encode("utf-8", "replace").decode("utf-8")[:MAX_PATCH]
            self.repairs[played.key] = Repair(shown, tuple(report.flags))


def _replay(env: TextEnv, cell: Cell, task: SuiteTask, played: EpisodeRecord, where: str) -> Generator[Step, None, str]:
    recorded = played.transcript
    observation, info = cell.reset(env, task)
    terminated = truncated = success = False
    paid: list[float] = []
    seen = [observation]
    is_bare = cell.by_name and not played.has_text
    invalid = 0
    for number, turn in enumerate(recorded["turns"], start=1):
        at = f"{where}, step {number}"
        if terminated or truncated:
            raise VerificationError(
                f"{at}: expected no action after the end of the episode, got {turn['action']!r:.60}"
            )
        if len(turn["action"]) > MAX_ACTION:
            raise VerificationError(f"{at}: expected an action of at most {MAX_ACTION} characters, got a longer one")
        if cell.exact_text:
            _same(at, "observation", turn["observation"], "" if is_bare else observation)
        else:
            check_length(at, turn["observation"], observation)
        yield Step(observation, info, env)
        observation, reward, terminated, truncated, info = step_env(env, turn["action"])
        if not math.isclose(turn["reward"], reward, abs_tol=TOLERANCE):
            raise VerificationError(f"{at}: expected reward {reward:g}, got {turn['reward']:g}")
        paid.append(reward)
        seen.append(observation)
        invalid += info.get("valid_command") is False
        success = is_success(info, terminated, sum(paid))
    if cell.exact_text:
        last = digest_of_texts(seen) if is_bare else observation
        _same(where, "final_observation", recorded["final_observation"], last)
    else:
        check_length(where, recorded["final_observation"], observation)
    _same(where, "success", recorded["success"], success)
    outcome = outcome_of(success, terminated) if terminated or truncated else "out of context"
    _same(where, "outcome", recorded["outcome"], outcome)
    _same(where, "invalid_actions", played.invalid_actions, invalid)
    if not math.isclose(recorded["return"], sum(paid), abs_tol=TOLERANCE * max(1, len(paid))):
        raise VerificationError(f"{where}: expected return {sum(paid):g}, got {recorded['return']:g}")
    return observation


def check_length(where: str, recorded: str, found: str) -> None:
    """Raise `VerificationError` for an observation far longer than the environment's: text that is not compared is shown."""
    most = max(len(found), MAX_UNVERIFIED)
    if len(recorded) > most:
        raise VerificationError(f"{where}: expected an observation of at most {most} characters, got {len(recorded)}")


def _check_reference(runner: EpisodeRunner, played: EpisodeRecord) -> None:
    """Hold the actions of a reference to those that it plays: whoever hands it in, it sets the scale."""
    found = runner.play(played.key).transcript
    actions, wanted = ([turn["action"] for turn in recorded["turns"]] for recorded in (played.transcript, found))
    _same(_named(played.key), "actions of the reference", actions, wanted)


def _check_summaries(folder: Path, played: list[EpisodeRecord]) -> None:
    """Hold `episodes.jsonl` to the trajectories."""
    wanted = [json.dumps(episode.summary()) for episode in played]
    lines = read_text(folder / EPISODES, most=sum(len(line) + 1 for line in wanted)).split("\n")
    if lines.pop() or len(lines) != len(played):
        raise VerificationError(f"expected {len(played)} whole lines in {EPISODES}, got {len(lines)}")
    for number, (line, right) in enumerate(zip(lines, wanted, strict=True), start=1):
        if line != right:
            raise VerificationError(f"expected line {number} of {EPISODES} to be that of its trajectory, got another")


def _same(where: str, name: str, recorded: Any, found: Any) -> None:
    if recorded != found or type(recorded) is not type(found):
        raise VerificationError(f"{where}: expected {name} {_first(found, recorded)}, got {_first(recorded, found)}")


def _first(text: Any, other: Any) -> str:
    """Return a value in short; of a text, the surroundings of the place where it differs from another."""
    if not isinstance(text, str) or not isinstance(other, str):
        return repr(text)
    same = next(
        (place for place, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other))
    )
    return repr(text[max(0, same - 20) : same + 40])


def _named(key: EpisodeKey) -> str:
    run, cell, task = key
    return f"run {run + 1}, cell {cell + 1}, task {task + 1}"


def main(folder: tyro.conf.Positional[Path]) -> None:
    """Re-simulate a run and say whether it is what it claims to be.

    Args:
        folder: of the run.
    """
    try:
        found = verify(folder)
    except BaselinesError as error:
        raise SystemExit(f"rejected: {error}") from error
    wins = sum(episode.transcript["success"] for episode in found.played)
    part = "a part of " if found.is_partial else ""
    sys.stdout.write(
        f"verified: {len(found.played)} episodes of {part}{found.config.found_suite().title}, track {found.config.track}, "
        f"{wins} of them solved\n"
    )
