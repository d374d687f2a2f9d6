"""Goals: ALFWorld's six types of task, drawn and placed in a floor plan.

What a goal takes is known before it is placed: going somewhere, taking, going on and putting down are 4 steps, a station on
the way 2 more, a closed receptacle 1 more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from textagent_gym.envs.alfworld.generation.floor_plans import (
    LAMPS,
    OPENABLE,
    FloorPlan,
    Receptacle,
    Room,
    able,
    may_hold,
)
from textagent_gym.envs.alfworld.types import TaskSpec, TaskType

T = TypeVar("T")

MAX_GOALS = 8
"""Most goals of one task."""

LAMP_PLACES = ("Desk", "SideTable", "Dresser", "Shelf", "CoffeeTable")
"""Receptacles of desk lamps in ALFWorld's games; floor lamps are on none, so no goal can name one."""


class Shape(NamedTuple):
    """Form of the goals of one task type.

    Attributes:
        steps: Steps when everything is open and lies apart.
        max_closed: Receptacles on the way that may be closed, each one step more.
        num_objects: Objects it is about.
        station: Type of the receptacle where something is done to the object, or None.
        ability: Property that an object must have, or None.
        state: Required state, in PDDL, or None.
        rooms: Rooms in which ALFWorld has such tasks.
        sentences: Wordings of the task.
    """

    steps: int
    max_closed: int
    num_objects: int
    station: str | None
    ability: str | None
    state: str | None
    rooms: tuple[Room, ...]
    sentences: tuple[str, str]


ANYWHERE: tuple[Room, ...] = ("kitchen", "living room", "bedroom", "bathroom")

SHAPES: dict[TaskType, Shape] = {
    "pick_and_place_simple": Shape(
        4, 2, 1, None, None, None, ANYWHERE, ("put a {thing} in {place}", "put some {thing} on {place}")
    ),
    "look_at_obj_in_light": Shape(
        4, 1, 1, None, None, None, ("living room", "bedroom"),
        ("look at {thing} under the {place}", "examine the {thing} with the {place}"),
    ),
    "pick_clean_then_place_in_recep": Shape(
        6, 2, 1, "SinkBasin", "cleanable", "isClean", ("kitchen", "bathroom"),
        ("put a clean {thing} in {place}", "clean some {thing} and put it in {place}"),
    ),
    "pick_heat_then_place_in_recep": Shape(
        6, 2, 1, "Microwave", "heatable", "isHot", ("kitchen",),
        ("put a hot {thing} in {place}", "heat some {thing} and put it in {place}"),
    ),
    "pick_cool_then_place_in_recep": Shape(
        6, 2, 1, "Fridge", "coolable", "isCool", ("kitchen",),
        ("put a cool {thing} in {place}", "cool some {thing} and put it in {place}"),
    ),
    "pick_two_obj_and_place": Shape(
        8, 3, 2, None, None, None, ANYWHERE, ("put two {thing} in {place}", "find two {thing} and put them in {place}")
    ),
}  # fmt: skip
"""Steps, rooms (`GOALS_VALID` of alfworld 0.4.2's `gen/constants.py`) and sentences (its `gen/goal_library.py`)."""


@dataclass(frozen=True)
class DrawnGoal:
    """One goal in a room.

    Attributes:
        kind: Its type.
        thing: Type of its objects.
        sources: Receptacles in which they are at first.
        target: Type of the receptacle in which they belong, or of the lamp.
        sentence: Its wording.
        lamp_place: Receptacle of the lamp, or None.
    """

    kind: TaskType
    thing: str
    sources: tuple[Receptacle, ...]
    target: str
    sentence: str
    lamp_place: Receptacle | None = None


def possible_types(plan: FloorPlan, task_types: Sequence[TaskType]) -> list[TaskType]:
    """Return those of `task_types` for which a floor plan has the room, the station or the lamp."""
    kinds = {receptacle.kind for receptacle in plan.receptacles}
    found = []
    for kind in task_types:
        shape = SHAPES[kind]
        if plan.room not in shape.rooms or (shape.station is not None and shape.station not in kinds):
            continue
        if kind == "look_at_obj_in_light" and not ("DeskLamp" in plan.lamps and kinds & set(LAMP_PLACES)):
            continue
        found.append(kind)
    return found


def draw_lengths(plan: FloorPlan, spec: TaskSpec, rng: np.random.Generator) -> list[tuple[TaskType, int]] | None:
    """Return types of goals with their numbers of closed receptacles, which add up to the length; looking comes last."""
    types = possible_types(plan, spec.task_types)
    chosen: list[tuple[TaskType, int]] = []
    left = spec.solution_length
    while left > 0 and len(chosen) < MAX_GOALS:
        options = [
            (kind, closed)
            for kind in types
            for closed in range(-1 if kind == "look_at_obj_in_light" else 0, SHAPES[kind].max_closed + 1)
            if left - SHAPES[kind].steps - closed in (0, *range(3, left))
            and not (kind == "look_at_obj_in_light" and any(kind == other for other, _ in chosen))
        ]
        if not options:
            return None
        # First the type, so that types with more variants are not drawn more often.
        kinds = list(dict.fromkeys(kind for kind, _ in options))
        kind = kinds[rng.integers(len(kinds))]
        variants = [closed for other, closed in options if other == kind]
        closed = variants[rng.integers(len(variants))]
        chosen.append((kind, closed))
        left -= SHAPES[kind].steps + closed
    if left:
        return None
    return sorted(chosen, key=lambda pair: pair[0] == "look_at_obj_in_light")


class DrawnGoals:
    """Places goals in a floor plan, apart from each other: no shared kinds of things, places to open, or visits."""

    def __init__(self, plan: FloorPlan, rng: np.random.Generator) -> None:
        self.goals: list[DrawnGoal] = []
        self._plan, self._rng = plan, rng
        self._taken: set[str] = set()  # locations where something is fetched or brought
        self._targets: set[str] = set()
        self._places: dict[str, list[Receptacle]] = {}
        for receptacle in plan.receptacles:
            self._places.setdefault(receptacle.kind, []).append(receptacle)

    def add(self, kind: TaskType, closed: int) -> bool:
        """Add a goal that passes `closed` closed receptacles (-1: the thing lies where the lamp stands)."""
        shape = SHAPES[kind]
        used = {goal.thing for goal in self.goals}
        things = [
            thing
            for thing in self._plan.kinds
            if thing not in used and (shape.ability is None or thing in able()[shape.ability])
        ]
        for thing in self._shuffled(things)[:10]:
            goal = (
                self._looking(thing, closed) if kind == "look_at_obj_in_light" else self._placing(kind, thing, closed)
            )
            if goal is not None:
                self.goals.append(goal)
                return True
        return False

    def needed(self) -> list[Receptacle]:
        """Return the receptacles without which the goals cannot be done: one of each kind that will do."""
        needed = [source for goal in self.goals for source in goal.sources]
        needed += [goal.lamp_place for goal in self.goals if goal.lamp_place is not None]
        stations = [SHAPES[goal.kind].station for goal in self.goals]
        targets = [goal.target for goal in self.goals if goal.lamp_place is None]
        for wanted in [*targets, *filter(None, stations)]:
            if all(receptacle.kind != wanted for receptacle in needed):
                needed.append(self._pick(self._places[wanted]))
        return list(dict.fromkeys(needed))

    def _placing(self, kind: TaskType, thing: str, closed: int) -> DrawnGoal | None:
        shape = SHAPES[kind]
        targets = [
            target
            for target in self._places
            if thing in may_hold()[target]
            and target != shape.station
            and target not in self._targets
            and not self._taken & {receptacle.location for receptacle in self._places[target]}
            and (target in OPENABLE) <= closed <= (target in OPENABLE) + shape.num_objects
        ]
        for target in self._shuffled(targets):
            apart = {receptacle.location for receptacle in self._places[target]}
            to_open = closed - (target in OPENABLE)
            sources: list[Receptacle] = []
            for number in range(shape.num_objects):
                source = self._source(thing, {target, shape.station}, apart, is_closed=number < to_open)
                if source is None:
                    break
                sources.append(source)
                apart = apart | {source.location}
            else:
                self._taken |= apart
                self._targets.add(target)
                sentence = self._told(kind, thing, target)
                return DrawnGoal(kind, thing, tuple(sources), target, sentence)
        return None

    def _looking(self, thing: str, closed: int) -> DrawnGoal | None:
        places = [
            place for kind in LAMP_PLACES for place in self._places.get(kind, ()) if place.location not in self._taken
        ]
        for place in self._shuffled(places):
            if closed < 0:
                source = place if thing in may_hold()[place.kind] else None
            else:
                source = self._source(thing, set(), {place.location}, is_closed=closed > 0)
            if source is not None:
                self._taken |= {place.location, source.location}
                sentence = self._told("look_at_obj_in_light", thing, LAMPS[0])
                return DrawnGoal("look_at_obj_in_light", thing, (source,), LAMPS[0], sentence, lamp_place=place)
        return None

    def _source(self, thing: str, kinds: set[str | None], apart: set[str], *, is_closed: bool) -> Receptacle | None:
        fitting = [
            receptacle
            for receptacle in self._plan.receptacles
            if thing in may_hold()[receptacle.kind]
            and receptacle.kind not in kinds | self._targets
            and receptacle.location not in apart | self._taken
            and (receptacle.kind in OPENABLE) == is_closed
        ]
        return self._pick(fitting) if fitting else None

    def _told(self, kind: TaskType, thing: str, place: str) -> str:
        sentence = SHAPES[kind].sentences[self._rng.integers(2)]
        return sentence.format(thing=thing.lower(), place=place.lower())

    def _pick(self, choices: Sequence[Receptacle]) -> Receptacle:
        return choices[int(self._rng.integers(len(choices)))]

    def _shuffled(self, choices: Sequence[T]) -> list[T]:
        return [choices[i] for i in self._rng.permutation(len(choices))]
