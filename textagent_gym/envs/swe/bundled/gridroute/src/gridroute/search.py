"""Searches over sets of open cells: nearest, cheapest, connected. Each cell is expanded once, so every search ends."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Mapping

from gridroute.geometry import Cell, manhattan

STRAIGHT: tuple[Cell, ...] = ((-1, 0), (0, 1), (1, 0), (0, -1))
DIAGONAL: tuple[Cell, ...] = ((-1, 1), (1, 1), (1, -1), (-1, -1))


def neighbours(cell: Cell, cells: Collection[Cell], *, diagonal: bool = False) -> list[Cell]:
    """The open cells next to a cell, clockwise from the north, the straight ones first.

    A diagonal step may cut no corner: at least one of the two straight neighbours beside it has to be open.
    """
    row, column = cell
    found = [(row + down, column + right) for down, right in STRAIGHT if (row + down, column + right) in cells]
    if not diagonal:
        return found
    for down, right in DIAGONAL:
        is_cut = (row + down, column) not in cells and (row, column + right) not in cells
        if (row + down, column + right) in cells and not is_cut:
            found.append((row + down, column + right))
    return found


def num_open_sides(cell: Cell, cells: Collection[Cell]) -> int:
    """How many of the four cells around a cell are open."""
    row, column = cell
    around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return sum(other in cells for other in around)


def dead_ends(cells: Collection[Cell]) -> list[Cell]:
    """The open cells that can be left in one direction only, in reading order."""
    return sorted(cell for cell in cells if num_open_sides(cell, cells) == 1)


def trace(came_from: Mapping[Cell, Cell], goal: Cell) -> list[Cell]:
    """The path to a cell that the table of predecessors describes, its start included.

    Raises:
        ValueError: The table runs in a circle.
    """
    path = [goal]
    for _ in range(len(came_from) + 1):
        if path[-1] not in came_from:
            return path[::-1]
        path.append(came_from[path[-1]])
    raise ValueError(f"expected a table without circles, got one through {path[-1]}")


def distances(start: Cell, cells: Collection[Cell], limit: int | None = None) -> dict[Cell, int]:
    """The number of steps to every cell that can be reached, `limit` steps away at most."""
    found = {start: 0}
    edge = [start]
    for steps in range(1, len(cells) + 1):
        if not edge or (limit is not None and steps > limit):
            break
        after = []
        for cell in edge:
            for other in neighbours(cell, cells):
                if other not in found:
                    found[other] = steps
                    after.append(other)
        edge = after
    return found


def shortest_path(start: Cell, goal: Cell, cells: Collection[Cell], *, diagonal: bool = False) -> list[Cell] | None:
    """A path of fewest steps from start to goal, both included; None where there is none (breadth first)."""
    came_from: dict[Cell, Cell] = {}
    queue = deque([start])
    for _ in range(len(cells) + 1):
        if not queue:
            break
        cell = queue.popleft()
        if cell == goal:
            return trace(came_from, goal)
        for other in neighbours(cell, cells, diagonal=diagonal):
            if other != start and other not in came_from:
                came_from[other] = cell
                queue.append(other)
    return None


def cheapest_costs(start: Cell, costs: Mapping[Cell, int]) -> dict[Cell, int]:
    """The least cost of reaching each cell that can be reached, where entering a cell costs what is listed (Dijkstra)."""
    settled: dict[Cell, int] = {}
    heap = [(0, start)]
    for _ in range(4 * len(costs) + 1):
        if not heap:
            break
        cost, cell = heapq.heappop(heap)
        if cell in settled:
            continue
        settled[cell] = cost
        for other in neighbours(cell, costs):
            if other not in settled:
                heapq.heappush(heap, (cost + costs[other], other))
    return settled


def cheapest_path(start: Cell, goal: Cell, costs: Mapping[Cell, int]) -> tuple[int, list[Cell]] | None:
    """The least cost from start to goal, each at least 1 a cell, and a path with it; None where there is none (A*)."""
    best = {start: 0}
    came_from: dict[Cell, Cell] = {}
    heap = [(manhattan(start, goal), start)]
    for _ in range(4 * len(costs) + 1):
        if not heap:
            break
        _, cell = heapq.heappop(heap)
        if cell == goal:
            return best[goal], trace(came_from, goal)
        for other in neighbours(cell, costs):
            cost = best[cell] + costs[other]
            if other not in best or cost < best[other]:
                best[other] = cost
                came_from[other] = cell
                heapq.heappush(heap, (cost + manhattan(other, goal), other))
    return None


def flood(start: Cell, cells: Collection[Cell]) -> set[Cell]:
    """The open cells connected with a cell by straight steps; none where it is not open itself."""
    if start not in cells:
        return set()
    filled = {start}
    stack = [start]
    for _ in range(len(cells)):
        if not stack:
            break
        row, column = stack.pop()
        around = {(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)}
        fresh = [cell for cell in around if cell in cells and cell not in filled]
        filled.update(fresh)
        stack.extend(fresh)
    return filled


def regions(cells: Collection[Cell], min_size: int = 1) -> list[set[Cell]]:
    """The connected parts of the open cells, the largest first, without those below a size."""
    parts: list[set[Cell]] = []
    seen: set[Cell] = set()
    for cell in sorted(cells):
        if cell not in seen:
            part = flood(cell, cells)
            seen |= part
            if len(part) >= min_size:
                parts.append(part)
    return sorted(parts, key=lambda part: -len(part))


def nearest(start: Cell, goals: Iterable[Cell], cells: Collection[Cell]) -> tuple[Cell, int] | None:
    """The goal with the fewest steps to it, and their number; the first in reading order where several are as near."""
    steps = distances(start, cells)
    ranked = sorted((steps[goal], goal) for goal in goals if goal in steps)
    return (ranked[0][1], ranked[0][0]) if ranked else None


def farthest(start: Cell, cells: Collection[Cell]) -> tuple[Cell, int]:
    """The cell with the most steps to it, and their number; the first in reading order where several are as far."""
    steps = distances(start, cells)
    most = max(steps.values())
    return min(cell for cell, count in steps.items() if count == most), most


def bridges(start: Cell, goal: Cell, cells: Collection[Cell]) -> list[Cell]:
    """The cells between start and goal that every path must pass, in reading order; none where there is no path."""
    if goal not in flood(start, cells):
        return []
    others = [cell for cell in cells if cell not in (start, goal)]
    return sorted(cell for cell in others if goal not in flood(start, set(cells) - {cell}))
