"""Makes repair tasks by mutation and validates them by running the tests: each bug breaks a group of its own."""

from __future__ import annotations

import functools
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from textagent_gym.envs.swe.grading.grader import GoldRun, gold_run
from textagent_gym.envs.swe.grading.pytest_runs import TestReport, run_tests, test_files
from textagent_gym.envs.swe.repo.mutation import Mutation, apply_all, mutations
from textagent_gym.envs.swe.repo.tree import Tree, is_test, source_files
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sources.projects import Project

MAX_FAILING = 12
"""Most tests that one bug may break: one that breaks more is found too easily and outweighs the others."""

MAX_RUNS_PER_BUG = 12
"""Runs of the tests after which the search for one more bug is given up."""


_CLOCK = re.compile(
    rb"\btime\.(?:time|time_ns|perf_counter|perf_counter_ns|monotonic|monotonic_ns|process_time|sleep)\b"
    rb"|\b(?:from|import) +(?:timeit|threading|_thread|socket|multiprocessing|concurrent)\b|\bfrom +time +import\b"
)


@dataclass(frozen=True, kw_only=True)
class FoundBug:
    """A mutation and the tests that it breaks by itself, sorted."""

    mutation: Mutation
    failing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Combination:
    """Several bugs at once, as a run of the tests showed them.

    Attributes:
        bugs: The bugs, in the order of their place.
        failing: All tests that fail with all bugs in place, sorted.
    """

    bugs: tuple[FoundBug, ...]
    failing: tuple[str, ...]


class BugFinder:
    """One project, whose tests can be run on mutated trees.

    Args:
        project: The project.
        sandbox: Where its tests run.
        seconds: Time limit of the first run of its tests, in seconds.
        tests: Tests that count, if they pass; by default all in files that do not look at the clock.

    Raises:
        OSError: The project cannot be fetched.
        ValueError: Its tests do not run to their end.
    """

    def __init__(
        self, project: Project, sandbox: Sandbox, *, seconds: float = 120.0, tests: Collection[str] | None = None
    ) -> None:
        self.project = project
        self.sandbox = sandbox
        self.tree: Tree = project.tree
        self.limit = seconds
        files = runnable_files(self.tree)
        self.gold = self._gold(files, seconds)
        if files and not self.gold.passed:  # pytest runs nothing where a file cannot be collected
            wheels = project.wheels
            broken = run_tests(self.tree, files, sandbox=sandbox, seconds=seconds, requirements=wheels).broken
            rest = [file for file in files if file not in broken]
            self.gold = self._gold(rest, seconds) if rest else self.gold
        if tests is None:
            timed = {path for path in test_files(self.gold.passed) if reads_clock(self.tree[path])}
            tests = {test for test in self.gold.passed if test.partition("::")[0] not in timed}
        self.tests = self.gold.passed & frozenset(tests)
        self.files = test_files(self.tests)

    @functools.cached_property
    def seconds(self) -> float:
        """Time that its tests take, in seconds."""
        started = time.perf_counter()
        self._run(self.tree)
        return round(time.perf_counter() - started, 2)

    def failing(self, mutated: Sequence[Mutation]) -> frozenset[str] | None:
        """Return the tests that fail with these changes.

        None where the tests do not run to their end, or cannot be collected.
        """
        report = self._run(mutated_tree(self.tree, mutated))
        if not report.complete or report.broken:
            return None
        return self.tests - report.passed

    def _gold(self, files: Sequence[str], seconds: float) -> GoldRun:
        wheels = self.project.wheels
        return gold_run(self.tree, files, sandbox=self.sandbox, seconds=seconds, requirements=wheels)

    def _run(self, tree: Tree) -> TestReport:
        wheels = self.project.wheels
        return run_tests(tree, self.files, sandbox=self.sandbox, seconds=self.limit, requirements=wheels)

    def find_bugs(self, rng: np.random.Generator, count: int, tried: Counter[tuple[str, str]]) -> Iterator[FoundBug]:
        """Up to `count` bugs, at most two in a function and each with other failing tests than those before.

        Args:
            rng: Draws their order.
            count: Bugs to find.
            tried: Counts the changes that are tried, by kind and result, which is "sound" for a bug.

        Yields:
            Each as it is found.
        """
        found: list[FoundBug] = []
        runs = 0
        for site in drawn_sites(self.tree, rng):
            same = [bug for bug in found if (bug.mutation.file, bug.mutation.function) == (site.file, site.function)]
            if len(same) >= 2 or not parses(site.apply(self.tree[site.file])):
                continue
            if len(found) >= count or runs >= MAX_RUNS_PER_BUG * count:
                return
            runs += 1
            failing = self.failing([site])
            result = _result(failing, found)
            tried[site.kind, result] += 1
            if failing is not None and result == "sound":
                found.append(FoundBug(mutation=site, failing=tuple(sorted(failing))))
                yield found[-1]

    def combine(self, pool: Sequence[FoundBug], size: int, rng: np.random.Generator) -> Combination | None:
        """Return `size` bugs of the pool, each in a function of its own and with a test group of its own, run together.

        Returns:
            The combination, or None where these bugs do not go together.
        """
        chosen: list[FoundBug] = []
        for index in rng.permutation(len(pool)):
            bug = pool[int(index)]
            if len(chosen) < size and goes_with(chosen, bug):
                chosen.append(bug)
        chosen.sort(key=lambda bug: bug.mutation)
        if len(chosen) < size:
            return None
        groups = own_groups(chosen)
        failing = self.failing([bug.mutation for bug in chosen])
        if failing is None or not all(set(group) <= failing for group in groups):
            return None
        if size > 2:  # with two, the run of the other bug alone has shown it
            for repaired, group in zip(chosen, groups, strict=True):
                left = self.failing([bug.mutation for bug in chosen if bug is not repaired])
                if left is None or left & set(group):
                    return None
        return Combination(bugs=tuple(chosen), failing=tuple(sorted(failing)))


def drawn_sites(tree: Tree, rng: np.random.Generator) -> list[Mutation]:
    """Return the mutations of a project in random order; the kinds take turns, so that rare ones come first as often."""
    sites = [site for file in source_files(tree) for site in mutations(file, tree[file])]
    turns: Counter[str] = Counter()
    order: list[tuple[int, int, Mutation]] = []
    for number, index in enumerate(rng.permutation(len(sites))):
        site = sites[int(index)]
        turns[site.kind] += 1
        order.append((turns[site.kind], number, site))
    return [site for *_, site in sorted(order, key=lambda one: one[:2])]


def _result(failing: frozenset[str] | None, found: Sequence[FoundBug]) -> str:
    """Return what the failing tests say of a change: "sound" for a bug, or why it is none."""
    if failing is None:
        return "no end"
    if not failing:
        return "breaks no test"
    if len(failing) > MAX_FAILING:
        return "breaks too many"
    return "breaks the same" if any(set(bug.failing) == failing for bug in found) else "sound"


def goes_with(chosen: Sequence[FoundBug], bug: FoundBug) -> bool:
    """Return whether a bug can join others: no function twice, and every one keeps tests that no other breaks."""
    places = {(other.mutation.file, other.mutation.function) for other in chosen}
    if (bug.mutation.file, bug.mutation.function) in places:
        return False
    return all(own_groups([*chosen, bug]))


def own_groups(bugs: Sequence[FoundBug]) -> tuple[tuple[str, ...], ...]:
    """For each bug the tests that it breaks and no other does."""
    return tuple(
        tuple(sorted(set(bug.failing).difference(*(other.failing for other in bugs if other is not bug))))
        for bug in bugs
    )


def mutated_tree(tree: Tree, changes: Sequence[Mutation]) -> dict[str, bytes]:
    """Return a tree with bugs."""
    files = {mutation.file for mutation in changes}
    mutated = {
        file: apply_all(tree[file], [mutation for mutation in changes if mutation.file == file]) for file in files
    }
    return {**tree, **mutated}


def runnable_files(tree: Tree) -> list[str]:
    """Return the test files that pytest collects by their names, sorted."""
    found = []
    for path in sorted(tree):
        name = path.rpartition("/")[2]
        named = name.startswith("test_") or name.endswith("_test.py") or name == "tests.py"
        if is_test(path) and named and name.endswith(".py"):
            found.append(path)
    return found


def reads_clock(source: bytes) -> bool:
    """Return whether the tests of a file may depend on the time that they take: they measure it, wait, or start threads."""
    return _CLOCK.search(source) is not None


def parses(source: bytes) -> bool:
    """Return whether Python can compile a source."""
    try:
        compile(source, "<mutated>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True
