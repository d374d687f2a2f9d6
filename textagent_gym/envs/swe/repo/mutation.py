"""Bugs by mutation: small changes of one expression or statement, put into source text without touching the rest of it.

The operators stand in `operators.py`. A mutation has a name that tells it without the source, so that an index need not hold
any.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from textagent_gym.envs.swe.repo.operators import CLASSICAL, FURTHER, REPAIRS, Operators, changes, is_docstring
from textagent_gym.envs.swe.repo.source import Source
from textagent_gym.envs.swe.repo.text import encoding_of

Function = tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]


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

    def inverse(self, source: bytes) -> Mutation:
        """Return the mutation that turns the source with this change back into `source`."""
        end = self.start + len(self.replacement.encode())
        return replace(self, end=end, replacement=source[self.start : self.end].decode())


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


def mutations(file: str, source: bytes, *, function: str = "", repairs: bool = False) -> list[Mutation]:
    """Every mutation of the functions in a file, in the order of the text; a few may not parse. None where it is no Python.

    Module level, decorators, annotations, docstrings and f-strings are left alone: what stands there runs at import, says
    nothing at run time, or has positions that differ between versions of Python.

    Args:
        file: Path of the file.
        source: Its content.
        function: Qualified name of the only function that is looked at; by default all.
        repairs: True to add changes of the kind "repair", which undo mutations that no other one undoes.
    """
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    if encoding_of(source) not in ("utf-8", "utf-8-sig"):  # positions count bytes of UTF-8
        return []
    text = Source(source)
    functions = [one for one in _functions(module.body, "") if function in ("", one[0])]
    found = {mutation.name: mutation for mutation in sorted(_found(file, text, functions, CLASSICAL))}
    for mutation in sorted(_found(file, text, functions, FURTHER + (REPAIRS if repairs else ()))):
        found.setdefault(mutation.name, mutation)
    return sorted(found.values())


def _found(file: str, source: Source, functions: Sequence[Function], operators: Operators) -> Iterator[Mutation]:
    for name, function in functions:
        docstrings = {node.value for node in ast.walk(function) if isinstance(node, ast.Expr) and is_docstring(node)}
        for node in _inside(function):
            for start, end, replacement, kind in () if node in docstrings else changes(source, node, operators):
                if replacement != source.cut(start, end):
                    yield Mutation(
                        file=file,
                        start=start,
                        end=end,
                        replacement=replacement,
                        kind=kind,
                        function=name,
                        line=1 + source.content.count(b"\n", 0, start),
                    )


def function_at(source: bytes, mutation: Mutation) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """Return the outermost function that holds a mutation's place, which `source` must have."""
    functions = [node for name, node in _functions(ast.parse(source).body, "") if name == mutation.function]
    return next(node for node in functions if node.lineno <= mutation.line <= (node.end_lineno or 0))


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[Function]:
    """Yield the outermost functions with their qualified names, methods included."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try):
            yield from _functions(node.body, prefix)


def _inside(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield a function, its parameters, and the nodes of its body and of the defaults of its parameters."""
    yield function
    yield function.args
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
