"""Digests of trajectories that must be the same on every machine and Python: `python -m tests.golden` prints them."""

import hashlib
import json
import sys
from typing import Any

import gymnasium as gym

import textagent_gym  # noqa: F401
from textagent_gym.agents import ExpertAgent, RandomAgent
from textagent_gym.testing import play

GOLDEN_IDS = {
    "TextWorld-Easy-Dense-v0": "inform7",
    "TextWorld-Medium-Balanced-v0": "inform7",
    "TextWorld-w2-o3-q4-Sparse-v0": "inform7",
    "ALFWorld-Easy-Dense-v0": "alfworld",
    "ALFWorld-Medium-Balanced-v0": "alfworld",
}
"""Id -> the backend that is its reference."""


def digests(*, by_reference: bool = False) -> dict[str, str]:
    """Return id -> SHA-256 of an expert's and a random agent's episode on seed 0, without paths and the backend's name."""
    return {
        env_id: _digest(env_id, reference if by_reference else "native") for env_id, reference in GOLDEN_IDS.items()
    }


def _digest(env_id: str, backend: str) -> str:
    env = gym.make(env_id, expose_solution=True, show_admissible=True, backend=backend)
    seen: list[Any] = []
    for agent in (ExpertAgent(), RandomAgent()):
        seen += play(env, agent, seed=0)
    for step in seen:
        for name in ("backend", "game_file"):
            step[4].get("task_card", {}).pop(name, None)
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    json.dump(digests(), sys.stdout, indent=2)
    sys.stdout.write("\n")
