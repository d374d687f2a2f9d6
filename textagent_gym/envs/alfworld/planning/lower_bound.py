"""Lower bound on the steps that goals take: the sum of the steps that each takes by itself."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from textagent_gym.envs.alfworld.planning.goals import ExamineGoal, Goal, PlaceGoal
from textagent_gym.envs.alfworld.planning.model import AbstractState, PlanningModel

MAX_COSTS = 10_000
"""Costs of single goals that are kept before all are forgotten."""


class Estimate:
    """A lower bound of the steps that remain, for the search.

    Args:
        model: The household and its goals.
    """

    def __init__(self, model: PlanningModel) -> None:
        self._model = model
        self._apart = len({goal.object_type for goal in model.goals}) == len(model.goals)
        self._own = {goal: _picking(numbers) for goal, numbers in model.numbers.items()}
        self._near: dict[object, _Near] = {}
        self._contested: dict[object, frozenset[str]] = {}
        self._num_costs = 0

    def of(self, node: AbstractState, goals: tuple[Goal, ...]) -> float:
        """Return a lower bound of the steps that remain, infinite where nothing can help."""
        undone = self._model.undone(node, goals)
        wanted = self._model.wanted(undone)
        in_use = node.held is not None and any(self._model.serves(node.held, goal) for goal in wanted)
        alone = len(undone) == 1
        contested = frozenset() if alone else self._contested_places(node)
        # A thing may serve all goals that ask for its type: of those only the longest counts.
        longest: dict[str, float] = {}
        for goal in undone:
            cost = self._goal_cost(node, goal, in_use, contested, alone)
            longest[goal.object_type] = max(cost, longest.get(goal.object_type, 0))
        to_put_down = node.held is not None and bool(undone) and not in_use
        return sum(longest.values()) + to_put_down

    def is_exact(self, node: AbstractState, goals: tuple[Goal, ...]) -> bool:
        """Return whether `of` is known to be the number of steps that remain.

        It is where at most one thing has to be fetched, and fetching it cannot undo another goal.
        """
        undone = self._model.undone(node, goals)
        return not undone or (self._apart and node.held is None and len(undone) == 1 and _num_trips(undone[0]) == 1)

    def _contested_places(self, node: AbstractState) -> frozenset[str]:
        """Return the places that several goals may have opened: what they could share is counted for none."""
        contested = self._contested.get(node.places)
        if contested is None:
            users: dict[str, set[Goal]] = {}
            for goal, targets in self._model.targets.items():
                for place in targets:
                    users.setdefault(place, set()).add(goal)
            for thing, places in zip(self._model.candidates, node.places, strict=True):
                for place in places:
                    users.setdefault(place, set()).update(self._model.goals_for[thing])
            contested = self._contested[node.places] = frozenset(place for place in users if len(users[place]) > 1)
        return contested

    def _goal_cost(
        self, node: AbstractState, goal: Goal, in_use: bool, contested: frozenset[str], alone: bool
    ) -> float:
        """Return a lower bound of the steps that only this goal takes.

        `in_use` means that the thing in hand can be used at once; `alone` that all other goals are done.
        """
        own = self._own[goal]
        place_key = goal, own(node.places)
        near = self._near.get(place_key)
        if near is None:
            near = self._near[place_key] = self._surroundings(node, goal)
        shut = near.openable - node.opened - contested
        in_hand = node.held if node.held is not None and self._model.serves(node.held, goal) else None
        location = node.location if node.location in near.locations else None
        used = node.used if isinstance(goal, ExamineGoal) else None
        key = alone, in_hand, in_use, location, own(node.states), shut, used
        cost = near.costs.get(key)
        if cost is None:
            # What is fetched second may lie where the first was brought.
            ends = set() if alone and _num_trips(goal) == 1 else self._model.ends
            now = _Situation(node, in_hand if in_use else None, shut, ends)
            cost = self._examine_cost(now, goal) if isinstance(goal, ExamineGoal) else self._place_cost(now, goal)
            if self._num_costs > MAX_COSTS:
                self._near, self._contested, self._num_costs = {}, {}, 0
            self._num_costs += 1
            near.costs[key] = cost
        return cost

    def _surroundings(self, node: AbstractState, goal: Goal) -> _Near:
        model = self._model
        if isinstance(goal, PlaceGoal):
            places = {*model.targets[goal], *(place for state in goal.states for place in model.stations[state])}
        else:
            places = {place for _, place in model.lamps[goal]}
        places = places.union(*(node.places[number] for number in model.numbers[goal]))
        return _Near(frozenset(model.openable & places), frozenset(map(model.location.__getitem__, places)), {})

    def _examine_cost(self, now: _Situation, goal: ExamineGoal) -> float:
        best = math.inf
        for number in self._model.numbers[goal]:
            for source in self._sources(now, number):
                for lamp, place in self._model.lamps[goal]:
                    walk = source.location not in (None, self._model.location[place])
                    best = min(best, source.cost + len(source.opens) + walk + (lamp not in now.node.used))
        return best

    def _place_cost(self, now: _Situation, goal: PlaceGoal) -> float:
        best = math.inf
        numbers = self._model.numbers[goal]
        sources = {number: list(self._sources(now, number)) for number in numbers}
        for target in self._different_targets(now, goal):
            options = [list(self._deliveries(now, goal, number, target, sources[number])) for number in numbers]
            for group in itertools.combinations(options, goal.num_objects):
                for choice in itertools.product(*group):
                    opens = frozenset().union(*(needed for _, needed in choice))
                    best = min(best, sum(cost for cost, _ in choice) + len(opens))
        return best

    def _different_targets(self, now: _Situation, goal: PlaceGoal) -> Iterator[str]:
        """Yield a goal's targets, one of each set of those that cost the same."""
        occupied = frozenset().union(*(now.node.places[number] for number in self._model.numbers[goal]))
        special = self._model.shared | {self._model.location[place] for place in occupied} | {now.node.location}
        seen: set[bool] = set()
        for target in self._model.targets[goal]:
            if self._model.location[target] in special:
                yield target
            elif (closed := target in now.shut) not in seen:
                seen.add(closed)
                yield target

    def _deliveries(
        self, now: _Situation, goal: PlaceGoal, number: int, target: str, sources: Sequence[_Source]
    ) -> Iterator[tuple[float, frozenset[str]]]:
        """Yield ways to have one candidate ready in `target`: the steps, and what has to be opened."""
        missing = goal.states - now.node.states[number]
        if not missing and target in now.node.places[number]:
            yield 0, frozenset()
            return
        for source in sources:
            if target in source.places_left:  # some things lie in two receptacles at once, and stay in one when taken
                yield source.cost + self._carry(source.location, missing, None), source.opens
            if self._model.fit(self._model.candidates[number], target):
                cost = source.cost + self._carry(source.location, missing, self._model.location[target]) + 1
                yield cost, source.opens | now.shut & {target}

    def _sources(self, now: _Situation, number: int) -> Iterator[_Source]:
        """Yield ways to have a candidate in hand."""
        thing, places = self._model.candidates[number], now.node.places[number]
        if thing == now.held:
            yield _Source(now.node.location, 0, frozenset(), places)
        elif thing == now.node.held:
            yield _Source(None, 1, frozenset(), places)  # it has to be put down first, anywhere, and taken again
        for place in places:
            location = self._model.location[place]
            enters = location != now.node.location and location not in now.ends
            yield _Source(location, 1 + enters, now.shut & {place}, places - {place})

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


class _Near(NamedTuple):
    """Surroundings of one goal while its candidates are where they are.

    Attributes:
        openable: Places that can be closed and that the goal may need.
        locations: Locations where it matters whether the agent is there.
        costs: What else the goal looks at -> its steps.
    """

    openable: frozenset[str]
    locations: frozenset[str]
    costs: dict[object, float]


class _Situation(NamedTuple):
    """A state as a goal sees it.

    Attributes:
        node: The state.
        held: The thing in hand, if the goal can use it at once.
        shut: Places that have to be opened for this goal alone.
        ends: Locations where things may come to lie before they are fetched.
    """

    node: AbstractState
    held: str | None
    shut: frozenset[str]
    ends: set[str]


class _Source(NamedTuple):
    """A way to have a thing in hand: where one stands then, the steps it takes, what has to be opened, where it still is."""

    location: str | None
    cost: float
    opens: frozenset[str]
    places_left: frozenset[str]


def _num_trips(goal: Goal) -> int:
    return goal.num_objects if isinstance(goal, PlaceGoal) else 1


def _picking(numbers: Sequence[int]) -> Callable[[tuple[frozenset[str], ...]], object]:
    """Return a function that takes the items with some numbers."""
    return operator.itemgetter(*numbers) if numbers else lambda items: ()
