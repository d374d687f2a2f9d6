"""New tasks in ALFWorld's floor plans: errands that take as many steps as asked for, then the furniture around them.

A task is a list of errands of ALFWorld's six types, each about objects of its own. What an errand takes is known before it
is placed: going somewhere, taking, going on and putting down are 4 steps, a station on the way 2 more, a closed receptacle
1 more. The planner has the last word: what it does not prove to be as long as asked for is drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from textagent_gym.contract import Split
from textagent_gym.envs.alfworld.floorplans import (
    FLOOR_PLANS,
    LAMPS,
    OPENABLE,
    TEST_PLANS,
    FloorPlan,
    Receptacle,
    Room,
    able,
    floor_plan,
    may_hold,
)
from textagent_gym.envs.alfworld.recipes import Recipe, TaskType

T = TypeVar("T")

MAX_COPIES = 4
"""Most objects of one kind in a room, as in ALFRED's own scenes."""

MAX_ERRANDS = 8
"""Most errands of one task."""

LAMP_PLACES = ("Desk", "SideTable", "Dresser", "Shelf", "CoffeeTable")
"""Where desk lamps stand in ALFWorld's games; floor lamps stand nowhere in them, so that no goal can name one."""


class Shape(NamedTuple):
    """What errands of a type look like.

    Attributes:
        steps: Steps when everything is open and lies apart.
        max_closed: Receptacles on the way that may be closed, each one step more.
        num_objects: Objects it is about.
        station: Type of the receptacle where something is done to the object, or None.
        ability: What an object must be able to undergo, or None.
        state: What it must be afterwards, in PDDL, or None.
        rooms: Where ALFWorld has such tasks.
        sentences: How the task is told.
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
class Errand:
    """One drawn errand.

    Attributes:
        kind: Its type.
        thing: Type of its objects.
        sources: Where they lie at first.
        target: Type of the receptacle in which they belong, or of the lamp.
        sentence: How it is told.
        lamp_place: Where the lamp stands, or None.
    """

    kind: TaskType
    thing: str
    sources: tuple[Receptacle, ...]
    target: str
    sentence: str
    lamp_place: Receptacle | None = None


@dataclass
class Household:
    """A furnished room with its errands.

    Attributes:
        plan: The floor plan.
        errands: What has to be done.
        receptacles: The places for objects that it keeps, sorted by name.
        objects: (identifier, type, receptacle) of each portable object.
        lamps: The same of each lamp.
    """

    plan: FloorPlan
    errands: list[Errand]
    receptacles: list[Receptacle]
    objects: list[tuple[str, str, Receptacle]] = field(default_factory=list)
    lamps: list[tuple[str, str, Receptacle]] = field(default_factory=list)

    @property
    def task(self) -> str:
        """The sentence that tells the task, as ALFWorld tells it."""
        return f"Your task is to: {', and '.join(errand.sentence for errand in self.errands)}."


def draw(recipe: Recipe, rng: np.random.Generator) -> Household | None:
    """A household that should be what the recipe asks for, or None where the draw came to nothing."""
    plans = fitting_plans(recipe)
    if not plans:
        return None
    plan = plans[rng.integers(len(plans))]
    lengths = _draw_lengths(plan, recipe, rng)
    if lengths is None:
        return None
    drafts = _Drafts(plan, rng)
    for kind, closed in lengths:
        if not drafts.add(kind, closed):
            return None
    receptacles = _furnished(plan, drafts.needed(), recipe.num_receptacles, rng)
    if receptacles is None:
        return None
    household = Household(plan, drafts.errands, receptacles)
    return household if _stock(household, recipe.num_objects, rng) else None


def fitting_plans(recipe: Recipe) -> list[FloorPlan]:
    """The floor plans of the split that are large enough and have one of the types of task."""
    return [
        plan
        for plan in plans_of(recipe.split)
        if len(plan.receptacles) >= recipe.num_receptacles and possible_types(plan, recipe.task_types)
    ]


def plans_of(split: Split) -> Iterator[FloorPlan]:
    """The floor plans of a split, by number."""
    for numbers in FLOOR_PLANS.values():
        for number in numbers:
            if (number in TEST_PLANS) == (split == "test"):
                yield floor_plan(number)


def possible_types(plan: FloorPlan, task_types: Sequence[TaskType]) -> list[TaskType]:
    """Those of `task_types` that a floor plan has the room, the station or the lamp for."""
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


def describe_feasible(split: Split, task_types: Sequence[TaskType]) -> str:
    """What can be asked for: for each type and room the receptacles, the objects and the steps of one errand."""
    found = []
    for kind in task_types:
        shape = SHAPES[kind]
        for room in shape.rooms:
            plans = [plan for plan in plans_of(split) if plan.room == room and possible_types(plan, [kind])]
            if not plans:
                continue
            fewest = 3 if shape.station else 2
            most = max(len(plan.receptacles) for plan in plans)
            objects = MAX_COPIES * max(len(plan.kinds) for plan in plans)
            shortest = shape.steps - (kind == "look_at_obj_in_light")
            longest = shape.steps + shape.max_closed
            found.append(
                f"{kind} in a {room}: {fewest} to {most} receptacles, {shape.num_objects} to {objects} objects, "
                f"{shortest} to {longest} steps an errand"
            )
    several = (
        f"; up to {MAX_ERRANDS} errands with receptacles of their own, at most one of them to look, make longer tasks"
    )
    return ("; ".join(found) or "none of these types in this split") + several


def _draw_lengths(plan: FloorPlan, recipe: Recipe, rng: np.random.Generator) -> list[tuple[TaskType, int]] | None:
    """Types of errands with their numbers of closed receptacles, which add up to the length; looking comes last."""
    types = possible_types(plan, recipe.task_types)
    chosen: list[tuple[TaskType, int]] = []
    left = recipe.solution_length
    while left > 0 and len(chosen) < MAX_ERRANDS:
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


class _Drafts:
    """Places errands in a floor plan, apart from each other: no shared kinds of things, places to open, or visits."""

    def __init__(self, plan: FloorPlan, rng: np.random.Generator) -> None:
        self.errands: list[Errand] = []
        self._plan, self._rng = plan, rng
        self._taken: set[str] = set()  # locations where something is fetched or brought
        self._targets: set[str] = set()
        self._places: dict[str, list[Receptacle]] = {}
        for receptacle in plan.receptacles:
            self._places.setdefault(receptacle.kind, []).append(receptacle)

    def add(self, kind: TaskType, closed: int) -> bool:
        """Adds an errand that passes `closed` closed receptacles (-1: the thing lies where the lamp stands)."""
        shape = SHAPES[kind]
        used = {errand.thing for errand in self.errands}
        things = [
            thing
            for thing in self._plan.kinds
            if thing not in used and (shape.ability is None or thing in able()[shape.ability])
        ]
        for thing in self._shuffled(things)[:10]:
            errand = (
                self._looking(thing, closed) if kind == "look_at_obj_in_light" else self._placing(kind, thing, closed)
            )
            if errand is not None:
                self.errands.append(errand)
                return True
        return False

    def needed(self) -> list[Receptacle]:
        """The receptacles without which the errands cannot be done: one of each kind that will do."""
        needed = [source for errand in self.errands for source in errand.sources]
        needed += [errand.lamp_place for errand in self.errands if errand.lamp_place is not None]
        stations = [SHAPES[errand.kind].station for errand in self.errands]
        targets = [errand.target for errand in self.errands if errand.lamp_place is None]
        for wanted in [*targets, *filter(None, stations)]:
            if all(receptacle.kind != wanted for receptacle in needed):
                needed.append(self._pick(self._places[wanted]))
        return list(dict.fromkeys(needed))

    def _placing(self, kind: TaskType, thing: str, closed: int) -> Errand | None:
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
                return Errand(kind, thing, tuple(sources), target, sentence)
        return None

    def _looking(self, thing: str, closed: int) -> Errand | None:
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
                return Errand("look_at_obj_in_light", thing, (source,), LAMPS[0], sentence, lamp_place=place)
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


def _furnished(
    plan: FloorPlan, needed: list[Receptacle], num_receptacles: int, rng: np.random.Generator
) -> list[Receptacle] | None:
    """The needed receptacles and others of the floor plan, as many as asked for."""
    others = [receptacle for receptacle in plan.receptacles if receptacle not in needed]
    num_others = num_receptacles - len(needed)
    if not 0 <= num_others <= len(others):
        return None
    kept = needed + [others[i] for i in rng.permutation(len(others))[:num_others]]
    return sorted(kept, key=lambda receptacle: receptacle.name)


def _stock(household: Household, num_objects: int, rng: np.random.Generator) -> bool:
    """Puts in the objects of the errands and others of the room, as many as asked for; False where they do not fit."""
    copies: dict[str, int] = {}

    def put(thing: str, place: Receptacle) -> None:
        copies[thing] = copies.get(thing, 0) + 1
        household.objects.append((f"{thing}_bar_{copies[thing]}", thing, place))

    for errand in household.errands:
        for source in errand.sources:
            put(errand.thing, source)
    lamp_place = next((errand.lamp_place for errand in household.errands if errand.lamp_place is not None), None)
    if lamp_place is None and "DeskLamp" in household.plan.lamps:
        lamp_place = next((place for place in household.receptacles if place.kind in LAMP_PLACES), None)
    if lamp_place is not None:
        household.lamps.append(("DeskLamp_bar_1", "DeskLamp", lamp_place))
    wanted = {errand.thing for errand in household.errands}
    places = {
        thing: [place for place in household.receptacles if thing in may_hold()[place.kind]]
        for thing in household.plan.kinds
        if thing not in wanted
    }
    while len(household.objects) < num_objects:
        things = [thing for thing, fitting in places.items() if fitting and copies.get(thing, 0) < MAX_COPIES]
        if not things:
            return False
        thing = things[rng.integers(len(things))]
        put(thing, places[thing][rng.integers(len(places[thing]))])
    return len(household.objects) == num_objects
