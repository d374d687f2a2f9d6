"""Writing a household down as a game file of ALFWorld (`game.tw-pddl`)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

from textagent_gym.envs.alfworld.generation.floor_plans import (
    OPENABLE,
    Receptacle,
    able,
    holders,
    may_hold,
    package_folder,
)
from textagent_gym.envs.alfworld.generation.generator import Household
from textagent_gym.envs.alfworld.generation.subgoals import SHAPES, DrawnGoal

ABILITIES = ("cleanable", "heatable", "coolable", "sliceable")

START = "loc_bar_start"
"""First location of the agent: in the middle of the room, at no receptacle."""


def game_data(household: Household) -> dict[str, Any]:
    """Return the content of a game file, still without the walkthrough."""
    domain, grammar = package_texts()
    task = f'"{household.task}"'
    return {
        "pddl_domain": domain,
        "grammar": grammar.replace('"Your task is to: UNKNOWN GOAL."', task),
        "pddl_problem": problem_text(household),
        "solvable": True,
    }


@functools.cache
def package_texts() -> tuple[str, str]:
    """Return the domain and the grammar that the alfworld package carries."""
    folder = package_folder() / "data"
    return (folder / "alfred.pddl").read_text(), (folder / "alfred.twl2").read_text()


def problem_text(household: Household) -> str:
    """Return the PDDL problem, with the sections and predicates of ALFWorld's own."""
    objects = "\n".join(f"        {name} - {kind}" for name, kind in _objects(household))
    facts = "\n".join(f"        ({' '.join(fact)})" for fact in _facts(household))
    formulas = "\n".join(_formula(goal) for goal in household.goals)
    return f"""(define (problem plan_{household.plan.number})
    (:domain alfred)
    (:objects
{objects}
    )
    (:init
{facts}
    )
    (:goal
        (and
{formulas}
        )
    )
)
"""


def _objects(household: Household) -> Iterator[tuple[str, str]]:
    yield "agent1", "agent"
    for kind in sorted({"DeskLamp"}.union(*may_hold().values())):
        yield f"{kind}Type", "otype"
    for kind in sorted(may_hold()):
        yield f"{kind}Type", "rtype"
    for name, _, _ in household.objects + household.lamps:
        yield name, "object"
    for receptacle in household.receptacles:
        yield receptacle.name, "receptacle"
    for location in sorted({receptacle.location for receptacle in household.receptacles} | {START}):
        yield location, "location"


def _facts(household: Household) -> Iterator[tuple[str, ...]]:
    yield "atLocation", "agent1", START
    for receptacle in household.receptacles:
        yield "receptacleType", receptacle.name, f"{receptacle.kind}Type"
        yield "receptacleAtLocation", receptacle.name, receptacle.location
        if receptacle.kind in OPENABLE:
            yield "openable", receptacle.name
    for kind in sorted({receptacle.kind for receptacle in household.receptacles}):
        for thing in sorted(may_hold()[kind] & {thing for _, thing, _ in household.objects}):
            yield "canContain", f"{kind}Type", f"{thing}Type"
    for name, thing, place in household.objects:
        yield "pickupable", name
        yield from _placed(name, thing, place)
        yield from ((ability, name) for ability in ABILITIES if thing in able()[ability])
        yield from [("isReceptacleObject", name)] if thing in holders() else []
        yield from [("isCool", name)] if place.kind == "Fridge" and thing in able()["coolable"] else []
    for name, thing, place in household.lamps:
        yield "toggleable", name
        yield from _placed(name, thing, place)


def _placed(name: str, thing: str, place: Receptacle) -> Iterator[tuple[str, ...]]:
    yield "objectType", name, f"{thing}Type"
    yield "inReceptacle", name, place.name
    yield "objectAtLocation", name, place.location


def _formula(goal: DrawnGoal) -> str:
    """Return the formula of ALFWorld's goals of that type (`gen/goal_library.py`)."""
    thing, target, shape = f"{goal.thing}Type", f"{goal.target}Type", SHAPES[goal.kind]
    if goal.lamp_place is not None:
        lamp = ["objectType ?ot " + target, "toggleable ?ot", "isToggled ?ot", "receptacleAtLocation ?r ?l"]
        lamp += ["atLocation ?a ?l", "inReceptacle ?ot ?r"]
        held = [f"objectType ?o {thing}", "holds ?a ?o"]
        variables = "?ot - object ?r - receptacle ?a - agent ?l - location"
        return f"{_exists(variables, lamp)}\n{_exists('?o - object ?a - agent', held)}"
    first = [f"objectType ?o1 {thing}", f"receptacleType ?r {target}", "inReceptacle ?o1 ?r"]
    if shape.num_objects == 2:
        second = [f"objectType ?o2 {thing}", f"receptacleType ?r {target}", "inReceptacle ?o2 ?r"]
        return _exists("?r - receptacle ?o1 - object ?o2 - object", [*first, "not (= ?o1 ?o2)", *second])
    if shape.ability is not None:
        first += [f"{shape.ability} ?o1", f"{shape.state} ?o1"]
    return _exists("?r - receptacle ?o1 - object", first)


def _exists(variables: str, atoms: Iterable[str]) -> str:
    return f"            (exists ({variables})\n                (and {' '.join(f'({atom})' for atom in atoms)}))"
