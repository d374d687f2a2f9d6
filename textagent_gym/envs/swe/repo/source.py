"""Text and places of the nodes of a source file's syntax tree."""

from __future__ import annotations

import ast

from textagent_gym.envs.swe.repo.text import python_lines


class Source:
    """A source file in UTF-8 whose nodes are asked for their text.

    Args:
        content: The file.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.lines = [0]
        for line in python_lines(content.decode()):
            self.lines.append(self.lines[-1] + len(line.encode()))

    def span(self, node: ast.expr | ast.stmt | ast.excepthandler) -> tuple[int, int]:
        """Return the first byte of a node, and the byte after its last one."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset

    def cut(self, start: int, end: int) -> str:
        """Return the text of a span."""
        return self.content[start:end].decode()

    def text(self, node: ast.expr | ast.stmt) -> str:
        """Return the text of a node."""
        return self.cut(*self.span(node))

    def between(self, left: ast.expr, right: ast.expr, replacement: str) -> tuple[int, int, str] | None:
        """Return the operator between two operands, replaced where it stands alone between them on one line."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.cut(start, end)
        operator = gap.strip()
        if not operator or any(character in operator for character in "()#\n\\"):
            return None
        place = start + len(gap[: gap.index(operator)].encode())
        return place, place + len(operator.encode()), replacement

    def indent(self, node: ast.stmt) -> str | None:
        """Return what stands on the line before a statement, or None where that is more than blanks."""
        start = self.lines[node.lineno - 1]
        before = self.cut(start, start + node.col_offset)
        return before if not before.strip(" \t") else None

    def lines_after(self, first: ast.stmt, last: ast.stmt | ast.excepthandler) -> tuple[int, int] | None:
        """Return the whole lines after a statement up to the end of another; None where a line has more than these."""
        assert first.end_lineno is not None
        assert last.end_lineno is not None
        if not (self.ends_line(first) and self.ends_line(last)):
            return None
        return self.lines[first.end_lineno], self.lines[last.end_lineno]

    def ends_line(self, node: ast.stmt | ast.excepthandler) -> bool:
        """Return whether nothing but blanks and a comment follows a node on its line."""
        assert node.end_lineno is not None
        rest = self.cut(self.span(node)[1], self.lines[node.end_lineno]).strip()
        return not rest or rest.startswith("#")
