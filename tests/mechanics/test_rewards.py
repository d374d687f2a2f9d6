"""The guarantees of the milestone reward, for every count, density and path."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym.mechanics.rewards import MilestoneReward, num_milestones, num_paid

totals = st.integers(1, 60)
densities = st.floats(0, 1)


@given(totals, densities)
def test_milestones_follow_the_formula(total: int, density: float) -> None:
    assert num_milestones(total, density) == max(1, math.floor(density * total + 0.5))
    assert 1 <= num_milestones(total, density) <= total


@given(totals, densities, st.lists(st.integers(-5, 70), max_size=40))
def test_rewards_telescope_whatever_the_path(total: int, density: float, path: list[int]) -> None:
    reward = MilestoneReward(total, density)
    paid = sum(reward.pay(done) for done in path)
    last = path[-1] if path else 0
    assert paid == pytest.approx(num_paid(last, total, reward.milestones) / reward.milestones, abs=1e-9)


@given(totals, densities)
def test_a_solved_episode_returns_one(total: int, density: float) -> None:
    reward = MilestoneReward(total, density)
    assert sum(reward.pay(done) for done in range(total + 1)) == pytest.approx(1, abs=1e-9)


@given(totals, densities)
def test_without_regress_no_more_steps_pay_than_there_are_milestones(total: int, density: float) -> None:
    reward = MilestoneReward(total, density)
    assert sum(reward.pay(done) > 0 for done in range(total + 1)) == reward.milestones


@given(totals, st.lists(st.integers(0, 60), max_size=20))
def test_sparse_pays_success_alone(total: int, path: list[int]) -> None:
    reward = MilestoneReward(total, 0.0)
    rewards = [reward.pay(min(done, total - 1)) for done in path]
    assert not any(rewards)
    assert reward.pay(total) == 1


def test_hand_worked_balanced_quest_of_five() -> None:
    reward = MilestoneReward(5, 0.5)  # floor(2.5 + 0.5) = 3 milestones, at 2, 4 and 5 of 5
    assert [round(reward.pay(done), 6) for done in (1, 2, 3, 4, 3, 5)] == [
        0,
        round(1 / 3, 6),
        0,
        round(1 / 3, 6),
        round(-1 / 3, 6),
        round(2 / 3, 6),
    ]
