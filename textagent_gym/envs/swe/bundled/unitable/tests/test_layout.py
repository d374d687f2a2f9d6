import pytest
from unitable import layout


def test_shorten():
    assert layout.shorten("a long text", 8) == "a lon..."
    assert layout.shorten("ab cdefg", 6) == "ab..."


def test_shorten_leaves_what_fits():
    assert layout.shorten("abcd", 4) == "abcd"


def test_shorten_has_room_for_the_mark_alone():
    assert layout.shorten("abcdef", 2) == ".."
    assert layout.shorten("abcdef", 3) == "..."
    assert layout.shorten("abcdef", 4) == "a..."


def test_shorten_middle():
    assert layout.shorten_middle("abcdefgh", 5) == "ab~gh"
    assert layout.shorten_middle("abcdefgh", 6) == "abc~gh"


def test_shorten_middle_at_the_limits():
    assert layout.shorten_middle("abcd", 4) == "abcd"
    assert layout.shorten_middle("abcd", 1) == "~"
    assert layout.shorten_middle("abcd", 2, "..") == ".."
    assert layout.shorten_middle("abcd", 0) == "~"


def test_wrap():
    assert layout.wrap("the quick  brown fox", 9) == ["the quick", "brown fox"]
    assert layout.wrap("the quick brown fox", 8) == ["the", "quick", "brown", "fox"]


def test_wrap_cuts_long_words():
    assert layout.wrap("a bcdefghi jk", 4) == ["a", "bcde", "fghi", "jk"]
    assert layout.wrap("abcde f", 3) == ["abc", "de", "f"]


def test_wrap_nothing():
    assert layout.wrap("  ", 5) == []


def test_indent():
    assert layout.indent("a\n\nb") == "  a\n\n  b"


def test_indent_hanging():
    assert layout.indent("a\nb\nc", "> ", hanging=True) == "a\n> b\n> c"


@pytest.mark.parametrize(
    ("how", "expected"), [("<", "ab   "), (">", "   ab"), ("^", " ab  ")], ids=["left", "right", "middle"]
)
def test_align(how, expected):
    assert layout.align("ab", 5, how) == expected


def test_align_at_other_widths():
    assert layout.align("ab", 3) == "ab "
    assert layout.align("ab", 8, "^") == "   ab   "
    assert layout.align("abcd", 3, ">") == "abcd"
    assert layout.align("abc", 3, ">") == "abc"


def test_align_refuses():
    with pytest.raises(ValueError, match="expected one of"):
        layout.align("ab", 5, "=")


def test_align_points():
    assert layout.align_points(["1.5", "10", "-2.25"]) == [" 1.5 ", "10   ", "-2.25"]
    assert layout.align_points([]) == []


def test_looks_numeric():
    for texts, expected in (
        (["1", "-2.5", ""], True),
        (["1", "x"], False),
        (["1.2.3"], False),
        (["", " "], False),
        ([], False),
    ):
        assert layout.looks_numeric(texts) is expected


def test_column_widths():
    assert layout.column_widths([["a", "bcd"], ["ef"], ["", "", "g"]]) == [2, 3, 1]


def test_column_widths_with_a_limit():
    assert layout.column_widths([["abcd", "ef"]], most=3) == [3, 2]
    assert layout.column_widths([["abcd", "ef"]], most=1) == [1, 1]


def test_the_widest_column_gives_way():
    assert layout.fit_widths([10, 4, 6], 16) == [6, 4, 6]
    assert layout.fit_widths([6, 6], 11) == [5, 6]


def test_widths_that_fit_are_left():
    assert layout.fit_widths([3, 4], 7) == [3, 4]
    assert layout.fit_widths([3, 4], 9) == [3, 4]


def test_no_width_falls_below_the_least():
    assert layout.fit_widths([9, 2], 1) == [3, 2]
    assert layout.fit_widths([9, 2], 1, least=5) == [5, 2]


def test_format_row():
    assert layout.format_row(["a", "b", "c"], [2, 3, 2], "<>") == "a     b  c"


def test_format_row_fills_up_what_is_missing():
    assert layout.format_row(["a"], [2, 3], gap="|") == "a |"
    assert layout.format_row(["a", "b"], [2, 3], ">>", gap="|") == " a|  b"


def test_table():
    table = layout.format_table(["what", "n"], [["pear", "5"], ["fig", "12"]])
    assert table.splitlines() == ["what   n", "----  --", "pear   5", "fig   12"]


def test_table_without_rule():
    assert layout.format_table(["a", "b"], [["ccc", "d"]], rule="") == "a    b\nccc  d"


def test_table_with_short_rows():
    assert layout.format_table(["a", "b"], [["c"], ["d", "e"]], rule="=") == "a  b\n=  =\nc\nd  e"
