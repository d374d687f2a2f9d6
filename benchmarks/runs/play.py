"""Plays one episode of a suite: an agent, an environment as the track grants it, and the record of both."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from baselines.runs.transcripts import VERSION, Transcript, TranscriptTurn
from baselines.sampling.environments import TextEnv, is_success, step_env
from benchmarks.agents.agents import GRANTED, Agent, AgentError, AgentSpec, OutOfContextError, scripted_agent
from benchmarks.runs.records import EpisodeKey, EpisodeRecord, RunConfig, Usage
from benchmarks.suites.suite import Cell, SuiteError, SuiteTask, open_env, open_plain_env, read_task

MAX_ACTION = 100_000
"""Characters of an action at most, as environments take them; what an agent says beyond them is cut off."""

MakeAgent: TypeAlias = Callable[[], Agent]
Grant: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


class EpisodeRunner:
    """One worker: its agent, and one environment for each cell.

    Args:
        config: settings of the run.
        spec: the agent, anything but a model that plays in batches.
        make_agent: makes it; None for the references.
        tasks: holds the tasks against their digests; None begins to.
    """

    def __init__(
        self, config: RunConfig, spec: AgentSpec, make_agent: MakeAgent | None = None, tasks: TaskCheck | None = None
    ) -> None:
        self._config = config
        self._spec = spec
        self._make = make_agent
        self._suite, self._track = config.found_suite(), config.found_track()
        self._tasks = tasks or TaskCheck()
        self._envs: dict[int, TextEnv] = {}
        self._agents: dict[int, Agent] = {}

    def play(self, key: EpisodeKey) -> EpisodeRecord:
        """Play one episode.

        Raises:
            AgentError: the agent did not answer.
            SuiteError: the environment is not what it was when the suite was published.
        """
        _, number, task_number = key
        cell = self._suite.cells[number]
        task = cell.tasks[task_number]
        self._tasks.check(cell, task)
        env, agent = self._open(number, cell)
        return play_episode(env, agent, cell, task, key, self._grant)

    def _open(self, number: int, cell: Cell) -> tuple[TextEnv, Agent]:
        if number not in self._envs:
            presentation = self._config.presentation
            env = open_env(cell, presentation, self._track, self._spec.kind == "expert")
            by_number = presentation.by_number and cell.lists
            self._envs[number] = env
            self._agents[number] = self._make() if self._make else scripted_agent(self._spec, env, by_number)
        return self._envs[number], self._agents[number]

    def _grant(self, info: dict[str, Any]) -> dict[str, Any]:
        """Return the part of `info` that the agent may see."""
        if self._spec.is_reference:
            return info
        return {key: info[key] for key in GRANTED} if self._track.lists else {}


class TaskCheck:
    """Holds tasks against their digests, each once."""

    def __init__(self) -> None:
        self._envs: dict[str, TextEnv] = {}
        self._seen: set[str] = set()

    def check(self, cell: Cell, task: SuiteTask) -> None:
        """Raise `SuiteError` where the environment makes another task of the seed than the suite was published with."""
        if task.digest in self._seen:
            return
        if cell.name not in self._envs:
            self._envs[cell.name] = open_plain_env(cell)
        env, name = self._envs[cell.name], task.task_id if cell.resets_by_name else None
        try:
            found = read_task(env, task.seed, cell.exact_text, name, has_game=cell.by_name)
        except ValueError as error:
            raise SuiteError(
                f"expected the game {task.task_id} of {cell.name}, got none that plays: {error}"
            ) from error
        if found.content != task.content:
            raise SuiteError(
                f"expected the game {task.task_id} with the content {task.content}, got {found.content}: the data is of "
                "another version than the suite's"
            )
        if found != task:
            raise SuiteError(
                f"expected seed {task.seed} of {cell.name} to be task {task.task_id} as published "
                f"(digest {task.digest}), got {found.task_id} ({found.digest}): the environment has changed"
            )
        self._seen.add(task.digest)


def play_episode(
    env: TextEnv, agent: Agent, cell: Cell, task: SuiteTask, key: EpisodeKey, grant: Grant
) -> EpisodeRecord:
    """Play a task to its end, or as far as the agent's context goes.

    Raises:
        AgentError: the agent raised, or answered with something that is not text.
    """
    start = time.monotonic()
    observation, info = cell.reset(env, task)
    _ask(agent.reset, grant(info), agent_seed(key, task))
    turns: list[TranscriptTurn] = []
    invalid = 0
    terminated = truncated = out_of_context = False
    while not (terminated or truncated):
        try:
            action = _ask(agent.act, observation, grant(info))
        except OutOfContextError:
            out_of_context = True
            break
        if not isinstance(action, str):
            raise AgentError(f"expected an action of type str, got {type(action).__name__}")
        action = action[:MAX_ACTION]
        seen = observation
        observation, reward, terminated, truncated, info = step_env(env, action)
        turns.append({"observation": seen, "action": action, "reward": reward})
        invalid += info.get("valid_command") is False
    episode_return = float(sum(turn["reward"] for turn in turns))
    success = is_success(info, terminated, episode_return)
    transcript: Transcript = {
        "version": VERSION,
        "env_id": cell.env_id,
        "seed": task.seed,
        "task_id": task.task_id,
        "success": success,
        "return": episode_return,
        "outcome": "out of context" if out_of_context else outcome_of(success, terminated),
        "turns": turns,
        "final_observation": observation,
    }
    usage = getattr(agent, "usage", None)
    seconds = time.monotonic() - start
    return EpisodeRecord(key, transcript, invalid, seconds, usage if isinstance(usage, Usage) else Usage())


def outcome_of(success: bool, terminated: bool) -> str:
    """Return the end of a finished episode, in words."""
    return "success" if success else "failure" if terminated else "out of steps"


def agent_seed(key: EpisodeKey, task: SuiteTask) -> int:
    """Return the seed of an agent's randomness in one episode, below 2**32."""
    run, cell, _ = key
    return int(np.random.SeedSequence([run, cell, task.seed]).generate_state(1)[0])


def _ask(call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except (AgentError, OutOfContextError):
        raise
    except (Exception, SystemExit) as error:  # somebody's own agent may raise anything
        reason = str(error).strip().split("\n")[0]
        raise AgentError(f"the agent raised {type(error).__name__}: {reason}") from error
