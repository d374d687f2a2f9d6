"""Requests are checked where they are made, and the message names the range."""

from typing import Any

import pytest

from textagent_gym.mechanics.knobs import Knobs, check_choice, check_integer, check_number


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"state_space_size": 0}, ValueError, "expected state_space_size at least 1, got 0"),
        ({"action_space_size": 2.5}, TypeError, "expected action_space_size to be an integer, got 2.5"),
        ({"solution_length": True}, TypeError, "expected solution_length to be an integer, got True"),
        ({"reward_density": 1.5}, ValueError, r"expected reward_density in \[0, 1\], got 1.5"),
        ({"reward_density": float("nan")}, ValueError, r"expected reward_density in \[0, 1\], got nan"),
        ({"reward_density": "dense"}, TypeError, "expected reward_density to be a number, got 'dense'"),
    ],
)
def test_bad_requests(change: dict[str, Any], error: type[Exception], message: str) -> None:
    knobs = {"state_space_size": 2, "action_space_size": 3, "solution_length": 4, "reward_density": 1, **change}
    with pytest.raises(error, match=message):
        Knobs(**knobs)


def test_within_names_the_range() -> None:
    knobs = Knobs(state_space_size=9, action_space_size=3, solution_length=4)
    assert knobs.within(state_space_size=(1, 9)) is knobs
    with pytest.raises(ValueError, match=r"expected state_space_size in \[1, 8\], got 9"):
        knobs.within(state_space_size=(1, 8))


def test_checks_accept_their_bounds() -> None:
    check_integer("x", 3, 3, 3)
    check_number("x", 0, 0, 0)
    check_choice("x", "a", ("a", "b"))
    with pytest.raises(ValueError, match="expected x to be one of 'a', 'b', got 'c'"):
        check_choice("x", "c", ("a", "b"))
    with pytest.raises(ValueError, match="expected x at least 0, got -1"):
        check_number("x", -1, 0)
