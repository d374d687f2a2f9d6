"""Text in columns: cut, wrapped, aligned and framed; widths count characters."""

from __future__ import annotations

from collections.abc import Sequence


def shorten(text: str, width: int, mark: str = "...") -> str:
    """A text that fits a width, with a mark where something was cut off its end."""
    if len(text) <= width:
        return text
    room = max(width - len(mark), 0)
    return text[:room].rstrip() + mark[:width]


def shorten_middle(text: str, width: int, mark: str = "~") -> str:
    """A text that fits a width, cut in the middle so that both ends stay; the front keeps the odd character."""
    if len(text) <= width:
        return text
    kept = max(width - len(mark), 0)
    back = kept // 2
    return text[: kept - back] + mark + text[len(text) - back :]


def wrap(text: str, width: int) -> list[str]:
    """The lines of a text broken at spaces; words longer than the width are cut."""
    lines: list[str] = []
    current = ""
    for word in text.split():
        if current and len(current) + 1 + len(word) <= width:
            current += " " + word
            continue
        if current:
            lines.append(current)
        pieces = [word[place : place + width] for place in range(0, len(word), width)]
        lines.extend(pieces[:-1])
        current = pieces[-1]
    return [*lines, current] if current else lines


def indent(text: str, prefix: str = "  ", *, hanging: bool = False) -> str:
    """A text with a prefix before each line that is not empty; the first stays where it is if `hanging`."""
    lines = []
    for place, line in enumerate(text.split("\n")):
        is_kept = not line or (hanging and place == 0)
        lines.append(line if is_kept else prefix + line)
    return "\n".join(lines)


def align(text: str, width: int, how: str = "<") -> str:
    """A text filled up with spaces: `<` puts it to the left, `>` to the right, `^` in the middle, rather left.

    Raises:
        ValueError: The alignment is none of these.
    """
    room = max(width - len(text), 0)
    if how == "<":
        return text + " " * room
    if how == ">":
        return " " * room + text
    if how == "^":
        return " " * (room // 2) + text + " " * (room - room // 2)
    raise ValueError(f"expected one of <, >, ^, got {how!r}")


def align_points(numbers: Sequence[str]) -> list[str]:
    """Numbers of equal width with their decimal points below each other."""
    before = [len(number.partition(".")[0]) for number in numbers]
    after = [len(number) - whole for number, whole in zip(numbers, before, strict=True)]
    left, right = max(before, default=0), max(after, default=0)
    return [
        " " * (left - whole) + number + " " * (right - rest)
        for number, whole, rest in zip(numbers, before, after, strict=True)
    ]


def looks_numeric(texts: Sequence[str]) -> bool:
    """Whether every text that is not empty is a plain number, and one at least is not empty."""
    filled = [text.strip().lstrip("+-") for text in texts if text.strip()]
    return bool(filled) and all(text.count(".") <= 1 and text.replace(".", "").isdecimal() for text in filled)


def column_widths(rows: Sequence[Sequence[str]], most: int = 0) -> list[int]:
    """The width of the longest cell in each column, `most` at most unless that is 0; rows may differ in length."""
    widths: list[int] = []
    for row in rows:
        for place, cell in enumerate(row):
            if place == len(widths):
                widths.append(0)
            widths[place] = max(widths[place], len(cell))
    return [min(width, most) for width in widths] if most > 0 else widths


def fit_widths(widths: Sequence[int], room: int, least: int = 3) -> list[int]:
    """Widths that sum to no more than the room where possible: the widest gives way first, none falls below `least`."""
    fitted = list(widths)
    for _ in range(max(sum(fitted) - room, 0)):
        widest = max(range(len(fitted)), key=lambda place: fitted[place])
        if fitted[widest] <= least:
            break
        fitted[widest] -= 1
    return fitted


def format_row(cells: Sequence[str], widths: Sequence[int], alignments: str = "", gap: str = "  ") -> str:
    """One line of a table without spaces at its end; a column without an alignment is put to the left."""
    parts = []
    for place, width in enumerate(widths):
        cell = cells[place] if place < len(cells) else ""
        room = " " * (width - len(cell))
        is_right = place < len(alignments) and alignments[place] == ">"
        parts.append(room + cell if is_right else cell + room)
    return gap.join(parts).rstrip()


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, rule: str = "-") -> str:
    """A table with a rule below its header, columns of numbers flush right; no rule where `rule` is empty."""
    columns = [[row[place] if place < len(row) else "" for row in rows] for place in range(len(header))]
    blocks = []
    for title, cells in zip(header, columns, strict=True):
        width = max(len(cell) for cell in [title, *cells])
        lines = [title, rule * width, *cells] if rule else [title, *cells]
        is_right = looks_numeric(cells)
        blocks.append([line.rjust(width) if is_right else line.ljust(width) for line in lines])
    return "\n".join("  ".join(line).rstrip() for line in zip(*blocks, strict=True))
