"""LoRA: nothing at the start, trained alone, switched off, saved and merged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from baselines.errors import ModelError, TrainingError
from baselines.models.lora import add_lora, has_lora, load_lora_state, lora_state, merged_model, without_lora
from baselines.models.policy import Policy
from baselines.rl.batch import Batch, collate
from baselines.rl.logprobs import score_actions
from baselines.sampling.decoding import HistoryDecoder, RaggedDecoder
from baselines.sampling.demonstrations import Demonstration, encode_demonstration

pytest.importorskip("peft")

MakeTiny = Callable[[int], Policy]


@pytest.fixture
def policy(make_tiny: MakeTiny) -> Policy:
    """Return a tiny policy with an untrained adapter."""
    policy = make_tiny(1)
    add_lora(policy.model, rank=4, alpha=8.0, seed=3)
    return policy


@pytest.fixture
def batch(tiny_policy: Policy, demonstrations: list[Demonstration]) -> Batch:
    episodes = [encode_demonstration(tiny_policy.chat, demonstration) for demonstration in demonstrations[:4]]
    return collate(episodes, tiny_policy.pad_token_id)


def trained(policy: Policy) -> list[torch.nn.Parameter]:
    return [parameter for parameter in policy.model.parameters() if parameter.requires_grad]


def train(policy: Policy, batch: Batch, optimiser: torch.optim.Optimizer | None = None, steps: int = 3) -> None:
    optimiser = optimiser or torch.optim.AdamW(trained(policy), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = -score_actions(policy, batch).logprobs[batch.action_mask].mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@torch.no_grad()
def logprobs(policy: Policy, batch: Batch) -> Tensor:
    return score_actions(policy, batch).logprobs


def test_a_new_adapter_changes_nothing(policy: Policy, tiny_policy: Policy, batch: Batch) -> None:
    assert has_lora(policy.model) and not has_lora(tiny_policy.model)
    assert torch.equal(logprobs(policy, batch), logprobs(tiny_policy, batch))
    assert policy.has_plain_head
    assert type(policy.model) is type(tiny_policy.model)
    assert not any(module.training for module in policy.model.modules())


def test_all_linear_layers_but_the_head_have_one(policy: Policy) -> None:
    layers = policy.model.config.num_hidden_layers
    pairs = {name.rpartition(".")[0] for name in lora_state(policy.model)}
    assert len(pairs) == 7 * layers  # q, k, v, o, gate, up, down
    assert not any("lm_head" in name for name in pairs)
    assert all(len(weight) == 4 for name, weight in lora_state(policy.model).items() if "lora_A" in name)


def test_the_adapter_alone_is_trained(policy: Policy, tiny_policy: Policy, batch: Batch) -> None:
    before = {name: parameter.detach().clone() for name, parameter in policy.model.named_parameters()}
    train(policy, batch, torch.optim.AdamW(policy.model.parameters(), lr=1e-2, weight_decay=0.1))
    for name, parameter in policy.model.named_parameters():
        is_adapter = "lora_" in name
        assert parameter.requires_grad == is_adapter
        assert (parameter.grad is not None) == is_adapter
        assert torch.equal(parameter, before[name]) != is_adapter, name
    assert not torch.equal(logprobs(policy, batch), logprobs(tiny_policy, batch))


def test_the_adapter_is_scaled_by_alpha_over_rank(policy: Policy) -> None:
    layer = policy.model.model.layers[0].mlp.up_proj
    pair = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.nn.init.normal_(pair[1], generator=torch.Generator().manual_seed(1))
    hidden = torch.randn(5, pair[0].shape[1], generator=torch.Generator().manual_seed(2))
    expected = hidden @ layer.base_layer.weight.T + 8 / 4 * hidden @ pair[0].T @ pair[1].T
    torch.testing.assert_close(layer(hidden), expected)


def test_without_lora_it_is_its_own_reference(policy: Policy, tiny_policy: Policy, batch: Batch) -> None:
    train(policy, batch)
    after = logprobs(policy, batch)
    with without_lora(policy.model):
        assert torch.equal(logprobs(policy, batch), logprobs(tiny_policy, batch))
    assert torch.equal(logprobs(policy, batch), after)
    with torch.inference_mode(), without_lora(policy.model):
        assert torch.equal(score_actions(policy, batch).logprobs, logprobs(tiny_policy, batch))
    assert len(trained(policy)) == len(lora_state(policy.model))


def test_gradients_survive_the_reference(policy: Policy, batch: Batch) -> None:
    scores = score_actions(policy, batch)
    with without_lora(policy.model), torch.no_grad():
        reference = score_actions(policy, batch).logprobs
    (scores.logprobs - 2 * reference).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in trained(policy))


def test_the_adapter_comes_back_after_an_error(policy: Policy, batch: Batch) -> None:
    train(policy, batch)
    after = logprobs(policy, batch)
    with pytest.raises(KeyError), without_lora(policy.model):
        raise KeyError
    assert torch.equal(logprobs(policy, batch), after)


def test_no_reference_without_lora(tiny_policy: Policy) -> None:
    with pytest.raises(ValueError, match="expected a model with LoRA"), without_lora(tiny_policy.model):
        pass


def test_merged_it_is_an_ordinary_folder(policy: Policy, batch: Batch, tmp_path: Path) -> None:
    train(policy, batch)
    after = logprobs(policy, batch)
    state = lora_state(policy.model)
    Policy(merged_model(policy.model), policy.tokenizer).save(tmp_path)
    assert not list(tmp_path.glob("adapter*"))
    loaded = Policy.load(tmp_path)
    assert not has_lora(loaded.model)
    with torch.no_grad():
        expected = policy.model(batch.token_ids).logits
        torch.testing.assert_close(loaded.model(batch.token_ids).logits, expected, atol=1e-4, rtol=0)
        with without_lora(policy.model):
            assert (policy.model(batch.token_ids).logits - expected).abs().max() > 0.1
    # The policy itself is as it was.
    assert torch.equal(logprobs(policy, batch), after)
    assert all(torch.equal(weight, state[name]) for name, weight in lora_state(policy.model).items())


def test_merging_keeps_tied_weights_and_copies_all(policy: Policy) -> None:
    merged = merged_model(policy.model)
    head = merged.get_output_embeddings().weight
    assert merged.get_input_embeddings().weight is head
    own = {parameter.data_ptr() for parameter in policy.model.parameters()}
    assert own.isdisjoint(parameter.data_ptr() for parameter in merged.parameters())


def test_merging_without_lora_is_the_model(tiny_policy: Policy) -> None:
    assert merged_model(tiny_policy.model) is tiny_policy.model


def test_transposed_weights_are_merged_too(tiny_policy: Policy) -> None:
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=len(tiny_policy.tokenizer),
        n_positions=32,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=1,
        eos_token_id=1,
    )
    policy = Policy(GPT2LMHeadModel(config), tiny_policy.tokenizer)
    add_lora(policy.model, rank=2, alpha=4.0, seed=1)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    token_ids = torch.arange(16)[None]
    with torch.no_grad():
        expected = policy.model(token_ids).logits
        torch.testing.assert_close(merged_model(policy.model)(token_ids).logits, expected, atol=1e-4, rtol=0)


def test_a_state_comes_back_bit_for_bit(policy: Policy, make_tiny: MakeTiny, batch: Batch, tmp_path: Path) -> None:
    optimiser = torch.optim.AdamW(trained(policy), lr=1e-2)
    train(policy, batch, optimiser)
    torch.save({"lora": lora_state(policy.model), "optimiser": optimiser.state_dict()}, tmp_path / "state.pt")
    train(policy, batch, optimiser)

    resumed = make_tiny(1)
    add_lora(resumed.model, rank=4, alpha=8.0, seed=99)
    again = torch.optim.AdamW(trained(resumed), lr=1e-2)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    load_lora_state(resumed.model, state["lora"])
    again.load_state_dict(state["optimiser"])
    train(resumed, batch, again)
    expected = lora_state(policy.model)
    assert all(torch.equal(weight, expected[name]) for name, weight in lora_state(resumed.model).items())
    assert torch.equal(logprobs(resumed, batch), logprobs(policy, batch))


def test_a_state_is_a_copy(policy: Policy, tiny_policy: Policy, batch: Batch) -> None:
    before = lora_state(policy.model)
    train(policy, batch)
    assert any(not torch.equal(weight, before[name]) for name, weight in lora_state(policy.model).items())
    assert lora_state(tiny_policy.model) == {}


def test_a_state_of_another_rank(policy: Policy, make_tiny: MakeTiny, tiny_policy: Policy) -> None:
    other = make_tiny(1)
    add_lora(other.model, rank=2, alpha=8.0, seed=3)
    before = lora_state(other.model)
    with pytest.raises(TrainingError, match=r"expected LoRA weights of this model, got .*lora_A of shape \(4, "):
        load_lora_state(other.model, lora_state(policy.model))
    assert all(torch.equal(weight, before[name]) for name, weight in lora_state(other.model).items())
    with pytest.raises(TrainingError, match="for None"):
        load_lora_state(tiny_policy.model, lora_state(policy.model))


def test_a_seed_names_the_weights(policy: Policy, make_tiny: MakeTiny) -> None:
    states = [lora_state(policy.model)]
    for seed in (3, 4):
        other = make_tiny(1)
        before = torch.random.get_rng_state()
        add_lora(other.model, rank=4, alpha=8.0, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), before)
        states.append(lora_state(other.model))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_it_decodes_through_the_cache(policy: Policy, batch: Batch, demonstrations: list[Demonstration]) -> None:
    train(policy, batch)
    prompts = [policy.chat.first_turn(demonstration.observations[0]) for demonstration in demonstrations[:3]]
    more = [policy.chat.action("look"), policy.chat.action("go east"), policy.chat.action("x")]
    cached = RaggedDecoder(policy.model, policy.pad_token_id)
    plain = HistoryDecoder(policy.model, policy.pad_token_id)
    with torch.inference_mode():
        torch.testing.assert_close(cached.admit(prompts), plain.admit(prompts), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(cached.feed(more), plain.feed(more), atol=1e-4, rtol=1e-4)


def test_the_adapter_of_a_bfloat16_model_is_float32(make_tiny: MakeTiny, batch: Batch) -> None:
    policy = make_tiny(1)
    policy.model.bfloat16()
    before = logprobs(policy, batch)
    add_lora(policy.model, rank=4, alpha=8.0, seed=3)
    assert torch.equal(logprobs(policy, batch), before)
    assert {weight.dtype for weight in lora_state(policy.model).values()} == {torch.float32}
    train(policy, batch)
    merged = Policy(merged_model(policy.model), policy.tokenizer)
    assert merged.model.dtype == torch.bfloat16
    # bfloat16 keeps 8 bits, so merging rounds; it must still be nearer to what was trained than the start was.
    after = logprobs(policy, batch)
    assert (logprobs(merged, batch) - after).abs().mean() < 0.1 * (before - after).abs().mean()


def test_lora_twice(policy: Policy) -> None:
    with pytest.raises(ModelError, match="expected a model without LoRA"):
        add_lora(policy.model, rank=4, alpha=8.0, seed=3)


def test_peft_is_missing(make_tiny: MakeTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"expected the package peft .*pip install 'textagent-gym\[baselines\]'"):
        add_lora(make_tiny(1).model, rank=4, alpha=8.0, seed=3)
