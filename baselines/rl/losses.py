"""Losses and estimators of policy-gradient methods, as pure functions of tensors shaped (B, T).

Aggregation is apart from the losses: `loss_weights` says once, over a whole minibatch, what each action token counts,
and the loss is `(per_token * weights).sum()`. So a minibatch may be cut into any micro-batches without changing its
gradient.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from baselines.rl.advantages import decision_index, per_decision, per_token

Aggregation: TypeAlias = Literal["token", "sequence", "constant"]
RatioLevel: TypeAlias = Literal["token", "turn", "sequence"]

RATIO_LEVELS: tuple[RatioLevel, ...] = ("token", "turn", "sequence")


def loss_weights(
    action_mask: Tensor, aggregation: Aggregation, length: int = 1, episodes: Tensor | None = None
) -> Tensor:
    """Return the weight of each action token in the mean over a minibatch.

    Args:
        action_mask: (B, T) True for a token that the policy sampled, over the whole minibatch.
        aggregation: "token" averages over all action tokens (arXiv 2503.14476, eq. 8, DAPO); "sequence" averages within
            each episode first, then over episodes (arXiv 2402.03300, eq. 3, GRPO); "constant" adds up the tokens of an
            episode, divides by `length` and averages over episodes (arXiv 2503.20783, section 3.2, Dr. GRPO).
        length: the constant, in tokens.
        episodes: (B,) number of the episode that each row belongs to; None if each row is one.

    Returns:
        (B, T) weights that sum to 1 for "token", to the share of episodes that have an action token for "sequence".
    """
    mask = action_mask.float()
    if aggregation == "token":
        return mask / mask.sum().clamp(min=1)
    owners = torch.arange(len(mask), device=mask.device) if episodes is None else episodes
    _, owners = torch.unique(owners, return_inverse=True)
    num_episodes = int(owners.max()) + 1 if len(owners) else 1
    if aggregation == "sequence":
        tokens = mask.new_zeros(num_episodes).index_add(0, owners, mask.sum(dim=1))
        return mask / tokens[owners, None].clamp(min=1) / num_episodes
    if aggregation == "constant":
        return mask / (length * num_episodes)
    raise ValueError(f"expected aggregation 'token', 'sequence' or 'constant', got {aggregation!r}")


def log_ratios(
    logprobs: Tensor, old_logprobs: Tensor, action_mask: Tensor, turns: Tensor, level: RatioLevel = "token"
) -> Tensor:
    r"""Return the logarithm of the importance ratio of each action token, at the level at which it is clipped.

        token             log r_t = log pi(a_t) - log pi_old(a_t)
        turn, sequence    log s_t = 1/|m| sum_(u in m) log r_u        m: the tokens of the turn, or of the whole row

    The mean over a span is the geometric mean of its ratios: section 4.1 of arXiv 2507.18071 (GSPO) over a sequence, and
    the turn-level ratio of arXiv 2511.20718, eq. 4, used by turn-PPO (arXiv 2512.17008), over a turn. The gradient of
    log s_t is that of log pi(a_t) alone, so that tokens of a span may have advantages of their own; where they have the
    same, the gradient is that of the mean (GSPO-token, arXiv 2507.18071, section 4.3).

    Args:
        logprobs: (B, T) of the policy in training; gradients flow.
        old_logprobs: (B, T) recorded at rollout.
        action_mask: (B, T) True for a token that the policy sampled.
        turns: (B, T) number of the turn that each token stands in.
        level: token, turn or sequence.

    Returns:
        (B, T) log-ratios; 0 off the action mask, where both log-probabilities are.
    """
    log_ratio = logprobs - old_logprobs
    if level == "token":
        return log_ratio
    detached = log_ratio.detach()
    index = decision_index(action_mask, turns, "turn" if level == "turn" else "trajectory")
    counts = per_decision(torch.ones_like(detached), index).clamp(min=1)
    return per_token(per_decision(detached, index) / counts, index) + (log_ratio - detached)


def clipped_policy_loss(
    log_ratio: Tensor, advantages: Tensor, clip_coef: float, clip_coef_high: float | None = None
) -> Tensor:
    """Return the clipped surrogate of PPO, negated: `-min(r A, clip(r, 1 - eps, 1 + eps) A)` with `r = pi / pi_old`.

    Equation 7 of arXiv 1707.06347; `clip_coef_high` is the separate upper bound of arXiv 2503.14476 (clip-higher).

    Args:
        log_ratio: (B, T) of `log_ratios`; gradients flow.
        advantages: (B, T).
        clip_coef: eps of the lower bound, and of the upper one unless that is given.
        clip_coef_high: eps of the upper bound.

    Returns:
        (B, T) loss of each token.
    """
    ratio = log_ratio.exp()
    upper = clip_coef if clip_coef_high is None else clip_coef_high
    clipped = ratio.clamp(1 - clip_coef, 1 + upper)
    return -torch.min(ratio * advantages, clipped * advantages)


def clip_fraction(
    log_ratio: Tensor, advantages: Tensor, clip_coef: float, clip_coef_high: float | None = None
) -> Tensor:
    """Return (B, T) 1 where the clip of `clipped_policy_loss` holds the gradient at 0, else 0."""
    ratio = log_ratio.exp()
    upper = clip_coef if clip_coef_high is None else clip_coef_high
    too_high = (ratio > 1 + upper) & (advantages > 0)
    too_low = (ratio < 1 - clip_coef) & (advantages < 0)
    return (too_high | too_low).float()


def k3_kl(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return the estimate of KL(pi || ref) at tokens drawn from pi: `ref / pi - log(ref / pi) - 1`, never negative.

    Equation 4 of arXiv 2402.03300; k3 of J. Schulman, "Approximating KL Divergence" (2020). Its gradient is, on average over
    tokens drawn from pi, that of KL(ref || pi).

    Args:
        logprobs: (B, T) of the policy in training; gradients flow.
        ref_logprobs: (B, T) of the frozen reference.

    Returns:
        (B, T) estimate for each token, in nats.
    """
    log_ratio = ref_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio


def kl_penalty(old_logprobs: Tensor, ref_logprobs: Tensor, kl_coef: float) -> Tensor:
    """Return `-beta log(pi_old / pi_ref)`, what each action token is charged where the KL divergence is in the reward.

    Section 2.2 of arXiv 2203.02155; k1 of J. Schulman, "Approximating KL Divergence" (2020).

    Args:
        old_logprobs: (B, T) recorded at rollout.
        ref_logprobs: (B, T) of the frozen reference.
        kl_coef: beta, per nat.
    """
    return -kl_coef * (old_logprobs - ref_logprobs)


def value_loss(values: Tensor, old_values: Tensor, targets: Tensor, clip: float | None = None) -> Tensor:
    """Half the squared error of the critic, each prediction held within `clip` of its value at rollout where given.

    Equation 9 of arXiv 1707.06347; the clip is that of its authors' code (openai/baselines, ppo2), which takes the
    larger of the two errors.

    Args:
        values: (B, T) of the critic in training; gradients flow.
        old_values: (B, T) at rollout.
        targets: (B, T) returns to be predicted.
        clip: largest change that counts, in units of the return.
    """
    error = (values - targets) ** 2
    if clip is not None:
        held = old_values + (values - old_values).clamp(-clip, clip)
        error = torch.max(error, (held - targets) ** 2)
    return 0.5 * error


def explained_variance(values: Tensor, targets: Tensor) -> float:
    """Return `1 - Var(targets - values) / Var(targets)` of (K,) predictions: 1 is perfect, 0 no better than a constant."""
    variance = float(targets.var(correction=0)) if len(targets) else 0.0
    return 1 - float((targets - values).var(correction=0)) / variance if variance > 1e-12 else 0.0


def weighted_sum(per_token: Tensor, weights: Tensor) -> Tensor:
    """Aggregate (B, T) values with the weights of `loss_weights`; a value off the mask never counts, not even NaN."""
    return torch.where(weights > 0, per_token * weights, torch.zeros_like(per_token)).sum()


def truncated_weights(own: Tensor, served: Tensor, mask: Tensor, cap: float) -> Tensor:
    """Return weights of tokens that another program has sampled from the same policy, w = min(pi_own / pi_served, cap).

    Truncated importance sampling (Ionides 2008), as trainers use it where the rollout's arithmetic is not the update's: the
    gradient of a token is multiplied by w.

    Args:
        own: (B, T) log-probabilities by the trainer.
        served: (B, T) those that the server reported.
        mask: (B, T) True for sampled tokens; w is 1 elsewhere.
        cap: largest weight.
    """
    return torch.where(mask, (own - served).exp().clamp(max=cap), torch.ones_like(own))
