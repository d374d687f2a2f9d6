"""Measures the difficulty of mutation tasks: `python -m textagent_gym.envs.swe.synthesis.difficulty`.

The command measures the bugs of an index that have no measures yet, writes them there, and prints two tables: the measures
of tasks by their number of bugs, and the share of tasks that a search for reverting changes solves.

The search knows which function has a bug. It tries every change of one place in it that an operator or the inverse of one
makes, at most `MAX_TRIES` for a bug, and runs the tests; the first change with which all pass is its repair. A task is
solved if all its bugs are. If a change restores the syntax tree, the search is known to succeed and no test is run. Without
`--run` the other bugs count as not solved, so that the share is a lower bound.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import tyro

from textagent_gym.envs.swe.grading.pytest_runs import run_tests
from textagent_gym.envs.swe.repo.mutation import Mutation, function_at, mutations
from textagent_gym.envs.swe.repo.source import Source
from textagent_gym.envs.swe.repo.tree import Tree, is_test
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sources.index import bug_pool, difficulty_of, index_of, load_index, tests_of
from textagent_gym.envs.swe.sources.projects import INDEX, Project, projects, write_index
from textagent_gym.envs.swe.synthesis.bug_finder import FoundBug, parses
from textagent_gym.envs.swe.types import Origin

ORIGINS: tuple[Origin, ...] = ("bundled", "mutation")

MAX_TRIES = 300
"""Most changes that the search tries for one bug."""

_PROBE = """\
import sys

class Probe(BaseException):
    pass

def probe():
    frame, depth, distance = sys._getframe(1), 0, 0
    while frame is not None:
        if frame.f_code.co_name != "<module>" and frame.f_code.co_filename.endswith({files!r}):
            distance = depth
        frame, depth = frame.f_back, depth + 1
    if distance:
        raise Probe("distance %d" % distance)
"""


def changed_lines(before: str, after: str) -> int:
    """Return the number of lines that differ between two texts; a line that is replaced counts once."""
    match = difflib.SequenceMatcher(None, before.split("\n"), after.split("\n"), autojunk=False)
    return sum(max(j - i, n - m) for kind, i, j, m, n in match.get_opcodes() if kind != "equal")


def with_probe(tree: Tree, mutation: Mutation) -> dict[str, bytes]:
    """Return a tree in which the function of a mutation raises at its first statement, telling its distance from a test."""
    source = tree[mutation.file]
    first = function_at(source, mutation).body[0]
    text = Source(source)
    line = min([first.lineno, *(one.lineno for one in getattr(first, "decorator_list", ()))])
    indent = text.indent(first)
    start = text.span(first)[0] if indent is None else text.lines[line - 1]
    call = "__import__('swe_probe').probe()"
    inserted = f"{call}; " if indent is None else f"{indent}{call}\n"
    files = tuple(f"/{path}" for path in sorted(tree) if is_test(path) and path.endswith(".py"))
    return {
        **tree,
        mutation.file: source[:start] + inserted.encode() + source[start:],
        "swe_probe.py": _PROBE.format(files=files).encode(),
    }


def call_distance(tree: Tree, bug: FoundBug, sandbox: Sandbox, requirements: tuple[str, ...] = ()) -> int:
    """Return the number of calls from the nearest test that a bug breaks to its function, 1 for a direct call.

    For each test the first call counts. 0 where no test calls the function while it runs, as far as can be seen.
    """
    report = run_tests(
        with_probe(tree, bug.mutation),
        bug.failing,
        sandbox=sandbox,
        seconds=60.0,
        num_messages=len(bug.failing),
        requirements=requirements,
    )
    found = [re.findall(r"swe_probe\.Probe: distance (\d+)", message) for message in report.messages.values()]
    return min((int(one[-1]) for one in found if one), default=0)


def reverting(tree: Tree, bug: Mutation) -> tuple[list[bytes], bool]:
    """Return the contents of a bug's file that the search tries, in order, and whether one is known to be the repair."""
    gold, buggy = tree[bug.file], bug.apply(tree[bug.file])
    changes = mutations(bug.file, buggy, function=bug.function, repairs=True)
    tried = list(dict.fromkeys(one.apply(buggy) for one in changes))[:MAX_TRIES]
    letters, syntax = _letters(gold), ast.dump(ast.parse(gold))
    alike = [content for content in tried if _letters(content) == letters and parses(content)]
    return tried, any(ast.dump(ast.parse(content)) == syntax for content in alike)


def _letters(source: bytes) -> bytes:
    """Return a source without blanks and parentheses."""
    return source.translate(None, b" \t\r\n()")


def is_reverted(
    tree: Tree, bug: FoundBug, tests: Collection[str], sandbox: Sandbox, requirements: tuple[str, ...] = ()
) -> bool:
    """Return whether the search finds a change with which these tests pass, by running those that the bug breaks first."""

    def passes(content: bytes, targets: Collection[str]) -> bool:
        changed = {**tree, bug.mutation.file: content}
        report = run_tests(changed, sorted(targets), sandbox=sandbox, seconds=20.0, requirements=requirements)
        return report.complete and not report.broken and report.passed.issuperset(targets)

    tried, is_known = reverting(tree, bug.mutation)
    return is_known or any(parses(one) and passes(one, bug.failing) and passes(one, tests) for one in tried)


def measure(project: Project, sandbox: Sandbox) -> None:
    """Write the measures of a project's bugs into its index, for those that have none.

    Raises:
        OSError: Its archive cannot be fetched, or the index cannot be written.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
    """
    entry = index_of(project)
    unknown = [(row, bug) for row, bug in zip(entry["bugs"], bug_pool(project), strict=True) if "distance" not in row]
    for row, bug in unknown:
        gold = project.tree[bug.mutation.file]
        row["lines"] = changed_lines(gold.decode(), bug.mutation.apply(gold).decode())
        row["distance"] = call_distance(project.tree, bug, sandbox, project.wheels)
    if unknown:
        write_index(project.index_file, project.folder, entry)


def tier_rows(index: Path) -> Iterator[Sequence[object]]:
    """Yield the rows of a table: tasks of one number of bugs, and the median and range of their known measures."""
    tasks = [task for origin in ORIGINS for task in load_index(origin, index).values()]
    yield "bugs", "tasks", "failing tests", "changed lines", "call distance"
    for size in sorted({task.num_edits for task in tasks}):
        found = [difficulty_of(one.origin, one.instance_id, index) for one in tasks if one.num_edits == size]
        columns = zip(*((one.num_failing, one.num_lines, one.distance) for one in found), strict=True)
        known = [[value for value in column if value] or [0] for column in columns]
        yield (
            size,
            len(found),
            *("{:.0f} ({:.0f} to {:.0f})".format(*np.quantile(one, (0.5, 0.1, 0.9))) for one in known),
        )


def share_rows(index: Path, sandbox: Sandbox | None) -> Iterator[Sequence[object]]:
    """Yield the rows of a table: bugs and tasks of each project, and how many of them the search solves; then each kind.

    Args:
        index: Folder of the index.
        sandbox: Where the tests run; None to run none.
    """
    kinds: Counter[str] = Counter()
    solved: Counter[str] = Counter()
    sums = np.zeros(4, dtype=int)
    yield "project", "bugs", "reverted", "tasks", "solved", "changes tried per bug"
    for project in projects(index).values():
        entry, tests, counts, reverted = index_of(project), tests_of(project), [], set()
        for place, bug in enumerate(bug_pool(project)):
            tried, is_known = reverting(project.tree, bug.mutation)
            counts.append(len(tried))
            kinds[bug.mutation.kind] += 1
            if is_known or (sandbox and is_reverted(project.tree, bug, tests, sandbox, project.wheels)):
                reverted.add(place)
                solved[bug.mutation.kind] += 1
        row = [
            len(counts),
            len(reverted),
            len(entry["tasks"]),
            sum(reverted >= {*task["bugs"]} for task in entry["tasks"]),
        ]
        sums += row
        yield project.name, *row, int(np.median(counts))
    yield "all", *sums, ""
    for kind, count in kinds.most_common():
        yield f"kind: {kind}", count, solved[kind], "", "", ""


def main(index: Path = INDEX, run: bool = False) -> None:
    """Measure the bugs of an index that have no measures yet, and print the tables.

    Args:
        index: Folder of the index.
        run: Search for repairs of the other bugs by running tests, too; this takes minutes for each of them.
    """
    index, sandbox = index.resolve(), choose_sandbox()
    for project in projects(index).values():
        measure(project, sandbox)
    for rows in (tier_rows(index), share_rows(index, sandbox if run else None)):
        for number, row in enumerate(rows):
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
            if number == 0:
                print("| --- " * len(row) + "|")
        print()


if __name__ == "__main__":
    tyro.cli(main, prog="python -m textagent_gym.envs.swe.synthesis.difficulty")
