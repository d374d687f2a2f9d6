"""The teams that every table needs: one that knows everything, and one that knows nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from textagent_gym.multi_agent.team import TeamEnv


class ExpertTeam:
    """Players who know the whole world and plan together, see the `plan` of each environment.

    Args:
        env: The environment that they play.
    """

    def __init__(self, env: TeamEnv) -> None:
        self._env = env

    def reset(self, infos: dict[str, dict[str, Any]], seed: int | None = None) -> None:
        """Start an episode; `seed` changes nothing."""

    def act(self, observations: dict[str, str], infos: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Return one action of each player."""
        return self._env.plan()


class RandomTeam:
    """Players of whom each draws uniformly from its `admissible_commands`, or from its action space where there are none.

    Args:
        env: The environment that they play.
    """

    def __init__(self, env: TeamEnv) -> None:
        self._env = env
        self._rng = np.random.default_rng(0)

    def reset(self, infos: dict[str, dict[str, Any]], seed: int | None = None) -> None:
        """Start an episode; the same `seed` draws the same actions."""
        self._rng = np.random.default_rng(seed)
        for number, name in enumerate(self._env.possible_agents):
            self._env.action_space(name).seed((seed or 0) + number)

    def act(self, observations: dict[str, str], infos: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Return one action of each player."""
        return {name: self._drawn(name, infos[name]["admissible_commands"]) for name in self._env.agents}

    def _drawn(self, name: str, commands: tuple[str, ...] | None) -> str:
        if not commands:
            return self._env.action_space(name).sample()
        return self._env.acting(name, commands[int(self._rng.integers(len(commands)))])
