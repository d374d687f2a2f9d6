"""Metrics of played episodes beyond the means of an iteration: success by label, actions, advantages, template collapse."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from baselines.runs.log import Record
from baselines.sampling.episode import Episode

ADVANTAGE_QUANTILES = (5, 50, 95)
"""Per cent."""


def success_rates(prefix: str, labels: Sequence[str | None], successes: Sequence[bool]) -> Record:
    """Return `prefix/LABEL` -> share of successes among the episodes of each label; episodes without one are in none.

    Args:
        prefix: such as "train/success_rate".
        labels: (N,) type of task, or environment, of each episode.
        successes: (N,) True where the episode succeeded.
    """
    counts = Counter(label for label in labels if label is not None)
    solved = Counter(label for label, success in zip(labels, successes, strict=True) if success)
    return {f"{prefix}/{label}": solved[label] / count for label, count in sorted(counts.items())}


def describe_actions(episodes: Sequence[Episode]) -> Record:
    """Return the metrics of an iteration's actions, and the success rate of each type of task that its episodes name."""
    turns = [turn for episode in episodes for turn in episode.turns]
    types = [episode.task_type for episode in episodes]
    record = success_rates("train/success_rate", types, [episode.success for episode in episodes])
    if turns:
        record["train/invalid_action_rate"] = sum(turn.invalid for turn in turns) / len(turns)
        record["train/tokens_per_turn"] = sum(episode.num_action_tokens for episode in episodes) / len(turns)
        record["train/action_information"] = action_information(episodes)
    return record


def describe_advantages(advantages: Tensor, action_mask: Tensor) -> Record:
    """Return quantiles of the advantages of action tokens; nothing where there are none.

    Args:
        advantages: (B, T) one of each token.
        action_mask: (B, T) True for a token that the policy sampled.
    """
    values = advantages.expand_as(action_mask)[action_mask].double().cpu().numpy()
    if not len(values):
        return {}
    quantiles = np.quantile(values, [percent / 100 for percent in ADVANTAGE_QUANTILES])
    named = zip(ADVANTAGE_QUANTILES, quantiles, strict=True)
    return {f"train/advantage_p{percent:02d}": float(value) for percent, value in named}


def action_information(episodes: Sequence[Episode]) -> float:
    r"""Return a proxy of the mutual information between a prompt and the first action of its episode, in nats.

        I = 1/N sum_i [ log pi(a_i | x_i) - log f(a_i) ]          f(a) = 1/N sum_j [a_j = a]

    Episode i, of the N that have a turn, put the prompt x_i and got the first action a_i, compared token by token.
    log pi is the sum of the log-probabilities recorded at rollout, those of the sampling distribution; f is the frequency of
    the action over the batch, in place of its mean probability over the batch's prompts, for which every action would have
    to be scored behind every prompt (RAGEN-2, arXiv 2604.06268, does that with thoughts, and calls a fall of the information
    at a steady entropy template collapse).

    The largest value is log N, where each episode has another action and was sure of it. Where actions do not depend on
    prompts, the expectation is at most 0, since the entropy of the frequencies is at most that of the actions; by the same
    argument it never exceeds the mutual information over the batch's prompts. It is far below 0 where a batch has fewer
    episodes than there are likely actions: then it says nothing.
    """
    firsts = [(episode, episode.turns[0]) for episode in episodes if episode.turns]
    if not firsts:
        return 0.0
    actions = [tuple(episode.token_ids[turn.action_start : turn.end].tolist()) for episode, turn in firsts]
    logprobs = [
        float(np.sum(episode.logprobs[turn.action_start : turn.end], dtype=np.float64)) for episode, turn in firsts
    ]
    counts, total = Counter(actions), len(actions)
    terms = [logprob - math.log(counts[action] / total) for logprob, action in zip(logprobs, actions, strict=True)]
    return sum(terms) / total
