"""A repository of two functions and three tests, with two bugs, for tests that need no index."""

from textagent_gym.envs.swe.grading.challenges import find_challenges
from textagent_gym.envs.swe.grading.grader import TestSpec, gold_run
from textagent_gym.envs.swe.sandboxes.base import Sandbox

TESTS = b"""import calc


def test_add():
    assert calc.add(2, 3) == 5


class TestMore:
    def test_add_zero(self):
        assert calc.add(4, 1) == 5

    def test_largest(self):
        assert calc.largest([1, 3, 2]) == 3


def test_mul():
    assert calc.mul(2, 3) == 6
"""
GOLD_SOURCE = b"""def add(a, b):
    return a + b


def mul(a, b):
    return a * b


def largest(numbers):
    return max(numbers)
"""
WRONG_ADD = GOLD_SOURCE.replace(b"a + b", b"a - b")
WRONG_LARGEST = GOLD_SOURCE.replace(b"max(", b"min(")
BUGGY_SOURCE = WRONG_ADD.replace(b"max(", b"min(")
SOURCE = "src/calc/__init__.py"
TEST_FILE = "tests/test_calc.py"
GOLD = {SOURCE: GOLD_SOURCE, TEST_FILE: TESTS, "README.md": b"Calculates.\n"}
START = {**GOLD, SOURCE: BUGGY_SOURCE}
ADD = (f"{TEST_FILE}::TestMore::test_add_zero", f"{TEST_FILE}::test_add")
LARGEST = (f"{TEST_FILE}::TestMore::test_largest",)
MUL = f"{TEST_FILE}::test_mul"


def test_spec(sandbox: Sandbox) -> TestSpec:
    """Return two groups of failing tests and one test to keep."""
    gold = gold_run(GOLD, [TEST_FILE], sandbox=sandbox, seconds=20)
    failing = frozenset(ADD + LARGEST)
    return TestSpec(
        start=START,
        tests={TEST_FILE: TESTS},
        groups=(ADD, LARGEST),
        fail_to_pass=failing,
        pass_to_pass=frozenset({MUL}),
        seconds=2.0,
        with_renamed_copy=failing & gold.with_renamed_copy,
        with_must_fail_copy=failing & gold.with_must_fail_copy,
        challenges=find_challenges(
            GOLD,
            failing,
            (ADD, LARGEST),
            start=START,
            pass_to_pass={MUL},
            alone=[{**GOLD, SOURCE: with_bug} for with_bug in (WRONG_LARGEST, WRONG_ADD)],
            sandbox=sandbox,
            seconds=20,
        ),
        allowed=gold.seen,
        gold={SOURCE: GOLD_SOURCE},
    )
