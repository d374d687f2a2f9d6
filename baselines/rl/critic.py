"""A critic: what return a state promises, read from the very tokens that the policy reads.

The value of a state is predicted at the last token before an action token, from the same hidden state that predicts the
token itself: a conversation's system and user prompts, observations and earlier actions are all seen.
"""

from __future__ import annotations

import copy
from typing import Literal, TypeAlias

from torch import Tensor, nn

from baselines.models.policy import Policy
from baselines.rl.batch import Batch
from baselines.rl.logprobs import score_values
from baselines.runs.distributed import Ranks

CriticKind: TypeAlias = Literal["head", "separate"]


class Critic(nn.Module):
    """A linear head on hidden states: the policy's own, or those of a second model that starts as a copy of it.

    Attributes:
        head: (hidden size) -> 1, zero at the start, so that all values are 0 before anything is learned.
        model: the second model, or None where the head reads the policy's hidden states.
    """

    def __init__(self, policy: Policy, kind: CriticKind) -> None:
        super().__init__()
        hidden_size = policy.model.config.get_text_config(decoder=True).hidden_size
        self.head = nn.Linear(hidden_size, 1, device=policy.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.model = copy.deepcopy(policy.model).requires_grad_(True) if kind == "separate" else None

    @property
    def shared_head(self) -> nn.Linear | None:
        """The head, where it reads what the policy computes anyway; else None."""
        return self.head if self.model is None else None

    def values(self, policy: Policy, batch: Batch) -> Tensor:
        """Return (B, T) values of the states before each action token; gradients flow unless disabled by the caller."""
        return score_values(policy.model if self.model is None else self.model, batch, self.head)

    def shard(self, ranks: Ranks) -> None:
        """Divide the weights among the processes, where they are to be."""
        ranks.shard(self.head)
        if self.model is not None:
            ranks.shard(self.model)
