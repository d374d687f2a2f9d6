"""The agents that every table needs: those that know the solution, and one that knows nothing."""

from __future__ import annotations

from typing import Any, cast

import gymnasium as gym
import numpy as np

from textagent_gym.core import TextAgentEnv


class ExpertAgent:
    """Replays `info["solution"]` of environments made with `expose_solution=True`.

    A command that was not carried out, because it failed by chance (`fault_rate`), is given again.
    """

    def __init__(self) -> None:
        self._left: list[str] = []
        self._last = ""

    def reset(self, info: dict[str, Any], seed: int | None = None) -> None:
        """Start an episode with the `info` of its reset; `seed` changes nothing.

        Raises:
            ValueError: The environment does not give its solution away.
        """
        if "solution" not in info:
            raise ValueError(
                "expected info['solution'], got none: make the environment with expose_solution=True, and play a task whose "
                "solution is known"
            )
        self._left, self._last = list(reversed(info["solution"])), ""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Return the next command of the solution, or "look" once it is used up."""
        if not self._last or info.get("valid_command", True):
            self._last = self._left.pop() if self._left else "look"
        return self._last


class ReplanningAgent:
    """Plays the first command of `env.unwrapped.plan()`, found again at every step: an expert for any state.

    Args:
        env: An environment of a domain with a planner; the agent reads it and never steps it.
    """

    def __init__(self, env: gym.Env[str, str]) -> None:
        self._env = cast(TextAgentEnv, env.unwrapped)

    def reset(self, info: dict[str, Any], seed: int | None = None) -> None:
        """Start an episode; nothing is remembered from step to step."""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Return the next command of a shortest plan, or "look" where the planner knows none."""
        plan = self._env.plan()
        return plan[0] if plan else "look"


class RandomAgent:
    """Draws uniformly from `info["admissible_commands"]`, with its own generator.

    Args:
        by_number: True if it says the number of the command, for environments made with `by_number=True`.
        action_space: Space to draw from in domains without such a list.
    """

    def __init__(self, *, by_number: bool = False, action_space: gym.Space[str] | None = None) -> None:
        self._by_number = by_number
        self._action_space = action_space
        self._rng = np.random.default_rng(0)

    def reset(self, info: dict[str, Any], seed: int | None = None) -> None:
        """Start an episode; the same `seed` draws the same commands."""
        self._rng = np.random.default_rng(seed)
        if self._action_space is not None:
            self._action_space.seed(0 if seed is None else seed)

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Return one admissible command, or a sample of the action space where the domain has no list of them.

        Raises:
            ValueError: There is nothing to draw from.
        """
        commands = info.get("admissible_commands")
        if commands is None and self._action_space is not None:
            return self._action_space.sample()
        if not commands:
            raise ValueError("expected info['admissible_commands'], got none: this domain has no list to draw from")
        drawn = int(self._rng.integers(len(commands)))
        return str(drawn + 1 if self._by_number else commands[drawn])
