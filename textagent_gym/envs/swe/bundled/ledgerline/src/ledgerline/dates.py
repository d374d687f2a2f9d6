"""Dates of the Gregorian calendar and the little arithmetic that a ledger needs: days, months, quarters, workdays."""

from __future__ import annotations

from typing import NamedTuple

MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
CYCLES = ((400, 146_097, 24), (100, 36_524, 3), (4, 1_461, 24), (1, 365, 3))
"""Years, days, and how often the cycle fits at most into the next longer one (or into the years before 10000)."""


class Date(NamedTuple):
    """A day; compares and sorts as the calendar does."""

    year: int
    month: int
    day: int

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}"


def is_leap_year(year: int) -> bool:
    """Whether a year has a 29th of February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """The length of a month in days."""
    if month == 2 and is_leap_year(year):
        return 29
    return MONTH_LENGTHS[month - 1]


def parse_date(text: str) -> Date:
    """The date in `2024-03-01`, which may be written with slashes and without zeros: `2024/3/1`.

    Raises:
        ValueError: The text is no date of the years 1 to 9999.
    """
    parts = text.strip().replace("/", "-").split("-")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"expected a date such as 2024-03-01, got {text!r}")
    year, month, day = (int(part) for part in parts)
    if not 1 <= year <= 9999 or not 1 <= month <= 12:
        raise ValueError(f"expected a year up to 9999 and a month up to 12, got {text!r}")
    if not 1 <= day <= days_in_month(year, month):
        raise ValueError(f"expected a day of the month, got {text!r}")
    return Date(year, month, day)


def day_number(date: Date) -> int:
    """The number of a day, where 1 January of the year 1 is day 1 (as `datetime.date.toordinal` counts)."""
    years = date.year - 1
    days = years * 365 + years // 4 - years // 100 + years // 400
    days += sum(days_in_month(date.year, month) for month in range(1, date.month))
    return days + date.day


def from_day_number(number: int) -> Date:
    """The date with a number, the inverse of `day_number`.

    Raises:
        ValueError: The number is below 1.
    """
    if number < 1:
        raise ValueError(f"expected a day number from 1, got {number}")
    year, rest = 1, number - 1
    for num_years, num_days, most in CYCLES:
        count = min(rest // num_days, most)
        year += count * num_years
        rest -= count * num_days
    for month in range(1, 12):
        length = days_in_month(year, month)
        if rest < length:
            return Date(year, month, rest + 1)
        rest -= length
    return Date(year, 12, rest + 1)


def add_days(date: Date, num_days: int) -> Date:
    """The date so many days later, or earlier where the number is negative."""
    day = date.day + num_days
    if 1 <= day <= days_in_month(date.year, date.month):
        return Date(date.year, date.month, day)
    return from_day_number(day_number(date) + num_days)


def add_months(date: Date, num_months: int) -> Date:
    """The same day so many months later, or the last of that month where it is too short."""
    years, month = divmod(date.month - 1 + num_months, 12)
    year, month = date.year + years, month + 1
    return Date(year, month, min(date.day, days_in_month(year, month)))


def days_between(first: Date, last: Date) -> int:
    """Days from one date to another, negative where the second is earlier."""
    return day_number(last) - day_number(first)


def weekday(date: Date) -> int:
    """The day of the week, 1 for Monday to 7 for Sunday."""
    return (day_number(date) - 1) % 7 + 1


def next_workday(date: Date) -> Date:
    """The date itself, or the Monday after it where it falls on a weekend."""
    day = weekday(date)
    return add_days(date, 8 - day) if day > 5 else date


def month_end(date: Date) -> Date:
    """The last day of the date's month."""
    return date._replace(day=days_in_month(date.year, date.month))


def quarter(date: Date, first_month: int = 1) -> int:
    """The quarter of the financial year, from 1 to 4.

    Args:
        date: A day.
        first_month: The month in which the financial year begins.
    """
    return (date.month - first_month) % 12 // 3 + 1


def is_within_period(date: Date, first: Date | None = None, last: Date | None = None) -> bool:
    """Whether a date lies in a period, both ends included; an end that is None is open."""
    if first is not None and date < first:
        return False
    return last is None or date <= last
