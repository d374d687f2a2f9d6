"""A text environment whose outcomes are written down beforehand, whatever the policy does.

Importing this module registers `ScriptedOutcomes-v0`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
from gymnasium import spaces

SCRIPTED = "tests.support.scripted_text_env:ScriptedOutcomes-v0"
"""The id, as a trainer is given it."""


class ScriptedOutcomes(gym.Env[str, str]):
    """Ends after one step; a success pays 1.

    Args:
        lost: seeds whose every episode fails.
        won: seeds whose every episode succeeds; of all other seeds it is every second episode.
        label: text of the observation.
    """

    num_played: ClassVar[Counter[int]] = Counter()
    """Episodes of each seed, of all instances."""

    def __init__(self, lost: Sequence[int] = (), won: Sequence[int] = (), label: str = "play") -> None:
        self.observation_space = spaces.Text(1000)
        self.action_space = spaces.Text(10_000)
        self._lost, self._won, self._label = lost, won, label

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Look up the outcome of the seed's next episode."""
        super().reset(seed=seed)
        assert seed is not None
        self.num_played[seed] += 1
        self._success = seed in self._won or (seed not in self._lost and self.num_played[seed] % 2 == 0)
        return f"{self._label} {seed}", {"task_id": f"{self._label}-{seed}"}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Pay the outcome."""
        return "over", float(self._success), True, False, {"success": self._success}


gym.register("ScriptedOutcomes-v0", entry_point=ScriptedOutcomes, disable_env_checker=True)
