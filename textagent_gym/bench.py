"""How fast an environment is, measured with random play on the machine at hand."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from importlib.metadata import version

import gymnasium as gym
import numpy as np

from textagent_gym.agents import RandomAgent


class Stopwatch:
    """Takes the time of each `with` block.

    Attributes:
        seconds: One figure a block.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def measure(env_id: str, *, num_steps: int, num_tasks: int) -> dict[str, float | str]:
    """Times resets and steps of one id.

    Args:
        env_id: A registered id.
        num_steps: Steps to time.
        num_tasks: Tasks to draw, with seeds 0, 1, ...

    Returns:
        `steps_per_s` (admissible commands in info, agent's time excluded), `step_ms` (median), `first_reset_ms` (mean; a
        game that is not in the cache folder is generated and prepared), `reset_ms` (median; the task is at hand) and
        `memory_mb` (the process's peak so far).
    """
    env = gym.make(env_id)
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
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def compare(env_id: str, *, num_steps: int) -> dict[str, float | str]:
    """Times the native engine of a TextWorld id against the textworld package, on the same games and the same commands.

    Every game is played once, at random, so that nothing was stepped before. The native engine is timed through `gym.make`,
    rewards and admissible commands included; the package through its own `textworld.gym`, asked for admissible commands
    only. Drawing and compiling games is not timed.

    Args:
        env_id: An id of TextWorld.
        num_steps: Steps to time on each side.

    Returns:
        `steps_per_s`, `reference_steps_per_s`, `ratio`, and `num_games`.
    """
    from textagent_gym.envs.textworld.inform7 import bare_gym
    from textagent_gym.envs.textworld.tasks import find_task

    env, rng = gym.make(env_id), np.random.default_rng(0)
    native, reference = Stopwatch(), Stopwatch()
    num_games = total = 0
    while total < num_steps:
        _, info = env.reset(seed=num_games)
        num_games += 1
        task = find_task(info["task_id"])
        commands = task.ground.random_commands(info["task_card"]["max_steps"], rng)
        total += len(commands)
        with native:
            for command in commands:
                env.step(command)
        bare = bare_gym(task)
        bare.reset()
        with reference:
            for command in commands:
                bare.step(command)
        bare.close()
    env.close()
    ours, theirs = (total / sum(watch.seconds) for watch in (native, reference))
    return {
        "env_id": env_id,
        "steps_per_s": ours,
        "reference_steps_per_s": theirs,
        "ratio": ours / theirs,
        "num_games": num_games,
    }


def describe_machine() -> str:
    """Processor, system and versions, in one line."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("textagent-gym", "gymnasium", "textworld", "numpy"))
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return f"{machine}, Python {platform.python_version()}, {packages}"
