"""Maps as tuples of equally long rows of characters: read, cut, turned, searched and drawn."""

from __future__ import annotations

from collections.abc import Iterable

from gridroute.geometry import Cell

Map = tuple[str, ...]


def parse_map(text: str, fill: str = " ") -> Map:
    """The rows of a text without the empty lines around them; short rows are filled up on the right.

    Raises:
        ValueError: There is nothing but empty lines.
    """
    lines = [line.rstrip() for line in text.splitlines()]
    places = [place for place, line in enumerate(lines) if line]
    if not places:
        raise ValueError("expected a map, got nothing but empty lines")
    kept = lines[places[0] : places[-1] + 1]
    width = max(len(line) for line in kept)
    return tuple(line.ljust(width, fill) for line in kept)


def size(rows: Map) -> tuple[int, int]:
    """The height and the width in cells; an empty map has neither."""
    return (len(rows), len(rows[0])) if rows else (0, 0)


def get(rows: Map, cell: Cell, default: str = "") -> str:
    """The character of a cell, `default` where the cell is off the map."""
    row, column = cell
    if 0 <= row < len(rows) and 0 <= column < len(rows[row]):
        return rows[row][column]
    return default


def find_all(rows: Map, symbols: str) -> list[Cell]:
    """The cells that hold one of the symbols, row by row."""
    return [(row, column) for row, line in enumerate(rows) for column, symbol in enumerate(line) if symbol in symbols]


def find_one(rows: Map, symbol: str) -> Cell:
    """The only cell that holds a symbol.

    Raises:
        ValueError: None holds it, or more than one does.
    """
    found = [(row, line.index(symbol)) for row, line in enumerate(rows) if symbol in line]
    count = sum(line.count(symbol) for line in rows)
    if count != 1:
        raise ValueError(f"expected exactly one {symbol!r}, got {count}")
    return found[0]


def read_costs(rows: Map, default: int = 1) -> dict[Cell, int]:
    """What each cell costs to enter: its digit, `default` for any other symbol; a `#` cannot be entered and is left out."""
    costs = {}
    for row, line in enumerate(rows):
        for column, symbol in enumerate(line):
            if symbol != "#":
                costs[row, column] = int(symbol) if symbol.isdecimal() else default
    return costs


def crop(rows: Map, upper_left: Cell, lower_right: Cell) -> Map:
    """The part of a map between two corners, both included; what lies off the map is left out."""
    top, left = max(upper_left[0], 0), max(upper_left[1], 0)
    return tuple(line[left : lower_right[1] + 1] for line in rows[top : lower_right[0] + 1])


def pad(rows: Map, margin: int = 1, fill: str = "#") -> Map:
    """A map with a border of so many cells on each side."""
    width = 2 * margin + (len(rows[0]) if rows else 0)
    border = (fill * width,) * margin
    return (*border, *(fill * margin + line + fill * margin for line in rows), *border)


def transpose(rows: Map) -> Map:
    """A map with rows and columns exchanged."""
    return tuple("".join(column) for column in zip(*rows, strict=True))


def rotate(rows: Map, num_quarters: int = 1) -> Map:
    """A map after so many quarter turns clockwise; negative ones turn the other way."""
    for _ in range(num_quarters % 4):
        rows = tuple("".join(column) for column in zip(*rows[::-1], strict=True))
    return rows


def mirror(rows: Map, *, upside_down: bool = False) -> Map:
    """A map with left and right exchanged, or with top and bottom."""
    return rows[::-1] if upside_down else tuple(line[::-1] for line in rows)


def rotate_cell(cell: Cell, height: int, width: int, num_quarters: int = 1) -> Cell:
    """Where a cell of a map comes to lie when the map is turned clockwise."""
    row, column = cell
    for _ in range(num_quarters % 4):
        row, column = column, height - 1 - row
        height, width = width, height
    return row, column


def draw(rows: Map, cells: Iterable[Cell], symbol: str = "*", *, over: str = "") -> Map:
    """A map with a symbol put into cells; those off the map are ignored.

    Args:
        rows: The map.
        cells: Where to draw.
        symbol: One character.
        over: The symbols that may be drawn over; every one where empty.
    """
    canvas = [list(line) for line in rows]
    for row, column in cells:
        if not (0 <= row < len(canvas) and 0 <= column < len(canvas[row])):
            continue
        if not over or canvas[row][column] in over:
            canvas[row][column] = symbol
    return tuple("".join(line) for line in canvas)


def legend(rows: Map, ignore: str = " ") -> list[tuple[str, int]]:
    """How often each symbol occurs, the most frequent first, in order of the alphabet where they are even."""
    counts: dict[str, int] = {}
    for symbol in "".join(rows):
        if symbol not in ignore:
            counts[symbol] = counts.get(symbol, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
