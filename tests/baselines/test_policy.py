"""Policies: made from nothing, saved, loaded, and refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from torch import Tensor
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from baselines import evaluate, sft
from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings
from baselines.errors import ModelError
from baselines.models.lora import add_lora, load_lora_state, lora_state, merged_model
from baselines.models.policy import Policy, _shortened, check_model_exists, check_trainable
from baselines.rl.batch import collate
from baselines.rl.logprobs import score_actions
from baselines.sampling.decoding import attends_fully
from baselines.sampling.demonstrations import Demonstration, encode_demonstration
from tests.support.toy_text_env import TOY


def test_tiny_has_about_a_million_parameters() -> None:
    policy = Policy.tiny([" ".join(f"word{n}" for n in range(4000))])
    assert 0.8e6 < sum(parameter.numel() for parameter in policy.model.parameters()) < 1.3e6
    assert len(policy.tokenizer) <= 2048


def test_a_seed_names_the_weights(make_tiny: Callable[[int], Policy]) -> None:
    first, again, other = (make_tiny(seed).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_saved_and_loaded_is_the_same_policy(
    tiny_policy: Policy, demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    tiny_policy.save(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = Policy.load(tmp_path)
    episodes = [encode_demonstration(tiny_policy.chat, demonstration) for demonstration in demonstrations[:4]]
    again = [encode_demonstration(loaded.chat, demonstration) for demonstration in demonstrations[:4]]
    assert [e.token_ids.tolist() for e in episodes] == [e.token_ids.tolist() for e in again]
    batch = collate(episodes, tiny_policy.pad_token_id)
    with torch.no_grad():
        before, after = score_actions(tiny_policy, batch), score_actions(loaded, batch)
    assert torch.equal(before.logprobs, after.logprobs)


def test_scores_at_action_positions_are_those_of_the_full_logits(
    make_tiny: Callable[[int], Policy], demonstrations: list[Demonstration]
) -> None:
    policy = make_tiny(1)
    episodes = [encode_demonstration(policy.chat, demonstration) for demonstration in demonstrations[:3]]
    batch = collate(episodes, policy.pad_token_id)
    with torch.no_grad():
        logits = policy.model(input_ids=batch.token_ids, attention_mask=batch.attention_mask).logits / 0.7
        expected = logits[:, :-1].log_softmax(-1).gather(-1, batch.token_ids[:, 1:, None])[..., 0]
        fast = score_actions(policy, batch, temperature=0.7)
        policy.has_plain_head = False  # the way of models that scale or cap their logits
        slow = score_actions(policy, batch, temperature=0.7)
    mask = batch.action_mask
    assert mask.sum() > 10
    torch.testing.assert_close(fast.logprobs[:, 1:][mask[:, 1:]], expected[mask[:, 1:]])
    torch.testing.assert_close(fast.logprobs, slow.logprobs)
    assert fast.logprobs[~mask].abs().max() == 0


def test_windowed_attention_is_decoded_without_the_cache() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    for window, full in ((8, False), (None, True)):
        config = MistralConfig(vocab_size=32, num_key_value_heads=2, sliding_window=window, **sizes)
        assert attends_fully(MistralForCausalLM(config)) == full


@pytest.mark.parametrize("name", ["/no/such/folder", "./missing", "a/b/c"])
def test_a_model_that_does_not_exist(name: str) -> None:
    with pytest.raises(ModelError, match=f"expected a folder or hub name .*, got '{name}'"):
        check_model_exists(name)


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a folder or hub name of a causal language model") as caught:
        Policy.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_tokenizer_is_named_in_a_whole_sentence(make_tiny: Callable[[int], Policy], tmp_path: Path) -> None:
    make_tiny(1).model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="expected a tokenizer") as caught:
        Policy.load(tmp_path)
    assert str(caught.value).endswith((".", "...")) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("One. Two.", "One. Two."),
        ("One is long. Two is longer.", "One is long."),
        ("One-and-two three four", "One-and-two ..."),
    ],
)
def test_reasons_are_cut_behind_a_sentence_or_a_word(text: str, short: str) -> None:
    assert _shortened(text, 16) == short


def adapter_of(policy: Policy, folder: Path, options: peft.PeftConfig) -> peft.PeftModel:
    """Save a random adapter of a policy, next to the model itself."""
    policy.save(folder / "base")
    base = Policy.load(folder / "base").model
    adapted = peft.get_peft_model(base, options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, weight in adapted.named_parameters():
            if weight.requires_grad:
                weight.data = torch.randn_like(weight) * 0.1 + ("ia3" in name)
    adapted.save_pretrained(str(folder / "adapter"))
    return adapted


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft calls transformers by older names
@pytest.mark.parametrize(
    "options",
    [
        peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
        peft.LoraConfig(r=2, target_modules=["q_proj"], use_dora=True, task_type="CAUSAL_LM"),
        peft.IA3Config(
            target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
        ),
    ],
)
def test_an_adapter_is_merged_and_trained(
    make_tiny: Callable[[int], Policy], tmp_path: Path, options: peft.PeftConfig
) -> None:
    adapted = adapter_of(make_tiny(1), tmp_path, options).eval()
    policy = Policy.load(tmp_path / "adapter")
    token_ids = torch.arange(4, 30)[None]
    with torch.no_grad():
        expected, found = adapted(input_ids=token_ids).logits, policy.model(input_ids=token_ids).logits
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, make_tiny(1).model(input_ids=token_ids).logits, atol=1e-2)
    assert all(weight.requires_grad for weight in policy.model.parameters())
    assert not any("lora" in name or "ia3" in name for name, _ in policy.model.named_modules())
    policy.model(input_ids=token_ids).logits.sum().backward()
    policy.save(tmp_path / "merged")
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    with torch.no_grad():
        again = Policy.load(tmp_path / "merged").model(input_ids=token_ids).logits
    assert torch.equal(again, found)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_scores_as_the_merge_of_peft(
    make_tiny: Callable[[int], Policy], demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    """Equal log-probabilities of actions as read, when saved, and with LoRA on top, whose merge is peft's too."""
    adapter_of(make_tiny(1), tmp_path, peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    policy = Policy.load(tmp_path / "adapter")
    batch = collate([encode_demonstration(policy.chat, d) for d in demonstrations[:4]], policy.pad_token_id)

    @torch.no_grad()
    def logprobs(model: PreTrainedModel) -> Tensor:
        return score_actions(Policy(model, policy.tokenizer), batch).logprobs

    base = Policy.load(tmp_path / "base").model
    merged = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).merge_and_unload()
    assert torch.equal(logprobs(policy.model), logprobs(merged))
    policy.save(tmp_path / "saved")
    assert torch.equal(logprobs(Policy.load(tmp_path / "saved").model), logprobs(merged))

    add_lora(policy.model, rank=2, alpha=8.0, seed=3)
    rng = torch.Generator().manual_seed(4)
    state = {name: torch.randn(weight.shape, generator=rng) * 0.1 for name, weight in lora_state(policy.model).items()}
    load_lora_state(policy.model, state)
    ours = logprobs(merged_model(policy.model))
    layers = [module for module in policy.model.modules() if isinstance(module, peft.tuners.lora.LoraLayer)]
    for layer in layers:
        layer.merge()
    assert len(layers) == 7 * policy.model.config.num_hidden_layers
    torch.testing.assert_close(ours, logprobs(policy.model), atol=1e-5, rtol=0)
    assert (ours - logprobs(merged)).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("rank", [0, 2])
def test_an_adapter_folder_is_trained_resumed_and_evaluated(
    rank: int, make_tiny: Callable[[int], Policy], tmp_path: Path
) -> None:
    adapter_of(make_tiny(1), tmp_path, peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    config = sft.Config(
        env_id=TOY,
        model=str(tmp_path / "adapter"),
        num_demos=4,
        num_epochs=2,
        batch_size=4,
        rollout=RolloutSettings(max_new_tokens=4, max_context_tokens=128),
        optimiser=OptimiserSettings(learning_rate=1e-2, lora_rank=rank),
        run=RunSettings(out=tmp_path / "run", eval_episodes=2, checkpoint_every=1, num_threads=1, progress=False),
    )
    result = sft.train(config)
    assert result.records[-1]["train/loss"] < result.records[0]["train/loss"]
    saved = Policy.load(result.model_folder)
    names = {path.name for path in result.model_folder.iterdir()}
    assert "model.safetensors" in names and not any(name.startswith("adapter") for name in names)
    token_ids = torch.arange(4, 30)[None]
    with torch.no_grad():
        expected, found = (policy.model(input_ids=token_ids).logits for policy in (result.policy, saved))
    torch.testing.assert_close(found, expected, atol=0 if rank == 0 else 1e-4, rtol=0)
    start = Policy.load(tmp_path / "adapter").model.state_dict()
    moved = {name for name, weight in saved.model.state_dict().items() if not torch.equal(weight, start[name])}
    assert ("model.embed_tokens.weight" in moved) == (
        rank == 0
    )  # the merged weights are trained, all of them or LoRA's
    assert "model.layers.0.self_attn.q_proj.weight" in moved
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000002")
    again = sft.train(replace(config, run=replace(config.run, resume=True)))
    assert [record["train/loss"] for record in again.records] == [record["train/loss"] for record in result.records]
    options = {"env_id": TOY, "num_episodes": 2, "rollout": replace(config.rollout, temperature=0.0)}
    assert len(evaluate.evaluate(evaluate.Config(model=str(tmp_path / "adapter"), **options)).returns) == 2


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_adapters_that_cannot_be_used(make_tiny: Callable[[int], Policy], tmp_path: Path) -> None:
    adapter_of(make_tiny(1), tmp_path, peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    with pytest.raises(ModelError, match=r"expected a PEFT adapter that can be merged .* has no merged form"):
        Policy.load(tmp_path / "adapter")
    described = tmp_path / "adapter" / "adapter_config.json"
    described.write_text('{"peft_type": "LORA", "base_model_name_or_path": "/no/such/model"}')
    with pytest.raises(ModelError, match=r"expected a folder or hub name .*, got '/no/such/model'"):
        Policy.load(tmp_path / "adapter")
    described.write_text('{"peft_type": "LORA"}')
    with pytest.raises(ModelError, match="expected base_model_name_or_path"):
        Policy.load(tmp_path / "adapter")


def test_packed_weights_are_not_trained(make_tiny: Callable[[int], Policy]) -> None:
    model = make_tiny(1).model
    check_trainable(model)
    packed = model.model.layers[0].mlp.up_proj
    packed.weight = torch.nn.Parameter(packed.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(
        ModelError, match=r"got a model that is quantised \(such as model\.layers\.0\.mlp\.up_proj\.weight"
    ):
        check_trainable(model)
