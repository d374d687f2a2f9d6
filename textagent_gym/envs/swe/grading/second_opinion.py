"""A second opinion on tests that pass: copies drawn by lot, some faithful and some altered, run by another runner.

What a process says of its own tests can be forged by the code under test. A forger has to say of each copy what would be
true of it, and which copies are altered is drawn from the system's randomness when the repair is graded. That an altered
copy fails is seen on the repaired tree when a task is made ready, so that no right repair is refused by it.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from textagent_gym.envs.swe.grading.alterations import Copy, function_named, functions_of, places, with_copies
from textagent_gym.envs.swe.grading.guards import by_file, copy_path, split_id
from textagent_gym.envs.swe.grading.pytest_runs import TestReport
from textagent_gym.envs.swe.grading.variants import is_same, recorded_values
from textagent_gym.envs.swe.repo.text import encoding_of
from textagent_gym.envs.swe.repo.tree import Tree, as_text

FEW = 20
"""Tests that passed at the start of which every one has an altered copy."""

SLOW = 0.1
"""Time of a function from which on it has two copies, in seconds: a faithful one, and a variant or an altered one."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A variant of a test function, see `variants.py`.

    Attributes:
        text: The function, which records values.
        values: Number of a claim, and what it records on the repaired tree, as Python writes it.
        alone: Whether it records the same where nothing but the bug of its group is repaired.
        affected: Whether it records other values on the tree at the start.
    """

    text: str
    values: tuple[tuple[int, str], ...]
    alone: bool
    affected: bool

    def agrees(self, copied: str, report: TestReport) -> bool:
        """Return whether a copy of it recorded the values of the repaired tree."""
        given = recorded_values(report.messages.get(copied, ""))
        passed = report.outcomes.get(copied) == "passed"
        return passed and all(is_same(text, given.get(place, "")) for place, text in self.values)


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A test function whose copies can be altered.

    Attributes:
        function: "path::function" or "path::Class::function".
        tests: Its tests among those that a repair has to make pass, sorted: one, or one for each set of parameters.
        alterations: Numbers of the changes with which every one of them fails on the repaired tree.
        plain: True if the plain runner can run it; otherwise pytest runs its copies.
        seconds: Time that the plain runner takes for it, in seconds; 0 where it cannot run it.
        variants: Variants of it, those first of which the tree at the start records other values.
    """

    function: str
    tests: tuple[str, ...]
    alterations: tuple[int, ...]
    plain: bool
    seconds: float = 0.0
    variants: tuple[Variant, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A test function that passes at the start, and that the plain runner can run.

    Attributes:
        function: "path::function" or "path::Class::function".
        tests: Its tests, sorted.
        alterations: Numbers of the changes with which it fails on the repaired tree; there may be none.
        seconds: Time that it takes, in seconds.
    """

    function: str
    tests: tuple[str, ...]
    alterations: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Challenges:
    """All challenges of a task.

    Attributes:
        each: The challenges.
        kept: Tests that passed at the start and must not break.
        seen: What the repaired tree itself does to the interpreter, see `TestReport.seen`: it is allowed to repairs.
    """

    each: tuple[Challenge, ...] = ()
    kept: tuple[Kept, ...] = ()
    seen: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Drawn:
    """Copies of test functions, drawn by lot.

    Attributes:
        files: Path -> content of the copied files.
        faithful: Copy's id -> tests that it stands for; they pass if it does.
        altered: Copy's id -> tests whose passing it refutes by passing.
        variants: Copy's id -> the variant that it is a copy of, and tests that this was made of.
        targets: Ids of all copies, in the order of the functions; which of a function's copies comes first says nothing.
    """

    files: dict[str, bytes]
    faithful: dict[str, tuple[str, ...]]
    altered: dict[str, tuple[str, ...]]
    variants: dict[str, tuple[Variant, tuple[str, ...]]]
    targets: list[str]

    def but(self, copies: Collection[str]) -> Drawn:
        """Return the same without some copies."""
        return Drawn(
            self.files,
            {one: tests for one, tests in self.faithful.items() if one not in copies},
            {one: tests for one, tests in self.altered.items() if one not in copies},
            {one: of for one, of in self.variants.items() if one not in copies},
            [one for one in self.targets if one not in copies],
        )


@dataclass(frozen=True)
class Plan:
    """Copies that are to be made of a test function, which stands for its tests; variants are those that some copy."""

    function: str
    tests: tuple[str, ...]
    copies: Sequence[Copy]
    variants: Sequence[Variant] = ()


def draw(
    challenges: Sequence[Challenge],
    tests: Mapping[str, bytes],
    rng: random.Random,
    *,
    whole: bool = True,
    kept: Sequence[Kept] = (),
    seconds: float = 0.0,
) -> Drawn:
    """Draw copies of test functions: of each a faithful one and altered ones, more of these if there are few functions.

    Args:
        challenges: The functions.
        tests: Path -> content of their files, at least.
        rng: The lots.
        whole: Whether a whole repair is claimed; else variants count only where one bug alone decides them.
        kept: Functions whose tests passed at the start. Where there are many, half of them have an altered copy, by lot.
        seconds: Time for those, in seconds; if it does not suffice for all, lots decide.
    """
    count = 6 if len(challenges) == 1 else 4 if len(challenges) <= 3 else 3 if len(challenges) <= 8 else 2
    plans: list[Plan] = []
    for one in challenges:
        source, name = source_of(one.function, tests)
        variants = [variant for variant in one.variants if whole or variant.alone]
        alterations, most = one.alterations, count - 1
        if one.seconds >= SLOW:
            variants, alterations, most = variants[:1], () if variants else alterations, 1
        copies = _pair(alterations, places(source, name), most, rng)
        copies += [Copy(copy_name(rng), None, None, variant.text) for variant in variants]
        rng.shuffle(copies)
        plans.append(Plan(one.function, one.tests, copies, variants))
    for keeps in rng.sample(kept, len(kept)):
        if keeps.seconds > seconds:
            continue
        seconds -= keeps.seconds
        copies = _pair(keeps.alterations, places(*source_of(keeps.function, tests)), 1, rng)
        if len(kept) > FEW and rng.random() < 0.5:
            copies = [copy for copy in copies if copy.taken is None]
        else:
            seconds -= keeps.seconds
        plans.append(Plan(keeps.function, keeps.tests, copies))
    return lay_out(plans, tests, rng)


def _pair(alterations: Sequence[int], where: Sequence[int], most: int, rng: random.Random) -> list[Copy]:
    """Return a faithful copy of a function and at most so many altered ones."""
    pairs = _cycle(alterations, where, most, rng) if alterations else [(None, None)]
    rng.shuffle(pairs)
    return [Copy(copy_name(rng), *pair) for pair in pairs]


def source_of(function: str, tests: Mapping[str, bytes]) -> tuple[str, str]:
    """Return the text of the file of a function "path::name", and its name there."""
    path, _, name = function.partition("::")
    return as_text(tests[path]) or "", name


def copy_name(rng: random.Random) -> str:
    """Return a name for a copy of a test function."""
    return f"test_{rng.getrandbits(48):012x}"


def _cycle(
    alterations: Sequence[int], where: Sequence[int], most: int, rng: random.Random
) -> list[tuple[int | None, int | None]]:
    """Return for each copy the change that it takes and the other of its pair: all of one place, each equally often.

    Args:
        alterations: The changes that a repaired tree fails.
        where: Place of each change.
        most: Changes to take.
        rng: The lots; they fall on a place with a value rather than on a claim, and on the claim at the end in need alone.
    """
    by_place: dict[int, list[int]] = {}
    for number in alterations:
        by_place.setdefault(where[number], []).append(number)
    claim = by_place.pop(-1, [])
    largest = min(max(map(len, by_place.values()), default=0), most)
    best = [numbers for numbers in by_place.values() if min(len(numbers), most) == largest] or [claim]
    numbers = rng.choice(best)
    values: list[int | None] = [None, *rng.sample(numbers, min(most, len(numbers)))]
    rng.shuffle(values)
    return list(zip(values, [*values[1:], values[0]], strict=True))


def lay_out(plans: Iterable[Plan], tests: Mapping[str, bytes], rng: random.Random) -> Drawn:
    """Return the copies of plans, in files under random names.

    Args:
        plans: The copies to make; of one function there may be several.
        tests: Path -> content of the test files, at least.
        rng: The lots.
    """
    drawn = Drawn({}, {}, {}, {}, [])
    by_path: dict[str, list[Plan]] = {}
    for plan in plans:
        by_path.setdefault(plan.function.partition("::")[0], []).append(plan)
    for path, found in sorted(by_path.items()):
        source, encoding = as_text(tests[path]) or "", encoding_of(tests[path]) or "utf-8"
        made: dict[str, list[Copy]] = {}
        for plan in found:
            made.setdefault(plan.function.partition("::")[2], []).extend(plan.copies)
        text = with_copies(source, made, rng)
        if text is None:
            continue
        copied_path = copy_path(path, f"{rng.getrandbits(64):016x}")
        drawn.files[copied_path] = text.encode(encoding, "backslashreplace")
        for plan in sorted(found, key=lambda plan: _line_of(source, plan.function)):
            group = plan.function.partition("::")[2].rpartition("::")[0]
            variants = {variant.text: variant for variant in plan.variants}
            for copy in plan.copies:
                copied = f"{copied_path}::{group}{'::' if group else ''}{copy.name}"
                if copy.variant in variants:
                    drawn.variants[copied] = variants[copy.variant], plan.tests
                elif not copy.variant:
                    (drawn.faithful if copy.taken is None else drawn.altered)[copied] = plan.tests
                drawn.targets.append(copied)
    return drawn


def _line_of(source: str, function: str) -> int:
    found = functions_of(source, function.partition("::")[2])
    return function_named(source, found[0]).lineno if found else 0


NO_CHALLENGES = Challenges()

NOTHING_DRAWN = Drawn({}, {}, {}, {}, [])


@dataclass(frozen=True)
class Opinion:
    """A statement of copies on tests.

    Attributes:
        doubted: Tests that a faithful copy or a variant does not confirm.
        refuted: For each altered copy that passed the tests that it was copied from.
        against: Copies that did not do what they do on the repaired tree.
    """

    doubted: frozenset[str]
    refuted: tuple[tuple[str, ...], ...]
    against: frozenset[str]


def opinion(drawn: Drawn, report: TestReport) -> Opinion:
    """Return what a run of drawn copies says, by whichever runner."""
    outcomes = report.outcomes
    doubted: set[str] = set()
    against: set[str] = set()
    for copied, tests in drawn.faithful.items():
        if said := disagreeing(copied, tests, outcomes, "passed"):
            doubted.update(said)
            against.add(copied)
    for copied, (variant, tests) in drawn.variants.items():
        if not variant.agrees(copied, report):
            doubted.update(tests)
            against.add(copied)
    refuted = {
        copied: tests for copied, tests in drawn.altered.items() if disagreeing(copied, tests, outcomes, "failed")
    }
    return Opinion(frozenset(doubted), tuple(refuted.values()), frozenset(against | set(refuted)))


def disagreeing(copied: str, tests: Iterable[str], outcomes: Mapping[str, str], expected: str) -> list[str]:
    """Return the tests of which a copy does not say what is expected; the plain runner has one outcome for all."""
    return [test for test in tests if outcomes.get(copied, outcomes.get(copied + split_id(test)[2])) != expected]


def without(tree: Tree, tests: Iterable[str]) -> dict[str, bytes]:
    """Return a tree without the files of tests, so that a copy cannot be compared with what it was copied from."""
    files = set(by_file(tests))
    return {path: content for path, content in tree.items() if path not in files}


def lots() -> random.Random:
    """Return lots that nobody can foretell; they decide nothing that an environment shows."""
    return secrets.SystemRandom()
