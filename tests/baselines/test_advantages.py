"""Advantages against hand-worked numbers and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.advantages import group_normalised_advantages, spread


def test_hand_worked_group() -> None:
    # mean 0.5, population standard deviation 0.5
    returns = torch.tensor([1.0, 0.0, 0.0, 1.0])
    groups = torch.zeros(4, dtype=torch.long)
    assert group_normalised_advantages(returns, groups).tolist() == [1.0, -1.0, -1.0, 1.0]


def test_groups_are_normalised_apart_and_may_be_interleaved() -> None:
    returns = torch.tensor([3.0, 0.0, 1.0, 0.0, 2.0, 1.0], dtype=torch.float64)
    groups = torch.tensor([7, 2, 7, 2, 7, 2])
    # group 7: mean 2, std sqrt(2/3); group 2: mean 1/3, std sqrt(2)/3
    high, low = (3 / 2) ** 0.5, 2**-0.5
    expected = torch.tensor([high, -low, -high, -low, 0.0, 2 * low], dtype=torch.float64)
    torch.testing.assert_close(group_normalised_advantages(returns, groups), expected)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1 + 0.2])
def test_a_group_without_spread_gives_zero(value: float) -> None:
    returns = torch.full((5,), value)
    assert group_normalised_advantages(returns, torch.zeros(5)).tolist() == [0.0] * 5


def test_rounding_is_not_spread() -> None:
    returns = torch.tensor([0.1 + 0.2, 0.3, 0.3], dtype=torch.float64)
    assert group_normalised_advantages(returns, torch.zeros(3)).abs().max() == 0


def test_no_episodes_no_advantages() -> None:
    assert group_normalised_advantages(torch.zeros(0), torch.zeros(0)).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(-5, 5, allow_nan=False).map(lambda x: round(x, 3))),
        min_size=1,
        max_size=20,
    )
)
def test_against_brute_force(rows: list[tuple[int, float]]) -> None:
    groups = torch.tensor([group for group, _ in rows])
    returns = torch.tensor([value for _, value in rows], dtype=torch.float64)
    expected = []
    for group, value in rows:
        members = np.array([other for label, other in rows if label == group])
        std = members.std()
        expected.append((value - members.mean()) / std if std > 1e-6 else 0.0)
    actual = group_normalised_advantages(returns, groups)
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=1e-9)


def test_spread_gives_every_action_token_the_advantage_of_its_episode() -> None:
    mask = torch.tensor([[False, True, True], [False, False, True]])
    assert spread(torch.tensor([2.0, -1.0]), mask).tolist() == [[0, 2, 2], [0, 0, -1]]
