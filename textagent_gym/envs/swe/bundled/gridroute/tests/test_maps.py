import pytest
from gridroute import maps

ROWS = ("abc", "def")


def test_parse_map():
    assert maps.parse_map("\n\n..#\n#\n\n.\n\n", fill="~") == ("..#", "#~~", "~~~", ".~~")


def test_parse_map_fills_with_spaces_and_keeps_those_in_front():
    assert maps.parse_map("  #\n#  ") == ("  #", "#  ")


def test_parse_map_of_nothing():
    with pytest.raises(ValueError, match="expected a map"):
        maps.parse_map("\n   \n")


def test_size():
    assert maps.size(ROWS) == (2, 3)
    assert maps.size(()) == (0, 0)


def test_get():
    for row, column, symbol in ((0, 0, "a"), (1, 2, "f"), (0, 2, "c"), (1, 0, "d")):
        assert maps.get(ROWS, (row, column)) == symbol


def test_get_off_the_map():
    for row, column in ((-1, 0), (0, -1), (2, 0), (0, 3)):
        assert maps.get(ROWS, (row, column)) == ""
        assert maps.get(ROWS, (row, column), "#") == "#"


def test_find_all():
    assert maps.find_all(("a.b", "ba."), "ab") == [(0, 0), (0, 2), (1, 0), (1, 1)]


def test_find_one():
    assert maps.find_one(ROWS, "f") == (1, 2)


@pytest.mark.parametrize("rows", [("a", "b"), ("aSS", "b"), ("S", "S")], ids=["none", "one_row", "two_rows"])
def test_find_one_refuses(rows):
    with pytest.raises(ValueError, match="exactly one"):
        maps.find_one(rows, "S")


def test_read_costs():
    assert maps.read_costs(("3#", ".0")) == {(0, 0): 3, (1, 0): 1, (1, 1): 0}


def test_read_costs_with_another_default():
    assert maps.read_costs((".S",), default=4) == {(0, 0): 4, (0, 1): 4}


def test_crop():
    assert maps.crop(("abcd", "efgh", "ijkl"), (1, 1), (2, 2)) == ("fg", "jk")


def test_crop_at_the_edge():
    assert maps.crop(ROWS, (-2, -1), (0, 1)) == ("ab",)
    assert maps.crop(ROWS, (1, 2), (8, 8)) == ("f",)


def test_pad():
    assert maps.pad(("ab",)) == ("####", "#ab#", "####")


def test_pad_with_a_wide_margin():
    assert maps.pad(("a",), 2, ".") == (".....", ".....", "..a..", ".....", ".....")


def test_pad_nothing():
    assert maps.pad(()) == ("##", "##")


def test_transpose():
    assert maps.transpose(ROWS) == ("ad", "be", "cf")


@pytest.mark.parametrize(
    ("quarters", "expected"), [(1, "da eb fc"), (2, "fed cba"), (-1, "cf be ad"), (4, "abc def")], ids=range(4)
)
def test_rotate(quarters, expected):
    assert maps.rotate(ROWS, quarters) == tuple(expected.split())


def test_rotate_is_a_quarter_clockwise():
    assert maps.rotate(("ab",)) == ("a", "b")


def test_mirror():
    assert maps.mirror(ROWS) == ("cba", "fed")


def test_mirror_upside_down():
    assert maps.mirror(ROWS, upside_down=True) == ("def", "abc")


@pytest.mark.parametrize(
    ("quarters", "expected"), [(0, (0, 2)), (1, (2, 1)), (2, (1, 0)), (3, (0, 0)), (-3, (2, 1))], ids=range(5)
)
def test_rotate_cell(quarters, expected):
    assert maps.rotate_cell((0, 2), 2, 3, quarters) == expected


def test_rotate_cell_is_a_quarter_clockwise():
    assert maps.rotate_cell((1, 0), 4, 2) == (0, 2)


def test_draw():
    assert maps.draw(ROWS, [(0, 0), (1, 2)]) == ("*bc", "de*")


def test_draw_ignores_what_is_off_the_map():
    assert maps.draw(ROWS, [(-1, 0), (0, -1), (2, 0), (0, 3)], "x") == ROWS


def test_draw_over_some_symbols():
    assert maps.draw(ROWS, [(0, 0), (0, 1), (0, 2)], "x", over="ac") == ("xbx", "def")


def test_legend():
    assert maps.legend(("b.a", "c a")) == [("a", 2), (".", 1), ("b", 1), ("c", 1)]


def test_legend_ignores():
    assert maps.legend(("b.a ",), ignore=".b") == [(" ", 1), ("a", 1)]
