"""The 120 floor plans that the alfworld package carries, and its rules of which object may be where.

Sources, alfworld 0.4.2: `gen/layouts/FloorPlan*-openable.json` (receptacles with the places from which they are used),
`FloorPlan*-objects.json` (types that occur), and `gen/constants.py` (what may lie in what, and what can be done with it). A
type of receptacle that a plan lists among its types but not among its places (stove burners, coffee machines) is taken
to be there once.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gymnasium.error import DependencyNotInstalled

Room = Literal["kitchen", "living room", "bedroom", "bathroom"]

FLOOR_PLANS: dict[Room, range] = {
    "kitchen": range(1, 31),
    "living room": range(201, 231),
    "bedroom": range(301, 331),
    "bathroom": range(401, 431),
}
"""Numbers of the floor plans of each room."""

TEST_PLANS = frozenset({9, 10, 29, 215, 219, 226, 308, 315, 325, 404, 424, 425})
"""The floor plans that ALFWorld's own training games do not use."""

OPENABLE = frozenset({"Cabinet", "Drawer", "Fridge", "Microwave", "Safe"})
"""Types of receptacles that are closed at first, as in ALFWorld's games."""

LAMPS = ("DeskLamp", "FloorLamp")
"""Types of lamps that ALFWorld's goals name."""


@dataclass(frozen=True)
class Receptacle:
    """A place for objects.

    Attributes:
        name: Its identifier in PDDL.
        kind: Its type, for example "SinkBasin".
        location: The identifier of the place from which it is used; several may share one.
    """

    name: str
    kind: str
    location: str


@dataclass(frozen=True)
class FloorPlan:
    """A room.

    Attributes:
        number: Its number in AI2-THOR.
        room: Kind of room.
        receptacles: All places for objects, sorted by name.
        kinds: Types of portable objects that occur there, sorted.
        lamps: Types of lamps that occur there.
    """

    number: int
    room: Room
    receptacles: tuple[Receptacle, ...]
    kinds: tuple[str, ...]
    lamps: tuple[str, ...]


def package_folder() -> Path:
    """Return the folder of the alfworld package, which is not imported: that would create folders and set variables.

    Raises:
        gymnasium.error.DependencyNotInstalled: The package is missing.
    """
    found = importlib.util.find_spec("alfworld")
    if found is None or not found.submodule_search_locations:
        raise DependencyNotInstalled("alfworld is not installed: pip install alfworld")
    return Path(found.submodule_search_locations[0])


@functools.cache
def may_hold() -> dict[str, frozenset[str]]:
    """Return type of receptacle -> types of portable objects that it may hold."""
    found: dict[str, frozenset[str]] = {}
    for kind, things in _constants()["VAL_RECEPTACLE_OBJECTS"].items():
        if kind not in holders():
            found[kind] = frozenset(thing for thing in things if not thing.endswith("Sliced"))
    return found


@functools.cache
def able() -> dict[str, frozenset[str]]:
    """Return the ability ("cleanable", "heatable", "coolable", "sliceable") -> types of objects that have it."""
    return {name.lower(): frozenset(kinds) for name, kinds in _constants()["VAL_ACTION_OBJECTS"].items()}


@functools.cache
def holders() -> frozenset[str]:
    """Return types of portable objects into which ALFRED lets things be put; ALFWorld's text games do not."""
    return frozenset(_constants()["MOVABLE_RECEPTACLES_SET"])


@functools.cache
def floor_plan(number: int) -> FloorPlan:
    """Return the floor plan of a number.

    Raises:
        KeyError: There is none.
    """
    room = next((room for room, numbers in FLOOR_PLANS.items() if number in numbers), None)
    if room is None:
        raise KeyError(number)
    folder = package_folder() / "gen" / "layouts"
    types = set(json.loads((folder / f"FloorPlan{number}-objects.json").read_bytes()))
    places = json.loads((folder / f"FloorPlan{number}-openable.json").read_bytes())
    receptacles = {Receptacle(_mangled(name), _kind(name), _location(*point)) for name, point in places.items()}
    missing = (types & set(may_hold())) - {receptacle.kind for receptacle in receptacles}
    receptacles |= {Receptacle(_unplaced(kind, number), kind, f"loc_bar_{kind}") for kind in missing}
    portable = frozenset().union(*may_hold().values())
    return FloorPlan(
        number,
        room,
        tuple(sorted(receptacles, key=lambda receptacle: receptacle.name)),
        tuple(sorted(types & portable)),
        tuple(kind for kind in LAMPS if kind in types),
    )


@functools.cache
def _constants() -> dict[str, Any]:
    return runpy.run_path(str(package_folder() / "gen" / "constants.py"))


def _kind(name: str) -> str:
    first, *_, last = name.split("|")
    return last if last in {"SinkBasin", "BathtubBasin"} else first


def _unplaced(kind: str, number: int) -> str:
    """Return an identifier; a basin is named by the sink or bathtub that it is in, as in ALFWorld's own."""
    holder = kind.removesuffix("Basin")
    return f"{kind}_bar_{number}" if holder == kind else f"{holder}_bar_{number}_bar_{kind}"


def _mangled(name: str) -> str:
    for sign, word in (("|", "_bar_"), ("+", "_plus_"), ("-", "_minus_"), (".", "_dot_")):
        name = name.replace(sign, word)
    return name


def _location(x: float, z: float, rotation: float, horizon: float) -> str:
    """Return the name of a place in ALFWorld's games: quarter metres, quarter turns, and the angle of the gaze."""
    return _mangled(f"loc|{round(4 * x)}|{round(4 * z)}|{round(rotation / 90)}|{round(horizon)}")
