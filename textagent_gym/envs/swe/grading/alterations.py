"""Altered copies of tests: what a test expects is changed, so that a right repair must fail it.

Code that makes every test pass passes these, too. Each copy holds two values side by side and takes one of them, as in
`assert add(2, 3) == [7, 5][1]`: the faithful copy the expected one, the others another. Which copy is which, and in what
order the values stand, is drawn by lot when a repair is graded, and each value stands in as many copies as any other. So
neither its name nor what it holds tells a copy, and none equals the test that it was made from: who wants to tell them has
to know what the test expects. The values that may stand in a place are a block, such as 12 to 17 for 14: from any of its
values the same block follows, so that the set does not tell which one the test's own is.
"""

from __future__ import annotations

import ast
import copy
import functools
import math
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from textagent_gym.envs.swe.repo.text import python_lines

MAX_ALTERATIONS = 8
"""Changes of a test function among which lots are drawn, at most."""

MAX_VALUES = 5
"""Other values of one place, at most."""

_PAIRS = (
    ("assertEqual", "assertNotEqual"), ("assertTrue", "assertFalse"), ("assertIs", "assertIsNot"),
    ("assertIsNone", "assertIsNotNone"), ("assertIn", "assertNotIn"), ("assertIsInstance", "assertNotIsInstance"),
    ("assertGreater", "assertLessEqual"), ("assertLess", "assertGreaterEqual"), ("assertRegex", "assertNotRegex"),
)  # fmt: skip
_OPPOSITES = {name: other for pair in _PAIRS for name, other in (pair, pair[::-1])}

EQUALITIES = {"assertEqual", "assertEquals", "assertListEqual", "assertDictEqual", "assertTupleEqual", "assertSetEqual",
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
        taken: The change that is made, by its number; None for a faithful copy.
        other: The change of the same place with the other value of the pair, or None for the test's own value.
        variant: Text of a variant of the function that stands in its place; "" for the function itself.
    """

    name: str
    taken: int | None
    other: int | None
    variant: str = ""


def functions_of(source: str, name: str) -> tuple[str, ...]:
    """Return the functions of a file that stand behind a test's name: of a class's own, or those it may inherit.

    Args:
        source: The test file.
        name: "function" or "Class::function".
    """
    found = _functions(source)
    last = name.rpartition("::")[2]
    return (name,) if name in found else tuple(other for other in found if other.rpartition("::")[2] == last)


def places(source: str, name: str) -> tuple[int, ...]:
    """Return for each change of the function behind a test's name the number of its place; `MAX_ALTERATIONS` at most.

    The last change is a claim of its own, which makes any function fail.
    """
    found = _functions(source)
    of_each = [[site.number for site, _ in _alterations(found[function])] for function in functions_of(source, name)]
    fewest: list[int] = min(of_each, key=len, default=[])
    return tuple(fewest)


def with_copies(source: str, copies: Mapping[str, Sequence[Copy]], lots: random.Random) -> str | None:
    """Return a test file in which each function of some has copies in its place.

    Args:
        source: The test file.
        copies: Name of a test -> its copies, in the order in which they stand.
        lots: Order of values that stand side by side; it changes no test's outcome.

    Returns:
        The file, or None where it has no functions.
    """
    functions = _functions(source)
    if not functions:
        return None
    wanted: dict[str, list[Copy]] = {}
    for name, made in copies.items():
        for function in functions_of(source, name):
            wanted.setdefault(function, []).extend(made)
    lines = python_lines(source)
    spans: list[tuple[int, int, list[str]]] = []
    for function, made in wanted.items():
        node = functions[function]
        start = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
        indent = lines[start][: node.col_offset]
        texts = []
        for one in made:
            swapped = lots.random() < 0.5
            text = _text_of(source, function, one._replace(name=_PLACEHOLDER), indent, swapped)
            texts.append(text.replace(_PLACEHOLDER, one.name))
        spans.append((start, node.end_lineno or node.lineno, texts))
    for start, end, texts in sorted(spans, key=lambda span: span[0], reverse=True):
        lines[start:end] = texts
    return "".join(lines)


_PLACEHOLDER = "test_to_be_named"


@functools.lru_cache(maxsize=8192)
def _text_of(source: str, function: str, made: Copy, indent: str, swapped: bool) -> str:
    """Return the text of a copy; writing it takes a while, and the same ones are drawn again."""
    return _indented(_copied(_functions(source)[function], made, swapped), indent)


def _indented(function: Function, indent: str) -> str:
    """Return the text of a function that stands in a block which is indented by `indent`."""
    if not indent:
        return ast.unparse(function) + "\n"
    # Lines within strings must stay as they are, so that what is around the function is written, too, and left out again.
    levels = len(indent.expandtabs()) // 4 + 1
    block: ast.stmt = function
    for _ in range(levels):
        block = ast.If(ast.Constant(True), [block], [])
    return f"{indent}if True:\n" + "".join(python_lines(ast.unparse(block) + "\n")[levels:])


Function = ast.FunctionDef | ast.AsyncFunctionDef


def function_named(source: str, name: str) -> Function:
    """Return a function of a file, not to be changed."""
    return _functions(source)[name]


@functools.lru_cache(maxsize=1024)
def _functions(source: str) -> dict[str, Function]:
    """Return the functions of a file by name; none where it has no syntax."""
    found: dict[str, Function] = {}

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, Function):
                found[prefix + node.name] = node
            elif isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.If | ast.Try | ast.With):
                walk(node.body, prefix)

    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return {}
    walk(tree.body, "")
    return found


def _copied(node: Function, made: Copy, swapped: bool) -> Function:
    """Return a copy of a function, which shares with it what is not changed."""
    if made.variant:
        node = _functions(made.variant)[node.name]
    chosen = made.other if made.taken is None else made.taken
    new = copy.copy(node)
    if chosen is not None:
        alterations = _alterations(node)
        site = alterations[chosen][0]
        # Which of the two values of a site stands where: 0 for the test's own.
        pair = [0 if one is None else 1 + alterations[one][1] for one in (made.taken, made.other)]
        rng = random.Random(f"{node.name} {site.number}")  # noqa: S311 (the same changes at each call)
        choose = _Choice(pair, swapped)
        owner = _contradicted(site.owner, rng, choose) if site.value is None else _with_other_value(site, rng, choose)
        new = owner if site.owner is node else _replaced(new, site.owner, owner)
    new.name = made.name
    return new


class _Choice:
    """An expression that takes one of two, of all that could stand in a place.

    Args:
        pair: Numbers of the value that is taken, and of the other one.
        swapped: Whether what is taken stands second.
    """

    def __init__(self, pair: Sequence[int], swapped: bool) -> None:
        self._pair, self._swapped = pair, swapped

    def __call__(self, *options: ast.expr) -> ast.expr:
        both = [options[number] for number in self._pair]
        if self._swapped:
            both.reverse()
        return ast.Subscript(ast.List(both, ast.Load()), ast.Constant(int(self._swapped)), ast.Load())


class _Site(NamedTuple):
    """A place that can be changed: of a value what is expected, of a claim its sense.

    Attributes:
        number: Its number among the places of the function.
        owner: The statement, or the function itself.
        value: The expected value; None for a claim.
    """

    number: int
    owner: ast.AST
    value: ast.expr | None


def _ends_before_or_begins_after(node: Any, other: Any) -> bool:
    """Return whether a node has no line of another one; one that was made here has no lines."""
    first = getattr(node, "lineno", None)
    return first is not None and not first <= other.lineno <= node.end_lineno


def _replaced(node: Any, old: Any, new: ast.AST) -> Any:
    """Return a node, or a list of nodes, with `new` in the place of `old`; what has no part of it is shared."""
    if node is old:
        return new
    if isinstance(node, list):
        parts = [_replaced(part, old, new) for part in node]
        return parts if any(part is not known for part, known in zip(parts, node, strict=True)) else node
    if not isinstance(node, ast.AST) or _ends_before_or_begins_after(node, old):
        return node
    changed = {name: _replaced(part, old, new) for name, part in ast.iter_fields(node)}
    if all(part is getattr(node, name) for name, part in changed.items()):
        return node
    other = copy.copy(node)
    for name, part in changed.items():
        setattr(other, name, part)
    return other


@functools.lru_cache(maxsize=4096)
def _alterations(function: Function) -> list[tuple[_Site, int]]:
    """Return what can be changed in a function, as places and numbers of a change of each; values come first."""
    values: list[tuple[ast.stmt, ast.expr]] = []
    claims: list[ast.stmt] = []

    def walk(body: list[ast.stmt]) -> None:
        for node in body:
            values.extend((node, value) for value in _expected(node) if constants_of(value))
            if _can_contradict(node):
                claims.append(node)
            if isinstance(node, ast.For | ast.While | ast.With | ast.AsyncFor | ast.AsyncWith):
                walk(node.body)

    walk(function.body)
    each = max(1, min(MAX_VALUES, (MAX_ALTERATIONS - 1) // max(len(values), 1)))
    found: list[tuple[_Site, int]] = []
    for number, (owner, value) in enumerate(values):
        only_one = all(isinstance(one.value, bool | None) for one in constants_of(value))
        found += [(_Site(number, owner, value), change) for change in range(1 if only_one else each)]
    found += [(_Site(len(values) + number, claim, None), 0) for number, claim in enumerate(claims)]
    return [*found[: MAX_ALTERATIONS - 1], (_Site(-1, function, None), 0)]


def _expected(node: ast.stmt) -> list[ast.expr]:
    """Return the sides of an equality that a statement claims."""
    if isinstance(node, ast.Assert):
        test = node.test
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            return [test.comparators[0], test.left]
    name = called(node)
    if name in EQUALITIES and isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return node.value.args[1::-1]
    return []


def called(node: ast.stmt) -> str:
    """Return the method of `self` that a statement calls, such as "assertEqual"; "" where it does not."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            return function.attr
    return ""


def constants_of(value: ast.expr) -> list[ast.Constant]:
    """Return the constants of an expression that holds nothing but constants; none of any other."""
    if isinstance(value, ast.Constant):
        return [value] if isinstance(value.value, bool | int | float | str | bytes | None) else []
    if isinstance(value, ast.UnaryOp):
        return constants_of(value.operand)
    parts: list[ast.expr | None] = []
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        parts = [*value.elts]
    elif isinstance(value, ast.Dict):
        parts = [*value.keys, *value.values]
    found = [constants_of(part) if part is not None else [] for part in parts]
    return [one for some in found for one in some] if all(found) else []


def _with_other_value(site: _Site, rng: random.Random, choose: _Choice) -> Any:
    """Return the statement of a site with two of a constant and its other values in the constant's place."""
    assert site.value is not None
    constants = constants_of(site.value)
    place = rng.choice([one for one in constants if not isinstance(one.value, bool | None)] or constants)
    options = [place.value, *(one for one in block_of(place.value, rng) if repr(one) != repr(place.value))]
    # Where there are fewer, as of a truth value, the last one stands for those that are missing.
    expressions = [ast.Constant(value) for value in options]
    expressions += expressions[-1:] * (1 + MAX_VALUES - len(expressions))
    return _replaced(site.owner, place, choose(*expressions))


_LETTERS = (
    "etaoin",
    "shrdlu",
    "cmfwyp",
    "vbgkjx",
    "qz",
    "01234",
    "56789",
    " .,:;!",
    "-_+*/=",
    "()[]{}",
    "<>|&%@",
    "\"'`#$?",
)
"""Characters that stand for each other: of letters those that are about as frequent in English texts."""


def block_of(old: Any, rng: random.Random) -> list[Any]:
    """Return at most six values, this one among them, from each of which the same ones follow with the same lots.

    Texts differ in one character, numbers in their last digits. Of a text without a character that has others to stand for
    it, and of None, the block is not the same from each.
    """
    if isinstance(old, bool):
        return [False, True]
    size = 1 + MAX_VALUES
    if isinstance(old, int):
        return [old // size * size + number for number in range(size)]
    if isinstance(old, float) and math.isfinite(old):
        shown = Decimal(repr(old)).normalize()
        exponent = shown.as_tuple().exponent
        unit = Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0)
        return [float(number * unit) for number in block_of(int(shown / unit), rng)]
    if isinstance(old, str):
        return _texts(old, rng)
    if isinstance(old, bytes):
        return [text.encode("latin-1") for text in _texts(old.decode("latin-1"), rng)]
    return [old, *(one for one in (0, 1, 2) if one != old)]


def _texts(old: str, rng: random.Random) -> list[str]:
    """Return texts that differ from each other in one character."""
    group_at = {place: group for place, letter in enumerate(old) for group in _LETTERS if letter.lower() in group}
    words = {place: group for place, group in group_at.items() if group[0].isalnum()} or group_at
    if not words:
        return [old, *(other_text(old, rng) for _ in range(MAX_VALUES))]
    place = rng.choice(sorted(words))
    letters = words[place].upper() if old[place].isupper() else words[place]
    return [old[:place] + letter + old[place + 1 :] for letter in letters]


def other_text(text: str, rng: random.Random) -> str:
    """Return a text in which one character is another one."""
    at = rng.randrange(len(text)) if text else 0
    letters = [
        letter for letter in "abcdefghijklmnopqrstuvwxyz0123456789" if letter.lower() != text[at : at + 1].lower()
    ]
    return text[:at] + rng.choice(letters) + text[at + 1 :]


def _can_contradict(node: ast.stmt) -> bool:
    if isinstance(node, ast.With):
        return any(_raised(item) is not None for item in node.items)
    return isinstance(node, ast.Assert) or called(node) in _OPPOSITES


def _raised(item: ast.withitem) -> ast.Call | None:
    """Return the call of `pytest.raises(X)` or `self.assertWarns(X)` of a with statement."""
    call = item.context_expr
    if not isinstance(call, ast.Call) or not call.args:
        return None
    return call if _method(call) in (*_RAISES, "warns", "assertWarns") else None


def exceptions_of(item: ast.withitem) -> ast.expr | None:
    """Return the exceptions that a with statement has to raise; None where it has to raise none."""
    call = _raised(item)
    return call.args[0] if call is not None and _method(call) in _RAISES else None


_RAISES = ("raises", "assertRaises", "assertRaisesRegex")


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _contradicted(node: Any, rng: random.Random, choose: _Choice) -> Any:
    """Return a claim and its opposite, side by side."""
    yes_or_no = choose(ast.Constant(True), ast.Constant(False))
    new = copy.copy(node)
    if isinstance(node, ast.Assert):
        claim = ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), node.test))
        new.test = ast.Compare(claim, [ast.Is()], [yes_or_no])
    elif isinstance(node, ast.With):
        for call in filter(None, map(_raised, node.items)):
            raised = choose(call.args[0], ast.Name(rng.choice(_EXCEPTIONS), ast.Load()))
            new = _replaced(new, call.args[0], raised)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        method = node.value.func
        opposite = ast.Attribute(method.value, _OPPOSITES[method.attr], ast.Load())
        new = _replaced(new, method, choose(method, opposite))
    elif isinstance(node, Function):
        new.body = [*node.body, ast.Assert(yes_or_no)]
    return new
