"""Difficulty is measured by running tests, is in the index, and selects tasks."""

import ast
import json
from typing import Any

import gymnasium as gym
import pytest

from textagent_gym.envs.swe.repo.mutation import Mutation, mutations
from textagent_gym.envs.swe.repo.operators import KINDS
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sources.index import difficulty_of, load_index
from textagent_gym.envs.swe.sources.projects import INDEX, projects
from textagent_gym.envs.swe.synthesis.bug_finder import FoundBug
from textagent_gym.envs.swe.synthesis.difficulty import (
    call_distance,
    changed_lines,
    is_reverted,
    reverting,
    share_rows,
    tier_rows,
    with_probe,
)

TREE = {
    "tests/test_x.py": b'''import pytest
import x


@pytest.mark.parametrize("call", [x.near, x.far, x.Far().further])
def test_one(call):
    assert call(1) < 2


def test_early():
    assert x.EARLY == 1


def test_guard():
    assert x.guarded(0) == 0
    assert x.guarded(4) == 2
''',
    "x.py": b'''def near(n):
    """Docstring."""
    return n + 0

def far(n):
    @str
    def inner(): pass
    return near(n)

class Far:
    def further(self, n): return far(n)

def early(): return 1
EARLY = early()

def guarded(n):
    if n < 1:
        return 0
    return 8 // n
''',
}  # fmt: skip


def bug(function: str, kind: str, *failing: str) -> FoundBug:
    found = next(one for one in mutations("x.py", TREE["x.py"]) if (one.function, one.kind) == (function, kind))
    return FoundBug(mutation=found, failing=tuple(f"tests/test_x.py::{test}" for test in failing))


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [("a\nb\n", "a\nb\n", 0), ("a\nb\n", "a\nc\n", 1), ("a\nb\nc\n", "c\n", 2), ("", "a\nb\nc", 3)],
)
def test_a_replaced_line_counts_once(before: str, after: str, count: int) -> None:
    assert changed_lines(before, after) == changed_lines(after, before) == count


def test_the_distance_is_the_number_of_calls_from_the_nearest_test(sandbox: Sandbox) -> None:
    tests = ("test_one[near]", "test_one[far]", "test_one[further]")
    assert call_distance(TREE, bug("near", "constant", *tests), sandbox) == 1
    assert call_distance(TREE, bug("near", "constant", *tests[1:]), sandbox) == 2
    assert call_distance(TREE, bug("near", "constant", tests[2]), sandbox) == 3
    assert call_distance(TREE, bug("Far.further", "returned None", tests[2]), sandbox) == 1
    assert call_distance(TREE, bug("early", "constant", "test_early"), sandbox) == 0


def test_a_probe_can_stand_in_every_function() -> None:
    for project in (project for project in projects().values() if project.sdist is None):
        tree = project.tree
        for file in {name for name in tree if name.startswith("src/") and name.endswith(".py")}:
            first: dict[str, Mutation] = {one.function: one for one in mutations(file, tree[file])}
            for mutation in first.values():
                probed = with_probe(tree, mutation)[file]
                assert b"swe_probe" in ast.unparse(ast.parse(probed)).encode()


def test_the_search_reverts_what_loses_no_text_and_nothing_else() -> None:
    tree = projects()["bundled/unitable"].tree
    found: dict[str, set[bool]] = {}
    for file in ("src/unitable/rows.py", "src/unitable/layout.py"):
        for one in mutations(file, tree[file])[::4]:
            found.setdefault(one.kind, set()).add(reverting(tree, one)[1])
    reverted = {kind for kind, results in found.items() if results == {True}}
    finite = {
        "comparison",
        "boolean constant",
        "constant",
        "off by one",
        "swapped arguments",
        "wrong call",
        "moved statement",
    }
    assert finite <= reverted
    lost = {
        "removed guard",
        "removed branch",
        "deleted statement",
        "deleted exception",
        "returned None",
        "string constant",
    }
    assert all(found[kind] == {False} for kind in lost & set(found))


def test_the_search_runs_tests_where_no_change_is_known_to_repair(sandbox: Sandbox) -> None:
    none = bug("early", "returned None", "test_early")  # of its one line nothing gives 1 back
    assert not is_reverted(TREE, none, none.failing, sandbox)
    twice = Mutation(**{**vars(bug("guarded", "constant", "test_guard").mutation), "replacement": "3"})  # "n < 3"
    equal = FoundBug(mutation=twice, failing=("tests/test_x.py::test_guard",))
    assert not reverting(TREE, twice)[1]
    assert is_reverted(TREE, equal, [], sandbox)  # "n < 2" passes, too


def test_every_bug_of_the_index_is_measured() -> None:
    for project in projects().values():
        for row in json.loads((INDEX / project.index_file).read_text())["bugs"]:
            assert row["lines"] >= 1
            assert row["distance"] >= 0
            assert row["kind"] in KINDS


def test_bounds_select_tasks_by_measured_difficulty() -> None:
    bounds: dict[str, Any] = {"max_failing_tests": 6, "min_changed_lines": 2, "max_call_distance": 1}
    env = gym.make("SWEGym-Custom-v0", origin="bundled", **bounds)
    chosen = env.unwrapped.task_ids  # type: ignore[attr-defined]
    env.close()
    assert chosen
    for name, task in load_index("bundled").items():
        one = difficulty_of("bundled", name)
        fits = one.num_failing <= 6 and one.num_lines >= 2 and one.distance == 1
        assert (name in chosen) == (fits and task.split == "train")
    with pytest.raises(ValueError, match="failing_tests from 2 to "):
        gym.make("SWEGym-Easy-Dense-v0", min_failing_tests=500)
    with pytest.raises(ValueError, match="mutation tasks of an index"):
        gym.make("SWEGym-Release-v0", max_changed_lines=3)


def test_the_tables_have_a_row_for_each_size_and_each_project(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "mutation").mkdir()
    entries = json.loads((INDEX / "projects.json").read_text())
    unitable = [entry for entry in entries if entry["name"] == "bundled/unitable"]
    (tmp_path / "projects.json").write_text(json.dumps(unitable))
    name = projects()["bundled/unitable"].index_file
    (tmp_path / name).write_bytes((INDEX / name).read_bytes())
    head, row = tier_rows(tmp_path)
    assert (head[0], row[0], row[1]) == ("bugs", 2, 60)
    rows = list(share_rows(tmp_path, None))
    assert rows[1][:2] == ("bundled/unitable", 40)
    assert rows[2][:5] == ("all", *rows[1][1:5])
    assert 0 < int(str(rows[1][2])) < 40
