"""Search for what a task's tests can be checked with: alterations, variants, and tests that must not break.

Everything is tried out on the repaired tree, and on the tree at the start, when a task is prepared.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from textagent_gym.cache import cache_folder, read_json
from textagent_gym.cache import keep as keep_in_cache
from textagent_gym.envs.swe.grading.alterations import Copy, places
from textagent_gym.envs.swe.grading.guards import split_id
from textagent_gym.envs.swe.grading.pytest_runs import TestReport, program, run_plainly, run_tests, setting
from textagent_gym.envs.swe.grading.second_opinion import (
    Challenge,
    Challenges,
    Kept,
    Plan,
    Variant,
    copy_name,
    disagreeing,
    lay_out,
    source_of,
    without,
)
from textagent_gym.envs.swe.grading.variants import EXPECTED, is_comparable, is_new, is_same, recorded_values, variant
from textagent_gym.envs.swe.repo.tree import Tree, tree_digest
from textagent_gym.envs.swe.sandboxes.base import Sandbox

VERSION = 12
"""Version of the changes and of the second runner; another one has every repaired tree tried again."""

NUM_TRIES = 16
"""Inputs of a function that are changed, one after the other, to see what comes out."""

MAX_VARIANTS = 4
"""Variants of a function that are tried, at most, of those that the bug affects and of the others."""

MAX_VARIED = 40
"""Functions of a task of which variants are looked for, at most."""

MAX_KEPT = 400
"""Functions whose tests pass at the start that are tried, at most."""


def find_challenges(
    gold: Tree,
    fail_to_pass: Collection[str],
    groups: Sequence[Collection[str]],
    *,
    start: Tree,
    pass_to_pass: Collection[str],
    alone: Sequence[Tree | None],
    sandbox: Sandbox,
    seconds: float,
    requirements: tuple[str, ...] = (),
) -> Challenges:
    """Return how the tests of a task can be altered, tried out on its repaired tree; remembered in the cache folder.

    What is found while a run is lost, on a busy machine, may be too little, and is not remembered.

    Args:
        gold: The repaired tree, tests included.
        fail_to_pass: The tests that a repair has to make pass.
        groups: Most of them, in groups that are paid apart.
        start: The tree at the start, with the same tests.
        pass_to_pass: The tests that pass on both.
        alone: For each group the tree at the start in which its bug alone is repaired, or None where that is not known.
        sandbox: Where they run.
        seconds: Time limit, in seconds.
        requirements: Wheels that the tests need besides pytest, each as "name==version".
    """
    wanted, keep = sorted(fail_to_pass), sorted(pass_to_pass)
    trees = [tree_digest(tree) if tree is not None else "" for tree in (gold, start, *alone)]
    key = repr(
        (VERSION, _source_digest(), *setting(sandbox, requirements), trees, wanted, keep, [*map(sorted, groups)])
    )
    path = cache_folder() / "swe" / "challenges" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    known = read_json(path)
    if known is not None:
        return _as_challenges(known)
    trial = _Trial(gold, {*wanted, *keep}, sandbox, seconds, requirements)
    functions = _functions_of(wanted)
    # The plain runner has one outcome for all parameters of a function: they must all belong to one group, so that no
    # part of a repair goes unpaid because of another part.
    whole = [one for one in functions if any(set(one[1]) <= set(group) for group in groups)]
    found = [
        Challenge(function=function, tests=tests, alterations=alterations, plain=True, seconds=seconds)
        for function, (tests, alterations, seconds) in trial.alterations(whole, plain=True, records=True).items()
        if alterations
    ]
    places_of = {
        function: number for number, group in enumerate(groups) for function, tests in whole if tests[0] in group
    }
    variants = _find_variants(trial, found, start, [alone[places_of[one.function]] for one in found])
    found = [replace(one, variants=tuple(variants.get(one.function, ()))) for one in found]
    done = {one.function for one in found}
    rest = [one for one in functions if one[0] not in done]
    found += [
        Challenge(function=function, tests=tests, alterations=alterations, plain=False)
        for function, (tests, alterations, _) in trial.alterations(rest, plain=False).items()
        if alterations
    ]
    kept = _find_kept(trial, keep, {function for function, _ in functions}, start)
    each = tuple(sorted(found, key=lambda one: one.function))
    challenges = Challenges(each=each, kept=kept, seen=frozenset(trial.seen))
    if not trial.lost:
        keep_in_cache(path, json.dumps({**asdict(challenges), "seen": sorted(challenges.seen)}).encode())
    return challenges


def _as_challenges(known: dict[str, Any]) -> Challenges:
    def tuples(entry: dict[str, Any]) -> dict[str, Any]:
        return {name: as_tuple(value) for name, value in entry.items()}

    def as_tuple(value: Any) -> Any:
        return tuple(map(as_tuple, value)) if isinstance(value, list) else value

    return Challenges(
        each=tuple(
            Challenge(**tuples({**one, "variants": [Variant(**tuples(variant)) for variant in one["variants"]]}))
            for one in known["each"]
        ),
        kept=tuple(Kept(**tuples(one)) for one in known["kept"]),
        seen=frozenset(known["seen"]),
    )


_Function = tuple[str, tuple[str, ...]]
"""A test function, as "path::function" or "path::Class::function", and its tests."""


def _functions_of(tests: Sequence[str]) -> list[_Function]:
    """Return the functions of tests, sorted by file and name."""
    found: dict[tuple[str, str], list[str]] = {}
    for test in tests:
        found.setdefault(split_id(test)[:2], []).append(test)
    return [(f"{file}::{name}", tuple(those)) for (file, name), those in sorted(found.items())]


@dataclass
class _Trial:
    """Runs of copies on the trees of a task.

    Attributes:
        gold: The repaired tree, tests included.
        tests: Tests whose files are left out where the plain runner runs copies of them.
        sandbox: Where they run.
        seconds: Time limit, in seconds.
        requirements: Wheels that the tests need besides pytest.
        seen: What was done to the interpreter.
        lost: Whether a run did not come to its end.
    """

    gold: Tree
    tests: Collection[str]
    sandbox: Sandbox
    seconds: float
    requirements: tuple[str, ...]
    seen: set[str] = field(default_factory=set)
    lost: bool = False

    def run(
        self, plans: Sequence[Plan], *, tree: Tree | None = None, plain: bool = True, records: bool = False
    ) -> _Ran:
        """Run copies on a tree, by default the repaired one."""
        base = self.gold if tree is None else tree
        drawn = lay_out(plans, base, random.Random(0))  # noqa: S311 (names alone)
        if not drawn.targets:
            return _Ran({}, TestReport(complete=True))
        where: dict[str, Any] = {
            "sandbox": self.sandbox, "seconds": 3 * self.seconds, "requirements": self.requirements
        }  # fmt: skip
        if plain:
            run = partial(run_plainly, {**without(base, self.tests), **drawn.files}, records=records)
        else:
            run = partial(run_tests, {**base, **drawn.files})
        report = run(drawn.targets, **where)
        if not report.complete:  # on a busy machine a run may be lost
            report = run(drawn.targets, **where)
        self.lost |= not report.complete
        if base is self.gold:
            self.seen |= report.seen
        return _Ran({copied.rpartition("::")[2]: copied for copied in drawn.targets}, report)

    def alterations(
        self, functions: Sequence[_Function], *, plain: bool, most: int | None = None, records: bool = False
    ) -> dict[str, tuple[tuple[str, ...], tuple[int, ...], float]]:
        """Return of the functions whose faithful copy passes: their tests, the changes that they fail, and their time."""
        rng = random.Random(1)  # noqa: S311 (names alone)
        plans, copies = [], {}
        for function, tests in functions:
            numbers = range(len(places(*source_of(function, self.gold))))[:most]
            if numbers or records:
                copies[function] = [Copy(copy_name(rng), kind, None) for kind in (None, *numbers)]
                plans.append(Plan(function, tests, copies[function]))
        ran = self.run(plans, plain=plain, records=records)
        found = {}
        for plan in plans:
            faithful, *altered = plan.copies
            if ran.does(faithful, plan.tests, "passed"):
                fail = [number for number, one in enumerate(altered) if ran.does(one, plan.tests, "failed")]
                seconds = float(json.loads(ran.message(faithful)).get("seconds", 0.0))
                found[plan.function] = plan.tests, tuple(fail), seconds
        return found


@dataclass(frozen=True)
class _Ran:
    """A run of copies: their ids by name, and the report."""

    ids: Mapping[str, str]
    report: TestReport

    def does(self, copy: Copy, tests: Sequence[str], expected: str) -> bool:
        """Return whether a copy has the outcome for each of its tests."""
        copied = self.ids.get(copy.name)
        return copied is not None and not disagreeing(copied, tests, self.report.outcomes, expected)

    def message(self, copy: Copy) -> str:
        """Return what a copy recorded, as JSON."""
        return self.report.messages.get(self.ids.get(copy.name, ""), "{}")

    def values(self, copy: Copy) -> dict[int, str]:
        """Return the values that a copy recorded, by number."""
        return recorded_values(self.message(copy))

    def agrees(self, copy: Copy, one: Variant) -> bool:
        """Return whether a copy of a variant recorded the values of the repaired tree."""
        return one.agrees(self.ids.get(copy.name, ""), self.report)


def _find_variants(
    trial: _Trial, challenges: Sequence[Challenge], start: Tree, alone: Sequence[Tree | None]
) -> dict[str, list[Variant]]:
    """Return variants of test functions, by function: of each those that the bug affects, and as many others."""
    most = 3 if len(challenges) <= 3 else 2 if len(challenges) <= 8 else 1
    by_lot = sorted(challenges, key=lambda one: hashlib.sha256(one.function.encode()).digest())
    considered = sorted(by_lot[:MAX_VARIED], key=lambda one: one.function)
    tree_of = dict(zip((one.function for one in challenges), alone, strict=True))
    found = _recorded(trial, considered, start)
    rng = random.Random(2)  # noqa: S311 (names alone)
    made = [
        (one, form, Copy(copy_name(rng), None, None, form.text))
        for one in considered
        for form in found.get(one.function, ())
    ]

    def run(some: Sequence[tuple[Challenge, Variant, Copy]], tree: Tree) -> _Ran:
        return trial.run([Plan(one.function, one.tests, [copy]) for one, _, copy in some], tree=tree, records=True)

    # A value that differs from run to run says nothing.
    on_gold, at_start = run(made, trial.gold), run(made, start)
    good = [
        (one, form, copy)
        for one, form, copy in made
        if on_gold.agrees(copy, form) and at_start.agrees(copy, form) != form.affected
    ]
    runs = {id(tree): run(good, tree) for tree in alone if tree is not None}
    kept: dict[str, list[Variant]] = {}
    for one, form, copy in good:
        ran = runs.get(id(tree_of[one.function]))
        is_alone = ran is not None and ran.agrees(copy, form)
        kept.setdefault(one.function, []).append(replace(form, alone=is_alone))
    return {function: _chosen(those, most) for function, those in kept.items()}


def _chosen(variants: Sequence[Variant], most: int) -> list[Variant]:
    """Return at most so many variants that the bug affects, and no more of the others."""
    by_use = sorted(variants, key=lambda one: not one.alone)
    affected = [one for one in by_use if one.affected][:most]
    return affected + [one for one in by_use if not one.affected][: len(affected)]


def _recorded(trial: _Trial, challenges: Sequence[Challenge], start: Tree) -> dict[str, list[Variant]]:
    """Return variants by function: those that the bug affects, and then the others."""
    rng = random.Random(3)  # noqa: S311 (names alone)
    plans: list[Plan] = []
    texts: dict[Copy, str] = {}
    for one in challenges:
        source, name = source_of(one.function, trial.gold)
        copies: dict[str, Copy] = {}
        for number in range(NUM_TRIES):
            text = variant(source, name, number)
            if text is not None and text not in copies:
                recording = variant(source, name, number, with_expected=True) or ""
                copies[text] = Copy(copy_name(rng), None, None, recording)
        if copies:
            plans.append(Plan(one.function, one.tests, list(copies.values())))
            texts |= {copy: text for text, copy in copies.items()}
    on_gold, at_start = trial.run(plans, records=True), trial.run(plans, tree=start, records=True)
    found: dict[str, list[Variant]] = {}
    for plan in plans:
        # A value that the expected side of its claim tells can be had without a repair, and comes last; before it come
        # those that are put together from such values and those of the tree at the start.
        by_ease: list[tuple[int, Variant]] = []
        for copy in plan.copies:
            values = on_gold.values(copy) if on_gold.does(copy, plan.tests, "passed") else {}
            known = tuple(
                (place, text) for place, text in sorted(values.items()) if place < EXPECTED and is_comparable(text)
            )
            if known:
                before = at_start.values(copy) if at_start.does(copy, plan.tests, "passed") else {}
                is_affected = not all(is_same(text, before.get(place, "")) for place, text in known)
                expected = {place: values.get(EXPECTED + place, "") for place, _ in known}
                is_found = any(is_new(text, expected[place], before.get(place, "")) for place, text in known)
                is_told = all(is_same(text, expected[place]) for place, text in known)
                form = Variant(text=texts[copy], values=known, alone=False, affected=is_affected)
                by_ease.append((0 if is_found else 2 if is_told else 1, form))
        by_ease.sort(key=lambda pair: pair[0])
        for kind in (True, False):
            those = [one for _, one in by_ease if one.affected == kind]
            found.setdefault(plan.function, []).extend(those[:MAX_VARIANTS])
    return found


def _find_kept(trial: _Trial, keep: Sequence[str], but: Collection[str], start: Tree) -> tuple[Kept, ...]:
    """Return the functions of tests that pass on both trees, as far as the plain runner can run them."""
    functions = [one for one in _functions_of(keep) if one[0] not in but and one[0].partition("::")[0] in trial.gold]
    by_lot = sorted(functions, key=lambda one: hashlib.sha256(one[0].encode()).digest())
    considered = sorted(by_lot[:MAX_KEPT])
    found = trial.alterations(considered, plain=True, most=2, records=True)
    rng = random.Random(4)  # noqa: S311 (names alone)
    plans = [Plan(function, tests, [Copy(copy_name(rng), None, None)]) for function, (tests, _, _) in found.items()]
    at_start = trial.run(plans, tree=start)
    return tuple(
        Kept(
            function=plan.function,
            tests=plan.tests,
            alterations=found[plan.function][1],
            seconds=found[plan.function][2],
        )
        for plan in plans
        if at_start.does(plan.copies[0], plan.tests, "passed")
    )


@functools.cache
def _source_digest() -> str:
    """Return a hash of the programs in the sandbox: what one version of them could run, another may not."""
    return hashlib.sha256((program("plain_runner.py") + program("pytest_runner.py")).encode()).hexdigest()
