"""Drawing tokens from logits with uniforms that the caller has drawn."""

from __future__ import annotations

import torch
from torch import Tensor


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
