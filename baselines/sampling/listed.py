"""Decoding over listed commands: a policy speaks in words, and only in words that the environment offers.

The token sequences of `info["admissible_commands"]` form a prefix tree (a trie). At every token the policy chooses among
the continuations that lead to a command, and its log-probability is that of the distribution restricted to them. Where
there is one continuation it is forced: its log-probability is 0, and it costs no pass of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from baselines.models.chat import ChatFormat
from baselines.sampling.decoding import HistoryDecoder, RaggedDecoder, sample_tokens

Trie: TypeAlias = dict[int, "Trie"]

NO_TOKEN = -1
"""Fills rows of allowed tokens up to the longest."""


class ListedCommands:
    """The commands that an environment lists in one state, as token sequences.

    Args:
        chat: encodes a command as the policy would have sampled it, its end token included.
        commands: at least one.

    Attributes:
        trie: prefix tree of the sequences; a leaf has no continuation.
        longest: tokens of the longest sequence.
    """

    def __init__(self, chat: ChatFormat, commands: Sequence[str]) -> None:
        self._commands = {tuple(chat.action(command)): command for command in commands}
        self.trie: Trie = {}
        for sequence in self._commands:
            node = self.trie
            for token_id in sequence:
                node = node.setdefault(token_id, {})
        self.longest = max(len(sequence) for sequence in self._commands)

    def command(self, token_ids: Sequence[int]) -> str:
        """Return the command that a whole token sequence spells."""
        return self._commands[tuple(token_ids)]


@dataclass
class _Path:
    """A walk from the root of a trie: the tokens chosen or forced so far, and what each was chosen from."""

    node: Trie
    rng: np.random.Generator
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    allowed: list[tuple[int, ...]] = field(default_factory=list)
    num_fed: int = 0

    def force(self) -> None:
        """Go on as long as there is one continuation."""
        while len(self.node) == 1:
            self.append(next(iter(self.node)), 0.0)

    def unfed(self) -> list[int]:
        """Return the tokens that the model has not read; it is about to read them."""
        tokens = self.token_ids[self.num_fed :]
        self.num_fed = len(self.token_ids)
        return tokens

    def append(self, token_id: int, logprob: float) -> None:
        """Go on by one token."""
        self.token_ids.append(token_id)
        self.logprobs.append(logprob)
        self.allowed.append(tuple(self.node))
        self.node = self.node[token_id]


def sample_listed(
    decoder: RaggedDecoder | HistoryDecoder,
    logits: Tensor,
    listed: Sequence[ListedCommands],
    temperature: float,
    rngs: Sequence[np.random.Generator],
) -> list[_Path]:
    """Sample one listed command per row, all rows in step.

    What follows the last choice of a row is not fed here: it goes in with the next observation, or never.

    Args:
        decoder: holds the rows.
        logits: (B, V) scores of the first token.
        listed: the commands of each row.
        temperature: see `sampling.sample_tokens`.
        rngs: one generator a row; each choice draws one number from it.

    Returns:
        Finished paths, in the order of the rows.
    """
    paths = [_Path(commands.trie, rng) for commands, rng in zip(listed, rngs, strict=True)]
    # A row whose first token is forced has no use for these logits: it chooses after the first feed.
    choosing = [row for row, path in enumerate(paths) if len(path.node) > 1]
    for path in paths:
        path.force()
    while True:
        if choosing:
            _choose(logits, [paths[row] for row in choosing], choosing, temperature)
        choosing = [row for row, path in enumerate(paths) if path.node]
        if not choosing:
            return paths
        logits = decoder.feed([path.unfed() if path.node else [] for path in paths])


def _choose(logits: Tensor, paths: Sequence[_Path], rows: Sequence[int], temperature: float) -> None:
    allowed = pad_allowed([tuple(path.node) for path in paths]).to(logits.device)
    uniforms = torch.tensor([path.rng.random() for path in paths], dtype=torch.float64)
    scores = restrict(logits[torch.as_tensor(rows, device=logits.device)], allowed)
    places, logprobs = sample_tokens(scores, temperature, uniforms)
    token_ids = allowed.gather(1, places[:, None])[:, 0]
    for path, token_id, logprob in zip(paths, token_ids.tolist(), logprobs.tolist(), strict=True):
        path.append(token_id, logprob)
        path.force()


def pad_allowed(allowed: Sequence[Sequence[int]]) -> Tensor:
    """Return (N, K) token ids of N choices, filled up with `NO_TOKEN`."""
    width = max(map(len, allowed), default=1)
    return torch.tensor([[*tokens, *[NO_TOKEN] * (width - len(tokens))] for tokens in allowed]).view(-1, width)


def restrict(logits: Tensor, allowed: Tensor) -> Tensor:
    """(N, K) scores of the `allowed` (N, K) tokens among (N, V) logits, in float32; far below all others at `NO_TOKEN`.

    The fill is finite, so that neither a probability nor its gradient is ever 0 times infinity.
    """
    return logits.float().gather(1, allowed.clamp(min=0)).masked_fill(allowed == NO_TOKEN, -1e9)
