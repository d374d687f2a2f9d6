"""Quantities with units, as exact fractions: read, converted, rounded and written."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

UNITS: dict[str, tuple[str, Fraction]] = {
    "mm": ("length", Fraction(1, 1000)),
    "cm": ("length", Fraction(1, 100)),
    "m": ("length", Fraction(1)),
    "km": ("length", Fraction(1000)),
    "in": ("length", Fraction(254, 10_000)),
    "ft": ("length", Fraction(3048, 10_000)),
    "mi": ("length", Fraction(1_609_344, 1000)),
    "g": ("mass", Fraction(1, 1000)),
    "kg": ("mass", Fraction(1)),
    "t": ("mass", Fraction(1000)),
    "lb": ("mass", Fraction(45_359_237, 100_000_000)),
    "ms": ("time", Fraction(1, 1000)),
    "s": ("time", Fraction(1)),
    "min": ("time", Fraction(60)),
    "h": ("time", Fraction(3600)),
    "d": ("time", Fraction(86_400)),
    "B": ("bytes", Fraction(1)),
    "kB": ("bytes", Fraction(1000)),
    "MB": ("bytes", Fraction(1_000_000)),
    "KiB": ("bytes", Fraction(1024)),
    "MiB": ("bytes", Fraction(1_048_576)),
}
"""The dimension of each unit, and its size in metres, kilograms, seconds or bytes."""

DURATION_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Quantity(NamedTuple):
    """A number of units, exact."""

    value: Fraction
    unit: str


def parse_number(text: str) -> Fraction:
    """The exact value of a decimal number such as `-1.25`, or of a fraction such as `3/4`.

    Raises:
        ValueError: The text is neither.
    """
    body = text.strip()
    digits = body[1:] if body[:1] in ("-", "+") else body
    top, slash, bottom = digits.partition("/")
    whole, point, decimals = top.partition(".")
    has_digits = (whole + decimals).isdecimal() and (bool(decimals) or not point)
    if not has_digits or (slash and (point or not bottom.isdecimal() or int(bottom) == 0)):
        raise ValueError(f"expected a number such as 1.25 or 3/4, got {text!r}")
    value = Fraction(int(whole + decimals), 10 ** len(decimals)) / int(bottom or "1")
    return -value if body.startswith("-") else value


def parse_quantity(text: str, default_unit: str = "") -> Quantity:
    """The number and the unit in `2.5 km` or `90min`.

    Args:
        text: A number and a unit, with or without a space between them.
        default_unit: What a number without a unit counts.

    Raises:
        ValueError: There is no number, or no unit that is known.
    """
    body = text.strip()
    end = max((place + 1 for place, character in enumerate(body) if character.isdecimal()), default=0)
    unit = body[end:].strip() or default_unit
    if unit not in UNITS:
        raise ValueError(f"expected a unit out of {', '.join(UNITS)}, got {unit!r}")
    return Quantity(parse_number(body[:end]), unit)


def convert(quantity: Quantity, unit: str) -> Quantity:
    """The same quantity in another unit.

    Raises:
        ValueError: The units measure different things.
    """
    dimension, size = UNITS[quantity.unit]
    other_dimension, other_size = UNITS[unit]
    if dimension != other_dimension:
        raise ValueError(f"expected a unit of {dimension}, got {unit!r}")
    return Quantity(quantity.value * size / other_size, unit)


def best_unit(quantity: Quantity, units: Iterable[str]) -> str:
    """The largest of some units of which the quantity holds at least one; the smallest where it holds none."""
    base = abs(quantity.value) * UNITS[quantity.unit][1]
    ordered = sorted(units, key=lambda unit: UNITS[unit][1])
    fitting = [unit for unit in ordered if base >= UNITS[unit][1]]
    return fitting[-1] if fitting else ordered[0]


def compare(one: Quantity, other: Quantity) -> int:
    """-1, 0 or 1 as the first quantity is smaller than the other, equal or larger, whatever their units of one kind."""
    left = one.value * UNITS[one.unit][1]
    right = other.value * UNITS[other.unit][1]
    return (left > right) - (left < right)


def total(quantities: Iterable[Quantity], unit: str) -> Quantity:
    """The sum of quantities, in a unit of their kind."""
    value = Fraction(0)
    for quantity in quantities:
        value += quantity.value * UNITS[quantity.unit][1]
    return Quantity(value / UNITS[unit][1], unit)


def round_half_even(value: Fraction, places: int = 0) -> Fraction:
    """A value rounded to decimal places, negative ones for tens and more; a tie goes to the even neighbour."""
    scale = Fraction(10) ** places
    scaled = value * scale
    floor, remainder = divmod(scaled, 1)
    if remainder > Fraction(1, 2) or (remainder == Fraction(1, 2) and floor % 2 == 1):
        floor += 1
    return floor / scale


def magnitude(value: Fraction) -> int:
    """The power of ten of a value's first digit: 2 for 345, -1 for 0.5; 0 for zero."""
    if value == 0:
        return 0
    top, bottom = abs(value.numerator), value.denominator
    guess = len(str(top)) - len(str(bottom))
    return guess if abs(value) >= Fraction(10) ** guess else guess - 1


def round_significant(value: Fraction, digits: int) -> Fraction:
    """A value rounded to so many significant digits.

    Raises:
        ValueError: There are to be no digits.
    """
    if digits < 1:
        raise ValueError(f"expected at least one digit, got {digits}")
    return round_half_even(value, digits - 1 - magnitude(value))


def format_decimal(value: Fraction, places: int = 2, *, trim: bool = False) -> str:
    """A value with so many decimals, rounded half to even; `trim` drops zeros at the end of them."""
    scaled = round(abs(value) * 10**places)
    digits = str(scaled).rjust(places + 1, "0")
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :]
    if trim:
        decimals = decimals.rstrip("0")
    sign = "-" if value < 0 and scaled > 0 else ""
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def format_duration(seconds: int, max_parts: int = 2) -> str:
    """A duration in its largest units, smaller parts cut off: 3661 seconds are `1h 1min`."""
    parts = []
    rest = abs(seconds)
    for size, unit in DURATION_UNITS:
        count, rest = divmod(rest, size)
        if count > 0:
            parts.append(f"{count}{unit}")
    text = " ".join(parts[:max_parts]) or "0s"
    return f"-{text}" if seconds < 0 else text


def parse_duration(text: str) -> int:
    """The seconds in a duration such as `1h 30min`, `90s` or `1:30:00`; a clock counts its last field as seconds.

    Raises:
        ValueError: A part is no time, or a clock has more than three fields.
    """
    if ":" not in text:
        parts = [parse_quantity(part) for part in text.split()]
        if not parts or any(UNITS[part.unit][0] != "time" for part in parts):
            raise ValueError(f"expected times, got {text!r}")
        return int(sum(part.value * UNITS[part.unit][1] for part in parts))
    fields = text.strip().split(":")
    if len(fields) > 3 or not all(field.isdecimal() for field in fields):
        raise ValueError(f"expected a clock such as 1:30:00, got {text!r}")
    seconds = 0
    for field in fields:
        seconds = seconds * 60 + int(field)
    return seconds
