from fractions import Fraction

import pytest
from unitable import quantities
from unitable.quantities import Quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-1.25", Fraction(-5, 4)),
        ("+3", 3),
        (".5", Fraction(1, 2)),
        (" 3/4 ", Fraction(3, 4)),
        ("-3/2", Fraction(-3, 2)),
    ],
    ids=["whole", "minus", "plus", "decimals", "fraction", "minus_fraction"],
)
def test_parse_number(text, value):
    assert quantities.parse_number(text) == value


def test_parse_number_refuses_what_is_no_number():
    for text in ("", "-", "1.", ".", "1e3", "--1", "1.2.3"):
        with pytest.raises(ValueError, match="expected a number"):
            quantities.parse_number(text)


def test_parse_number_refuses_what_is_no_fraction():
    for text in ("1/", "/2", "1/0", "1.5/2", "1/2/3", "1/-2"):
        with pytest.raises(ValueError, match="expected a number"):
            quantities.parse_number(text)


@pytest.mark.parametrize(
    ("text", "value", "unit"), [("2.5 km", 2.5, "km"), ("90min", 90, "min"), (" -3/4  in ", -0.75, "in")], ids=range(3)
)
def test_parse_quantity(text, value, unit):
    assert quantities.parse_quantity(text) == Quantity(Fraction(value), unit)


def test_parse_quantity_with_a_default_unit():
    assert quantities.parse_quantity("12", "kg") == Quantity(Fraction(12), "kg")
    assert quantities.parse_quantity("12 g", "kg").unit == "g"


@pytest.mark.parametrize("text", ["12", "12 parsec"], ids=["none", "unknown"])
def test_parse_quantity_needs_a_unit(text):
    with pytest.raises(ValueError, match="expected a unit"):
        quantities.parse_quantity(text)


def test_parse_quantity_needs_a_number():
    with pytest.raises(ValueError, match="expected a number"):
        quantities.parse_quantity("kg")


@pytest.mark.parametrize(
    ("value", "unit", "other", "expected"),
    [
        (1, "mi", "km", Fraction(1_609_344, 1_000_000)),
        (2, "ft", "in", 24),
        (3, "MiB", "KiB", 3072),
        (90, "min", "h", Fraction(3, 2)),
    ],
    ids=["length", "inches", "bytes", "time"],
)
def test_convert(value, unit, other, expected):
    assert quantities.convert(Quantity(Fraction(value), unit), other) == Quantity(Fraction(expected), other)


def test_convert_refuses_another_dimension():
    with pytest.raises(ValueError, match="unit of mass"):
        quantities.convert(Quantity(Fraction(1), "kg"), "km")


def test_best_unit():
    for value, expected in ((999, "m"), (1000, "km"), (-2500, "km"), (Fraction(1, 2), "cm"), (0, "cm")):
        assert quantities.best_unit(Quantity(Fraction(value), "m"), ["km", "cm", "m"]) == expected


def test_compare():
    for value, expected in ((59, -1), (60, 0), (61, 1)):
        assert quantities.compare(Quantity(Fraction(value), "min"), Quantity(Fraction(1), "h")) == expected


def test_total():
    parts = [Quantity(Fraction(1), "kg"), Quantity(Fraction(250), "g")]
    assert quantities.total(parts, "g") == Quantity(Fraction(1250), "g")


def test_total_of_nothing():
    assert quantities.total([], "km") == Quantity(Fraction(0), "km")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2.4", 2), ("2.6", 3), ("2.5", 2), ("3.5", 4), ("-2.5", -2), ("-2.6", -3)],
)
def test_round_half_even(value, expected):
    assert quantities.round_half_even(Fraction(value)) == expected


def test_round_half_even_at_other_places():
    assert quantities.round_half_even(Fraction("1.2345"), 2) == Fraction("1.23")
    assert quantities.round_half_even(Fraction(1250), -2) == 1200


def test_magnitude():
    for value, expected in (("345", 2), ("1", 0), ("0.5", -1), ("-0.07", -2), ("0", 0), ("1000", 3), ("9.5", 0)):
        assert quantities.magnitude(Fraction(value)) == expected


@pytest.mark.parametrize(("digits", "expected"), [(1, 1000), (3, 1230), (6, Fraction("1234.57"))], ids=[1, 3, 6])
def test_round_significant(digits, expected):
    assert quantities.round_significant(Fraction("1234.567"), digits) == expected


def test_round_significant_refuses():
    with pytest.raises(ValueError, match="at least one"):
        quantities.round_significant(Fraction(1), 0)


@pytest.mark.parametrize(
    ("value", "places", "expected"),
    [
        ("3.14159", 3, "3.142"),
        ("0.05", 1, "0.0"),
        ("-0.05", 2, "-0.05"),
        ("7", 0, "7"),
        ("-0.001", 2, "0.00"),
        ("0.01", 2, "0.01"),
    ],
)
def test_format_decimal(value, places, expected):
    assert quantities.format_decimal(Fraction(value), places) == expected


def test_format_decimal_has_two_places():
    assert quantities.format_decimal(Fraction(5, 2)) == "2.50"
    assert quantities.format_decimal(Fraction(-1, 100)) == "-0.01"


def test_format_decimal_trims():
    assert quantities.format_decimal(Fraction(5, 2), 3, trim=True) == "2.5"
    assert quantities.format_decimal(Fraction(20), 3, trim=True) == "20"


def test_format_duration():
    for seconds, expected in (
        (0, "0s"),
        (59, "59s"),
        (3661, "1h 1min"),
        (86_400, "1d"),
        (90_061, "1d 1h"),
        (-61, "-1min 1s"),
        (3601, "1h 1s"),
    ):
        assert quantities.format_duration(seconds) == expected


def test_format_duration_with_other_parts():
    assert quantities.format_duration(90_061, 4) == "1d 1h 1min 1s"
    assert quantities.format_duration(90_061, 1) == "1d"


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h 30min", 5400), ("90s", 90), ("1:30:00", 5400), (" 2:05 ", 125)], ids=range(4)
)
def test_parse_duration(text, seconds):
    assert quantities.parse_duration(text) == seconds


def test_parse_duration_needs_times():
    for text in ("", "3km", "1h 2kg"):
        with pytest.raises(ValueError, match="expected times"):
            quantities.parse_duration(text)


def test_parse_duration_needs_a_clock():
    for text in ("1:2:3:4", "1:x", ":30"):
        with pytest.raises(ValueError, match="expected a clock"):
            quantities.parse_duration(text)
