"""Mutation operators: for a node of a syntax tree the changes that make a bug of it, as spans of bytes with replacements.

Each operator looks at the text around the nodes that it cuts, so that parentheses, comments and line continuations are left
alone and the result parses.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple, TypeGuard

from textagent_gym.envs.swe.repo.source import Source

COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">"),
    ast.LtE: ("<", ">="),
    ast.Gt: (">=", "<"),
    ast.GtE: (">", "<="),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "+",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "//",
    ast.LShift: ">>",
    ast.RShift: "<<",
}
BITWISE: dict[type[ast.operator], str] = {ast.BitAnd: "|", ast.BitOr: "&", ast.BitXor: "|"}

_PAIRS = (
    ("startswith", "endswith"), ("lstrip", "rstrip"), ("find", "rfind"), ("index", "rindex"), ("split", "rsplit"),
    ("partition", "rpartition"), ("upper", "lower"), ("floor", "ceil"), ("keys", "values"), ("append", "extend"),
)  # fmt: skip
METHODS: dict[str, str] = {
    **dict(_PAIRS),
    **{other: one for one, other in _PAIRS},
    "strip": "lstrip",
    "items": "keys",
    "isdigit": "isalnum",
    "update": "setdefault",
}
"""Name of a method -> one that is easily taken for it."""

BUILTINS: dict[str, str] = {
    "min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "round": "int",
}  # fmt: skip
"""Name of a function -> one that is easily taken for it."""

EXCEPTIONS: dict[str, str] = {
    "ValueError": "TypeError",
    "TypeError": "ValueError",
    "KeyError": "IndexError",
    "IndexError": "KeyError",
    "AttributeError": "KeyError",
    "OSError": "ValueError",
    "RuntimeError": "ValueError",
    "NotImplementedError": "ValueError",
    "StopIteration": "IndexError",
    "LookupError": "ValueError",
    "OverflowError": "ValueError",
    "ZeroDivisionError": "ValueError",
    "UnicodeDecodeError": "LookupError",
}
"""Name of an exception -> one that is easily taken for it; of another "...Error" it is ValueError."""

KINDS = (
    "comparison",
    "boolean operator",
    "dropped condition",
    "arithmetic operator",
    "constant",
    "boolean constant",
    "negated condition",
    "swapped arguments",
    "deleted statement",
    "returned None",
    "deleted exception",
    "off by one",
    "string constant",
    "wrong default",
    "wrong call",
    "exception type",
    "missed return",
    "missed await",
    "loop control",
    "removed guard",
    "removed branch",
    "moved statement",
)
"""Kinds of mutation, in words that a hint may use."""

MAX_REMOVED_LINES = 8
"""Most lines that a removal takes away."""

_LEAVES = ast.Return | ast.Raise | ast.Continue | ast.Break


class Change(NamedTuple):
    """Bytes from `start` to before `end`, replaced: a mutation of a kind."""

    start: int
    end: int
    replacement: str
    kind: str


def _comparison(source: Source, node: ast.Compare) -> Iterator[Change]:
    if len(node.ops) == 1:
        for other in COMPARISONS[type(node.ops[0])]:
            if found := source.between(node.left, node.comparators[0], other):
                yield Change(*found, "comparison")


def _condition(source: Source, node: ast.BoolOp) -> Iterator[Change]:
    if len(node.values) != 2:
        return
    left, right = node.values
    if found := source.between(left, right, "or" if isinstance(node.op, ast.And) else "and"):
        yield Change(*found, "boolean operator")
    if node.lineno == node.end_lineno:
        yield Change(*source.span(node), source.text(left), "dropped condition")
        yield Change(*source.span(node), source.text(right), "dropped condition")


def _arithmetic(source: Source, node: ast.BinOp) -> Iterator[Change]:
    if type(node.op) in ARITHMETIC and (found := source.between(node.left, node.right, ARITHMETIC[type(node.op)])):
        yield Change(*found, "arithmetic operator")


def _number(source: Source, node: ast.Constant) -> Iterator[Change]:
    if isinstance(node.value, bool):
        yield Change(*source.span(node), str(not node.value), "boolean constant")
    elif isinstance(node.value, int) and abs(node.value) < 10**6:
        for value in (node.value + 1, node.value - 1):
            yield Change(*source.span(node), str(value) if value >= 0 else f"({value})", "constant")


def _test(source: Source, node: ast.If | ast.IfExp) -> Iterator[Change]:
    if node.test.lineno == node.test.end_lineno:
        yield Change(*source.span(node.test), f"not ({source.text(node.test)})", "negated condition")


def _first_arguments(source: Source, node: ast.Call) -> Iterator[Change]:
    if len(node.args) < 2 or any(isinstance(argument, ast.Starred) for argument in node.args[:2]):
        return
    first, second = node.args[:2]
    if first.lineno == second.end_lineno:
        start, end = source.span(first)[0], source.span(second)[1]
        yield Change(start, end, f"{source.text(second)}, {source.text(first)}", "swapped arguments")


def _deletion(source: Source, node: ast.stmt) -> Iterator[Change]:
    if node.lineno != node.end_lineno:
        return
    start, end = source.span(node)
    if isinstance(node, ast.Raise):
        yield Change(start, end, "pass", "deleted exception")
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield Change(start, end, "return None", "returned None")
    elif isinstance(node, ast.AugAssign) or _is_call(node):
        yield Change(start, end, "pass", "deleted statement")


def _bitwise(source: Source, node: ast.BinOp) -> Iterator[Change]:
    if type(node.op) in BITWISE and (found := source.between(node.left, node.right, BITWISE[type(node.op)])):
        yield Change(*found, "arithmetic operator")


def _assigned(source: Source, node: ast.AugAssign) -> Iterator[Change]:
    other = {**ARITHMETIC, **BITWISE}.get(type(node.op))
    if other and (found := source.between(node.target, node.value, f"{other}=")):
        yield Change(*found, "arithmetic operator")


def _unary(source: Source, node: ast.UnaryOp) -> Iterator[Change]:
    if isinstance(node.op, ast.Not):
        yield from _prefix(source, node, node.operand, "not", "negated condition")
    elif isinstance(node.op, ast.USub):
        yield from _prefix(source, node, node.operand, "-", "arithmetic operator")


def _await(source: Source, node: ast.Await) -> Iterator[Change]:
    yield from _prefix(source, node, node.value, "await", "missed await")


def _return(source: Source, node: ast.Return) -> Iterator[Change]:
    if isinstance(node.value, ast.Call | ast.Await):
        yield from _prefix(source, node, node.value, "return", "missed return")


def _conditions(source: Source, node: ast.BoolOp) -> Iterator[Change]:
    if len(node.values) > 2:
        for before, condition in pairwise(node.values):
            operator = "and" if isinstance(node.op, ast.And) else "or"
            yield from _removed(source, before, condition, operator, "dropped condition")


def _filters(source: Source, node: ast.comprehension) -> Iterator[Change]:
    for before, condition in pairwise([node.iter, *node.ifs]):
        yield from _removed(source, before, condition, "if", "dropped condition")


def _constant(source: Source, node: ast.Constant) -> Iterator[Change]:
    start, end = source.span(node)
    if isinstance(node.value, float) and abs(node.value) < 10**6:
        yield Change(start, end, repr(node.value + 1), "constant")
    elif isinstance(node.value, str) and len(node.value) > 1 and "\\" not in node.value:
        text = source.text(node)
        if text[1:-1] == node.value:
            yield Change(start, end, f"{text[:-2]}{text[-1]}", "string constant")


def _slice(source: Source, node: ast.Slice) -> Iterator[Change]:
    yield from _off_by_one(source, node.lower)
    yield from _off_by_one(source, node.upper)


def _bound(source: Source, node: ast.Compare) -> Iterator[Change]:
    if len(node.ops) == 1 and isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
        yield from _off_by_one(source, node.comparators[0])


def _arguments(source: Source, node: ast.Call) -> Iterator[Change]:
    named = [one.value for one in node.keywords if one.arg]
    for one, other in [*pairwise(node.args), *pairwise(named)]:
        if not isinstance(one, ast.Starred) and not isinstance(other, ast.Starred):
            yield _exchanged(source, one, other, "swapped arguments")


def _callee(source: Source, node: ast.Call) -> Iterator[Change]:
    name, names = _name(node.func), BUILTINS if isinstance(node.func, ast.Name) else METHODS
    if name in names:
        end = source.span(node.func)[1]
        yield Change(end - len(name), end, names[name], "wrong call")
    if name == "range" and 1 <= len(node.args) <= 2:
        yield from _off_by_one(source, node.args[-1])
    if name in ("get", "pop", "getattr", "next") and len(node.args) == (3 if name == "getattr" else 2):
        yield from _removed(source, node.args[-2], node.args[-1], ",", "wrong default")


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _defaults(source: Source, node: ast.arguments) -> Iterator[Change]:
    for default in (*node.defaults, *(one for one in node.kw_defaults if one)):
        if _is_none(default):
            yield Change(*source.span(default), "False", "wrong default")
        elif isinstance(default, ast.Name) or (
            isinstance(default, ast.Constant) and not isinstance(default.value, int)
        ):
            yield Change(*source.span(default), "None", "wrong default")


def _raised(source: Source, node: ast.Raise) -> Iterator[Change]:
    yield from _exception(source, node.exc.func if isinstance(node.exc, ast.Call) else node.exc)


def _caught(source: Source, node: ast.ExceptHandler) -> Iterator[Change]:
    for one in node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]:
        yield from _exception(source, one)


def _continue(source: Source, node: ast.Continue) -> Iterator[Change]:
    yield Change(*source.span(node), "break", "loop control")


def _breaks(source: Source, node: ast.For) -> Iterator[Change]:
    for one in ast.walk(node):  # in other loops it might run for ever
        if isinstance(one, ast.Break):
            yield Change(*source.span(one), "continue", "loop control")


def _branch(source: Source, node: ast.If) -> Iterator[Change]:
    """Yield the removal of `else`, or of the next `elif` alone."""
    if node.orelse:
        other = node.orelse[0]
        chained = isinstance(other, ast.If) and source.content.startswith(b"elif", source.span(other)[0])
        last = other.body[-1] if chained and isinstance(other, ast.If) else node.orelse[-1]
        yield from _cut(source, source.lines_after(node.body[-1], last), "removed branch")


def _handlers(source: Source, node: ast.Try) -> Iterator[Change]:
    if len(node.handlers) > 1:
        for last, handler in zip([node.body, *(one.body for one in node.handlers)], node.handlers, strict=False):
            yield from _cut(source, source.lines_after(last[-1], handler), "removed branch")


def _blocks(source: Source, node: ast.AST) -> Iterator[Change]:
    """Yield the changes of statements that depend on their neighbours."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if not isinstance(block, list):
            continue
        for one in block:
            if len(block) > 1 and isinstance(one, ast.If):
                yield from _guard(source, one)
            yield from _out_of(source, one)
        for one, other in pairwise(block):
            yield from _moved(source, one, other)
            yield from _into(source, one, other)


def _guard(source: Source, node: ast.If) -> Iterator[Change]:
    if not node.orelse and source.indent(node) is not None and source.ends_line(node):
        kind = "removed guard" if isinstance(node.body[-1], _LEAVES) else "removed branch"
        yield from _cut(source, (source.lines[node.lineno - 1], source.lines[node.end_lineno or 0]), kind)


def _moved(source: Source, one: ast.stmt, other: ast.stmt) -> Iterator[Change]:
    """Yield two neighbours in the other order, one of which is a call."""
    simple = ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign
    if not (isinstance(one, simple) and isinstance(other, simple) and (_is_call(one) or _is_call(other))):
        return
    if not is_docstring(one) and all(
        source.indent(node) is not None and source.ends_line(node) for node in (one, other)
    ):
        yield _exchanged(source, one, other, "moved statement")


def _into(source: Source, block: ast.stmt, node: ast.stmt) -> Iterator[Change]:
    """Yield a statement moved into the block before it."""
    if _is_simple_block(block) and not isinstance(block.body[-1], _LEAVES):
        yield from _indented(source, node, source.indent(block.body[-1]))


def _out_of(source: Source, block: ast.stmt) -> Iterator[Change]:
    """Yield the last statement of a block moved behind the block."""
    if _is_simple_block(block) and len(block.body) > 1:
        yield from _indented(source, block.body[-1], source.indent(block))


def _indented(source: Source, node: ast.stmt, indent: str | None) -> Iterator[Change]:
    here = source.indent(node)
    is_movable = isinstance(node, ast.Assign | ast.AugAssign | ast.Return) or _is_call(node)
    if indent is None or here is None or not is_movable or node.lineno != node.end_lineno or not source.ends_line(node):
        return
    start = source.span(node)[0]
    yield Change(start - len(here), start, indent, "moved statement")


def _is_simple_block(node: ast.stmt) -> TypeGuard[ast.For | ast.While | ast.If | ast.With]:
    return isinstance(node, ast.For | ast.While | ast.If | ast.With) and not getattr(node, "orelse", ())


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_call(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def is_docstring(node: ast.AST) -> bool:
    """Return whether a statement is a constant alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _exchanged(source: Source, one: ast.expr | ast.stmt, other: ast.expr | ast.stmt, kind: str) -> Change:
    (start, middle), (after, end) = source.span(one), source.span(other)
    return Change(start, end, source.text(other) + source.cut(middle, after) + source.text(one), kind)


def _cut(source: Source, span: tuple[int, int] | None, kind: str) -> Iterator[Change]:
    if span is not None and source.content.count(b"\n", *span) <= MAX_REMOVED_LINES:
        yield Change(*span, "", kind)


def _prefix(source: Source, node: ast.expr | ast.stmt, inner: ast.expr, operator: str, kind: str) -> Iterator[Change]:
    """Yield a node without the operator before its operand, where nothing else stands between them."""
    start, end = source.span(node)[0], source.span(inner)[0]
    attached = source.cut(max(start - 1, 0), start).isidentifier()
    if source.cut(start, end).strip(" ") == operator and not attached:
        yield Change(start, end, "", kind)


def _removed(source: Source, before: ast.expr, node: ast.expr, operator: str, kind: str) -> Iterator[Change]:
    """Yield the removal of an operand and the operator before it, where both are without parentheses."""
    if (found := source.between(before, node, "")) and source.cut(*found[:2]) == operator:
        yield Change(source.span(before)[1], source.span(node)[1], "", kind)


def _off_by_one(source: Source, node: ast.expr | None) -> Iterator[Change]:
    """Yield a number that is no constant, one more and one less."""
    if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
        end = source.span(node)[1]
        for text in (" + 1", " - 1"):
            yield Change(end, end, text, "off by one")


def _exception(source: Source, node: ast.expr | None) -> Iterator[Change]:
    if isinstance(node, ast.Name) and (node.id in EXCEPTIONS or node.id.endswith("Error")):
        yield Change(*source.span(node), EXCEPTIONS.get(node.id, "ValueError"), "exception type")


def _other_operator(source: Source, node: ast.BinOp | ast.AugAssign) -> Iterator[Change]:
    left, right, end = (node.left, node.right, "") if isinstance(node, ast.BinOp) else (node.target, node.value, "=")
    for other in ("+", "-", "*", "/", "//", "%", "|", "&", "^"):
        if found := source.between(left, right, other + end):
            yield Change(*found, "repair")
    if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant) and node.right.value == 1:
        for operator in ("+", "-"):
            yield from _removed(source, node.left, node.right, operator, "repair")


def _without_not(source: Source, node: ast.UnaryOp) -> Iterator[Change]:
    if isinstance(node.op, ast.Not):
        yield Change(*source.span(node), source.text(node.operand), "repair")


def _signed(source: Source, node: ast.UnaryOp | ast.Name | ast.Constant) -> Iterator[Change]:
    if not isinstance(node, ast.UnaryOp):
        if isinstance(node, ast.Name) or type(node.value) is int:
            yield Change(source.span(node)[0], source.span(node)[0], "-", "repair")
    elif isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant) and type(node.operand.value) is int:
        for value in (1 - node.operand.value, -1 - node.operand.value):
            yield Change(*source.span(node), str(value), "repair")


def _no_default(source: Source, node: ast.Constant) -> Iterator[Change]:
    if node.value is False:
        yield Change(*source.span(node), "None", "repair")


def _caller(source: Source, node: ast.Call) -> Iterator[Change]:
    name, end = _name(node.func), source.span(node.func)[1]
    for other, taken in (BUILTINS if isinstance(node.func, ast.Name) else METHODS).items():
        if taken == name:
            yield Change(end - len(name), end, other, "repair")


def _awaited(source: Source, node: ast.Call) -> Iterator[Change]:
    yield Change(source.span(node)[0], source.span(node)[0], "await ", "repair")


def _returned(source: Source, node: ast.Expr) -> Iterator[Change]:
    if isinstance(node.value, ast.Call | ast.Await):
        yield Change(source.span(node)[0], source.span(node)[0], "return ", "repair")


def _other_exception(source: Source, node: ast.Name) -> Iterator[Change]:
    for other in EXCEPTIONS if node.id in EXCEPTIONS else ():
        yield Change(*source.span(node), other, "repair")


def _continued(source: Source, node: ast.Break) -> Iterator[Change]:
    yield Change(*source.span(node), "continue", "repair")


Operators = tuple[tuple[Any, Callable[[Source, Any], Iterator[Change]]], ...]

CLASSICAL: Operators = (
    (ast.Compare, _comparison),
    (ast.BoolOp, _condition),
    (ast.BinOp, _arithmetic),
    (ast.Constant, _number),
    (ast.If | ast.IfExp, _test),
    (ast.Call, _first_arguments),
    (ast.stmt, _deletion),
)
"""Operators that made the committed index: what they yield must stay."""

FURTHER: Operators = (
    (ast.BinOp, _bitwise),
    (ast.AugAssign, _assigned),
    (ast.UnaryOp, _unary),
    (ast.Await, _await),
    (ast.Return, _return),
    (ast.BoolOp, _conditions),
    (ast.comprehension, _filters),
    (ast.Constant, _constant),
    (ast.Slice, _slice),
    (ast.Compare, _bound),
    (ast.Call, _arguments),
    (ast.Call, _callee),
    (ast.arguments, _defaults),
    (ast.Raise, _raised),
    (ast.ExceptHandler, _caught),
    (ast.Continue, _continue),
    (ast.For, _breaks),
    (ast.If, _branch),
    (ast.Try, _handlers),
    (ast.AST, _blocks),
)
"""Operators that came later."""


REPAIRS: Operators = (
    (ast.BinOp | ast.AugAssign, _other_operator),
    (ast.UnaryOp, _without_not),
    (ast.UnaryOp | ast.Name | ast.Constant, _signed),
    (ast.Constant, _no_default),
    (ast.Call, _caller),
    (ast.Call, _awaited),
    (ast.Expr, _returned),
    (ast.Name, _other_exception),
    (ast.Break, _continued),
)
"""Operators that undo others where these do not undo each other, for a search for repairs."""


def changes(source: Source, node: ast.AST, operators: Operators) -> Iterator[Change]:
    """Yield the changes that operators make at a node."""
    for kind, operator in operators:
        if isinstance(node, kind):
            yield from operator(source, node)
