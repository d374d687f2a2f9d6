"""Drawing tokens from logits with an explicit generator."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_tokens(logits: Tensor, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws one token per row, and its log-probability under the distribution that it was drawn from.

    The draw inverts the cumulative distribution with uniforms made on the CPU, so that a seed means the same numbers
    on every device.

    Args:
        logits: (B, V) scores of the next token.
        temperature: divides the logits; 0 takes the most probable token, whose log-probability is then 0.
        generator: source of randomness, on the CPU.

    Returns:
        (B,) token ids and (B,) log-probabilities.
    """
    if temperature == 0:
        token_ids = logits.argmax(dim=-1)
        return token_ids, torch.zeros_like(token_ids, dtype=torch.float32)
    logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
    cumulative = logprobs.exp().cumsum(dim=-1)
    uniform = torch.rand(len(logits), 1, generator=generator).to(logits.device)
    token_ids = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    token_ids = token_ids.clamp(max=logits.shape[-1] - 1)
    return token_ids[:, 0], logprobs.gather(1, token_ids)[:, 0]


def seeded_generator(*numbers: int) -> torch.Generator:
    """Makes a CPU generator from several numbers (such as seed and iteration), one stream for each tuple."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(mixed)
