"""Every architecture of a causal language model that transformers ships, tiny and random.

What a rollout records must be what training computes, whatever kind of attention, cache or positions a model has.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from baselines.config.settings import RolloutSettings
from baselines.errors import ModelError
from baselines.models.policy import Policy, check_causal
from baselines.models.tiny import train_tokenizer
from baselines.rl.batch import collate
from baselines.rl.logprobs import score_actions
from baselines.sampling.decoding import HistoryDecoder, RaggedDecoder, can_cache, make_decoder
from baselines.sampling.environments import EnvPool, Task
from baselines.sampling.rollout import rollout
from tests.support.toy_text_env import TOY

WINDOW = 8
FAMILIES = frozenset(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

DECODERS: dict[str, type] = {
    "llama": RaggedDecoder,
    "gpt2": RaggedDecoder,
    "bloom": RaggedDecoder,
    "deepseek_v3": RaggedDecoder,
    "mpt": HistoryDecoder,  # distances by the cache's columns
    "gpt_neo": HistoryDecoder,  # local attention
    "llama4_text": HistoryDecoder,  # attention in chunks
    "gemma2": HistoryDecoder,  # sliding windows
    "mamba": HistoryDecoder,  # no attention
}
"""Families of the fast suite, one of each kind, and the decoder that serves them."""

REFUSED = frozenset({"cpmant", "prophetnet", "xlm", "xlnet"})
"""Families whose scores depend on later tokens, whatever their configuration says."""

_MEDIA = "reads pictures or sound with a large part of its own"
_PARTS = "its configuration has no small form by these names"
NOT_TINY: dict[str, str] = {
    **dict.fromkeys(
        ("dots3_note", "fuyu", "gemma3", "gemma3n", "gemma4", "gemma4_assistant", "got_ocr2", "git"), _MEDIA
    ),
    **dict.fromkeys(("gemma4_unified_assistant", "moss_transcribe_diarize", "musicgen", "musicgen_melody"), _MEDIA),
    "phi4_multimodal": _MEDIA,
    "kimi_linear": "takes minutes: its linear attention is a loop in Python without its kernels",
    "nemotron_h": _PARTS,
    **dict.fromkeys(("blt", "cohere_compass_text", "dbrx", "dots3_note_text", "gemma3n_text", "gemma4_text"), _PARTS),
    **dict.fromkeys(("longcat_flash", "qwen4_exp", "qwen4_exp_text", "reformer", "zamba", "zamba2"), _PARTS),
}
"""Families without a tiny model here, and why."""

SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "emb_dim", "embed_dim", "dim"), 32),
    **dict.fromkeys(("embedding_size", "input_embedding_size", "word_embed_proj_dim", "dim_model"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 4),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads", "attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok", "moe_topk", "moe_k", "n_group", "topk_group"), 2),
    **dict.fromkeys(
        ("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size"), 64
    ),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "dff", "d_inner", "dim_ff"), 64),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("head_dim", "dim_head", "d_head", "kv_channels"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "lru_width"), 32),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions"), 512),
    **dict.fromkeys(("sliding_window", "window_size", "attention_chunk_size", "sliding_window_size"), WINDOW),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "linear_num_key_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim"), 16),
    **dict.fromkeys(
        ("linear_key_head_dim", "linear_value_head_dim", "mamba_d_state", "state_size", "ssm_state_size"), 8
    ),
    **dict.fromkeys(("mamba_chunk_size", "chunk_size", "index_topk", "keep_window_size"), WINDOW),
    "mamba_d_ssm": 64,
    "is_decoder": True,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 3,
}


CHANGES: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "dots1": {"n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1},
    "lfm2_moe": {"layer_types": ["full_attention", "conv"] * 2},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "minicpm3": {"dim_model_base": 32},
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}
"""Further options of a family's configuration."""


def sizes(config_class: type[PreTrainedConfig]) -> dict[str, Any]:
    """Return the options of a tiny model among those that the class declares."""
    names = {field.name for field in dataclasses.fields(config_class)}
    found = {name: size for name, size in SIZES.items() if name in names}
    if "kv_lora_rank" in found and "num_key_value_heads" in found:
        found["num_key_value_heads"] = found["num_attention_heads"]  # latent attention has no groups
    return found


def tiny_model(family: str, vocab_size: int, **changes: Any) -> PreTrainedModel:
    """Make a random model of a family whose attention and positions matter for its scores."""
    config_class = CONFIG_MAPPING[family]
    options = sizes(config_class)
    if "text_config" in config_class.sub_configs:
        options["text_config"] = sizes(config_class.sub_configs["text_config"]) | {"vocab_size": vocab_size}
    options |= CHANGES.get(family, {})
    config = config_class(**{"vocab_size": vocab_size, "dtype": "float32", **options, **changes})
    with torch.device("meta"):
        assert sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters()) < 2e7
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.15)
    return model.eval()


@pytest.fixture(scope="session")
def tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    return train_tokenizer(texts)


def play_and_score(policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (N,) log-probabilities of sampled tokens, recorded and computed again."""
    settings = RolloutSettings(max_new_tokens=3, max_context_tokens=400, num_envs=2)
    with EnvPool([(TOY, {})]) as pool:
        episodes = rollout(policy, pool, [Task(seed) for seed in range(3)], settings, (0,))
    batch = collate(episodes, policy.pad_token_id, policy.device)
    with torch.no_grad():
        scores = score_actions(policy, batch).logprobs
    return batch.old_logprobs[batch.action_mask], scores[batch.action_mask]


def check_family(family: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(family, len(tokenizer))
    check_causal(model)
    recorded, computed = play_and_score(Policy(model, tokenizer))
    assert len(recorded) > 40
    assert torch.isfinite(recorded).all()
    assert recorded.std() > 0.01
    assert (recorded - computed).abs().max() < 1e-4


@pytest.mark.parametrize(("family", "decoder"), DECODERS.items())
def test_rollouts_record_what_training_computes(
    tokenizer: PreTrainedTokenizerFast, family: str, decoder: type, capsys: pytest.CaptureFixture[str]
) -> None:
    check_family(family, tokenizer)
    model = tiny_model(family, len(tokenizer))
    assert all(type(make_decoder(model, 0)) is decoder for _ in range(2))
    warnings = capsys.readouterr().err.count("is run over the whole history for every token, which is slow, because")
    assert warnings == (2 if decoder is HistoryDecoder else 0), "one for each model"


@pytest.mark.parametrize(
    ("family", "expected"), {"llama": True, "gpt2": True, "gpt_neox": True, "bloom": False}.items()
)
def test_steps_of_fixed_shapes_serve_models_that_accept_a_mask_of_four_dimensions(
    family: str, expected: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model(family, 300)
    assert can_cache(model, 0)
    assert can_cache(model, 0, fixed_shapes=True) is expected
    assert ("is run without CUDA graphs" in capsys.readouterr().err) is not expected


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES - DECODERS.keys() - NOT_TINY.keys() - REFUSED))
def test_every_family_records_what_training_computes(tokenizer: PreTrainedTokenizerFast, family: str) -> None:
    check_family(family, tokenizer)


def test_families_that_are_left_out_exist() -> None:
    assert NOT_TINY.keys() <= FAMILIES
    assert DECODERS.keys() <= FAMILIES
    assert REFUSED <= FAMILIES
    assert len(NOT_TINY) < len(FAMILIES) / 6


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_encoders_are_refused(tokenizer: PreTrainedTokenizerFast, family: str, tmp_path: Path) -> None:
    policy = Policy(tiny_model(family, len(tokenizer), is_decoder=False), tokenizer)
    policy.save(tmp_path)
    with pytest.raises(
        ModelError, match=r"expected a causal language model, got .*, whose scores depend on later tokens"
    ):
        Policy.load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(REFUSED))
def test_families_that_look_ahead_are_refused(tokenizer: PreTrainedTokenizerFast, family: str) -> None:
    with pytest.raises(ModelError, match="whose scores depend on later tokens"):
        check_causal(tiny_model(family, len(tokenizer)))


def test_the_trial_of_a_cache_takes_ten_short_passes(tokenizer: PreTrainedTokenizerFast) -> None:
    model, tokens = tiny_model("llama", len(tokenizer)), []
    hook = model.register_forward_hook(
        lambda _, __, options, ___: tokens.append(options["input_ids"].numel()), with_kwargs=True
    )
    for _ in range(2):
        make_decoder(model, 0)
    hook.remove()
    assert len(tokens) <= 10
    assert max(tokens) < 50
