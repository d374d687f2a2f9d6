"""Cells, distances, lines and paths; a cell is `(row, column)`, rows count downwards."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

Cell = tuple[int, int]

HEADINGS: dict[str, Cell] = {"N": (-1, 0), "E": (0, 1), "S": (1, 0), "W": (0, -1)}
"""The step that each heading stands for, clockwise."""


def manhattan(start: Cell, goal: Cell) -> int:
    """Steps between two cells where only the four straight ones are allowed."""
    return abs(start[0] - goal[0]) + abs(start[1] - goal[1])


def chebyshev(start: Cell, goal: Cell) -> int:
    """Steps between two cells where diagonal ones count as one."""
    return max(abs(start[0] - goal[0]), abs(start[1] - goal[1]))


def octile(start: Cell, goal: Cell, straight: int = 10, diagonal: int = 14) -> int:
    """The cost of the cheapest way between two cells of an empty grid, with prices for both kinds of step."""
    rows, columns = abs(start[0] - goal[0]), abs(start[1] - goal[1])
    num_diagonal = min(rows, columns)
    return diagonal * num_diagonal + straight * (max(rows, columns) - num_diagonal)


def turn(heading: str, num_quarters: int = 1) -> str:
    """The heading after so many quarter turns clockwise; negative ones turn the other way.

    Raises:
        ValueError: The heading is none of N, E, S and W.
    """
    order = list(HEADINGS)
    if heading not in order:
        raise ValueError(f"expected one of N, E, S, W, got {heading!r}")
    return order[(order.index(heading) + num_quarters) % 4]


def line(start: Cell, goal: Cell) -> list[Cell]:
    """The cells that a straight line passes, both ends included; ties go to the smaller row or column."""
    length = max(abs(start[0] - goal[0]), abs(start[1] - goal[1]))
    if length == 0:
        return [start]
    rows, columns = goal[0] - start[0], goal[1] - start[1]
    half = length - 1
    return [
        (start[0] + (2 * rows * count + half) // (2 * length), start[1] + (2 * columns * count + half) // (2 * length))
        for count in range(length + 1)
    ]


def can_see(start: Cell, goal: Cell, walls: Collection[Cell]) -> bool:
    """Whether no wall stands strictly between two cells; a wall may be looked at, and looked from."""
    return not any(cell in walls for cell in line(start, goal)[1:-1])


def bounding_box(cells: Iterable[Cell]) -> tuple[Cell, Cell]:
    """The upper left and the lower right corner of the smallest rectangle around the cells.

    Raises:
        ValueError: There are no cells.
    """
    cells = list(cells)
    if not cells:
        raise ValueError("expected at least one cell, got none")
    rows, columns = [row for row, _ in cells], [column for _, column in cells]
    return (min(rows), min(columns)), (max(rows), max(columns))


def boxes_overlap(one: tuple[Cell, Cell], other: tuple[Cell, Cell]) -> bool:
    """Whether two rectangles, given by their corners, share a cell."""
    (top, left), (bottom, right) = one
    (other_top, other_left), (other_bottom, other_right) = other
    if bottom < other_top or other_bottom < top:
        return False
    return left <= other_right and other_left <= right


def headings_of(path: Sequence[Cell]) -> str:
    """A path as letters: one of N, E, S and W for each step.

    Raises:
        ValueError: A step is not straight, or not of length one.
    """
    names = {step: heading for heading, step in HEADINGS.items()}
    letters = []
    for before, after in pairwise(path):
        step = (after[0] - before[0], after[1] - before[1])
        if step not in names:
            raise ValueError(f"expected a straight step of length one, got {before} to {after}")
        letters.append(names[step])
    return "".join(letters)


def follow(start: Cell, headings: str) -> list[Cell]:
    """The path that begins at a cell and takes one step for each letter, its first cell included."""
    path = [start]
    for heading in headings:
        row, column = HEADINGS[heading]
        path.append((path[-1][0] + row, path[-1][1] + column))
    return path


def compress(headings: str) -> str:
    """Letters with their counts, where a count of one is left out: `NNNEE` is `3N2E`, `NE` stays as it is."""
    parts: list[str] = []
    count = 0
    for place, heading in enumerate(headings):
        count += 1
        if place + 1 == len(headings) or headings[place + 1] != heading:
            parts.append(heading if count == 1 else f"{count}{heading}")
            count = 0
    return "".join(parts)


def num_turns(headings: str) -> int:
    """How often a path changes its heading."""
    return sum(before != after for before, after in pairwise(headings))


def corners(path: Sequence[Cell]) -> list[Cell]:
    """The cells at which a path changes its direction, with its ends: enough to draw it."""
    kept = list(path[:1])
    for before, cell, after in zip(path, path[1:], path[2:], strict=False):
        if (cell[0] - before[0], cell[1] - before[1]) != (after[0] - cell[0], after[1] - cell[1]):
            kept.append(cell)
    return kept + list(path[-1:]) if len(path) > 1 else kept


def first_revisit(path: Sequence[Cell]) -> int | None:
    """The place in a path of the first cell that it has been to before; None where it never crosses itself."""
    seen: set[Cell] = set()
    for place, cell in enumerate(path):
        if cell in seen:
            return place
        seen.add(cell)
    return None


def path_cost(path: Sequence[Cell], costs: Mapping[Cell, int], default: int = 1) -> int:
    """The sum of what it costs to enter the cells of a path; the first is free, unlisted ones cost `default`."""
    return sum(costs.get(cell, default) for cell in path[1:])
