"""Your own environment: a guessing game, and a policy that learns to play it from demonstrations.

A trainer of `baselines` needs a Gymnasium environment whose observations and actions are strings. `info["success"]` says
whether an episode succeeded. SFT reads `info["solution"]`, and RL does not. `decode="listed"` reads
`info["admissible_commands"]`.

    python docs/examples/own_environment.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from baselines import sft
from baselines.config.settings import RolloutSettings, RunSettings

NUMBERS = tuple(map(str, range(1, 9)))


class GuessNumber(gym.Env[str, str]):
    """A number from 1 to 8 and four guesses; each answer says whether the number is higher or lower."""

    observation_space = spaces.Text(100)
    action_space = spaces.Text(100)

    def __init__(self, expose_solution: bool = False) -> None:
        self.expose_solution = expose_solution

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Draw the number."""
        super().reset(seed=seed)
        self.number, self.guesses = int(self.np_random.integers(1, 9)), 0
        info = self.info(success=False)
        if self.expose_solution:
            info["solution"] = tuple(bisection(self.number))
        return "Guess.", info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Answer a guess; the right one pays 1."""
        self.guesses += 1
        if action == str(self.number):
            return "Right.", 1.0, True, False, self.info(success=True)
        higher = action in NUMBERS and int(action) < self.number
        answer = f"Not {action}: higher." if higher else f"Not {action}: lower."
        return answer, 0.0, False, self.guesses == 4, self.info(success=False)

    def info(self, success: bool) -> dict[str, Any]:
        """Return the keys that trainers read."""
        return {"success": success, "admissible_commands": NUMBERS}


def bisection(number: int) -> list[str]:
    """Return guesses that halve the range until they find the number."""
    low, high, guesses = 1, 8, []
    while not guesses or guesses[-1] != str(number):
        middle = (low + high) // 2
        guesses.append(str(middle))
        low, high = (middle + 1, high) if middle < number else (low, middle - 1)
    return guesses


gym.register("GuessNumber-v0", entry_point=GuessNumber)


def train(out: Path) -> float:
    """Train a model of random weights and return its success rate on 200 new seeds, played greedily."""
    config = sft.Config(
        env_id="GuessNumber-v0",
        num_demos=64,
        num_epochs=8,
        rollout=RolloutSettings(decode="listed", max_new_tokens=4, max_context_tokens=128),
        run=RunSettings(out=out, eval_episodes=200, num_threads=1),
    )
    evaluation = sft.train(config).evaluation
    assert evaluation is not None  # since eval_episodes is not 0
    return evaluation.success_rate


if __name__ == "__main__":
    print(f"success: {train(Path('runs/guess')):.2f}")
