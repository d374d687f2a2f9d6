"""The backbone of a language model: all but its output head."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

_NAMES = ("model", "transformer", "decoder", "backbone")


def backbone(model: PreTrainedModel) -> nn.Module:
    """Return the part of a model that ends with its last hidden state; the model itself if it has no such part."""
    base: nn.Module = model.base_model
    if base is model:  # transformers looks for it under the name that it has in a larger model
        base = next((part for name, part in model.named_children() if name in _NAMES), base)
    return base
