"""Counts of work that do not depend on the machine: states that planners expand during random play.

Where success alone pays, no state may be expanded: nothing is searched where nobody asks for the sub-goals.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import gymnasium as gym

from textagent_gym.agents import RandomAgent
from textagent_gym.core import TextAgentEnv

COUNTS = Path(__file__).with_name("work.json")
"""File of the committed counts."""

NUM_GAMES = 5
"""Games per id, with seeds from 0."""

NUM_STEPS = 40
"""Steps of a game, or fewer where its episode is shorter."""

TOLERANCE = 0.1
"""Share of a committed count by which another may lie above it."""

IDS = tuple(
    f"{domain}-{tier}-{density}-v0"
    for density, tiers in (("Dense", ("Easy", "Medium", "Hard")), ("Sparse", ("Medium", "Hard")))
    for domain in ("TextWorld", "ALFWorld")
    for tier in tiers
)
"""Ids whose planners are counted; drawing an Extreme game takes longer than all of these."""


def count(env_id: str) -> int:
    """Return the number of states that the planners of some games expand during random play."""
    env = gym.make(env_id, disable_env_checker=True)  # the checker reads all values of the first two steps
    agent, total = RandomAgent(), 0
    for seed in range(NUM_GAMES):
        observation, info = env.reset(seed=seed)
        agent.reset(info, seed)
        planner = cast(TextAgentEnv, env.unwrapped).task.planner  # type: ignore[attr-defined]
        before = planner.num_expanded
        for _ in range(NUM_STEPS):
            observation, _, terminated, truncated, info = env.step(agent.act(observation, info))
            if terminated or truncated:
                break
        total += planner.num_expanded - before
    env.close()
    return total


def excess(found: dict[str, int], path: Path = COUNTS) -> list[str]:
    """Return a line for each id whose count lies above the committed one by more than the tolerance."""
    committed: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return [
        f"expected {env_id} to expand at most {committed[env_id]:,} states, got {number:,}"
        for env_id, number in found.items()
        if number > (1 + TOLERANCE) * committed[env_id]
    ]
