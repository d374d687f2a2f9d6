"""Shell commands as models write them: plain, or in one fenced code block with or without prose around it.

The form is that of mini-swe-agent (version 1): prose, then one block marked bash. A fence that lies in a quoted text or in a
here-document is part of the command, so that a command can write a page with code blocks in it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

SHELLS = ("bash", "sh", "shell", "zsh", "mswea_bash_command")
"""Words after an opening fence that mark a block as a command for the shell."""

MAX_BLOCKS = 20
"""Blocks of an action that are looked at."""

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\s`~]*)[^\n`]*$", re.MULTILINE)
_ONE_LINE = re.compile(rf"(?:`{{3,}}(?:(?:{'|'.join(SHELLS)})(?=\s))?|`)([^`\n]+)`+")

# An apostrophe within a word is one of prose: it opens no quoted text.
_SHELL_TEXT = re.compile(
    r"""\\. | (?<![^\s;&|(])\#[^\n]* | (?<![A-Za-z0-9])'[^']*' | (?<![A-Za-z0-9])"(?:\\.|[^"\\])*" """
    r"""| (?<!<)<<-?[ \t]*(?P<quote>['"]?)(?P<word>\w+)(?P=quote)""",
    re.DOTALL | re.VERBOSE,
)
_LINE_WITH_ONE_WORD = re.compile(r"^\t*(\w+)[ \t]*\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        label: The word after the opening fence, in lower case; may be empty.
        content: The lines between the fences, or None where the block is not closed.
    """

    label: str
    content: str | None


def read_command(action: str) -> tuple[str, str | None]:
    """Return the command that an action carries, and the complaint that answers the action where it carries none.

    An action without a fence is the command itself, byte for byte.
    """
    blocks = list(islice(fenced_blocks(action), MAX_BLOCKS))
    if blocks:
        marked = [block for block in blocks if block.label in SHELLS]
        chosen = marked or [block for block in blocks if not block.label]
        if not chosen:
            return "", f"expected a fenced block marked bash, got one marked {blocks[0].label[:30]}"
        if len(chosen) > 1:
            return "", f"expected one command in one fenced block, got {len(chosen)} of them"
        if chosen[0].content is not None:
            return chosen[0].content, None
        return "", "expected a fenced block with its end, got one that is not closed"
    if whole := _ONE_LINE.fullmatch(action.strip()):
        return whole[1].strip(), None
    return action, None


def fenced_blocks(text: str) -> Iterator[Block]:
    """Yield the fenced code blocks of a text in their order; those within quoted shell text are none."""
    quoted = _quoted(text)
    at = 0
    while fence := _FENCE.search(text, at):
        if (end := _end_of_span(quoted, fence.start())) is not None:
            at = end
            continue
        indent, ticks, label = fence.groups()
        start = fence.end() + 1
        closing = _closing(text, start, ticks)
        if closing is None:
            yield Block(label.lower(), None)
            return
        content = text[start : closing.start()].removesuffix("\n")
        if fence[0].endswith("\r"):  # the whole message has such line ends
            content = content.replace("\r\n", "\n").removesuffix("\r")
        if indent:
            content = re.sub(f"^{indent}", "", content, flags=re.MULTILINE)
        yield Block(label.lower(), content)
        at = closing.end()


def _closing(text: str, start: int, ticks: str) -> re.Match[str] | None:
    """Return the line that closes a block: the first one outside of quoted shell text, or the first one.

    Where there is no such line, a line that ends in a fence closes the block.
    """
    fence = re.compile(rf"^[ \t]*{ticks[0]}{{{len(ticks)},}}[ \t]*\r?$", re.MULTILINE)
    first = fence.search(text, start)
    if first is None:
        return re.compile(rf"{ticks}[ \t]*\r?$", re.MULTILINE).search(text, start)
    if not re.search(r"['\"]|<<", text[start : first.start()]):
        return first
    quoted = _quoted(text[start:])
    found: re.Match[str] | None = first
    while found is not None:
        if (end := _end_of_span(quoted, found.start() - start)) is None:
            return found
        found = fence.search(text, start + end)
    return first


def _quoted(text: str) -> list[tuple[int, int]]:
    """Return the spans of quoted texts and here-documents, as a shell would read `text`; sorted, and apart."""
    ends: dict[str, list[int]] = {}
    for line in _LINE_WITH_ONE_WORD.finditer(text):
        ends.setdefault(line[1], []).append(line.end())
    starts: dict[str, list[int]] = {}
    for opening in _SHELL_TEXT.finditer(text):
        if opening["word"]:
            starts.setdefault(opening["word"], []).append(opening.start())
    spans: list[tuple[int, int]] = []
    at = 0
    while piece := _SHELL_TEXT.search(text, at):
        at = piece.end()
        word = piece["word"]
        if word is not None:
            below = ends.get(word, ())
            place = bisect_right(below, at)
            # Where the same word opens once more before its end, this one was only mentioned.
            if place < len(below) and bisect_right(starts[word], below[place]) - bisect_right(starts[word], at) == 0:
                at = below[place]
                spans.append((piece.start(), at))
        elif piece[0][0] in "'\"":
            spans.append((piece.start(), at))
    return spans


def _end_of_span(spans: list[tuple[int, int]], place: int) -> int | None:
    """Return the end of the span that `place` lies in, or None where it lies in none."""
    index = bisect_right(spans, place, key=lambda span: span[0]) - 1
    return spans[index][1] if index >= 0 and place < spans[index][1] else None
