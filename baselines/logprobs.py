"""Log-probabilities of recorded tokens under a policy, computed where the policy acted and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.batch import Batch
from baselines.policy import Policy


@dataclass(frozen=True, eq=False)
class TokenScores:
    """What a policy says about the recorded actions.

    Attributes:
        logprobs: (B, T) log-probability of each action token given all that precedes it; 0 off the action mask.
        entropy: (B, T) entropy in nats of the distribution it was drawn from, detached; 0 off the action mask.
        correct: (B, T) True where the action token is the most probable one.
    """

    logprobs: Tensor
    entropy: Tensor
    correct: Tensor


def score_actions(policy: Policy, batch: Batch, temperature: float = 1.0) -> TokenScores:
    """Runs the policy over a batch and scores its action tokens.

    Column t of the result speaks of token t, predicted from the tokens before it; the vocabulary is projected at those
    positions alone, which for text games is a tenth of them.

    Args:
        policy: whose log-probabilities; gradients flow unless disabled by the caller.
        batch: padded episodes.
        temperature: that of the sampling, so that log-probabilities at rollout and here agree.
    """
    targets = batch.action_mask[:, 1:]
    logits = _logits_at(policy, batch, targets).float() / temperature  # (N, V), N action tokens
    chosen = batch.token_ids[:, 1:][targets]
    all_logprobs = torch.log_softmax(logits, dim=-1)
    logprobs = all_logprobs.gather(1, chosen[:, None])[:, 0]
    with torch.no_grad():
        entropy = -(all_logprobs.exp() * all_logprobs).sum(-1)
        correct = all_logprobs.argmax(-1) == chosen
    mask = batch.action_mask
    zeros = torch.zeros(mask.shape, device=mask.device)
    return TokenScores(
        logprobs=zeros.masked_scatter(mask, logprobs),
        entropy=zeros.masked_scatter(mask, entropy),
        correct=torch.zeros_like(mask).masked_scatter(mask, correct),
    )


def _logits_at(policy: Policy, batch: Batch, targets: Tensor) -> Tensor:
    """(N, V) logits that predict the tokens where `targets` (B, T - 1) is True."""
    # No attention mask: rows are padded on the right, so causality alone hides the padding, and the fast causal
    # kernels apply.
    model = policy.model
    token_ids = batch.token_ids[:, :-1]
    if policy.has_plain_head:
        hidden = model.base_model(input_ids=token_ids, use_cache=False).last_hidden_state
        head: nn.Module = model.get_output_embeddings()
        logits: Tensor = head(hidden[targets])
        return logits
    all_logits: Tensor = model(input_ids=token_ids, use_cache=False).logits
    return all_logits[targets]
