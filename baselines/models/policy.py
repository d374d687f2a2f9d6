"""A policy: a causal language model, its tokenizer and its chat format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from baselines.errors import ConfigError, ModelError
from baselines.models import tiny
from baselines.models.chat import ChatFormat
from baselines.models.lora import adapter_base, merge_adapter, merged_model
from baselines.models.pretrained import pretrained_folder
from baselines.models.sharded import is_first, whole_weights
from baselines.runs.log import warn

TINY = "tiny"

MIN_CHARACTERS_PER_TOKEN = 2.5
"""Characters a token below which text is foreign to a tokenizer made for text games; theirs has four to five."""

_BACKBONES = ("model", "transformer", "decoder", "backbone")
_OPTIONS: dict[str, Any] = {"trust_remote_code": False}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


_TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "*.vocab", "*tokenizer.py")


class Policy:
    """A causal language model that answers observations with actions.

    The model stays in `eval` mode and without dropout throughout: dropout would make the log-probabilities of training
    disagree with those recorded at rollout.

    Attributes:
        model: the causal language model; all its weights are trained.
        tokenizer: its tokenizer, with a padding token.
        chat: the chat format, which turns conversations into tokens.

    Raises:
        ChatTemplateError: the tokenizer's chat template cannot be extended turn by turn.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        model.eval()
        remove_dropout(model)
        self.model = model
        self.tokenizer = tokenizer
        self.chat = ChatFormat(tokenizer)
        self._has_warned = False

    @classmethod
    def tiny(cls, texts: Iterable[str], seed: int = 1) -> Policy:
        """Make a policy of about a million parameters; its tokenizer is trained on `texts` of the environment."""
        tokenizer = tiny.train_tokenizer(texts)
        return cls(tiny.make_model(tokenizer, seed), tokenizer)

    @classmethod
    def load(
        cls, name: str | Path, dtype: str = "float32", device: str = "cpu", chat_template: str | None = None
    ) -> Policy:
        """Load a folder or a model of the hub; code that comes with a model is never run.

        Args:
            name: folder written by `save` (or by transformers), `tiny-base`, `smollm2-135m`, or a name on the hub. The
                folder of a PEFT adapter is read with the model that it names, and merged into it.
            dtype: "float32" or "bfloat16".
            device: a torch device.
            chat_template: Jinja template in place of the tokenizer's own.

        Raises:
            ChatTemplateError: the template cannot be extended turn by turn.
            ModelError: there is no such model, it is not a causal language model with safetensors weights, its
                tokenizer is missing, its scores depend on later tokens, or its adapter cannot be merged.
        """
        source = str(pretrained_folder(str(name)) or name)
        with _without_bars():
            base = adapter_base(Path(source))
            weights = source if base is None else str(pretrained_folder(base) or base)
            expected = f"a folder or hub name of a causal language model, or {TINY!r}, got {weights!r}"
            with _refusing(expected):
                AutoConfig.from_pretrained(weights, **_OPTIONS)
            own_tokenizer = base is None or (Path(source) / "tokenizer_config.json").is_file()
            with _refusing(f"a tokenizer (tokenizer.json) with the model {source!r}, got none that can be read"):
                place = Path(source if own_tokenizer else weights)
                if place.is_dir() and not any(path for name in _TOKENIZER_FILES for path in place.glob(name)):
                    raise OSError("No file of the folder holds one.")  # some versions make up an empty one
                tokenizer = AutoTokenizer.from_pretrained(str(place), **_OPTIONS)
            if chat_template is not None:
                tokenizer.chat_template = chat_template
                ChatFormat(tokenizer)  # refuses it before the weights are read
            with _refusing(expected):
                model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                    weights, dtype=_DTYPES[dtype], use_safetensors=True, **_OPTIONS
                )
            if base is not None:
                with _refusing(f"a PEFT adapter that can be merged into {weights!r}, got {source!r}"):
                    model = merge_adapter(model, Path(source))
        if getattr(model, "_hf_peft_config_loaded", False):
            raise ModelError(f"expected a whole model or the folder of a PEFT adapter, got the adapter {str(name)!r}")
        model.to(device=torch.device(device))
        check_causal(model.eval())
        return cls(model, tokenizer)

    def save(self, folder: str | Path) -> None:
        """Write model (safetensors) and tokenizer as an ordinary Hugging Face folder, which `load` reads.

        LoRA is folded into the weights. Of several processes all call, and the first writes.
        """
        weights = whole_weights(self.model)
        if not is_first():
            return
        with _without_bars():
            merged_model(self.model).save_pretrained(str(folder), state_dict=weights)
        self.tokenizer.save_pretrained(str(folder))

    def checkpoint_activations(self) -> None:
        """Trade time for memory: layers keep their inputs alone and are computed again for the gradient.

        Log-probabilities, gradients and rollouts stay the same.

        Raises:
            ModelError: the architecture does not support it.
        """
        if not self.model.supports_gradient_checkpointing:
            kind = type(self.model).__name__
            raise ModelError(f"expected a model that supports activation checkpointing, got {kind}")
        # transformers' public method has changed its name, and also hooks the embeddings for its reentrant variant. No
        # random state is kept because nothing in the layers is random.
        self.model._set_gradient_checkpointing(
            enable=True,
            gradient_checkpointing_func=partial(checkpoint, use_reentrant=False, preserve_rng_state=False),
        )

    def check_reads(self, text: str, num_tokens: int) -> None:
        """Warn once where a base model of this project meets text that its tokenizer was not made for.

        Args:
            text: an observation.
            num_tokens: its tokens, those of the chat frame included.
        """
        worlds = getattr(self.model.config, "pretrained_on", None)
        if worlds and not self._has_warned and len(text) < MIN_CHARACTERS_PER_TOKEN * num_tokens:
            self._has_warned = True
            warn(
                f"expected text like that of {', '.join(worlds)}, which this base model was pretrained on, got an "
                f"observation that takes one token for {len(text) / num_tokens:.1f} characters: the model cannot read it yet"
            )

    @property
    def device(self) -> torch.device:
        """Device of the model's weights."""
        device: torch.device = self.model.device
        return device

    @property
    def pad_token_id(self) -> int:
        """A token id to fill rows with; it is always masked, so any valid id serves."""
        pad = self.tokenizer.pad_token_id
        return int(pad) if isinstance(pad, int) else self.chat.end_token_id

    @cached_property
    def has_plain_head(self) -> bool:
        """True if logits are the output embedding of the last hidden state and nothing else (no cap, no scale)."""
        head = self.model.get_output_embeddings()
        if head is None:
            return False
        probe = torch.tensor([[self.chat.end_token_id] * 3], device=self.device)
        with torch.no_grad():  # not inference_mode: a sharded model keeps the tensors that its first pass has made
            logits = self.model(input_ids=probe, use_cache=False).logits
            try:
                hidden = backbone(self.model)(input_ids=probe, use_cache=False).last_hidden_state
                return bool(torch.equal(head(hidden), logits))
            except (AttributeError, RuntimeError, TypeError):  # another kind of output, or of another width
                return False

    @property
    def max_context_tokens(self) -> int | None:
        """The positions that the model was made for, or None where its configuration does not say."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return int(limit) if limit else None


def backbone(model: PreTrainedModel) -> nn.Module:
    """Return the part of a model that ends with its last hidden state; the model itself if it has no such part."""
    base: nn.Module = model.base_model
    if base is model:  # transformers looks for it under the name that it has in a larger model
        base = next((part for name, part in model.named_children() if name in _BACKBONES), base)
    return base


@contextmanager
def recomputing(model: nn.Module) -> Iterator[None]:
    """Let layers that are to be checkpointed do so, while gradients are on.

    transformers checkpoints in train mode alone, and forbids the key-value cache there. So the layers are in train mode
    here and nowhere else, and the modules within them, dropout among them, never are.
    """
    layers = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    if not torch.is_grad_enabled():
        layers = []
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def remove_dropout(model: nn.Module) -> None:
    """Set every dropout probability in the model's modules to 0; its configuration, which is saved, keeps them."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if name.endswith(("dropout", "layerdrop")) and isinstance(value, float):
                setattr(module, name, 0.0)


def load_policy(
    model: str,
    texts: Callable[[], Iterable[str]],
    seed: int,
    dtype: str = "float32",
    device: str = "cpu",
    chat_template: str | None = None,
) -> Policy:
    """Load `model`, or make `tiny` from the environment text that `texts` collects (called for `tiny` alone).

    Raises:
        ChatTemplateError: `chat_template`, which takes the place of the tokenizer's own, cannot be extended turn by turn.
        ModelError: there is no such model.
    """
    if model == TINY:
        policy = Policy.tiny(texts(), seed)
        if chat_template is not None:
            policy.tokenizer.chat_template = chat_template
            policy.chat = ChatFormat(policy.tokenizer)
        for parameter in policy.model.parameters():  # alone: buffers such as RoPE's frequencies stay exact
            parameter.data = parameter.data.to(device=torch.device(device), dtype=_DTYPES[dtype])
        policy.model.to(device=torch.device(device))
        return policy
    return Policy.load(model, dtype, device, chat_template)


@torch.no_grad()
def check_causal(model: PreTrainedModel) -> None:
    """Refuse a model whose score of a token depends on later tokens, as an encoder's does.

    Raises:
        ModelError: it does, or the model cannot be run on tokens alone.
    """
    try:
        token_ids = torch.arange(8, 16, device=model.device)[None] % len(model.get_input_embeddings().weight)
        short, long = (
            model(input_ids=row, use_cache=False).logits[0, 3].float().log_softmax(-1)
            for row in (token_ids[:, :4], token_ids)
        )
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"expected a model that runs on tokens alone, got {type(model).__name__}: {_shortened(reason)}"
        ) from error
    error_size = torch.linalg.vector_norm(long - short) / torch.linalg.vector_norm(short - short.mean())
    if not error_size < (0.01 if model.dtype == torch.float32 else 0.1):
        raise ModelError(
            f"expected a causal language model, got {type(model).__name__}, whose scores depend on later tokens"
        )


def check_trainable(model: PreTrainedModel) -> None:
    """Refuse a model whose weights are packed, so that no gradient reaches them.

    Raises:
        ModelError: a weight is of whole numbers, or the model was quantised.
    """
    packed = [name for name, weight in model.named_parameters() if not weight.is_floating_point()]
    if packed or getattr(model, "is_quantized", False):
        raise ModelError(
            "expected weights that can be trained, in float32, bfloat16 or float16, got a model that is quantised"
            f"{f' (such as {packed[0]})' if packed else ''}"
        )


def check_model_exists(model: str) -> None:
    """Refuse, before any weight is read, a name that looks like a folder and is none, and the folder of a run.

    Raises:
        ConfigError: `model` is empty.
        ModelError: a path that does not exist, or whose model is one level deeper.
    """
    if not model:
        raise ConfigError(f"expected --model {TINY}, a folder or a hub name, got an empty string")
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if looks_like_path and not Path(model).is_dir():
        raise ModelError(f"expected a folder or hub name of a causal language model, or {TINY!r}, got {model!r}")
    inner = Path(model) / "model"
    if (inner / "config.json").is_file() and not any(Path(model).glob("*.safetensors")):
        raise ModelError(f"expected the folder of a model, got {model!r}, which is a run's: give {str(inner)!r}")


def check_device(device: str) -> None:
    """Refuse, before any weight is read, a device that torch does not find.

    Raises:
        ConfigError: the device does not exist here.
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"expected a torch device that exists here, got {device!r}: {reason}") from error


def silence_transformers() -> None:
    """Keep the advice of transformers out of a command's output; errors still show."""
    transformers_logging.set_verbosity_error()


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hide the bars that transformers draws over ours, for as long as it reads or writes weights."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def _refusing(expected: str) -> Iterator[None]:
    """Turn what libraries raise for files that they cannot use into one sentence.

    Raises:
        ModelError: "expected ..., got ...: " and the reason.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"expected {expected}: {_shortened(reason)}") from error


def _shortened(text: str, limit: int = 300) -> str:
    """Return a text of at most about `limit` characters; a longer one ends with its last whole sentence or word."""
    if len(text) <= limit:
        return text
    end = max(text.rfind(". ", 0, limit) + 1, 0) or text.rfind(" ", 0, limit)
    return text[:end] + ("" if text[end - 1] == "." else " ...")
