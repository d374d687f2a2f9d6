"""Variants of tests: one input is changed, and the repaired tree says what comes out."""

import ast
import random
import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import calc
from textagent_gym.envs.swe.grading.alterations import Copy, block_of, with_copies
from textagent_gym.envs.swe.grading.pytest_runs import run_plainly
from textagent_gym.envs.swe.grading.variants import (
    EXPECTED,
    REPR,
    is_comparable,
    is_new,
    is_same,
    recorded_values,
    variant,
)
from textagent_gym.envs.swe.repo.edits import with_function_of
from textagent_gym.envs.swe.sandboxes.base import Sandbox

SOURCE = """
import pytest

@pytest.mark.parametrize("a, b, total", [(1, 2, 3), (4, 5, 9)], ids=["x", "y"])
def test_rows(a, b, total):
    assert add(a, b) == total

def test_more():
    '''Says 17.'''
    found = parse("a=1", strict=2)
    assert found == {"a": 1}, "message 5"
    assert found.ok
    with pytest.raises(ValueError, match="none 8"):
        parse("")

def test_nothing():
    assert build() == 3

class TestCase:
    def test_method(self):
        self.assertEqual(half(3), 1.5)
        self.assertTrue(is_odd(3))
"""


def values_of(text: str | None, function: str) -> dict[int, str]:
    """Return what a recording form records, with the real functions behind it."""
    recorded: dict[int, object] = {}
    names = {
        "pytest": pytest,
        "add": lambda a, b: a + b,
        "half": lambda a: a / 2,
        "is_odd": lambda a: a % 2 == 1,
        "record_value_": lambda number, value: recorded.__setitem__(number, value),
    }
    assert text is not None
    exec(text, names)
    test = names[function]
    if hasattr(test, "pytestmark"):
        ((row,),) = [mark.args[1] for mark in test.pytestmark]
        test(*row)  # type: ignore[operator]
    else:
        test(None)  # type: ignore[operator]
    return {number: repr(value) for number, value in recorded.items()}


def test_one_row_of_parameters_is_left_and_an_input_of_it_changed() -> None:
    sums = set()
    for number in range(20):
        text = variant(SOURCE, "test_rows", number, with_expected=True)
        assert text is not None and "ids" not in text
        values = values_of(text, "test_rows")
        assert values[0] != values[EXPECTED]
        sums.add(values[EXPECTED])
    assert sums == {"3", "9"}


LOOP = """
def test_loop():
    for a, b in ((1, 2), (4, 5)):
        with pytest.raises(ValueError, match="none"):
            check(a, b)
"""


def test_what_is_raised_is_recorded_each_time(sandbox: Sandbox) -> None:
    source = b"def check(a, b):\n    if a + b < 9:\n        raise ValueError('other')\n"
    tree = {"calc.py": source, "test_a.py": f"import pytest\nfrom calc import *\n{LOOP}".encode()}
    found = set()
    for number in range(12):
        text = variant(LOOP, "test_loop", number)
        assert text is not None and "raises" not in text
        tree["test_b.py"] = f"import pytest\nfrom calc import *\n{text}\n".encode()
        report = run_plainly(tree, ["test_b.py::test_loop"], sandbox=sandbox, seconds=20, records=True)
        found.add(recorded_values(report.messages["test_b.py::test_loop"])[0])
    assert found == {"[True, False]", "[False, False]", "[True, True]"}


def test_a_raises_block_is_expected_to_raise(sandbox: Sandbox) -> None:
    text = variant(LOOP, "test_loop", 0, with_expected=True)
    tree = {"test_b.py": f"import pytest\ndef check(a, b):\n    pass\n{text}\n".encode()}
    report = run_plainly(tree, ["test_b.py::test_loop"], sandbox=sandbox, seconds=20, records=True)
    values = recorded_values(report.messages["test_b.py::test_loop"])
    assert values == {0: "[False, False]", EXPECTED: "[True, True]"}


DATA = [
    *("0", "-3", "True", "None", "2.5", '"a\'b"', "b'x'", "()", "(1,)", "[1, [2]]", "{'a': (1, 2)}", "{1, 2}", "set()"),
    *("frozenset({3})", "OrderedDict(a=[1])", "IntFlag('Kind', 'A B').A", "namedtuple('Pair', 'a b')(1, 'b')"),
    *("Decimal('5')", "Decimal('-2.50')", "Fraction(6, 3)", "[Fraction(1, 4)]"),
]
OTHERS = ["object()", "[object()]", "{'a': {1: len}}", "10**2000", "list(range(2000))", "Decimal('inf')", "1j"]


def test_plain_data_and_its_subclasses_are_written_as_python_writes_them(sandbox: Sandbox) -> None:
    imports = "from collections import OrderedDict, namedtuple\nfrom decimal import Decimal\n"
    imports += "from enum import IntFlag\nfrom fractions import Fraction\n"
    lines = [f"    record_value_({place}, {value})" for place, value in enumerate(DATA + OTHERS)]
    source = "\n".join([imports, "def test_all():", *lines]).encode()
    report = run_plainly({"test_a.py": source}, ["test_a.py::test_all"], sandbox=sandbox, seconds=20, records=True)
    values = recorded_values(report.messages["test_a.py::test_all"])
    names: dict[str, Any] = {}
    exec(imports, names)
    for place, value in enumerate(DATA):
        assert ast.literal_eval(values[place]) == eval(value, names)
    assert all(values[place].startswith(REPR) for place in range(len(DATA), len(values)))
    assert len(values) == len(DATA + OTHERS)


def test_claims_of_unittest_are_recorded() -> None:
    text = variant(SOURCE, "TestCase::test_method", 0)
    values = values_of(text, "test_method")
    assert values.keys() == {0, 1} and values[0] != "1.5" and values[1] == "True"
    assert "assert" not in (text or "")
    values = values_of(variant(SOURCE, "TestCase::test_method", 0, with_expected=True), "test_method")
    assert (values[EXPECTED], values[EXPECTED + 1]) == ("1.5", "True")


def test_what_is_expected_is_no_input() -> None:
    texts = {variant(SOURCE, "test_more", number) for number in range(40)}
    assert len(texts) > 5
    for text in texts:
        assert text is not None
        assert "Says 17." in text
        for known in ("{'a': 1}", "message 5", "none 8"):
            assert known not in text
        assert "parse('a=1', strict=2)" not in text


def test_without_an_input_or_a_claim_there_is_none() -> None:
    assert variant(SOURCE, "test_nothing", 0) is None
    assert variant("def test_x():\n    run(3)\n", "test_x", 0) is None
    both = "class A:\n    def test_x(self):\n        assert f(1) == 1\n" * 2
    assert variant(both.replace("class A", "class B", 1), "C::test_x", 0) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 'a']", True),
        ("2.5", True),
        ("[2.5]", True),
        ("nan", False),
        ("repr Date(1, 2)", True),
        ("repr <a at 0x7f>", False),
    ],
)
def test_only_values_that_can_be_compared_are_compared(text: str, expected: bool) -> None:
    assert is_comparable(text) == expected


@pytest.mark.parametrize(
    ("known", "given", "expected"),
    [
        ("{1, 2}", "{2, 1}", True),
        ("0.30000000000000004", "0.3", True),
        ("0.3", "0.31", False),
        ("3", "True", False),
        ("[(0.1, 0.30000000000000004)]", "[(0.1, 0.3)]", True),
        ("{'a': [0.3]}", "{'a': [0.31]}", False),
        ("[0.3]", "(0.3,)", False),
        ("3", "", False),
        ("3", "[" * 900, False),
        ("'a'", "repr 'a'", False),
        (REPR + "Date(1)", REPR + "Date(1)", True),
    ],
)
def test_a_value_is_compared_with_the_known_one(known: str, given: str, expected: bool) -> None:
    assert is_same(known, given) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", True),
        ("3", False),
        ("[1, 9]", True),
        ("[1, 4]", False),
        ("[2, 3]", False),
        ("[1, 4, 5]", True),
        ("True", False),
        ("[1, True]", False),
        ("repr Date(1)", True),
    ],
)
def test_a_value_is_new_where_none_that_is_known_tells_it(text: str, expected: bool) -> None:
    known = ("[1, 3]", "[2, 4]") if text.startswith("[") else ("3", "")
    assert is_new(text, *known) == expected


@pytest.mark.parametrize("message", ["", "[]", "{}", '{"values": 3}', '{"values": {"x": "1"}}', "[" * 4000])
def test_what_is_no_record_says_nothing(message: str) -> None:
    assert recorded_values(message) == {}


@given(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.text("abcdefghijklmnopqrstuvwxyzABC0123456789 .,", min_size=1),
        st.binary(min_size=1).filter(lambda value: any(48 <= byte <= 57 for byte in value)),
    ),
    st.integers(0, 9),
)
def test_each_value_of_a_block_has_the_same_block(value: object, seed: int) -> None:
    block = block_of(value, random.Random(seed))
    assert value in block and len({repr(one) for one in block}) == len(block) <= 6
    for one in block:
        assert sorted(map(repr, block_of(one, random.Random(seed)))) == sorted(map(repr, block))


@pytest.mark.parametrize("indent", ["  ", "    ", "\t", "        "])
def test_copies_stand_in_a_file_of_any_indentation(indent: str) -> None:
    body = "def test_a(self):\n    x = f(2)\n    assert x == 4\n\nkept = '''a\n  b'''\n"
    source = "class TestA:\n" + textwrap.indent(body, "@").replace("@    ", "@@").replace("@", indent)
    copies = {"TestA::test_a": [Copy("test_b", None, 0), Copy("test_c", 0, None)]}
    text = with_copies(source, copies, random.Random(0))
    assert text is not None
    names: dict[str, object] = {"f": lambda value: value * 2}
    exec(text, names)
    case = names["TestA"]
    assert not hasattr(case, "test_a")
    case().test_b()  # type: ignore[operator]
    with pytest.raises(AssertionError):
        case().test_c()  # type: ignore[operator]
    assert case.kept.startswith("a\n")  # type: ignore[attr-defined]


@given(st.integers(0, 60), st.sampled_from(["test_rows", "test_more", "TestCase::test_method"]))
def test_a_variant_is_one_function_and_the_same_at_each_call(number: int, name: str) -> None:
    text = variant(SOURCE, name, number)
    assert text is not None
    (function,) = ast.parse(text).body
    assert getattr(function, "name", "") == name.rpartition("::")[2]
    assert variant(SOURCE, name, number) == text


def test_one_function_is_repaired_and_no_other() -> None:
    gold = "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n\n\ndef g():\n    return 3\n"
    start = (
        gold.replace("return 1", "return 7").replace("return 2", "return 8\n        return 9").replace("return 3", "")
    )
    alone = with_function_of(start, gold, "A.g")
    assert alone == start.replace("return 8\n        return 9", "return 2")
    assert with_function_of(start, gold, "A.h") is None
    assert with_function_of(start, "def", "g") is None


PYTEST_NAMES = b"""
import pytest


@pytest.fixture(params=[1, 2])
def several(request):
    return request.param


@pytest.mark.skipif(True, reason="never")
def test_skipped():
    assert calc.add(1, 1) == 2


@pytest.mark.parametrize("a", [pytest.param(1, marks=pytest.mark.xfail)])
def test_marked(a):
    assert calc.add(a, 1) == 2


@pytest.mark.usefixtures("several")
class TestUses:
    def test_in_class(self):
        assert calc.add(1, 1) == 2


def test_several(several):
    assert calc.add(several, 1) > 1


def test_annotated(x: pytest.MonkeyPatch | pytest.CaptureFixture[str] = None):
    assert calc.add(1, 1) == 2


def test_other():
    pytest.exit("no")
"""


def test_what_the_second_runner_does_not_know_fails_alone(sandbox: Sandbox) -> None:
    names = ["test_skipped", "test_marked", "TestUses::test_in_class", "test_several", "test_annotated", "test_other"]
    tree = {**calc.GOLD, "tests/test_names.py": b"import calc\n" + PYTEST_NAMES}
    targets = [f"tests/test_names.py::{name}" for name in names]
    outcomes = run_plainly(tree, targets, sandbox=sandbox, seconds=30).outcomes
    assert [one.rpartition("::")[2] for one in targets if outcomes[one] == "passed"] == ["test_annotated"]
