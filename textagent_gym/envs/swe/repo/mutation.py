"""Bugs by mutation: small changes of one expression or statement, put into source text without touching the rest of it.

The operators are the classical ones of mutation testing (comparison, boolean, arithmetic, constant, statement deletion and
the like). A mutation has a name that tells it without the source, so that an index need not hold any.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from textagent_gym.envs.swe.repo.text import encoding_of, python_lines

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
)
"""Kinds of mutation, in words that a hint may use."""


@dataclass(frozen=True, kw_only=True, order=True)
class Mutation:
    """One change of one file.

    Attributes:
        file: Path in the repository.
        start: First byte that is replaced, counted from the beginning of the file.
        end: The byte after the last one that is replaced.
        replacement: What stands there instead.
        kind: One of `KINDS`.
        function: Qualified name of the function around it.
        line: Line of `start`, from 1.
    """

    file: str
    start: int
    end: int
    replacement: str
    kind: str
    function: str
    line: int

    @property
    def name(self) -> str:
        """The change in a word: where it stands, and a hash of what it puts there."""
        return f"{self.file}:{self.start}-{self.end}:{hashlib.sha256(self.replacement.encode()).hexdigest()[:8]}"

    def apply(self, source: bytes) -> bytes:
        """Return the source with this change."""
        return source[: self.start] + self.replacement.encode() + source[self.end :]


def apply_all(source: bytes, mutations: list[Mutation]) -> bytes:
    """Return the source of one file with several changes, which must not overlap.

    Raises:
        ValueError: Two of them do.
    """
    after = len(source)
    for mutation in sorted(mutations, key=lambda mutation: -mutation.start):
        if mutation.end > after:
            raise ValueError(
                f"expected changes that do not overlap, got two on line {mutation.line} of {mutation.file}"
            )
        source = mutation.apply(source)
        after = mutation.start
    return source


def mutations(file: str, source: bytes) -> list[Mutation]:
    """Every mutation of the functions in a file, in the order of the text; a few may not parse. None where it is no Python.

    Module level, decorators, annotations, docstrings and f-strings are left alone: what stands there runs at import, says
    nothing at run time, or has positions that differ between versions of Python.
    """
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    if encoding_of(source) not in ("utf-8", "utf-8-sig"):  # positions count bytes of UTF-8
        return []
    return sorted(set(_Finder(file, source).find(module)))


class _Finder:
    def __init__(self, file: str, source: bytes) -> None:
        self.file = file
        self.source = source
        self.lines = [0]
        for line in python_lines(source.decode()):
            self.lines.append(self.lines[-1] + len(line.encode()))

    def find(self, module: ast.Module) -> Iterator[Mutation]:
        for name, function in _functions(module.body, ""):
            for node in _inside(function):
                for start, end, replacement, kind in self._at(node):
                    if replacement.encode() != self.source[start:end]:
                        yield Mutation(
                            file=self.file,
                            start=start,
                            end=end,
                            replacement=replacement,
                            kind=kind,
                            function=name,
                            line=1 + self.source.count(b"\n", 0, start),
                        )

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self.source[start:end].decode()

    def _between(self, left: ast.expr, right: ast.expr, replacement: str) -> tuple[int, int, str] | None:
        """Return the operator between two operands, replaced where it stands alone between them on one line."""
        start, end = self._span(left)[1], self._span(right)[0]
        gap = self.source[start:end].decode()
        operator = gap.strip()
        if not operator or any(character in operator for character in "()#\n\\"):
            return None
        place = start + len(gap[: gap.index(operator)].encode())
        return place, place + len(operator.encode()), replacement

    def _at(self, node: ast.AST) -> Iterator[tuple[int, int, str, str]]:
        if isinstance(node, ast.Compare):
            yield from self._comparison(node)
        elif isinstance(node, ast.BoolOp):
            yield from self._condition(node)
        elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            if found := self._between(node.left, node.right, ARITHMETIC[type(node.op)]):
                yield *found, "arithmetic operator"
        elif isinstance(node, ast.Constant):
            yield from self._constant(node)
        elif isinstance(node, ast.If | ast.IfExp):
            if node.test.lineno == node.test.end_lineno:
                yield *self._span(node.test), f"not ({self._text(node.test)})", "negated condition"
        elif isinstance(node, ast.Call):
            yield from self._call(node)
        elif isinstance(node, ast.stmt):
            yield from self._statement(node)

    def _comparison(self, node: ast.Compare) -> Iterator[tuple[int, int, str, str]]:
        if len(node.ops) == 1:
            for other in COMPARISONS[type(node.ops[0])]:
                if found := self._between(node.left, node.comparators[0], other):
                    yield *found, "comparison"

    def _condition(self, node: ast.BoolOp) -> Iterator[tuple[int, int, str, str]]:
        if len(node.values) != 2:
            return
        left, right = node.values
        if found := self._between(left, right, "or" if isinstance(node.op, ast.And) else "and"):
            yield *found, "boolean operator"
        if node.lineno == node.end_lineno:
            yield *self._span(node), self._text(left), "dropped condition"
            yield *self._span(node), self._text(right), "dropped condition"

    def _constant(self, node: ast.Constant) -> Iterator[tuple[int, int, str, str]]:
        if isinstance(node.value, bool):
            yield *self._span(node), str(not node.value), "boolean constant"
        elif isinstance(node.value, int) and abs(node.value) < 10**6:
            for other in (node.value + 1, node.value - 1):
                yield *self._span(node), str(other) if other >= 0 else f"({other})", "constant"

    def _call(self, node: ast.Call) -> Iterator[tuple[int, int, str, str]]:
        if len(node.args) < 2 or any(isinstance(argument, ast.Starred) for argument in node.args[:2]):
            return
        first, second = node.args[:2]
        (start, _), (_, end) = self._span(first), self._span(second)
        if first.lineno == second.end_lineno:
            yield start, end, f"{self._text(second)}, {self._text(first)}", "swapped arguments"

    def _statement(self, node: ast.stmt) -> Iterator[tuple[int, int, str, str]]:
        if node.lineno != node.end_lineno:
            return
        start, end = self._span(node)
        if isinstance(node, ast.Raise):
            yield start, end, "pass", "deleted exception"
        elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            yield start, end, "return None", "returned None"
        elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            yield start, end, "pass", "deleted statement"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield the outermost functions with their qualified names, methods included."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try):
            yield from _functions(node.body, prefix)


def _inside(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body and of the defaults of its parameters."""
    waiting: list[ast.AST] = [
        *function.args.defaults,
        *(node for node in function.args.kw_defaults if node),
        *function.body,
    ]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.JoinedStr):
            continue
        yield node
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list"):
                waiting += [
                    child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
                ]
