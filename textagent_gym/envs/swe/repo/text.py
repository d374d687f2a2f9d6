"""Files as text: the encoding of a file, its lines, and edits that keep encoding, line ends and final line feed.

A line ends at a line feed, as in git, grep and editors; a carriage return before it belongs to the line's end. Form feeds
and the separators of Unicode end no line, as they do for `str.splitlines`.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

_MARK = b"\xef\xbb\xbf"  # the byte order mark of UTF-8
_DECLARED = re.compile(rb"\A(?:[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)")  # PEP 263
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_LINE_END = re.compile("\r?\n")


class Edited(NamedTuple):
    """A text after a replacement.

    Attributes:
        text: The new text.
        line: First line that was replaced, from 1.
    """

    text: str
    line: int


def encoding_of(content: bytes) -> str | None:
    """Return the encoding in which a file is text, or None where it is binary.

    That is UTF-8, with its mark where the file has it, or what the file declares in its first two lines as Python source
    does, or else Latin-1, in which every byte is a character. Encoding the decoded text gives the same bytes again.
    """
    if b"\0" in content:
        return None
    if content.isascii():
        return "utf-8"
    if content.startswith(_MARK):
        candidates = ["utf-8-sig"]
    else:
        declared = _DECLARED.match(content)
        candidates = [*([declared[1].decode("ascii")] if declared else []), "utf-8"]
    if not _NO_TEXT.search(content):
        candidates.append("latin-1")
    return next((encoding for encoding in candidates if _fits(content, encoding)), None)


def _fits(content: bytes, encoding: str) -> bool:
    try:
        return content.decode(encoding).encode(encoding) == content
    except (UnicodeError, LookupError):  # the latter for names that are no encodings of text
        return False


def encoded(text: str, before: bytes) -> bytes:
    """Return a new text of a file in the encoding that it declares, or else in the one of its content before.

    Raises:
        UnicodeEncodeError: The encoding has no bytes for one of the characters.
    """
    if text.isascii() and not before.startswith(_MARK):
        return text.encode()
    text = text.encode("utf-8", "replace").decode()  # half a pair of surrogates is no character
    declared = _DECLARED.match(text.encode())
    encoding = encoding_of(before) or "utf-8"
    if declared is not None and encoding != "utf-8-sig":
        try:
            return text.encode(declared[1].decode("ascii"))
        except LookupError:
            pass
    return text.encode(encoding)


def lines_of(text: str) -> list[str]:
    """Return the lines of a text with their line feeds; the last one may have none."""
    return io.StringIO(text, newline="\n").readlines()


def python_lines(source: str) -> list[str]:
    """Return the lines of a source file as Python counts them, with their ends: a lone carriage return ends one, too."""
    return io.StringIO(source, newline="").readlines()


def shown_lines(text: str) -> list[str]:
    """Return the lines of a text without their ends."""
    return [line.removesuffix("\n").removesuffix("\r") for line in lines_of(text)]


def with_line_ends_of(text: str, before: str) -> str:
    """Return a new text of a file with carriage returns at its line ends if all lines before had them."""
    count = before.count("\n")
    if count == 0 or before.count("\r\n") != count:
        return text
    return _LINE_END.sub("\r\n", text)


def found_once(piece: str, text: str) -> bool:
    """Return whether a piece stands in a text exactly once, overlapping places counted."""
    return (place := text.find(piece)) >= 0 and text.rfind(piece) == place


def replace_once(text: str, old: str, new: str) -> Edited | int:
    """Replace the one place where `old` stands, or return how often it stands there: 0, or 2 for more than once.

    `old` is looked for without regard to carriage returns at line ends, and as if the last line had a line feed. What is
    written gets the line ends of the line that it replaces. A final line feed, or its absence, stays as it was unless `new`
    adds one.
    """
    plain = text.replace("\r\n", "\n")
    whole = plain if plain.endswith("\n") else plain + "\n"
    old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    if not found_once(old, whole):
        return 0 if old not in whole else 2
    place = whole.find(old)
    # What is equal at both ends keeps the line ends that it has.
    head = num_equal(old, new)
    tail = num_equal(old[head:][::-1], new[head:][::-1])
    start, end = place + head, place + len(old) - tail
    returns = [match.start() - number for number, match in enumerate(re.finditer("\r\n", text))]
    first, last = (min(index + bisect_left(returns, index), len(text)) for index in (start, end))
    line_end = _line_end_at(text, first)
    edited = text[:first] + new[head : len(new) - tail].replace("\n", line_end) + text[last:]
    if end > len(plain):  # the line feed that the last line lacks was replaced, too
        edited = edited.removesuffix("\n").removesuffix("\r")
    elif edited and plain.endswith("\n") and not edited.endswith("\n"):
        edited += line_end
    return Edited(edited, whole.count("\n", 0, place) + 1)


def num_equal(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many characters, or lines, two texts have in common at their starts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _line_end_at(text: str, place: int) -> str:
    """Return the end of the line at a place; of the line before, where it has none."""
    after = _LINE_END.search(text, place)
    if after is not None:
        return after[0]
    before = text.rfind("\n", 0, place)
    return "\r\n" if before > 0 and text[before - 1] == "\r" else "\n"
