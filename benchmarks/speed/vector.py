"""Steps per second of a vector environment, in processes of this machine and in actors of a Ray cluster.

Every row plays the same environments with the same random commands, so that all follow the same trajectories. Timed are
calls of `step` alone, after a round that does not count; the fastest round is shown, as it was disturbed least. The first
column is the environment as it is; in the others every step waits so many milliseconds longer, as it would for tests or a
container, and needs no processor meanwhile.

How to run (prints a Markdown table; without Ray its rows are left out):

    python -m benchmarks speed-vector
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from baselines.config.settings import JsonObject, check_at_least
from baselines.sampling.environments import TextEnv, make_env
from textagent_gym.bench import Stopwatch, describe_machine
from textagent_gym.vector import TextVectorEnv


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    env_id: str = "textagent_gym:TextWorld-Easy-Dense-v0"
    """Environment; its info lists admissible commands."""
    env_kwargs: JsonObject = field(default_factory=lambda: {"max_steps": 1000})
    """Constructor options of the environment; in long episodes few steps are spent on drawing the next task."""
    num_envs: int = 16
    """Environments that are stepped together."""
    steps: int = 40
    """Steps of all together in one round."""
    rounds: int = 5
    """Rounds that count."""
    wait_ms: tuple[float, ...] = (0.0, 10.0)
    """Milliseconds that every step of one environment waits."""
    processes: tuple[int, ...] = (1, 2, 4)
    """Numbers of processes to measure; 1 is this one."""
    actors: tuple[int, ...] = (1, 2)
    """Numbers of Ray's actors to measure."""
    cluster: bool = False
    """Use the Ray cluster that runs, instead of one of this machine alone."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        for name in ("num_envs", "steps", "rounds"):
            check_at_least(name, getattr(self, name), 1)
        for name in ("processes", "actors"):
            check_at_least(name, min(getattr(self, name), default=1), 1)
        check_at_least("wait_ms", min(self.wait_ms, default=0.0), 0.0)
        check_at_least("num_envs", self.num_envs, max((*self.processes, *self.actors)))


class Waiting(gym.Wrapper[str, str, str, str]):
    """Waits in every step."""

    def __init__(self, env: TextEnv, milliseconds: float) -> None:
        super().__init__(env)
        self._seconds = milliseconds / 1e3

    def step(self, action: str) -> Any:
        """Wait, then play."""
        time.sleep(self._seconds)
        return self.env.step(action)


def make_waiting(env_id: str, env_kwargs: dict[str, Any], milliseconds: float) -> TextEnv:
    """Make an environment whose steps wait, if they are to."""
    env = make_env(env_id, env_kwargs)
    return Waiting(env, milliseconds) if milliseconds else env


def steps_per_second(envs: TextVectorEnv, steps: int, rounds: int) -> float:
    """Return the steps of single environments in a second, with random admissible commands, in the fastest round."""
    rng, watch = np.random.default_rng(0), Stopwatch()
    _, infos = envs.reset(seed=0)
    for _ in range((rounds + 1) * steps):
        actions = [str(rng.choice(commands)) for commands in infos["admissible_commands"]]
        with watch:
            *_, infos = envs.step(actions)
    totals = [sum(watch.seconds[start : start + steps]) for start in range(steps, len(watch.seconds), steps)]
    return envs.num_envs * steps / min(totals)


def measure(config: Config) -> dict[str, list[float]]:
    """Return row of the table -> steps per second with each wait.

    Raises:
        BaselinesError: the configuration or the environment does not fit.
    """
    config.check()
    makers: dict[str, Callable[..., TextVectorEnv]] = {
        "1 (this one)" if count == 1 else f"{count} processes": partial(TextVectorEnv, processes=count)
        for count in config.processes
    }
    if config.actors and has_ray():
        make_ray_vector = open_ray(config)
        for count in config.actors:
            name = f"Ray, {count} actor" + ("s" if count > 1 else "")
            makers[name] = partial(make_ray_vector, actors=count, cpus_per_actor=0.5)
    table: dict[str, list[float]] = {name: [] for name in makers}
    for wait in config.wait_ms:
        for name, make in makers.items():
            envs = make(partial(make_waiting, config.env_id, config.env_kwargs, wait), config.num_envs)
            table[name].append(steps_per_second(envs, config.steps, config.rounds))
            envs.close()
    return table


def has_ray() -> bool:
    """Return whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


def open_ray(config: Config) -> Callable[..., TextVectorEnv]:
    """Start a cluster of this machine, where no other is to be used, and return what makes its environments."""
    import ray

    from textagent_gym.interop.ray import make_ray_vector

    if not config.cluster:
        ray.init(num_cpus=max(config.actors), include_dashboard=False, log_to_driver=False, logging_level="WARNING")
    return make_ray_vector


def markdown(table: dict[str, list[float]], wait_ms: tuple[float, ...]) -> str:
    """Return the figures as a Markdown table."""
    heads = ["steps/s" if wait == 0 else f"steps wait {wait:g} ms" for wait in wait_ms]
    lines = [f"| played in | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    lines += [f"| {name} | {' | '.join(f'{value:,.0f}' for value in row)} |" for name, row in table.items()]
    return "\n".join(lines) + "\n"


def main(config: Config) -> None:
    """Measure and print the table."""
    table = measure(config)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    sys.stdout.write(
        f"{markdown(table, config.wait_ms)}\n{config.num_envs} environments of {config.env_id}; {describe_machine()}; "
        f"load average at the end {load}\n"
    )
