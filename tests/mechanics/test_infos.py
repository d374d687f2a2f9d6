"""Merged infos are those of Gymnasium's own merging, one environment after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from hypothesis import given
from hypothesis import strategies as st

from tests.test_vector import same
from textagent_gym.mechanics.infos import merge_infos

VALUES = {
    "count": st.integers(-5, 5),
    "share": st.floats(-2, 2) | st.integers(0, 3),
    "won": st.booleans(),
    "single": st.floats(-2, 2, width=32).map(np.float32),
    "vector": st.lists(st.integers(0, 9), min_size=3, max_size=3).map(np.array),
    "name": st.text(max_size=3) | st.none(),
    "commands": st.lists(st.text(max_size=2), max_size=3).map(tuple),
    "final_obs": st.text(max_size=3),
}
FLAT = st.fixed_dictionaries({}, optional=VALUES)
INFO = st.fixed_dictionaries({}, optional={**VALUES, "card": FLAT, "final_info": FLAT})


@given(st.lists(INFO, min_size=1, max_size=5))
def test_merging_is_that_of_gymnasium(infos: list[dict[str, Any]]) -> None:
    envs = VectorEnv()
    envs.num_envs = len(infos)
    expected: dict[str, Any] = {}
    for number, info in enumerate(infos):
        expected = envs._add_info(expected, info, number)
    same(merge_infos(infos), expected)


def test_a_worked_example() -> None:
    merged = merge_infos([{"won": True, "card": {"rooms": 2}}, {}, {"won": False, "name": "x", "card": {"rooms": 3}}])
    assert merged["won"].tolist() == [True, False, False]
    assert merged["_won"].tolist() == [True, False, True]
    assert merged["name"].tolist() == [None, None, "x"]
    assert merged["card"]["rooms"].tolist() == [2, 0, 3]
    assert merged["_card"].tolist() == merged["card"]["_rooms"].tolist() == [True, False, True]
