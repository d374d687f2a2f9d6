"""Games made ahead of time, on all cores, so that a trainer never waits for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym

from textagent_gym.envs.textworld.env import TextWorldEnv
from textagent_gym.envs.textworld.tasks import cached_file, make_task
from textagent_gym.envs.textworld.types import TaskSpec


def prepare(
    env_id: str, options: dict[str, Any], seeds: Sequence[int], num_workers: int, out: Path | None = None
) -> Iterator[str]:
    """Make the games of `reset(seed=...)` for `seeds` over processes, and yield a name for each seed as its game is kept.

    Games that are in the cache folder already come first.

    Raises:
        ValueError: The environment is not one that draws TextWorld games; a file `out` is named, for which there is no use;
            or a request is infeasible: the games that were made before are kept.
    """
    if out is not None:
        raise ValueError(f"expected no --out for {env_id}, whose games go into the cache folder, got {out}")
    specs = task_specs_of(env_id, options, seeds)
    missing = dict.fromkeys(spec for spec in specs if not cached_file(spec).exists())
    yield from (spec.name for spec in specs if spec not in missing)
    with ProcessPoolExecutor(num_workers) as pool:
        try:
            for spec, _ in zip(missing, pool.map(_prepare, missing, chunksize=4), strict=True):
                yield from [spec.name] * specs.count(spec)
        finally:
            pool.shutdown(cancel_futures=True)


def task_specs_of(env_id: str, options: dict[str, Any], seeds: Sequence[int]) -> list[TaskSpec]:
    """Return the specification of `reset(seed=...)` for each of `seeds`.

    Raises:
        ValueError: The environment is not one that draws TextWorld games.
    """
    env = gym.make(env_id, **options)
    if not isinstance(env.unwrapped, TextWorldEnv):
        raise ValueError(f"expected an id of TextWorld, got {env_id}")
    specs = [env.unwrapped.task_spec_of(seed) for seed in seeds]
    env.close()
    return specs


def shared_structures(env_id: str, options: dict[str, Any], count: int) -> dict[str, int]:
    """Count the test games out of `count` whose structure, names and words aside, occurs in `count` train games, too.

    Returns:
        `train` and `test`, the different structures of each split, and `shared`, the test games that are in both.

    Raises:
        ValueError: the tasks of this id are not generated games of TextWorld.
    """
    found: dict[str, list[str]] = {}
    for split in ("train", "test"):
        env = gym.make(env_id, **{**options, "split": split})
        details = [env.reset(seed=seed)[1]["task_card"]["details"] for seed in range(count)]
        env.close()
        if any("structure" not in one for one in details):
            raise ValueError(f"expected an id of generated TextWorld games, got {env_id}")
        found[split] = [one["structure"] for one in details]
    train = set(found["train"])
    shared = sum(structure in train for structure in found["test"])
    return {"train": len(train), "test": len(set(found["test"])), "shared": shared}


def _prepare(spec: TaskSpec) -> None:
    make_task(spec)
    make_task.cache_clear()
