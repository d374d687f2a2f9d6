import pytest
from gridroute import search


def cells(*rows):
    return {(row, column) for row, line in enumerate(rows) for column, symbol in enumerate(line) if symbol != "#"}


def costs(*rows):
    return {
        (row, column): int(digit) for row, line in enumerate(rows) for column, digit in enumerate(line) if digit != "#"
    }


def test_neighbours_clockwise():
    assert search.neighbours((1, 1), cells("...", "...", "...")) == [(0, 1), (1, 2), (2, 1), (1, 0)]


def test_neighbours_are_open():
    assert search.neighbours((0, 0), cells(".#", "..")) == [(1, 0)]


def test_diagonal_neighbours_come_last():
    around = search.neighbours((1, 1), cells("...", "...", "..."), diagonal=True)
    assert around[4:] == [(0, 2), (2, 2), (2, 0), (0, 0)]


def test_diagonal_steps_cut_no_corner():
    assert search.neighbours((0, 0), cells(".#", "#."), diagonal=True) == []
    assert search.neighbours((0, 0), cells("..", "#."), diagonal=True) == [(0, 1), (1, 1)]
    assert search.neighbours((0, 0), cells(".#", ".."), diagonal=True) == [(1, 0), (1, 1)]


def test_num_open_sides():
    assert search.num_open_sides((1, 1), cells("#.#", "..#", "#.#")) == 3
    assert search.num_open_sides((1, 1), cells("###", "#..", "###")) == 1


def test_dead_ends():
    assert search.dead_ends(cells("...", "#.#", "##.")) == [(0, 0), (0, 2), (1, 1)]


def test_trace():
    assert search.trace({(0, 2): (0, 1), (0, 1): (0, 0)}, (0, 2)) == [(0, 0), (0, 1), (0, 2)]
    assert search.trace({}, (5, 5)) == [(5, 5)]


def test_trace_refuses_a_circle():
    with pytest.raises(ValueError, match="without circles"):
        search.trace({(0, 0): (0, 1), (0, 1): (0, 0)}, (0, 0))


def test_distances():
    found = search.distances((0, 0), cells("..#", "#..", ".#."))
    assert found == {(0, 0): 0, (0, 1): 1, (1, 1): 2, (1, 2): 3, (2, 2): 4}


@pytest.mark.parametrize(("limit", "num_cells"), [(0, 1), (1, 2), (2, 3), (9, 4)])
def test_distances_up_to_a_limit(limit, num_cells):
    assert len(search.distances((0, 0), cells("...."), limit)) == num_cells


def test_distances_along_a_winding_corridor():
    assert search.distances((0, 0), cells("...", "##.", "..."))[2, 0] == 6


def test_shortest_path():
    path = search.shortest_path((0, 0), (2, 0), cells("..", "#.", ".."))
    assert path == [(0, 0), (0, 1), (1, 1), (2, 1), (2, 0)]


def test_shortest_path_prefers_the_order_of_the_neighbours():
    assert search.shortest_path((1, 0), (0, 1), cells("..", "..")) == [(1, 0), (0, 0), (0, 1)]


def test_shortest_path_with_diagonal_steps():
    assert search.shortest_path((0, 0), (2, 2), cells("...", "...", "..."), diagonal=True) == [(0, 0), (1, 1), (2, 2)]


def test_shortest_path_may_be_none_or_trivial():
    assert search.shortest_path((0, 0), (0, 2), cells(".#.")) is None
    assert search.shortest_path((0, 0), (0, 0), cells("..")) == [(0, 0)]


def test_cheapest_costs():
    assert search.cheapest_costs((0, 0), costs("191", "111")) == {
        (0, 0): 0,
        (1, 0): 1,
        (1, 1): 2,
        (1, 2): 3,
        (0, 2): 4,
        (0, 1): 9,
    }


def test_cheapest_costs_around_a_wall():
    assert search.cheapest_costs((0, 0), costs("1#3", "2#1")) == {(0, 0): 0, (1, 0): 2}


def test_cheapest_costs_have_room_for_every_edge():
    assert search.cheapest_costs((0, 0), costs("11", "11", "11"))[2, 1] == 3


def test_cheapest_path_avoids_what_is_dear():
    assert search.cheapest_path((0, 0), (0, 2), costs("191", "111")) == (4, [(0, 0), (1, 0), (1, 1), (1, 2), (0, 2)])


def test_cheapest_path_takes_what_is_dear_where_it_pays():
    assert search.cheapest_path((0, 0), (0, 2), costs("131", "191")) == (4, [(0, 0), (0, 1), (0, 2)])


def test_cheapest_path_corrects_a_first_guess():
    cost, path = search.cheapest_path((0, 0), (1, 2), costs("151", "111"))
    assert (cost, path) == (3, [(0, 0), (1, 0), (1, 1), (1, 2)])


def test_cheapest_path_improves_a_cell_found_before():
    assert search.cheapest_path((0, 0), (0, 2), costs("171", "111", "###"))[0] == 4
    assert search.cheapest_path((1, 0), (0, 1), costs("19", "11"))[0] == 10
    assert search.cheapest_path((0, 0), (2, 2), costs("191", "111", "991"))[0] == 4


def test_cheapest_path_may_be_none_or_trivial():
    assert search.cheapest_path((0, 0), (0, 2), costs("1#1")) is None
    assert search.cheapest_path((0, 0), (0, 0), costs("11")) == (0, [(0, 0)])


def test_flood():
    assert search.flood((1, 1), cells("#.#", "..#", "##.")) == {(0, 1), (1, 0), (1, 1)}


def test_flood_in_every_direction():
    assert len(search.flood((1, 1), cells("...", "...", "..."))) == 9


def test_flood_from_a_wall():
    assert search.flood((0, 1), cells(".#.")) == set()


def test_regions():
    assert search.regions(cells(".#..", "##..", ".#..")) == [
        {(0, 2), (0, 3), (1, 2), (1, 3), (2, 2), (2, 3)},
        {(0, 0)},
        {(2, 0)},
    ]


@pytest.mark.parametrize(("min_size", "count"), [(1, 3), (2, 2), (3, 1), (4, 0)])
def test_regions_of_a_size(min_size, count):
    assert len(search.regions(cells(".#..#..."), min_size)) == count


def test_nearest():
    assert search.nearest((0, 0), [(0, 3), (1, 1), (0, 2)], cells("....", "#.##")) == ((0, 2), 2)


def test_nearest_in_reading_order():
    assert search.nearest((1, 1), [(2, 1), (0, 1)], cells("#.#", "...", "#.#")) == ((0, 1), 1)


def test_nearest_that_cannot_be_reached():
    assert search.nearest((0, 0), [(0, 2)], cells(".#.")) is None


def test_farthest():
    assert search.farthest((0, 0), cells("...", "#.#")) == ((0, 2), 2)
    assert search.farthest((0, 2), cells("...")) == ((0, 0), 2)


def test_bridges():
    assert search.bridges((0, 0), (0, 4), cells(".....", "#..##")) == [(0, 1), (0, 2), (0, 3)]
    assert search.bridges((0, 0), (0, 3), cells("....", "....")) == []


def test_bridges_where_there_is_no_path():
    assert search.bridges((0, 0), (0, 4), cells("..#..")) == []
