"""Losses against hand-worked tensors and brute force, and their properties."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.rl.losses import (
    RATIO_LEVELS,
    Aggregation,
    RatioLevel,
    clip_fraction,
    clipped_policy_loss,
    explained_variance,
    k3_kl,
    kl_penalty,
    log_ratios,
    loss_weights,
    value_loss,
    weighted_sum,
)

MASK = torch.tensor([[False, True, True, False], [False, False, True, False]])


def test_clipped_loss_by_hand() -> None:
    ratio = torch.tensor([[1.0, 1.5, 0.5, 1.5, 0.5]])
    advantages = torch.tensor([[2.0, 2.0, 2.0, -2.0, -2.0]])
    loss = clipped_policy_loss(ratio.log(), advantages, clip_coef=0.2)
    # min(rA, clip(r)A): 2, 1.2*2, 0.5*2, 1.5*-2, 0.8*-2
    torch.testing.assert_close(loss, -torch.tensor([[2.0, 2.4, 1.0, -3.0, -1.6]]))


def test_upper_bound_of_its_own() -> None:
    ratio = torch.tensor([[1.25, 1.4]])
    loss = clipped_policy_loss(ratio.log(), torch.ones(1, 2), 0.2, clip_coef_high=0.28)
    torch.testing.assert_close(loss, -torch.tensor([[1.25, 1.28]]))


def test_k3_by_hand() -> None:
    logprobs, ref = torch.tensor([[math.log(0.5)]]), torch.tensor([[math.log(0.25)]])
    torch.testing.assert_close(k3_kl(logprobs, ref), torch.tensor([[0.5 - math.log(0.5) - 1]]))


def test_k3_is_unbiased() -> None:
    pi, ref = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.5, 0.3])
    expected = (pi * (pi / ref).log()).sum()
    torch.testing.assert_close((pi * k3_kl(pi.log(), ref.log())).sum(), expected)


def test_kl_penalty_is_minus_beta_log_ratio_and_right_on_average() -> None:
    pi, ref = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.5, 0.3])
    found = kl_penalty(pi.log(), ref.log(), 0.5)
    torch.testing.assert_close(found[0], torch.tensor(-0.5 * math.log(3)))
    torch.testing.assert_close((pi * found).sum(), -0.5 * (pi * (pi / ref).log()).sum())


def test_value_loss_by_hand() -> None:
    values, old, targets = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[0.0, 0.0, 0.0]]), torch.ones(1, 3)
    torch.testing.assert_close(value_loss(values, old, targets), torch.tensor([[0.0, 0.125, 0.5]]))
    # held within 0.2 of 0: predictions 0.2, 0.2, 0; the larger error of the two counts
    torch.testing.assert_close(value_loss(values, old, targets, clip=0.2), torch.tensor([[0.32, 0.32, 0.5]]))


def test_a_clipped_value_has_no_gradient_towards_its_target() -> None:
    values = torch.tensor([[0.6]], requires_grad=True)
    value_loss(values, torch.zeros(1, 1), torch.ones(1, 1), clip=0.2).sum().backward()
    assert values.grad is not None
    assert values.grad.item() == 0


def test_explained_variance() -> None:
    targets = torch.tensor([0.0, 1.0, 2.0])
    assert explained_variance(targets, targets) == 1
    assert explained_variance(torch.full((3,), 5.0), targets) == pytest.approx(0)
    assert explained_variance(-targets, targets) == pytest.approx(-3)
    assert explained_variance(targets, torch.ones(3)) == 0  # nothing to explain
    assert explained_variance(torch.zeros(0), torch.zeros(0)) == 0


def test_ppo_at_ratio_one_is_the_policy_gradient() -> None:
    """A2C's gradient, -A grad log pi, where the policy has not moved yet."""
    logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    advantages = torch.tensor([[3.0, -0.5]])
    clipped_policy_loss(logprobs - logprobs.detach(), advantages, 0.2).sum().backward()
    torch.testing.assert_close(logprobs.grad, -advantages)


def test_token_and_sequence_weights_by_hand() -> None:
    torch.testing.assert_close(loss_weights(MASK, "token"), torch.tensor([[0, 1, 1, 0], [0, 0, 1, 0]]) / 3)
    assert loss_weights(MASK, "sequence").tolist() == [[0, 0.25, 0.25, 0], [0, 0, 0.5, 0]]
    assert loss_weights(MASK, "constant", 4).tolist() == [
        [0, 0.125, 0.125, 0],
        [0, 0, 0.125, 0],
    ]  # 1 / (4 * 2 episodes)


def test_weights_of_episodes_in_several_rows_by_hand() -> None:
    """The first episode has three action tokens in two rows, the second one."""
    mask = torch.tensor([[False, True, True], [False, True, False], [True, False, False]])
    episodes = torch.tensor([4, 4, 7])
    found = loss_weights(mask, "sequence", episodes=episodes)
    torch.testing.assert_close(found, torch.tensor([[0, 1 / 6, 1 / 6], [0, 1 / 6, 0], [1 / 2, 0, 0]]))
    assert loss_weights(mask, "constant", 2, episodes)[mask].tolist() == [0.25] * 4
    assert loss_weights(mask, "token", episodes=episodes)[mask].tolist() == [0.25] * 4


def test_an_episode_without_action_tokens_counts_in_the_mean_over_episodes_and_breaks_nothing() -> None:
    mask = torch.tensor([[True, True], [False, False]])
    assert loss_weights(mask, "sequence").tolist() == [[0.25, 0.25], [0, 0]]
    assert loss_weights(torch.zeros(2, 2, dtype=torch.bool), "token").sum() == 0


def test_unknown_aggregation() -> None:
    with pytest.raises(ValueError, match="expected aggregation 'token', 'sequence' or 'constant', got 'mean'"):
        loss_weights(MASK, "mean")  # type: ignore[arg-type]


def test_what_is_off_the_mask_never_counts_not_even_nan() -> None:
    values = torch.tensor([[math.nan, 1.0, 2.0, math.inf], [math.nan, math.nan, 3.0, 0.0]])
    assert float(weighted_sum(values, loss_weights(MASK, "token"))) == pytest.approx(2.0)


TURNS = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0]])
ACTED = torch.tensor([[0, 0, 1, 1, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0, 0, 0]]).bool()
"""A row of two turns, with two tokens and with one, and a row of one token."""


def test_ratios_of_each_level_by_hand() -> None:
    """Ratios 2 and 8 in the first turn, 1/2 in the second, 3 in the other row."""
    logprobs = torch.tensor([[0, 0, 2.0, 8.0, 0, 0, 0.5, 0], [0, 3.0, 0, 0, 0, 0, 0, 0]])
    logprobs = torch.where(ACTED, logprobs.clamp(min=0.1).log(), 0.0)
    found = {level: log_ratios(logprobs, torch.zeros(2, 8), ACTED, TURNS, level).exp() for level in RATIO_LEVELS}
    torch.testing.assert_close(found["token"][ACTED], torch.tensor([2.0, 8.0, 0.5, 3.0]))
    torch.testing.assert_close(found["turn"][ACTED], torch.tensor([4.0, 4.0, 0.5, 3.0]))  # sqrt(2 * 8)
    torch.testing.assert_close(found["sequence"][ACTED], torch.tensor([2.0, 2.0, 2.0, 3.0]))  # cbrt(2 * 8 / 2)
    assert all((ratios[~ACTED] == 1).all() for ratios in found.values())


@pytest.mark.parametrize("level", ["turn", "sequence"])
def test_the_gradient_of_a_span_is_that_of_its_definition(level: RatioLevel) -> None:
    """-min(s A, clip(s) A) with s = (prod pi / pi_old)^(1 / |m|), one term a span; some spans are clipped."""
    generator = torch.Generator().manual_seed(3)
    old = torch.randn(2, 8, generator=generator, dtype=torch.float64) * ACTED
    new = ((old + 0.4 * torch.randn(2, 8, generator=generator)) * ACTED).requires_grad_(True)
    spans = [(0, [2, 3, 6])] if level == "sequence" else [(0, [2, 3]), (0, [6])]
    spans.append((1, [1]))
    advantages, clip = torch.zeros(2, 8, dtype=torch.float64), 0.05
    expected = torch.zeros((), dtype=torch.float64)
    for number, (row, columns) in enumerate(spans):
        advantage = (1.0, -2.0, 0.5)[number]
        advantages[row, columns] = advantage
        ratio = torch.exp((new[row, columns] - old[row, columns]).sum() / len(columns))
        expected = expected - len(columns) * torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    found = clipped_policy_loss(log_ratios(new, old, ACTED, TURNS, level), advantages, clip)[ACTED].sum()
    torch.testing.assert_close(found, expected)
    (one,), (two,) = torch.autograd.grad(found, new), torch.autograd.grad(expected, new)
    torch.testing.assert_close(one, two)
    assert (two[ACTED] == 0).any() and (two[ACTED] != 0).any()


def test_tokens_of_a_span_may_have_advantages_of_their_own() -> None:
    """GSPO-token: the gradient of a token is s A_t grad log pi(a_t)."""
    new = torch.where(ACTED, torch.linspace(-0.2, 0.3, 16).view(2, 8), 0.0).requires_grad_(True)
    advantages = torch.where(ACTED, torch.linspace(1, 2, 16).view(2, 8), 0.0)
    ratios = log_ratios(new, torch.zeros(2, 8), ACTED, TURNS, "sequence")
    clipped_policy_loss(ratios, advantages, 10.0)[ACTED].sum().backward()
    assert new.grad is not None
    torch.testing.assert_close(new.grad[ACTED], -(ratios.detach().exp() * advantages)[ACTED])


floats = st.floats(-3, 3, allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(floats, floats, floats), min_size=1, max_size=12), st.floats(0.05, 0.5))
def test_clipped_loss_against_brute_force(rows: list[tuple[float, float, float]], clip: float) -> None:
    expected, clipped = [], []
    for new, old, advantage in rows:
        ratio = math.exp(new - old)
        bounded = min(max(ratio, 1 - clip), 1 + clip)
        expected.append(-min(ratio * advantage, bounded * advantage))
        clipped.append(float((advantage > 0 and ratio > 1 + clip) or (advantage < 0 and ratio < 1 - clip)))
    columns = [torch.tensor(column, dtype=torch.float64)[None] for column in zip(*rows, strict=True)]
    new_logprobs, old_logprobs, advantages = columns
    found = clipped_policy_loss(new_logprobs - old_logprobs, advantages, clip)
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64))
    assert clip_fraction(new_logprobs - old_logprobs, advantages, clip).tolist() == [clipped]


@settings(max_examples=100, deadline=None)
@given(floats, floats)
def test_k3_is_never_negative_and_zero_only_at_equality(new: float, ref: float) -> None:
    value = float(k3_kl(torch.tensor(new, dtype=torch.float64), torch.tensor(ref, dtype=torch.float64)))
    assert value >= 0
    assert (value < 1e-12) == (abs(new - ref) < 1e-6) or abs(new - ref) < 1e-5


@pytest.mark.parametrize("aggregation", ["token", "sequence"])
def test_micro_batches_add_up_to_the_minibatch(aggregation: Aggregation) -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(6, 9, generator=generator) < 0.4
    values = torch.rand(6, 9, generator=generator)
    weights = loss_weights(mask, aggregation)
    whole = weighted_sum(values, weights)
    parts = sum(weighted_sum(values[rows], weights[rows]) for rows in ([0, 3], [1], [2, 4, 5]))
    torch.testing.assert_close(torch.as_tensor(parts), whole)
    per_row = [values[row][mask[row]] for row in range(6)]
    if aggregation == "token":
        expected = torch.cat(per_row).mean()
    else:
        expected = torch.stack([row.mean() if len(row) else row.sum() for row in per_row]).mean()
    torch.testing.assert_close(whole, expected)


def test_at_ratio_one_the_gradient_is_that_of_reinforce() -> None:
    logprobs = torch.randn(2, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    advantages = torch.tensor([[1.0], [-2.0]]).expand(2, 4)
    weights = loss_weights(MASK, "token")
    (clipped,) = torch.autograd.grad(
        weighted_sum(clipped_policy_loss(logprobs - logprobs.detach(), advantages, 0.2), weights), logprobs
    )
    (reinforce,) = torch.autograd.grad(weighted_sum(-logprobs * advantages, weights), logprobs)
    torch.testing.assert_close(clipped, reinforce)


def _gradient(logits: torch.Tensor, aggregation: Aggregation) -> torch.Tensor:
    """Return the gradient of a full loss on (B, T, V) logits that predict tokens at the same column."""
    leaf = logits.clone().requires_grad_(True)
    token_ids = torch.arange(8).view(2, 4) % 5
    logprobs = leaf.log_softmax(-1).gather(-1, token_ids[..., None])[..., 0]
    advantages = torch.tensor([[1.0], [-1.0]]).expand(2, 4)
    per_token = clipped_policy_loss(logprobs - (logprobs.detach() - 0.05), advantages, 0.2)
    per_token = per_token + 0.1 * k3_kl(logprobs, torch.full((2, 4), -1.0))
    (gradient,) = torch.autograd.grad(weighted_sum(per_token, loss_weights(MASK, aggregation)), leaf)
    return gradient


@pytest.mark.parametrize("aggregation", ["token", "sequence"])
def test_observation_logits_never_matter_and_action_logits_always_do(aggregation: Aggregation) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 4, 5, generator=generator)
    before = _gradient(logits, aggregation)
    assert before[~MASK].abs().max() == 0
    for row in range(2):
        for column in range(4):
            changed = logits.clone()
            changed[row, column] += torch.randn(5, generator=generator)
            same = torch.equal(before, _gradient(changed, aggregation))
            assert same == (not MASK[row, column])
