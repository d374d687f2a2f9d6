"""Numbers instead of text for a team: what libraries of multi-agent reinforcement learning ask for."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from textagent_gym.interop.numeric import bag_of_words, mask_of
from textagent_gym.mechanics.knobs import check_integer
from textagent_gym.multi_agent.team import PASS, TeamEnv

Observation: TypeAlias = dict[str, NDArray[Any]]

Step = tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]


class NumericTeam(ParallelEnv[str, Observation, int]):  # type: ignore[misc]
    """A team whose players see hashed words and name the places of their commands.

    An observation is `{"observation": (2 * num_features,) float32, "action_mask": (max_actions,) int8}`: the words of the
    player's first observation, which states the task, and those of its last one; and which actions there are. Action 0 is
    `pass`, action i the i-th of the player's `admissible_commands`.

    Args:
        team: A team whose world lists admissible commands.
        max_actions: Size of the action space.
        num_features: Places for words.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number is out of its range; or, at reset or step, the world lists no commands, or too many.
    """

    render_mode = None

    def __init__(self, team: TeamEnv, max_actions: int = 64, num_features: int = 512) -> None:
        check_integer("max_actions", max_actions, low=2)
        check_integer("num_features", num_features, low=1)
        self.metadata = team.metadata
        self._team = team
        self._max_actions, self._num_features = max_actions, num_features
        self.possible_agents = team.possible_agents
        self._spaces = {name: self._new_spaces() for name in self.possible_agents}

    @property
    def agents(self) -> list[str]:
        """The players of the current episode."""
        return self._team.agents

    def observation_space(self, agent: str) -> Dict:
        """Return words and mask."""
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> Discrete:
        """Return places of commands."""
        return self._spaces[agent][1]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Start an episode; see `TeamEnv.reset`."""
        texts, infos = self._team.reset(seed, options)
        self._first = {name: bag_of_words(text, self._num_features) for name, text in texts.items()}
        return self._seen(texts, infos), infos

    def step(self, actions: dict[str, int]) -> Step:
        """Play a round; an action beyond a player's commands is one in which nothing is done."""
        commands = {name: self._command(name, int(action)) for name, action in actions.items()}
        texts, rewards, terminations, truncations, infos = self._team.step(commands)
        return self._seen(texts, infos), rewards, terminations, truncations, infos

    def close(self) -> None:
        """Close the team."""
        self._team.close()

    def _new_spaces(self) -> tuple[Dict, Discrete]:
        words = Box(0, np.inf, (2 * self._num_features,), np.float32)
        mask = Box(0, 1, (self._max_actions,), np.int8)
        return Dict({"observation": words, "action_mask": mask}), Discrete(self._max_actions)

    def _seen(self, texts: dict[str, str], infos: dict[str, dict[str, Any]]) -> dict[str, Observation]:
        self._commands = {name: (PASS, *self._listed(infos[name])) for name in texts}
        return {
            name: {
                "observation": np.concatenate([self._first[name], bag_of_words(text, self._num_features)]),
                "action_mask": mask_of(len(self._commands[name]), self._max_actions),
            }
            for name, text in texts.items()
        }

    def _listed(self, info: dict[str, Any]) -> tuple[str, ...]:
        commands: tuple[str, ...] | None = info["admissible_commands"]
        if commands is None:
            raise ValueError("expected info['admissible_commands'], got none: this world knows no list of commands")
        if len(commands) >= self._max_actions:
            raise ValueError(f"expected at most {self._max_actions - 1} commands (max_actions), got {len(commands)}")
        return commands

    def _command(self, name: str, action: int) -> str:
        commands = self._commands.get(name, ())
        return commands[action] if 0 <= action < len(commands) else ""
