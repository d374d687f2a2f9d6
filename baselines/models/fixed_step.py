"""A decoding step of one token at shapes that stay, so that a CUDA graph can replay it.

A step of a small model takes the GPU less time than Python needs to start its kernels. A CUDA graph starts all of them at
once, but only for the addresses and shapes with which it was captured, and in a plain step attention gets a column longer
with every token. Here a step runs over all rows and columns of the buffers, with a mask over what holds no token, and writes
the new column at an index that is an input. So one graph serves until a buffer is replaced by a larger one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_WARM_UPS = 3  # calls before the capture, in which libraries choose their kernels


class _FixedLayer(DynamicLayer):  # type: ignore[misc]  # transformers is read without its types
    """One layer's whole buffers; a step writes into `column` (1,) and attends to all columns."""

    def __init__(self, keys: Tensor, values: Tensor, column: Tensor) -> None:
        super().__init__()
        self.keys, self.values, self._column = keys, values, column
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one column; keys and values are (rows, heads, 1, head_dim)."""
        self.keys.index_copy_(2, self._column, key_states)
        self.values.index_copy_(2, self._column, value_states)
        return self.keys, self.values


class FixedStep:
    """A step of one token for each row; on a GPU it is captured as a CUDA graph and replayed.

    Args:
        run: runs a model that accepts additive masks of four dimensions: from (B, 1) tokens, (B, 1, 1, columns) mask, (B, 1)
            positions and a cache to (B, V) logits.
    """

    def __init__(self, run: Callable[[Tensor, Tensor, Tensor, Cache], Tensor]) -> None:
        self._run_model = run
        self._addresses: list[int] = []
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(
        self, buffers: Sequence[tuple[Tensor, Tensor]], token_ids: Tensor, filled: Tensor, positions: Tensor
    ) -> Tensor:
        """Return (B, V) logits after one token of each row.

        Args:
            buffers: keys and values of each layer, (rows, heads, columns, head_dim), with room for these tokens.
            token_ids: (B, 1) tokens; they are written into the last column.
            filled: (B, columns) True where a column holds a real token; junk comes back for rows whose last is False.
            positions: (B, 1) positions of the tokens.
        """
        rows, columns = filled.shape
        addresses = [states.data_ptr() for layer in buffers for states in layer]
        is_new = addresses != self._addresses
        if is_new:  # The old buffers are kept until now, so that no new one can have their addresses.
            self._addresses = addresses
            self._make_inputs(buffers)
        self._token_ids[:rows] = token_ids
        self._positions[:rows] = positions
        self._column.fill_(columns - 1)
        self._mask.fill_(torch.finfo(self._mask.dtype).min)
        self._mask[:rows, 0, 0, :columns].masked_fill_(filled, 0)
        # A row that reads nothing reads at least this token: else its attention is nan, which would stay in the cache.
        self._mask[:, :, :, columns - 1] = 0
        if not self._mask.is_cuda:
            return self._run()[:rows]
        if is_new:
            self._capture()
        assert self._graph is not None
        self._graph.replay()
        return self._logits[:rows].clone()

    def _make_inputs(self, buffers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Make tensors for the inputs of a step over the whole buffers."""
        self._graph = None  # It holds the old buffers.
        keys, _ = buffers[0]
        num_rows, num_columns = keys.shape[0], keys.shape[2]
        self._token_ids = torch.zeros((num_rows, 1), dtype=torch.long, device=keys.device)
        self._positions = torch.zeros_like(self._token_ids)
        self._column = torch.zeros(1, dtype=torch.long, device=keys.device)
        self._mask = keys.new_zeros((num_rows, 1, 1, num_columns))
        self._cache = Cache(layers=[_FixedLayer(keys, values, self._column) for keys, values in buffers])

    def _capture(self) -> None:
        """Record the step as a graph. The calls before it write what the first replay writes."""
        current = torch.cuda.current_stream(self._mask.device)
        stream = torch.cuda.Stream(self._mask.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._run()
        current.wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = self._run()

    def _run(self) -> Tensor:
        return self._run_model(self._token_ids, self._mask, self._positions, self._cache)
