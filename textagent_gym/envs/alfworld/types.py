"""Tasks: what a generated one depends on, as a name that can be read back, and what is known of any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from textagent_gym.contract import Split, Task
from textagent_gym.envs.alfworld.pddl.game import Game
from textagent_gym.envs.alfworld.planning.planner import Planner

TaskType = Literal[
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
]
"""ALFWorld's six types of task, in the order in which it numbers them from 1."""

TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Everything that a generated task depends on; the same specification makes the same task everywhere.

    Attributes:
        num_receptacles: Places for objects.
        num_objects: Portable objects.
        solution_length: Steps of the shortest solution.
        task_types: Types of its goals, in the order of `TASK_TYPES`.
        split: "train" or "test".
        seed: Seed of the draws, in [0, 2**31).
    """

    num_receptacles: int
    num_objects: int
    solution_length: int
    task_types: tuple[TaskType, ...] = TASK_TYPES
    split: Split = "train"
    seed: int = 0

    @property
    def name(self) -> str:
        """A file name that `parse` reads back."""
        types = "".join(str(1 + TASK_TYPES.index(kind)) for kind in self.task_types)
        shape = f"r{self.num_receptacles}-o{self.num_objects}-q{self.solution_length}"
        return f"{shape}-t{types}-{self.split}-{self.seed}"

    @classmethod
    def parse(cls, name: str) -> TaskSpec | None:
        """Return the specification of that name, or None where it names none."""
        found = re.fullmatch(r"r(\d{1,3})-o(\d{1,3})-q(\d{1,3})-t([1-6]{1,6})-(train|test)-(\d{1,10})", name)
        if found is None:
            return None
        receptacles, objects, length, types, split, seed = found.groups()
        spec = cls(
            num_receptacles=int(receptacles),
            num_objects=int(objects),
            solution_length=int(length),
            task_types=tuple(TASK_TYPES[int(number) - 1] for number in sorted(set(types))),
            split=cast(Split, split),
            seed=int(seed),
        )
        return spec if spec.name == name and spec.seed < 2**31 else None


@dataclass(frozen=True, kw_only=True)
class AlfworldTask(Task):
    """A game of ALFWorld.

    Attributes:
        data: Content of its game file.
        game: The game as the native engine reads it, or None where it holds something that engine does not know.
        planner: Counts the steps that remain; None if the goal has unknown parts.
    """

    data: Mapping[str, Any]
    game: Game | None
    planner: Planner | None

    def __hash__(self) -> int:
        return hash(self.task_id)
