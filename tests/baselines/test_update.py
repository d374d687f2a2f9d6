"""Minibatches, micro-batches and the loss: what is cut, what is counted, and what a gradient depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.config.settings import UpdateSettings
from baselines.models.policy import Policy
from baselines.rl.batch import Batch, collate, micro_batches, score_in_chunks
from baselines.rl.critic import Critic
from baselines.rl.learner import Meter
from baselines.rl.logprobs import TokenScores, score_actions
from baselines.rl.update import minibatches, policy_loss, useful_rows
from baselines.sampling.demonstrations import Demonstration, encode_demonstration
from baselines.sampling.episode import Episode


@pytest.fixture(scope="module")
def episodes(demonstrations: list[Demonstration], tiny_policy: Policy) -> list[Episode]:
    encoded = [encode_demonstration(tiny_policy.chat, demonstration) for demonstration in demonstrations[:8]]
    rng = np.random.default_rng(0)
    return [replace(e, logprobs=np.where(e.action_mask, rng.normal(-7, 0.5, e.num_tokens), 0)) for e in encoded]


@pytest.fixture
def batch(episodes: list[Episode], tiny_policy: Policy) -> Batch:
    whole = collate(episodes, tiny_policy.pad_token_id)
    advantages = torch.from_numpy(np.random.default_rng(1).normal(size=whole.action_mask.shape)).float()
    return whole.with_columns(advantages=advantages * whole.action_mask, ref_logprobs=whole.old_logprobs - 0.1)


def test_every_pass_sees_every_episode_once(batch: Batch) -> None:
    settings = UpdateSettings(update_epochs=2, num_minibatches=4)
    parts = list(minibatches(batch, settings, (1, 0)))
    assert [len(part) for part in parts] == [2] * 8
    rows = [tuple(row[:40].tolist()) for part in parts for row in part.token_ids]
    assert sorted(rows[:8]) == sorted(rows[8:]) and rows[:8] != rows[8:]
    again = list(minibatches(batch, settings, (1, 0)))
    assert all(torch.equal(one.token_ids, two.token_ids) for one, two in zip(parts, again, strict=True))
    assert all(part["weights"].sum().item() == pytest.approx(1) for part in parts)


def gradients(policy: Policy, batch: Batch, settings: UpdateSettings, max_tokens: int) -> list[torch.Tensor]:
    policy.model.zero_grad()
    (whole,) = minibatches(batch, settings, (1, 0))
    for piece in micro_batches(whole, max_tokens, useful_rows(whole, settings), packed=True):
        scores = score_actions(policy, piece, entropy_gradient=settings.entropy_coef > 0)
        loss, _ = policy_loss(scores, piece, settings)
        torch.autograd.backward(loss)
    return [parameter.grad.clone() for parameter in policy.model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("settings", [
    UpdateSettings(num_minibatches=1),
    UpdateSettings(num_minibatches=1, loss_aggregation="sequence", kl_coef=0.1),
    UpdateSettings(num_minibatches=1, entropy_coef=0.1),
])  # fmt: skip
def test_a_gradient_does_not_depend_on_how_a_minibatch_is_cut(
    batch: Batch, make_tiny: Callable[[int], Policy], settings: UpdateSettings
) -> None:
    policy = make_tiny(1)
    whole, pieces = (gradients(policy, batch, settings, tokens) for tokens in (100_000, 60))
    for one, two in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)


def test_rows_without_advantage_are_left_out_and_change_no_gradient(
    batch: Batch, make_tiny: Callable[[int], Policy]
) -> None:
    policy = make_tiny(1)
    silent = batch["advantages"].clone()
    silent[::2] = 0
    batch = batch.with_columns(advantages=silent)
    settings = UpdateSettings(num_minibatches=1)
    (whole,) = minibatches(batch, settings, (1, 0))
    assert useful_rows(whole, settings).sum() == 4
    assert useful_rows(whole, UpdateSettings(kl_coef=0.1)).all()
    assert useful_rows(whole, UpdateSettings(entropy_coef=0.1)).all()
    found = gradients(policy, batch, settings, 100_000)
    policy.model.zero_grad()
    loss, _ = policy_loss(score_actions(policy, whole), whole, settings)
    torch.autograd.backward(loss)
    expected = [parameter.grad for parameter in policy.model.parameters()]
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)


def test_only_action_tokens_reach_the_loss(batch: Batch) -> None:
    """The log-probability of an observation token never has a gradient, that of an action token always has."""
    settings = UpdateSettings(kl_coef=0.1, entropy_coef=0.1)
    weights = batch.action_mask / batch.action_mask.sum()
    logprobs = torch.randn(batch.action_mask.shape, generator=torch.Generator().manual_seed(0)) * 0.01
    logprobs = (batch.old_logprobs + logprobs).requires_grad_()
    entropy = torch.ones_like(logprobs).requires_grad_()
    scores = TokenScores(logprobs, entropy, batch.action_mask, None)
    loss, sums = policy_loss(scores, batch.with_columns(weights=weights), settings)
    torch.autograd.backward(loss)
    assert logprobs.grad is not None and entropy.grad is not None
    assert (logprobs.grad[~batch.action_mask] == 0).all() and (entropy.grad[~batch.action_mask] == 0).all()
    assert (logprobs.grad[batch.action_mask] != 0).all()
    torch.testing.assert_close(entropy.grad, -0.1 * weights)
    assert sums["tokens"] == batch.action_mask.sum()


def test_scores_in_pieces_are_those_of_the_whole(batch: Batch, tiny_policy: Policy) -> None:
    def score(piece: Batch) -> torch.Tensor:
        return score_actions(tiny_policy, piece).logprobs

    torch.testing.assert_close(
        score_in_chunks(score, batch, 60, packed=False),
        score_in_chunks(score, batch, 100_000, packed=True),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", ["head", "separate"])
def test_a_critic_sees_the_prompt_and_nothing_that_comes_later(
    kind: str, batch: Batch, make_tiny: Callable[[int], Policy]
) -> None:
    policy = make_tiny(1)
    critic = Critic(policy, kind)  # type: ignore[arg-type]
    assert (critic.values(policy, batch) == 0).all()  # before it has learned anything
    torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = critic.values(policy, batch)
        first = int(batch.action_mask[0].nonzero()[0, 0])
        changed = batch.token_ids.clone()
        changed[0, first] = (changed[0, first] + 1) % 50  # the first action token itself is not seen
        later = critic.values(policy, replace(batch, token_ids=changed))
        changed = batch.token_ids.clone()
        changed[0, first - 2] = (changed[0, first - 2] + 1) % 50  # the prompt is
        prompt = critic.values(policy, replace(batch, token_ids=changed))
    assert later[0, first].item() == pytest.approx(before[0, first].item(), abs=1e-5)
    assert prompt[0, first].item() != pytest.approx(before[0, first].item(), abs=1e-4)
    assert torch.allclose(prompt[1:], before[1:], atol=1e-5)


def test_a_meter_forgets_nothing_and_knows_when_to_stop() -> None:
    meter = Meter()
    assert meter.record() == {"train/optimiser_steps": 0}
    meter.add({"tokens": 2.0, "loss": 1.0, "approx_kl": 0.1, "entropy": 4.0})
    meter.add({"tokens": 2.0, "loss": 2.0, "approx_kl": 0.3, "entropy": 0.0})
    meter.close_step(meter.open_sums, 0.5)
    assert meter.open_sums == {}
    assert meter.is_past(0.06) and not meter.is_past(0.07) and not meter.is_past(None)  # 0.4 / 4 against 1.5 times
    meter.add({"tokens": 4.0, "loss": 1.0, "approx_kl": 0.0, "entropy": 0.0})
    meter.close_step(meter.open_sums, 1.5)
    record = meter.record()
    assert record["train/loss"] == 2 and record["train/entropy"] == 0.5 and record["train/approx_kl"] == 0.05
    assert record["train/grad_norm"] == 1 and record["train/optimiser_steps"] == 2
