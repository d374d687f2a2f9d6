"""Rows of text: split from lines with quotes, sorted, grouped, counted and summed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

Row = Mapping[str, str]


def split_line(line: str, separator: str = ",") -> list[str]:
    """The fields of a line; quotes protect a separator, and two quotes within them stand for one.

    Raises:
        ValueError: A quote is not closed.
    """
    fields = [""]
    is_quoted = False
    for place, character in enumerate(line):
        if character == '"':
            if not is_quoted and place > 0 and line[place - 1] == '"':
                fields[-1] += '"'
            is_quoted = not is_quoted
        elif character == separator and not is_quoted:
            fields.append("")
        else:
            fields[-1] += character
    if is_quoted:
        raise ValueError(f"expected a closing quote, got {line!r}")
    return fields


def join_fields(fields: Iterable[str], separator: str = ",") -> str:
    """A line that `split_line` reads back: fields with separators or quotes are quoted."""
    parts = []
    for field in fields:
        if separator in field or '"' in field:
            field = '"' + field.replace('"', '""') + '"'
        parts.append(field)
    return separator.join(parts)


def parse_rows(text: str, missing: str = "") -> list[dict[str, str]]:
    """The rows below a header line, spaces around fields removed, empty lines left out; short rows are filled up.

    Raises:
        ValueError: A row has more fields than the header.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return []
    header = [name.strip() for name in split_line(lines[0])]
    rows = []
    for line in lines[1:]:
        fields = [field.strip() for field in split_line(line)]
        if len(fields) > len(header):
            raise ValueError(f"expected at most {len(header)} fields, got {len(fields)}")
        fields += [missing] * (len(header) - len(fields))
        rows.append(dict(zip(header, fields, strict=True)))
    return rows


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts `item2` before `item10`: runs of digits count as numbers, before letters."""
    runs: list[str] = []
    for character in text.lower():
        if runs and runs[-1][-1].isdecimal() == character.isdecimal():
            runs[-1] += character
        else:
            runs.append(character)
    return [(0, int(run), "") if run.isdecimal() else (1, 0, run) for run in runs]


def sort_rows(rows: Iterable[Row], *columns: str) -> list[Row]:
    """Rows sorted by columns in a natural order, the first counting most; a minus before a name turns its order round."""
    ordered = list(rows)
    for column in reversed(columns):
        is_reversed = column.startswith("-")
        name = column[1:] if is_reversed else column
        ordered.sort(key=lambda row: natural_key(row.get(name, "")), reverse=is_reversed)
    return ordered


def group_rows(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """The rows with each value of a column, in order of appearance; rows without the column are left out."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if column in row:
            groups.setdefault(row[column], []).append(row)
    return groups


def where(rows: Iterable[Row], column: str, low: int | None = None, high: int | None = None) -> list[Row]:
    """The rows whose column is a whole number from `low` to `high`, both included; a bound that is None is open."""
    kept = []
    for row in rows:
        digits = row.get(column, "").strip()
        if not digits.removeprefix("-").isdecimal():
            continue
        value = int(digits)
        if (low is None or value >= low) and (high is None or value <= high):
            kept.append(row)
    return kept


def unique(rows: Iterable[Row], column: str, *, keep_last: bool = False) -> list[Row]:
    """One row for each value of a column, the first or the last of them, in order of appearance of the values."""
    chosen: dict[str, Row] = {}
    for row in rows:
        value = row.get(column, "")
        if keep_last or value not in chosen:
            chosen[value] = row
    return list(chosen.values())


def median(values: Sequence[int]) -> float:
    """The middle value, or the mean of the two middle ones.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("expected at least one value, got none")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2 == 1:
        return float(ordered[middle])
    return (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values: Sequence[int], percent: int) -> int:
    """The smallest value that so many percent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-percent * len(ordered) // 100)
    return ordered[max(rank, 1) - 1]


def aggregate(rows: Iterable[Row], by: str, column: str, how: Callable[[list[int]], int] = sum) -> dict[str, int]:
    """One number for each value of `by`, from the whole numbers in a column; empty fields are skipped."""
    values: dict[str, list[int]] = {}
    for row in rows:
        if row[column] != "":
            values.setdefault(row[by], []).append(int(row[column]))
    return {value: how(numbers) for value, numbers in values.items()}


def pivot(rows: Iterable[Row], down: str, across: str, column: str) -> list[list[str]]:
    """A table of sums: a header with the values of `across`, then a line for each value of `down`, blank where none is."""
    sums: dict[tuple[str, str], int] = {}
    names: dict[str, None] = {}
    titles: dict[str, None] = {}
    for row in rows:
        name, title = row[down], row[across]
        names[name] = titles[title] = None
        sums[name, title] = sums.get((name, title), 0) + int(row[column])
    lines = [[name, *(str(sums.get((name, title), "")) for title in titles)] for name in names]
    return [[down, *titles], *lines]
