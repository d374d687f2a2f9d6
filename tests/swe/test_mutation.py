"""Mutations change one place, keep the rest byte for byte, and are the same on every Python."""

import ast
import hashlib
import json
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym.envs.swe.repo.mutation import Mutation, apply_all, mutations
from textagent_gym.envs.swe.repo.operators import KINDS
from textagent_gym.envs.swe.repo.tree import source_files
from textagent_gym.envs.swe.sources.index import indexed_instance, load_index
from textagent_gym.envs.swe.sources.projects import projects
from textagent_gym.envs.swe.sources.sdists import IndexUnreachableError
from textagent_gym.envs.swe.synthesis.bug_finder import drawn_sites, parses

SOURCE = b'''"""Docstring with 1 < 2."""
LIMIT = 3


def pick(items, low=0, *, deep=True):
    """Another: a and b."""
    if low < len(items) and deep:
        items.append(low)
        return items[low + 1]
    if not items:
        raise ValueError(f"none of {low + 1}")
    total = 0
    for item in items:
        total += item
    return max(low, total) if deep else None
'''


def replaced(kind: str) -> set[tuple[str, str]]:
    return {
        (SOURCE[found.start : found.end].decode(), found.replacement)
        for found in mutations("x.py", SOURCE)
        if found.kind == kind
    }


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("comparison", {("<", "<="), ("<", ">")}),
        ("boolean operator", {("and", "or")}),
        (
            "dropped condition",
            {("low < len(items) and deep", "low < len(items)"), ("low < len(items) and deep", "deep")},
        ),
        ("arithmetic operator", {("+", "-"), ("+=", "-=")}),
        ("boolean constant", {("True", "False")}),
        ("swapped arguments", {("low, total", "total, low")}),
        ("deleted statement", {("items.append(low)", "pass"), ("total += item", "pass")}),
        ("deleted exception", {('raise ValueError(f"none of {low + 1}")', "pass")}),
        ("constant", {("0", "1"), ("0", "(-1)"), ("1", "2"), ("1", "0")}),
    ],
)
def test_each_operator_changes_what_it_should(kind: str, changes: set[tuple[str, str]]) -> None:
    assert replaced(kind) == changes


def test_module_level_docstrings_and_f_strings_are_left_alone() -> None:
    lines = {found.line for found in mutations("x.py", SOURCE)}
    assert 1 not in lines
    assert 2 not in lines
    assert not any(found.line == 11 and found.kind == "arithmetic operator" for found in mutations("x.py", SOURCE))


def test_every_mutation_of_the_bundled_libraries_is_a_small_change_that_has_a_name_of_its_own() -> None:
    count = 0
    for project in projects().values():
        if project.sdist is not None:
            continue
        tree = project.tree
        for file in source_files(tree):
            found = mutations(file, tree[file])
            assert len({mutation.name for mutation in found}) == len(found)
            for mutation in found:
                count += 1
                mutated = mutation.apply(tree[file])
                assert mutated[: mutation.start] == tree[file][: mutation.start]
                assert mutated.endswith(tree[file][mutation.end :])
                assert mutation.kind in KINDS
            sample = found[:: max(1, len(found) // 20)]
            assert all(parses(mutation.apply(tree[file])) for mutation in sample)
            assert all(ast.dump(ast.parse(one.apply(tree[file]))) != ast.dump(ast.parse(tree[file])) for one in sample)
    assert count > 500


FURTHER = b'''"""Other kinds."""


async def read(path, mode="rb", *, limit=None):
    """Docstring."""
    best = await path.open(mode, deep=1, wide=2)
    if not best:
        return path.get(mode, limit)
    for name in range(limit):
        best.append(name[mode:limit])
        if name < mode and path and best:
            continue
        else:
            limit += 1
        best.extend(name)
    try:
        path.close()
        mode = min(mode, limit)
    except KeyError:
        raise ParseError
    except (OSError, Other):
        return f(mode)
    return [one for one in best if one]
'''


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("missed await", {("await ", "")}),
        ("arithmetic operator", {("+=", "-=")}),
        ("missed return", {("return ", "")}),
        ("wrong default", {('"rb"', "None"), ("None", "False"), (", limit", "")}),
        ("string constant", {('"rb"', '"r"')}),
        ("off by one", {("", " + 1"), ("", " - 1")}),
        ("wrong call", {("append", "extend"), ("extend", "append"), ("min", "max")}),
        ("exception type", {("KeyError", "IndexError"), ("ParseError", "ValueError"), ("OSError", "ValueError")}),
        ("loop control", {("continue", "break")}),
        ("removed guard", {("    if not best:\n        return path.get(mode, limit)\n", "")}),
        (
            "removed branch",
            {
                ("        else:\n            limit += 1\n", ""),
                ("    except KeyError:\n        raise ParseError\n", ""),
                ("    except (OSError, Other):\n        return f(mode)\n", ""),
            },
        ),
        (
            "moved statement",
            {
                ("        ", "    "),
                ("path.close()\n        mode = min(mode, limit)", "mode = min(mode, limit)\n        path.close()"),
            },
        ),
        ("swapped arguments", {("mode, limit", "limit, mode"), ("1, wide=2", "2, wide=1")}),
        ("dropped condition", {(" and path", ""), (" and best", ""), (" if one", "")}),
    ],
)
def test_each_further_operator_changes_what_it_should(kind: str, changes: set[tuple[str, str]]) -> None:
    found = {
        (FURTHER[one.start : one.end].decode(), one.replacement)
        for one in mutations("x.py", FURTHER)
        if one.kind == kind
    }
    assert found == changes


EXPRESSIONS = (
    "x", "0", "1.5", "'ab'", "x < y", "x is not None", "x and y", "x or y or f(x)", "not x", "-x", "x + 1", "x & y",
    "f(x, y)", "f(a=x, b=(y), *z)", "x[a:len(y)]", "[a for a in x if a if a > y]", "x.strip()", "d.get(x, y)",
    "(x\n   and y)", "lambda a, b=None: a", "f'{x + 1}'", "x if y else z", "range(x)", "await f(x)", "(await x).find(y)",
)  # fmt: skip
SIMPLE = (
    "x = {}", "f({})", "return {}", "raise ValueError({})", "x += {}  # why", "pass; g({})", "'text'", "return  f(x)",
    "assert {}", "x.append({})",
)  # fmt: skip
COMPOUND = (
    "if {}:\n{}", "if {}:\n{}\nelse:\n{}", "if {}:\n{}\nelif x:\n{}\nelse: f(x)", "for a in {}:\n{}",
    "while {}:\n{}", "with {} as b:\n{}", "try:\n{1}\nexcept KeyError:\n{2}\nexcept (OSError, A): pass",
    "def inner(a, b='x', *, c=1):\n{1}",
)  # fmt: skip


@st.composite
def blocks(draw: st.DrawFn, depth: int = 2) -> str:
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from(SIMPLE + COMPOUND * (depth > 0)))
        inner = [textwrap.indent(draw(blocks(depth - 1)), "    ") for _ in range(2)] if text in COMPOUND else []
        lines.append(text.format(draw(st.sampled_from(EXPRESSIONS)), *inner))
    return "\n".join(lines)


@st.composite
def sources(draw: st.DrawFn) -> bytes:
    bodies = draw(st.lists(blocks(), min_size=1, max_size=2))
    text = "".join(
        f"async def f{n}(x='é', y=None):\n{textwrap.indent(body, '    ')}\n" for n, body in enumerate(bodies)
    )
    return draw(st.sampled_from((text, text.replace("\n", "\r\n"), text.rstrip("\n")))).encode()


ADDED: dict[str, set[type[ast.AST]]] = {
    "comparison": {
        getattr(ast, name) for name in ["Lt", "LtE", "Gt", "GtE", "Eq", "NotEq", "Is", "IsNot", "In", "NotIn"]
    },
    "boolean operator": {ast.And, ast.Or, ast.BoolOp},
    "arithmetic operator": {ast.operator},
    "constant": {ast.Constant, ast.Load, ast.UnaryOp, ast.USub},
    "negated condition": {ast.UnaryOp, ast.Not},
    "returned None": {ast.Constant},
    "deleted statement": {ast.Pass},
    "deleted exception": {ast.Pass},
    "off by one": {ast.BinOp, ast.Add, ast.Sub, ast.Constant},
    "wrong default": {ast.Constant},
    "missed return": {ast.Expr},
    "loop control": {ast.Break, ast.Continue},
}
"""Kind of a mutation -> nodes of which the mutated tree may have more; none for other kinds."""


@given(source=sources())
def test_a_mutation_parses_changes_what_it_says_and_is_undone_by_its_inverse(source: bytes) -> None:
    before = ast.parse(source)
    found = mutations("x.py", source)
    assert found == mutations("x.py", source)
    assert len({one.name for one in found}) == len(found)
    for one in found:
        mutated = one.apply(source)
        after = ast.parse(mutated)
        differing = [
            old.name
            for old, new in zip(before.body, after.body, strict=True)
            if isinstance(old, ast.AsyncFunctionDef) and ast.dump(old) != ast.dump(new)
        ]
        assert differing == [one.function]
        counts = Counter(map(type, ast.walk(after))) - Counter(map(type, ast.walk(before)))
        assert all(issubclass(node, tuple(ADDED.get(one.kind, ()))) for node in counts), (one, counts)
        assert one.inverse(source).apply(mutated) == source


def test_sites_are_drawn_by_the_seed_and_kinds_take_turns() -> None:
    tree = projects()["bundled/unitable"].tree
    drawn = [drawn_sites(tree, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    kinds = {site.kind for site in drawn[0]}
    assert len(kinds) >= 15
    assert {site.kind for site in drawn[0][: len(kinds)]} == kinds


def test_the_tasks_of_the_index_are_what_they_were() -> None:
    """`task_digests.json` holds every task at the time of the suites; a task that is added is not in it."""
    known = json.loads((Path(__file__).parent / "task_digests.json").read_text())
    for origin in ("bundled", "mutation"):
        for name in [name for name in load_index(origin) if name in known]:
            try:
                instance = indexed_instance(origin, name)
            except IndexUnreachableError:
                continue
            bugs = [[bug.file, bug.function, bug.kind, bug.tests] for bug in instance.bugs]
            content = [
                name, load_index(origin)[name].split, instance.problem_statement, instance.patch, instance.setup_patch,
                instance.FAIL_TO_PASS, instance.PASS_TO_PASS, bugs,
            ]  # fmt: skip
            assert hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16] == known[name], name
    assert sum(name in known for name in load_index("bundled")) == 180


def test_changes_that_overlap_are_refused() -> None:
    def at(start: int, end: int) -> Mutation:
        return Mutation(file="x", start=start, end=end, replacement="?", kind="constant", function="f", line=1)

    assert apply_all(b"0123456789", [at(7, 8), at(1, 3)]) == b"0?3456?89"
    with pytest.raises(ValueError, match="do not overlap"):
        apply_all(b"0123456789", [at(1, 4), at(3, 5)])


def test_what_is_no_python_has_no_mutations() -> None:
    assert mutations("x.py", b"def f(:\n") == []
    assert mutations("x.py", b"x = '\0'\n") == []
