"""Feeding tokens to many conversations at once, each token once: the key-value cache of ragged rows.

Rows of a batch get chunks of different lengths (observations) and single tokens (actions) while other rows wait, and
new rows take the places of those that have ended. All rows share the cache's columns; where a row has nothing to say
its columns are holes, masked from attention for good, and explicit positions count only real tokens. So the
log-probabilities are those of each row alone.

Where few rows have long chunks, the columns in which only they have tokens are run for them alone.

The cache is never copied for a token: its buffers have spare columns, a new row is written over one that has ended, and
holes are squeezed out in place once they are a tenth of the columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from baselines.models.fixed_step import FixedStep
from baselines.runs.log import warn

_MIN_GROWTH = 256  # columns added when the buffers are full, or a quarter of them if that is more
_MIN_SAVED = 128  # holes in a feed that cost as much as another pass
_MAX_HOLES = 0.1  # share of the columns that even the longest row can do without, from which on they are squeezed out


class _BufferLayer(DynamicLayer):  # type: ignore[misc]  # transformers is read without its types
    """One layer's keys and values, as views of larger buffers: (rows, heads, columns, head_dim)."""

    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._buffers: list[Tensor] = []  # keys and values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append columns and return all of them; keys and values are (B, heads, columns, head_dim)."""
        rows, start = self.keys.shape[0], self.keys.shape[2]
        self.resize(rows, start + key_states.shape[2])
        self.keys[:, :, start:] = key_states
        self.values[:, :, start:] = value_states
        return self.keys, self.values

    def append_rows(self, layer: DynamicLayer, rows: Tensor) -> None:
        """Add `rows` (N,) of another layer, aligned at the right end; this layer must have columns enough."""
        start = self.keys.shape[0]
        self.resize(start + len(rows), self.keys.shape[2])
        width = layer.keys.shape[2]
        self.keys[start:, :, self.keys.shape[2] - width :] = layer.keys[rows]
        self.values[start:, :, self.keys.shape[2] - width :] = layer.values[rows]

    def shift(self, columns: int) -> None:
        """Move everything `columns` to the right."""
        width = self.keys.shape[2]
        self.resize(self.keys.shape[0], width + columns)
        for states in (self.keys, self.values):
            states[:, :, columns:] = states[:, :, :width].clone()

    def move(self, sources: Tensor, targets: Tensor, num_rows: int) -> None:
        """Copy rows `sources` (N,) over rows `targets` (N,), then keep the first `num_rows`."""
        if len(sources):
            for states in (self.keys, self.values):
                states[targets] = states[sources]
        self.resize(num_rows, self.keys.shape[2])

    def squeeze(self, columns: Tensor) -> None:
        """Keep `columns` (rows, C) of each row."""
        width = columns.shape[1]
        for states in (self.keys, self.values):
            if states.is_cuda:  # where starting a kernel for each row would take longer than the copies
                states[:, :, :width] = states.take_along_dim(columns[:, None, :, None], dim=2)
                continue
            for row, order in enumerate(columns):  # four times as fast on a CPU
                states[row, :, :width] = states[row].index_select(1, order)
        self.resize(self.keys.shape[0], width)

    def start(self, like: DynamicLayer) -> None:
        """Make empty buffers for the shapes and the type of another layer, unless there are some."""
        if self._buffers:
            return
        self._buffers = [
            states.new_zeros((0, states.shape[1], 0, states.shape[3])) for states in (like.keys, like.values)
        ]
        self.is_initialized = True
        self.resize(0, 0)

    @property
    def buffers(self) -> tuple[Tensor, Tensor]:
        """Keys and values of all rows and columns that there is room for; `resize` may replace them."""
        keys, values = self._buffers
        return keys, values

    def resize(self, rows: int, columns: int) -> None:
        """Set the views to the first `rows` and `columns` of buffers that are large enough."""
        self._buffers = [_at_least(buffer, rows, columns) for buffer in self._buffers]
        self.keys, self.values = (buffer[:rows, :, :columns] for buffer in self._buffers)


class _RowsLayer(DynamicLayer):  # type: ignore[misc]  # transformers is read without its types
    """Some rows (N,) of a layer, for columns in which the other rows have nothing to say."""

    def __init__(self, layer: _BufferLayer, rows: Tensor) -> None:
        super().__init__()
        self._layer, self._rows = layer, rows

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append columns and return all of these rows; keys and values are (N, heads, columns, head_dim)."""
        layer, start = self._layer, self._layer.keys.shape[2]
        layer.resize(layer.keys.shape[0], start + key_states.shape[2])
        layer.keys[self._rows, :, start:] = key_states
        layer.values[self._rows, :, start:] = value_states
        return layer.keys[self._rows], layer.values[self._rows]

    def get_seq_length(self) -> int:
        """Return the number of columns before this call."""
        return self._layer.keys.shape[2]


def _next_logits(
    model: PreTrainedModel, cache_name: str, token_ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache
) -> Tensor:
    """Return (B, V) logits after (B, T) tokens, which are added to the cache."""
    output = model(
        input_ids=token_ids,
        attention_mask=mask,
        position_ids=positions,
        **{cache_name: cache},
        use_cache=True,
        logits_to_keep=1,
    )
    logits: Tensor = output.logits[:, -1]
    return logits


class RaggedDecoder:
    """Next-token logits for a batch of growing conversations.

    Args:
        model: a causal language model.
        pad_token_id: token of the places that hold none.
        fixed_shapes: a step of one token runs at shapes that stay, on a GPU as a CUDA graph; see `FixedStep`.

    Attributes:
        lengths: (B,) tokens that each row has been fed.
    """

    def __init__(self, model: PreTrainedModel, pad_token_id: int, fixed_shapes: bool = False) -> None:
        self._pad = pad_token_id
        self._device = model.device
        # A layer of another kind (sliding windows) would count the holes as distance.
        num_layers = model.config.get_text_config(decoder=True).num_hidden_layers
        self._layers = [_BufferLayer() for _ in range(num_layers)]
        self._cache = Cache(layers=list(self._layers))
        # The name of the argument since transformers 5.24, and before.
        cache_name = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
        self._run = partial(_next_logits, model, cache_name)
        self._fixed_step = FixedStep(self._run) if fixed_shapes else None
        self._filled = torch.zeros((0, 0), dtype=torch.bool, device=self._device)  # (B, columns) True = a real token
        self.lengths = torch.zeros(0, dtype=torch.long, device=self._device)

    def admit(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Add one row per prompt (N, at least one) and return their (N, V) logits.

        Equal prompts are encoded once and shared. Rows that are there already stand still.
        """
        unique = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
        place = {prompt: row for row, prompt in enumerate(unique)}
        rows = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=self._device)
        token_ids, real = self._padded(unique)
        cache = Cache(layers=[DynamicLayer() for _ in self._layers])
        logits = self._run(token_ids, real, (real.cumsum(1) - 1).clamp(min=0), cache)
        missing = max(0, real.shape[1] - self._filled.shape[1])
        for layer, encoded in zip(self._layers, cache.layers, strict=True):
            layer.start(encoded)
            if missing:
                layer.shift(missing)
            layer.append_rows(encoded, rows)
        width = self._filled.shape[1] + missing
        self._filled = torch.cat([_padded_left(self._filled, width), _padded_left(real[rows], width)])
        self.lengths = torch.cat([self.lengths, real.sum(1)[rows]])
        return logits[rows]

    def feed(self, chunks: Sequence[Sequence[int]]) -> Tensor:
        """Append one chunk (at least one token) to each row and return (B, V) logits after the chunk."""
        token_ids, real = self._padded(chunks)
        width, start = token_ids.shape[1], 0
        # A GPU computes holes at less than the cost of another pass.
        for right in _cuts([len(chunk) for chunk in chunks]) if self._device.type == "cpu" else ():
            rows = torch.tensor([row for row, chunk in enumerate(chunks) if len(chunk) > right])
            self._append(token_ids[:, start : width - right], real[:, start : width - right], rows)
            start = width - right
        return self._append(token_ids[:, start:], real[:, start:])

    def feed_tokens(self, token_ids: Tensor, active: Tensor) -> Tensor:
        """Append `token_ids` (B,) to the rows where `active` (B,) is True; (B, V) logits, junk where it is False."""
        return self._append(token_ids[:, None], active[:, None])

    def skip(self, columns: int) -> None:
        """Append `columns` holes to every row, as if all had waited for so many tokens of another."""
        self._filled = torch.nn.functional.pad(self._filled, (0, columns))
        for layer in self._layers:
            layer.resize(len(self.lengths), self._filled.shape[1])

    def keep(self, rows: Sequence[int]) -> None:
        """Keep `rows` (each at most once) in that order; cheap where most of them stay in their places."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self._device)
        moved = [row for row, source in enumerate(rows) if row != source]
        targets = torch.tensor(moved, dtype=torch.long, device=self._device)
        self._filled, self.lengths = self._filled[index], self.lengths[index]
        needed = int(self.lengths.max()) if len(rows) else 0
        squeezed = needed <= (1 - _MAX_HOLES) * self._filled.shape[1]
        columns = _real_columns(self._filled, needed) if squeezed else None
        for layer in self._layers:
            layer.move(index[targets], targets, len(rows))
            if columns is not None:
                layer.squeeze(columns)
        if columns is not None:
            self._filled = self._filled.gather(1, columns)

    def _padded(self, chunks: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return (B, T) tokens and where they are real; padded on the left, so that every row ends in the last column."""
        width = max(len(chunk) for chunk in chunks)
        token_ids = [[self._pad] * (width - len(chunk)) + list(chunk) for chunk in chunks]
        lengths = torch.tensor([len(chunk) for chunk in chunks])
        real = torch.arange(width) >= width - lengths[:, None]
        return torch.tensor(token_ids).to(self._device), real.to(self._device)

    def _append(self, token_ids: Tensor, real: Tensor, rows: Tensor | None = None) -> Tensor:
        """Append columns, of which only `rows` (None: all) have any tokens; returns the logits of these rows."""
        self._filled = torch.cat([self._filled, real], dim=1)
        positions = (self.lengths[:, None] + real.cumsum(1) - 1).clamp(min=0)
        self.lengths = self.lengths + real.sum(1)
        if rows is not None:
            cache = Cache(layers=[_RowsLayer(layer, rows) for layer in self._layers])
            return self._run(token_ids[rows], self._filled[rows], positions[rows], cache)
        if self._fixed_step is not None and real.shape[1] == 1:
            for layer in self._layers:
                layer.resize(*self._filled.shape)
            return self._fixed_step([layer.buffers for layer in self._layers], token_ids, self._filled, positions)
        return self._run(token_ids, self._filled, positions, self._cache)


class HistoryDecoder:
    """The same answers without a cache: every call encodes every row's whole history again.

    The reference that `RaggedDecoder` is tested against, and the way for models whose attention it cannot serve
    (sliding windows, state-space layers).

    Attributes:
        rows: all tokens of each row.
    """

    def __init__(self, model: PreTrainedModel, pad_token_id: int) -> None:
        self._model = model
        self._pad = pad_token_id
        self.rows: list[list[int]] = []

    def admit(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """See `RaggedDecoder.admit`."""
        rows = [list(prompt) for prompt in prompts]
        self.rows += rows
        return self._logits(rows)

    def feed(self, chunks: Sequence[Sequence[int]]) -> Tensor:
        """See `RaggedDecoder.feed`."""
        for row, chunk in zip(self.rows, chunks, strict=True):
            row.extend(chunk)
        return self._logits(self.rows)

    def feed_tokens(self, token_ids: Tensor, active: Tensor) -> Tensor:
        """See `RaggedDecoder.feed_tokens`."""
        for row, token_id, is_active in zip(self.rows, token_ids.tolist(), active.tolist(), strict=True):
            if is_active:
                row.append(token_id)
        return self._logits(self.rows)

    def keep(self, rows: Sequence[int]) -> None:
        """See `RaggedDecoder.keep`."""
        self.rows = [list(self.rows[row]) for row in rows]

    def _logits(self, rows: list[list[int]]) -> Tensor:
        width = max(len(row) for row in rows)
        token_ids = torch.full((len(rows), width), self._pad, dtype=torch.long)
        for number, row in enumerate(rows):
            token_ids[number, : len(row)] = torch.as_tensor(row)
        last = torch.tensor([len(row) - 1 for row in rows])
        mask = torch.arange(width)[None] <= last[:, None]
        device = self._model.device
        logits: Tensor = self._model(
            input_ids=token_ids.to(device), attention_mask=mask.long().to(device), use_cache=False
        ).logits
        return logits[torch.arange(len(rows), device=device), last.to(device)]


def make_decoder(
    model: PreTrainedModel, pad_token_id: int, use_cache: bool = True, cuda_graphs: bool = False
) -> RaggedDecoder | HistoryDecoder:
    """Choose the cached decoder wherever it has been seen to give the scores of the whole history.

    The first call for a model tries it, which costs some ten forward passes over a few tokens, and warns if it fails; so
    for CUDA graphs.
    """
    if use_cache and can_cache(model, pad_token_id):
        return RaggedDecoder(model, pad_token_id, cuda_graphs and can_cache(model, pad_token_id, fixed_shapes=True))
    return HistoryDecoder(model, pad_token_id)


_cacheable: WeakKeyDictionary[PreTrainedModel, dict[bool, bool]] = WeakKeyDictionary()


def can_cache(model: PreTrainedModel, pad_token_id: int, fixed_shapes: bool = False) -> bool:
    """Return True if `RaggedDecoder` serves the model; the first call for a model tries it, and warns if not."""
    known = _cacheable.setdefault(model, {})
    if fixed_shapes not in known:
        reason = _why_not_cached(model, pad_token_id, fixed_shapes)
        if reason:
            how = "without CUDA graphs" if fixed_shapes else "over the whole history for every token"
            warn(f"{type(model).__name__} is run {how}, which is slow, because {reason}")
        known[fixed_shapes] = not reason
    return known[fixed_shapes]


def _why_not_cached(model: PreTrainedModel, pad_token_id: int, fixed_shapes: bool) -> str:
    """Return the reason why the cached decoder does not serve the model, "" if it does."""
    if not attends_fully(model):
        return "not all its layers attend to the whole history"
    try:
        error = _cache_error(model, pad_token_id, fixed_shapes)
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as raised:
        # An architecture that keeps another cache or takes other arguments may raise any of these.
        return f"its cache is of another kind ({type(raised).__name__}: {str(raised).strip()[:80]})"
    return "" if error < tolerance(model) else f"scores from its cache are off (relative error {error:.2g})"


def tolerance(model: PreTrainedModel) -> float:
    """Return the relative error below which two ways to compute a model's scores count as one."""
    is_exact = model.device.type == "cpu" or torch.get_float32_matmul_precision() == "highest"
    return 1e-4 if model.dtype == torch.float32 and is_exact else 0.06


def window_length(model: PreTrainedModel, limit: int) -> int:
    """Return the longest stretch of tokens that any option of the model may be a window of, at most `limit`; 0 if none.

    Architectures name their windows in many ways, so that a number under any such name counts.
    """
    options = model.config.get_text_config(decoder=True).to_dict()
    sizes = [size for name, size in options.items() if isinstance(size, int) and _WINDOW_NAME.search(name)]
    return min(max(sizes, default=0), limit)


_WINDOW_NAME = re.compile("window|chunk|local|block|radius|topk|top_k")


@torch.no_grad()
def _cache_error(model: PreTrainedModel, pad_token_id: int, fixed_shapes: bool) -> float:
    """Return the relative error of the cached decoder's scores against the uncached ones', in a short play.

    Rows of different lengths, a stretch of holes longer than any window, rows that wait, join, move and are squeezed.
    """
    vocab_size = len(model.get_input_embeddings().weight)
    special = {pad_token_id, getattr(model.config, "pad_token_id", None)}
    ordinary = [token_id for token_id in range(min(vocab_size, 64)) if token_id not in special]
    words = [ordinary[place % len(ordinary)] for place in range(26)]
    cached, whole = RaggedDecoder(model, pad_token_id, fixed_shapes), HistoryDecoder(model, pad_token_id)
    prompts = [words[1:4], words[4:10]]
    errors = [_relative_error(cached.admit(prompts), whole.admit(prompts))]
    cached.skip(16 + window_length(model, limit=4096))
    token_ids, active = (
        torch.tensor(words[10:12], device=model.device),
        torch.tensor([True, False], device=model.device),
    )
    errors.append(_relative_error(cached.feed_tokens(token_ids, active)[:1], whole.feed_tokens(token_ids, active)[:1]))
    chunks = [words[12:14], words[14:19]]
    errors.append(_relative_error(cached.feed(chunks), whole.feed(chunks)))
    errors.append(_relative_error(cached.admit([words[20:25]]), whole.admit([words[20:25]])))
    for decoder in (cached, whole):
        decoder.keep([2, 1])
    errors.append(_relative_error(cached.feed([words[25:26]] * 2), whole.feed([words[25:26]] * 2)))
    return max(errors, key=lambda error: error if error == error else torch.inf)  # nan counts as the worst


def _relative_error(scores: Tensor, reference: Tensor) -> float:
    """Return the relative error of (N, V) logits as distributions, measured against their spread."""
    logprobs, expected = (logits.float().log_softmax(-1) for logits in (scores, reference))
    spread = expected - expected.mean(-1, keepdim=True)
    return float(torch.linalg.vector_norm(logprobs - expected) / torch.linalg.vector_norm(spread))


def attends_fully(model: PreTrainedModel) -> bool:
    """Return True if every layer of the model is attention over the whole history."""
    config = model.config.get_text_config(decoder=True)
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None:
        return all(kind == "full_attention" for kind in layer_types)
    window = getattr(config, "sliding_window", None)
    return not (window and getattr(config, "use_sliding_window", True))


def _at_least(buffer: Tensor, rows: int, columns: int) -> Tensor:
    """Return the buffer, or a larger one that begins with it."""
    if buffer.shape[0] >= rows and buffer.shape[2] >= columns:
        return buffer
    more_columns = columns + max(_MIN_GROWTH, columns // 4) if columns > buffer.shape[2] else buffer.shape[2]
    # Zeros, not whatever lies in memory: attention multiplies what is masked by 0, and 0 * nan is nan.
    larger = buffer.new_zeros((max(rows, buffer.shape[0]), buffer.shape[1], more_columns, buffer.shape[3]))
    larger[: buffer.shape[0], :, : buffer.shape[2]] = buffer
    return larger


def _cuts(lengths: Sequence[int]) -> list[int]:
    """Return where to cut chunks that end in the same column, so that the longest do not make all rows wait.

    Args:
        lengths: tokens of each chunk.

    Returns:
        Columns to the right of each cut, from left to right; a cut saves more holes than `_MIN_SAVED`.
    """
    width = max(lengths)
    saved, right = max((sum(n <= right for n in lengths) * (width - right), right) for right in {*lengths, 1} - {0})
    if saved < _MIN_SAVED:
        return []
    left = [right + cut for cut in _cuts([n - right for n in lengths if n > right])]
    return [*left, right, *_cuts([min(n, right) for n in lengths])]


def _padded_left(filled: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(filled, (width - filled.shape[1], 0))


def _real_columns(filled: Tensor, needed: int) -> Tensor:
    """Return (B, needed) columns that move each row's real tokens to the right end."""
    # A stable sort keeps the order of the real tokens; holes come first and are cut off.
    order = filled.to(torch.uint8).argsort(dim=1, stable=True)
    return order[:, filled.shape[1] - needed :]


def sample_tokens(logits: Tensor, temperature: float, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one token per row, and its log-probability under the distribution that it was drawn from.

    The draw inverts the cumulative distribution, so that a uniform means the same token on every device. A token of
    probability 0 is never drawn.

    Args:
        logits: (B, V) scores of the next token.
        temperature: divides the logits; 0 takes the most probable token, whose log-probability is then 0.
        uniforms: (B,) or (B, 1) float64 in [0, 1), one per row; float32 would never reach tokens that are rarer than
            its spacing.

    Returns:
        (B,) token ids and (B,) log-probabilities.
    """
    if temperature == 0:
        token_ids = logits.argmax(dim=-1)
        return token_ids, torch.zeros_like(token_ids, dtype=torch.float32)
    logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
    probs = logprobs.double().exp()
    cumulative = probs.cumsum(dim=-1)
    targets = uniforms.to(logits.device).view(-1, 1) * cumulative[:, -1:]
    # The first token past the target that can be drawn at all: a parallel sum may rise by a rounding error over a
    # token of probability 0; and no token is past the target where a uniform was rounded to 1.
    hits = (cumulative > targets) & (probs > 0)
    token_ids = torch.where(hits.any(dim=-1), hits.to(torch.uint8).argmax(dim=-1), probs.argmax(dim=-1))
    return token_ids, logprobs.gather(1, token_ids[:, None])[:, 0]
