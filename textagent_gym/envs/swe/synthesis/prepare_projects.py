"""Repair tasks from projects of the package index: `textagent-gym prepare swe --projects requirements.txt --out FOLDER`.

The folder becomes an index in the form of this package's own: names, hashes, ids of tests and places of bugs, and no line of
anybody's code. SWEGym plays it with `index=FOLDER`. All tests run in the sandbox; archives are read as data, and of
dependencies only wheels are installed. Each run of tests is written to a journal, so that the same command goes on where it
was ended, and gives the same tasks.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from textagent_gym.cache import write_atomic
from textagent_gym.contract import Split
from textagent_gym.envs.swe.grading.pytest_runs import run_tests
from textagent_gym.envs.swe.repo.mutation import Mutation
from textagent_gym.envs.swe.repo.tree import source_files, tree_digest
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sources.index import instance_id, mutation_instance
from textagent_gym.envs.swe.sources.projects import PROJECTS, Project, read_index, write_index
from textagent_gym.envs.swe.synthesis.bug_finder import BugFinder, Combination, FoundBug, reads_clock, runnable_files
from textagent_gym.envs.swe.synthesis.data_card import CARD, LEFT_OUT, data_card
from textagent_gym.envs.swe.synthesis.journal import Journal
from textagent_gym.envs.swe.synthesis.requirement_lines import Wanted, as_entry, find_project
from textagent_gym.envs.swe.synthesis.verify import problem_of
from textagent_gym.envs.swe.tasks import check_requirements

MIN_TESTS = 10
"""Fewest tests of a project that pass in the sandbox."""

MAX_SECONDS = 60.0
"""Time limit of a run of a project's tests, in seconds."""

MORE_BUGS = 8
"""Bugs to look for beyond the number of tasks."""

TRIES_PER_TASK = 6
"""Combinations that are tried for one task of a size."""

Tell = Callable[[str, str, float], None]
"""Function that is called with a project, the work on it, and the share that is done."""


class UnusableError(ValueError):
    """A project of which no tasks can be made; the message says why, in one sentence."""


def prepare(projects: Path, out: Path, *, count: int, split: Split, workers: int, tell: Tell) -> str:
    """Make the tasks of the projects of a requirements file, and return the data card of the folder.

    Args:
        projects: File of requirements, one a line: "name", "name==version", or "name[extra]" where the tests need the
            packages of an extra.
        out: Folder of the index, which is continued.
        count: Tasks per project, at most.
        split: Split of the tasks.
        workers: Projects that are worked on at the same time.
        tell: Called with the progress.

    Raises:
        OSError: The file cannot be read, or the folder not be written.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox does not work here.
    """
    lines = [line.partition(" #")[0].strip() for line in projects.read_text(encoding="utf-8").split("\n")]
    lines = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    work = _Work(out, count, split, choose_sandbox(), tell)
    with ThreadPoolExecutor(workers) as pool:
        try:
            list(pool.map(work.on, lines))
        finally:
            work.is_ended.set()
    card = data_card(out)
    write_atomic(out / CARD, card.encode())
    return card


class _Work:
    """The making of one index, by several threads."""

    def __init__(self, out: Path, count: int, split: Split, sandbox: Sandbox, tell: Tell) -> None:
        (out / "mutation").mkdir(parents=True, exist_ok=True)
        self.out, self.count, self.split, self.sandbox, self._tell = out, count, split, sandbox, tell
        self.is_ended = threading.Event()
        self._lock = threading.Lock()
        self._entries: list[dict[str, Any]] = read_index(PROJECTS, out) if (out / PROJECTS).exists() else []
        self._lines: dict[str, str] = {}
        self._left_out: dict[str, str] = read_index(LEFT_OUT, out) if (out / LEFT_OUT).exists() else {}

    def tell(self, name: str, text: str, share: float) -> None:
        """Tell of progress; ends a thread whose work is not wanted any more."""
        if self.is_ended.is_set():
            raise KeyboardInterrupt
        self._tell(name, text, share)

    def on(self, line: str) -> None:
        """Make the tasks of the project of a line, unless the folder has them, and note the result."""
        reason, key = "", line
        try:
            wanted = Wanted.of(line)
            if self._lines.setdefault(wanted.name, line) != line:
                raise UnusableError(f"another line, {self._lines[wanted.name]}, names the same project")
            key = wanted.name
            known = next((entry for entry in self._entries if entry["name"] == wanted.name), None)
            if known is None:
                self._add(*self._make(wanted))
            elif not wanted.admits(known["version"]):
                raise UnusableError(f"the folder has tasks of version {known['version']}, and takes one version only")
        except (ValueError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
        with self._lock:
            self._left_out.pop(key, None)
            self._left_out |= {key: reason} if reason else {}
            write_index(LEFT_OUT, self.out, self._left_out)
        self.tell(line, reason or "ready", 1.0)

    def _add(self, project: Project, content: dict[str, Any]) -> None:
        with self._lock:
            write_index(project.index_file, self.out, content)
            self._entries.append(as_entry(project))
            write_index(PROJECTS, self.out, self._entries)

    def _make(self, wanted: Wanted) -> tuple[Project, dict[str, Any]]:
        """Return a project with its tasks, and the content of its file in the index.

        Raises:
            OSError: Something cannot be fetched.
            ValueError: There are no tasks.
            textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
        """
        self.tell(wanted.line, "fetching", 0.0)
        project = replace(find_project(wanted), split=self.split, folder=self.out)
        check_requirements(project.name, project.wheels, project.tree)
        if not runnable_files(project.tree):
            raise UnusableError(f"the source distribution of {project.name} {project.version} holds no tests")
        heading = [project.sdist and project.sdist.sha256, project.wheels, sys.version, self.count]
        journal = Journal(self.out / ".work" / f"{project.name}.jsonl", repr(heading))
        self.tell(wanted.line, "running its tests", 0.0)
        maker = _TaskMaker(project, self.sandbox, journal)
        content = maker.make(self.count, lambda text, share: self.tell(wanted.line, text, share))
        tasks = tuple(len(task["bugs"]) for task in content["tasks"])
        return replace(project, num_files=len(source_files(project.tree)), tasks=tasks), content


class _TaskMaker(BugFinder):
    """The search for the tasks of one project, whose runs of tests are in a journal.

    Raises:
        ValueError: Too few tests pass, or they do not run to their end.
    """

    def __init__(self, project: Project, sandbox: Sandbox, journal: Journal) -> None:
        super().__init__(project, sandbox, seconds=MAX_SECONDS)
        self._journal = journal
        if len(self.tests) < MIN_TESTS:
            raise UnusableError(self._why_so_few())
        self.limit = 10 + 5 * journal.recall("seconds", lambda: self.seconds)

    def _why_so_few(self) -> str:
        files = runnable_files(self.tree)
        report = run_tests(
            self.tree,
            files,
            sandbox=self.sandbox,
            seconds=MAX_SECONDS,
            num_messages=1,
            requirements=self.project.wheels,
        )
        total = max(len(report.outcomes), len(report.broken))
        timed = sum(reads_clock(self.tree[file]) for file in files)
        failure = next(iter(report.messages.values()), "").strip().rpartition("\n")[2].strip()[-160:]
        return (
            f"{len(self.tests)} of its tests pass in the sandbox, which has no network, and at least {MIN_TESTS} should: "
            f"{total} were found, {timed} of {len(files)} files look at the clock"
            + (f", and the first failure is: {failure}" if failure else "")
        )

    def failing(self, mutated: Sequence[Mutation]) -> frozenset[str] | None:
        """Return the tests that fail with these changes, from the journal where it knows them."""

        def run() -> list[str] | None:
            found = super(_TaskMaker, self).failing(mutated)
            return None if found is None else sorted(found)

        known = self._journal.recall(" ".join(mutation.name for mutation in mutated), run)
        return None if known is None else frozenset(known)

    def make(self, count: int, tell: Callable[[str, float], None]) -> dict[str, Any]:
        """Return the content of the project's file in an index: its tests, bugs, and tasks that were seen to be sound."""
        rng = np.random.default_rng(0)
        tried: Counter[tuple[str, str]] = Counter()
        bugs: list[FoundBug] = []
        for bug in self.find_bugs(rng, count + MORE_BUGS, tried):
            bugs.append(bug)
            tell(f"{len(bugs)} of {count + MORE_BUGS} bugs", len(bugs) / (count + MORE_BUGS) / 2)
        combined: Counter[str] = Counter()
        tasks: list[Combination] = []
        for size in range(num_bugs(len(source_files(self.tree))), 0, -1):
            for _ in range(TRIES_PER_TASK * count):
                if len(tasks) >= count:
                    break
                found = self.combine(bugs, size, rng)
                if found is None:
                    combined["its bugs do not go together"] += 1
                elif found not in tasks:
                    problem = self._problem_of(found)
                    combined[problem or "sound"] += 1
                    if not problem:
                        tasks.append(found)
                        tell(f"{len(tasks)} of {count} tasks", 0.5 + len(tasks) / count / 2)
        if not tasks:
            raise UnusableError(f"of {tried.total()} changes of its source none led to a sound task")
        return self._content(bugs, tasks, tried, combined)

    def _problem_of(self, found: Combination) -> str:
        instance = mutation_instance(
            self.project,
            instance_id(self.project, 0),
            bugs=found.bugs,
            failing=found.failing,
            tests=self.tests,
            seconds=self._journal.recall("seconds", lambda: self.seconds),
        )
        key = "sound " + " ".join(bug.mutation.name for bug in found.bugs)
        problem: str = self._journal.recall(key, lambda: problem_of(instance, self.sandbox))
        return problem

    def _content(
        self,
        bugs: list[FoundBug],
        tasks: list[Combination],
        tried: Counter[tuple[str, str]],
        combined: Counter[str],
    ) -> dict[str, Any]:
        tests = sorted(self.tests)
        place = {test: number for number, test in enumerate(tests)}
        return {
            "tree": tree_digest(self.tree),
            "seconds": self._journal.recall("seconds", lambda: self.seconds),
            "tried": [[*which, count] for which, count in sorted(tried.items())],
            "combined": dict(sorted(combined.items())),
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
                {"bugs": [bugs.index(bug) for bug in found.bugs], "failing": [place[test] for test in found.failing]}
                for found in tasks
            ],
        }


def num_bugs(num_files: int) -> int:
    """Return the number of bugs of most tasks of a project with so many source files, as the tiers of SWEGym have it."""
    return 2 if num_files < 5 else 3 if num_files < 10 else 4 if num_files < 20 else 6
