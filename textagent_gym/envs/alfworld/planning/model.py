"""A household as a planner sees it: what matters of a state, and what could be done next."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.planning.goals import TREATMENTS, Errand, Looking, Placing

Step = tuple[str, dict[str, str]]
"""An action and the values of its parameters."""


class Situation(NamedTuple):
    """Part of a state that matters to the plan.

    Attributes:
        location: Where the agent is.
        held: What it holds, or None.
        places: For each candidate (a thing that an errand could use), the receptacles that it is in.
        states: For each candidate, what is true of it among `TREATMENTS`.
        opened: The open receptacles.
        used: The lamps that were used.
    """

    location: str
    held: str | None
    places: tuple[frozenset[str], ...]
    states: tuple[frozenset[str], ...]
    opened: frozenset[str]
    used: frozenset[str]


class Around(NamedTuple):
    """Places to which errands may lead.

    Attributes:
        places: The receptacles that they may need, and those beside them.
        locations: The locations of these.
    """

    places: frozenset[str]
    locations: frozenset[str]


MAX_AROUND = 10_000
"""Answers of `House.around` that are kept before all are forgotten."""


class House:
    """The part of a household that never changes, and what can be done in it.

    Args:
        facts: Any state.
        errands: What has to be done.

    Attributes:
        errands: What has to be done.
        location: Receptacle -> the place from which it is used.
        openable: The receptacles that can be closed.
        candidates: The things that an errand could use, sorted.
        errands_for: Thing -> the errands that could use it.
        numbers: Errand -> the numbers of its candidates.
        targets: Errand -> the receptacles in which it is done.
        lamps: Errand -> its lamps, with the receptacles that they are in.
        stations: State -> the receptacles where an object gets it.
        visited: The receptacles to which errands lead, wherever things are.
        shared: The locations of several of them.
        ends: The locations where things are brought.
    """

    def __init__(self, facts: Facts, errands: tuple[Errand, ...]) -> None:
        self.errands = errands
        if len(facts.rows("atlocation")) != 1:
            raise ValueError(f"expected one agent at one location, got {sorted(facts.rows('atlocation'))}")
        ((self._agent, _),) = facts.rows("atlocation")
        self.location = {row[0]: row[1] for row in facts.rows("receptacleatlocation")}
        self._receptacles = sorted(self.location)
        self.openable = {receptacle for (receptacle,) in facts.rows("openable")}
        self._object_types = facts.index("objecttype", (0,))
        self._receptacle_types = facts.index("receptacletype", (0,))
        self._can_contain = facts.rows("cancontain")
        self._abilities = {way.ability: facts.rows(way.ability) for way in TREATMENTS.values()}
        self._fits: dict[tuple[str, str], tuple[str, str] | None] = {}
        movable = {thing for (thing,) in facts.rows("pickupable")}
        self.errands_for = {thing: [errand for errand in errands if self._suits(thing, errand)] for thing in movable}
        self.candidates = sorted(thing for thing, found in self.errands_for.items() if found)
        self.numbers = {
            errand: [number for number, thing in enumerate(self.candidates) if errand in self.errands_for[thing]]
            for errand in errands
        }
        self.targets = {
            errand: [place for place in self._receptacles if self._is(place, errand.receptacle_type)]
            for errand in errands
            if isinstance(errand, Placing)
        }
        in_place = facts.index("inreceptacle", (0,))
        self.lamps = {
            errand: sorted(
                (lamp, place)
                for (lamp,) in facts.rows("toggleable")
                if (lamp, errand.lamp_type) in facts.rows("objecttype") and lamp not in movable
                for _, place in in_place.get(lamp, ())
                if place in self.location
            )
            for errand in errands
            if isinstance(errand, Looking)
        }
        wanted_states = {state for errand in errands if isinstance(errand, Placing) for state in errand.states}
        self.stations = {
            state: [place for place in self._receptacles if any(self._is(place, kind) for kind in way.stations)]
            for state, way in TREATMENTS.items()
        }
        self.visited = frozenset(
            itertools.chain(
                itertools.chain.from_iterable(self.targets.values()),
                (place for lamps in self.lamps.values() for _, place in lamps),
                (place for state in wanted_states for place in self.stations[state]),
            )
        )
        beside: dict[str, set[str]] = {}
        for place, location in self.location.items():
            beside.setdefault(location, set()).add(place)
        self._beside = {place: frozenset(beside[location]) for place, location in self.location.items()}
        self._beside_visited = frozenset().union(*(self._beside[place] for place in self.visited))
        visits = Counter(self.location[place] for place in self.visited)
        self.shared = {location for location, number in visits.items() if number > 1}
        self._holders: dict[str, list[str]] = {}
        self._around: dict[tuple[frozenset[str], ...], Around] = {}
        self.ends = {self.location[place] for places in self.targets.values() for place in places}

    def situation(self, facts: Facts) -> Situation:
        """Return the situation of a state: the part that matters to the plan."""
        ((_, location),) = facts.rows("atlocation")
        held = next((thing for _, thing in facts.rows("holds")), None)
        places = facts.index("inreceptacle", (0,))
        changed = [(state, facts.rows(state)) for state in TREATMENTS if facts.rows(state)]
        return Situation(
            location,
            held,
            tuple(
                frozenset(place for _, place in places.get(thing, ()) if place in self.location)
                for thing in self.candidates
            ),
            tuple(frozenset(state for state, rows in changed if (thing,) in rows) for thing in self.candidates),
            frozenset(place for (place,) in facts.rows("opened")),
            frozenset(lamp for (lamp,) in facts.rows("istoggled")),
        )

    def after(self, situation: Situation, step: Step) -> Situation:
        """Return the situation after a step that applies."""
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
        state = next(state for state, way in TREATMENTS.items() if way.action == action)
        states = list(situation.states)
        states[number] = states[number] - TREATMENTS[state].ends | {state}
        return situation._replace(states=tuple(states))

    def digest(self, situation: Situation) -> Hashable:
        """Return a key for the steps that remain: situations with the same key need equally many.

        All places that no errand can use are alike, but for how soon a thing can be put down there.
        """
        places, locations = self.around(situation)
        held: Hashable = situation.held
        if situation.held is not None:
            nearest = self._nearest_drop(situation, places)
            kinds = frozenset(kind for _, kind in self._object_types.get(situation.held, ()))
            held = situation.held if situation.held in self.candidates else kinds, nearest and nearest[0]
        location = situation.location if situation.location in locations else None
        return location, held, situation.places, situation.states, situation.opened & places, situation.used

    def around(self, situation: Situation) -> Around:
        """Return the places to which errands may lead."""
        found = self._around.get(situation.places)
        if found is None:
            beside = (self._beside[place] for places in situation.places for place in places)
            places = self._beside_visited.union(*beside)
            found = Around(places, frozenset(self.location[place] for place in places))
            if len(self._around) > MAX_AROUND:
                self._around = {}
            self._around[situation.places] = found
        return found

    def undone(self, situation: Situation, errands: tuple[Errand, ...]) -> list[Errand]:
        """Return the errands that are not done."""
        return [errand for errand in errands if not self._is_done(situation, errand)]

    def wanted(self, undone: list[Errand]) -> list[Errand]:
        """Return the errands that can be done now; looking comes last, since it ends with a thing in hand."""
        placings: list[Errand] = [errand for errand in undone if isinstance(errand, Placing)]
        return placings or undone

    def trips(self, situation: Situation, errands: tuple[Errand, ...], at_start: bool) -> Iterator[list[Step]]:
        """Yield the possible next moves: each a walk and the action at its end."""
        wanted = self.wanted(self.undone(situation, errands))
        if situation.held is None:
            for number in sorted({number for errand in wanted for number in self.numbers[errand]}):
                for place in sorted(situation.places[number]):
                    yield [*self._reach(situation, place), self._step("pickupobject", place, self.candidates[number])]
            return
        thing = situation.held
        for errand in wanted:
            if self.serves(thing, errand):
                yield from self._uses(situation, thing, errand)
        if at_start:
            for place in self._drops(situation):
                yield [*self._reach(situation, place), self._step("putobject", place, thing)]

    def _drops(self, situation: Situation) -> Iterator[str]:
        """Yield the places where the held thing can be put down: those that errands lead to, and the nearest other one."""
        assert situation.held is not None
        places, _ = self.around(situation)
        yield from (place for place in self._fitting(situation.held) if place in places)
        nearest = self._nearest_drop(situation, places)
        if nearest is not None:
            yield nearest[1]

    def _nearest_drop(self, situation: Situation, places: frozenset[str]) -> tuple[int, str] | None:
        """Return the steps to a receptacle outside of `places` that can hold what is held, and that receptacle."""
        assert situation.held is not None
        others = (place for place in self._fitting(situation.held) if place not in places)
        return min(((self._steps_to(situation, place), place) for place in others), default=None)

    def _steps_to(self, situation: Situation, place: str) -> int:
        closed = place in self.openable and place not in situation.opened
        return (self.location[place] != situation.location) + closed

    def _fitting(self, thing: str) -> list[str]:
        """Return the receptacles that can hold a thing, sorted."""
        if thing not in self._holders:
            self._holders[thing] = [place for place in self._receptacles if self.fit(thing, place)]
        return self._holders[thing]

    def _uses(self, situation: Situation, thing: str, errand: Errand) -> Iterator[list[Step]]:
        """Yield the next moves with the thing in hand."""
        if isinstance(errand, Looking):
            for lamp, place in self.lamps[errand]:
                walk = self._walk(situation, place)
                yield walk if lamp in situation.used else [*walk, self._step("toggleobject", place, lamp)]
            return
        missing = errand.states - situation.states[self.candidates.index(thing)]
        for state in sorted(missing):
            way = TREATMENTS[state]
            if (thing,) in self._abilities[way.ability]:
                for place in self.stations[state]:
                    yield [*self._walk(situation, place), self._step(way.action, place, thing)]
        if not missing:
            for place in self.different_targets(situation, errand):
                if self.fit(thing, place):
                    yield [*self._reach(situation, place), self._step("putobject", place, thing)]

    def different_targets(self, situation: Situation, errand: Placing) -> list[str]:
        """Return an errand's targets, one of each set of equals: empty, equally closed, and on the way to nothing else."""
        occupied = frozenset().union(*situation.places)
        special = self.shared | {self.location[place] for place in occupied} | {situation.location}
        different = []
        seen = set()
        for target in self.targets[errand]:
            if target in occupied or self.location[target] in special:
                different.append(target)
            elif (closed := target in self.openable and target not in situation.opened) not in seen:
                seen.add(closed)
                different.append(target)
        return different

    def _is_done(self, situation: Situation, errand: Errand) -> bool:
        if isinstance(errand, Looking):
            return (
                situation.held is not None
                and self.serves(situation.held, errand)
                and any(
                    lamp in situation.used and self.location[place] == situation.location
                    for lamp, place in self.lamps[errand]
                )
            )
        ready = [
            situation.places[number] for number in self.numbers[errand] if errand.states <= situation.states[number]
        ]
        right = [places for places in ready if not places.isdisjoint(self.targets[errand])]
        if len(right) < errand.num_objects:
            return False
        filled = Counter(place for places in right for place in places if place in self.targets[errand])
        return max(filled.values()) >= errand.num_objects

    def serves(self, thing: str, errand: Errand) -> bool:
        """Return whether an errand could use a thing."""
        return errand in self.errands_for.get(thing, ())

    def _suits(self, thing: str, errand: Errand) -> bool:
        if (thing, errand.object_type) not in self._object_types.get(thing, ()):
            return False
        return isinstance(errand, Looking) or all((thing,) in self._abilities[name] for name in errand.abilities)

    def _is(self, place: str, kind: str) -> bool:
        return (place, kind) in self._receptacle_types.get(place, ())

    def fit(self, thing: str, place: str) -> tuple[str, str] | None:
        """Return the types by which a receptacle can hold a thing."""
        key = thing, place
        if key not in self._fits:
            pairs = itertools.product(self._object_types.get(thing, ()), self._receptacle_types.get(place, ()))
            fitting = sorted((kind, holder) for (_, kind), (_, holder) in pairs if (holder, kind) in self._can_contain)
            self._fits[key] = fitting[0] if fitting else None
        return self._fits[key]

    def _walk(self, situation: Situation, place: str) -> list[Step]:
        start, end = situation.location, self.location[place]
        if start == end:
            return []
        return [("gotolocation", {"?a": self._agent, "?lstart": start, "?lend": end, "?r": place})]

    def _reach(self, situation: Situation, place: str) -> list[Step]:
        walk = self._walk(situation, place)
        closed = place in self.openable and place not in situation.opened
        return [*walk, ("openobject", {"?a": self._agent, "?l": self.location[place], "?r": place})] if closed else walk

    def _step(self, action: str, place: str, thing: str) -> Step:
        values = {"?a": self._agent, "?l": self.location[place], "?o": thing, "?r": place}
        if action == "putobject":
            fit = self.fit(thing, place)
            assert fit is not None
            values["?ot"], values["?rt"] = fit
        return action, values


def _moved(situation: Situation, number: int | None, place: frozenset[str], *, taken: bool) -> Situation:
    if number is None:
        return situation
    places = list(situation.places)
    places[number] = places[number] - place if taken else places[number] | place
    return situation._replace(places=tuple(places))
