"""OpenEnv: any environment of strings behind OpenEnv's server, one environment per WebSocket session.

    app = make_app("textagent_gym:TextWorld-Easy-Dense-v0", max_sessions=8)

A client sends `{"type": "reset", "data": {"seed": 3}}`, then `{"type": "step", "data": {"text": "go east"}}`, and so on. The
answer to each is `{"type": "observation", "data": {"observation": {"text": ...}, "reward": ..., "done": ...}}`. OpenEnv's
`GenericEnvClient` speaks this. To serve with limits and a token, see `serve`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gymnasium.error import DependencyNotInstalled

from textagent_gym.interop.episode import Episode

if TYPE_CHECKING:
    from fastapi import FastAPI

try:
    from openenv.core.env_server.http_server import create_fastapi_app
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State
    from pydantic import Field
except ImportError as error:
    raise DependencyNotInstalled("expected OpenEnv: pip install 'textagent-gym[serve]'") from error


class TextAction(Action):  # type: ignore[misc]  # untyped where it is absent, here and below
    """An action."""

    text: str
    """Action of the agent, as it is given to `step`."""


class TextObservation(Observation):  # type: ignore[misc]
    """An observation; `reward` is that of the step, and None at reset; `done` is `terminated or truncated`."""

    text: str
    """Text that the agent reads."""
    terminated: bool = False
    """True if the world has ended the episode."""
    truncated: bool = False
    """True if a budget has."""
    info: dict[str, Any] = Field(default_factory=dict)
    """The environment's `info`, as JSON holds it."""


class TextEnvironment(Environment):  # type: ignore[misc]
    """An environment of strings for OpenEnv's server.

    Args:
        env_id: An id for `gym.make`.
        env_kwargs: Constructor options.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._episode = Episode(env_id, env_kwargs)
        self._episode_id: str | None = None

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        options: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> TextObservation:
        """Start the task of `seed`, or of `options` as the environment's own reset takes them.

        Raises:
            TypeError: An argument is unknown.
        """
        if unknown:
            raise TypeError(f"expected seed, episode_id and options, got {', '.join(sorted(unknown))}")
        self._episode_id = episode_id
        return self._observe(self._episode.start(seed, options), None)

    def step(self, action: TextAction, timeout_s: float | None = None, **_: Any) -> TextObservation:
        """Play one action; the environment keeps its own time limits."""
        text = self._episode.act(action.text)
        return self._observe(text, self._episode.last_reward)

    @property
    def state(self) -> State:
        """State of the episode."""
        return State(episode_id=self._episode_id, step_count=self._episode.num_steps)

    def get_metadata(self) -> EnvironmentMetadata:
        """Return the name of the environment."""
        return EnvironmentMetadata(name=self._episode.env_id, description="A text environment of Gymnasium.")

    def close(self) -> None:
        """End the environment."""
        self._episode.close()

    def _observe(self, text: str, reward: float | None) -> TextObservation:
        episode = self._episode
        return TextObservation(
            text=text,
            reward=reward,
            done=episode.over,
            terminated=episode.terminated,
            truncated=episode.truncated,
            info=json.loads(json.dumps(episode.info, default=_plain)),
        )


def _plain(value: Any) -> Any:
    """Convert `value` for JSON: numbers and lists for those of NumPy, words for all else."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def make_app(env_id: str, env_kwargs: Mapping[str, Any] | None = None, max_sessions: int = 8) -> FastAPI:
    """OpenEnv's application for an environment; every WebSocket session has one of its own.

    Args:
        env_id: An id for `gym.make`; one environment is made here, so that a mistake is found at once.
        env_kwargs: Constructor options.
        max_sessions: Sessions at a time; one more gets an error and is closed.
    """
    Episode(env_id, env_kwargs).close()
    make = partial(TextEnvironment, env_id, env_kwargs)
    return create_fastapi_app(make, TextAction, TextObservation, max_concurrent_envs=max_sessions)
