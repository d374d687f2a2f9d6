"""Variants of tests: other inputs, and the values that the repaired tree gives for them.

Source that holds a table of what the visible tests expect passes them without a repair. A variant is such a test with one of
its inputs changed, which records what its claims look at, as in `record_value_(0, add(2, 9))` for `add(2, 3) == 5`. The
values of the repaired tree are known to the grader alone: they stand in no file of the sandbox. Of some variants the tree
that the agent starts with gives other values, and of others the same, so that who does not know the repair can neither
leave a value as it is nor change it.
"""

from __future__ import annotations

import ast
import copy
import json
import math
import random
from collections.abc import Iterator
from typing import Any

from textagent_gym.envs.swe.grading.alterations import (
    EQUALITIES,
    Function,
    called,
    constants_of,
    exceptions_of,
    function_named,
    functions_of,
    other_text,
)

RECORD = "record_value_"
"""Name of the function to which a variant gives its values."""

REPR = "repr "
"""Prefix of the record of a value that is no plain data: the text that Python shows for it follows."""

_NO_LITERAL = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
"""Errors of `ast.literal_eval`."""

DIGITS = 9
"""Significant digits to which numbers with a point have to agree."""

MAX_TEXT = 200
"""Longest string that is taken for an input, in characters."""

EXPECTED = 1000
"""Number that is added to a claim's number where what it expects is recorded."""


def variant(source: str, name: str, number: int, *, with_expected: bool = False) -> str | None:
    """Return the text of a variant of a test function, the same one at each call.

    Args:
        source: The test file.
        name: "function" or "Class::function".
        number: Which input is changed, and how.
        with_expected: Whether what claims expect is recorded, too, see `EXPECTED`.

    Returns:
        The function, or None where it has no input or no claim, or stands in several classes.
    """
    functions = functions_of(source, name)
    if len(functions) != 1:
        return None
    new = copy.deepcopy(function_named(source, functions[0]))
    rng = random.Random(f"{new.name} {number}")  # noqa: S311 (the same variants at each call)
    new.decorator_list = [_of_one_row(one, rng) for one in new.decorator_list]
    claims = [claim for claim in _claims(new.body) if _is_recorded(claim)]
    inputs = _inputs(new)
    if not claims or not inputs:
        return None
    chosen = inputs[number % len(inputs)] if number < len(inputs) else rng.choice(inputs)
    chosen.value = _other_input(chosen.value, rng)
    chosen.kind = None
    recording = _Recording({id(claim): place for place, claim in enumerate(claims)}, with_expected)
    return ast.unparse(ast.fix_missing_locations(recording.visit(new)))


def _of_one_row(decorator: ast.expr, rng: random.Random) -> ast.expr:
    """Return a decorator with one set of parameters out of those that stand in it; any other as it is."""
    if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and len(decorator.args) > 1:
        rows = decorator.args[1]
        if decorator.func.attr == "parametrize" and isinstance(rows, ast.List | ast.Tuple) and rows.elts:
            decorator.args[1] = ast.List([rng.choice(rows.elts)], ast.Load())
            decorator.keywords = []
    return decorator


def _claims(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.Assert | ast.Expr | ast.With):
            yield node
        for field in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _claims(getattr(node, field, []))


def _is_recorded(claim: ast.stmt) -> bool:
    """Return whether a variant can record what a claim looks at."""
    return _actual(claim) is not None or (isinstance(claim, ast.With) and _exceptions(claim) is not None)


def _exceptions(block: ast.With) -> ast.expr | None:
    """Return the exceptions that a block has to raise, where nothing else is said of them; None for any other block."""
    found = exceptions_of(block.items[0])
    return found if len(block.items) == 1 and block.items[0].optional_vars is None else None


def _actual(claim: ast.stmt) -> tuple[ast.expr, bool] | None:
    """Return what a claim looks at, and whether its value is claimed rather than its truth; None for no claim."""
    if isinstance(claim, ast.Assert):
        test = claim.test
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            return (test.comparators[0] if constants_of(test.left) else test.left), True
        return test, False
    call = claim.value if isinstance(claim, ast.Expr) else None
    if isinstance(call, ast.Call) and called(claim) in EQUALITIES and len(call.args) >= 2:
        return call.args[1 if constants_of(call.args[0]) else 0], True
    if isinstance(call, ast.Call) and called(claim) in ("assertTrue", "assertFalse") and call.args:
        return call.args[0], False
    return None


def _inputs(function: Function) -> list[ast.Constant]:
    """Return the constants of a function that are no expected values, in the order in which they stand."""
    left_out, expected = _expectations(function)
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        left_out.add(id(first.value))
    places: list[ast.AST] = [row for one in function.decorator_list for row in _rows(one, expected)] + [*function.body]
    found: list[ast.Constant] = []
    for node in (node for place in places for node in ast.walk(place)):
        no_input: ast.AST | None = None
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.keyword) and node.arg in ("match", "msg")):
            no_input = node
        elif isinstance(node, ast.Assert):
            no_input = node.msg
        if no_input is not None:
            left_out |= {id(part) for part in ast.walk(no_input)}
        if isinstance(node, ast.Constant) and id(node) not in left_out and _is_input(node.value):
            found.append(node)
    return found


def _expectations(function: Function) -> tuple[set[int], set[str]]:
    """Return the parts of a function that are expected values, and the variables among them."""
    parts: list[ast.AST] = []
    for claim in _claims(function.body):
        found = _actual(claim)
        if found is None or not found[1]:
            continue
        parts += [part for side in _sides(claim) if side is not found[0] for part in ast.walk(side)]
    return {id(part) for part in parts}, {part.id for part in parts if isinstance(part, ast.Name)}


def _is_input(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return 0 < len(value) <= MAX_TEXT
    return type(value) in (int, float)


def _other_input(old: Any, rng: random.Random) -> Any:
    """Return another value of the same type, of one that `_is_input` takes."""
    if isinstance(old, str):
        return other_text(old, rng)
    if isinstance(old, bytes):
        return other_text(old.decode("latin-1"), rng).encode("latin-1")
    return old + rng.choice([-3, -2, -1, 1, 2, 3, 7, 10])


def _rows(decorator: ast.expr, expected: set[str]) -> Iterator[ast.expr]:
    """Yield the parameters of a decorator's only row, but for those that are expected values."""
    if not (isinstance(decorator, ast.Call) and len(decorator.args) > 1 and isinstance(decorator.args[1], ast.List)):
        return
    names = decorator.args[0]
    if isinstance(names, ast.Constant):
        columns = [name.strip() for name in str(names.value).split(",")]
    else:
        columns = [str(one.value) for one in getattr(names, "elts", []) if isinstance(one, ast.Constant)]
    for row in decorator.args[1].elts:
        cells = row.elts if len(columns) > 1 and isinstance(row, ast.Tuple | ast.List) else [row]
        if len(cells) == len(columns):
            yield from (cell for cell, column in zip(cells, columns, strict=True) if column not in expected)


class _Recording(ast.NodeTransformer):
    """Puts calls that record what claims look at in their place.

    Args:
        places: Identity of each claim -> its number.
        with_expected: Whether what they expect is recorded, too.
    """

    def __init__(self, places: dict[int, int], with_expected: bool) -> None:
        self._places, self._with_expected = places, with_expected

    def visit_Assert(self, node: ast.Assert) -> Any:
        """Return what stands in the place of an assertion."""
        return self._recorded(node) if id(node) in self._places else node

    def visit_Expr(self, node: ast.Expr) -> Any:
        """Return what stands in the place of a call."""
        return self._recorded(node) if id(node) in self._places else node

    def visit_With(self, node: ast.With) -> Any:
        """Return what stands in the place of a block, such as one that has to raise an exception."""
        place = self._places.get(id(node))
        self.generic_visit(node)
        exceptions = _exceptions(node)
        if place is None or exceptions is None:
            return node
        raised = ast.ExceptHandler(exceptions, None, [self._record(place, ast.Constant(True))])
        block = ast.Try([*node.body, self._record(place, ast.Constant(False))], [raised], [], [])
        return [*self._expectation(node, place), block]

    def _recorded(self, claim: ast.Assert | ast.Expr) -> list[ast.stmt]:
        found = _actual(claim)
        assert found is not None
        actual, is_value = found
        place = self._places[id(claim)]
        seen = self._record(place, actual if is_value else ast.Call(ast.Name("bool", ast.Load()), [actual], []))
        return [*self._expectation(claim, place), seen]

    def _expectation(self, claim: ast.stmt, place: int) -> list[ast.stmt]:
        return [self._record(EXPECTED + place, _expected(claim))] if self._with_expected else []

    @staticmethod
    def _record(place: int, value: ast.expr) -> ast.stmt:
        return ast.Expr(ast.Call(ast.Name(RECORD, ast.Load()), [ast.Constant(place), value], []))


def _sides(claim: ast.stmt) -> list[ast.expr]:
    """Return the sides of a claim, as of a comparison."""
    if isinstance(claim, ast.Assert):
        return [claim.test.left, *claim.test.comparators] if isinstance(claim.test, ast.Compare) else []
    call = claim.value if isinstance(claim, ast.Expr) else None
    return call.args if isinstance(call, ast.Call) else []


def _expected(claim: ast.stmt) -> ast.expr:
    """Return what a claim expects of the value that is recorded."""
    found = _actual(claim)
    if found is not None and found[1]:
        return next(side for side in _sides(claim)[:2] if side is not found[0])
    return ast.Constant(called(claim) != "assertFalse")


def recorded_values(message: str) -> dict[int, str]:
    """Return what the plain runner says that a test recorded: number of a claim -> value as Python writes it."""
    try:
        values = json.loads(message)["values"]
        return {int(place): text for place, text in values.items() if isinstance(text, str)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def is_same(known: str, given: str) -> bool:
    """Return whether a value that a repair gave is the known one, both as `recorded_values` returns them."""
    if known == given or known.startswith(REPR) or given.startswith(REPR):
        return known == given
    try:
        return _is_close(ast.literal_eval(known), ast.literal_eval(given))
    except _NO_LITERAL:
        return False


def _is_close(value: Any, other: Any) -> bool:
    """Return whether two values are equal, numbers with a point to `DIGITS` digits."""
    if isinstance(value, float) and isinstance(other, int | float):  # another right repair may add in another order
        digits = DIGITS - (math.frexp(value)[1] * 3) // 10
        return round(value, digits) == round(other, digits)
    if isinstance(value, list | tuple) and isinstance(other, type(value)):
        return len(value) == len(other) and all(map(_is_close, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_is_close(value[key], other[key]) for key in value)
    return bool(value == other)


def is_new(text: str, *known: str) -> bool:
    """Return whether a recorded value is none of some known ones; of lists, whether an item of it is none of theirs.

    A boolean never is: there are two of them to guess from.
    """
    if text in ("True", "False") or any(is_same(one, text) for one in known):
        return False
    try:
        value, *others = (ast.literal_eval(one) for one in (text, *known))
    except _NO_LITERAL:
        return True
    if not all(isinstance(one, list) and len(one) == len(value) for one in (value, *others)):
        return True
    return any(
        not isinstance(item, bool) and not any(_is_close(other, item) for other in items)
        for item, *items in zip(value, *others, strict=True)
    )


def is_comparable(text: str) -> bool:
    """Return whether a recorded value can be compared."""
    if text.startswith(REPR):
        return "." not in text and " at 0x" not in text
    try:
        ast.literal_eval(text)
    except _NO_LITERAL:
        return False
    return True
