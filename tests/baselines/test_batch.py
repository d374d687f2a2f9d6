"""Collating and cutting episodes."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.rl.batch import collate, split_by_tokens, split_evenly
from baselines.sampling.episode import Episode


def episode(token_ids: list[int], actions: list[int]) -> Episode:
    mask = np.isin(np.arange(len(token_ids)), actions)
    return Episode(
        seed=0,
        task_id=None,
        token_ids=np.array(token_ids),
        action_mask=mask,
        logprobs=np.where(mask, -1.0, 0.0).astype(np.float32),
        turns=(),
        success=False,
        terminated=True,
        truncated=False,
        truncated_by_context=False,
        final_observation="",
    )


def test_collate_pads_on_the_right() -> None:
    batch = collate([episode([5, 6, 7], [2]), episode([8], [])], pad_token_id=9)
    assert batch.token_ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.action_mask.tolist() == [[False, False, True], [False] * 3]
    assert batch.old_logprobs.tolist() == [[0, 0, -1], [0, 0, 0]]


def test_select_trims_to_the_longest_row() -> None:
    batch = collate([episode([5, 6, 7], [2]), episode([8, 4], [1])], pad_token_id=9).select([1])
    assert batch.token_ids.tolist() == [[8, 4]]
    assert torch.equal(batch.old_logprobs, torch.tensor([[0.0, -1.0]]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 120), st.booleans())
def test_pieces_hold_every_row_once_within_the_budget(lengths: list[int], budget: int, packed: bool) -> None:
    pieces = split_by_tokens(lengths, budget, packed)
    assert sorted(row for piece in pieces for row in piece) == list(range(len(lengths)))
    for piece in pieces:
        own = [lengths[row] for row in piece]
        assert len(piece) == 1 or (sum(own) if packed else len(own) * max(own)) <= budget
    if packed:  # no two neighbours would have fitted into one
        sizes = [[lengths[row] for row in piece] for piece in pieces]
        assert all(sum(one) + two[0] > budget for one, two in itertools.pairwise(sizes))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(1, 8))
def test_even_parts(num_rows: int, num_parts: int) -> None:
    parts = split_evenly(range(num_rows), num_parts)
    assert [row for part in parts for row in part] == list(range(num_rows))
    assert len(parts) == min(num_rows, num_parts)
    sizes = [len(part) for part in parts]
    assert not sizes or max(sizes) - min(sizes) <= 1
