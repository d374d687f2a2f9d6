"""The goals of a task, read from its formula."""

from __future__ import annotations

from typing import NamedTuple

from textagent_gym.envs.alfworld.pddl.parser import Conjunction, Literal


class PlaceGoal(NamedTuple):
    """`num_objects` different objects of a type have to be in one receptacle of a type, in given states.

    Attributes:
        object_type: As in `objecttype`.
        receptacle_type: As in `receptacletype`.
        states: Predicates that have to be true of each object, among `isclean`, `ishot`, `iscool`.
        abilities: Predicates that tell which objects qualify: `cleanable`, `heatable`, `coolable`.
        num_objects: Number of objects.
    """

    object_type: str
    receptacle_type: str
    states: frozenset[str] = frozenset()
    abilities: frozenset[str] = frozenset()
    num_objects: int = 1


class ExamineGoal(NamedTuple):
    """At the end, an object of a type has to be held and the agent to stand before a lamp of a type that was used.

    Attributes:
        object_type: As in `objecttype`.
        lamp_type: As in `objecttype`.
    """

    object_type: str
    lamp_type: str


Goal = PlaceGoal | ExamineGoal
"""One goal of a task, which may have several."""


class Treatment(NamedTuple):
    """Way in which an object gets a state.

    Attributes:
        action: Action on the object in hand.
        ability: The predicate that says that it can be done to an object.
        stations: Types of the receptacles where it is done.
        ends: The states that it takes away.
    """

    action: str
    ability: str
    stations: frozenset[str]
    ends: frozenset[str] = frozenset()


TREATMENTS: dict[str, Treatment] = {
    "isclean": Treatment("cleanobject", "cleanable", frozenset({"sinkbasintype", "sinktype"})),
    "ishot": Treatment("heatobject", "heatable", frozenset({"microwavetype"}), ends=frozenset({"iscool"})),
    "iscool": Treatment("coolobject", "coolable", frozenset({"fridgetype"}), ends=frozenset({"ishot"})),
}
"""State of an object -> how it gets it, as in alfworld's `alfred.pddl`."""

_STATES = frozenset(TREATMENTS)
_ABILITIES = frozenset(way.ability for way in TREATMENTS.values())
_LAMP = {"toggleable", "istoggled", "receptacleatlocation", "atlocation", "inreceptacle", "objecttype"}


def read_goals(formula: tuple[Conjunction, ...]) -> tuple[Goal, ...] | None:
    """Return the goals in a formula, in its order, or None if it asks for something else."""
    if len(formula) != 1:
        return None
    found: list[Goal] = []
    held: list[str] = []
    lamps: list[str] = []
    for part in (list(conjunction.literals) for conjunction in formula[0].parts()):
        types = {lit.arguments[0]: lit.arguments[1] for lit in part if lit.predicate == "objecttype"}
        predicates = {literal.predicate for literal in part}
        if predicates == {"objecttype", "holds"} and len(types) == 1:
            held += types.values()
        elif predicates == _LAMP and len(types) == 1:
            lamps += types.values()
        elif (placing := _placing(part, types)) is not None:
            found.append(placing)
        else:
            return None
    if (len(held), len(lamps)) == (1, 1):
        found.append(ExamineGoal(held[0], lamps[0]))
    elif held or lamps:
        return None
    return tuple(found)


def _placing(part: list[Literal], types: dict[str, str]) -> PlaceGoal | None:
    places = {lit.arguments for lit in part if lit.predicate == "inreceptacle"}
    kinds = {lit.arguments for lit in part if lit.predicate == "receptacletype"}
    objects = {thing for thing, _ in places}
    receptacles = {place for _, place in places}
    known = {"objecttype", "receptacletype", "inreceptacle", "=", *_STATES, *_ABILITIES}
    unlike = [lit for lit in part if lit.predicate == "="]
    if not (
        all(lit.predicate in known and lit.positive == (lit.predicate != "=") for lit in part)
        and len(receptacles) == len(kinds) == len(set(types.values())) == 1
        and objects == set(types)
        and len(objects) == 1 + len(unlike)
        and len(objects) <= 2
    ):
        return None
    said = {thing: {lit.predicate for lit in part if lit.arguments == (thing,)} for thing in objects}
    if len({frozenset(predicates) for predicates in said.values()}) > 1:
        return None
    predicates = frozenset(next(iter(said.values())))
    ((_, receptacle_type),) = kinds
    return PlaceGoal(
        next(iter(types.values())), receptacle_type, predicates & _STATES, predicates & _ABILITIES, len(objects)
    )
