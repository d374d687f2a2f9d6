"""Tree search with snapshots: best-first search for a solution, guided by the return so far.

python docs/examples/tree_search.py
"""

from __future__ import annotations

import heapq
from itertools import count

import gymnasium as gym

import textagent_gym  # noqa: F401  # registers the ids
from textagent_gym.core import TextAgentEnv


def search(env: gym.Env[str, str], seed: int, max_steps: int = 5_000) -> tuple[list[str], int]:
    """Return the commands that solve a task, or none, and the number of environment steps that the search took."""
    world = env.unwrapped
    assert isinstance(world, TextAgentEnv)
    _, info = env.reset(seed=seed)
    order, steps = count(), 0
    queue = [(0.0, 0, next(order), world.snapshot(), info["admissible_commands"], [])]
    seen = set()
    while queue and steps < max_steps:
        negative_return, _, _, snapshot, commands, path = heapq.heappop(queue)
        for command in commands:
            world.restore(snapshot)
            observation, reward, terminated, truncated, info = env.step(command)
            steps += 1
            if info["success"]:
                return [*path, command], steps
            key = (observation, info["admissible_commands"])
            if not (terminated or truncated or key in seen):
                seen.add(key)
                item = (
                    negative_return - reward,
                    len(path) + 1,
                    next(order),
                    world.snapshot(),
                    key[1],
                    [*path, command],
                )
                heapq.heappush(queue, item)
    return [], steps


if __name__ == "__main__":
    for density in ("Dense", "Sparse"):
        solution, num_steps = search(gym.make(f"TextWorld-Easy-{density}-v0"), seed=0)
        print(f"{density}: {num_steps} steps searched; {', '.join(solution)}")
