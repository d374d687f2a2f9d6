"""Mutations change one place, keep the rest byte for byte, and are the same on every Python."""

import ast

import pytest

from textagent_gym.envs.swe.repo.mutation import KINDS, Mutation, apply_all, mutations
from textagent_gym.envs.swe.repo.tree import source_files
from textagent_gym.envs.swe.sources.projects import project_tree, projects
from textagent_gym.envs.swe.synthesis.bug_finder import parses

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
        ("arithmetic operator", {("+", "-")}),
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
        tree = project_tree(project)
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


def test_changes_that_overlap_are_refused() -> None:
    def at(start: int, end: int) -> Mutation:
        return Mutation(file="x", start=start, end=end, replacement="?", kind="constant", function="f", line=1)

    assert apply_all(b"0123456789", [at(7, 8), at(1, 3)]) == b"0?3456?89"
    with pytest.raises(ValueError, match="do not overlap"):
        apply_all(b"0123456789", [at(1, 4), at(3, 5)])


def test_what_is_no_python_has_no_mutations() -> None:
    assert mutations("x.py", b"def f(:\n") == []
    assert mutations("x.py", b"x = '\0'\n") == []
