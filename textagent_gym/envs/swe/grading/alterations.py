"""Altered copies of tests: what a test expects is changed, so that a right repair must fail it.

Code that makes every test pass passes these, too. To tell an altered copy from a faithful one it has to know what the
test expects, since nothing else differs: both get names by lot, and which is which is drawn when a repair is graded.
"""

from __future__ import annotations

import ast
import copy
import functools
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

MAX_ALTERATIONS = 8
"""Changes of a test function among which lots are drawn, at most."""

_FLIPS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.Is: ast.IsNot, ast.In: ast.NotIn, ast.Lt: ast.GtE, ast.Gt: ast.LtE,
    ast.NotEq: ast.Eq, ast.IsNot: ast.Is, ast.NotIn: ast.In, ast.GtE: ast.Lt, ast.LtE: ast.Gt,
}  # fmt: skip

_PAIRS = (
    ("assertEqual", "assertNotEqual"), ("assertTrue", "assertFalse"), ("assertIs", "assertIsNot"),
    ("assertIsNone", "assertIsNotNone"), ("assertIn", "assertNotIn"), ("assertIsInstance", "assertNotIsInstance"),
    ("assertGreater", "assertLessEqual"), ("assertLess", "assertGreaterEqual"), ("assertRegex", "assertNotRegex"),
)  # fmt: skip
_OPPOSITES = {name: other for pair in _PAIRS for name, other in (pair, pair[::-1])}

_EQUALITIES = {"assertEqual", "assertEquals", "assertListEqual", "assertDictEqual", "assertTupleEqual", "assertSetEqual",
    "assertMultiLineEqual", "assertSequenceEqual"}  # fmt: skip

_EXCEPTIONS = (
    "BufferError",
    "EOFError",
    "FloatingPointError",
    "BlockingIOError",
    "ZeroDivisionError",
    "ChildProcessError",
)


class Copy(NamedTuple):
    """One copy of a test function.

    Attributes:
        name: Its name, which begins with "test".
        alteration: The change that is made, by its number; None for a faithful copy.
    """

    name: str
    alteration: int | None


def functions_of(source: str, name: str) -> tuple[str, ...]:
    """Return the functions of a file that stand behind a test's name: of a class's own, or those it may inherit.

    Args:
        source: The test file.
        name: "function" or "Class::function".
    """
    found = _functions(source)
    last = name.rpartition("::")[2]
    return (name,) if name in found else tuple(other for other in found if other.rpartition("::")[2] == last)


def num_alterations(source: str, name: str) -> int:
    """Return in how many ways the function behind a test's name can be changed, `MAX_ALTERATIONS` at most."""
    found = _functions(source)
    return min((len(_alterations(found[function])) for function in functions_of(source, name)), default=0)


def with_copies(source: str, copies: Mapping[str, Sequence[Copy]]) -> str | None:
    """Return a test file in which each function of some has copies in its place.

    Args:
        source: The test file.
        copies: Name of a test -> its copies, in the order in which they stand.

    Returns:
        The file, or None where it has no syntax.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    wanted = {function: made for name, made in copies.items() for function in functions_of(source, name)}
    pool = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]

    def rewrite(body: list[ast.stmt], prefix: str) -> list[ast.stmt]:
        written: list[ast.stmt] = []
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and prefix + node.name in wanted:
                written += [_copied(node, made, pool) for made in wanted[prefix + node.name]]
                continue
            if isinstance(node, ast.ClassDef):
                node.body = rewrite(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.If | ast.Try | ast.With):
                node.body = rewrite(node.body, prefix)
            written.append(node)
        return written

    tree.body = rewrite(tree.body, "")
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


_Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.lru_cache(maxsize=512)
def _functions(source: str) -> dict[str, _Function]:
    found: dict[str, _Function] = {}

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, _Function):
                found[prefix + node.name] = node
            elif isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.If | ast.Try | ast.With):
                walk(node.body, prefix)

    try:
        walk(ast.parse(source).body, "")
    except (SyntaxError, ValueError):
        return {}
    return found


def _copied(node: _Function, made: Copy, pool: Sequence[ast.Constant]) -> _Function:
    new = copy.deepcopy(node)
    new.name = made.name
    if made.alteration is not None:
        rng = random.Random(f"{node.name} {made.alteration}")  # noqa: S311 (the same change at each call)
        _alterations(new)[made.alteration].change(pool, rng)
    return new


class _Site(NamedTuple):
    """A place that can be changed: of a value what is expected, of a claim its sense."""

    owner: ast.AST
    value: ast.expr | None

    def change(self, pool: Sequence[ast.Constant], rng: random.Random) -> None:
        if self.value is not None:
            _change_value(self.value, pool, rng)
        else:
            _contradict(self.owner, rng)


def _alterations(function: _Function) -> list[_Site]:
    """Return what can be changed in a function, values first, each a few times; the last makes any function fail."""
    values: list[_Site] = []
    claims: list[_Site] = []

    def walk(body: list[ast.stmt]) -> None:
        for node in body:
            values.extend(_Site(node, value) for value in _expected(node) if _constants(value))
            if _can_contradict(node):
                claims.append(_Site(node, None))
            if isinstance(node, ast.For | ast.While | ast.With | ast.AsyncFor | ast.AsyncWith):
                walk(node.body)

    walk(function.body)
    again = values * min(3, MAX_ALTERATIONS // max(len(values), 1))
    return [*[*(again or values), *claims][: MAX_ALTERATIONS - 1], _Site(function, None)]


def _expected(node: ast.stmt) -> list[ast.expr]:
    """Return the sides of an equality that a statement claims."""
    if isinstance(node, ast.Assert):
        test = node.test
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            return [test.comparators[0], test.left]
    name = _called(node)
    if name in _EQUALITIES and isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return node.value.args[1::-1]
    return []


def _called(node: ast.stmt) -> str:
    """Return the method of `self` that a statement calls, such as "assertEqual"; "" where it does not."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            return function.attr
    return ""


def _constants(value: ast.expr) -> list[ast.Constant]:
    """Return the constants of an expression that holds nothing but constants; none of any other."""
    if isinstance(value, ast.Constant):
        return [value] if isinstance(value.value, bool | int | float | str | bytes | None) else []
    if isinstance(value, ast.UnaryOp):
        return _constants(value.operand)
    parts: list[ast.expr | None] = []
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        parts = [*value.elts]
    elif isinstance(value, ast.Dict):
        parts = [*value.keys, *value.values]
    found = [_constants(part) if part is not None else [] for part in parts]
    return [one for some in found for one in some] if all(found) else []


def _change_value(value: ast.expr, pool: Sequence[ast.Constant], rng: random.Random) -> None:
    """Change one constant; to one of the same type that stands elsewhere in the file, if lots say so."""
    place = rng.choice(_constants(value))
    old = place.value
    others = {repr(one.value): one.value for one in pool if type(one.value) is type(old) and one.value != old}
    if others and not isinstance(old, bool) and rng.random() < 0.5:
        place.value = others[rng.choice(sorted(others))]
    elif isinstance(old, bool):
        place.value = not old
    elif isinstance(old, int | float):
        place.value = old + rng.choice([-3, -2, -1, 1, 2, 3, 7, 10])
    elif isinstance(old, str):
        place.value = _other_text(old, rng)
    elif isinstance(old, bytes):
        place.value = _other_text(old.decode("latin-1"), rng).encode("latin-1")
    else:
        place.value = rng.choice([0, 1, 2])
    place.kind = None


def _other_text(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text)) if text else 0
    letters = [
        letter for letter in "abcdefghijklmnopqrstuvwxyz0123456789" if letter.lower() != text[at : at + 1].lower()
    ]
    return text[:at] + rng.choice(letters) + text[at + 1 :]


def _can_contradict(node: ast.stmt) -> bool:
    if isinstance(node, ast.With):
        return any(_raised(item) is not None for item in node.items)
    return isinstance(node, ast.Assert) or _called(node) in _OPPOSITES


def _raised(item: ast.withitem) -> ast.Call | None:
    """Return the call of `pytest.raises(X)` or `self.assertRaises(X)` of a with statement."""
    call = item.context_expr
    if not isinstance(call, ast.Call) or not call.args:
        return None
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return call if name in ("raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns") else None


def _contradict(node: ast.AST, rng: random.Random) -> None:
    if isinstance(node, ast.Assert):
        test = node.test
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            test.ops = [_FLIPS[type(test.ops[0])]()]
        elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            node.test = test.operand
        else:
            node.test = ast.UnaryOp(ast.Not(), test)
    elif isinstance(node, ast.With):
        for call in filter(None, map(_raised, node.items)):
            call.args[0] = ast.Name(rng.choice(_EXCEPTIONS), ast.Load())
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        node.value.func.attr = _OPPOSITES[node.value.func.attr]
    elif isinstance(node, _Function):
        low, high = sorted(rng.sample(range(100), 2))
        node.body.append(ast.Assert(ast.Compare(ast.Constant(high), [ast.Eq()], [ast.Constant(low)])))
