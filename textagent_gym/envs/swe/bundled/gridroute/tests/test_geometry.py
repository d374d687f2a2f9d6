import pytest
from gridroute import geometry


def test_manhattan():
    assert geometry.manhattan((1, 5), (4, 1)) == 7
    assert geometry.manhattan((4, 1), (1, 5)) == 7


def test_chebyshev():
    assert geometry.chebyshev((1, 5), (3, 1)) == 4
    assert geometry.chebyshev((9, 1), (2, 3)) == 7


def test_octile():
    assert geometry.octile((0, 0), (2, 5)) == 2 * 14 + 3 * 10
    assert geometry.octile((7, 1), (1, 1)) == 60


def test_octile_with_other_prices():
    assert geometry.octile((4, 1), (1, 0), straight=2, diagonal=3) == 7


@pytest.mark.parametrize(("quarters", "expected"), [(1, "W"), (2, "N"), (-1, "E"), (4, "S")])
def test_turn(quarters, expected):
    assert geometry.turn("S", quarters) == expected


def test_turn_is_a_quarter_clockwise():
    assert geometry.turn("W") == "N"


def test_turn_refuses_what_is_no_heading():
    with pytest.raises(ValueError, match="expected one of N"):
        geometry.turn("X")


def test_line_along_a_row():
    assert geometry.line((2, 3), (2, 0)) == [(2, 3), (2, 2), (2, 1), (2, 0)]


def test_line_along_a_diagonal():
    assert geometry.line((0, 2), (2, 0)) == [(0, 2), (1, 1), (2, 0)]


def test_line_with_a_slope():
    assert geometry.line((0, 0), (1, 3)) == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert geometry.line((5, 1), (0, 3)) == [(5, 1), (4, 1), (3, 2), (2, 2), (1, 3), (0, 3)]


def test_line_breaks_ties_towards_the_origin():
    assert geometry.line((0, 0), (1, 2)) == [(0, 0), (0, 1), (1, 2)]
    assert geometry.line((0, 0), (2, 1)) == [(0, 0), (1, 0), (2, 1)]


def test_line_of_one_cell():
    assert geometry.line((3, 4), (3, 4)) == [(3, 4)]


def test_a_wall_between_hides():
    assert not geometry.can_see((0, 0), (0, 3), {(0, 1)})
    assert not geometry.can_see((0, 0), (0, 3), {(0, 2)})


def test_a_wall_beside_or_at_the_end_does_not_hide():
    assert geometry.can_see((0, 0), (0, 3), {(1, 1), (0, 0), (0, 3)})


def test_bounding_box():
    assert geometry.bounding_box([(3, 2), (1, 7), (2, 4)]) == ((1, 2), (3, 7))


def test_bounding_box_of_nothing():
    with pytest.raises(ValueError, match="at least one"):
        geometry.bounding_box([])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (((2, 2), (4, 4)), True),
        (((0, 0), (1, 1)), True),
        (((3, 0), (4, 2)), False),
        (((0, 3), (2, 5)), False),
        (((-3, 0), (0, 2)), False),
        (((1, -2), (2, 0)), False),
    ],
    ids=["lower_corner", "upper_corner", "below", "right", "above", "left"],
)
def test_boxes_overlap(other, expected):
    assert geometry.boxes_overlap(((1, 1), (2, 2)), other) is expected


def test_headings_of():
    assert geometry.headings_of([(1, 1), (0, 1), (0, 2), (1, 2), (1, 1)]) == "NESW"


def test_headings_of_a_single_cell():
    assert geometry.headings_of([(1, 1)]) == ""


@pytest.mark.parametrize("after", [(1, 1), (0, 2), (0, 0)], ids=["diagonal", "jump", "pause"])
def test_headings_of_other_steps(after):
    with pytest.raises(ValueError, match="straight step"):
        geometry.headings_of([(0, 0), after])


def test_follow():
    assert geometry.follow((1, 1), "NWSE") == [(1, 1), (0, 1), (0, 0), (1, 0), (1, 1)]


def test_compress():
    for headings, expected in (("NNNEE", "3N2E"), ("NE", "NE"), ("", ""), ("SSWSS", "2SW2S")):
        assert geometry.compress(headings) == expected


def test_num_turns():
    assert geometry.num_turns("NNEENN") == 2
    assert geometry.num_turns("NNN") == 0


def test_corners():
    assert geometry.corners([(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)]) == [(0, 0), (0, 2), (2, 2)]


def test_corners_of_a_straight_diagonal():
    assert geometry.corners([(0, 0), (1, 1), (2, 2)]) == [(0, 0), (2, 2)]


def test_corners_of_short_paths():
    assert geometry.corners([]) == []
    assert geometry.corners([(1, 1)]) == [(1, 1)]
    assert geometry.corners([(1, 1), (1, 2)]) == [(1, 1), (1, 2)]


def test_first_revisit():
    assert geometry.first_revisit([(0, 0), (0, 1), (0, 0), (0, 1)]) == 2
    assert geometry.first_revisit([(0, 0), (0, 1)]) is None


def test_path_cost():
    assert geometry.path_cost([(0, 0), (0, 1), (0, 2)], {(0, 0): 9, (0, 1): 5}) == 6
    assert geometry.path_cost([(0, 0), (0, 1), (0, 2)], {}, default=3) == 6
