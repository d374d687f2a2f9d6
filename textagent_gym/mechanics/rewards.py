"""The one reward of all domains: integers in, milestones paid.

A domain counts `done` of `total` sub-goals; this file turns the count into money. Since what has been paid is a function
of the state alone, the rewards of an episode telescope: undoing progress pays it back, and no loop can be farmed.
"""

from __future__ import annotations


def num_milestones(total: int, reward_density: float) -> int:
    """Return the number of milestones that pay: `max(1, floor(reward_density * total + 1/2))`.

    Args:
        total: Number of sub-goals of the task, at least 1.
        reward_density: Share of the sub-goals that pay when reached, in [0, 1]; 0 pays success alone.
    """
    return max(1, int(reward_density * total + 0.5))


def num_paid(done: int, total: int, milestones: int) -> int:
    """Return the number of milestones that `done` sub-goals have reached; `done` is clamped to [0, total]."""
    return min(max(done, 0), total) * milestones // total


class MilestoneReward:
    """Pays the change of the share of milestones reached since the last call.

    A solved episode returns 1 (to 1e-9) at every density, a lost one 0, a truncated one what its milestones pay. With
    `reward_density` 0 there is one milestone, success, and no reward is ever negative before it.

    Args:
        total: Number of sub-goals of the task, at least 1.
        reward_density: Share of the sub-goals that pay when reached, in [0, 1].
    """

    def __init__(self, total: int, reward_density: float) -> None:
        self.total = total
        self.milestones = num_milestones(total, reward_density)
        self.paid = 0

    @property
    def pays_success_alone(self) -> bool:
        """True if no sub-goal but the last pays."""
        return self.milestones == 1

    def pay(self, done: int) -> float:
        """Return the reward for having `done` sub-goals now, and the memory of having paid it."""
        paid = num_paid(done, self.total, self.milestones)
        reward = paid / self.milestones - self.paid / self.milestones
        self.paid = paid
        return reward
