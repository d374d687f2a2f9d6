"""Merged infos are those of Gymnasium's own merging; a lazy info is read like the plain one, and counts once at most."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import VectorEnv
from hypothesis import given
from hypothesis import strategies as st

from tests.test_vector import same
from textagent_gym.mechanics.infos import LazyInfo, merge_infos

VALUES = {
    "count": st.integers(-5, 5),
    "subgoals_done": st.integers(0, 5),
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


PLAIN = {"success": False, "subgoals_done": 3, "valid_command": True}

READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "key": lambda info: info["subgoals_done"],
    "get": lambda info: info.get("subgoals_done"),
    "pop": lambda info: info.pop("subgoals_done"),
    "setdefault": lambda info: info.setdefault("subgoals_done", 0),
    "last": lambda info: (info.pop("valid_command"), info.popitem()),
    "items": lambda info: list(info.items()),
    "values": lambda info: list(info.values()),
    "dict": dict,
    "spread": lambda info: {"a": 1, **info},
    "arguments": lambda info: dict(**info),
    "copy": lambda info: info.copy(),
    "shallow": copy.copy,
    "deep": copy.deepcopy,
    "pickle": lambda info: pickle.loads(pickle.dumps(info)),
    "json": json.dumps,
    "equal": lambda info: (info == PLAIN, info != PLAIN),
    "merged": lambda info: (info | {"a": 1}, {"a": 1} | info),
    "update": lambda info: PLAIN.copy().update(info),
    "text": str,
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_lazy_info_is_read_like_the_plain_one(name: str) -> None:
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return 3

    read = READERS[name]
    lazy = LazyInfo({**PLAIN, "subgoals_done": count})
    assert read(lazy) == read(PLAIN.copy())
    assert len(calls) == 1
    assert LazyInfo({"subgoals_done": count}) == LazyInfo({"subgoals_done": count})


def test_a_lazy_info_counts_nothing_for_who_reads_other_keys() -> None:
    lazy = LazyInfo({**PLAIN, "subgoals_done": lambda: pytest.fail("it was counted")})
    lazy["more"] = 1
    assert list(lazy) == [*lazy.keys()] == [*PLAIN, "more"]
    assert "subgoals_done" in lazy and lazy["success"] is False and lazy.get("none", 7) == 7 and lazy.pop("more") == 1
    lazy["subgoals_done"] = 2
    assert lazy == {**PLAIN, "subgoals_done": 2}
