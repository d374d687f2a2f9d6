"""LoRA (arXiv 2106.09685): frozen weights W, and trained B A of low rank, W x + alpha / rank * B A x.

The layers are `peft`'s; the model keeps its transformers class, so rollouts and scores need not know. B starts at 0,
so a new adapter changes nothing, and the model without its adapter stays the initial one: a KL term needs no second
model. `merged_model` folds the adapter into the weights, for folders that load without `peft`.
"""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from baselines.errors import ModelError, TrainingError

_NAME = "default"  # peft's own name for the only adapter


def add_lora(model: PreTrainedModel, rank: int, alpha: float, seed: int) -> None:
    """Freeze the model and add trained LoRA weights, in float32, to all linear layers except the output head.

    A is drawn as in the paper's code (loralib 0.1, Kaiming uniform with a = sqrt(5)), on the CPU, so that a seed names
    the same weights on every device; the global generators are left as they were.

    Args:
        model: changed in place; without LoRA so far.
        rank: columns of B and rows of A.
        alpha: the update is multiplied by alpha / rank.
        seed: names the initial weights.

    Raises:
        ModelError: `peft` is not installed, or the model has LoRA already.
    """
    peft = _import_peft()
    if has_lora(model):
        raise ModelError("expected a model without LoRA, got one that has it")
    options = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules="all-linear")
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out")  # peft finds transposed weights by itself, and says so
        # Not `model.add_adapter`: transformers 5.24 refuses every version of peft that there is.
        peft.inject_adapter_in_model(options, model)
    generator = torch.Generator().manual_seed(seed)
    for _, layer in _layers(model):
        for pair in (layer.lora_A, layer.lora_B):
            pair[_NAME].float()  # steps of 1e-5 are lost in bfloat16
        weight = torch.empty(layer.lora_A[_NAME].weight.shape)
        layer.lora_A[_NAME].weight.data.copy_(nn.init.kaiming_uniform_(weight, math.sqrt(5), generator=generator))
    model.eval()  # peft's layers are made in train mode


def has_lora(model: PreTrainedModel) -> bool:
    """Return whether `add_lora` has been called."""
    return next(_layers(model), None) is not None


@contextmanager
def without_lora(model: PreTrainedModel) -> Iterator[None]:
    """Make the model its frozen reference inside the block; not while another thread uses it.

    Raises:
        ValueError: the model has no LoRA, so that it would be no reference.
    """
    if not has_lora(model):
        raise ValueError("expected a model with LoRA, got one without")
    layers = [layer for _, layer in _layers(model)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def lora_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return copies of the adapter's weights on the CPU, by name; empty without LoRA."""
    return {name: weight.detach().to("cpu", copy=True) for name, weight in _weights(model).items()}


def load_lora_state(model: PreTrainedModel, state: dict[str, Tensor]) -> None:
    """Put back what `lora_state` returned, bit for bit, into the very tensors that an optimiser may hold.

    Raises:
        TrainingError: the state is of another model or rank; nothing is changed then.
    """
    weights = _weights(model)
    expected = {name: tuple(weight.shape) for name, weight in weights.items()}
    got = {name: tuple(weight.shape) for name, weight in state.items()}
    if expected != got:
        name = next(name for name in [*expected, *got] if expected.get(name) != got.get(name))
        raise TrainingError(
            f"expected LoRA weights of this model, got {name} of shape {got.get(name)} for {expected.get(name)}"
        )
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(state[name])


def merged_model(model: PreTrainedModel) -> PreTrainedModel:
    """Return a frozen copy of the model on the CPU with W + alpha / rank * B A for W; the model itself if it has no LoRA.

    Sums are taken in float32 and rounded to the type of W: for a bfloat16 model, an update below 1/256 of a weight may
    vanish.
    """
    if not has_lora(model):
        return model
    merged = _copy_to_cpu(model)
    with torch.no_grad():
        for name, layer in list(_layers(merged)):
            weight = layer.base_layer.weight
            weight.copy_(weight.float() + layer.get_delta_weight(_NAME))
            parent, _, leaf = name.rpartition(".")
            setattr(merged.get_submodule(parent), leaf, layer.base_layer)
    del merged.peft_config  # or transformers would take it for a model with an adapter
    return merged


def adapter_base(folder: Path) -> str | None:
    """Return the name of the model that the PEFT adapter in a folder belongs to; None if the folder holds no adapter.

    Raises:
        ModelError: the adapter does not name its model.
    """
    described = folder / "adapter_config.json"
    if not described.is_file():
        return None
    try:
        base = json.loads(described.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise ModelError(f"expected base_model_name_or_path, the name of a model, in {described}, got none")
    return base


def merge_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return a model with the PEFT adapter of a folder merged into its weights, all of which are trained again.

    Raises:
        ModelError: `peft` is not installed.
        ValueError: the adapter has no merged form, or belongs to another model.
    """
    peft = _import_peft()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft still calls transformers by older names
        warnings.filterwarnings("error", "Found missing adapter keys")  # it would be merged without them
        try:
            adapted = peft.PeftModel.from_pretrained(model, str(folder))
        except UserWarning as warning:
            raise ValueError(str(warning)) from warning
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise ValueError("an adapter of this kind has no merged form")
    merged: PreTrainedModel = adapted.merge_and_unload()
    if hasattr(merged, "peft_config"):
        del merged.peft_config  # or transformers would take it for a model with an adapter
    merged.requires_grad_(True)
    return merged.eval()


def _copy_to_cpu(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy whose tensors, shared ones included, are copied straight to the CPU; it takes no memory elsewhere."""
    copies: dict[int, Any] = {}
    for parameter in model.parameters():
        copies[id(parameter)] = nn.Parameter(parameter.detach().to("cpu", copy=True), requires_grad=False)
    for buffer in model.buffers():
        copies[id(buffer)] = buffer.detach().to("cpu", copy=True)
    return copy.deepcopy(model, copies)


def _layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the linear layers with LoRA, by name; known by their attributes, for peft is imported by `add_lora` alone."""
    return ((name, module) for name, module in model.named_modules() if hasattr(module, "lora_A"))


def _weights(model: nn.Module) -> dict[str, nn.Parameter]:
    return {
        f"{name}.{part}": getattr(layer, part)[_NAME].weight
        for name, layer in _layers(model)
        for part in ("lora_A", "lora_B")
    }


def _import_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ModelError(
            "expected the package peft for LoRA, got none: pip install 'textagent-gym[baselines]'"
        ) from error
    return peft
