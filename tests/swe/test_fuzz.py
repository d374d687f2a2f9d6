"""A fuzzer of actions and reports, within a time budget: whatever is sent, a step answers and raises nothing.

`TEXTAGENT_FUZZ_SECONDS` is the budget of each test, 60 by default: rounds with the seeds 0, 1, 2 and so on are played until
it is spent. What failed once is kept in the cache folder of the tests and tried first the next time.
"""

import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

from textagent_gym.cache import cache_folder
from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.swe.grading.pytest_runs import read_report
from textagent_gym.envs.swe.interfaces.tools import CATALOGUE

pytestmark = [pytest.mark.attack, pytest.mark.slow]

SECONDS = float(os.environ.get("TEXTAGENT_FUZZ_SECONDS", "60"))
FUZZ = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=DirectoryBasedExampleDatabase(Path(cache_folder()) / "fuzz"),
)


def fuzz(test: Callable[..., None], *values: st.SearchStrategy[Any]) -> None:
    """Play rounds of a test until the budget is spent."""
    end = time.monotonic() + SECONDS
    for number in itertools.count():
        if time.monotonic() > end:
            return
        seed(number)(FUZZ(given(*values)(test)))()


PATHS = st.sampled_from(
    ["README.md", "src", "tests", "tests/x.py", "tox.ini", "tox.ini/x", "..", "/", "/testbed", "", ".", "a/b/c", "é" * 128,
     "n" * 256, "\0", "\n", "a" * 299, ".git/config", "src/x.pyc", "conftest.py", "\ud800"]
) | st.text(max_size=40)  # fmt: skip
TEXTS = st.sampled_from(
    ["", "return", "\0", "\ud800", "\r\n", "x" * 1_000_001, "# -*- coding: utf-16 -*-\n"]
) | st.text(max_size=40)
NUMBERS = st.integers() | st.sampled_from([0, -1, 10**30])
COMMANDS = st.sampled_from(
    ["rm -rf .", "chmod 000 .", "mkdir tests/d; rm -rf tests", "ln -s / x; cat x/etc/passwd", "mkfifo README.md", "exit 300",
     "kill -9 $$", "printf '\\xff\\x1b'", "touch \"$(printf 'a\\nb')\"", "cd /; echo", "exec 1>&-; echo"]
)  # fmt: skip
ARGUMENTS = {"path": PATHS, "target": PATHS, "command": COMMANDS, "start": NUMBERS, "end": NUMBERS}


def calls(name: str) -> st.SearchStrategy[Any]:
    takes = {key: ARGUMENTS.get(key, TEXTS) for key in CATALOGUE[name].takes}
    honest = st.fixed_dictionaries({}, optional=takes)
    return st.builds(lambda arguments: {"tool": name, **arguments}, honest)


KEYS = st.sampled_from(["tool", "name", "arguments", "path"])
ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | NUMBERS | TEXTS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below),
    max_leaves=6,
)
QUICK = [name for name in CATALOGUE if name not in ("submit", "test", "bash")]
ACTIONS = (
    st.one_of([calls(name) for name in QUICK]).map(json.dumps)
    | ANY.map(json.dumps)
    | st.text(max_size=60)
    | st.integers(1, 5_000).map(lambda depth: "[" * depth)
)


@pytest.mark.parametrize("rare", [(), ("bash", "test", "submit")])
def test_a_step_answers_any_action(rare: tuple[str, ...]) -> None:
    env = cast(SWEGymEnv, gym.make("SWEGym-Easy-Dense-v0", max_steps=1_000).unwrapped)
    actions = st.one_of([ACTIONS, *(calls(name).map(json.dumps) for name in rare)])

    def play(chosen: list[str]) -> None:
        env.reset(seed=0)
        for action in chosen:
            observation, reward, terminated, _, info = env.step(action)
            assert isinstance(observation, str)
            observation.encode()
            json.dumps(info["task_id"])
            assert reward <= 0.5
            if terminated:
                assert not info["success"]
                return

    fuzz(play, st.lists(actions, max_size=12))


def test_any_bytes_are_a_report_or_none() -> None:
    kinds = st.sampled_from(["passed", "failed", "skipped", "message", "broken", "seen", "x"])
    lines = st.lists(st.tuples(kinds, TEXTS, TEXTS) | ANY, max_size=5)
    bodies = st.binary() | lines.map(lambda found: "".join(json.dumps(one) + "\n" for one in found).encode())

    def read(body: bytes, message_length: int) -> None:
        try:
            report = read_report(body, message_length)
        except ValueError:
            return
        names = [*report.outcomes, *report.messages, *report.messages.values(), *report.broken, *report.seen]
        "".join(names).encode()
        assert all(len(message) <= message_length for message in report.messages.values())

    fuzz(read, bodies, st.integers(0, 100))
