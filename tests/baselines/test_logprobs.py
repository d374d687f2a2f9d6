"""Scores: packed, padded, in chunks or computed twice, they are those of each episode run alone."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    Qwen3Config,
)

from baselines.errors import ModelError
from baselines.models.policy import Policy
from baselines.rl import logprobs
from baselines.rl.batch import Batch
from baselines.rl.logprobs import TokenScores, score_actions, score_values
from baselines.sampling.decoding import RaggedDecoder, make_decoder

TEMPERATURE = 0.7
VOCAB = 61
LLAMA_LIKE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,  # attention that is far from even, so that a token too many shows
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SHORT = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "vocab_size": VOCAB}
CONFIGS = {
    "llama": LlamaConfig(**LLAMA_LIKE),
    "llama-dropout": LlamaConfig(**LLAMA_LIKE, attention_dropout=0.5),
    "qwen3": Qwen3Config(**LLAMA_LIKE),
    "granite": GraniteConfig(**LLAMA_LIKE, logits_scaling=3.0),
    "gpt2": GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2),
    "opt": OPTConfig(**SHORT, ffn_dim=48, word_embed_proj_dim=32, dropout=0.5, layerdrop=0.9, attention_dropout=0.5),
    "window": MistralConfig(**LLAMA_LIKE, sliding_window=10),  # longer than what `can_pack` tries
    "alibi": FalconConfig(**SHORT, alibi=True, bos_token_id=1, eos_token_id=2),
    "recurrent": MambaConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2),
}
PACKED, UNPACKED = ("llama", "qwen3", "granite", "gpt2", "opt"), ("window", "alibi", "recurrent")


@pytest.fixture(scope="module")
def make_policy(tiny_policy: Policy) -> Callable[[str], Policy]:
    """Make a policy of an architecture; the tokenizer is never asked for more than its special tokens, 0 to 3."""

    def make(name: str) -> Policy:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            return Policy(AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[name])), tiny_policy.tokenizer)

    return make


@pytest.fixture(scope="module")
def policies(make_policy: Callable[[str], Policy]) -> dict[str, Policy]:
    return {name: make_policy(name) for name in CONFIGS}


@pytest.fixture(scope="module")
def value_head() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(32, 1)


def make_batch(lengths: list[int], seed: int = 0, action_share: float = 0.4) -> Batch:
    draw = np.random.default_rng(seed)
    shape = len(lengths), max(lengths)
    attention = torch.arange(shape[1])[None] < torch.tensor(lengths)[:, None]
    actions = torch.from_numpy(draw.random(shape) < action_share) & attention
    actions[:, 0] = False
    token_ids = torch.where(attention, torch.from_numpy(draw.integers(3, VOCAB, shape)), 0)
    zeros = torch.zeros(shape)
    return Batch(token_ids, attention.long(), actions, zeros, torch.zeros_like(token_ids), zeros)


RAGGED = make_batch([14, 5, 1, 9, 20, 2], seed=1)
batches = st.builds(
    make_batch,
    lengths=st.lists(st.integers(1, 18), min_size=1, max_size=5),
    seed=st.integers(0, 2**20),
    action_share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
many = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def plain_scores(policy: Policy, batch: Batch, value_head: nn.Module) -> TokenScores:
    """Return every episode alone, the textbook way, through attention written out in full."""
    model = policy.model
    shape = batch.token_ids.shape
    result = [torch.zeros(shape), torch.zeros(shape), torch.zeros(shape, dtype=torch.bool), torch.zeros(shape)]
    for row, length in enumerate(batch.lengths):
        ids = batch.token_ids[row, :length]
        output = model(input_ids=ids[None], use_cache=False)
        hidden = model.base_model(input_ids=ids[None], use_cache=False).last_hidden_state[0]
        distribution = torch.distributions.Categorical(logits=output.logits[0] / TEMPERATURE)
        for t in batch.action_mask[row].nonzero()[:, 0].tolist():
            before = torch.distributions.Categorical(logits=distribution.logits[t - 1])
            result[0][row, t] = before.log_prob(ids[t])
            result[1][row, t] = before.entropy()
            result[2][row, t] = before.probs.argmax() == ids[t]
            result[3][row, t] = value_head(hidden[t - 1])[0]
    return TokenScores(*result)


def eager(policy: Policy) -> Policy:
    twin = copy.copy(policy)
    twin.model = copy.deepcopy(policy.model)
    if policy.model.config._attn_implementation is not None:
        twin.model.set_attn_implementation("eager")
    return twin


@contextmanager
def padded(policy: Policy) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(logprobs._packable, policy.model, False)
        yield


def all_scores(policy: Policy, batch: Batch, value_head: nn.Module) -> TokenScores:
    return score_actions(policy, batch, TEMPERATURE, value_head=value_head, entropy_gradient=True)


def objective(scores: TokenScores) -> Tensor:
    """Weigh every score of every token differently."""
    assert scores.values is not None
    weights = torch.linspace(-1, 2, scores.logprobs.numel()).view_as(scores.logprobs)
    return (weights * scores.logprobs + weights.square() * scores.entropy + weights.exp() * scores.values).sum()


def gradients(policy: Policy, value_head: nn.Module, loss: Tensor) -> Tensor:
    parameters = [*policy.model.parameters(), *value_head.parameters()]
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found])


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    error = torch.linalg.vector_norm(actual.double() - expected.double())
    assert error <= tolerance * torch.linalg.vector_norm(expected.double()) + 1e-7


def assert_same_scores(actual: TokenScores, expected: TokenScores) -> None:
    assert actual.values is not None and expected.values is not None
    assert_close(actual.logprobs, expected.logprobs)
    assert_close(actual.entropy, expected.entropy)
    assert_close(actual.values, expected.values)
    assert torch.equal(actual.correct, expected.correct)


@given(batch=batches)
@many
def test_packed_scores_and_gradients_are_the_padded_ones(
    policies: dict[str, Policy], value_head: nn.Linear, batch: Batch
) -> None:
    policy = policies["llama"]
    packed = all_scores(policy, batch, value_head)
    packed_gradient = gradients(policy, value_head, objective(packed))
    with padded(policy):
        reference = all_scores(policy, batch, value_head)
        gradient = gradients(policy, value_head, objective(reference))
    assert_same_scores(packed, reference)
    assert_close(packed_gradient, gradient)
    assert bool(gradient.any()) == bool(batch.action_mask.any())


@pytest.mark.parametrize("name", [*PACKED, *UNPACKED])
def test_scores_and_gradients_are_those_of_each_episode_alone(
    policies: dict[str, Policy], value_head: nn.Linear, name: str
) -> None:
    policy = policies[name]
    assert policy.has_plain_head == (name != "granite")
    for batch in (RAGGED, make_batch([17]), make_batch([8, 8, 8], seed=2)):
        scores = all_scores(policy, batch, value_head)
        assert logprobs.can_pack(policy.model) == (name in PACKED)
        alone = eager(policy)
        expected = plain_scores(alone, batch, value_head)
        assert_same_scores(scores, expected)
        assert_close(
            gradients(policy, value_head, objective(scores)), gradients(alone, value_head, objective(expected)), 2e-5
        )


def test_a_window_sees_less_than_the_whole_history(policies: dict[str, Policy], value_head: nn.Linear) -> None:
    wide = eager(policies["window"])
    wide.model.config.sliding_window = None
    narrow = all_scores(policies["window"], RAGGED, value_head).logprobs
    assert not torch.allclose(plain_scores(wide, RAGGED, value_head).logprobs, narrow, atol=1e-2)


def test_no_token_is_run_for_nothing(policies: dict[str, Policy]) -> None:
    policy, shapes = policies["llama"], []
    hook = policy.model.base_model.register_forward_hook(lambda _, __, output: shapes.append(output[0].shape[:2]))
    score_actions(policy, RAGGED)
    with padded(policy):
        score_actions(policy, RAGGED)
    hook.remove()
    last_actions = [max(row.nonzero()[:, 0].tolist(), default=0) for row in RAGGED.action_mask]
    assert 0 in last_actions and 0 < sum(last_actions) < 0.6 * RAGGED.token_ids.numel()
    assert shapes == [(1, sum(last_actions)), (len(RAGGED), max(last_actions))]


@pytest.mark.parametrize("pack", [True, False])
def test_gradients_enter_where_actions_are_predicted_and_nowhere_else(
    policies: dict[str, Policy], value_head: nn.Linear, pack: bool
) -> None:
    policy, seen = policies["llama"], []

    def keep(_: nn.Module, __: object, output: object) -> None:
        output.last_hidden_state.retain_grad()  # type: ignore[attr-defined]
        seen.append(output.last_hidden_state)  # type: ignore[attr-defined]

    hook = policy.model.base_model.register_forward_hook(keep)
    with pytest.MonkeyPatch.context() as patch:
        logprobs.can_pack(policy.model)
        patch.setitem(logprobs._packable, policy.model, pack)
        objective(all_scores(policy, RAGGED, value_head)).backward()
    hook.remove()
    policy.model.zero_grad(), value_head.zero_grad()
    reached = (seen[0].grad != 0).any(-1)
    wanted = RAGGED.action_mask[:, 1:]
    rows = [row[: int(row.nonzero().max()) + 1] if row.any() else row[:0] for row in wanted]
    if pack:
        assert reached[0].tolist() == torch.cat(rows).tolist()
    else:
        assert reached.tolist() == wanted[:, : reached.shape[1]].tolist()


@given(batch=batches, data=st.data())
@many
def test_a_last_token_matters_to_its_own_score_alone_and_only_if_acted(
    policies: dict[str, Policy], batch: Batch, data: st.DataObject
) -> None:
    row = data.draw(st.integers(0, len(batch) - 1))
    last = batch.lengths[row] - 1
    with torch.no_grad():
        before = score_actions(policies["llama"], batch).logprobs
        batch.token_ids[row, last] = batch.token_ids[row, last] % (VOCAB - 1) + 1
        after = score_actions(policies["llama"], batch).logprobs
    changed = (before != after).nonzero().tolist()
    assert changed == ([[row, last]] if batch.action_mask[row, last] else [])


@pytest.mark.parametrize("name", ["llama", "granite", "window"])
def test_chunks_change_nothing_and_bound_the_logits(
    policies: dict[str, Policy], value_head: nn.Linear, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    policy = policies[name]
    whole = all_scores(policy, RAGGED, value_head)
    whole_gradient = gradients(policy, value_head, objective(whole))
    monkeypatch.setattr(logprobs, "LOGITS_AT_ONCE", 3 * VOCAB + 1)
    sizes: list[int] = []
    score = logprobs._score
    monkeypatch.setattr(
        logprobs, "_score", lambda logits, *a, **k: (sizes.append(len(logits)), score(logits, *a, **k))[1]
    )
    scores = all_scores(policy, RAGGED, value_head)
    actions = int(RAGGED.action_mask.sum())
    assert max(sizes) == 3 and sum(sizes) == actions > 10
    gradient = gradients(policy, value_head, objective(scores))
    assert sum(sizes) == 2 * actions  # computed again for the gradient instead of kept
    assert_same_scores(scores, whole)
    assert_close(gradient, whole_gradient)


def test_entropy_is_differentiated_on_request_alone(policies: dict[str, Policy]) -> None:
    for wanted in (False, True):
        scores = score_actions(policies["llama"], RAGGED, entropy_gradient=wanted)
        assert scores.entropy.requires_grad == wanted and scores.logprobs.requires_grad
        assert scores.values is None


def test_values_alone_are_the_same_without_a_vocabulary(policies: dict[str, Policy], value_head: nn.Linear) -> None:
    policy = policies["llama"]
    together = all_scores(policy, RAGGED, value_head).values
    calls: list[int] = []
    hook = policy.model.get_output_embeddings().register_forward_hook(lambda *_: calls.append(1))
    alone = score_values(policy.model, RAGGED, value_head)
    hook.remove()
    assert together is not None and torch.equal(alone, together) and not calls
    assert alone.requires_grad and alone[RAGGED.action_mask].all() and not alone[~RAGGED.action_mask].any()


def test_values_and_scores_are_float32_in_half_precision(
    make_policy: Callable[[str], Policy], value_head: nn.Linear
) -> None:
    policy = make_policy("llama")
    policy.model.bfloat16()
    scores = all_scores(policy, RAGGED, value_head)
    assert logprobs.can_pack(policy.model)
    assert {scores.logprobs.dtype, scores.entropy.dtype, scores.values.dtype} == {torch.float32}  # type: ignore[union-attr]
    with padded(policy):
        reference = all_scores(policy, RAGGED, value_head)
    assert_close(scores.logprobs, reference.logprobs, 0.02)


@pytest.mark.parametrize("name", ["llama", "llama-dropout", "gpt2", "opt", "window", "granite"])
def test_checkpointed_layers_give_the_same_without_dropout(
    make_policy: Callable[[str], Policy], value_head: nn.Linear, name: str
) -> None:
    policy = make_policy(name)
    kept = all_scores(policy, RAGGED, value_head)
    kept_gradient = gradients(policy, value_head, objective(kept))
    policy.checkpoint_activations()
    calls: list[int] = []
    layer = next(m for m in policy.model.modules() if isinstance(m, nn.ModuleList))[0]
    inner = next(m for m in layer.modules() if isinstance(m, nn.Linear) or "Conv1D" in type(m).__name__)
    hook = inner.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        assert_same_scores(all_scores(policy, RAGGED, value_head), kept)
    assert len(calls) == 1
    again = all_scores(policy, RAGGED, value_head)
    assert not any(module.training for module in policy.model.modules())
    gradient = gradients(policy, value_head, objective(again))
    hook.remove()
    assert len(calls) == 3  # twice with gradients: the layer was run again for them
    assert_same_scores(again, kept)
    assert_close(gradient, kept_gradient)


def test_a_policy_that_checkpoints_is_decoded_with_its_cache(tiny_policy: Policy) -> None:
    policy = Policy(copy.deepcopy(tiny_policy.model), tiny_policy.tokenizer)
    prompts, chunk = [[5, 6, 7], [8, 9, 10, 11, 12]], [[20, 21], [22]]
    logits = []
    for prepare in (lambda: None, policy.checkpoint_activations):
        prepare()
        decoder = make_decoder(policy.model, policy.pad_token_id)
        assert isinstance(decoder, RaggedDecoder)
        decoder.admit(prompts)
        logits.append(decoder.feed(chunk))
    batch = make_batch([7, 4])
    score_actions(policy, batch).logprobs.sum().backward()
    decoder = make_decoder(policy.model, policy.pad_token_id)
    decoder.admit(prompts)
    assert torch.equal(logits[0], logits[1])
    torch.testing.assert_close(decoder.feed(chunk), logits[0])


def test_a_model_that_cannot_checkpoint_is_refused(
    make_policy: Callable[[str], Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = make_policy("llama")
    monkeypatch.setattr(type(policy.model), "supports_gradient_checkpointing", False)
    with pytest.raises(ModelError, match="expected a model that supports activation checkpointing, got LlamaForCausal"):
        policy.checkpoint_activations()


def test_what_packing_and_dropout_change_is_not_saved(make_policy: Callable[[str], Policy], tmp_path: Path) -> None:
    policy = make_policy("llama-dropout")
    score_actions(policy, RAGGED)
    assert policy.model.config._attn_implementation == logprobs._ATTENTION
    policy.model.save_pretrained(tmp_path)
    saved = (tmp_path / "config.json").read_text()
    assert logprobs._ATTENTION not in saved and json.loads(saved)["attention_dropout"] == 0.5
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"
    assert logprobs.can_pack(copy.deepcopy(policy.model))  # a reference or critic made from a policy in training


ONE_STEP = """
import json, resource, sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from baselines.rl.batch import Batch
from baselines.rl.logprobs import score_actions
from baselines.models.policy import Policy

tokens, checkpointing = int(sys.argv[1]), sys.argv[2] == "checkpointing"
config = LlamaConfig(  # the shape of SmolLM2-135M
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True,
)
policy = Policy.__new__(Policy)
policy.model, policy.has_plain_head = LlamaForCausalLM(config).eval(), True
if checkpointing:
    policy.checkpoint_activations()
optimiser = torch.optim.AdamW(policy.model.parameters(), foreach=False)
token_ids = torch.randint(49152, (1, tokens))
action_mask = (torch.arange(tokens) % 40 >= 32)[None]
zeros = torch.zeros(1, tokens)
batch = Batch(token_ids, torch.ones_like(token_ids), action_mask, zeros, token_ids, zeros)
(-score_actions(policy, batch, entropy_gradient=True).logprobs.mean()).backward()
optimiser.step()
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["plain", "checkpointing"])
def test_a_step_of_135_million_parameters_fits_a_laptop(mode: str) -> None:
    command = [sys.executable, "-c", ONE_STEP, "4096", mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    peak = float(done.stdout)
    print(f"\npeak memory of a step over 4,096 tokens, {mode}: {peak:.1f} GiB")
    assert peak < (12 if mode == "plain" else 6)
