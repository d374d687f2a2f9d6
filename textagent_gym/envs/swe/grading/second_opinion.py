"""A second opinion on tests that pass: copies drawn by lot, some faithful and some altered, run by another runner.

What a process says of its own tests can be forged by the code under test. A forger has to say of each copy what would be
true of it, and which copies are altered is drawn from the system's randomness when the repair is graded. That an altered
copy fails is seen on the repaired tree when a task is made ready, so that no right repair is refused by it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from textagent_gym.cache import cache_folder, keep, read
from textagent_gym.envs.swe.grading.alterations import Copy, places, with_copies
from textagent_gym.envs.swe.grading.guards import by_file, copy_path, split_id
from textagent_gym.envs.swe.grading.pytest_runs import TestReport, program, run_plainly, run_tests, setting
from textagent_gym.envs.swe.repo.tree import Tree, as_text, tree_digest
from textagent_gym.envs.swe.sandboxes.base import Sandbox

VERSION = 3
"""Version of the changes and of the second runner; another one has every repaired tree tried again."""


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A test function whose copies can be altered.

    Attributes:
        function: "path::function" or "path::Class::function".
        tests: Its tests among those that a repair has to make pass, sorted: one, or one for each set of parameters.
        alterations: Numbers of the changes with which every one of them fails on the repaired tree.
        plain: True if the plain runner can run it; otherwise pytest runs its copies.
    """

    function: str
    tests: tuple[str, ...]
    alterations: tuple[int, ...]
    plain: bool


@dataclass(frozen=True, kw_only=True)
class Challenges:
    """All challenges of a task.

    Attributes:
        each: The challenges.
        seen: What the repaired tree itself does to the interpreter, see `TestReport.seen`: it is allowed to repairs.
    """

    each: tuple[Challenge, ...] = ()
    seen: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Drawn:
    """Copies of test functions, drawn by lot.

    Attributes:
        files: Path -> content of the copied files.
        faithful: Copy's id -> tests that it stands for; they pass if it does.
        altered: Copy's id -> tests whose passing it refutes by passing.
    """

    files: dict[str, bytes]
    faithful: dict[str, tuple[str, ...]]
    altered: dict[str, tuple[str, ...]]

    @property
    def targets(self) -> list[str]:
        """Ids of all copies, in an order that says nothing."""
        return sorted([*self.faithful, *self.altered], key=lambda test: hashlib.sha256(test.encode()).digest())


def draw(challenges: Sequence[Challenge], tests: Mapping[str, bytes], rng: random.Random) -> Drawn:
    """Draw copies of test functions: of each a faithful one and altered ones, more of each if there are few functions.

    Args:
        challenges: The functions.
        tests: Path -> content of their files, at least.
        rng: The lots.
    """
    count = 6 if len(challenges) == 1 else 4 if len(challenges) <= 3 else 3 if len(challenges) <= 8 else 2
    chosen: dict[str, dict[str, list[Copy]]] = {}
    for challenge in challenges:
        path, _, name = challenge.function.partition("::")
        source = as_text(tests[path]) or ""
        pairs = _cycle(challenge.alterations, places(source, name), count - 1, rng)
        rng.shuffle(pairs)
        copies = [Copy(f"test_{rng.getrandbits(48):012x}", *pair) for pair in pairs]
        chosen.setdefault(path, {})[name] = copies
    return _laid_out(challenges, chosen, tests, rng)


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


def _laid_out(
    challenges: Iterable[Challenge],
    chosen: Mapping[str, Mapping[str, Sequence[Copy]]],
    tests: Mapping[str, bytes],
    rng: random.Random,
) -> Drawn:
    drawn = Drawn({}, {}, {})
    places: dict[str, str] = {}
    for path, copies in chosen.items():
        source = with_copies(as_text(tests[path]) or "", copies, rng)
        if source is not None:
            places[path] = copy_path(path, f"{rng.getrandbits(64):016x}")
            drawn.files[places[path]] = source.encode()
    for challenge in challenges:
        path, _, name = challenge.function.partition("::")
        for copy in chosen[path][name] if path in places else ():
            group = name.rpartition("::")[0]
            copied = f"{places[path]}::{group}{'::' if group else ''}{copy.name}"
            (drawn.faithful if copy.taken is None else drawn.altered)[copied] = challenge.tests
    return drawn


NO_CHALLENGES = Challenges()

NOTHING_DRAWN = Drawn({}, {}, {})


@dataclass(frozen=True)
class Opinion:
    """A statement of copies on tests.

    Attributes:
        doubted: Tests that a faithful copy does not confirm.
        refuted: For each altered copy that passed the tests that it was copied from.
    """

    doubted: frozenset[str]
    refuted: tuple[tuple[str, ...], ...]


def opinion(drawn: Drawn, report: TestReport) -> Opinion:
    """Return what a run of drawn copies says, by whichever runner."""
    outcomes = report.outcomes
    doubted = {test for copied, tests in drawn.faithful.items() for test in _said(copied, tests, outcomes, "passed")}
    refuted = [tests for copied, tests in drawn.altered.items() if _said(copied, tests, outcomes, "failed")]
    return Opinion(frozenset(doubted), tuple(refuted))


def _said(copied: str, tests: Iterable[str], outcomes: Mapping[str, str], expected: str) -> list[str]:
    """Return the tests of which a copy does not say what is expected; the plain runner has one outcome for all."""
    return [test for test in tests if outcomes.get(copied, outcomes.get(copied + split_id(test)[2])) != expected]


def find_challenges(
    gold: Tree,
    fail_to_pass: Collection[str],
    groups: Sequence[Collection[str]],
    *,
    sandbox: Sandbox,
    seconds: float,
    requirements: tuple[str, ...] = (),
) -> Challenges:
    """Return how the tests of a task can be altered, tried out on its repaired tree; remembered in the cache folder.

    Args:
        gold: The repaired tree, tests included.
        fail_to_pass: The tests that a repair has to make pass.
        groups: Most of them, in groups that are paid apart.
        sandbox: Where they run.
        seconds: Time limit, in seconds.
        requirements: Wheels that the tests need besides pytest, each as "name==version".
    """
    wanted = sorted(fail_to_pass)
    paid = [sorted(group) for group in groups]
    key = repr((VERSION, _source_digest(), *setting(sandbox, requirements), tree_digest(gold), wanted, paid))
    path = cache_folder() / "swe" / "challenges" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    content = read(path)
    if content is not None:
        known = json.loads(content)
        each = [
            Challenge(
                function=one["function"],
                tests=tuple(one["tests"]),
                alterations=tuple(one["alterations"]),
                plain=one["plain"],
            )
            for one in known["each"]
        ]
        return Challenges(each=tuple(each), seen=frozenset(known["seen"]))
    candidates = [
        Challenge(
            function=f"{file}::{name}",
            tests=tuple(test for test in wanted if split_id(test)[:2] == (file, name)),
            alterations=tuple(range(len(places(as_text(gold[file]) or "", name)))),
            plain=True,
        )
        for file, names in by_file(wanted).items()
        for name in names
    ]
    candidates = [one for one in candidates if one.alterations]
    # The plain runner has one outcome for all parameters of a function: they must all belong to one group, so that no
    # part of a repair goes unpaid because of another part.
    whole = [one for one in candidates if any(set(one.tests) <= set(group) for group in groups)]
    found: list[Challenge] = []
    seen: set[str] = set()
    for plain in (True, False):
        waiting = [
            one for one in (whole if plain else candidates) if one.function not in {done.function for done in found}
        ]
        if not waiting:
            continue
        drawn, numbers = _all_copies(waiting, gold)
        tree = {**without(gold, wanted), **drawn.files} if plain else {**gold, **drawn.files}
        run = run_plainly if plain else run_tests
        report = run(tree, drawn.targets, sandbox=sandbox, seconds=seconds, requirements=requirements)
        seen |= report.seen
        for one in waiting:
            copies = numbers[one.function]
            if any(
                _said(copied, one.tests, report.outcomes, "passed") for copied, kind in copies.items() if kind is None
            ):
                continue
            fail = [
                kind
                for copied, kind in copies.items()
                if kind is not None and not _said(copied, one.tests, report.outcomes, "failed")
            ]
            if fail:
                found.append(
                    Challenge(function=one.function, tests=one.tests, alterations=tuple(sorted(fail)), plain=plain)
                )
    challenges = Challenges(each=tuple(sorted(found, key=lambda one: one.function)), seen=frozenset(seen))
    columns = {"each": [vars(one) for one in challenges.each], "seen": sorted(challenges.seen)}
    keep(path, json.dumps(columns).encode())
    return challenges


def without(tree: Tree, tests: Iterable[str]) -> dict[str, bytes]:
    """Return a tree without the files of tests, so that a copy cannot be compared with what it was copied from."""
    files = set(by_file(tests))
    return {path: content for path, content in tree.items() if path not in files}


def _all_copies(challenges: Sequence[Challenge], tree: Tree) -> tuple[Drawn, dict[str, dict[str, int | None]]]:
    """Return a faithful copy and every altered one of each function, and function -> copy's id -> alteration."""
    rng = random.Random(0)  # noqa: S311 (names alone)
    chosen: dict[str, dict[str, list[Copy]]] = {}
    for one in challenges:
        path, _, name = one.function.partition("::")
        kinds = [None, *one.alterations]
        chosen.setdefault(path, {})[name] = [Copy(f"test_{rng.getrandbits(48):012x}", kind, None) for kind in kinds]
    drawn = _laid_out(challenges, chosen, tree, rng)
    ids = [*drawn.faithful, *drawn.altered]
    numbers: dict[str, dict[str, int | None]] = {}
    for one in challenges:
        path, _, name = one.function.partition("::")
        kinds_of = {copy.name: copy.taken for copy in chosen[path][name]}
        numbers[one.function] = {
            copied: kinds_of[last] for copied in ids if (last := copied.rpartition("::")[2]) in kinds_of
        }
    return drawn, numbers


def lots() -> random.Random:
    """Return lots that nobody can foretell; they decide nothing that an environment shows."""
    return secrets.SystemRandom()


@functools.cache
def _source_digest() -> str:
    """Return a hash of the programs in the sandbox: what one version of them could run, another may not."""
    return hashlib.sha256((program("plain_runner.py") + program("pytest_runner.py")).encode()).hexdigest()
