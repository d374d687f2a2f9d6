"""A household as a planner sees it: what matters of a state, what could be done next, and at least how long it will take."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from textagent_gym.envs.alfworld.errands import Errand, Looking, Placing
from textagent_gym.envs.alfworld.facts import Facts

STATIONS: dict[str, tuple[str, frozenset[str], str, frozenset[str]]] = {
    "isclean": ("cleanable", frozenset({"sinkbasintype", "sinktype"}), "cleanobject", frozenset()),
    "ishot": ("heatable", frozenset({"microwavetype"}), "heatobject", frozenset({"iscool"})),
    "iscool": ("coolable", frozenset({"fridgetype"}), "coolobject", frozenset({"ishot"})),
}
"""State of an object -> ability that it takes, types of receptacles that give it, action, and the states that it ends."""

Step = tuple[str, dict[str, str]]
"""An action and the values of its parameters."""


class Situation(NamedTuple):
    """What matters of a state.

    Attributes:
        location: Where the agent is.
        held: What it holds, or None.
        places: For each candidate (a thing that an errand could use), the receptacles that it is in.
        states: For each candidate, what is true of it among `STATIONS`.
        opened: The open receptacles.
        used: The lamps that were used.
    """

    location: str
    held: str | None
    places: tuple[frozenset[str], ...]
    states: tuple[frozenset[str], ...]
    opened: frozenset[str]
    used: frozenset[str]


class House:
    """The part of a household that never changes, and what can be done in it.

    Args:
        facts: Any state.
        errands: What has to be done.
    """

    def __init__(self, facts: Facts, errands: tuple[Errand, ...]) -> None:
        self.errands = errands
        ((self._agent, _),) = facts.rows("atlocation")
        self._location = {row[0]: row[1] for row in facts.rows("receptacleatlocation")}
        self._receptacles = sorted(self._location)
        self._openable = {receptacle for (receptacle,) in facts.rows("openable")}
        self._object_types = facts.index("objecttype", (0,))
        self._receptacle_types = facts.index("receptacletype", (0,))
        self._can_contain = facts.rows("cancontain")
        self._abilities = {name: facts.rows(name) for name, *_ in STATIONS.values()}
        self._fits: dict[tuple[str, str], tuple[str, str] | None] = {}
        movable = {thing for (thing,) in facts.rows("pickupable")}
        self._errands_for = {thing: [errand for errand in errands if self._suits(thing, errand)] for thing in movable}
        self.candidates = sorted(thing for thing, found in self._errands_for.items() if found)
        self._numbers = {
            errand: [number for number, thing in enumerate(self.candidates) if errand in self._errands_for[thing]]
            for errand in errands
        }
        self._targets = {
            errand: [place for place in self._receptacles if self._is(place, errand.receptacle_type)]
            for errand in errands
            if isinstance(errand, Placing)
        }
        in_place = facts.index("inreceptacle", (0,))
        self._lamps = {
            errand: sorted(
                (lamp, place)
                for (lamp,) in facts.rows("toggleable")
                if (lamp, errand.lamp_type) in facts.rows("objecttype") and lamp not in movable
                for _, place in in_place.get(lamp, ())
                if place in self._location
            )
            for errand in errands
            if isinstance(errand, Looking)
        }
        wanted_states = {state for errand in errands if isinstance(errand, Placing) for state in errand.states}
        self._stations = {
            state: [place for place in self._receptacles if any(self._is(place, kind) for kind in kinds)]
            for state, (_, kinds, _, _) in STATIONS.items()
        }
        self._visited = frozenset(
            itertools.chain(
                itertools.chain.from_iterable(self._targets.values()),
                (place for lamps in self._lamps.values() for _, place in lamps),
                (place for state in wanted_states for place in self._stations[state]),
            )
        )
        visits = Counter(self._location[place] for place in self._visited)
        self._shared = {location for location, number in visits.items() if number > 1}
        self._holders: dict[str, list[str]] = {}
        self._ends = {self._location[place] for places in self._targets.values() for place in places}
        self._estimates: dict[object, float] = {}

    def situation(self, facts: Facts) -> Situation:
        """What matters of a state."""
        ((_, location),) = facts.rows("atlocation")
        held = next((thing for _, thing in facts.rows("holds")), None)
        places = facts.index("inreceptacle", (0,))
        changed = [(state, facts.rows(state)) for state in STATIONS if facts.rows(state)]
        return Situation(
            location,
            held,
            tuple(frozenset(place for _, place in places.get(thing, ())) for thing in self.candidates),
            tuple(frozenset(state for state, rows in changed if (thing,) in rows) for thing in self.candidates),
            frozenset(place for (place,) in facts.rows("opened")),
            frozenset(lamp for (lamp,) in facts.rows("istoggled")),
        )

    def after(self, situation: Situation, step: Step) -> Situation:
        """The situation after a step that applies."""
        action, values = step
        if action == "gotolocation":
            return situation._replace(location=values["?lend"])
        if action == "openobject":
            return situation._replace(opened=situation.opened | {values["?r"]})
        thing = values["?o"]
        if action == "toggleobject":
            return situation._replace(used=situation.used | {thing})
        number = self.candidates.index(thing) if thing in self.candidates else None
        if action == "pickupobject":
            return _moved(situation._replace(held=thing), number, frozenset({values["?r"]}), taken=True)
        if action == "putobject":
            return _moved(situation._replace(held=None), number, frozenset({values["?r"]}), taken=False)
        if number is None:
            return situation
        state, ended = next((state, ended) for state, (_, _, name, ended) in STATIONS.items() if name == action)
        states = list(situation.states)
        states[number] = states[number] - ended | {state}
        return situation._replace(states=tuple(states))

    def digest(self, situation: Situation) -> Hashable:
        """What the steps that remain depend on: situations with one digest need equally many.

        All places that no errand can use are alike, but for how soon a thing can be put down there.
        """
        places = self._visited.union(*situation.places)
        held: Hashable = situation.held
        if situation.held is not None:
            nearest = self._nearest_drop(situation, places)
            kinds = frozenset(kind for _, kind in self._object_types.get(situation.held, ()))
            held = situation.held if situation.held in self.candidates else kinds, nearest and nearest[0]
        location = self._told_apart(situation.location, places)
        return location, held, situation.places, situation.states, situation.opened & places, situation.used

    def _told_apart(self, location: str, places: frozenset[str]) -> str | None:
        """A location where one of `places` is; None for all others."""
        return location if any(self._location[place] == location for place in places) else None

    def undone(self, situation: Situation, errands: tuple[Errand, ...]) -> list[Errand]:
        """The errands that are not done."""
        return [errand for errand in errands if not self._is_done(situation, errand)]

    def trips(self, situation: Situation, errands: tuple[Errand, ...], at_start: bool) -> Iterator[list[Step]]:
        """What could be done next: each a walk, with what it leads to."""
        undone = self.undone(situation, errands)
        placings = [errand for errand in undone if isinstance(errand, Placing)]
        wanted: list[Errand] = [*placings] if placings else undone
        if situation.held is None:
            for number in sorted({number for errand in wanted for number in self._numbers[errand]}):
                for place in sorted(situation.places[number]):
                    yield [*self._reach(situation, place), self._step("pickupobject", place, self.candidates[number])]
            return
        thing = situation.held
        for errand in wanted:
            if self._serves(thing, errand):
                yield from self._uses(situation, thing, errand)
        if at_start:
            for place in self._drops(situation):
                yield [*self._reach(situation, place), self._step("putobject", place, thing)]

    def estimate(self, situation: Situation, errands: tuple[Errand, ...]) -> float:
        """A lower bound of the steps that remain, infinite where nothing can help."""
        undone = self.undone(situation, errands)
        placings = [errand for errand in undone if isinstance(errand, Placing)]
        wanted: list[Errand] = [*placings] if placings else undone
        in_use = situation.held is not None and any(self._serves(situation.held, errand) for errand in wanted)
        usable = situation.held if in_use else None
        # A thing may serve all errands that ask for its type: of those only the longest counts.
        longest: dict[str, float] = {}
        for errand in undone:
            cost = self._errand_cost(situation, errand, usable, alone=len(undone) == 1)
            longest[errand.object_type] = max(cost, longest.get(errand.object_type, 0))
        to_put_down = situation.held is not None and bool(undone) and not in_use
        return sum(longest.values()) + to_put_down

    def is_exact(self, situation: Situation, errands: tuple[Errand, ...]) -> bool:
        """Whether `estimate` is known to be the number of steps that remain: at most one thing has to be fetched."""
        undone = self.undone(situation, errands)
        return not undone or (situation.held is None and len(undone) == 1 and _num_trips(undone[0]) == 1)

    def _drops(self, situation: Situation) -> Iterator[str]:
        """Where what is held could be put down: where errands lead, and the nearest of all other places."""
        assert situation.held is not None
        places = self._visited.union(*situation.places)
        yield from (place for place in self._fitting(situation.held) if place in places)
        nearest = self._nearest_drop(situation, places)
        if nearest is not None:
            yield nearest[1]

    def _nearest_drop(self, situation: Situation, places: frozenset[str]) -> tuple[int, str] | None:
        """The steps to a receptacle outside of `places` that can hold what is held, and that receptacle."""
        assert situation.held is not None
        others = (place for place in self._fitting(situation.held) if place not in places)
        return min(((self._steps_to(situation, place), place) for place in others), default=None)

    def _steps_to(self, situation: Situation, place: str) -> int:
        closed = place in self._openable and place not in situation.opened
        return (self._location[place] != situation.location) + closed

    def _fitting(self, thing: str) -> list[str]:
        """The receptacles that can hold a thing, sorted."""
        if thing not in self._holders:
            self._holders[thing] = [place for place in self._receptacles if self._fit(thing, place)]
        return self._holders[thing]

    def _uses(self, situation: Situation, thing: str, errand: Errand) -> Iterator[list[Step]]:
        """What to do next with the thing in hand."""
        if isinstance(errand, Looking):
            for lamp, place in self._lamps[errand]:
                walk = self._walk(situation, place)
                yield walk if lamp in situation.used else [*walk, self._step("toggleobject", place, lamp)]
            return
        missing = errand.states - situation.states[self.candidates.index(thing)]
        for state in sorted(missing):
            ability, _, action, _ = STATIONS[state]
            if (thing,) in self._abilities[ability]:
                for place in self._stations[state]:
                    yield [*self._walk(situation, place), self._step(action, place, thing)]
        if not missing:
            for place in self._different_targets(situation, errand):
                if self._fit(thing, place):
                    yield [*self._reach(situation, place), self._step("putobject", place, thing)]

    def _errand_cost(self, situation: Situation, errand: Errand, held: str | None, *, alone: bool) -> float:
        """A lower bound of the steps that only this errand takes.

        `held` is the thing in hand, if it can be used at once; `alone` tells that all other errands are done.
        """
        places = self._visited.union(*situation.places)
        key = (
            errand,
            self._told_apart(situation.location, places),
            held,
            alone,
            situation.held if errand in self._errands_for.get(situation.held or "", ()) else None,
            situation.places,
            tuple(situation.states[number] for number in self._numbers[errand]),
            situation.opened & places,
            situation.used,
        )
        cost = self._estimates.get(key)
        if cost is None:
            if isinstance(errand, Looking):
                cost = self._looking_cost(situation, errand, held, alone)
            else:
                cost = self._placing_cost(situation, errand, held, alone)
            self._estimates[key] = cost
        return cost

    def _looking_cost(self, situation: Situation, errand: Looking, held: str | None, alone: bool) -> float:
        best = math.inf
        for number in self._numbers[errand]:
            for source in self._sources(situation, number, held, errand, alone):
                for lamp, place in self._lamps[errand]:
                    walk = source.location not in (None, self._location[place])
                    best = min(best, source.cost + len(source.opens) + walk + (lamp not in situation.used))
        return best

    def _placing_cost(self, situation: Situation, errand: Placing, held: str | None, alone: bool) -> float:
        best = math.inf
        for target in self._different_targets(situation, errand):
            options = [
                list(self._deliveries(situation, errand, number, target, held, alone))
                for number in self._numbers[errand]
            ]
            for group in itertools.combinations(options, errand.num_objects):
                for choice in itertools.product(*group):
                    opens = frozenset().union(*(needed for _, needed in choice))
                    best = min(best, sum(cost for cost, _ in choice) + len(opens))
        return best

    def _different_targets(self, situation: Situation, errand: Placing) -> list[str]:
        """The targets of an errand, one of each set that is alike: empty, equally closed, and on the way to nothing else."""
        occupied = frozenset().union(*situation.places)
        special = self._shared | {self._location[place] for place in occupied} | {situation.location}
        different = []
        seen = set()
        for target in self._targets[errand]:
            if target in occupied or self._location[target] in special:
                different.append(target)
            elif (closed := target in self._openable and target not in situation.opened) not in seen:
                seen.add(closed)
                different.append(target)
        return different

    def _deliveries(
        self, situation: Situation, errand: Placing, number: int, target: str, held: str | None, alone: bool
    ) -> Iterator[tuple[float, frozenset[str]]]:
        """Ways to have one candidate ready in `target`: the steps, and what has to be opened."""
        missing = errand.states - situation.states[number]
        if not missing and target in situation.places[number]:
            yield 0, frozenset()
            return
        for source in self._sources(situation, number, held, errand, alone):
            if target in source.places_left:  # some things lie in two receptacles at once, and stay in one when taken
                yield source.cost + self._carry(source.location, missing, None), source.opens
            if self._fit(self.candidates[number], target):
                cost = source.cost + self._carry(source.location, missing, self._location[target]) + 1
                yield cost, source.opens | self._closed(situation, target, alone)

    def _sources(
        self, situation: Situation, number: int, held: str | None, errand: Errand, alone: bool
    ) -> Iterator[_Source]:
        """Ways to have a candidate in hand."""
        places = situation.places[number]
        if self.candidates[number] == held:
            yield _Source(situation.location, 0, frozenset(), places)
        elif self.candidates[number] == situation.held:
            yield _Source(None, 1, frozenset(), places)  # it has to be put down first, anywhere, and taken again
        # What is fetched second may lie where the first was brought.
        ends = set() if alone and _num_trips(errand) == 1 else self._ends
        for place in places:
            location = self._location[place]
            enters = location != situation.location and location not in ends
            yield _Source(location, 1 + enters, self._closed(situation, place, alone), places - {place})

    def _carry(self, start: str | None, missing: frozenset[str], end: str | None) -> float:
        """Steps to give a thing the missing states on the way from `start` to `end` (None: from or to anywhere)."""
        if not missing:
            return None not in (start, end) and start != end
        return min(
            (
                1
                + (start not in (None, self._location[place]))
                + self._carry(self._location[place], missing - {state}, end)
                for state in missing
                for place in self._stations[state]
            ),
            default=math.inf,
        )

    def _closed(self, situation: Situation, place: str, alone: bool) -> frozenset[str]:
        """`place`, if it has to be opened for one errand alone; what several could share is counted for none."""
        if place not in self._openable or place in situation.opened:
            return frozenset()
        if alone:
            return frozenset({place})
        users: set[Errand] = {errand for errand, places in self._targets.items() if place in places}
        for number, places in enumerate(situation.places):
            if place in places:
                users.update(self._errands_for[self.candidates[number]])
        return frozenset({place}) if len(users) <= 1 else frozenset()

    def _is_done(self, situation: Situation, errand: Errand) -> bool:
        if isinstance(errand, Looking):
            return (
                situation.held is not None
                and self._serves(situation.held, errand)
                and any(
                    lamp in situation.used and self._location[place] == situation.location
                    for lamp, place in self._lamps[errand]
                )
            )
        ready = [
            situation.places[number] for number in self._numbers[errand] if errand.states <= situation.states[number]
        ]
        right = [places for places in ready if not places.isdisjoint(self._targets[errand])]
        if len(right) < errand.num_objects:
            return False
        filled = Counter(place for places in right for place in places if place in self._targets[errand])
        return max(filled.values()) >= errand.num_objects

    def _serves(self, thing: str, errand: Errand) -> bool:
        return errand in self._errands_for.get(thing, ())

    def _suits(self, thing: str, errand: Errand) -> bool:
        if (thing, errand.object_type) not in self._object_types.get(thing, ()):
            return False
        return isinstance(errand, Looking) or all((thing,) in self._abilities[name] for name in errand.abilities)

    def _is(self, place: str, kind: str) -> bool:
        return (place, kind) in self._receptacle_types.get(place, ())

    def _fit(self, thing: str, place: str) -> tuple[str, str] | None:
        """The types by which a receptacle can hold a thing."""
        key = thing, place
        if key not in self._fits:
            pairs = itertools.product(self._object_types.get(thing, ()), self._receptacle_types.get(place, ()))
            fitting = sorted((kind, holder) for (_, kind), (_, holder) in pairs if (holder, kind) in self._can_contain)
            self._fits[key] = fitting[0] if fitting else None
        return self._fits[key]

    def _walk(self, situation: Situation, place: str) -> list[Step]:
        start, end = situation.location, self._location[place]
        if start == end:
            return []
        return [("gotolocation", {"?a": self._agent, "?lstart": start, "?lend": end, "?r": place})]

    def _reach(self, situation: Situation, place: str) -> list[Step]:
        walk = self._walk(situation, place)
        closed = place in self._openable and place not in situation.opened
        return (
            [*walk, ("openobject", {"?a": self._agent, "?l": self._location[place], "?r": place})] if closed else walk
        )

    def _step(self, action: str, place: str, thing: str) -> Step:
        values = {"?a": self._agent, "?l": self._location[place], "?o": thing, "?r": place}
        if action == "putobject":
            fit = self._fit(thing, place)
            assert fit is not None
            values["?ot"], values["?rt"] = fit
        return action, values


class _Source(NamedTuple):
    """A way to have a thing in hand: where one stands then, the steps it takes, what has to be opened, where it still is."""

    location: str | None
    cost: float
    opens: frozenset[str]
    places_left: frozenset[str]


def _num_trips(errand: Errand) -> int:
    return errand.num_objects if isinstance(errand, Placing) else 1


def _moved(situation: Situation, number: int | None, place: frozenset[str], *, taken: bool) -> Situation:
    if number is None:
        return situation
    places = list(situation.places)
    places[number] = places[number] - place if taken else places[number] | place
    return situation._replace(places=tuple(places))
