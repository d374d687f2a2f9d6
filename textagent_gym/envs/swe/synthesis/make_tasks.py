"""Repair tasks in bulk: new combinations of the index's bugs, each validated by running the tests, as a file of rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np

from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sources.formats import read_instances, to_row
from textagent_gym.envs.swe.sources.index import bug_pool, mutation_instance, tests_of
from textagent_gym.envs.swe.sources.projects import Project, projects
from textagent_gym.envs.swe.synthesis.bug_finder import BugFinder

MAX_TRIES = 30
"""Combinations that are tried for one task."""


def prepare(
    env_id: str, options: dict[str, Any], seeds: Sequence[int], num_workers: int, out: Path | None
) -> Iterator[str]:
    """Make one task per seed over processes, append those that `out` lacks to it, and yield a name for each seed.

    Raises:
        ValueError: `out` is missing or no .jsonl file of instances, the id makes no tasks, or a seed leads to none.
        OSError: A project cannot be fetched.
    """
    if out is None:
        raise ValueError(f"expected --out FILE.jsonl for the records of {env_id}, got none")
    env = gym.make(env_id, **options)
    missing = missing_seeds(env, seeds, out)
    yield from (str(seed) for seed in seeds if seed not in missing)
    yield from make_instances(env, missing, num_workers, out)
    env.close()


def missing_seeds(env: gym.Env[str, str], seeds: Sequence[int], out: Path) -> list[int]:
    """Return the seeds whose tasks are not in the file `out` yet.

    Raises:
        ValueError: `env` is no SWEGym environment that makes tasks, or `out` is no .jsonl file of instances.
    """
    if not isinstance(env.unwrapped, SWEGymEnv) or not set(env.unwrapped.kinds) <= {"bundled", "mutation"}:
        raise ValueError(f"expected an id of SWEGym with mutation tasks, got {env.spec.id if env.spec else env}")
    if out.suffix != ".jsonl":
        raise ValueError(f"expected --out to name a .jsonl file, got {out}")
    known = {instance.instance_id.rpartition(".s")[2] for instance in read_instances(out)} if _holds_any(out) else set()
    return [seed for seed in seeds if str(seed) not in known]


def make_instances(env: gym.Env[str, str], seeds: Sequence[int], num_workers: int, out: Path) -> Iterator[str]:
    """Make one task per seed over processes, append each to `out` as it is found, and yield its name.

    Raises:
        ValueError: A seed leads to no task; those that were found are kept.
        OSError: A project cannot be fetched.
    """
    swe = cast(SWEGymEnv, env.unwrapped)
    out.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(num_workers) as pool, out.open("a", encoding="utf-8") as file:
        try:
            for row in pool.map(functools.partial(_make, swe.shapes, swe.index), seeds):
                file.write(json.dumps(row) + "\n")
                file.flush()
                yield row["instance_id"]
        finally:
            pool.shutdown(cancel_futures=True)


def _holds_any(out: Path) -> bool:
    return out.exists() and out.stat().st_size > 0


def _make(shapes: tuple[tuple[str, int], ...], index: Path, seed: int) -> dict[str, Any]:
    """Return the row of one task.

    Args:
        shapes: Project and number of bugs, as many as there are to choose among.
        index: Folder of the index that lists the projects.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    for _ in range(MAX_TRIES):
        name, size = shapes[int(rng.integers(len(shapes)))]
        finder = _bug_finder(projects(index)[name])
        found = finder.combine(bug_pool(finder.project), size, rng)
        if found is not None:
            instance = mutation_instance(
                finder.project,
                f"{name.replace('/', '-')}-{finder.project.version}.s{seed}",
                bugs=found.bugs,
                failing=found.failing,
                tests=finder.tests,
                seconds=finder.seconds,
            )
            return dict(to_row(instance))
    raise ValueError(f"expected bugs that go together for seed {seed}, got none in {MAX_TRIES} tries")


@functools.cache
def _bug_finder(project: Project) -> BugFinder:
    return BugFinder(project, choose_sandbox(), tests=tests_of(project))
