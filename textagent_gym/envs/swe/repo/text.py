"""Files as text: the encoding of a file, its lines, and edits that keep encoding, line ends and final line feed.

A line ends at a line feed, as in git, grep and editors; a carriage return before it belongs to the line's end. Form feeds
and the separators of Unicode end no line, as they do for `str.splitlines`.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_left
from collections.abc import Sequence
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import NamedTuple

ENCODINGS = frozenset(
    ["ascii", "utf_8", "utf_8_sig", "latin_1", "iso8859_1", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5",
     "iso8859_6", "iso8859_7", "iso8859_8", "iso8859_9", "iso8859_10", "iso8859_11", "iso8859_13", "iso8859_14",
     "iso8859_15", "iso8859_16", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
     "cp1258", "cp437", "cp720", "cp737", "cp775", "cp850", "cp852", "cp855", "cp857", "cp858", "cp860", "cp861",
     "cp862", "cp863", "cp865", "cp866", "cp869", "cp874", "cp1125", "koi8_r", "koi8_t", "koi8_u", "kz1048",
     "ptcp154", "tis_620", "mac_cyrillic", "mac_greek", "mac_iceland", "mac_latin2", "mac_roman", "mac_turkish",
     "big5", "big5hkscs", "cp932", "cp949", "cp950", "euc_jp", "euc_jis_2004", "euc_kr", "gb2312", "gbk", "gb18030",
     "johab", "shift_jis"]
)  # fmt: skip
"""Encodings that a file may declare: in each an ASCII byte is its character, and time grows with length alone.

In others, such as unicode_escape and utf-7, a comment may hold code; punycode takes quadratic time.
"""

_MARK = b"\xef\xbb\xbf"  # the byte order mark of UTF-8
_DECLARED = re.compile(rb"\A(?:[^\r\n]*(?:\r\n?|\n))??[ \t\f]*#[^\r\n]*?coding[:=][ \t]*([-\w.]+)")  # PEP 263
_PLAIN = re.compile(r"(utf-8|latin-1|iso-8859-1|iso-latin-1)(-.*)?")  # of such a name Python looks at no more
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

    That is UTF-8, with its mark where the file has it, or the one of `ENCODINGS` that the file declares in its first two
    lines as Python source does, or else Latin-1, in which every byte is a character. Encoding the decoded text gives the
    same bytes again.
    """
    if b"\0" in content:
        return None
    if content.isascii():
        return "utf-8"
    if content.startswith(_MARK):
        candidates = ["utf-8-sig"]
    else:
        declared = declared_encoding(content)
        candidates = [*([declared] if declared and is_listed(declared) else []), "utf-8"]
    if not _NO_TEXT.search(content):
        candidates.append("latin-1")
    return next((encoding for encoding in candidates if _fits(content, encoding)), None)


def declared_encoding(content: bytes) -> str | None:
    """Return the encoding that a file declares in its first two lines, or None; it may be one that does not exist."""
    declared = _DECLARED.match(content)
    if declared is None:
        return None
    name = declared[1].decode("ascii")
    plain = _PLAIN.fullmatch(name.lower().replace("_", "-"))
    return name if plain is None else "utf-8" if plain[1] == "utf-8" else "latin-1"


def is_listed(encoding: str) -> bool:
    """Return whether an encoding, by any of its names, is one of `ENCODINGS`."""
    name = normalize_encoding(encoding).lower()
    return aliases.get(name, name) in ENCODINGS


def _fits(content: bytes, encoding: str) -> bool:
    try:
        return content.decode(encoding).encode(encoding) == content
    except UnicodeError:
        return False


def encoded(text: str, before: bytes) -> bytes:
    """Return a new text of a file in the encoding that it declares, or else in the one of its content before.

    Raises:
        UnicodeEncodeError: The encoding has no bytes for one of the characters.
    """
    if text.isascii() and not before.startswith(_MARK):
        return text.encode()
    text = text.encode("utf-8", "replace").decode()  # half a pair of surrogates is no character
    declared = declared_encoding(text.encode())
    encoding = encoding_of(before) or "utf-8"
    if declared and is_listed(declared) and encoding != "utf-8-sig":
        encoding = declared
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        error.encoding = encoding  # "charmap" for most tables
        raise


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
