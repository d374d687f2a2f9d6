"""Grading of a repair: the agent's source in a pristine tree, the task's own tests, and tests that must fail."""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from textagent_gym.cache import cache_folder, keep, read_json
from textagent_gym.envs.swe.grading.alterations import functions_of
from textagent_gym.envs.swe.grading.guards import CANARY, by_file, copy_path, must_fail_copy, renamed, split_id
from textagent_gym.envs.swe.grading.pytest_runs import TestReport, run_plainly, run_tests, setting, test_files
from textagent_gym.envs.swe.grading.second_opinion import (
    NO_CHALLENGES,
    NOTHING_DRAWN,
    Challenges,
    Drawn,
    draw,
    lots,
    opinion,
    without,
)
from textagent_gym.envs.swe.grading.suspects import suspects
from textagent_gym.envs.swe.repo.text import encoding_of
from textagent_gym.envs.swe.repo.tree import (
    Tree,
    UnwritableTreeError,
    as_text,
    is_test,
    tree_digest,
    with_changes,
)
from textagent_gym.envs.swe.sandboxes.base import Sandbox

VERSION = 10
"""Version of the grader; with another one nothing that was remembered counts."""

MAX_REMEMBERED = 10_000
"""Grading reports that are kept in memory."""

KEPT_SECONDS, KEPT_SHARE = 0.05, 0.1
"""Time for the second runner's tests that passed at the start: so many seconds, and a share of the time of all tests."""

MIN_SECONDS = 10.0
"""Least time limit of a run of tests, in seconds."""


@dataclass(frozen=True, kw_only=True)
class TestSpec:
    """A tree, its tests, and their expected results, which decide a task.

    Attributes:
        start: The tree that the agent starts with, whole.
        tests: Path -> content of every file that belongs to the tests, as the task has them.
        groups: The sub-goals: groups of tests that fail at the start.
        fail_to_pass: Tests that must pass in the end.
        pass_to_pass: Tests that must not break.
        seconds: Time that the tests took, in seconds.
        with_renamed_copy: Of `fail_to_pass`, those that also pass in a copy of their file with another name.
        with_must_fail_copy: Of `fail_to_pass`, those whose must-fail copy fails.
        requirements: Wheels that the tests need besides pytest, each as "name==version".
        challenges: How tests of `fail_to_pass` can be altered so that they fail on the repaired tree.
        allowed: What may be done to the interpreter, as the repaired tree and its tests do it.
        gold: Changes of the reference repair, to see whether it passes what a repair does not; empty if not known.
    """

    start: Tree
    tests: Mapping[str, bytes]
    groups: tuple[tuple[str, ...], ...]
    fail_to_pass: frozenset[str]
    pass_to_pass: frozenset[str]
    seconds: float
    with_renamed_copy: frozenset[str] = frozenset()
    with_must_fail_copy: frozenset[str] = frozenset()
    requirements: tuple[str, ...] = ()
    challenges: Challenges = NO_CHALLENGES
    allowed: frozenset[str] = frozenset()
    gold: Mapping[str, bytes | None] = field(default_factory=dict)

    __test__ = False

    @functools.cached_property
    def by_pytest_alone(self) -> frozenset[str]:
        """Tests of `fail_to_pass` of which the second runner runs no copies, so that pytest has to."""
        return self.fail_to_pass - {test for one in self.challenges.each if one.plain for test in one.tests}

    @functools.cached_property
    def digest(self) -> bytes:
        """Hash of what the grading report on a change depends on, the change and where the tests run aside."""
        content = hashlib.sha256()
        for tree in (self.start, self.tests):
            content.update(tree_digest(tree).encode())
        copied = self.with_renamed_copy, self.with_must_fail_copy
        for tests in (self.fail_to_pass, self.pass_to_pass, *copied, *self.groups):
            content.update(repr(sorted(tests)).encode())
        content.update(
            repr(
                (self.challenges.each, self.challenges.kept, sorted(self.challenges.seen), sorted(self.allowed))
            ).encode()
        )
        return content.digest()


@dataclass(frozen=True, kw_only=True)
class GradingReport:
    """Result of a grading.

    Attributes:
        resolved: True if every test that should pass does, and none that must fail was made to pass.
        groups_done: For each group whether all its tests pass; all False where something that worked is broken.
        num_failing: Tests of `fail_to_pass` that do not pass.
        num_broken: Tests of `pass_to_pass` that do not pass.
        reason: Why it is not resolved, in one sentence; empty where it is.
        flags: What a reader should look at, such as an import of pytest by the repair; they change no result.
        stopped: The limit that ended the tests, or None; such a grading report is not kept for other processes.
        complete: True if all runs of the tests reported; a grading report without is not remembered at all.
    """

    resolved: bool
    groups_done: tuple[bool, ...]
    num_failing: int
    num_broken: int
    reason: str = ""
    flags: tuple[str, ...] = field(default=())
    stopped: str | None = None
    complete: bool = True


def accepted(changes: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    """Of an agent's changes those that count: text, in files that are no tests and do not steer them."""
    return {
        path: content
        for path, content in sorted(changes.items())
        if not is_test(path) and (content is None or as_text(content) is not None)
    }


def grade(test_spec: TestSpec, changes: Mapping[str, bytes | None], sandbox: Sandbox) -> GradingReport:
    """Return the grading report on a tree: remembered by content, in memory and in the cache folder.

    Raises:
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed; nothing is remembered.
    """
    counted = accepted(changes)
    if not counted:
        return unchanged(test_spec)
    where = repr((VERSION, *setting(sandbox, test_spec.requirements))).encode()
    name = hashlib.sha256(where + test_spec.digest + repr(counted).encode()).hexdigest()
    known = _remembered.get(name)
    if known is None:
        known = _read(name)
    if known is None:
        known = run_grading(test_spec, counted, sandbox)
        # A limit ends the same run again on the same host, so that this process remembers it. Why another one was lost may
        # have nothing to do with the tree.
        if known.stopped is None:
            if not known.complete:
                return known
            _write(name, known)
    with _lock:
        _remembered[name] = known
        _remembered.move_to_end(name)
        if len(_remembered) > MAX_REMEMBERED:
            _remembered.popitem(last=False)
    return known


def unchanged(test_spec: TestSpec) -> GradingReport:
    """Return the grading report on the tree as it was: its failing tests were seen to fail when the task was made."""
    return GradingReport(
        resolved=False,
        groups_done=(False,) * len(test_spec.groups),
        num_failing=len(test_spec.fail_to_pass),
        num_broken=0,
        reason="no source was changed",
    )


def run_grading(test_spec: TestSpec, counted: Mapping[str, bytes | None], sandbox: Sandbox) -> GradingReport:
    """Grade a tree by running the tests: with pytest, and then, of what passes, copies without it."""
    pristine = with_own_tests(test_spec, counted)
    flags = suspects(test_spec.start, counted)
    try:
        grading_report = _graded(test_spec, pristine, sandbox)
    except UnwritableTreeError as error:
        grading_report = replace(unchanged(test_spec), reason=f"the tests cannot be added to the source: {error}")
    return replace(grading_report, flags=flags)


def with_own_tests(test_spec: TestSpec, changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return a changed tree with the task's own tests and no others."""
    changed = with_changes(test_spec.start, changes)
    return {**{path: content for path, content in changed.items() if not is_test(path)}, **test_spec.tests}


def _graded(test_spec: TestSpec, pristine: Tree, sandbox: Sandbox) -> GradingReport:
    guards = Guards.of(test_spec)
    targets = [*test_files(test_spec.fail_to_pass | test_spec.pass_to_pass), *guards.targets]
    allowed, seconds = test_spec.allowed | test_spec.challenges.seen, time_limit(test_spec.seconds)
    report = run_tests(
        {**pristine, **guards.files},
        targets,
        sandbox=sandbox,
        seconds=seconds,
        requirements=test_spec.requirements,
        allowed=allowed,
    )
    grading_report = grade_reports(test_spec, report, guards)
    challenges = test_spec.challenges
    asked = [one for one in challenges.each if one.plain and report.passed.issuperset(one.tests)]
    if not any(grading_report.groups_done) or not (asked or challenges.kept):
        return grading_report
    drawn = draw(
        asked,
        test_spec.tests,
        lots(),
        whole=grading_report.resolved,
        kept=challenges.kept,
        seconds=KEPT_SECONDS + KEPT_SHARE * test_spec.seconds,
    )

    def run_copies(tree: Tree, copies: Drawn) -> TestReport:
        return run_plainly(
            {**without(tree, test_spec.fail_to_pass | test_spec.pass_to_pass), **copies.files},
            copies.targets,
            sandbox=sandbox,
            seconds=seconds,
            requirements=test_spec.requirements,
            allowed=allowed,
            records=True,
        )

    second = run_copies(pristine, drawn)
    against = opinion(drawn, second).against
    if against and second.complete and test_spec.gold:
        # What the reference repair does not do either, now that other tests ran before it, is held against nobody.
        known = run_copies(with_own_tests(test_spec, test_spec.gold), drawn)
        if known.complete:
            drawn = drawn.but(against & opinion(drawn, known).against)
        else:  # a busy machine; nothing can be said of the repair
            second = known
    return grade_reports(test_spec, report, guards, (drawn, second))


def grade_reports(
    test_spec: TestSpec, report: TestReport, guards: Guards, second: tuple[Drawn, TestReport] | None = None
) -> GradingReport:
    """Return what reports say about a repair: pytest's, and where it was asked that of the plain runner on its copies."""
    passed = report.passed
    reports = [report, *(second[1:] if second else ())]
    opinions = [opinion(guards.drawn, report), *([opinion(*second)] if second else [])]
    doubted = {test for one in opinions for test in one.doubted}
    failing = {
        test
        for test in test_spec.fail_to_pass
        if test not in passed or test in doubted or not guards.confirms(test, passed)
    }
    broken = test_spec.pass_to_pass & (doubted | test_spec.pass_to_pass - passed)
    # A copy that passes although it must fail says something of tests that are claimed to pass, and of no others.
    forged = guards.forged(report) or any(passed.issuperset(tests) for one in opinions for tests in one.refuted)
    complete = all(one.complete for one in reports)
    stopped = next((one.stopped for one in reports if one.stopped is not None), None)
    sound = complete and not forged
    reason = ""
    if stopped is not None:
        reason = f"the tests were ended: they used too much {stopped}"
    elif not complete:
        reason = f"the tests did not run to their end: {next(one.lost for one in reports if not one.complete)}"
    elif forged:
        reason = "tests that must fail did not"
    elif broken:
        reason = f"{len(broken)} tests that passed before fail now"
    elif failing:
        reason = f"{len(failing)} tests still fail"
    if not sound:
        failing, broken = set(test_spec.fail_to_pass), test_spec.pass_to_pass
    stands = sound and not broken
    return GradingReport(
        resolved=stands and not failing,
        groups_done=tuple(stands and not failing & set(group) for group in test_spec.groups),
        num_failing=len(failing),
        num_broken=len(broken),
        reason=reason,
        stopped=stopped,
        complete=complete,
    )


@dataclass(frozen=True, kw_only=True)
class Guards:
    """The copies of test files that tell honest repairs from forged outcomes.

    Attributes:
        files: Path -> content of the copies.
        targets: What pytest should run of them.
        renamed_copies: Test -> its id in a faithful copy, which must agree.
        must_fail: Ids of tests that must be seen to fail.
        drawn: Copies of tests that the plain runner cannot run, drawn by lot.
    """

    files: dict[str, bytes]
    targets: tuple[str, ...]
    renamed_copies: dict[str, str]
    must_fail: frozenset[str]
    drawn: Drawn = NOTHING_DRAWN

    @classmethod
    def of(cls, test_spec: TestSpec) -> Guards:
        """Guards under names that nobody could have known; they decide nothing else."""
        alone = test_spec.by_pytest_alone
        made = cls.make(test_spec.tests, alone & test_spec.with_renamed_copy, alone & test_spec.with_must_fail_copy)
        left = [one for one in test_spec.challenges.each if not one.plain]
        if not left:
            return made
        drawn = draw(left, test_spec.tests, lots())
        targets = sorted([*made.targets, *drawn.targets], key=lambda target: hashlib.sha256(target.encode()).digest())
        return replace(made, files={**made.files, **drawn.files}, targets=tuple(targets), drawn=drawn)

    @classmethod
    def make(
        cls, tests: Mapping[str, bytes], with_renamed_copy: Collection[str], with_must_fail_copy: Collection[str]
    ) -> Guards:
        """Guard for tests of the files `tests`."""
        files: dict[str, bytes] = {}
        targets: list[str] = []
        renamed_copies: dict[str, str] = {}
        must_fail: set[str] = set()
        for path, names in by_file(with_renamed_copy).items():
            copy = copy_path(path, secrets.token_hex(8))
            files[copy] = tests[path]
            targets += [f"{copy}::{name}" for name in names]
            renamed_copies |= {test: renamed(test, copy) for test in with_renamed_copy if split_id(test)[0] == path}
        for path, names in by_file(with_must_fail_copy).items():
            encoding = encoding_of(tests[path]) or "utf-8"
            source = must_fail_copy(tests[path].decode(encoding), names)
            if source is not None:
                copy = copy_path(path, secrets.token_hex(8))
                files[copy] = source.encode(encoding)
                targets += [f"{copy}::{name}" for name in names]
                must_fail |= {renamed(test, copy) for test in with_must_fail_copy if split_id(test)[0] == path}
        name = secrets.token_hex(8)
        folder = next(iter(sorted(files)), "").rpartition("/")[0]
        canary = f"{folder}/test_{name}.py".lstrip("/")
        files[canary] = CANARY.format(name=name).encode()
        must_fail.add(f"{canary}::test_{name}")
        # Neither copy comes first in every file, so that no order tells them apart.
        targets = sorted([*targets, canary], key=lambda target: hashlib.sha256(target.encode()).digest())
        return cls(files=files, targets=tuple(targets), renamed_copies=renamed_copies, must_fail=frozenset(must_fail))

    def forged(self, report: TestReport) -> bool:
        """Return whether a test that must fail was not seen to."""
        return any(report.outcomes.get(test) != "failed" for test in self.must_fail)

    def confirms(self, test: str, passed: Collection[str]) -> bool:
        """Return whether the copy of a test, if it has one, passed as well."""
        return test not in self.renamed_copies or self.renamed_copies[test] in passed


@dataclass(frozen=True, kw_only=True)
class GoldRun:
    """Results of the tests on the repaired tree, for this machine and interpreter.

    Attributes:
        passed: Tests that pass.
        with_renamed_copy: Of them, those that also pass in a copy of their file with another name.
        with_must_fail_copy: Of them, those whose must-fail copy fails.
        seen: What the tree and its tests do to the interpreter, see `TestReport.seen`.
    """

    passed: frozenset[str]
    with_renamed_copy: frozenset[str]
    with_must_fail_copy: frozenset[str]
    seen: frozenset[str] = frozenset()


_GOLD_KEYS = {"passed": "passed", "with_renamed_copy": "aliased", "with_must_fail_copy": "twinned", "seen": "seen"}
"""Attribute of a `GoldRun` -> its key in the cache."""


def gold_run(
    tree: Tree, files: Sequence[str], *, sandbox: Sandbox, seconds: float, requirements: tuple[str, ...] = ()
) -> GoldRun:
    """Run `files` of a repaired tree, with both kinds of copies of every test; remembered by content in the cache folder.

    Args:
        tree: The repaired tree, tests included.
        files: Test files to run.
        sandbox: Where they run.
        seconds: Time limit, in seconds.
        requirements: Wheels that the tests need besides pytest, each as "name==version".

    Raises:
        OSError: A wheel cannot be installed.
        ValueError: The tests do not run to their end.
    """
    key = repr((VERSION, *setting(sandbox, requirements), tree_digest(tree), sorted(files)))
    path = cache_folder() / "swe" / "gold" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    known = read_json(path)
    if known is not None:
        return GoldRun(**{name: frozenset(known[key]) for name, key in _GOLD_KEYS.items()})
    plain = run_tests(tree, files, sandbox=sandbox, seconds=seconds, requirements=requirements)
    if not plain.complete:
        said = "" if plain.stopped else f"; {plain.output[-400:]}"
        raise ValueError(f"expected the tests of the repaired tree to run to their end, got none: {plain.ending}{said}")
    sources = {path: tree[path] for path in files}
    passed = {test for test in plain.passed if split_id(test)[0] in sources}
    guards = Guards.make(sources, passed, _standing_in_file(sources, passed))
    report = run_tests(
        {**tree, **guards.files},
        [*files, *guards.targets],
        sandbox=sandbox,
        seconds=3 * seconds,
        requirements=requirements,
    )
    if not report.complete:
        raise ValueError(
            f"expected the copies of the repaired tree's tests to run to their end, got none: {report.ending}"
        )
    origin = {copy: test for test, copy in guards.renamed_copies.items()}
    with_renamed_copy = {origin[test] for test in report.passed if test in origin}
    failed_copies = {test for test in guards.must_fail if report.outcomes.get(test) == "failed"}
    failed_names = {(test.partition("::")[2]) for test in failed_copies}
    with_must_fail_copy = {test for test in passed if test.partition("::")[2] in failed_names}
    # A test that the copies disturb (one whole run must agree with the other) is not used for grading.
    found = GoldRun(
        passed=frozenset(passed & report.passed),
        with_renamed_copy=frozenset(with_renamed_copy),
        with_must_fail_copy=frozenset(with_must_fail_copy),
        seen=plain.seen | report.seen,
    )
    keep(path, json.dumps({key: sorted(getattr(found, name)) for name, key in _GOLD_KEYS.items()}).encode())
    return found


def _standing_in_file(sources: Mapping[str, bytes], passed: Iterable[str]) -> set[str]:
    """Return the tests whose function stands in their file."""
    texts = {path: as_text(source) or "" for path, source in sources.items()}
    return {test for test in passed if functions_of(texts[split_id(test)[0]], split_id(test)[1])}


def time_limit(seconds: float) -> float:
    """Time limit of a run of tests that took `seconds` when they were validated, in seconds.

    Ten times that, for the tests and for both kinds of copies.
    """
    return max(MIN_SECONDS, 10 * 3 * seconds)


def forget(*, read_cache: bool) -> None:
    """Empty the memory of this process, for a measurement; with `read_cache=False` that of the cache folder, too."""
    global _reads_cache
    _remembered.clear()
    _reads_cache = read_cache


_lock = threading.Lock()
_remembered: OrderedDict[str, GradingReport] = OrderedDict()
_reads_cache = True


def _read(name: str) -> GradingReport | None:
    if not _reads_cache:
        return None
    path = cache_folder() / "swe" / "verdicts" / name[:2] / f"{name}.json"
    known = read_json(path)
    if known is None:
        return None
    return GradingReport(**{**known, "groups_done": tuple(known["groups_done"]), "flags": tuple(known["flags"])})


def _write(name: str, grading_report: GradingReport) -> None:
    keep(cache_folder() / "swe" / "verdicts" / name[:2] / f"{name}.json", json.dumps(vars(grading_report)).encode())
