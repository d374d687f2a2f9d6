"""Lower bound on the steps that goals take: the sum of the steps that each takes by itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from textagent_gym.envs.alfworld.planning.goals import ExamineGoal, Goal, PlaceGoal
from textagent_gym.envs.alfworld.planning.model import AbstractState, PlanningModel

MAX_COSTS = 10_000
"""States, as far as all goals look at them, whose costs of single goals are kept before all are forgotten."""


class Estimate:
    """A lower bound of the steps that remain, for the search.

    Args:
        model: The household and its goals.
    """

    def __init__(self, model: PlanningModel) -> None:
        self._model = model
        self._apart = len({goal.object_type for goal in model.goals}) == len(model.goals)
        self._costs: dict[object, dict[object, float]] = {}

    def of(self, node: AbstractState, goals: tuple[Goal, ...]) -> float:
        """Return a lower bound of the steps that remain, infinite where nothing can help."""
        undone = self._model.undone(node, goals)
        wanted = self._model.wanted(undone)
        in_use = node.held is not None and any(self._model.serves(node.held, goal) for goal in wanted)
        usable = node.held if in_use else None
        # A thing may serve all goals that ask for its type: of those only the longest counts.
        longest: dict[str, float] = {}
        known = self._costs_of(node, alone=len(undone) == 1)
        for goal in undone:
            cost = self._goal_cost(node, goal, usable, known, alone=len(undone) == 1)
            longest[goal.object_type] = max(cost, longest.get(goal.object_type, 0))
        to_put_down = node.held is not None and bool(undone) and not in_use
        return sum(longest.values()) + to_put_down

    def is_exact(self, node: AbstractState, goals: tuple[Goal, ...]) -> bool:
        """Return whether `of` is known to be the number of steps that remain.

        It is where at most one thing has to be fetched, and fetching it cannot undo another goal.
        """
        undone = self._model.undone(node, goals)
        return not undone or (self._apart and node.held is None and len(undone) == 1 and _num_trips(undone[0]) == 1)

    def _costs_of(self, node: AbstractState, *, alone: bool) -> dict[object, float]:
        """Return the known costs in a state, by what else each goal looks at; `alone` means that all others are done."""
        places, locations = self._model.around(node)
        location = node.location if node.location in locations else None
        key = location, alone, node.places, node.opened & places, node.used
        known = self._costs.get(key)
        if known is None:
            if len(self._costs) > MAX_COSTS:
                self._costs = {}
            known = self._costs[key] = {}
        return known

    def _goal_cost(
        self, node: AbstractState, goal: Goal, held: str | None, known: dict[object, float], *, alone: bool
    ) -> float:
        """Return a lower bound of the steps that only this goal takes.

        `held` is the thing in hand, if it can be used at once; `alone` means that all other goals are done.
        """
        in_hand = node.held if node.held is not None and self._model.serves(node.held, goal) else None
        key = goal, held, in_hand, tuple([node.states[number] for number in self._model.numbers[goal]])
        cost = known.get(key)
        if cost is None:
            if isinstance(goal, ExamineGoal):
                cost = self._examine_cost(node, goal, held, alone)
            else:
                cost = self._place_cost(node, goal, held, alone)
            known[key] = cost
        return cost

    def _examine_cost(self, node: AbstractState, goal: ExamineGoal, held: str | None, alone: bool) -> float:
        best = math.inf
        for number in self._model.numbers[goal]:
            for source in self._sources(node, number, held, goal, alone):
                for lamp, place in self._model.lamps[goal]:
                    walk = source.location not in (None, self._model.location[place])
                    best = min(best, source.cost + len(source.opens) + walk + (lamp not in node.used))
        return best

    def _place_cost(self, node: AbstractState, goal: PlaceGoal, held: str | None, alone: bool) -> float:
        best = math.inf
        for target in self._model.different_targets(node, goal):
            options = [
                list(self._deliveries(node, goal, number, target, held, alone)) for number in self._model.numbers[goal]
            ]
            for group in itertools.combinations(options, goal.num_objects):
                for choice in itertools.product(*group):
                    opens = frozenset().union(*(needed for _, needed in choice))
                    best = min(best, sum(cost for cost, _ in choice) + len(opens))
        return best

    def _deliveries(
        self, node: AbstractState, goal: PlaceGoal, number: int, target: str, held: str | None, alone: bool
    ) -> Iterator[tuple[float, frozenset[str]]]:
        """Yield ways to have one candidate ready in `target`: the steps, and what has to be opened."""
        missing = goal.states - node.states[number]
        if not missing and target in node.places[number]:
            yield 0, frozenset()
            return
        for source in self._sources(node, number, held, goal, alone):
            if target in source.places_left:  # some things lie in two receptacles at once, and stay in one when taken
                yield source.cost + self._carry(source.location, missing, None), source.opens
            if self._model.fit(self._model.candidates[number], target):
                cost = source.cost + self._carry(source.location, missing, self._model.location[target]) + 1
                yield cost, source.opens | self._closed(node, target, alone)

    def _sources(
        self, node: AbstractState, number: int, held: str | None, goal: Goal, alone: bool
    ) -> Iterator[_Source]:
        """Yield ways to have a candidate in hand."""
        places = node.places[number]
        if self._model.candidates[number] == held:
            yield _Source(node.location, 0, frozenset(), places)
        elif self._model.candidates[number] == node.held:
            yield _Source(None, 1, frozenset(), places)  # it has to be put down first, anywhere, and taken again
        # What is fetched second may lie where the first was brought.
        ends = set() if alone and _num_trips(goal) == 1 else self._model.ends
        for place in places:
            location = self._model.location[place]
            enters = location != node.location and location not in ends
            yield _Source(location, 1 + enters, self._closed(node, place, alone), places - {place})

    def _carry(self, start: str | None, missing: frozenset[str], end: str | None) -> float:
        """Step to give a thing the missing states on the way from `start` to `end` (None: from or to anywhere)."""
        if not missing:
            return None not in (start, end) and start != end
        return min(
            (
                1
                + (start not in (None, self._model.location[place]))
                + self._carry(self._model.location[place], missing - {state}, end)
                for state in missing
                for place in self._model.stations[state]
            ),
            default=math.inf,
        )

    def _closed(self, node: AbstractState, place: str, alone: bool) -> frozenset[str]:
        """Return `place`, if it has to be opened for one goal alone; what several could share is counted for none."""
        if place not in self._model.openable or place in node.opened:
            return frozenset()
        if alone:
            return frozenset({place})
        users: set[Goal] = {goal for goal, places in self._model.targets.items() if place in places}
        for number, places in enumerate(node.places):
            if place in places:
                users.update(self._model.goals_for[self._model.candidates[number]])
        return frozenset({place}) if len(users) <= 1 else frozenset()


class _Source(NamedTuple):
    """A way to have a thing in hand: where one stands then, the steps it takes, what has to be opened, where it still is."""

    location: str | None
    cost: float
    opens: frozenset[str]
    places_left: frozenset[str]


def _num_trips(goal: Goal) -> int:
    return goal.num_objects if isinstance(goal, PlaceGoal) else 1
