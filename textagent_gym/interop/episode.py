"""One episode at a time of any environment of strings, as the trainers of language models ask for it."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, SupportsIndex

import gymnasium as gym
from gymnasium.error import ResetNeeded


def seed_of(row: Mapping[str, Any]) -> Any:
    """Return the seed in a row of a trainer's data set: in a column, or in `extra_info`.

    Raises:
        ValueError: There is none.
    """
    seed = _found("seed", row)
    if seed is None:
        raise ValueError(f"expected a seed in the row, got {', '.join(sorted(row)) or 'no columns'}")
    return seed


def options_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the reset options that a row asks for: the task of its column `task_id`, or of that in `extra_info`, if any."""
    task_id = _found("task_id", row)
    return None if task_id is None else {"task_id": task_id}


def _found(name: str, row: Mapping[str, Any]) -> Any:
    """Return a value of a row, or of its `extra_info` where it has none; data sets fill up columns with None."""
    value = row.get(name)
    return (row.get("extra_info") or {}).get(name) if value is None else value


class Episode:
    """An environment by its id, the episode that it plays, and what that episode has paid.

    Args:
        env_id: An id for `gym.make`; `package:Id-v0` imports the package first.
        env_kwargs: Constructor options.

    Attributes:
        total_reward: Return of the episode so far, undiscounted.
        last_reward: Reward of the last step.
        num_steps: Steps taken.
        terminated: True if the world has ended the episode.
        truncated: True if a budget has.
        info: The `info` of the last observation.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> None:
        self.env_id = env_id
        self._env: gym.Env[str, str] = gym.make(env_id, disable_env_checker=True, **(env_kwargs or {}))
        self._is_started = False
        self._begin({})

    def start(self, seed: SupportsIndex | None = None, options: dict[str, Any] | None = None) -> str:
        """Start the task of `seed` (or of the environment's reset options) and return the first observation."""
        self._is_started = False
        observation, info = self._env.reset(seed=None if seed is None else operator.index(seed), options=options)
        self._begin(info)
        self._is_started = True
        return self._text(observation)

    def act(self, action: str) -> str:
        """Take a step and return the observation.

        Raises:
            gymnasium.error.ResetNeeded: The episode is over, or none was started.
        """
        if not self._is_started or self.over:
            raise ResetNeeded("expected a new episode before this action: no episode is running")
        observation, reward, self.terminated, self.truncated, self.info = self._env.step(action)
        self.last_reward = float(reward)
        self.total_reward += self.last_reward
        self.num_steps += 1
        return self._text(observation)

    @property
    def unwrapped(self) -> gym.Env[str, str]:
        """The environment itself."""
        return self._env.unwrapped

    @property
    def over(self) -> bool:
        """True if the episode has ended, in whatever way."""
        return self.terminated or self.truncated

    @property
    def metrics(self) -> dict[str, float]:
        """Return and length of the episode, and its success where the environment reports one."""
        numbers = {"success": float(self.info["success"])} if "success" in self.info else {}
        return {"episode_return": self.total_reward, "num_steps": float(self.num_steps), **numbers}

    def close(self) -> None:
        """End the environment."""
        self._env.close()

    def _begin(self, info: dict[str, Any]) -> None:
        self.total_reward = self.last_reward = 0.0
        self.num_steps = 0
        self.terminated = self.truncated = False
        self.info = info

    def _text(self, observation: Any) -> str:
        if not isinstance(observation, str):
            raise TypeError(f"expected an observation of type str from {self.env_id}, got {type(observation).__name__}")
        return observation
