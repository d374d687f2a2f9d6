"""New tasks in ALFWorld's floor plans: goals that take as many steps as asked for, then the furniture around them.

The planner has the last word on how many steps a task takes (`tasks.make_task`): what it does not prove to be as long as
asked for is drawn again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from textagent_gym.contract import Split
from textagent_gym.envs.alfworld.generation.floor_plans import (
    FLOOR_PLANS,
    TEST_PLANS,
    FloorPlan,
    Receptacle,
    floor_plan,
    may_hold,
)
from textagent_gym.envs.alfworld.generation.subgoals import (
    LAMP_PLACES,
    MAX_GOALS,
    SHAPES,
    DrawnGoal,
    DrawnGoals,
    draw_lengths,
    possible_types,
)
from textagent_gym.envs.alfworld.types import TaskSpec, TaskType

MAX_COPIES = 4
"""Most objects of one kind in a room, as in ALFRED's own scenes."""


@dataclass
class Household:
    """A furnished room with its goals.

    Attributes:
        plan: The floor plan.
        goals: The goals.
        receptacles: The places for objects that it keeps, sorted by name.
        objects: (identifier, type, receptacle) of each portable object.
        lamps: The same of each lamp.
    """

    plan: FloorPlan
    goals: list[DrawnGoal]
    receptacles: list[Receptacle]
    objects: list[tuple[str, str, Receptacle]] = field(default_factory=list)
    lamps: list[tuple[str, str, Receptacle]] = field(default_factory=list)

    @property
    def task(self) -> str:
        """The sentence that states the task, in ALFWorld's words."""
        return f"Your task is to: {', and '.join(goal.sentence for goal in self.goals)}."


def draw(spec: TaskSpec, rng: np.random.Generator) -> Household | None:
    """Return a household that should be what the specification asks for, or None where the draw came to nothing."""
    plans = fitting_plans(spec.split, spec.num_receptacles, spec.task_types)
    if not plans:
        return None
    plan = plans[rng.integers(len(plans))]
    lengths = draw_lengths(plan, spec, rng)
    if lengths is None:
        return None
    goals = DrawnGoals(plan, rng)
    for kind, closed in lengths:
        if not goals.add(kind, closed):
            return None
    receptacles = _furnished(plan, goals.needed(), spec.num_receptacles, rng)
    if receptacles is None:
        return None
    household = Household(plan, goals.goals, receptacles)
    return household if _stock(household, spec.num_objects, rng) else None


@functools.lru_cache(maxsize=64)
def fitting_plans(split: Split, num_receptacles: int, task_types: tuple[TaskType, ...]) -> tuple[FloorPlan, ...]:
    """Return the floor plans of a split that are large enough and have one of the types of task; the same for every draw."""
    return tuple(
        plan
        for plan in plans_of(split)
        if len(plan.receptacles) >= num_receptacles and possible_types(plan, task_types)
    )


def plans_of(split: Split) -> Iterator[FloorPlan]:
    """Yield the floor plans of a split, by number."""
    for numbers in FLOOR_PLANS.values():
        for number in numbers:
            if (number in TEST_PLANS) == (split == "test"):
                yield floor_plan(number)


def describe_feasible(split: Split, task_types: Sequence[TaskType]) -> str:
    """Describe the feasible knobs: for each type and room the receptacles, the objects and the steps of one goal."""
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
                f"{shortest} to {longest} steps a goal"
            )
    several = f"; up to {MAX_GOALS} goals with receptacles of their own, at most one of them to look, make longer tasks"
    return ("; ".join(found) or "none of these types in this split") + several


def _furnished(
    plan: FloorPlan, needed: list[Receptacle], num_receptacles: int, rng: np.random.Generator
) -> list[Receptacle] | None:
    """Return the needed receptacles and others of the floor plan, as many as asked for."""
    others = [receptacle for receptacle in plan.receptacles if receptacle not in needed]
    num_others = num_receptacles - len(needed)
    if not 0 <= num_others <= len(others):
        return None
    kept = needed + [others[i] for i in rng.permutation(len(others))[:num_others]]
    return sorted(kept, key=lambda receptacle: receptacle.name)


def _stock(household: Household, num_objects: int, rng: np.random.Generator) -> bool:
    """Put in the objects of the goals and others of the room, as many as asked for; False where they do not fit."""
    copies: dict[str, int] = {}

    def put(thing: str, place: Receptacle) -> None:
        copies[thing] = copies.get(thing, 0) + 1
        household.objects.append((f"{thing}_bar_{copies[thing]}", thing, place))

    for goal in household.goals:
        for source in goal.sources:
            put(goal.thing, source)
    lamp_place = next((goal.lamp_place for goal in household.goals if goal.lamp_place is not None), None)
    if lamp_place is None and "DeskLamp" in household.plan.lamps:
        lamp_place = next((place for place in household.receptacles if place.kind in LAMP_PLACES), None)
    if lamp_place is not None:
        household.lamps.append(("DeskLamp_bar_1", "DeskLamp", lamp_place))
    wanted = {goal.thing for goal in household.goals}
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
