"""Credit assignment against brute force: plain Python over lists of turns, written from the equations."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from baselines.rl.advantages import (
    CREDITS,
    Credit,
    Decisions,
    bilevel_gae,
    decision_index,
    exists,
    gae,
    group_scale,
    has_partner,
    informative_groups,
    leave_one_out,
    mean_scale,
    minus_group_mean,
    per_decision,
    per_token,
    rewards_to_go,
    state_labels,
    step_advantages,
    whiten,
)


class Played(NamedTuple):
    """An episode as lists: of each turn the number of observation tokens and action tokens, and its reward."""

    turns: list[tuple[int, int, float]]


class Laid(NamedTuple):
    action_mask: Tensor
    turns: Tensor
    rewards: Tensor


turn = st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from([0.0, 0.25, -0.5, 1.0]))
episodes_of = st.lists(st.builds(Played, st.lists(turn, min_size=1, max_size=4)), min_size=2, max_size=6)


def lay_out(episodes: list[Played]) -> Laid:
    width = max(sum(seen + said for seen, said, _ in episode.turns) for episode in episodes)
    mask, turns = torch.zeros(len(episodes), width, dtype=torch.bool), torch.zeros(len(episodes), width).long()
    rewards = torch.zeros(len(episodes), width, dtype=torch.float64)
    for row, episode in enumerate(episodes):
        place = 0
        for number, (seen, said, reward) in enumerate(episode.turns):
            turns[row, place : place + seen + said] = number
            mask[row, place + seen : place + seen + said] = True
            place += seen + said
            rewards[row, place - 1] = reward
    return Laid(mask, turns, rewards)


def decisions(episode: Played, credit: Credit) -> list[tuple[int, float]]:
    """Of each decision: how many action tokens it has, and what it earned."""
    if credit == "trajectory":
        return [(sum(said for _, said, _ in episode.turns), sum(reward for *_, reward in episode.turns))]
    if credit == "turn":
        return [(said, reward) for _, said, reward in episode.turns]
    return [(1, reward * (k == said - 1)) for _, said, reward in episode.turns for k in range(said)]


def on_tokens(values: list[float], episode: Played, credit: Credit) -> list[float]:
    return [v for v, (count, _) in zip(values, decisions(episode, credit), strict=True) for _ in range(count)]


def to_go(rewards: list[float], gamma: float) -> list[float]:
    return [sum(gamma**k * r for k, r in enumerate(rewards[s:])) for s in range(len(rewards))]


@pytest.mark.parametrize("credit", CREDITS)
@given(episodes=episodes_of, gamma=st.sampled_from([1.0, 0.9, 0.0]))
@settings(max_examples=50, deadline=None)
def test_returns_reach_the_tokens(credit: Credit, episodes: list[Played], gamma: float) -> None:
    laid = lay_out(episodes)
    index = decision_index(laid.action_mask, laid.turns, credit)
    found = per_token(rewards_to_go(per_decision(laid.rewards, index), gamma), index)
    assert (found[~laid.action_mask] == 0).all()
    for row, episode in enumerate(episodes):
        expected = on_tokens(to_go([r for _, r in decisions(episode, credit)], gamma), episode, credit)
        assert found[row][laid.action_mask[row]].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("credit", CREDITS)
@given(episodes=episodes_of, data=st.data())
@settings(max_examples=50, deadline=None)
def test_gae_is_the_sum_of_equation_16(credit: Credit, episodes: list[Played], data: st.DataObject) -> None:
    """A_s = sum_l (gamma lambda)^l delta_(s+l), with the state after the last decision worth the bootstrap."""
    gamma, lam = data.draw(st.sampled_from([1.0, 0.9])), data.draw(st.sampled_from([0.0, 0.5, 0.95, 1.0]))
    laid = lay_out(episodes)
    index = decision_index(laid.action_mask, laid.turns, credit)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    token_values = torch.from_numpy(rng.normal(size=index.shape))
    bootstrap = torch.from_numpy(rng.normal(size=len(episodes)))
    everyone = torch.arange(len(episodes))
    values = per_decision(token_values * Decisions(index, everyone).first_tokens(), index)
    found = gae(per_decision(laid.rewards, index), values, exists(index), bootstrap, gamma, lam)
    for row, episode in enumerate(episodes):
        rewards = [r for _, r in decisions(episode, credit)]
        starts, place = [], 0
        tokens = token_values[row][laid.action_mask[row]].tolist()
        for count, _ in decisions(episode, credit):
            starts.append(tokens[place])
            place += count
        follow = [*starts[1:], float(bootstrap[row])]
        deltas = [r + gamma * v2 - v for r, v, v2 in zip(rewards, starts, follow, strict=True)]
        expected = to_go(deltas, gamma * lam)
        assert found[row][: len(expected)].tolist() == pytest.approx(expected)
        assert (found[row][len(expected) :] == 0).all()


@given(episodes=episodes_of, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_gae_at_lambda_1_is_the_return_minus_the_value(episodes: list[Played], seed: int) -> None:
    laid = lay_out(episodes)
    index = decision_index(laid.action_mask, laid.turns, "token")
    rewards, present = per_decision(laid.rewards, index), exists(index)
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=rewards.shape)) * present
    nothing = torch.zeros(len(episodes), dtype=torch.float64)
    found = gae(rewards, values, present, nothing, 1.0, 1.0)
    assert torch.allclose(found, (rewards_to_go(rewards) - values) * present)


def test_gae_bridges_an_observation_however_long() -> None:
    short, long = (lay_out([Played([(1, 2, 0.5), (seen, 2, 1.0)])]) for seen in (1, 40))
    found = []
    for laid in (short, long):
        index = decision_index(laid.action_mask, laid.turns, "token")
        values = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
        bootstrap = torch.zeros(1, dtype=torch.float64)
        found.append(gae(per_decision(laid.rewards, index), values, exists(index), bootstrap, 0.9, 0.8))
    assert torch.equal(*found)
    last = 1.0 - 0.4
    third = 0.9 * 0.4 - 0.3 + 0.72 * last
    second = 0.5 + 0.9 * 0.3 - 0.2 + 0.72 * third  # the end of the first action is followed by the second action
    assert found[0][0, 1].item() == pytest.approx(second)


@given(episodes=episodes_of, seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_group_baselines_by_turn(episodes: list[Played], seed: int) -> None:
    """A member that has finished counts with a return-to-go of 0."""
    laid = lay_out(episodes)
    index = decision_index(laid.action_mask, laid.turns, "turn")
    labels = np.random.default_rng(seed).permutation([0, 0, 1, 1, *([1] * len(episodes))][: len(episodes)])
    if min(list(labels).count(label) for label in set(labels)) < 2:
        labels[:] = 0
    groups = torch.from_numpy(labels)
    returns = rewards_to_go(per_decision(laid.rewards, index))
    mean_based, others_based = minus_group_mean(returns, groups), leave_one_out(returns, groups)
    scale = group_scale(laid.rewards.sum(1), groups)
    earned = [to_go([r for *_, r in episode.turns], 1.0) for episode in episodes]
    for row, mine in enumerate(earned):
        members = [other for other in range(len(episodes)) if labels[other] == labels[row]]
        for s, own in enumerate(mine):
            at_s = {other: earned[other][s] if s < len(earned[other]) else 0.0 for other in members}
            assert mean_based[row, s].item() == pytest.approx(own - sum(at_s.values()) / len(members))
            others = [value for other, value in at_s.items() if other != row]
            assert others_based[row, s].item() == pytest.approx(own - sum(others) / len(others))
        std = np.std([earned[other][0] for other in members])
        assert scale[row].item() == pytest.approx(1 / std if std > 1e-6 else 0.0)


def test_grpo_of_the_paper_by_hand() -> None:
    """Returns 1, 0, 0, 1 in one group and 0.3 throughout in another."""
    returns = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.3, 0.1 + 0.2, 0.3, 0.3], dtype=torch.float64)
    groups = torch.tensor([7, 7, 7, 7, 2, 2, 2, 2])
    advantages = minus_group_mean(returns[:, None], groups)[:, 0] * group_scale(returns, groups)
    assert advantages.tolist() == pytest.approx([1, -1, -1, 1, 0, 0, 0, 0])
    assert leave_one_out(returns[:4, None], groups[:4])[:, 0].tolist() == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])


def test_maxrl_divides_by_the_mean() -> None:
    """One success of four weighs 4, three of four weigh 4/3; a group that earns nothing, or less, teaches nothing."""
    returns = torch.tensor([1.0, 0, 0, 0, 1, 1, 1, 0, 0, 0, -1, 0])
    groups = torch.arange(3).repeat_interleave(4)
    assert mean_scale(returns, groups).tolist() == pytest.approx([4.0] * 4 + [4 / 3] * 4 + [0.0] * 4)


def test_informative_groups_by_hand() -> None:
    """Standard deviations 1/2, 0, 1 and 1/2 of four pairs."""
    returns, groups = torch.tensor([0.0, 1, 3, 3, 0, 2, 1, 0]), torch.arange(4).repeat_interleave(2)

    def kept(share: float, min_spread: float = 0.0) -> list[int]:
        return groups[informative_groups(returns, groups, share, min_spread)][::2].tolist()

    assert kept(0.25) == [2] and kept(0.5) == [0, 2] and kept(0.75) == [0, 2, 3] and kept(1.0) == [0, 1, 2, 3]
    assert kept(0.01) == [2] and kept(1.0, 1e-3) == [0, 2, 3] and kept(0.5, 0.6) == [2] and kept(1.0, 2.0) == []


def test_states_are_compared_within_a_group() -> None:
    labels = state_labels([["a", "b", "a"], ["a", "c"], ["a"]], torch.tensor([0, 0, 1]))
    assert labels.tolist() == [[0, 1, 0], [0, 2, -1], [3, -1, -1]]
    assert has_partner(labels).tolist() == [[True, False, True], [True, False, False], [False] * 3]
    assert state_labels([[], []], torch.tensor([0, 0])).tolist() == [[-1], [-1]]


def test_step_advantages_by_hand() -> None:
    """Three decisions in the state a, with returns 4, 1 and 1; one each in b and c."""
    labels = torch.tensor([[0, 1, 0], [0, 2, -1]])
    returns = torch.tensor([[4.0, 9.0, 1.0], [1.0, 7.0, 0.0]])
    found = step_advantages(returns, labels, minus_group_mean)
    assert found.tolist() == [[2, 0, -1], [-1, 0, 0]]
    scaled = step_advantages(returns, labels, minus_group_mean, scaled=True)
    root = 2**0.5  # the standard deviation of 4, 1, 1
    torch.testing.assert_close(scaled, torch.tensor([[2 / root, 0, -1 / root], [-1 / root, 0, 0]]))
    others = step_advantages(returns, labels, leave_one_out)
    torch.testing.assert_close(others, torch.tensor([[3.0, 0, -1.5], [-1.5, 0, 0]]))
    assert (step_advantages(returns, torch.tensor([[0, 1, 2], [3, 4, -1]]), leave_one_out) == 0).all()


def test_bilevel_gae_by_hand() -> None:
    """Two turns, of two tokens and of one; rewards 0.5 and 1; gamma .5, lambda .8, within turns .9."""
    values = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)
    rewards = torch.tensor([[-0.01, 0.5, 1.0]], dtype=torch.float64)  # the first token is charged a KL penalty
    turns, bootstrap = torch.tensor([[0, 0, 1]]), torch.tensor([0.4], dtype=torch.float64)
    second = 1.0 + 0.5 * 0.4 - 0.3
    first = 0.5 + 0.5 * 0.3 - 0.2 + 0.5 * 0.8 * second
    before = -0.01 + 0.9 * 0.2 - 0.1 + 0.9 * 0.8 * first
    found = bilevel_gae(rewards, values, turns, bootstrap, 0.5, 0.8, 0.9)
    assert found[0].tolist() == pytest.approx([before, first, second])


@given(episodes=episodes_of, seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_bilevel_gae_against_brute_force(episodes: list[Played], seed: int) -> None:
    laid, rng = lay_out(episodes), np.random.default_rng(seed)
    index = decision_index(laid.action_mask, laid.turns, "token")
    values = torch.from_numpy(rng.normal(size=(len(episodes), int(index.max()) + 1)))
    turns = torch.where(exists(index), per_decision(laid.turns, index), -1)
    bootstrap = torch.from_numpy(rng.normal(size=len(episodes)))
    found = bilevel_gae(per_decision(laid.rewards, index), values, turns, bootstrap, 0.9, 0.7, 0.95)
    for row, episode in enumerate(episodes):
        counts = [said for _, said, _ in episode.turns]
        ends = np.cumsum(counts) - 1
        at_ends = [float(values[row, end]) for end in ends]
        deltas = [
            reward + 0.9 * after - value
            for (*_, reward), after, value in zip(
                episode.turns, [*at_ends[1:], float(bootstrap[row])], at_ends, strict=True
            )
        ]
        expected: list[float] = []
        for count, end, advantage in zip(counts, ends, to_go(deltas, 0.9 * 0.7), strict=True):
            chain = [advantage]
            for token in range(end - 1, end - count, -1):
                delta = 0.95 * float(values[row, token + 1]) - float(values[row, token])
                chain.append(delta + 0.95 * 0.7 * chain[-1])
            expected += chain[::-1]
        assert found[row][: len(expected)].tolist() == pytest.approx(expected)
        assert (found[row][len(expected) :] == 0).all()


def test_leave_one_out_is_the_mean_baseline_stretched() -> None:
    """A - mean of others = k / (k - 1) (A - mean of all)."""
    returns = torch.tensor([[3.0], [1.0], [0.0], [0.5]])
    groups = torch.zeros(4).long()
    assert torch.allclose(leave_one_out(returns, groups), 4 / 3 * minus_group_mean(returns, groups))


def test_first_tokens_are_where_decisions_begin() -> None:
    laid = lay_out([Played([(2, 2, 0.0), (1, 3, 1.0)]), Played([(1, 1, 0.0)])])
    found = {
        credit: Decisions.of(laid.action_mask, laid.turns, torch.arange(2), credit).first_tokens().long().tolist()
        for credit in CREDITS
    }
    assert found["trajectory"] == [[0, 0, 1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert found["turn"] == [[0, 0, 1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert found["token"] == [[0, 0, 1, 1, 0, 1, 1, 1], [0, 1, 0, 0, 0, 0, 0, 0]]


def test_decisions_of_an_episode_in_several_rows_by_hand() -> None:
    """An episode of three turns in two rows (two turns, one turn), and one of a single turn in a row of its own."""
    mask = torch.tensor([[0, 1, 1, 0, 1], [0, 0, 1, 1, 0], [0, 1, 0, 0, 0]]).bool()
    turns = torch.tensor([[0, 0, 0, 1, 1], [2, 2, 2, 2, 2], [0, 0, 0, 0, 0]])
    episodes, values = torch.tensor([0, 0, 1]), torch.tensor([[0.0, 1, 2, 0, 3], [0, 0, 4, 5, 0], [0, 6, 0, 0, 0]])
    sums = {"token": [[1, 2, 3, 4, 5], [6, 0, 0, 0, 0]], "turn": [[3, 3, 9], [6, 0, 0]], "trajectory": [[15], [6]]}
    first = {
        "token": [[0, 1, 1, 0, 1], [0, 0, 1, 1, 0], [0, 1, 0, 0, 0]],
        "turn": [[0, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0]],
        "trajectory": [[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]],
    }
    for credit in CREDITS:
        decisions = Decisions.of(mask, turns, episodes, credit)
        assert decisions.num_episodes == 2
        assert decisions.sum(values).tolist() == sums[credit]
        assert decisions.first_tokens().long().tolist() == first[credit]
        spread = decisions.spread(decisions.sum(values))
        assert (spread[~mask] == 0).all()
        assert spread[1, 2] == {"token": 4, "turn": 9, "trajectory": 15}[credit]
        assert decisions.present().sum(1).tolist() == {"token": [5, 1], "turn": [3, 1], "trajectory": [1, 1]}[credit]


@pytest.mark.parametrize("credit", CREDITS)
@given(episodes=episodes_of, data=st.data())
@settings(max_examples=50, deadline=None)
def test_rows_of_an_episode_change_no_estimate(credit: Credit, episodes: list[Played], data: st.DataObject) -> None:
    """Cut between any turns into rows, the decisions, and what is estimated of them, are those of whole episodes."""
    laid, rng = lay_out(episodes), np.random.default_rng(data.draw(st.integers(0, 99)))
    values = torch.from_numpy(rng.normal(size=laid.action_mask.shape))
    whole = Decisions.of(laid.action_mask, laid.turns, torch.arange(len(episodes)), credit)
    rows, owners = [], []
    for number, episode in enumerate(episodes):
        cuts = sorted({0, len(episode.turns), *data.draw(st.lists(st.integers(1, len(episode.turns)), max_size=3))})
        for first, last in itertools.pairwise(cuts):
            rows.append((number, (laid.turns[number] >= first) & (laid.turns[number] < last)))
            owners.append(number)
    mask = torch.stack([laid.action_mask[number] & kept for number, kept in rows])
    turns, parts = laid.turns[owners], values[owners]
    cut = Decisions.of(mask, turns, torch.tensor(owners), credit)
    assert torch.equal(cut.present(), whole.present())
    returns = rewards_to_go(whole.sum(laid.rewards), 0.9)
    torch.testing.assert_close(rewards_to_go(cut.sum(laid.rewards[owners]), 0.9), returns)
    judged = whole.sum(values * whole.first_tokens())
    torch.testing.assert_close(cut.sum(parts * cut.first_tokens()), judged)
    bootstrap = torch.from_numpy(rng.normal(size=len(episodes)))
    estimates = gae(whole.sum(laid.rewards), judged, whole.present(), bootstrap, 0.9, 0.8)
    tokens = torch.zeros_like(values)
    for (number, _), row, acted in zip(rows, cut.spread(estimates), mask, strict=True):
        tokens[number, acted] = row[acted]
    torch.testing.assert_close(tokens, whole.spread(estimates))


def test_whitening_counts_action_tokens_alone() -> None:
    advantages = torch.tensor([[9.0, 1.0, 3.0], [9.0, 5.0, 9.0]])
    mask = torch.tensor([[False, True, True], [False, True, False]])
    found = whiten(advantages, mask)
    assert found[mask].mean().item() == pytest.approx(0, abs=1e-6)
    assert found[mask].std(correction=0).item() == pytest.approx(1)
    assert (found[~mask] == 0).all()
    assert (whiten(torch.full((2, 3), 0.1) + 1e-9, mask) == 0).all()  # all equal: nothing to learn, not noise blown up
    assert torch.equal(whiten(advantages, torch.zeros_like(mask)), advantages)


def test_an_episode_without_an_action() -> None:
    mask = torch.tensor([[False, False], [False, True]])
    index = decision_index(mask, torch.zeros(2, 2).long(), "turn")
    assert exists(index).tolist() == [[False], [True]]
    assert per_token(torch.tensor([[5.0], [6.0]]), index).tolist() == [[0, 0], [0, 6]]


def test_an_unknown_credit() -> None:
    with pytest.raises(ValueError, match="expected credit to be one of token, turn, trajectory, got 'word'"):
        decision_index(torch.ones(1, 1).bool(), torch.zeros(1, 1).long(), "word")  # type: ignore[arg-type]
