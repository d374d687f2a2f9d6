"""Agents: scripted ones, local models, models behind an endpoint, and classes of a user.

    random                  draws from the admissible commands (a reference: it sees the list in every track)
    expert                  plays the reference solution (a reference: it gets the solution)
    replanner               plays the first step of a plan made again at every step (a reference: it sees the state)
    handcoded               ALFWorld's own hand-coded expert on its real games (a reference: it sees facts of the state)
    hf:FOLDER_OR_NAME       a Hugging Face causal LM, in batches (`local_models`); {run} in it is the number of the run
    openai:MODEL            a model behind any OpenAI-compatible endpoint (`endpoint`)
    python:MODULE:CLASS     a class of one's own with the methods of `Agent`

References get more than the track grants; a leaderboard shows them for scale, without a rank.
"""

from __future__ import annotations

import importlib
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

from baselines.errors import BaselinesError, ConfigError
from baselines.sampling.environments import TextEnv
from textagent_gym.agents import ExpertAgent, RandomAgent, ReplanningAgent

Kind: TypeAlias = Literal["random", "expert", "replanner", "handcoded", "hf", "openai", "python", "imported"]

IMPORTED = "imported: actions only"
"""Agent of a run whose actions were chosen elsewhere (`benchmarks.runs.imported`)."""

REFERENCES = ("expert", "replanner", "handcoded", "random")
"""Agents that get more than a track grants: expert and random set the scale."""

GRANTED = ("admissible_commands",)
"""Keys of `info` that an agent may be given; which of them it gets is for the track to say."""


class AgentError(BaselinesError):
    """An agent did not answer; its episode was not played, and is not scored."""


class OutOfContextError(BaselinesError):
    """The episode has become too long for the agent; it ends there, with what it has earned."""


class Agent(Protocol):
    """One player; `info` holds what the track grants and nothing else."""

    def reset(self, info: dict[str, Any], seed: int) -> None:
        """Start an episode; all randomness of the agent comes from `seed`.

        Args:
            info: `admissible_commands` (a tuple, or None where the domain has no such list) in tracks that grant it.
            seed: differs between runs and tasks.
        """

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Return the action that answers an observation."""


@dataclass(frozen=True)
class AgentSpec:
    """Name of an agent on the command line.

    Attributes:
        kind: before the first colon.
        target: after it; empty for the scripted ones.
    """

    kind: Kind
    target: str

    @property
    def is_reference(self) -> bool:
        """True if it gets more than the track grants."""
        return self.kind in REFERENCES

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" if self.target else self.kind


def parse_agent(text: str) -> AgentSpec:
    """Read the name of an agent.

    Raises:
        ConfigError: it is no such name.
    """
    kind, _, target = text.partition(":")
    if text == IMPORTED:
        return AgentSpec("imported", target.strip())
    needs_target = kind not in REFERENCES
    if kind not in get_args(Kind) or kind == "imported" or bool(target) != needs_target:
        raise ConfigError(
            "expected an agent random, expert, replanner, handcoded, hf:FOLDER_OR_NAME, openai:MODEL or "
            f"python:MODULE:CLASS, got {text!r}"
        )
    return AgentSpec(kind, target)  # type: ignore[arg-type]  # one of Kind, as was seen


def check_settings(settings: dict[str, Any]) -> None:
    """Raise `ConfigError` for settings that look like secrets: all of them are recorded and published."""
    secret = [name for name in settings if re.search(r"(^|_)(api_?key|key|secret|password)$", name, re.IGNORECASE)]
    if secret:
        raise ConfigError(f"expected no secrets among the settings of an agent, which are published, got {secret}")


def scripted_agent(spec: AgentSpec, env: TextEnv, by_number: bool) -> Agent:
    """Return a reference for one environment; raises `ConfigError` where it plays no such environment."""
    if spec.kind == "expert":
        return ExpertAgent()
    if spec.kind == "replanner":
        return ReplanningAgent(env)
    if spec.kind == "handcoded":
        from benchmarks.agents.handcoded import HandCodedExpert

        return HandCodedExpert(env)
    return RandomAgent(by_number=by_number, action_space=env.action_space)


def own_agent(target: str, settings: dict[str, Any]) -> Agent:
    """Return an instance of `MODULE:CLASS`, made with `settings` as keywords.

    Raises:
        ConfigError: there is no such class, it does not take these settings, or it lacks a method.
    """
    module_name, _, class_name = target.partition(":")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
        agent: Agent = kind(**settings)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"expected a class python:MODULE:CLASS that takes {settings}, got {target!r}: {error}"
        ) from error
    if not callable(getattr(agent, "reset", None)) or not callable(getattr(agent, "act", None)):
        raise ConfigError(f"expected {target} to have the methods reset and act, got a {type(agent).__name__} without")
    return agent


class TimedAgent:
    """Somebody's own agent, whose every answer has to come in time.

    It lives in the main thread of a POSIX process, whose SIGALRM it uses. A call that never returns to the interpreter
    cannot be ended.

    Args:
        agent: answers.
        seconds: that an answer may take.
    """

    def __init__(self, agent: Agent, seconds: float) -> None:
        self._agent = agent
        self._seconds = seconds

    @property
    def usage(self) -> Any:
        """Tokens and costs that the agent reports, if it does."""
        return getattr(self._agent, "usage", None)

    def reset(self, info: dict[str, Any], seed: int) -> None:
        """See `Agent.reset`; raises `AgentError` where it takes too long."""
        with self._in_time():
            self._agent.reset(info, seed)

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """See `Agent.act`; raises `AgentError` where it takes too long."""
        with self._in_time():
            return self._agent.act(observation, info)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        def interrupt(*_: object) -> None:
            raise AgentError(f"expected an answer within {self._seconds:g} s, got none")

        before = signal.signal(signal.SIGALRM, interrupt)
        # Once more each second, for agents that catch whatever is raised.
        signal.setitimer(signal.ITIMER_REAL, self._seconds, 1.0)
        try:
            try:
                yield
            finally:  # the alarm may ring on the way into here,
                signal.setitimer(signal.ITIMER_REAL, 0)
        finally:  # and is off behind here
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def timed_agent(target: str, settings: dict[str, Any], seconds: float) -> TimedAgent:
    """Return `own_agent`, held to `seconds` an answer."""
    return TimedAgent(own_agent(target, settings), seconds)
