"""Feeding tokens to many conversations at once, each token once: the key-value cache of ragged rows.

Rows of a batch get chunks of different lengths (observations) and single tokens (actions) while other rows wait. All
rows share the cache's columns; where a row has nothing to say its columns are holes, masked from attention for good,
and explicit positions count only real tokens. So the log-probabilities are those of each row alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

_GROWTH = 256  # columns added when the buffers are full


class _BufferLayer(DynamicLayer):  # type: ignore[misc]  # transformers is read without its types
    """A cache layer that writes into spare columns instead of copying the whole cache for every token."""

    keys: Tensor | None
    values: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self._key_buffer: Tensor | None = None
        self._value_buffer: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Appends columns and returns all of them; keys and values are (B, heads, columns, head_dim)."""
        start = 0 if self.keys is None else self.keys.shape[-2]
        end = start + key_states.shape[-2]
        self._key_buffer = _grown(self._key_buffer, key_states, start, end)
        self._value_buffer = _grown(self._value_buffer, value_states, start, end)
        self._key_buffer[:, :, start:end] = key_states
        self._value_buffer[:, :, start:end] = value_states
        self.keys, self.values = self._key_buffer[:, :, :end], self._value_buffer[:, :, :end]
        self.is_initialized = True
        return self.keys, self.values

    def select(self, rows: Tensor, columns: Tensor | None) -> None:
        """Keeps `rows` (N,), and of each row `columns` (N, C) where given."""
        self._key_buffer = _selected(self.keys, rows, columns)
        self._value_buffer = _selected(self.values, rows, columns)
        self.keys, self.values = self._key_buffer, self._value_buffer


class RaggedDecoder:
    """Next-token logits for a batch of growing conversations.

    Attributes:
        lengths: (B,) tokens that each row has been fed.
    """

    def __init__(self, model: PreTrainedModel, pad_token_id: int) -> None:
        self._model = model
        self._pad = pad_token_id
        self._device = model.device
        # A layer of another kind (sliding windows) would count the holes as distance.
        num_layers = model.config.get_text_config(decoder=True).num_hidden_layers
        self._layers = [_BufferLayer() for _ in range(num_layers)]
        self._cache = Cache(layers=list(self._layers))
        self._filled = torch.zeros((0, 0), dtype=torch.long, device=self._device)  # (B, columns) 1 = a real token
        self.lengths = torch.zeros(0, dtype=torch.long, device=self._device)

    def open(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Starts one row per prompt and returns (B, V) logits; equal prompts are encoded once and shared."""
        unique = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
        place = {prompt: row for row, prompt in enumerate(unique)}
        self._filled = torch.zeros((len(unique), 0), dtype=torch.long, device=self._device)
        self.lengths = torch.zeros(len(unique), dtype=torch.long, device=self._device)
        logits = self.feed(unique)
        if len(unique) == len(prompts):
            return logits
        rows = [place[tuple(prompt)] for prompt in prompts]
        self.keep(rows)
        return logits[rows]

    def feed(self, chunks: Sequence[Sequence[int]]) -> Tensor:
        """Appends one chunk (at least one token) to each row and returns (B, V) logits after the chunk."""
        width = max(len(chunk) for chunk in chunks)
        token_ids = torch.full((len(chunks), width), self._pad, dtype=torch.long)
        real = torch.zeros((len(chunks), width), dtype=torch.long)
        for row, chunk in enumerate(chunks):  # padded on the left, so that every row ends in the last column
            token_ids[row, width - len(chunk) :] = torch.as_tensor(chunk)
            real[row, width - len(chunk) :] = 1
        return self._forward(token_ids.to(self._device), real.to(self._device))

    def feed_tokens(self, token_ids: Tensor, active: Tensor) -> Tensor:
        """Appends `token_ids` (B,) to the rows where `active` (B,) is True; (B, V) logits, junk where it is False."""
        return self._forward(token_ids[:, None], active[:, None].long())

    def keep(self, rows: Sequence[int]) -> None:
        """Keeps `rows` (in that order, repeats allowed), and drops the holes that all of them can do without."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self._device)
        filled = self._filled[index]
        self.lengths = self.lengths[index]
        columns = _compact_columns(filled) if len(rows) else None
        for layer in self._layers:
            layer.select(index, columns)
        self._filled = filled if columns is None else filled.gather(1, columns)

    def _forward(self, token_ids: Tensor, real: Tensor) -> Tensor:
        self._filled = torch.cat([self._filled, real], dim=1)
        positions = (self.lengths[:, None] + real.cumsum(1) - 1).clamp(min=0)
        self.lengths = self.lengths + real.sum(1)
        output = self._model(
            input_ids=token_ids,
            attention_mask=self._filled,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits


class HistoryDecoder:
    """The same answers without a cache: every call encodes every row's whole history again.

    The reference that `RaggedDecoder` is tested against, and the way for models whose attention it cannot serve
    (sliding windows, state-space layers).
    """

    def __init__(self, model: PreTrainedModel, pad_token_id: int) -> None:
        self._model = model
        self._pad = pad_token_id
        self._rows: list[list[int]] = []

    def open(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """See `RaggedDecoder.open`."""
        self._rows = [list(prompt) for prompt in prompts]
        return self._logits()

    def feed(self, chunks: Sequence[Sequence[int]]) -> Tensor:
        """See `RaggedDecoder.feed`."""
        for row, chunk in zip(self._rows, chunks, strict=True):
            row.extend(chunk)
        return self._logits()

    def feed_tokens(self, token_ids: Tensor, active: Tensor) -> Tensor:
        """See `RaggedDecoder.feed_tokens`."""
        for row, token_id, is_active in zip(self._rows, token_ids.tolist(), active.tolist(), strict=True):
            if is_active:
                row.append(token_id)
        return self._logits()

    def keep(self, rows: Sequence[int]) -> None:
        """See `RaggedDecoder.keep`."""
        self._rows = [list(self._rows[row]) for row in rows]

    def _logits(self) -> Tensor:
        width = max(len(row) for row in self._rows)
        token_ids = torch.full((len(self._rows), width), self._pad, dtype=torch.long)
        for number, row in enumerate(self._rows):
            token_ids[number, : len(row)] = torch.as_tensor(row)
        last = torch.tensor([len(row) - 1 for row in self._rows])
        mask = torch.arange(width)[None] <= last[:, None]
        device = self._model.device
        logits: Tensor = self._model(
            input_ids=token_ids.to(device), attention_mask=mask.long().to(device), use_cache=False
        ).logits
        return logits[torch.arange(len(self._rows), device=device), last.to(device)]


def make_decoder(model: PreTrainedModel, pad_token_id: int, use_cache: bool = True) -> RaggedDecoder | HistoryDecoder:
    """Chooses the cached decoder wherever the model attends to its whole history in every layer."""
    if use_cache and attends_fully(model):
        return RaggedDecoder(model, pad_token_id)
    return HistoryDecoder(model, pad_token_id)


def attends_fully(model: PreTrainedModel) -> bool:
    """True if every layer of the model is attention over the whole history."""
    config = model.config.get_text_config(decoder=True)
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None:
        return all(kind == "full_attention" for kind in layer_types)
    window = getattr(config, "sliding_window", None)
    return not (window and getattr(config, "use_sliding_window", True))


def _grown(buffer: Tensor | None, states: Tensor, start: int, end: int) -> Tensor:
    if buffer is not None and buffer.shape[-2] >= end:
        return buffer
    rows, heads, _, head_dim = states.shape
    larger = states.new_zeros((rows, heads, end + _GROWTH, head_dim))
    if buffer is not None:
        larger[:, :, :start] = buffer[:, :, :start]
    return larger


def _selected(states: Tensor | None, rows: Tensor, columns: Tensor | None) -> Tensor:
    if states is None:
        raise RuntimeError("expected rows that have been opened, got an empty cache")
    kept = states[rows]
    if columns is None:
        return kept
    index = columns[:, None, :, None].expand(-1, kept.shape[1], -1, kept.shape[3])
    return kept.gather(2, index)


def _compact_columns(filled: Tensor) -> Tensor | None:
    """(B, C) columns that move each row's tokens to the right end, or None where that saves little."""
    width = filled.shape[1]
    needed = int(filled.sum(1).max())
    if needed > 0.9 * width:
        return None
    # A stable sort keeps the order of the real tokens; holes come first and are cut off.
    order = filled.argsort(dim=1, stable=True)
    return order[:, width - needed :]
