"""Environments with a finite list of tasks, which an evaluation plays once each.

Such an environment names its tasks in `env.unwrapped.task_ids` and plays one of them with
`reset(options={"task_id": name})`. Seeds draw from the list: 140 seeds on the 140 games of ALFWorld's valid_seen play 92
different games. An interval over 140 episodes would then count some games twice and take them for others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from baselines.config.settings import EvalTasks
from baselines.errors import BaselinesError, ConfigError
from baselines.sampling.environments import EnvPool, Task, TextEnv, env_name, reset_env


def list_task_ids(env: TextEnv) -> tuple[str, ...] | None:
    """Return the names of all tasks of an environment, or None where it draws them without end."""
    names = getattr(env.unwrapped, "task_ids", None)
    return None if names is None else tuple(map(str, names))


def choose_tasks(env: TextEnv, wanted: EvalTasks, first_seed: int = 0, kind: int = 0) -> list[Task]:
    """Return different tasks of an environment; the same ones each time, the fewer among the more.

    Args:
        env: has a finite list of tasks.
        wanted: number of tasks, in an order that mixes the list, or "all", in its order.
        first_seed: seed of the first task of the list; the others count on.
        kind: kind of the pool's environments that plays them.

    Raises:
        ConfigError: the environment has no such list, or not as many tasks.
    """
    names = list_task_ids(env)
    if names is None:
        raise ConfigError(
            f"expected an environment with a finite list of tasks for eval_tasks, got {env_name(env)}, which draws them "
            "without end: pass a number of episodes"
        )
    if wanted != "all" and not 1 <= wanted <= len(names):
        raise ConfigError(
            f"expected eval_tasks from 1 to {len(names)}, the tasks of {env_name(env)}, or all, got {wanted}"
        )
    places = range(len(names)) if wanted == "all" else np.random.default_rng(0).permutation(len(names))[:wanted]
    return [Task(first_seed + int(place), kind, names[place]) for place in places]


def held_out_tasks(
    pool: EnvPool, wanted: EvalTasks | None, first_seed: int, num_episodes: int, kind: int = 0
) -> list[Task]:
    """Return the tasks of an evaluation: those of `choose_tasks`, or `num_episodes` seeds where `wanted` is None."""
    if wanted is None:
        return [Task(seed, kind) for seed in range(first_seed, first_seed + num_episodes)]
    env = pool.lease(kind)
    try:
        return choose_tasks(env, wanted, first_seed, kind)
    finally:
        pool.give_back(env, kind)


def check_each_once(env: TextEnv, tasks: Sequence[Task]) -> None:
    """Reset an environment to each task in turn, and refuse a task that would be played, and counted, twice.

    Environments that draw tasks without end are left alone.

    Raises:
        ConfigError: two of `tasks` are one task.
    """
    names = list_task_ids(env)
    if names is None:
        return
    remedy = "--eval-tasks all, or a number of them, plays each once"
    if len(tasks) > len(names):
        raise ConfigError(
            f"expected at most {len(names)} episodes of {env_name(env)}, one for each task, got {len(tasks)}: {remedy}"
        )
    seeds: dict[str, int] = {}
    for task in tasks:
        name = task.task_id or str(reset_env(env, task.seed)[1].get("task_id"))
        if name in seeds:
            raise ConfigError(
                f"expected seeds that play each task of {env_name(env)} once, got {seeds[name]} and {task.seed}, which both "
                f"play {name!r:.160}: {remedy}"
            )
        seeds[name] = task.seed


def check_pool(pool: EnvPool, tasks: Sequence[Task]) -> None:
    """Call `check_each_once` with an environment of the pool for the tasks of each kind.

    Raises:
        ConfigError: two of `tasks` are one task.
        TrainingError: more environments have raised than the pool may replace.
    """
    for kind in sorted({task.kind for task in tasks}):
        of_kind = [task for task in tasks if task.kind == kind]
        while True:
            env = pool.lease(kind)
            try:
                check_each_once(env, of_kind)
            except BaselinesError:
                pool.give_back(env, kind)
                raise
            except Exception as error:  # third-party code may raise anything
                pool.discard(env, of_kind[0], "a reset", error)
                continue
            pool.give_back(env, kind)
            break
