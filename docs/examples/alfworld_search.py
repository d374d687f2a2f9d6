"""Demonstrations of searching: an expert of ALFWorld that also looks into wrong places.

A shortest solution goes straight to objects that nobody has seen yet. A policy that imitates it never learns what to do
where an object is not. This player draws the next place of a search half of the time from all places not yet visited,
and opens what is closed there; otherwise it follows the plan from the current state. The episodes train
`python -m baselines.sft --data`.

    python docs/examples/alfworld_search.py demonstrations.jsonl
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import textagent_gym  # noqa: F401  # registers the ids

WRONG = 0.5
"""Share of the places of a search that are drawn at random."""


def play(env: gym.Env[str, str], rng: np.random.Generator, **reset: Any) -> tuple[list[dict[str, str]], bool]:
    """Play the game that `reset` chooses and return its messages, and whether it was solved."""
    observation, info = env.reset(**reset)
    messages, seen, last, over = [], "", "", False
    visited: set[str] = set()
    while not over:
        action = choose(env.unwrapped.plan(), info["admissible_commands"], last, seen, visited, rng)
        messages += [{"role": "user", "content": observation}, {"role": "assistant", "content": action}]
        observation, _, terminated, truncated, info = env.step(action)
        seen, last, over = f"{seen}\n{observation}", action, terminated or truncated
    return messages, bool(info["success"])


def choose(plan: Any, commands: Any, last: str, seen: str, visited: set[str], rng: np.random.Generator) -> str:
    """Return the next command; `visited` grows by the place that it goes to."""
    if last.startswith("go to ") and (opening := f"open {last[6:]}") in commands:
        return opening
    wanted = next((command.split()[1:3] for command in plan if command.startswith(("take ", "use "))), None)
    places = [command for command in commands if command.startswith("go to ") and command not in visited]
    action = str(plan[0])
    if wanted and action in places and not re.search(rf"\b{' '.join(wanted)}\b", seen) and rng.random() < WRONG:
        action = places[int(rng.integers(len(places)))]
    visited.add(action)
    return action


def write(path: Path, seed: int = 1) -> int:
    """Write the solved games of the train split, one conversation a line, and return their number."""
    env = gym.make("ALFWorld-v0", split="train", preamble=False, strict=True, max_steps=50)
    rng, lines = np.random.default_rng(seed), []
    for task_id in env.unwrapped.task_ids:  # type: ignore[attr-defined]
        messages, solved = play(env, rng, options={"task_id": task_id})
        if solved:
            lines.append(json.dumps({"messages": messages}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


if __name__ == "__main__":
    print(f"games solved: {write(Path(sys.argv[1]))}")
