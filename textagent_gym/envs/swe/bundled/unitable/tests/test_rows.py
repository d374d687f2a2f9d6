import pytest
from unitable import rows as tables

FRUIT = [{"name": "fig", "n": "10"}, {"name": "pear", "n": "9"}, {"name": "fig", "n": "2"}]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a,b,,c", ["a", "b", "", "c"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"say ""hi""",x', ['say "hi"', "x"]),
        ('"",x', ["", "x"]),
        ("", [""]),
    ],
    ids=["plain", "quoted", "quotes", "blank", "empty"],
)
def test_split_line(line, expected):
    assert tables.split_line(line) == expected


def test_split_line_at_another_separator():
    assert tables.split_line("a,b;c", ";") == ["a,b", "c"]


def test_split_line_needs_a_closing_quote():
    with pytest.raises(ValueError, match="closing quote"):
        tables.split_line('a,"b')


def test_join_fields():
    assert tables.join_fields(["a", "b,c", 'd"e', ""]) == 'a,"b,c","d""e",'


def test_join_fields_with_another_separator():
    assert tables.join_fields(["a", "b,c"], ";") == "a;b,c"


def test_parse_rows():
    assert tables.parse_rows("\nx, y\n 1,2\n\n3 ,4\n") == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]


def test_parse_rows_fills_up_short_ones():
    assert tables.parse_rows("x,y,z\n1\n") == [{"x": "1", "y": "", "z": ""}]
    assert tables.parse_rows("x,y\n1", missing="-") == [{"x": "1", "y": "-"}]


def test_parse_rows_refuses_long_ones():
    with pytest.raises(ValueError, match="at most 2"):
        tables.parse_rows("x,y\n1,2,3")


def test_parse_rows_of_nothing():
    assert tables.parse_rows("\n  \n") == []


def test_natural_key():
    assert tables.natural_key("Item12b") == [(1, 0, "item"), (0, 12, ""), (1, 0, "b")]
    assert tables.natural_key("") == []


def test_natural_order():
    assert sorted(["b", "a10", "a9", "10", "9"], key=tables.natural_key) == ["9", "10", "a9", "a10", "b"]


def test_sort_rows():
    assert [row["n"] for row in tables.sort_rows(FRUIT, "n")] == ["2", "9", "10"]


def test_sort_rows_the_other_way_round():
    assert [row["n"] for row in tables.sort_rows(FRUIT, "-n")] == ["10", "9", "2"]


def test_sort_rows_by_two_columns():
    assert [row["n"] for row in tables.sort_rows(FRUIT, "-name", "n")] == ["9", "2", "10"]


def test_sort_rows_without_the_column():
    assert tables.sort_rows([{"a": "1"}, {}], "a") == [{}, {"a": "1"}]


def test_group_rows():
    groups = tables.group_rows(FRUIT, "name")
    assert groups == {"fig": [FRUIT[0], FRUIT[2]], "pear": [FRUIT[1]]}


def test_group_rows_leaves_out_those_without_the_column():
    assert tables.group_rows([{"a": "1"}, {"b": "1"}], "a") == {"1": [{"a": "1"}]}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(None, None, "10 9 2"), (9, None, "10 9"), (None, 9, "9 2"), (3, 9, "9"), (11, None, "")],
    ids=["open", "low", "high", "both", "none"],
)
def test_where(low, high, expected):
    assert [row["n"] for row in tables.where(FRUIT, "n", low, high)] == expected.split()


def test_where_takes_whole_numbers_only():
    rows = [{"n": "x"}, {"n": " -5 "}, {"n": "--5"}, {}, {"n": "1.5"}]
    assert tables.where(rows, "n") == [{"n": " -5 "}]


def test_unique():
    assert tables.unique(FRUIT, "name") == FRUIT[:2]


def test_unique_may_keep_the_last():
    assert tables.unique(FRUIT, "name", keep_last=True) == [FRUIT[2], FRUIT[1]]


def test_unique_without_the_column():
    assert tables.unique([{"a": ""}, {}], "a") == [{"a": ""}]


def test_median():
    for values, expected in (([5, 1, 3], 3), ([4, 1, 9, 2], 3), ([7], 7), ([1, 2], 1.5)):
        assert tables.median(values) == expected


def test_median_of_nothing():
    with pytest.raises(ValueError, match="at least one"):
        tables.median([])


def test_percentile():
    for percent, expected in ((0, 10), (25, 10), (26, 20), (50, 20), (100, 40)):
        assert tables.percentile([40, 10, 30, 20], percent) == expected


def test_percentile_of_a_hundred_values():
    assert tables.percentile(range(200), 99) == 197


def test_aggregate():
    assert tables.aggregate(FRUIT, "name", "n") == {"fig": 12, "pear": 9}


def test_aggregate_otherwise():
    assert tables.aggregate(FRUIT, "name", "n", max) == {"fig": 10, "pear": 9}


def test_aggregate_skips_empty_fields():
    assert tables.aggregate([{"k": "a", "v": ""}, {"k": "b", "v": "3"}], "k", "v") == {"b": 3}


def test_pivot():
    rows = [
        {"day": "mon", "who": "ann", "h": "2"},
        {"day": "tue", "who": "bob", "h": "3"},
        {"day": "mon", "who": "ann", "h": "4"},
    ]
    assert tables.pivot(rows, "day", "who", "h") == [["day", "ann", "bob"], ["mon", "6", ""], ["tue", "", "3"]]


def test_pivot_of_nothing():
    assert tables.pivot([], "day", "who", "h") == [["day"]]
