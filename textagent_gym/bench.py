"""Speed of an environment on this machine, measured with random play."""

from __future__ import annotations

import gc
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import gymnasium as gym

from textagent_gym.agents import RandomAgent
from textagent_gym.core import TextAgentEnv


class Stopwatch:
    """Takes the time of each `with` block, without the garbage collector, as `timeit` does.

    Args:
        collects: True if the garbage collector stays on, as it does where environments are used.
        clock: Returns seconds.
        synchronise: Waits for a device.

    Attributes:
        seconds: One figure a block.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        synchronise: Callable[[], None] = lambda: None,
        collects: bool = False,
    ) -> None:
        self._collects = collects
        self._clock, self._synchronise = clock, synchronise
        self.seconds: list[float] = []

    def __enter__(self) -> None:
        if not self._collects:
            gc.disable()
        self._synchronise()
        self._started = self._clock()

    def __exit__(self, *_: object) -> None:
        self._synchronise()
        self.seconds.append(self._clock() - self._started)
        gc.enable()


def measure(env_id: str, *, num_steps: int, num_tasks: int, env_kwargs: dict[str, Any]) -> dict[str, float | str]:
    """Time resets and steps of one id.

    Args:
        env_id: A registered id.
        num_steps: Steps to time.
        num_tasks: Tasks to draw, with seeds 0, 1, ...
        env_kwargs: Constructor options.

    Returns:
        `steps_per_s` (admissible commands in info, agent's time excluded), `step_ms` (median), `first_reset_ms` (mean; a
        game that is not in the cache folder is generated and prepared), `reset_ms` (median; the task is in memory) and
        `memory_mb` (the process's peak so far).
    """
    env = gym.make(env_id, **env_kwargs)
    first, again, step_times = Stopwatch(), Stopwatch(), Stopwatch()
    agent = RandomAgent()
    for seed in range(num_tasks):
        with first:
            env.reset(seed=seed)
    episode = 0
    while len(step_times.seconds) < num_steps:
        with again:
            observation, info = env.reset(seed=episode % num_tasks)
        agent.reset(info, episode)
        episode += 1
        over = False
        while not over and len(step_times.seconds) < num_steps:
            action = agent.act(observation, info)
            with step_times:
                observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
    env.close()
    return {
        "env_id": env_id,
        "steps_per_s": num_steps / sum(step_times.seconds),
        "step_ms": 1e3 * statistics.median(step_times.seconds),
        "first_reset_ms": 1e3 * statistics.mean(first.seconds),
        "reset_ms": 1e3 * statistics.median(again.seconds),
        "memory_mb": peak_memory_mb(),
    }


def compare(
    env_id: str, start: Callable[[Any], Any], *, num_steps: int, env_kwargs: dict[str, Any], steps_per_game: int
) -> dict[str, float | str]:
    """Time the native engine of an id against the package that it replaces, on the same games and the same commands.

    Another process chooses the commands of each game by random play, so that every game is new to this one. The native
    engine plays them, then the package, then the native engine once more ("warm"). The native engine is timed through
    `gym.make`, rewards and admissible commands included; the package through its own environment, asked for admissible
    commands only. Times are those of the processor, game by game, which other work on the machine changes least. The garbage
    collector is on, but passes over what the package has kept until then. The reference's reset does not include the
    compilation of a TextWorld game.

    Args:
        env_id: An id of the reference's domain.
        start: Returns the package's own environment of a task; it has `reset`, `step` and `close`.
        num_steps: Steps to time on each side.
        env_kwargs: Constructor options.
        steps_per_game: Steps of a game that are played, or fewer where its episode is shorter.

    Returns:
        `steps_per_s`, `warm_steps_per_s`, `reference_steps_per_s`, and the `ratio` of the first to the last; `reset_ms`
        (median; the task is new: it is drawn or read), `again_ms` (median; it is in memory), `reference_reset_ms` (median),
        `reset_ratio`; and `num_games`.
    """
    env = gym.make(env_id, **env_kwargs)
    steps, warm, resets, again, reference_steps, reference_resets = (
        Stopwatch(time.process_time, collects=True) for _ in range(6)
    )
    num_games = num_played = 0
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as player:
        while num_played < num_steps:
            commands = player.submit(random_commands, env_id, env_kwargs, num_games, steps_per_game).result()
            gc.collect()
            gc.freeze()
            with resets:
                _, info = env.reset(seed=num_games)
            with steps:
                for command in commands:
                    env.step(command)
            gc.unfreeze()
            bare = start(cast(TextAgentEnv, env.unwrapped).task)
            with reference_resets:
                bare.reset()
            with reference_steps:
                for command in commands:
                    bare.step(command)
            bare.close()
            with again:
                env.reset(options={"task_id": info["task_id"]})
            with warm:
                for command in commands:
                    env.step(command)
            num_games += 1
            num_played += len(commands)
    env.close()
    ours, once_more, theirs = (num_played / sum(watch.seconds) for watch in (steps, warm, reference_steps))
    first, second, other = (1e3 * statistics.median(watch.seconds) for watch in (resets, again, reference_resets))
    return {
        "env_id": env_id,
        "steps_per_s": ours,
        "warm_steps_per_s": once_more,
        "reference_steps_per_s": theirs,
        "ratio": ours / theirs,
        "reset_ms": first,
        "again_ms": second,
        "reference_reset_ms": other,
        "reset_ratio": other / first,
        "num_games": num_games,
    }


def random_commands(env_id: str, env_kwargs: dict[str, Any], seed: int, limit: int) -> list[str]:
    """Return the first commands of a random episode, at most `limit`."""
    env, agent = gym.make(env_id, **env_kwargs), RandomAgent()
    observation, info = env.reset(seed=seed)
    agent.reset(info, seed)
    commands: list[str] = []
    over = False
    while not over and len(commands) < limit:
        commands.append(agent.act(observation, info))
        observation, _, terminated, truncated, info = env.step(commands[-1])
        over = terminated or truncated
    env.close()
    return commands


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in megabytes.

    Linux hands `ru_maxrss` down from the process that started this one; its own figure is read where there is one.
    """
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="utf-8").split("\n") if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def describe_machine() -> str:
    """Return the processor, system and versions, in one line."""
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("textagent-gym", "gymnasium", "textworld", "alfworld", "numpy")
    )
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return f"{machine}, Python {platform.python_version()}, {packages}"
