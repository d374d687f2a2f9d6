"""Generated tasks as files, for ALFWorld's own engine and for whoever reads its data."""

from __future__ import annotations

import json
from pathlib import Path

from textagent_gym.cache import write_atomic
from textagent_gym.contract import Task
from textagent_gym.envs.alfworld.dataset import GAME_FILE, RealSplit
from textagent_gym.envs.alfworld.types import AlfworldTask

FOLDERS: dict[str, RealSplit] = {"train": "train", "test": "valid_unseen"}
"""Split -> folder in which ALFWorld looks for it."""


def write_game(task: Task, folder: Path) -> Path:
    """Write a generated task as ALFWorld's data is laid out, and return the path of its game file.

    A task of several chores stands under the type of its first.

    Raises:
        ValueError: The task is not a generated one of ALFWorld.
        OSError: The folder cannot be written.
    """
    if not isinstance(task, AlfworldTask) or "chores" not in task.details:
        raise ValueError(f"expected a generated task of ALFWorld, got {task.task_id}")
    kind, name = task.details["chores"][0], task.task_id.replace(".", "-")
    game = folder / "json_2.1.1" / FOLDERS[task.split] / f"{kind}-{task.details['floor_plan']}" / f"trial_{name}"
    game.mkdir(parents=True, exist_ok=True)
    write_atomic(game / "traj_data.json", json.dumps({"task_type": kind}).encode())
    write_atomic(game / GAME_FILE, json.dumps({**task.data, "walkthrough": task.solution}, indent=1).encode())
    return game / GAME_FILE
