"""Rebuilds the index of mutation tasks: `python -m textagent_gym.envs.swe.synthesis.build_index`.

A project that has a file is left alone. The index holds no line of anybody's code: names of tests, places of changes, and
what a run of the tests said of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from textagent_gym.envs.swe.repo.tree import source_files, tree_digest
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sources.projects import INDEX, Project, projects
from textagent_gym.envs.swe.synthesis.bug_finder import BugFinder, Combination, FoundBug


def index_project(
    project: Project, *, sizes: Sequence[int], num_bugs: int, num_tasks: int, sandbox: Any, seed: int = 0
) -> dict[str, Any]:
    """Return the index entry of a project: its tests, its bugs, and the combinations that make a task.

    Args:
        project: The project.
        sizes: Numbers of bugs of a task; each gets its share of the tasks.
        num_bugs: Bugs to look for.
        num_tasks: Tasks to combine.
        sandbox: Where the tests run.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    finder = BugFinder(project, sandbox)
    finder.limit = 10 + 5 * finder.seconds
    bugs = list(finder.find_bugs(rng, num_bugs))
    tasks: dict[tuple[FoundBug, ...], Combination] = {}
    for size in sizes:
        wanted = len(tasks) + num_tasks // len(sizes)
        for _ in range(6 * num_tasks):
            if len(tasks) >= wanted:
                break
            found = finder.combine(bugs, size, rng)
            if found is not None:
                tasks[found.bugs] = found
    tests = sorted(finder.tests)
    place = {test: number for number, test in enumerate(tests)}
    return {
        "tree": tree_digest(finder.tree),
        "seconds": finder.seconds,
        "source_files": len(source_files(finder.tree)),
        "tests": tests,
        "bugs": [
            {
                "name": bug.mutation.name,
                "function": bug.mutation.function,
                "kind": bug.mutation.kind,
                "failing": [place[test] for test in bug.failing],
            }
            for bug in bugs
        ],
        "tasks": [
            {
                "bugs": [bugs.index(bug) for bug in found.bugs],
                "failing": [place[test] for test in found.failing],
            }
            for found in tasks.values()
        ],
    }


PLAN: dict[str, tuple[tuple[int, ...], int, int]] = {
    "small": ((2,), 40, 60),
    "medium": ((3,), 26, 18),
    "large": ((4,), 26, 16),
    "largest": ((6,), 28, 14),
}
"""Size of a project -> numbers of bugs of its tasks, bugs to look for, tasks to combine."""


def plan(project: Project) -> tuple[tuple[int, ...], int, int]:
    """Return the parts of a project to index."""
    num_files = len(source_files(project.tree))
    if project.sdist is None:
        return PLAN["small"]
    return PLAN["medium" if num_files < 10 else "large" if num_files < 20 else "largest"]


def main() -> None:
    """Index the projects named on the command line, or all."""
    names = sys.argv[1:] or list(projects())
    for name in names:
        path = INDEX / "mutation" / f"{name.replace('/', '-')}.json"
        if path.exists():
            continue
        sizes, num_bugs, num_tasks = plan(projects()[name])
        entry = index_project(
            projects()[name], sizes=sizes, num_bugs=num_bugs, num_tasks=num_tasks, sandbox=choose_sandbox()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"{json.dumps(key)}: "
            + (
                "[\n" + ",\n".join(json.dumps(item, separators=(",", ":")) for item in value) + "\n]"
                if isinstance(value, list)
                else json.dumps(value)
            )
            for key, value in entry.items()
        ]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        sys.stdout.write(f"{name}: {len(entry['bugs'])} bugs, {len(entry['tasks'])} tasks\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
