"""Lower bound on the steps that errands take: the sum of the steps that each takes by itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from textagent_gym.envs.alfworld.planning.goals import Errand, Looking, Placing
from textagent_gym.envs.alfworld.planning.model import House, Situation

MAX_COSTS = 50_000
"""Costs of single errands that are kept before all are forgotten."""


class Estimate:
    """A lower bound of the steps that remain, for the search.

    Args:
        house: The household and its errands.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._apart = len({errand.object_type for errand in house.errands}) == len(house.errands)
        self._costs: dict[object, float] = {}

    def of(self, situation: Situation, errands: tuple[Errand, ...]) -> float:
        """Return a lower bound of the steps that remain, infinite where nothing can help."""
        undone = self._house.undone(situation, errands)
        wanted = self._house.wanted(undone)
        in_use = situation.held is not None and any(self._house.serves(situation.held, errand) for errand in wanted)
        usable = situation.held if in_use else None
        # A thing may serve all errands that ask for its type: of those only the longest counts.
        longest: dict[str, float] = {}
        for errand in undone:
            cost = self._errand_cost(situation, errand, usable, alone=len(undone) == 1)
            longest[errand.object_type] = max(cost, longest.get(errand.object_type, 0))
        to_put_down = situation.held is not None and bool(undone) and not in_use
        return sum(longest.values()) + to_put_down

    def is_exact(self, situation: Situation, errands: tuple[Errand, ...]) -> bool:
        """Return whether `of` is known to be the number of steps that remain.

        It is where at most one thing has to be fetched, and fetching it cannot undo another errand.
        """
        undone = self._house.undone(situation, errands)
        return not undone or (
            self._apart and situation.held is None and len(undone) == 1 and _num_trips(undone[0]) == 1
        )

    def _errand_cost(self, situation: Situation, errand: Errand, held: str | None, *, alone: bool) -> float:
        """Return a lower bound of the steps that only this errand takes.

        `held` is the thing in hand, if it can be used at once; `alone` tells that all other errands are done.
        """
        places, locations = self._house.around(situation)
        key = (
            errand,
            situation.location if situation.location in locations else None,
            held,
            alone,
            situation.held if errand in self._house.errands_for.get(situation.held or "", ()) else None,
            situation.places,
            tuple(situation.states[number] for number in self._house.numbers[errand]),
            situation.opened & places,
            situation.used,
        )
        if len(self._costs) > MAX_COSTS:
            self._costs = {}
        costs = self._costs
        cost = costs.get(key)
        if cost is None:
            if isinstance(errand, Looking):
                cost = self._looking_cost(situation, errand, held, alone)
            else:
                cost = self._placing_cost(situation, errand, held, alone)
            costs[key] = cost
        return cost

    def _looking_cost(self, situation: Situation, errand: Looking, held: str | None, alone: bool) -> float:
        best = math.inf
        for number in self._house.numbers[errand]:
            for source in self._sources(situation, number, held, errand, alone):
                for lamp, place in self._house.lamps[errand]:
                    walk = source.location not in (None, self._house.location[place])
                    best = min(best, source.cost + len(source.opens) + walk + (lamp not in situation.used))
        return best

    def _placing_cost(self, situation: Situation, errand: Placing, held: str | None, alone: bool) -> float:
        best = math.inf
        for target in self._house.different_targets(situation, errand):
            options = [
                list(self._deliveries(situation, errand, number, target, held, alone))
                for number in self._house.numbers[errand]
            ]
            for group in itertools.combinations(options, errand.num_objects):
                for choice in itertools.product(*group):
                    opens = frozenset().union(*(needed for _, needed in choice))
                    best = min(best, sum(cost for cost, _ in choice) + len(opens))
        return best

    def _deliveries(
        self, situation: Situation, errand: Placing, number: int, target: str, held: str | None, alone: bool
    ) -> Iterator[tuple[float, frozenset[str]]]:
        """Yield ways to have one candidate ready in `target`: the steps, and what has to be opened."""
        missing = errand.states - situation.states[number]
        if not missing and target in situation.places[number]:
            yield 0, frozenset()
            return
        for source in self._sources(situation, number, held, errand, alone):
            if target in source.places_left:  # some things lie in two receptacles at once, and stay in one when taken
                yield source.cost + self._carry(source.location, missing, None), source.opens
            if self._house.fit(self._house.candidates[number], target):
                cost = source.cost + self._carry(source.location, missing, self._house.location[target]) + 1
                yield cost, source.opens | self._closed(situation, target, alone)

    def _sources(
        self, situation: Situation, number: int, held: str | None, errand: Errand, alone: bool
    ) -> Iterator[_Source]:
        """Yield ways to have a candidate in hand."""
        places = situation.places[number]
        if self._house.candidates[number] == held:
            yield _Source(situation.location, 0, frozenset(), places)
        elif self._house.candidates[number] == situation.held:
            yield _Source(None, 1, frozenset(), places)  # it has to be put down first, anywhere, and taken again
        # What is fetched second may lie where the first was brought.
        ends = set() if alone and _num_trips(errand) == 1 else self._house.ends
        for place in places:
            location = self._house.location[place]
            enters = location != situation.location and location not in ends
            yield _Source(location, 1 + enters, self._closed(situation, place, alone), places - {place})

    def _carry(self, start: str | None, missing: frozenset[str], end: str | None) -> float:
        """Step to give a thing the missing states on the way from `start` to `end` (None: from or to anywhere)."""
        if not missing:
            return None not in (start, end) and start != end
        return min(
            (
                1
                + (start not in (None, self._house.location[place]))
                + self._carry(self._house.location[place], missing - {state}, end)
                for state in missing
                for place in self._house.stations[state]
            ),
            default=math.inf,
        )

    def _closed(self, situation: Situation, place: str, alone: bool) -> frozenset[str]:
        """Return `place`, if it has to be opened for one errand alone; what several could share is counted for none."""
        if place not in self._house.openable or place in situation.opened:
            return frozenset()
        if alone:
            return frozenset({place})
        users: set[Errand] = {errand for errand, places in self._house.targets.items() if place in places}
        for number, places in enumerate(situation.places):
            if place in places:
                users.update(self._house.errands_for[self._house.candidates[number]])
        return frozenset({place}) if len(users) <= 1 else frozenset()


class _Source(NamedTuple):
    """A way to have a thing in hand: where one stands then, the steps it takes, what has to be opened, where it still is."""

    location: str | None
    cost: float
    opens: frozenset[str]
    places_left: frozenset[str]


def _num_trips(errand: Errand) -> int:
    return errand.num_objects if isinstance(errand, Placing) else 1
