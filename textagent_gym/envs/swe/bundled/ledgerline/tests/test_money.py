import pytest
from ledgerline.money import (
    divide_rounded,
    format_amount,
    group_thousands,
    is_whole_number,
    parse_amount,
    share_of,
    split_by_weight,
)


def test_whole_numbers():
    for text in ("0", "999", "1234567", "1,234", "123,456", "12,345,678"):
        assert is_whole_number(text)


def test_other_texts_are_no_whole_numbers():
    for text in ("", "1a", "1234,567", "1,23", "1,2345", ",123", "a,123", "1,b23"):
        assert not is_whole_number(text)


@pytest.mark.parametrize(
    ("text", "cents"),
    [("12", 1200), ("0.05", 5), ("3.5", 350), ("-7.25", -725), ("+7.25", 725), ("1,234.56", 123456), (" 8 ", 800)],
    ids=["whole", "cents", "one_decimal", "minus", "plus", "grouped", "spaces"],
)
def test_parse_amount(text, cents):
    assert parse_amount(text) == cents


def test_brackets_are_negative():
    assert parse_amount("(12.34)") == -1234


def test_parse_amount_refuses():
    for text in ("", "-", "1.234", "1.", "1.x", ".50", "(-1)", "(5", "5)", "--5"):
        with pytest.raises(ValueError, match="expected an amount"):
            parse_amount(text)


def test_group_thousands():
    for digits, grouped in (("7", "7"), ("123", "123"), ("1234", "1,234"), ("123456", "123,456")):
        assert group_thousands(digits) == grouped


def test_group_thousands_with_another_separator():
    assert group_thousands("12345678", "'") == "12'345'678"


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0.00"), (5, "0.05"), (199, "1.99"), (-50, "-0.50"), (250000, "2,500.00")]
)
def test_format_amount(cents, text):
    assert format_amount(cents) == text


def test_format_amount_in_brackets():
    assert format_amount(-4210, brackets=True) == "(42.10)"
    assert format_amount(4210, brackets=True) == "42.10"


def test_format_amount_may_leave_zero_blank():
    assert format_amount(0, blank_zero=True) == "-"
    assert format_amount(1, blank_zero=True) == "0.01"


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"),
    [(7, 3, 2), (8, 3, 3), (5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (6, 3, 2), (3, 1, 3)],
    ids=["down", "up", "tie_to_two", "tie_to_four", "minus_tie_to_two", "minus_tie_to_four", "exact", "by_one"],
)
def test_divide_rounded(numerator, denominator, quotient):
    assert divide_rounded(numerator, denominator) == quotient


def test_divide_rounded_refuses():
    for denominator in (0, -2):
        with pytest.raises(ValueError, match="positive denominator"):
            divide_rounded(1, denominator)


def test_share_of():
    assert share_of(10_000, 1_950) == 1_950
    assert share_of(333, 2_500) == 83
    assert share_of(100_000_000, 10_000) == 100_000_000


def test_shares_follow_the_weights():
    assert split_by_weight(1000, [1, 3]) == [250, 750]
    assert split_by_weight(7, [1]) == [7]


def test_the_largest_remainder_takes_the_cent():
    assert split_by_weight(100, [1, 1, 4]) == [17, 17, 66]
    assert split_by_weight(10, [3, 6, 5]) == [2, 4, 4]


def test_equal_remainders_favour_the_first():
    assert split_by_weight(101, [1, 1]) == [51, 50]


def test_debts_are_shared_too():
    assert split_by_weight(-100, [1, 2]) == [-33, -67]


def test_a_weight_may_be_zero():
    assert split_by_weight(9, [0, 1, 2]) == [0, 3, 6]


def test_weights_that_make_no_sense():
    for weights in ([], [0, 0], [5, -1], [-1, -2]):
        with pytest.raises(ValueError, match="expected weights"):
            split_by_weight(100, weights)
