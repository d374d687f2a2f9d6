"""Log-probabilities of recorded tokens under a policy, computed where the policy acted and nowhere else.

What costs time and memory is left out where it changes no score:

- Padding. Episodes are laid one after the other into one row, each with its own positions, and everything but
  attention is one large product of matrices; attention alone sees padded rows (`_attend_within_episodes`). Models that
  look further than attention does (sliding windows, state-space layers) are run on padded rows altogether.
- What follows the last action of an episode, and episodes without an action.
- The vocabulary at observation tokens, and all of it at once: (N, V) logits never exist for more than
  `LOGITS_AT_ONCE` numbers, and are computed again for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from baselines.models.policy import Policy, backbone, recomputing
from baselines.rl.batch import Batch
from baselines.sampling.decoding import attends_fully, tolerance, window_length
from baselines.sampling.listed import restrict

LOGITS_AT_ONCE = 2**26
"""Numbers in one chunk of logits, 256 MiB in float32: 1,365 tokens of a vocabulary of 49,152."""

_ATTENTION = "sdpa_within_episodes"


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Scores of the recorded action tokens under a policy.

    Attributes:
        logprobs: (B, T) log-probability of each action token given all that precedes it; 0 off the action mask.
        entropy: (B, T) entropy in nats of the distribution it was drawn from; 0 off the action mask. Detached unless
            `score_actions` was asked for its gradient.
        correct: (B, T) True where the action token is the most probable one.
        values: (B, T) value head's estimate in the state before each action token, float32; 0 off the action mask.
            None without a value head.
    """

    logprobs: Tensor
    entropy: Tensor
    correct: Tensor
    values: Tensor | None = None


def score_actions(
    policy: Policy,
    batch: Batch,
    temperature: float = 1.0,
    *,
    value_head: nn.Module | None = None,
    entropy_gradient: bool = False,
) -> TokenScores:
    """Run the policy over a batch and score its action tokens.

    Column t of the result speaks of token t, predicted from the tokens before it.

    Args:
        policy: the policy that scores; gradients flow unless disabled by the caller.
        batch: padded episodes.
        temperature: that of the sampling, so that log-probabilities at rollout and here agree.
        value_head: maps the hidden state that predicts a token, (N, H), to (N, 1); of any dtype.
        entropy_gradient: True if the entropy is to be differentiated.
    """
    model, inputs = policy.model, _lay_out(policy.model, batch)
    score = partial(_score, temperature=temperature, entropy_gradient=entropy_gradient)
    chosen = [batch.token_ids[batch.action_mask]]
    if "allowed" in batch.columns:
        chosen.append(batch["allowed"][batch.action_mask])
    if policy.has_plain_head:
        hidden = _hidden_states(model, *inputs)
        head: nn.Module = model.get_output_embeddings()
        vocab_size = len(head.get_parameter("weight"))
        logprobs, entropy, correct = _in_chunks(lambda h, *c: score(head(h), *c), (hidden, *chosen), vocab_size)
    else:
        hidden, logits = _hidden_states_and_logits(model, *inputs)
        logprobs, entropy, correct = _in_chunks(score, (logits, *chosen), logits.shape[1])
    return TokenScores(
        logprobs=_spread(logprobs, batch.action_mask),
        entropy=_spread(entropy, batch.action_mask),
        correct=_spread(correct, batch.action_mask),
        values=None if value_head is None else _spread(_values(value_head, hidden), batch.action_mask),
    )


def score_values(model: PreTrainedModel, batch: Batch, value_head: nn.Module) -> Tensor:
    """Run the model over a batch and return (B, T) values alone, as `TokenScores.values`; no logits are computed.

    Args:
        model: the transformer; its language-model head, if any, is not used.
        batch: padded episodes; its action mask says where values are wanted.
        value_head: maps (N, H) hidden states to (N, 1); gradients flow unless disabled by the caller.
    """
    hidden = _hidden_states(model, *_lay_out(model, batch))
    return _spread(_values(value_head, hidden), batch.action_mask)


def _score(
    logits: Tensor, chosen: Tensor, allowed: Tensor | None = None, *, temperature: float, entropy_gradient: bool
) -> tuple[Tensor, ...]:
    """Return (N,) log-probabilities of `chosen` (N,), entropies, and whether it is the most probable, of (N, V) logits.

    With `allowed` (N, K) the distribution is restricted to these tokens.
    """
    if allowed is not None:
        logits, chosen = restrict(logits, allowed), (allowed == chosen[:, None]).long().argmax(1)
    all_logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
    logprobs = all_logprobs.gather(1, chosen[:, None])[:, 0]
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        entropy = -(all_logprobs.exp() * all_logprobs).sum(-1)
    return logprobs, entropy, all_logprobs.detach().argmax(-1) == chosen


def _in_chunks(
    score: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], vocab_size: int
) -> tuple[Tensor, ...]:
    """Score states and tokens, tensors (N, ...), so many at a time that their logits fit `LOGITS_AT_ONCE`."""
    size = max(1, LOGITS_AT_ONCE // vocab_size)
    pieces = list(zip(*(torch.split(tensor, size) for tensor in inputs), strict=True))
    if len(pieces) > 1 and torch.is_grad_enabled():
        scored = [checkpoint(score, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
    else:
        scored = [score(*piece) for piece in pieces]
    return tuple(torch.cat(parts) for parts in zip(*scored, strict=True))


def _values(value_head: nn.Module, hidden: Tensor) -> Tensor:
    """Return (N,) values in float32 of (N, H) hidden states."""
    weight = next(value_head.parameters(), hidden)
    values: Tensor = value_head(hidden.to(weight.dtype))
    return values[..., 0].float()


def _spread(scores: Tensor, action_mask: Tensor) -> Tensor:
    """Return (B, T) with the (N,) scores of the action tokens in their places, 0 elsewhere."""
    return scores.new_zeros(action_mask.shape).masked_scatter(action_mask, scores)


_Inputs: TypeAlias = tuple[dict[str, Any], Tensor]
"""A batch as the model reads it: arguments of its `forward`, and True where a hidden state predicts an action token.

The second is shaped as the input ids; row by row its tokens are in the order of the batch's action tokens."""


def _lay_out(model: PreTrainedModel, batch: Batch) -> _Inputs:
    columns = torch.arange(batch.action_mask.shape[1], device=batch.action_mask.device)
    # Column 0 is never an action, so the last action's column is also the number of tokens that lead up to it.
    needed = (batch.action_mask * columns).amax(1)  # (B,) tokens of each episode that have to be run
    if not needed.any():
        needed[0] = 1  # models want a token, and callers a result to differentiate
    lay_out = _packed if can_pack(model) else _padded
    return lay_out(batch.token_ids, batch.action_mask, needed)


def _packed(token_ids: Tensor, action_mask: Tensor, needed: Tensor) -> _Inputs:
    """Return all episodes in one row, without padding."""
    columns = torch.arange(token_ids.shape[1], device=needed.device).expand_as(token_ids)
    kept = columns < needed[:, None]
    arguments = {
        "input_ids": token_ids[kept][None],
        "position_ids": columns[kept][None],
        # Masks of four dimensions are passed on as they are. Without this one transformers would recognise the
        # packing and build a mask of (tokens, tokens), which nobody reads.
        "attention_mask": torch.ones((1, 1, 1, 1), dtype=torch.bool, device=needed.device),
        "packing": Packing.of(needed),
    }
    return arguments, action_mask.roll(-1, dims=1)[kept][None]


def _padded(token_ids: Tensor, action_mask: Tensor, needed: Tensor) -> _Inputs:
    """Return rows as they are, cut behind the last action of all."""
    # No attention mask: rows are padded on the right, so causality alone hides the padding, and the fast causal
    # kernels apply.
    width = int(needed.max())
    return {"input_ids": token_ids[:, :width]}, action_mask.roll(-1, dims=1)[:, :width]


def _hidden_states(model: PreTrainedModel, arguments: dict[str, Any], predicts: Tensor) -> Tensor:
    """Return (N, H) last hidden states from which the N action tokens are predicted."""
    with recomputing(model):
        hidden: Tensor = backbone(model)(**arguments, use_cache=False).last_hidden_state
    return hidden[predicts]


def _hidden_states_and_logits(
    model: PreTrainedModel, arguments: dict[str, Any], predicts: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the same with (N, V) logits, for models whose own `forward` scales or caps them."""
    seen: list[Tensor] = []
    # hidden_states[-1] of a model's output is before the last normalisation in some models and after it in others.
    hook = backbone(model).register_forward_hook(lambda _, __, output: seen.append(output.last_hidden_state))
    columns = predicts.any(0).nonzero()[:, 0]
    try:
        with recomputing(model):
            logits: Tensor = model(**arguments, use_cache=False, logits_to_keep=columns).logits
    finally:
        hook.remove()
    if logits.shape[1] != len(columns):  # some architectures take `logits_to_keep` and keep all
        logits = logits[:, columns]
    return seen[0][predicts], logits[predicts[:, columns]]


MAX_STRETCH = 1.2
"""Ratio of lengths up to which episodes share a padded block: attention costs the square of what it is padded to."""


@dataclass(frozen=True, eq=False)
class Packing:
    """Positions of the tokens of several episodes in one row, and in blocks of episodes of similar lengths.

    Attributes:
        unpacked: for each block, (E, L) place in the row of each episode's tokens; any place behind an episode's end.
        packed: (N,) place of the row's tokens among those of all blocks, flattened one after the other.
    """

    unpacked: tuple[Tensor, ...]
    packed: Tensor

    @classmethod
    def of(cls, lengths: Tensor) -> Packing:
        """Return the packing of episodes of these (B,) lengths, in order; those of length 0 have no place in it."""
        lengths = lengths[lengths > 0]
        starts = lengths.cumsum(0) - lengths
        packed = torch.empty(int(lengths.sum()), dtype=torch.long, device=lengths.device)
        blocks, offset = [], 0
        for rows in _similar_lengths(lengths.tolist()):
            index = torch.tensor(rows, device=lengths.device)
            columns = torch.arange(int(lengths[rows[0]]), device=lengths.device)
            real = columns < lengths[index, None]
            places = starts[index, None] + columns
            blocks.append(torch.where(real, places, 0))
            packed[places[real]] = offset + real.flatten().nonzero()[:, 0]
            offset += real.numel()
        return cls(tuple(blocks), packed)


def _similar_lengths(lengths: list[int]) -> list[list[int]]:
    """Return rows in blocks, the longest first, whose lengths are within `MAX_STRETCH` of each other."""
    blocks: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if blocks and lengths[blocks[-1][0]] <= MAX_STRETCH * lengths[row]:
            blocks[-1].append(row)
        else:
            blocks.append([row])
    return blocks


def _attend_within_episodes(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Return causal attention over each of several episodes in one row; without `packing`, transformers' own.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, head_dim); `key` and `value` likewise, perhaps with fewer heads.
        key: see `query`.
        value: see `query`.
        attention_mask: of rows that are not packed.
        packing: of those that are.
        scaling: of the products of queries and keys.
        options: dropout and the like.

    Returns:
        (1, tokens, heads, head_dim), and no attention weights.
    """
    if packing is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
        return output, None
    heads = query.shape[1]
    outputs = []
    for places in packing.unpacked:
        # Padding is behind the episodes, where causality hides it.
        queries, keys, values = (_unpacked(states, places, heads) for states in (query, key, value))
        output = nn.functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=scaling)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)[packing.packed][None], None


def _unpacked(states: Tensor, places: Tensor, heads: int) -> Tensor:
    """Return (E, heads, L, head_dim) of (1, fewer heads, N, head_dim)."""
    rows = states[0].transpose(0, 1)[places].transpose(1, 2)
    return rows if rows.shape[1] == heads else rows.repeat_interleave(heads // rows.shape[1], dim=1)


AttentionInterface.register(_ATTENTION, _attend_within_episodes)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)

_packable: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def can_pack(model: PreTrainedModel) -> bool:
    """Return True for a model that runs packed episodes, so that a batch costs its real tokens rather than rows x longest.

    The first call for a model tries it, and sets the model's attention.
    """
    if model not in _packable:
        _packable[model] = _try_packing(model)
    return _packable[model]


def _try_packing(model: PreTrainedModel) -> bool:
    """Set the model's attention to `_attend_within_episodes` if episodes then keep apart in a packed row.

    The setting stays, because layers that are computed again for the gradient need it too; rows that are not packed
    are computed as ever.
    """
    # A copy of a model, or another of the same configuration, may have been set already.
    if model.config._attn_implementation not in ("sdpa", _ATTENTION) or not attends_fully(model):
        return False
    model.set_attn_implementation(_ATTENTION)
    if _keeps_apart(model):
        return True
    model.set_attn_implementation("sdpa")
    return False


@torch.no_grad()
def _keeps_apart(model: PreTrainedModel) -> bool:
    """Compare an episode that is packed behind another with the same episode alone."""
    vocab_size = len(model.get_input_embeddings().weight)
    length = 8 + window_length(model, limit=4096)  # an unknown window must show
    token_ids = torch.arange(1, 2 * length + 1, device=model.device).view(2, length) % vocab_size
    packed, _ = _packed(token_ids, torch.zeros_like(token_ids), torch.tensor([5, length], device=model.device))
    try:
        together = backbone(model)(**packed, use_cache=False).last_hidden_state[0, 5:]
        alone = backbone(model)(input_ids=token_ids[1:], use_cache=False).last_hidden_state[0]
    except (AttributeError, TypeError, ValueError, RuntimeError):
        # This model's forward does not hand arguments on to its attention, or reads the mask in its own way.
        return False
    error = torch.linalg.vector_norm((together - alone).float()) / torch.linalg.vector_norm(alone.float())
    return bool(error < tolerance(model))
