"""A household as a planner sees it: what matters of a state, and what could be done next."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.planning.goals import TREATMENTS, ExamineGoal, Goal, PlaceGoal

Step = tuple[str, dict[str, str]]
"""An action and the values of its parameters."""


class AbstractState(NamedTuple):
    """Part of a state that matters to the plan.

    Attributes:
        location: Location of the agent.
        held: Object that it holds, or None.
        places: For each candidate (a thing that a goal could use), the receptacles that it is in.
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
    """Places to which goals may lead.

    Attributes:
        places: The receptacles that they may need, and the neighbours of these.
        locations: The locations of these.
    """

    places: frozenset[str]
    locations: frozenset[str]


MAX_KEPT = 10_000
"""Answers of one kind that `PlanningModel` keeps before it forgets them all."""


class PlanningModel:
    """The part of a household that never changes, and what can be done in it.

    Args:
        facts: Any state.
        goals: The goals.

    Attributes:
        goals: The goals.
        location: Receptacle -> the place from which it is used.
        openable: The receptacles that can be closed.
        candidates: The things that a goal could use, sorted.
        goals_for: Thing -> the goals that could use it.
        numbers: Goal -> the numbers of its candidates.
        targets: Goal -> the receptacles in which it is done.
        lamps: Goal -> its lamps, with the receptacles that they are in.
        stations: State -> the receptacles where an object gets it.
        visited: The receptacles to which goals lead, wherever things are.
        shared: The locations of several of them.
        ends: The locations where things are brought.
    """

    def __init__(self, facts: Facts, goals: tuple[Goal, ...]) -> None:
        self.goals = goals
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
        self.goals_for = {thing: [goal for goal in goals if self._suits(thing, goal)] for thing in movable}
        self.candidates = sorted(thing for thing, found in self.goals_for.items() if found)
        self.numbers = {
            goal: [number for number, thing in enumerate(self.candidates) if goal in self.goals_for[thing]]
            for goal in goals
        }
        self.targets = {
            goal: [place for place in self._receptacles if self._is(place, goal.receptacle_type)]
            for goal in goals
            if isinstance(goal, PlaceGoal)
        }
        in_place = facts.index("inreceptacle", (0,))
        self.lamps = {
            goal: sorted(
                (lamp, place)
                for (lamp,) in facts.rows("toggleable")
                if (lamp, goal.lamp_type) in facts.rows("objecttype") and lamp not in movable
                for _, place in in_place.get(lamp, ())
                if place in self.location
            )
            for goal in goals
            if isinstance(goal, ExamineGoal)
        }
        wanted_states = {state for goal in goals if isinstance(goal, PlaceGoal) for state in goal.states}
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
        neighbours: dict[str, set[str]] = {}
        for place, location in self.location.items():
            neighbours.setdefault(location, set()).add(place)
        self._neighbours = {place: frozenset(neighbours[location]) for place, location in self.location.items()}
        self._near_visited = frozenset().union(*(self._neighbours[place] for place in self.visited))
        visits = Counter(self.location[place] for place in self.visited)
        self.shared = {location for location, number in visits.items() if number > 1}
        self._holders: dict[str, list[str]] = {}
        self._unplaced: dict[Hashable, list[Goal]] = {}
        self._nearest: dict[Hashable, tuple[int, str] | None] = {}
        self._around: dict[tuple[frozenset[str], ...], Around] = {}
        self.ends = {self.location[place] for places in self.targets.values() for place in places}

    def abstract(self, facts: Facts) -> AbstractState:
        """Return the part of a state that matters to the plan."""
        ((_, location),) = facts.rows("atlocation")
        held = next((thing for _, thing in facts.rows("holds")), None)
        places = facts.index("inreceptacle", (0,))
        changed = [(state, facts.rows(state)) for state in TREATMENTS if facts.rows(state)]
        return AbstractState(
            location,
            held,
            tuple(
                [
                    frozenset([place for _, place in places.get(thing, ()) if place in self.location])
                    for thing in self.candidates
                ]
            ),
            tuple(frozenset([state for state, rows in changed if (thing,) in rows]) for thing in self.candidates),
            frozenset(place for (place,) in facts.rows("opened")),
            frozenset(lamp for (lamp,) in facts.rows("istoggled")),
        )

    def after(self, node: AbstractState, step: Step) -> AbstractState:
        """Return the state after a step that applies."""
        action, values = step
        location, held, places, states_of, opened, used = node
        if action == "gotolocation":  # several times as fast as `_replace`
            return AbstractState(values["?lend"], held, places, states_of, opened, used)
        if action == "openobject":
            return AbstractState(location, held, places, states_of, opened | {values["?r"]}, used)
        thing = values["?o"]
        if action == "toggleobject":
            return node._replace(used=node.used | {thing})
        number = self.candidates.index(thing) if thing in self.candidates else None
        if action == "pickupobject":
            return _moved(node._replace(held=thing), number, frozenset({values["?r"]}), taken=True)
        if action == "putobject":
            return _moved(node._replace(held=None), number, frozenset({values["?r"]}), taken=False)
        if number is None:
            return node
        state = next(state for state, way in TREATMENTS.items() if way.action == action)
        states = list(node.states)
        states[number] = states[number] - TREATMENTS[state].ends | {state}
        return node._replace(states=tuple(states))

    def digest(self, node: AbstractState) -> Hashable:
        """Return a key for the steps that remain: states with the same key need equally many.

        All places that no goal can use are alike, but for how soon a thing can be put down there.
        """
        places, locations = self.around(node)
        held: Hashable = node.held
        if node.held is not None:
            nearest = self._nearest_drop(node, places)
            kinds = frozenset(kind for _, kind in self._object_types.get(node.held, ()))
            held = node.held if node.held in self.candidates else kinds, nearest and nearest[0]
        location = node.location if node.location in locations else None
        return location, held, node.places, node.states, node.opened & places, node.used

    def around(self, node: AbstractState) -> Around:
        """Return the places to which goals may lead."""
        found = self._around.get(node.places)
        if found is None:
            neighbours = (self._neighbours[place] for places in node.places for place in places)
            places = self._near_visited.union(*neighbours)
            found = Around(places, frozenset(self.location[place] for place in places))
            if len(self._around) > MAX_KEPT:
                self._around = {}
            self._around[node.places] = found
        return found

    def undone(self, node: AbstractState, goals: tuple[Goal, ...]) -> list[Goal]:
        """Return the goals that are not done; `goals` are all or the first of the model's."""
        key = len(goals), node.places, node.states
        unplaced = self._unplaced.get(key)
        if unplaced is None:
            if len(self._unplaced) > MAX_KEPT:
                self._unplaced = {}
            unplaced = self._unplaced[key] = [
                goal for goal in goals if isinstance(goal, ExamineGoal) or not self._is_placed(node, goal)
            ]
        if not self.lamps:
            return unplaced
        return [goal for goal in unplaced if isinstance(goal, PlaceGoal) or not self._is_examined(node, goal)]

    def wanted(self, undone: list[Goal]) -> list[Goal]:
        """Return the goals that can be done now; examining comes last, since it ends with a thing in hand."""
        placements: list[Goal] = [goal for goal in undone if isinstance(goal, PlaceGoal)]
        return placements or undone

    def trips(self, node: AbstractState, goals: tuple[Goal, ...], at_start: bool) -> Iterator[list[Step]]:
        """Yield the possible next moves: each a walk and the action at its end."""
        wanted = self.wanted(self.undone(node, goals))
        if node.held is None:
            for number in sorted({number for goal in wanted for number in self.numbers[goal]}):
                for place in sorted(node.places[number]):
                    yield [*self._reach(node, place), self._step("pickupobject", place, self.candidates[number])]
            return
        thing = node.held
        for goal in wanted:
            if self.serves(thing, goal):
                yield from self._uses(node, thing, goal)
        if at_start:
            for place in self._drops(node):
                yield [*self._reach(node, place), self._step("putobject", place, thing)]

    def _drops(self, node: AbstractState) -> Iterator[str]:
        """Yield the places where the held thing can be put down: those that goals lead to, and the nearest other one."""
        assert node.held is not None
        places, _ = self.around(node)
        yield from (place for place in self._fitting(node.held) if place in places)
        nearest = self._nearest_drop(node, places)
        if nearest is not None:
            yield nearest[1]

    def _nearest_drop(self, node: AbstractState, places: frozenset[str]) -> tuple[int, str] | None:
        """Return the steps to a receptacle outside of `places` that can hold what is held, and that receptacle."""
        assert node.held is not None
        key = node.held, node.location, node.opened, places
        if key not in self._nearest:
            if len(self._nearest) > MAX_KEPT:
                self._nearest = {}
            others = (place for place in self._fitting(node.held) if place not in places)
            self._nearest[key] = min(((self._steps_to(node, place), place) for place in others), default=None)
        return self._nearest[key]

    def _steps_to(self, node: AbstractState, place: str) -> int:
        closed = place in self.openable and place not in node.opened
        return (self.location[place] != node.location) + closed

    def _fitting(self, thing: str) -> list[str]:
        """Return the receptacles that can hold a thing, sorted."""
        if thing not in self._holders:
            self._holders[thing] = [place for place in self._receptacles if self.fit(thing, place)]
        return self._holders[thing]

    def _uses(self, node: AbstractState, thing: str, goal: Goal) -> Iterator[list[Step]]:
        """Yield the next moves with the thing in hand."""
        if isinstance(goal, ExamineGoal):
            for lamp, place in self.lamps[goal]:
                walk = self._walk(node, place)
                yield walk if lamp in node.used else [*walk, self._step("toggleobject", place, lamp)]
            return
        missing = goal.states - node.states[self.candidates.index(thing)]
        for state in sorted(missing):
            way = TREATMENTS[state]
            if (thing,) in self._abilities[way.ability]:
                for place in self.stations[state]:
                    yield [*self._walk(node, place), self._step(way.action, place, thing)]
        if not missing:
            for place in self.different_targets(node, goal):
                if self.fit(thing, place):
                    yield [*self._reach(node, place), self._step("putobject", place, thing)]

    def different_targets(self, node: AbstractState, goal: PlaceGoal) -> list[str]:
        """Return a goal's targets, one of each set of equals: empty, equally closed, and on the way to nothing else."""
        occupied = frozenset().union(*node.places)
        special = self.shared | {self.location[place] for place in occupied} | {node.location}
        different = []
        seen = set()
        for target in self.targets[goal]:
            if target in occupied or self.location[target] in special:
                different.append(target)
            elif (closed := target in self.openable and target not in node.opened) not in seen:
                seen.add(closed)
                different.append(target)
        return different

    def _is_examined(self, node: AbstractState, goal: ExamineGoal) -> bool:
        return (
            node.held is not None
            and self.serves(node.held, goal)
            and any(lamp in node.used and self.location[place] == node.location for lamp, place in self.lamps[goal])
        )

    def _is_placed(self, node: AbstractState, goal: PlaceGoal) -> bool:
        right = [node.places[number] for number in self.numbers[goal] if goal.states <= node.states[number]]
        filled = [place for places in right for place in self.targets[goal] if place in places]
        return len(filled) >= goal.num_objects and max(map(filled.count, filled)) >= goal.num_objects

    def serves(self, thing: str, goal: Goal) -> bool:
        """Return whether a goal could use a thing."""
        return goal in self.goals_for.get(thing, ())

    def _suits(self, thing: str, goal: Goal) -> bool:
        if (thing, goal.object_type) not in self._object_types.get(thing, ()):
            return False
        return isinstance(goal, ExamineGoal) or all((thing,) in self._abilities[name] for name in goal.abilities)

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

    def _walk(self, node: AbstractState, place: str) -> list[Step]:
        start, end = node.location, self.location[place]
        if start == end:
            return []
        return [("gotolocation", {"?a": self._agent, "?lstart": start, "?lend": end, "?r": place})]

    def _reach(self, node: AbstractState, place: str) -> list[Step]:
        walk = self._walk(node, place)
        closed = place in self.openable and place not in node.opened
        return [*walk, ("openobject", {"?a": self._agent, "?l": self.location[place], "?r": place})] if closed else walk

    def _step(self, action: str, place: str, thing: str) -> Step:
        values = {"?a": self._agent, "?l": self.location[place], "?o": thing, "?r": place}
        if action == "putobject":
            fit = self.fit(thing, place)
            assert fit is not None
            values["?ot"], values["?rt"] = fit
        return action, values


def _moved(node: AbstractState, number: int | None, place: frozenset[str], *, taken: bool) -> AbstractState:
    if number is None:
        return node
    places = list(node.places)
    places[number] = places[number] - place if taken else places[number] | place
    return node._replace(places=tuple(places))
