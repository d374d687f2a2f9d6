"""The map follows the world: one room is the player's, and what is taken is carried."""

from __future__ import annotations

import re
from typing import cast

import gymnasium as gym
import pytest

from textagent_gym.core import TextAgentEnv
from textagent_gym.envs.textworld.world.ascii_map import draw_map


def test_a_map_tells_exits_doors_holders_and_what_is_carried() -> None:
    facts = [
        ("north_of", "r_1", "r_0"),
        ("south_of", "r_0", "r_1"),
        ("link", "r_0", "d_0", "r_1"),
        ("link", "r_1", "d_0", "r_0"),
        ("locked", "d_0"),
        ("at", "P", "r_0"),
        ("at", "c_0", "r_0"),
        ("closed", "c_0"),
        ("in", "o_0", "c_0"),
        ("at", "s_0", "r_0"),
        ("on", "o_1", "s_0"),
        ("in", "k_0", "I"),
    ]
    names = {"r_0": "hall", "r_1": "attic", "d_0": "gate", "c_0": "chest", "o_0": "coin", "s_0": "shelf", "o_1": "cup"}
    assert draw_map(facts, names).splitlines() == [
        "attic",
        "    south: hall through the locked gate",
        "hall (you are here)",
        "    north: attic through the locked gate",
        "    here: closed chest [coin], shelf [cup]",
        "carried: k_0",
    ]


def test_a_world_of_one_room_has_a_map() -> None:
    assert draw_map([("at", "P", "r_0")], {"r_0": "cell"}) == "cell (you are here)\ncarried: nothing"


@pytest.mark.parametrize(
    "env_id", ["TextWorld-w2-o3-q4-Dense-v0", "TextWorld-Hard-Dense-v0", "TextWorld-Simple-Dense-v0"]
)
def test_the_map_follows_the_player(env_id: str) -> None:
    env = gym.make(env_id, expose_solution=True)
    world = cast(TextAgentEnv, env.unwrapped)
    observation, info = env.reset(seed=5)
    room = ""
    for command in info["solution"]:
        for heading in re.findall(r"-= (.*) =-", observation):
            room = heading.lower()
        answer = world.query_debug("map")
        assert answer is not None
        assert [line.lower() for line in answer.splitlines() if "(you are here)" in line] == [f"{room} (you are here)"]
        observation, *_ = env.step(command)
        carried = (world.query_debug("map") or "").splitlines()[-1]
        if taken := re.match(r"take ([\w -]+?)(?: from .*)?$", command):
            assert taken[1] in carried
        if dropped := re.match(r"(?:drop|put|insert) ([\w -]+?)(?: (?:on|into) .*)?$", command):
            assert dropped[1] not in carried
    assert world.query_debug("weather") is None
