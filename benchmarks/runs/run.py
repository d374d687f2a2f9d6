r"""Plays a suite with an agent, and keeps every episode.

    python -m benchmarks run --suite core-v0 --agent random --out runs/random
    python -m benchmarks run --suite core-v0 --agent hf:runs/sft-{run}/model --by-number --no-preamble --out runs/sft
    OPENAI_BASE_URL=http://localhost:8000/v1 python -m benchmarks run --suite core-v0 --agent openai:qwen \
        --agent-kwargs '{"max_tokens": 64}' --workers 8 --out runs/qwen

Started again with the same options, a run that was interrupted continues where it stopped: what was played is neither
repeated nor lost. Episodes that could not be played (an endpoint that died, an agent that raised) are counted and reported
at the end; they are not scored, and the same command plays them.
"""

# `local_models`, which loads torch, is imported where a local model plays: every worker imports this file.

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

from tqdm import tqdm

from baselines.config.settings import JsonObject, check_at_least, check_positive
from baselines.endpoints.endpoint import Endpoint
from baselines.errors import ConfigError
from benchmarks.agents.agents import AgentError, AgentSpec, check_settings, own_agent, parse_agent, timed_agent
from benchmarks.agents.endpoint import EndpointAgent, Journal, chat_settings
from benchmarks.runs.play import EpisodeRunner, MakeAgent
from benchmarks.runs.records import MAX_NAME, MAX_RUNS, EpisodeKey, EpisodeRecord, RunConfig, is_name
from benchmarks.runs.run_folder import RunFolder
from benchmarks.suites.suite import Presentation, find_track, load_suite

MAX_FAILURES = 10
"""Episodes in a row that could not be played, after which a run gives up for now."""

PACKAGES = ("textagent-gym", "gymnasium", "numpy", "textworld", "alfworld", "torch", "transformers")


@dataclass(frozen=True)
class Config:
    """Options of a run."""

    suite: str
    """Name of a suite, such as core-v0."""
    agent: str
    """random, expert, replanner, handcoded, hf:FOLDER_OR_NAME, openai:MODEL or python:MODULE:CLASS."""
    out: Path
    """Folder of the run."""
    seeds: int = 3
    """Times that each task is played; the seeds of the tasks are fixed by the suite, those of the agent differ."""
    track: str = "listed"
    """Track, which grants lists and memory: open, listed, open-reactive or listed-reactive."""
    presentation: Presentation = field(default_factory=Presentation)
    """Presentation of the agent's help."""
    agent_kwargs: JsonObject = field(default_factory=dict)
    """Settings of the agent, as a JSON object; they are recorded, so never a key."""
    name: str = ""
    """Name of the entry; by default the agent's."""
    workers: int = 1
    """Episodes side by side: processes for scripted agents, threads for endpoints; local models play in batches."""
    limit: int | None = None
    """Tasks of each cell; such a run is partial, and never listed."""
    split: str | None = None
    """One split of a suite that has several, such as valid_seen of alfworld-v0; it is listed in a table of that split."""
    answer_timeout: float = 600.0
    """Seconds that a class of one's own may take to an answer; its episode is then not played. Endpoints have settings."""

    def described(self, spec: AgentSpec) -> RunConfig:
        """Return the settings as they are recorded; raises `BaselinesError` for values outside their range."""
        check_at_least("seeds", self.seeds, 1)
        if self.seeds > MAX_RUNS:
            raise ConfigError(f"expected seeds of at most {MAX_RUNS}, got {self.seeds}")
        check_at_least("workers", self.workers, 1)
        check_positive("answer_timeout", self.answer_timeout)
        if self.limit is not None:
            check_at_least("limit", self.limit, 1)
        name = self.name or self.agent
        if not is_name(name):
            raise ConfigError(f"expected a name of 1 to {MAX_NAME} printable characters, got {name!r:.120}")
        suite = load_suite(self.suite)
        self.presentation.check(find_track(self.track))
        if spec.is_reference and spec.kind != "expert" and self.presentation.action_format != "plain":
            raise ConfigError(
                f"expected action_format plain for the agent {spec}, got {self.presentation.action_format}"
            )
        if spec.kind in ("replanner", "handcoded") and self.presentation.by_number:
            raise ConfigError(f"expected no by_number for the agent {spec}, which says commands")
        settings = dict(self.agent_kwargs)
        if spec.kind == "hf":
            from benchmarks.agents.local_models import read_template

            settings = read_template(settings)
        check_agent(spec, settings)
        config = RunConfig(
            name=name,
            agent=self.agent,
            agent_settings=settings,
            suite=suite.name,
            suite_digest=suite.digest,
            track=self.track,
            presentation=self.presentation,
            num_runs=self.seeds,
            limit=self.limit,
            split=self.split,
        )
        config.found_suite()
        config.found_track()
        return config


def check_agent(spec: AgentSpec, settings: dict[str, Any]) -> None:
    """Raise `BaselinesError` where an agent cannot be made with these settings, before anything is written."""
    check_settings(settings)
    if spec.is_reference and settings:
        raise ConfigError(f"expected no --agent-kwargs for the agent {spec}, which has no settings, got {settings}")
    if spec.kind == "imported":
        raise ConfigError(
            "expected an agent that plays, got imported actions, which `python -m benchmarks import` takes"
        )
    if spec.kind == "hf":
        from benchmarks.agents.local_models import local_settings

        local_settings(settings)
    elif spec.kind == "openai":
        with Endpoint(spec.target, chat_settings(settings)[1]):
            pass
    elif spec.kind == "python":
        own_agent(spec.target, settings)


@dataclass(frozen=True)
class Unplayed:
    """An episode that could not be played, and why."""

    key: EpisodeKey
    reason: str


@dataclass
class RunSummary:
    """Result of a run."""

    num_episodes: int
    """Of the whole run."""
    played: int = 0
    """Now and before."""
    successes: int = 0
    """Of those played now."""
    now: int = 0
    """Played now."""
    invalid_actions: int = 0
    """Steps played now whose action was no command."""
    cost: float = 0.0
    """Spent now, in the currency of the prices."""
    unplayed: list[Unplayed] = field(default_factory=list)
    """Episodes that could not be played."""

    def add(self, played: EpisodeRecord) -> None:
        """Count an episode."""
        self.played += 1
        self.now += 1
        self.successes += played.transcript["success"]
        self.invalid_actions += played.invalid_actions
        self.cost += played.usage.cost or 0.0


def run(config: Config) -> RunSummary:
    """Play what is missing.

    Raises:
        BaselinesError: a suite, agent or option does not fit, the folder holds another run, or an environment has changed
            since the suite was published.
    """
    spec = parse_agent(config.agent)
    described = config.described(spec)
    session = {**provenance(), "model_sha256": models_digests(spec, config.seeds)}
    with RunFolder(config.out, described, session) as folder:
        outcome = RunSummary(len(described.episode_keys()), played=len(folder.done))
        missing = [key for key in described.episode_keys() if key not in folder.done]
        journal = Journal(config.out / "replies.jsonl")
        results = play(described, spec, missing, config.workers, journal, config.answer_timeout)
        with closing(results):
            _keep(results, folder, outcome)
        if outcome.played == outcome.num_episodes:
            journal.remove()
    return outcome


def _keep(results: Iterator[EpisodeRecord | Unplayed], folder: RunFolder, outcome: RunSummary) -> None:
    """Write what is played, until all is or too much in a row could not be."""
    in_a_row = 0
    bar = tqdm(total=outcome.num_episodes, initial=outcome.played, unit="episode", disable=None, file=sys.stderr)
    with bar:
        for result in results:
            if isinstance(result, Unplayed):
                folder.append_unplayed(result.key, result.reason)
                outcome.unplayed.append(result)
                in_a_row += 1
                if in_a_row == MAX_FAILURES:
                    return
                continue
            in_a_row = 0
            folder.append(replace(result, session=folder.session))
            outcome.add(result)
            bar.update()
            bar.set_postfix(success=f"{outcome.successes / outcome.now:.2f}", unplayed=len(outcome.unplayed))


def play(
    config: RunConfig,
    spec: AgentSpec,
    keys: Sequence[EpisodeKey],
    workers: int,
    journal: Journal,
    answer_timeout: float,
) -> Generator[EpisodeRecord | Unplayed]:
    """Yield the episodes as they end."""
    own = partial(timed_agent, spec.target, config.agent_settings, answer_timeout) if spec.kind == "python" else None
    if spec.kind == "hf":
        from benchmarks.agents.local_models import play_batches

        yield from chain.from_iterable(play_batches(config, spec, keys))
    elif spec.kind == "openai":
        chat, settings = chat_settings(config.agent_settings)
        memory, stopped = config.found_track().memory, Event()
        with Endpoint(spec.target, settings) as endpoint, ThreadPoolExecutor(workers) as executor:
            try:
                make = partial(EndpointAgent, endpoint, chat, memory, journal, stopped)
                yield from _ended(executor, config, spec, keys, make)
            finally:
                stopped.set()  # threads that are in the middle of an episode end it at its next request
    elif workers == 1:
        runner = EpisodeRunner(config, spec, own)
        yield from (_attempt(runner, key) for key in keys)
    else:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, spawn, _die_with, (os.getpid(),)) as executor:
            yield from _ended(executor, config, spec, keys, own)


def models_digests(spec: AgentSpec, num_runs: int) -> dict[str, str]:
    """Run -> digest of the weights of its local model, once they are known to be there; empty for other agents."""
    if spec.kind != "hf":
        return {}
    from benchmarks.agents.local_models import check_models

    return check_models(spec, num_runs)


def provenance() -> dict[str, Any]:
    """Return versions, revision and machine; no names of hosts, folders or people."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = ""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": versions,
        "revision": git_revision(Path(__file__).parents[2]),
    }


def git_revision(root: Path) -> str:
    """Return the commit of a checkout, with "+" where files of it differ from it; "" unless `root` is its top folder."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return ""  # the package is installed somewhere inside a repository of somebody else
        return git("describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return ""


_here = threading.local()


def _ended(
    executor: Executor, config: RunConfig, spec: AgentSpec, keys: Sequence[EpisodeKey], make_agent: MakeAgent | None
) -> Iterator[EpisodeRecord | Unplayed]:
    """Yield the episodes as they end; those that have not begun are dropped when nobody asks for more."""
    futures = [executor.submit(_play_here, config, spec, key, make_agent) for key in keys]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _play_here(
    config: RunConfig, spec: AgentSpec, key: EpisodeKey, make_agent: MakeAgent | None
) -> EpisodeRecord | Unplayed:
    """Play in the runner of this thread or process."""
    if not hasattr(_here, "runner"):
        _here.runner = EpisodeRunner(config, spec, make_agent)
    return _attempt(_here.runner, key)


def _attempt(runner: EpisodeRunner, key: EpisodeKey) -> EpisodeRecord | Unplayed:
    try:
        return runner.play(key)
    except AgentError as error:
        return Unplayed(key, str(error))


def _die_with(parent: int) -> None:
    """End this worker once the process that started it is gone: a killed run leaves nobody behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def summary(outcome: RunSummary) -> list[str]:
    """Return the lines that sum up a run for a person."""
    lines = [f"{outcome.played} of {outcome.num_episodes} episodes played, {outcome.now} of them now"]
    if outcome.now:
        rate = f"{outcome.successes / outcome.now:.3f}"
        lines.append(
            f"success rate of those {rate}, {outcome.invalid_actions} invalid actions, cost {outcome.cost:.4f}"
        )
    if outcome.unplayed:
        lines.append(f"{len(outcome.unplayed)} could not be played, the first because {outcome.unplayed[0].reason}")
    if outcome.played < outcome.num_episodes:
        lines.append("the same command plays what is missing")
    return lines


def main(config: Config) -> None:
    """Play a suite; exits with status 1 while episodes are missing."""
    try:
        outcome = run(config)
    except (OSError, BrokenProcessPool) as error:
        raise SystemExit(
            f"error: {error}; what was played is kept, and the same command continues from here"
        ) from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted: the same command continues from here") from None
    sys.stdout.write("\n".join(summary(outcome)) + "\n")
    if outcome.played < outcome.num_episodes:
        raise SystemExit(1)
