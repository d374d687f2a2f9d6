import datetime

import pytest
from ledgerline import dates
from ledgerline.dates import Date


def test_leap_years():
    for year, expected in ((2023, False), (2024, True), (1900, False), (2000, True)):
        assert dates.is_leap_year(year) is expected


def test_days_in_month():
    for year, month, length in ((2023, 2, 28), (2024, 2, 29), (2024, 1, 31), (2024, 4, 30), (1, 12, 31)):
        assert dates.days_in_month(year, month) == length


def test_a_date_is_written_with_zeros():
    assert str(Date(987, 3, 1)) == "0987-03-01"


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024-03-01", (2024, 3, 1)),
        ("2024/2/29", (2024, 2, 29)),
        (" 9999-12-31 ", (9999, 12, 31)),
        ("1-1-1", (1, 1, 1)),
    ],
    ids=["iso", "slashes", "last", "first"],
)
def test_parse_date(text, date):
    assert dates.parse_date(text) == Date(*date)


def test_parse_date_refuses_what_is_no_date():
    for text in ("", "2024-03", "2024-03-01-02", "2024-mar-01"):
        with pytest.raises(ValueError, match="expected a date"):
            dates.parse_date(text)


def test_parse_date_refuses_years_and_months():
    for text in ("0-1-1", "10000-1-1", "2024-0-1", "2024-13-1"):
        with pytest.raises(ValueError, match="expected a year"):
            dates.parse_date(text)


def test_parse_date_refuses_days():
    for text in ("2024-01-00", "2024-04-31", "2023-02-29"):
        with pytest.raises(ValueError, match="expected a day"):
            dates.parse_date(text)


def test_day_number_agrees_with_the_standard_library():
    for date in ((1, 1, 1), (1900, 3, 1), (2000, 2, 29), (2023, 12, 31), (2024, 3, 1), (9901, 1, 1), (401, 1, 1)):
        assert dates.day_number(Date(*date)) == datetime.date(*date).toordinal()


def test_from_day_number_agrees_with_the_standard_library():
    for number in (1, 365, 366, 36_524, 36_525, 146_097, 146_098, 730_179, 738_945):
        assert str(dates.from_day_number(number)) == datetime.date.fromordinal(number).isoformat()


def test_from_day_number_at_the_ends_of_cycles():
    for date in ((1600, 12, 31), (4, 12, 31), (2100, 2, 28), (9999, 12, 31)):
        assert dates.from_day_number(datetime.date(*date).toordinal()) == Date(*date)


def test_from_day_number_refuses_zero():
    with pytest.raises(ValueError, match="from 1"):
        dates.from_day_number(0)


@pytest.mark.parametrize(
    ("days", "date"),
    [(0, (2024, 2, 28)), (1, (2024, 2, 29)), (2, (2024, 3, 1)), (-27, (2024, 2, 1)), (-28, (2024, 1, 31))],
    ids=["none", "within", "over", "back", "back_over"],
)
def test_add_days(days, date):
    assert dates.add_days(Date(2024, 2, 28), days) == Date(*date)


@pytest.mark.parametrize(
    ("months", "date"),
    [(1, (2024, 2, 29)), (2, (2024, 3, 31)), (12, (2025, 1, 31)), (-1, (2023, 12, 31)), (-11, (2023, 2, 28))],
)
def test_add_months(months, date):
    assert dates.add_months(Date(2024, 1, 31), months) == Date(*date)


def test_days_between():
    assert dates.days_between(Date(2024, 2, 27), Date(2024, 3, 2)) == 4
    assert dates.days_between(Date(2024, 3, 2), Date(2024, 3, 1)) == -1


def test_weekday():
    for day, expected in ((4, 1), (9, 6), (10, 7)):
        assert dates.weekday(Date(2024, 3, day)) == expected


def test_next_workday():
    for day, expected in ((8, 8), (9, 11), (10, 11), (11, 11)):
        assert dates.next_workday(Date(2024, 3, day)) == Date(2024, 3, expected)


def test_month_end():
    assert dates.month_end(Date(2024, 2, 3)) == Date(2024, 2, 29)


def test_quarter():
    for month, expected in ((1, 1), (3, 1), (4, 2), (12, 4)):
        assert dates.quarter(Date(2024, month, 1)) == expected


def test_quarter_of_a_financial_year():
    for month, expected in ((4, 1), (3, 4), (7, 2)):
        assert dates.quarter(Date(2024, month, 1), first_month=4) == expected


def test_a_period_includes_its_ends():
    first, last = Date(2024, 3, 1), Date(2024, 3, 31)
    assert dates.is_within_period(first, first, last)
    assert dates.is_within_period(last, first, last)


def test_a_period_ends():
    assert not dates.is_within_period(Date(2024, 2, 29), Date(2024, 3, 1), Date(2024, 3, 31))
    assert not dates.is_within_period(Date(2024, 4, 1), Date(2024, 3, 1), Date(2024, 3, 31))


def test_a_period_may_be_open():
    assert dates.is_within_period(Date(2024, 4, 1), first=Date(2024, 3, 1))
    assert dates.is_within_period(Date(2024, 2, 1), last=Date(2024, 3, 1))
    assert dates.is_within_period(Date(2024, 2, 1))
