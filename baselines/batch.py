"""Episodes as padded tensors, and how a set of episodes is cut into pieces that fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from baselines.episode import Episode


@dataclass(frozen=True, eq=False)
class Batch:
    """Episodes padded on the right to the longest.

    Attributes:
        token_ids: (B, T) tokens, filled up with the padding token.
        attention_mask: (B, T) 1 for a real token.
        action_mask: (B, T) True for a token that the policy sampled; column 0 is never one.
        old_logprobs: (B, T) log-probabilities recorded at rollout; 0 off the action mask.
    """

    token_ids: Tensor
    attention_mask: Tensor
    action_mask: Tensor
    old_logprobs: Tensor

    def select(self, rows: Sequence[int]) -> Batch:
        """Keeps `rows`, and no more columns than the longest of them needs."""
        index = torch.as_tensor(list(rows), device=self.token_ids.device)
        width = int(self.attention_mask[index].sum(1).max())
        return Batch(
            self.token_ids[index, :width],
            self.attention_mask[index, :width],
            self.action_mask[index, :width],
            self.old_logprobs[index, :width],
        )


def collate(episodes: Sequence[Episode], pad_token_id: int, device: torch.device | str = "cpu") -> Batch:
    """Pads episodes on the right into one batch on `device`."""
    rows, width = len(episodes), max(episode.num_tokens for episode in episodes)
    token_ids = torch.full((rows, width), pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros((rows, width), dtype=torch.long)
    action_mask = torch.zeros((rows, width), dtype=torch.bool)
    old_logprobs = torch.zeros((rows, width))
    for row, episode in enumerate(episodes):
        length = episode.num_tokens
        token_ids[row, :length] = torch.from_numpy(episode.token_ids)
        attention_mask[row, :length] = 1
        action_mask[row, :length] = torch.from_numpy(episode.action_mask)
        old_logprobs[row, :length] = torch.from_numpy(episode.logprobs)
    return Batch(token_ids.to(device), attention_mask.to(device), action_mask.to(device), old_logprobs.to(device))


def split_by_tokens(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Cuts rows into padded pieces of at most `max_tokens` tokens each, long rows with long rows.

    Args:
        lengths: tokens of each row.
        max_tokens: rows times longest row of a piece at most; a row longer than that gets a piece of its own.

    Returns:
        Pieces of row indices; every row is in exactly one.
    """
    pieces: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        # Rows come longest first, so the first row of a piece is its width.
        if pieces and (len(pieces[-1]) + 1) * lengths[pieces[-1][0]] <= max_tokens:
            pieces[-1].append(row)
        else:
            pieces.append([row])
    return pieces


def split_evenly(rows: Sequence[int], num_parts: int) -> list[list[int]]:
    """Cuts rows into `num_parts` consecutive parts whose sizes differ by at most one; empty parts are left out."""
    bounds = [len(rows) * part // num_parts for part in range(num_parts + 1)]
    parts = [list(rows[start:end]) for start, end in pairwise(bounds)]
    return [part for part in parts if part]
