"""Games made ahead of time, on all cores, so that a trainer never waits for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import gymnasium as gym

from textagent_gym.envs.textworld.env import TextWorldEnv
from textagent_gym.envs.textworld.tasks import cached_file, make_task
from textagent_gym.envs.textworld.types import Recipe


def missing_recipes(env_id: str, options: dict[str, Any], seeds: Sequence[int]) -> list[Recipe]:
    """Return the recipes of `reset(seed=...)` for `seeds` whose games are not in the cache folder yet.

    Raises:
        ValueError: The environment is not one that draws TextWorld games.
    """
    env = gym.make(env_id, **options)
    if not isinstance(env.unwrapped, TextWorldEnv):
        raise ValueError(f"expected an id of TextWorld, got {env_id}")
    recipes = dict.fromkeys(env.unwrapped.recipe_of(seed) for seed in seeds)
    env.close()
    return [recipe for recipe in recipes if not cached_file(recipe).exists()]


def prepare(recipes: Sequence[Recipe], num_workers: int) -> Iterator[str]:
    """Make the games of `recipes` over processes and yield the name of each as it is kept, in their order.

    Raises:
        ValueError: A request is infeasible; the games that were made before are kept.
    """
    with ProcessPoolExecutor(num_workers) as pool:
        try:
            yield from pool.map(_prepare, recipes, chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


def shared_structures(env_id: str, options: dict[str, Any], count: int) -> dict[str, int]:
    """Count the test games out of `count` whose structure, names and words aside, occurs in `count` train games, too.

    Returns:
        `train` and `test`, the different structures of each split, and `shared`, the test games that are in both.
    """
    found: dict[str, list[str]] = {}
    for split in ("train", "test"):
        env = gym.make(env_id, **{**options, "split": split})
        cards = (env.reset(seed=seed)[1]["task_card"] for seed in range(count))
        found[split] = [card["details"]["structure"] for card in cards]
        env.close()
    train = set(found["train"])
    shared = sum(structure in train for structure in found["test"])
    return {"train": len(train), "test": len(set(found["test"])), "shared": shared}


def _prepare(recipe: Recipe) -> str:
    make_task(recipe)
    make_task.cache_clear()
    return recipe.name
