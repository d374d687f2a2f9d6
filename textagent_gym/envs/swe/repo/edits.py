"""A reference repair as edits that an agent could make: a piece of text that stands once in a file, replaced by another."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from textagent_gym.envs.swe.repo.patches import Hunk, hunks_between
from textagent_gym.envs.swe.repo.text import (
    encoded,
    encoding_of,
    found_once,
    lines_of,
    num_equal,
    python_lines,
    replace_once,
)
from textagent_gym.envs.swe.repo.tree import Tree, as_text


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One change of one file.

    Attributes:
        path: The file.
        kind: A piece of text is replaced, a file is created, written again, or deleted.
        old: For a replacement, the text that stands there once; empty otherwise.
        new: The text that shall stand there; for a deletion empty.
        line: First line that changes, from 1, in the file as it was before the repair.
        encoding: Encoding of the file.
    """

    path: str
    kind: Literal["replace", "create", "rewrite", "delete"]
    old: str = ""
    new: str = ""
    line: int = 1
    encoding: str = "utf-8"


def edits_of(before: Tree, after: Tree) -> tuple[Edit, ...] | None:
    """Return the edits that turn one tree into another, sorted by path; None where one changes a binary file."""
    edits: list[Edit] = []
    for path in sorted(path for path in {*before, *after} if before.get(path) != after.get(path)):
        old, new = before.get(path), after.get(path)
        if new is None:
            edits.append(Edit(path=path, kind="delete"))
            continue
        encoding = encoding_of(new)
        if encoding is None:
            return None
        text = as_text(old) if old and encoding_of(old) == encoding else None
        pieces = list(_pieces(path, text, new.decode(encoding), encoding)) if text is not None else []
        if old and pieces and _after(old, pieces) == new:
            edits += pieces
        else:
            kind: Literal["create", "rewrite"] = "rewrite" if old else "create"
            edits.append(Edit(path=path, kind=kind, new=new.decode(encoding), encoding=encoding))
    return tuple(edits)


def _after(content: bytes, edits: list[Edit]) -> bytes | None:
    """Return a file after edits as the tool makes them, or None where one cannot be made."""
    for edit in edits:
        edited = replace_once(as_text(content) or "", edit.old, edit.new)
        if isinstance(edited, int):
            return None
        try:
            content = encoded(edited.text, content)
        except UnicodeEncodeError:
            return None
    return content


def _pieces(path: str, text: str, wanted: str, encoding: str) -> Iterator[Edit]:
    """Yield the replacements that turn one text into another, one for each hunk."""
    shift = 0
    for hunk in hunks_between(text, wanted):
        edit = _edit(path, text, hunk, shift, encoding)
        text = text.replace(edit.old, edit.new, 1)
        shift += sum({"+": 1, "-": -1}.get(tag, 0) for tag, _ in hunk.lines)
        yield edit


def _edit(path: str, text: str, hunk: Hunk, shift: int, encoding: str) -> Edit:
    """Return the smallest piece of whole lines around a hunk that is found once."""
    old, new = hunk.old, hunk.new
    first = max(hunk.old_start - 1 + shift, 0)
    lines = lines_of(text)
    same_before = num_equal(old, new)
    same_after = num_equal(old[same_before:][::-1], new[same_before:][::-1])
    low, high = first + same_before, first + len(old) - same_after
    middle = new[same_before : len(new) - same_after]
    while low == high or not found_once("".join(lines[low:high]), text):
        if low == 0 and high == len(lines):
            break
        if low > 0:
            low -= 1
            middle = [lines[low], *middle]
        if high < len(lines) and not found_once("".join(lines[low:high]), text):
            middle = [*middle, lines[high]]
            high += 1
    return Edit(
        path=path,
        kind="replace",
        old="".join(lines[low:high]),
        new="".join(middle),
        line=first + same_before + 1 - shift,
        encoding=encoding,
    )


def with_function_of(before: str, after: str, function: str) -> str | None:
    """Return a source file with one function as it is in another version of the file.

    Args:
        before: The file.
        after: The other version.
        function: Qualified name of the function, such as "Parser.feed".

    Returns:
        The file, or None where the other version has no such function, or no syntax.
    """
    try:
        found: ast.AST | None = ast.parse(after)
    except (SyntaxError, ValueError):
        return None
    for name in function.split("."):
        found = next((node for node in ast.walk(found) if getattr(node, "name", "") == name), None) if found else None
    if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    first = min([found.lineno, *(one.lineno for one in found.decorator_list)]) - 1
    last = found.end_lineno or found.lineno
    old, new = python_lines(before), python_lines(after)
    lines: list[str] = []
    for kind, i, j, m, n in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        is_inside = first <= m < last or first < n <= last
        lines += new[m:n] if kind != "equal" and is_inside else old[i:j]
    return "".join(lines)
