"""Problems over states that are bit masks of facts, and which of their operators and facts a plan may need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operator:
    """One grounded action (STRIPS): applicable where all of `needs` hold, removes `deletes`, then adds `adds`.

    Attributes:
        name: The command that performs it.
        needs: Bit mask of the facts that must hold.
        adds: Bit mask of the facts that it makes true and that it did not need.
        deletes: Bit mask of the facts that it makes false.
    """

    name: str
    needs: int
    adds: int
    deletes: int


@dataclass(frozen=True, slots=True)
class Goal:
    """A quest: completed for good once any mask of `wins` holds, lost for good once any mask of `fails` holds.

    Attributes:
        latch: The single bit that records completion; a bit of the state like any fact.
        wins: Alternative bit masks, each a conjunction of facts.
        fails: Alternative bit masks, each a conjunction of facts; checked before `wins`, and never after completion.
    """

    latch: int
    wins: tuple[int, ...]
    fails: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A sequence of operators that wins, and whether the search proved that none is shorter."""

    operators: tuple[Operator, ...]
    is_shortest: bool

    @property
    def length(self) -> int:
        """Number of operators, which is the number of steps."""
        return len(self.operators)


class Problem:
    """An initial state, operators, and goals that latch.

    Attributes:
        won: The latches of all goals that can be won.
        watched: Facts that goals look at.

    Args:
        initial: Facts that hold at the start, before any goal was looked at.
        operators: All grounded operators, in the order in which ties are broken.
        goals: Quests; all that can be won must be won.
        lost: The single bit that records a lost game.
        pivot: Facts of which exactly one holds in every state (where the player is), used to index operators; 0 where
            there is no such group.
    """

    def __init__(
        self, *, initial: int, operators: Sequence[Operator], goals: Sequence[Goal], lost: int, pivot: int = 0
    ) -> None:
        self.operators = tuple(operators)
        self.goals = tuple(goals)
        self.lost = lost
        self.pivot = pivot
        self.won = union(goal.latch for goal in self.goals if goal.wins)
        self._latches = self.lost | union(goal.latch for goal in self.goals)
        self.watched = union(mask for goal in self.goals for mask in (*goal.wins, *goal.fails))
        self.initial = self.latched(initial)
        self._by_pivot = index_by_pivot(self.operators, pivot)

    def applicable(self, state: int) -> list[Operator]:
        """Return the operators whose needs hold in `state`, in their given order."""
        return [op for op in self._by_pivot.get(state & self.pivot, ()) if state & op.needs == op.needs]

    def successor(self, state: int, operator: Operator) -> int:
        """Return the state after `operator`, goals evaluated; `operator` must be applicable."""
        after = state & ~operator.deletes | operator.adds
        # Goals are conjunctions of facts that hold, so only a new fact can settle one.
        return self.latched(after) if operator.adds & self.watched else after

    def is_won(self, state: int) -> bool:
        """Return whether every goal that can be won is completed and the game is not lost."""
        return state & self.won == self.won and not self.is_lost(state)

    def is_lost(self, state: int) -> bool:
        """Return whether a goal failed before it was completed."""
        return bool(state & self.lost)

    def evaluate_goals(self, facts: int, previous: int) -> int:
        """Return the state that holds `facts`, keeping what was latched in `previous`.

        For engines that report the world's facts but not which quests were completed on the way.
        """
        return self.latched(facts | previous & self._latches)

    def latched(self, state: int) -> int:
        """Return the state with every goal latched that is won or lost by its facts."""
        for goal in self.goals:
            if state & goal.latch:
                continue
            for mask in goal.fails:
                if state & mask == mask:
                    state |= self.lost
                    break
            else:
                for mask in goal.wins:
                    if state & mask == mask:
                        state |= goal.latch
                        break
        return state


def useful_operators(problem: Problem, operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """Return those of `operators` that some shortest plan made of them may need, in their order.

    An operator is useful if it adds a fact of a goal, deletes a fact by which a goal fails, or adds a fact that a useful
    operator other than its exact inverse needs. The rest can be dropped from any plan together with the inverses that
    undo them: what is left then holds a superset of the facts at every step, and needs and goals are all positive.
    """
    wanted = union(mask for goal in problem.goals for mask in goal.wins)
    feared = union(mask for goal in problem.goals for mask in goal.fails)
    adders: dict[int, list[Operator]] = {}
    for op in operators:
        for fact in bits(op.adds):
            adders.setdefault(fact, []).append(op)
    queue = [op for op in operators if op.adds & wanted or op.deletes & feared]
    keep = set(map(id, queue))
    for user in queue:
        for fact in bits(user.needs):
            left = []
            for op in adders.get(fact, ()):
                if id(op) not in keep and _undoes(user, op):
                    left.append(op)
                elif id(op) not in keep:
                    keep.add(id(op))
                    queue.append(op)
            adders[fact] = left
    # Two commands may have one effect: the first is enough.
    distinct: dict[tuple[int, int, int], Operator] = {}
    for op in operators:
        if id(op) in keep:
            distinct.setdefault((op.needs, op.adds, op.deletes), op)
    return tuple(distinct.values())


def _undoes(second: Operator, first: Operator) -> bool:
    return second.adds == first.deletes and second.deletes == first.adds


def relevant_facts(problem: Problem, operators: Iterable[Operator]) -> int:
    """Return the facts that a useful operator or a goal looks at, and the latches; the others cannot change a plan."""
    relevant = problem.lost | problem.pivot
    for op in operators:
        relevant |= op.needs
    for goal in problem.goals:
        relevant |= goal.latch | union(goal.wins) | union(goal.fails)
    return relevant


def index_by_pivot(operators: Iterable[Operator], pivot: int) -> dict[int, list[Operator]]:
    """Return operators by the one pivot fact under which they can apply; those that need none stand under every one."""
    by_pivot: dict[int, list[Operator]] = {}
    everywhere = list(bits(pivot)) or [0]
    for op in operators:
        needed = op.needs & pivot
        for bit in [needed] if needed else everywhere:
            by_pivot.setdefault(bit, []).append(op)
    return by_pivot


def bits(mask: int) -> Iterator[int]:
    """Yield the single bits of a mask, lowest first."""
    while mask:
        bit = mask & -mask
        yield bit
        mask ^= bit


def union(masks: Iterable[int]) -> int:
    """Return the facts that any of some masks holds."""
    facts = 0
    for mask in masks:
        facts |= mask
    return facts
