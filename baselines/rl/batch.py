"""Episodes as padded tensors, and how a set of episodes is cut into pieces that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from baselines.rl.advantages import Credit, Decisions
from baselines.runs.distributed import Ranks
from baselines.sampling.episode import Episode
from baselines.sampling.listed import NO_TOKEN, pad_allowed


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences of episodes, padded on the right to the longest.

    A row is one sequence that the policy has read as one (`Episode.sequences`). With the whole history as context an
    episode is one row; else its rows follow each other.

    Attributes:
        token_ids: (B, T) tokens, filled up with the padding token.
        attention_mask: (B, T) 1 for a real token.
        action_mask: (B, T) True for a token that the policy sampled; column 0 is never one.
        old_logprobs: (B, T) log-probabilities recorded at rollout; 0 off the action mask.
        turns: (B, T) number of the turn that each token stands in, from 0.
        rewards: (B, T) what a turn paid, at the last token that was sampled in it; 0 elsewhere.
        episodes: (B,) number of the episode that each row belongs to, rising; by default each row is an episode.
        columns: further (B, T) tensors by name, such as an algorithm's advantages; read as `batch["advantages"]`. Where
            the decoding was over listed commands, `allowed` (B, T, K) holds the tokens that each action token was chosen
            from, filled up with `listed.NO_TOKEN`.
    """

    token_ids: Tensor
    attention_mask: Tensor
    action_mask: Tensor
    old_logprobs: Tensor
    turns: Tensor
    rewards: Tensor
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    episodes: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))

    def __post_init__(self) -> None:
        if len(self.episodes) != len(self.token_ids):
            rows = torch.arange(len(self.token_ids), device=self.token_ids.device)
            object.__setattr__(self, "episodes", rows)

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, name: str) -> Tensor:
        return self.columns[name]

    @property
    def lengths(self) -> list[int]:
        """Real tokens of each row."""
        counts: list[int] = self.attention_mask.sum(1).tolist()
        return counts

    def with_columns(self, **columns: Tensor) -> Batch:
        """Return the same episodes with further tensors (B, T)."""
        return replace(self, columns={**self.columns, **columns})

    def decisions(self, credit: Credit) -> Decisions:
        """Return the decisions of the batch's episodes; see `advantages.Decisions`."""
        return Decisions.of(self.action_mask, self.turns, self.episodes, credit)

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to every tensor."""
        parts = {part.name: function(getattr(self, part.name)) for part in fields(self) if part.name != "columns"}
        return Batch(**parts, columns={name: function(values) for name, values in self.columns.items()})

    def select(self, rows: Sequence[int]) -> Batch:
        """Keep `rows`, and no more columns than the longest of them needs."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.token_ids.device)
        width = int(self.attention_mask[index].sum(1).max()) if len(rows) else 0
        return self.map(lambda values: values[index] if values.ndim == 1 else values[index, :width])

    def rows_of(self, episodes: Sequence[int]) -> list[int]:
        """Return the rows of episodes, in their order."""
        rows: dict[int, list[int]] = {}
        for row, episode in enumerate(self.episodes.tolist()):
            rows.setdefault(episode, []).append(row)
        return [row for episode in episodes for row in rows.get(episode, [])]


def collate(episodes: Sequence[Episode], pad_token_id: int, device: torch.device | str = "cpu") -> Batch:
    """Pad the sequences of episodes on the right into one batch on `device`."""
    owners = [number for number, episode in enumerate(episodes) for _ in episode.starts]
    shape = len(owners), max(end - start for episode in episodes for start, end in episode.sequences)
    token_ids = torch.full(shape, pad_token_id, dtype=torch.long)
    attention_mask, turns = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    action_mask = torch.zeros(shape, dtype=torch.bool)
    old_logprobs, rewards = torch.zeros(shape), torch.zeros(shape)
    row = 0
    for episode in episodes:
        index, earned = episode.turn_index(), episode.token_rewards()
        for start, end in episode.sequences:
            length, span = end - start, slice(start, end)
            token_ids[row, :length] = torch.from_numpy(episode.token_ids[span])
            attention_mask[row, :length] = 1
            action_mask[row, :length] = torch.from_numpy(episode.action_mask[span])
            old_logprobs[row, :length] = torch.from_numpy(episode.logprobs[span])
            turns[row, :length] = torch.from_numpy(index[span])
            rewards[row, :length] = torch.from_numpy(earned[span])
            row += 1
    columns = _allowed_column(episodes, action_mask)
    whole = Batch(token_ids, attention_mask, action_mask, old_logprobs, turns, rewards, columns, torch.tensor(owners))
    return whole.map(lambda values: values.to(device))


def join_sequences(values: Tensor, episodes: Sequence[Episode]) -> Tensor:
    """Return (N, T) values of whole episodes, as `Episode.token_ids` counts tokens, of those of their rows (B, W)."""
    joined = values.new_zeros((len(episodes), max((episode.num_tokens for episode in episodes), default=0)))
    rows = iter(values)
    for number, episode in enumerate(episodes):
        for start, end in episode.sequences:
            joined[number, start:end] = next(rows)[: end - start]
    return joined


def _allowed_column(episodes: Sequence[Episode], action_mask: Tensor) -> dict[str, Tensor]:
    if any(episode.allowed is None for episode in episodes):
        return {}
    rows = pad_allowed([tokens for episode in episodes for tokens in episode.allowed or ()])
    column = torch.full((*action_mask.shape, rows.shape[1]), NO_TOKEN)
    column[action_mask] = rows
    return {"allowed": column}


def collate_ends(episodes: Sequence[Episode], end_token_id: int, device: torch.device | str = "cpu") -> Batch:
    """Return episodes followed by the observation that nobody answered, for a critic's bootstrap.

    The one token that `action_mask` names in each row stands where the next action would have begun, so that a critic's
    value there is that of the final state. Rows without a final prompt (see `Episode.final_prompt`) name none.
    """
    ended = []
    for episode in episodes:
        read = episode.token_ids[:0] if episode.ends_fresh else episode.token_ids[episode.starts[-1] :]
        token_ids = np.concatenate([read, episode.final_prompt, [end_token_id]])
        asked = np.arange(len(token_ids)) == len(token_ids) - 1
        ended.append(
            replace(
                episode,
                token_ids=token_ids,
                action_mask=asked & (len(episode.final_prompt) > 0),
                logprobs=np.zeros(len(token_ids), dtype=np.float32),
                turns=(),
                starts=(0,),
                allowed=None,
            )
        )
    return collate(ended, end_token_id, device)


def split_by_tokens(lengths: Sequence[int], max_tokens: int, packed: bool = False) -> list[list[int]]:
    """Cut rows into pieces of at most `max_tokens` tokens each, long rows first.

    Args:
        lengths: tokens of each row.
        max_tokens: of a piece at most; a longer row gets its own piece.
        packed: a piece costs the sum of its rows (see `logprobs.can_pack`), and not rows times longest row.

    Returns:
        Pieces of row indices; every row is in exactly one.
    """
    pieces: list[list[int]] = []
    filled = 0
    for row in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        # Rows come longest first, so the first row of a padded piece is its width.
        cost = lengths[row] if packed or not pieces else lengths[pieces[-1][0]]
        if pieces and filled + cost <= max_tokens:
            pieces[-1].append(row)
            filled += cost
        else:
            pieces.append([row])
            filled = lengths[row]
    return pieces


def split_evenly(rows: Sequence[int], num_parts: int) -> list[list[int]]:
    """Cut rows into `num_parts` consecutive parts whose sizes differ by at most one; empty parts are left out."""
    bounds = [len(rows) * part // num_parts for part in range(num_parts + 1)]
    parts = [list(rows[start:end]) for start, end in pairwise(bounds)]
    return [part for part in parts if part]


def micro_batches(minibatch: Batch, max_tokens: int, useful: Tensor, packed: bool) -> Iterator[Batch]:
    """Cut a minibatch into pieces of at most `max_tokens` tokens; rows where `useful` (B,) is False are left out.

    A row that has no action token, or whose advantage is 0 throughout with nothing else in the loss, adds nothing to
    the gradient: its weight has been counted, and it need not go through the model. `packed` as in `split_by_tokens`.
    """
    rows = (useful & minibatch.action_mask.any(1)).nonzero()[:, 0].tolist()
    lengths = minibatch.lengths
    for piece in split_by_tokens([lengths[row] for row in rows], max_tokens, packed):
        yield minibatch.select([rows[place] for place in piece])


def empty_row(batch: Batch) -> Batch:
    """Return one row of the batch's columns without an action, all zeros: what a process runs when only others have work.

    It has no part in any loss or sum, and takes the model through the same passes.
    """
    return batch.select([0]).map(torch.zeros_like)


def score_in_chunks(
    score: Callable[[Batch], Tensor], batch: Batch, max_tokens: int, packed: bool, ranks: Ranks | None = None
) -> Tensor:
    """Apply `score`, which returns (B, T), to a batch in pieces of at most `max_tokens` tokens, without gradients.

    Each of several processes takes its share of the pieces, and gets the whole result.
    """
    result = torch.zeros(batch.token_ids.shape, device=batch.token_ids.device)
    pieces = split_by_tokens(batch.lengths, max_tokens, packed)
    with torch.no_grad():
        for rows in pieces if ranks is None else ranks.deal(pieces, spare=[]):
            scores = score(batch.select(rows) if rows else empty_row(batch))
            if rows:
                result[torch.as_tensor(rows, device=result.device), : scores.shape[1]] = scores
    if ranks is None:
        return result
    ranks.reshard()
    return ranks.add(result)
