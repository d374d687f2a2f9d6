"""Shortest plans for errands, from any state of a household.

Every receptacle can be reached from everywhere in one step and nothing has to be closed, so a shortest plan is a
sequence of short trips: go to a thing, open what it is in, take it, go and wash, heat or cool it, go to where it belongs,
open that, put it down. The search (A*) is over such trips. What it leaves out never helps: a thing that is in the hand
for an errand is not put down halfway (that costs two steps and saves at most one visit), and only the thing in hand
at the start may be put down anywhere. A test compares the plans with an exhaustive search over single actions.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from textagent_gym.envs.alfworld.errands import Errand, Looking, Placing
from textagent_gym.envs.alfworld.facts import Facts
from textagent_gym.envs.alfworld.pddl import Row

STATIONS: dict[str, tuple[str, frozenset[str], str, frozenset[str]]] = {
    "isclean": ("cleanable", frozenset({"sinkbasintype", "sinktype"}), "cleanobject", frozenset()),
    "ishot": ("heatable", frozenset({"microwavetype"}), "heatobject", frozenset({"iscool"})),
    "iscool": ("coolable", frozenset({"fridgetype"}), "coolobject", frozenset({"ishot"})),
}
"""State of an object -> ability that it takes, types of receptacles that give it, action, and the states that it ends."""

NODE_BUDGET = 20_000
"""States that a search may expand before it settles for a plan that need not be the shortest."""

Step = tuple[str, dict[str, str]]
"""An action and the values of its parameters."""


class Plan(NamedTuple):
    """Steps that complete all errands.

    Attributes:
        steps: The actions.
        is_shortest: Whether the search proved that there is no shorter plan.
    """

    steps: tuple[Step, ...]
    is_shortest: bool


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


class Planner:
    """Answers how many steps remain to complete all errands, from any state of one household.

    `remaining` is a function of the state alone, and falls by exactly one per step of `reference`. Proved answers are kept;
    an answer that is only an upper bound is found anew each time, so that what was asked before never changes it.

    Args:
        facts: The initial state.
        errands: What has to be done.
        node_budget: Situations that one search may expand before it settles for one errand after the other.

    Attributes:
        errands: What has to be done.
        reference: The plan from the initial state, or None where there is none.
    """

    def __init__(self, facts: Facts, errands: tuple[Errand, ...], node_budget: int = NODE_BUDGET) -> None:
        self.errands = errands
        self._house = House(facts, errands)
        self._node_budget = node_budget
        self._known: dict[Situation, int | None] = {}
        start = self._house.situation(facts)
        self.reference = self._plan(start)
        if self.reference is not None:
            self._remember(start, self.reference)

    def remaining(self, facts: Facts) -> int | None:
        """Steps of the plan from a state, 0 where all errands are done, None where they cannot be done any more."""
        situation = self._house.situation(facts)
        if situation not in self._known:
            plan = self._plan(situation)
            if plan is None:
                self._known[situation] = None
            elif plan.is_shortest:
                self._remember(situation, plan)
            else:
                return len(plan.steps)
        return self._known[situation]

    def plan(self, facts: Facts) -> Plan | None:
        """A plan from a state, None where the errands cannot be done any more."""
        return self._plan(self._house.situation(facts))

    def _remember(self, situation: Situation, plan: Plan) -> None:
        for done, step in enumerate(plan.steps):
            self._known[situation] = len(plan.steps) - done
            situation = self._house.after(situation, step)
        self._known[situation] = 0

    def _plan(self, start: Situation) -> Plan | None:
        """Shortest where the search closes within the budget, otherwise the errands one after the other."""
        steps, closed = self._search(start, self._house.errands)
        if steps is not None or closed:
            return None if steps is None else Plan(tuple(steps), is_shortest=True)
        done: list[Errand] = []
        all_steps: list[Step] = []
        for errand in self._house.errands:
            done.append(errand)
            steps, _ = self._search(start, tuple(done))
            if steps is None:
                return None
            for step in steps:
                start = self._house.after(start, step)
            all_steps += steps
        return Plan(tuple(all_steps), is_shortest=False)

    def _search(self, start: Situation, errands: tuple[Errand, ...]) -> tuple[list[Step] | None, bool]:
        """A* over trips.

        Returns:
            The steps of a shortest plan or None, and whether the search ended within the budget.
        """
        house = self._house
        costs = {start: 0}
        parents: dict[Situation, tuple[Situation, list[Step]]] = {}
        order = itertools.count()
        queue = [(house.estimate(start, errands), 0, next(order), start)]
        expanded = 0
        while queue:
            _, minus_cost, _, situation = heapq.heappop(queue)
            cost = -minus_cost
            if cost > costs[situation]:
                continue
            if not house.undone(situation, errands):
                return _path(parents, situation), True
            expanded += 1
            if expanded > self._node_budget:
                return None, False
            for trip in house.trips(situation, errands, at_start=situation is start):
                after = situation
                for step in trip:
                    after = house.after(after, step)
                total = cost + len(trip)
                if total < costs.get(after, math.inf):
                    costs[after] = total
                    parents[after] = situation, trip
                    bound = total + house.estimate(after, errands)
                    if bound < math.inf:
                        heapq.heappush(queue, (bound, -total, next(order), after))
        return None, True


class House:
    """The part of a household that never changes, and what can be done in it.

    Args:
        facts: Any state.
        errands: What has to be done.

    Raises:
        ValueError: There is not one agent at one location.
    """

    def __init__(self, facts: Facts, errands: tuple[Errand, ...]) -> None:
        self.errands = errands
        if len(facts.rows("atlocation")) != 1:
            raise ValueError(f"expected one agent at one location, got {sorted(facts.rows('atlocation'))}")
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
        self.candidates = [
            thing
            for thing in sorted(movable & set(self._object_types))
            if any(self._serves(thing, errand) for errand in errands)
        ]
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
        self._stations = {
            state: [place for place in self._receptacles if any(self._is(place, kind) for kind in kinds)]
            for state, (_, kinds, _, _) in STATIONS.items()
        }
        num_trips = sum(errand.num_objects if isinstance(errand, Placing) else 1 for errand in errands)
        ends = (self._location[place] for places in self._targets.values() for place in places)
        self._ends = frozenset(ends) if num_trips > 1 else frozenset()
        self._estimates: dict[object, float] = {}

    def situation(self, facts: Facts) -> Situation:
        """What matters of a state."""
        ((_, location),) = facts.rows("atlocation")
        held = next((thing for _, thing in facts.rows("holds")), None)
        places = facts.index("inreceptacle", (0,))
        return Situation(
            location,
            held,
            tuple(self._known_places(places.get(thing, ())) for thing in self.candidates),
            tuple(frozenset(state for state in STATIONS if facts.holds(state, thing)) for thing in self.candidates),
            frozenset(place for (place,) in facts.rows("opened")),
            frozenset(lamp for (lamp,) in facts.rows("istoggled")),
        )

    def _known_places(self, rows: Iterable[Row]) -> frozenset[str]:
        """The receptacles of `inreceptacle` rows; one that is at no location cannot be reached."""
        return frozenset(place for _, place in rows if place in self._location)

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

    def undone(self, situation: Situation, errands: tuple[Errand, ...]) -> list[Errand]:
        """The errands that are not done."""
        return [errand for errand in errands if not self._is_done(situation, errand)]

    def trips(self, situation: Situation, errands: tuple[Errand, ...], at_start: bool) -> Iterator[list[Step]]:
        """What could be done next: each a walk, with what it leads to."""
        undone = self.undone(situation, errands)
        placings = [errand for errand in undone if isinstance(errand, Placing)]
        wanted: list[Errand] = [*placings] if placings else undone
        if situation.held is None:
            for number, thing in enumerate(self.candidates):
                if any(self._serves(thing, errand) for errand in wanted):
                    for place in sorted(situation.places[number]):
                        yield [*self._reach(situation, place), self._step("pickupobject", place, thing)]
            return
        thing = situation.held
        for errand in wanted:
            if self._serves(thing, errand):
                yield from self._uses(situation, thing, errand)
        if at_start:
            for place in self._receptacles:
                if self._fit(thing, place):
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
            cost = self._errand_cost(situation, errand, usable)
            longest[errand.object_type] = max(cost, longest.get(errand.object_type, 0))
        to_put_down = situation.held is not None and bool(undone) and not in_use
        return sum(longest.values()) + to_put_down

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
            for place in self._targets[errand]:
                if self._fit(thing, place):
                    yield [*self._reach(situation, place), self._step("putobject", place, thing)]

    def _errand_cost(self, situation: Situation, errand: Errand, held: str | None) -> float:
        """A lower bound of the steps that only this errand takes; `held` is the thing in hand, if it can be used at once."""
        numbers = [number for number, thing in enumerate(self.candidates) if self._serves(thing, errand)]
        key = (
            errand,
            situation.location,
            held,
            situation.held,
            tuple((situation.places[number], situation.states[number]) for number in numbers),
            situation.opened,
            situation.used if isinstance(errand, Looking) else None,
        )
        cost = self._estimates.get(key)
        if cost is None:
            if isinstance(errand, Looking):
                cost = self._looking_cost(situation, errand, numbers, held)
            else:
                cost = self._placing_cost(situation, errand, numbers, held)
            self._estimates[key] = cost
        return cost

    def _looking_cost(self, situation: Situation, errand: Looking, numbers: list[int], held: str | None) -> float:
        best = math.inf
        for number in numbers:
            for source in self._sources(situation, number, held):
                for lamp, place in self._lamps[errand]:
                    walk = source.location not in (None, self._location[place])
                    best = min(best, source.cost + len(source.opens) + walk + (lamp not in situation.used))
        return best

    def _placing_cost(self, situation: Situation, errand: Placing, numbers: list[int], held: str | None) -> float:
        best = math.inf
        for target in self._targets[errand]:
            options = [list(self._deliveries(situation, errand, number, target, held)) for number in numbers]
            for group in itertools.combinations(options, errand.num_objects):
                for choice in itertools.product(*group):
                    opens = frozenset().union(*(needed for _, needed in choice))
                    best = min(best, sum(cost for cost, _ in choice) + len(opens))
        return best

    def _deliveries(
        self, situation: Situation, errand: Placing, number: int, target: str, held: str | None
    ) -> Iterator[tuple[float, frozenset[str]]]:
        """Ways to have one candidate ready in `target`: the steps, and what has to be opened."""
        missing = errand.states - situation.states[number]
        if not missing and target in situation.places[number]:
            yield 0, frozenset()
            return
        for source in self._sources(situation, number, held):
            if target in source.places_left:  # some things lie in two receptacles at once, and stay in one when taken
                yield source.cost + self._carry(source.location, missing, None), source.opens
            if self._fit(self.candidates[number], target):
                cost = source.cost + self._carry(source.location, missing, self._location[target]) + 1
                yield cost, source.opens | self._closed(situation, target)

    def _sources(self, situation: Situation, number: int, held: str | None) -> Iterator[_Source]:
        """Ways to have a candidate in hand."""
        places = situation.places[number]
        if self.candidates[number] == held:
            yield _Source(situation.location, 0, frozenset(), places)
        elif self.candidates[number] == situation.held:
            yield _Source(None, 1, frozenset(), places)  # it has to be put down first, anywhere, and taken again
        for place in places:
            location = self._location[place]
            enters = location != situation.location and location not in self._ends
            yield _Source(location, 1 + enters, self._closed(situation, place), places - {place})

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

    def _closed(self, situation: Situation, place: str) -> frozenset[str]:
        """`place`, if it has to be opened for one errand alone; what several could share is counted for none."""
        if place not in self._openable or place in situation.opened:
            return frozenset()
        users: set[Errand] = {errand for errand, places in self._targets.items() if place in places}
        for number, thing in enumerate(self.candidates):
            if place in situation.places[number]:
                users.update(errand for errand in self.errands if self._serves(thing, errand))
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
            situation.places[number]
            for number, thing in enumerate(self.candidates)
            if self._serves(thing, errand) and errand.states <= situation.states[number]
        ]
        return any(sum(target in places for places in ready) >= errand.num_objects for target in self._targets[errand])

    def _serves(self, thing: str, errand: Errand) -> bool:
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


def _moved(situation: Situation, number: int | None, place: frozenset[str], *, taken: bool) -> Situation:
    if number is None:
        return situation
    places = list(situation.places)
    places[number] = places[number] - place if taken else places[number] | place
    return situation._replace(places=tuple(places))


def _path(parents: dict[Situation, tuple[Situation, list[Step]]], situation: Situation) -> list[Step]:
    trips: list[list[Step]] = []
    while situation in parents:
        situation, trip = parents[situation]
        trips.append(trip)
    return [step for trip in reversed(trips) for step in trip]
