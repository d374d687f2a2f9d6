"""The map follows the room: where the agent stands, what is open, and what is carried."""

from __future__ import annotations

import re
from typing import cast

import gymnasium as gym
import pytest

from textagent_gym.core import TextAgentEnv

STATES = {"heat": "hot", "cool": "cool", "clean": "clean"}


@pytest.mark.parametrize("tier", ["Easy", "Medium", "Hard"])
@pytest.mark.parametrize("seed", range(3))
def test_the_map_follows_the_agent(tier: str, seed: int) -> None:
    env = gym.make(f"ALFWorld-{tier}-Dense-v0", expose_solution=True)
    room = cast(TextAgentEnv, env.unwrapped)
    observation, info = env.reset(seed=seed)
    seen = re.search(r"you see (.*)\.", observation)
    assert seen is not None
    receptacles = sorted(re.findall(r"an? (\w+ \d+)", seen[1]))
    at = ""
    for command in info["solution"]:
        env.step(command)
        lines = (room.query_debug("map") or "").splitlines()
        *rows, carried = lines
        named = [re.sub(r"^(open|closed) | \(you are here\)$", "", row.partition(":")[0]) for row in rows]
        assert sorted(named) == receptacles
        here = [row.partition(":")[0] for row in rows if "(you are here)" in row]
        if went := re.fullmatch(r"go to (.*)", command):
            at = went[1]
        assert any(at in row for row in here)
        if opened := re.fullmatch(r"open (.*)", command):
            assert any(row.startswith(f"open {opened[1]} (you are here)") for row in rows)
        if taken := re.fullmatch(r"take (.*) from .*", command):
            assert carried == f"carried: {taken[1]}" or carried.endswith(f" {taken[1]}")
        if moved := re.fullmatch(r"move (.*) to (.*)", command):
            assert carried == "carried: nothing"
            assert any(moved[2] in row.partition(":")[0] and moved[1] in row.partition(":")[2] for row in rows)
        if state := re.fullmatch(r"(heat|cool|clean) (.*) with .*", command):
            assert carried == f"carried: {STATES[state[1]]} {state[2]}"
