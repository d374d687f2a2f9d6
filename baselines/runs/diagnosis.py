"""Signs that a training run has taught nothing, read from its metrics and said in one sentence each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from baselines.runs.log import Record

LITTLE_KL = 1e-5
"""Mean approximate KL of an iteration, nats a token, below which a policy has not moved."""

LITTLE_ENTROPY = 0.01
"""Entropy of an action token, in nats, below which nothing else is tried."""

NEAR_MAXIMUM = 0.95
"""Share of the largest possible entropy above which actions are all but random tokens."""


def diagnose(records: Sequence[Record], vocab_size: int) -> list[str]:
    """Return one sentence for each sign that a run has taught nothing; none for a run that looks sound.

    Args:
        records: lines of metrics.jsonl, in order.
        vocab_size: tokens of the policy's vocabulary, whose logarithm bounds the entropy.
    """
    found = []
    if _always_zero(records, "train/optimiser_steps"):
        found.append(
            "no optimiser step was taken, because no episode had an advantage: every member of a group earned the same; "
            "take a denser reward, an easier task or a policy that sometimes succeeds"
        )
    if _always_zero(records, "train/success_rate"):
        found.append(
            "no episode succeeded in any iteration; start with SFT, an easier task (--also, --curriculum) or a denser reward"
        )
    steps, divergence = _values(records, "train/optimiser_steps"), _values(records, "train/approx_kl")
    # With one step an iteration the policy is scored before it has moved: its KL is 0 however far it goes.
    if steps and max(steps) > 1 and divergence and sum(divergence) / len(divergence) < LITTLE_KL:
        found.append(
            f"the policy hardly moved: approx_kl was {sum(divergence) / len(divergence):.1g} nats a token on average; "
            "raise --learning-rate"
        )
    found += _of_entropy(_values(records, "train/entropy"), vocab_size)
    losses = _values(records, "train/loss")
    if "demonstrations" in (records[0] if records else {}) and losses[-1] > 0.9 * losses[0]:
        found.append(
            f"the loss did not fall ({losses[0]:.2f} to {losses[-1]:.2f}); raise --num-epochs or --learning-rate"
        )
    evaluations = [max(record["eval/success_rate"], record["eval/sampled_success_rate"]) for record in records
                   if "eval/success_rate" in record]  # fmt: skip
    if evaluations and evaluations[-1] == 0:
        found.append("no held-out episode succeeded in the last evaluation, neither greedy nor sampled")
    return found


def _of_entropy(entropy: Sequence[float], vocab_size: int) -> list[str]:
    if not entropy:
        return []
    if entropy[-1] < LITTLE_ENTROPY:
        return [
            f"the entropy is gone ({entropy[-1]:.1g} nats a token), so that nothing new is tried; lower --learning-rate, "
            "or raise --entropy-coef"
        ]
    if entropy[-1] > NEAR_MAXIMUM * math.log(vocab_size):
        return [
            f"the entropy is at its maximum ({entropy[-1]:.2f} nats a token): actions are random tokens; start with SFT"
        ]
    return []


def _always_zero(records: Sequence[Record], key: str) -> bool:
    values = _values(records, key)
    return bool(values) and not any(values)


def _values(records: Sequence[Record], key: str) -> list[float]:
    return [record[key] for record in records if key in record]
