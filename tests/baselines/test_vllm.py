"""Rollouts on a vLLM server, with a stand-in: tokens and log-probabilities, weights that are sent, and the correction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines import grpo, ppo
from baselines.config.settings import LearnerConfig, OptimiserSettings, RolloutSettings, UpdateSettings
from baselines.errors import ConfigError, TrainingError
from baselines.models.policy import Policy
from baselines.rl.batch import collate
from baselines.rl.logprobs import score_actions
from baselines.rl.losses import truncated_weights
from baselines.rl.update import policy_loss, token_weights
from baselines.sampling.environments import EnvPool, Task
from baselines.sampling.rollout import rollout
from baselines.sampling.vllm import ServerDecoder, connect_server
from tests.baselines.test_training import rl_config, small
from tests.support.toy_text_env import TOY
from tests.support.vllm_server import StandInClient

SETTINGS = RolloutSettings(temperature=0.7, max_new_tokens=6, max_context_tokens=256, num_envs=3)
URL = "http://localhost:8000"


@pytest.fixture
def policy(make_tiny: Callable[[int], Policy]) -> Policy:
    return make_tiny(3)


def config_on_server(out: Path, policy: Policy, name: str = "grpo", **changes: Any) -> LearnerConfig:
    policy.save(out / "model")
    config = rl_config(name, out / "run", out / "model", num_iterations=2, **small(name))
    run = replace(config.run, vllm_url=URL, eval_episodes=0)
    return replace(config, run=run, **changes)


def test_episodes_hold_what_the_server_sampled(policy: Policy) -> None:
    tasks = [Task(number // 2) for number in range(8)]
    with EnvPool([(TOY, {})]) as pool:
        played = rollout(policy, pool, tasks, SETTINGS, (1,), server=StandInClient(policy))
    assert [episode.seed for episode in played] == [task.seed for task in tasks]
    batch = collate(played, policy.pad_token_id)
    assert batch.action_mask.sum() > 50
    with torch.no_grad():
        own = score_actions(policy, batch, SETTINGS.temperature).logprobs
    assert (own - batch.old_logprobs)[batch.action_mask].abs().max() < 1e-4
    for episode in played:
        for turn in episode.turns:
            said = episode.token_ids[turn.action_start : turn.end].tolist()
            assert policy.chat.end_token_id not in said[:-1]
            assert said[-1] == policy.chat.end_token_id  # sampled, or put in where the turn was cut


@pytest.mark.parametrize(("name", "module"), [("grpo", grpo), ("ppo", ppo)])
def test_training_sends_its_weights_before_each_batch(
    name: str,
    module: Any,
    policy: Policy,
    make_tiny: Callable[[int], Policy],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = StandInClient(make_tiny(4))  # has other weights until it is sent the policy's
    monkeypatch.setattr("baselines.rl.learner.connect_server", lambda url: client)
    records = module.train(config_on_server(tmp_path, policy, name)).records
    assert client.calls == ["init", *["weights", "reset"] * 2]
    for record in records:
        assert record["train/rollout_gap"] < 1e-4
        assert record["train/rollout_weight"] == pytest.approx(1, abs=1e-4)
    if name == "ppo":  # groups of an untrained policy have no signal
        assert all(record["train/optimiser_steps"] > 0 for record in records)


def test_a_server_that_computes_otherwise_is_corrected(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = StandInClient(policy, shift=-1.0)
    monkeypatch.setattr("baselines.rl.learner.connect_server", lambda url: client)
    settings = UpdateSettings(rollout_cap=2.0, num_minibatches=1)
    records = ppo.train(config_on_server(tmp_path, policy, "ppo", update=settings)).records
    assert records[0]["train/rollout_gap"] == pytest.approx(1, abs=1e-4)
    assert records[0]["train/rollout_weight"] == pytest.approx(2, abs=1e-4)  # e^1, capped
    assert records[0]["train/approx_kl"] == pytest.approx(0, abs=1e-6)  # against the trainer's own policy


def test_weights_are_truncated_ratios() -> None:
    own = torch.tensor([[-1.0, -2.0, -3.0, -1.0]])
    served = torch.tensor([[-1.5, -1.5, -5.0, -9.0]])
    mask = torch.tensor([[True, True, True, False]])
    found = truncated_weights(own, served, mask, cap=2.0)
    torch.testing.assert_close(found, torch.tensor([[math.exp(0.5), math.exp(-0.5), 2.0, 1.0]]))


def test_the_gradient_of_a_token_is_multiplied_by_its_weight(policy: Policy) -> None:
    with EnvPool([(TOY, {})]) as pool:
        played = rollout(policy, pool, [Task(0), Task(1)], SETTINGS, (1,))
    settings = UpdateSettings()
    batch = collate(played, policy.pad_token_id)
    advantages = torch.linspace(-1, 1, batch.action_mask.numel()).view_as(batch.old_logprobs) * batch.action_mask
    weights = 0.5 + torch.rand(advantages.shape, generator=torch.Generator().manual_seed(0))
    batch = batch.with_columns(advantages=advantages, weights=token_weights(batch.action_mask, batch, settings))
    scores = score_actions(policy, batch, SETTINGS.temperature)
    plain = torch.autograd.grad(policy_loss(scores, batch, settings)[0], scores.logprobs, retain_graph=True)[0]
    weighted = batch.with_columns(rollout_weights=weights)
    found = torch.autograd.grad(policy_loss(scores, weighted, settings)[0], scores.logprobs)[0]
    torch.testing.assert_close(found, plain * weights)
    assert plain.abs().sum() > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"rollout": replace(SETTINGS, decode="listed")},
        {"rollout": replace(SETTINGS, max_think_tokens=2)},
        {"optimiser": OptimiserSettings(lora_rank=2)},
    ],
    ids=["listed", "thoughts", "lora"],
)
def test_what_a_server_cannot_do_is_refused(changes: dict[str, Any], policy: Policy, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected .* with (a vLLM server|vllm_url)"):
        grpo.train(config_on_server(tmp_path, policy, **changes))
    assert not (tmp_path / "run").exists()


def test_a_missing_server_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=f"expected TRL, vLLM and a vLLM server at {URL} for vllm_url"):
        connect_server(URL)


def test_a_reply_without_logprobs_is_refused(policy: Policy) -> None:
    client = StandInClient(policy)
    whole = client.generate

    def cut(prompts: list[list[int]], **options: Any) -> dict[str, Any]:
        reply = whole(prompts, **options)
        return reply | {"logprobs": [one[:-1] for one in reply["logprobs"]]}

    client.generate = cut  # type: ignore[method-assign, assignment]
    with (
        EnvPool([(TOY, {})]) as pool,
        pytest.raises(TrainingError, match="expected one log-probability for each token"),
    ):
        rollout(policy, pool, [Task(0)], SETTINGS, (1,), server=client)


def test_rows_come_and_go() -> None:
    decoder = ServerDecoder(client=None)  # type: ignore[arg-type]
    assert decoder.admit([[1, 2], [3], [4]]).shape == (3, 0)
    decoder.keep([2, 0])
    assert decoder.feed([[5], [6, 7]]).shape == (2, 0)
    decoder.admit([[8]])
    assert decoder.rows == [[4, 5], [1, 2, 6, 7], [8]]
