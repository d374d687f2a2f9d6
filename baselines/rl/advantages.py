r"""Credit assignment: from rewards to one advantage per action token.

Credit is given to *decisions*. What counts as one is the choice `credit`:

    token         every action token is a decision
    turn          an action, all its tokens together, is a decision
    trajectory    the whole episode is one decision

Two kinds of credit combine them. `step` is that of the trajectory plus, by turn, a comparison of decisions that met the same
state (`step_advantages`); `bilevel` estimates advantages of turns first and of their tokens from them (`bilevel_gae`).

`Decisions` says which decision each action token belongs to; `sum` adds up what its tokens earned; an estimator works on
arrays (N, S) of N episodes and at most S decisions; `spread` gives the result back to the tokens. So one function serves all
three, also where an episode stands in several rows because its context shows less than the whole history. Observation
tokens, which are nobody's decision, are never in the way: the value of the last token of an action is compared with that of
the first token of the next action, however long the observation between them.

Every function is pure. Padding decisions after an episode's end earn 0 and are False in `present`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Credit: TypeAlias = Literal["token", "turn", "trajectory", "step", "bilevel"]

CREDITS: tuple[Credit, ...] = ("token", "turn", "trajectory")
"""Kinds of credit that every algorithm has."""

GROUP_DECISIONS: dict[Credit, Credit] = {
    "token": "turn",
    "turn": "turn",
    "trajectory": "trajectory",
    "step": "trajectory",
}
"""Decisions whose returns are compared between the members of a group, by credit."""

# Below this a group's returns differ only by rounding (sums of rewards such as 1/3), and carry no signal.
ZERO_STD = 1e-6


def decision_index(action_mask: Tensor, turns: Tensor, credit: Credit) -> Tensor:
    """Return the number of the decision that each action token belongs to.

    Args:
        action_mask: (N, T) True for a token that the policy sampled.
        turns: (N, T) number of the turn that each token stands in, from 0.
        credit: unit of a decision: token, turn or trajectory.

    Returns:
        (N, T) decision numbers from 0, -1 off the mask.
    """
    if credit == "token":
        index = action_mask.long().cumsum(1) - 1
    elif credit == "turn":
        index = turns
    elif credit == "trajectory":
        index = torch.zeros_like(turns)
    else:
        raise ValueError(f"expected credit to be one of {', '.join(CREDITS)}, got {credit!r}")
    return torch.where(action_mask, index, -1)


def exists(index: Tensor) -> Tensor:
    """Return (N, S) True for a decision that the episode has; `index` is (N, T) of `decision_index`."""
    return per_decision(torch.ones(index.shape, device=index.device), index) > 0


def per_decision(values: Tensor, index: Tensor) -> Tensor:
    """Add up (N, T) values over the tokens of each decision: (N, S); values off the action mask are not counted."""
    num_decisions = max(1, int(index.max()) + 1) if index.numel() else 1
    sums = torch.zeros((len(index), num_decisions + 1), dtype=values.dtype, device=values.device)
    return sums.scatter_add(1, index + 1, values)[:, 1:]  # column 0 takes what is off the mask


def per_token(values: Tensor, index: Tensor) -> Tensor:
    """Give each action token its decision's value: (N, S) to (N, T), 0 off the action mask."""
    return torch.where(index >= 0, values.gather(1, index.clamp(min=0)), 0.0)


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions of N episodes, at most S each, whose tokens stand in B rows of T tokens.

    Attributes:
        index: (B, T) number of the decision that each action token belongs to, from 0 in each episode; -1 off the mask.
        episodes: (B,) number of the episode that each row belongs to, rising.
    """

    index: Tensor
    episodes: Tensor

    @classmethod
    def of(cls, action_mask: Tensor, turns: Tensor, episodes: Tensor, credit: Credit) -> Decisions:
        """Return the decisions of rows; arguments as for `decision_index`, turns counted through an episode's rows."""
        index = decision_index(action_mask, turns, credit)
        if credit == "token":
            before = action_mask.sum(1).cumsum(0) - action_mask.sum(1)
            first = before.new_full((len(before),), torch.iinfo(torch.long).max)
            first = first.scatter_reduce(0, episodes, before, "amin")[episodes]
            index = torch.where(action_mask, index + (before - first)[:, None], -1)
        return cls(index, episodes)

    @property
    def num_episodes(self) -> int:
        """Number of episodes, N."""
        return int(self.episodes.max()) + 1 if len(self.episodes) else 0

    def sum(self, values: Tensor) -> Tensor:
        """Add up (B, T) values over the tokens of each decision: (N, S)."""
        rows = per_decision(values, self.index)
        return rows.new_zeros((self.num_episodes, rows.shape[1])).index_add(0, self.episodes, rows)

    def spread(self, values: Tensor) -> Tensor:
        """Give each action token its decision's value: (N, S) to (B, T), 0 off the action mask."""
        return per_token(values[self.episodes], self.index)

    def present(self) -> Tensor:
        """Return (N, S) True for a decision that the episode has."""
        return self.sum(torch.ones(self.index.shape, device=self.index.device)) > 0

    def first_tokens(self) -> Tensor:
        """Return (B, T) True at the first token of every decision, where a critic judges the state that it is taken in."""
        acted = self.index >= 0
        if not acted.any():
            return acted
        width = int(self.index.max()) + 1
        keys = (self.episodes[:, None] * width + self.index)[acted]
        places = torch.arange(len(keys), device=keys.device)
        earliest = places.new_full((self.num_episodes * width,), len(keys)).scatter_reduce(0, keys, places, "amin")
        return torch.zeros_like(acted).masked_scatter(acted, earliest[keys] == places)


def rewards_to_go(rewards: Tensor, gamma: float = 1.0) -> Tensor:
    """Return `G_s = r_s + gamma G_(s+1)`, the return from each decision on (Sutton and Barto, 2018, eq. 3.9).

    Args:
        rewards: (N, S) what each decision earned, 0 after the end.
        gamma: discount from one decision to the next.

    Returns:
        (N, S); 0 after an episode's end.
    """
    if gamma == 1.0:
        return rewards.flip(1).cumsum(1).flip(1)
    returns = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for step in reversed(range(rewards.shape[1])):
        following = rewards[:, step] + gamma * following
        returns[:, step] = following
    return returns


def gae(rewards: Tensor, values: Tensor, present: Tensor, bootstrap: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    r"""Return generalised advantage estimates over decisions (arXiv 1506.02438, eq. 16).

        delta_s = r_s + gamma V_(s+1) - V_s        A_s = delta_s + gamma lambda A_(s+1)

    With one decision an episode this is R - V(prompt); at lambda = 1 it is the return minus the value.

    Args:
        rewards: (N, S) what each decision earned.
        values: (N, S) the critic's value of the state in which it was taken.
        present: (N, S) True for a decision that the episode has.
        bootstrap: (N,) value after the last decision: 0 where the episode terminated, the critic's where it was cut.
        gamma: discount from one decision to the next.
        gae_lambda: lambda.

    Returns:
        (N, S) advantages, 0 where there is no decision.
    """
    advantages = torch.zeros_like(values)
    next_value, next_advantage = bootstrap, torch.zeros_like(bootstrap)
    for step in reversed(range(values.shape[1])):
        here = present[:, step]
        delta = rewards[:, step] + gamma * next_value - values[:, step]
        advantage = delta + gamma * gae_lambda * next_advantage
        advantages[:, step] = torch.where(here, advantage, 0.0)
        next_value = torch.where(here, values[:, step], next_value)
        next_advantage = torch.where(here, advantage, next_advantage)
    return advantages


def bilevel_gae(
    rewards: Tensor,
    values: Tensor,
    turns: Tensor,
    bootstrap: Tensor,
    gamma: float,
    gae_lambda: float,
    token_gamma: float = 1.0,
) -> Tensor:
    r"""Return bi-level advantage estimates over tokens (VAGEN, arXiv 2510.16907).

    The last token of every turn k gets the estimate from turn to turn; it is handed on to the tokens before it, within
    the turn alone:

        A_k = r_k + gamma V_(k+1) - V_k + gamma lambda A_(k+1)                               V_k: at the turn's last token
        A_(k,i) = r_(k,i) + gamma_token V_(k,i+1) - V_(k,i) + gamma_token lambda A_(k,i+1)   A_(k,last) = A_k

    Args:
        rewards: (N, S) what each token earned; that of a turn is at its last token.
        values: (N, S) the critic's value of the state before each token.
        turns: (N, S) the turn of each token, from 0; -1 where there is none.
        bootstrap: (N,) value after the last turn.
        gamma: discount from one turn to the next.
        gae_lambda: lambda of both levels.
        token_gamma: discount from one token to the next.

    Returns:
        (N, S) advantages, 0 where there is no token.
    """
    present = turns >= 0
    last = present & (turns != torch.cat([turns[:, 1:], torch.full_like(turns[:, :1], -1)], dim=1))
    turn_rewards, turn_values = (per_decision(torch.where(last, part, 0.0), turns) for part in (rewards, values))
    estimates = gae(turn_rewards, turn_values, exists(turns), bootstrap, gamma, gae_lambda)
    turn_advantages = per_token(estimates, turns)
    advantages = torch.zeros_like(values)
    next_value, following = torch.zeros_like(bootstrap), torch.zeros_like(bootstrap)
    for token in reversed(range(values.shape[1])):
        delta = rewards[:, token] + token_gamma * next_value - values[:, token]
        within = delta + token_gamma * gae_lambda * following
        following = torch.where(last[:, token], turn_advantages[:, token], within)
        advantages[:, token] = torch.where(present[:, token], following, 0.0)
        next_value = values[:, token]
    return advantages


def state_labels(states: Sequence[Sequence[str]], groups: Tensor) -> Tensor:
    """Return numbers for the states that decisions were taken in, within each group.

    Args:
        states: of each of N episodes the states of its decisions, equal strings for equal states (see `Turn.state`).
        groups: (N,) label of the group that each episode belongs to.

    Returns:
        (N, S) equal numbers from 0 for decisions of one group in equal states; -1 where there is no decision.
    """
    numbers: dict[tuple[int, str], int] = {}
    labels = torch.full((len(states), max(1, *map(len, states), 1)), -1)
    for row, (group, met) in enumerate(zip(groups.tolist(), states, strict=True)):
        for step, state in enumerate(met):
            labels[row, step] = numbers.setdefault((group, state), len(numbers))
    return labels.to(groups.device)


def has_partner(labels: Tensor) -> Tensor:
    """Return (N, S) True for a decision with the state of another one; `labels` are those of `state_labels`."""
    _, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    found: Tensor = (labels >= 0) & (counts[inverse] > 1)
    return found


def step_advantages(
    returns: Tensor, labels: Tensor, baseline: Callable[[Tensor, Tensor], Tensor], scaled: bool = False
) -> Tensor:
    """Return `G_s - b_s` among decisions of one state (GiGPO, arXiv 2505.10978, section 4.2).

    Args:
        returns: (N, S) returns-to-go of turns.
        labels: (N, S) of `state_labels`.
        baseline: takes b away, `minus_group_mean` or `leave_one_out`, over the decisions of one state.
        scaled: divide by the standard deviation of the returns of that state.

    Returns:
        (N, S) advantages; 0 where no other decision was taken in the state.
    """
    chosen = has_partner(labels)
    if not chosen.any():
        return torch.zeros_like(returns)
    centred = baseline(returns[chosen][:, None], labels[chosen])[:, 0]
    if scaled:
        centred = centred * group_scale(returns[chosen], labels[chosen])
    return torch.zeros_like(returns).masked_scatter(chosen, centred)


def minus_group_mean(returns: Tensor, groups: Tensor) -> Tensor:
    """Return `G_is - mean_j G_js` over the episodes j of one group (the baseline of arXiv 2402.03300, section 4.1).

    A member that has finished before decision s counts with G_js = 0, so the baseline always exists.

    Args:
        returns: (N, S) returns-to-go.
        groups: (N,) label of the group that each episode belongs to.
    """
    sums, counts, inverse = _group_sums(returns, groups)
    return returns - (sums / counts)[inverse]


def leave_one_out(returns: Tensor, groups: Tensor) -> Tensor:
    """Return `G_is - mean_(j != i) G_js`: RLOO's baseline, the mean of the others (arXiv 2402.14740, section 3.2).

    Finished members count with 0; arguments as for `minus_group_mean`, in groups of at least two.
    """
    sums, counts, inverse = _group_sums(returns, groups)
    others = (sums[inverse] - returns) / (counts[inverse] - 1)
    return returns - others


def group_scale(returns: Tensor, groups: Tensor) -> Tensor:
    """Return `1 / std(R)` over each group (arXiv 2402.03300, section 4.1.2; the population's std).

    Args:
        returns: (N,) undiscounted episode returns.
        groups: (N,) labels.

    Returns:
        (N,) factors; 0 throughout a group whose returns are all equal: nothing was learned about any of them.
    """
    stds, inverse = _group_stds(returns, groups)
    return _inverse_or_zero(stds)[inverse]


def informative_groups(returns: Tensor, groups: Tensor, share: float, min_spread: float = 0.0) -> Tensor:
    """Return (N,) True for members of the groups whose returns have the largest standard deviation (arXiv 2504.20073).

    Args:
        returns: (N,) undiscounted episode returns.
        groups: (N,) labels.
        share: share of the groups to keep, in (0, 1]; at least one is kept. Of equal ones the first.
        min_spread: standard deviation below which a group is not kept at all.
    """
    stds, inverse = _group_stds(returns, groups)
    count = max(1, round(share * len(stds)))
    kept = torch.zeros_like(stds, dtype=torch.bool)
    kept[stds.argsort(descending=True, stable=True)[:count]] = True
    chosen: Tensor = (kept & (stds >= min_spread))[inverse]
    return chosen


def mean_scale(returns: Tensor, groups: Tensor) -> Tensor:
    """Return `1 / mean(R)` over each group, so that rare successes weigh more (MaxRL, arXiv 2602.02710).

    Args:
        returns: (N,) undiscounted episode returns.
        groups: (N,) labels.

    Returns:
        (N,) factors; 0 throughout a group whose mean is not above 0.
    """
    sums, counts, inverse = _group_sums(returns[:, None], groups)
    return _inverse_or_zero((sums / counts)[:, 0])[inverse]


def whiten(advantages: Tensor, action_mask: Tensor) -> Tensor:
    """Zero mean and unit variance over all action tokens of a batch (arXiv 2501.03262, eq. 6): (N, T) to (N, T)."""
    chosen = advantages[action_mask]
    if len(chosen) == 0:
        return advantages
    std = chosen.std(correction=0)
    # Equal up to rounding, all of them: dividing would blow the rounding up to full size.
    scale = 1 / std if std > ZERO_STD * (1 + chosen.abs().max()) else torch.zeros_like(std)
    return torch.where(action_mask, (advantages - chosen.mean()) * scale, torch.zeros_like(advantages))


def _inverse_or_zero(values: Tensor) -> Tensor:
    """Return 1 / x for each x above `ZERO_STD`, 0 for the others."""
    return torch.where(values > ZERO_STD, 1 / values.clamp(min=ZERO_STD), torch.zeros_like(values))


def _group_stds(returns: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return standard deviations (M,) of the returns (N,) of M groups, and the group (N,) of each return."""
    sums, counts, inverse = _group_sums(minus_group_mean(returns[:, None], groups) ** 2, groups)
    return (sums / counts).sqrt()[:, 0], inverse


def _group_sums(values: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums (M, S) and sizes (M, 1) of M groups, and the group (N,) of each row."""
    _, inverse, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    sums = torch.zeros((len(counts), values.shape[1]), dtype=values.dtype, device=values.device)
    return sums.index_add(0, inverse, values), counts[:, None].to(values.dtype), inverse
