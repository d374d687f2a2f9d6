"""Reports say what was called, expected and got, the same each time, and never which function has the bug."""

import re

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sources.index import indexed_instance, load_index
from textagent_gym.envs.swe.sources.statements import statement
from textagent_gym.envs.swe.synthesis import reports
from textagent_gym.envs.swe.synthesis.reports import MASK, hidden_names, masked, report, with_report
from textagent_gym.envs.swe.types import Bug

TREE = {
    "tests/test_x.py": b'''import x
import pytest


def test_add():
    """Numbers are added.

    Not shown.
    """
    one = x.number("1")
    assert x.add(one,
                 2) == 3


class TestOther:
    def test_refuses(self):
        with pytest.raises(ValueError):
            x.add("a", 2)
''',
    "x.py": b"",
}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            "tests/test_x.py:11: in test_add\n    assert x.add(one,\n"
            "E   AssertionError: assert 4 == 3\nE    +  where 4 = <function add at 0x7f>(1, 2)\n"
            "E     \nE     - 3\nE     + 4",
            "Numbers are added.\nSteps:\n    one = x.number(\"1\")\n    assert x.add(one,\n                 2) == 3\n"
            "Expected: 3\nGot: 4\n     +  where 4 = <function add at 0x7f>(1, 2)",
        ),
        (
            "tests/test_x.py:10: in test_add\n    one = x.number(\"1\")\nx.py:3: in number\n    raise KeyError(1)\n"
            "E   KeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n"
            "tests/test_x.py:10: in test_add\n    one = x.number(\"1\")\nx.py:5: in number\n    ???\nE   OSError: no",
            "Numbers are added.\nSteps:\n    one = x.number(\"1\")\nGot: OSError: no",
        ),
        (
            "tests/test_x.py:17: in test_refuses\n    with pytest.raises(ValueError):\nE   Failed: DID NOT RAISE ValueError",
            "Steps:\n    with pytest.raises(ValueError):\n        x.add(\"a\", 2)\n"
            "Expected: ValueError is raised\nGot: no exception",
        ),
        (
            "E   AssertionError: hello\nE   assert 'aaa...' == 'bbb...'\nE     \n"
            "E     - bbb\nE     + aaa\nE     Use -v to see",
            "Difference (- expected, + got):\n      - bbb\n      + aaa",
        ),
        ("", "Got: a failure without a message"),
    ],
)  # fmt: skip
def test_a_report_says_what_was_called_expected_and_got(message: str, text: str) -> None:
    assert report(TREE, message) == text


@given(
    names=st.sets(st.sampled_from(["add", "feed", "_x", "get"])),
    text=st.lists(st.sampled_from(["add", "feed", "x.get", "_x", "adder", " ", "(", "1"])).map("".join),
)
def test_no_name_remains_and_others_stay(names: set[str], text: str) -> None:
    found = masked(text, names)
    assert not names & set(re.findall(r"\w+", found))
    assert masked(text, []) == text
    assert found.replace(MASK, "") == re.sub("|".join(rf"\b{name}\b" for name in names) or "(?!)", "", text)


def test_a_class_is_named_unless_calling_it_calls_the_bug() -> None:
    bugs = [Bug(file="x.py", function=name, kind="", tests=()) for name in ("A.__init__", "B.feed", "c", "D.__eq__")]
    assert hidden_names(bugs) == {"A", "__init__", "feed", "c", "__eq__"}
    assert masked("<A object at 0x7F1a> in '/tmp/pytest-1/x'", {"A"}) == f"<{MASK} object> in '/tmp/...'"


@pytest.mark.parametrize("name", list(load_index("bundled"))[7::60])
def test_the_report_of_a_task_is_the_same_each_time_and_names_no_function(name: str, sandbox: Sandbox) -> None:
    plain = indexed_instance("bundled", name)
    texts = []
    for _ in range(2):
        reports._reports.clear()
        texts.append(with_report(plain, sandbox).problem_statement)
    assert texts[0] == texts[1]
    assert not {bug.function for bug in plain.bugs} & set(re.findall(r"\w+", texts[0]))
    assert texts[0].count("Steps:\n") == len(plain.bugs)
    assert texts[0].count("\nGot: ") + texts[0].count("\nDifference (") == len(plain.bugs)


def test_only_the_option_changes_the_text() -> None:
    name = next(iter(load_index("bundled")))
    instance = indexed_instance("bundled", name)
    observations = {}
    for options in ({}, {"statements": "report"}, {"statements": "report", "hint_level": 2}):
        env = gym.make("SWEGym-Custom-v0", origin="bundled", **options)
        observations[len(options)], _ = env.reset(options={"task_id": name})
        env.close()
    assert statement(instance, 0) in observations[0]
    assert "Report 1\n" in observations[1]
    assert not any(bug.function in observations[1] for bug in instance.bugs)
    assert all(bug.function in observations[2] for bug in instance.bugs)
    with pytest.raises(ValueError, match="statements"):
        gym.make("SWEGym-Easy-Dense-v0", statements="long")
