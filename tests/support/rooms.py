"""A small room that tests know by heart, and games written where `alfworld-download` would put them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from textagent_gym.envs.alfworld.generation.floor_plans import FloorPlan, Receptacle
from textagent_gym.envs.alfworld.generation.game_file import game_data
from textagent_gym.envs.alfworld.generation.generator import Household
from textagent_gym.envs.alfworld.generation.subgoals import DrawnGoal
from textagent_gym.envs.alfworld.types import TaskType

PLACES = {
    kind: Receptacle(f"{kind}_bar_1", kind, f"loc_bar_{kind}")
    for kind in ("Cabinet", "CounterTop", "Desk", "Fridge", "Microwave", "Shelf")
}
PLACES["SinkBasin"] = Receptacle("Sink_bar_1_bar_SinkBasin", "SinkBasin", "loc_bar_SinkBasin")

THINGS = {"Apple": "CounterTop", "Bread": "CounterTop", "Knife": "CounterTop", "Book": "Desk", "Mug": "Cabinet"}
"""Thing -> place of it, one of each; a desk lamp stands on the desk."""


def household(kind: TaskType, thing: str, target: str, places: Iterable[str] = PLACES) -> Household:
    """Return the room with one goal and some of its places."""
    receptacles = [PLACES[place] for place in places]
    lamp_place = PLACES["Desk"] if kind == "look_at_obj_in_light" else None
    goal = DrawnGoal(kind, thing, (PLACES[THINGS[thing]],), target, f"see to the {thing.lower()}", lamp_place)
    plan = FloorPlan(1, "kitchen", tuple(receptacles), tuple(sorted(THINGS)), ("DeskLamp",))
    objects = [
        (f"{thing}_bar_1", thing, PLACES[place]) for thing, place in THINGS.items() if PLACES[place] in receptacles
    ]
    lamps = [("DeskLamp_bar_1", "DeskLamp", PLACES["Desk"])] if PLACES["Desk"] in receptacles else []
    return Household(plan, [goal], receptacles, objects, lamps)


HOT_APPLE = household("pick_heat_then_place_in_recep", "Apple", "Fridge")


def write_game(
    data_folder: Path, data: dict[str, Any], task_type: str, *, split: str = "train", name: str = "X-None-Y-1"
) -> Path:
    """Write a game file into a folder that `ALFWORLD_DATA` may name."""
    path = data_folder / "json_2.1.1" / split / f"{task_type}-{name}" / "trial_1" / "game.tw-pddl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def write_room(data_folder: Path, room: Household, **where: str) -> Path:
    """Write a room as a game file."""
    return write_game(data_folder, game_data(room), room.goals[0].kind, **where)
