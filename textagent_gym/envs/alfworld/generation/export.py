"""Generated tasks as files, for ALFWorld's own engine and for whoever reads its data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import gymnasium as gym

from textagent_gym.cache import write_atomic
from textagent_gym.contract import Task
from textagent_gym.core import TextAgentEnv
from textagent_gym.envs.alfworld.dataset import GAME_FILE, RealSplit, index
from textagent_gym.envs.alfworld.types import AlfworldTask
from textagent_gym.mechanics.knobs import check_choice
from textagent_gym.registration import spec_of

FOLDERS: dict[str, RealSplit] = {"train": "train", "test": "valid_unseen"}
"""Split -> folder in which ALFWorld looks for it."""


def prepare(
    env_id: str, options: dict[str, Any], seeds: Sequence[int], num_workers: int, out: Path | None
) -> Iterator[str]:
    """Write the generated tasks of `seeds` to `out`, or measure all real games of a split; yield the name of each.

    Raises:
        ValueError: `out` is missing where tasks are generated, or the split is none of the real games.
        OSError: There are no real games, or the folder cannot be written.
    """
    options = {**spec_of(env_id).kwargs, **options}
    if options.get("games") == "real":
        check_choice("split", options["split"], get_args(RealSplit))
        yield from (entry.task_id for entry in index(options["split"], rebuild=True))
        return
    if out is None:
        raise ValueError(f"expected --out FOLDER for the game files of {env_id}, got none")
    env = gym.make(env_id, **options)
    for seed in seeds:
        env.reset(seed=seed)
        yield str(write_game(cast(TextAgentEnv, env.unwrapped).task, out))
    env.close()


def write_game(task: Task, folder: Path) -> Path:
    """Write a generated task as ALFWorld's data is laid out, and return the path of its game file.

    A task of several goals stands under the type of its first.

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
