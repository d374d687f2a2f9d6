"""Durations of an episode's parts, compared with a plain subprocess and with swe-rex in the same run."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
from typing import Any, cast

import gymnasium as gym
from gymnasium.error import DependencyNotInstalled

from textagent_gym.bench import Stopwatch
from textagent_gym.envs.swe import tasks
from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.swe.grading import grader as grading
from textagent_gym.envs.swe.repo.tree import scratch_folder, write_tree


def measure_repairs(
    env_id: str, *, reference: str, num_steps: int, num_tasks: int, env_kwargs: dict[str, Any]
) -> dict[str, float | str]:
    """Time an id: what a task costs at first, a command, and a step that the tests decide.

    Args:
        env_id: An id of SWEGym.
        reference: "subprocess", or "swerex" to time the local runtime of swe-rex as well.
        num_steps: Commands to time, at most 200.
        num_tasks: Tasks to reset and to repair.
        env_kwargs: Constructor options.

    Returns:
        Medians in milliseconds: `first_reset_ms` (a task not made ready yet), `reset_ms` (made ready), `shell_ms` (`ls` in
        the repository through `env.step`), `subprocess_ms` (`bash -c ls` in the same files), `swerex_ms`, `graded_ms` (an
        edit whose grading report nobody remembers, tests included), `again_ms` (one that is remembered).

    Raises:
        ValueError: The id is not one of SWEGym.
    """
    env = gym.make(env_id, **{**env_kwargs, "expose_solution": True, "interface": "tools", "action_space_size": 9})
    if not isinstance(env.unwrapped, SWEGymEnv):
        raise ValueError(f"expected an id of SWEGym, got {env_id}")
    first, again, graded, known = Stopwatch(), Stopwatch(), Stopwatch(), Stopwatch()
    for seed in range(num_tasks):
        tasks.forget()
        with first:
            env.reset(seed=seed)
        with again:
            _, info = env.reset(seed=seed)
        edits = [action for action in info["solution"] if '"edit"' in action]
        grading.forget(read_cache=False)
        for action in edits:
            with graded:
                env.step(action)
        grading.forget(read_cache=True)
        env.reset(seed=seed)
        for action in edits:
            grading.forget(read_cache=True)
            with known:
                env.step(action)
    row: dict[str, float | str] = {"env_id": env_id}
    row |= _commands(env_id, env_kwargs, min(num_steps, 200), reference == "swerex")
    watches = {"first_reset_ms": first, "reset_ms": again, "graded_ms": graded, "again_ms": known}
    row |= {name: 1e3 * statistics.median(watch.seconds) for name, watch in watches.items()}
    env.close()
    return row


def _commands(env_id: str, env_kwargs: dict[str, Any], num_commands: int, with_swerex: bool) -> dict[str, float]:
    env = gym.make(
        env_id, **{**env_kwargs, "interface": "bash", "action_space_size": None, "max_steps": num_commands + 1}
    )
    env.reset(seed=0)
    ours, plain, theirs = Stopwatch(), Stopwatch(), Stopwatch()
    with scratch_folder() as folder:
        write_tree(cast(SWEGymEnv, env.unwrapped).task.base, folder)
        runtime = _swerex() if with_swerex else None
        for _ in range(num_commands):  # one after the other, so that all meet the same machine
            with ours:
                env.step("ls")
            with plain:
                subprocess.run(["bash", "-c", "ls"], cwd=folder, capture_output=True, check=True)
            if runtime is not None:
                with theirs:
                    runtime(str(folder))
    env.close()
    found = {"shell_ms": ours, "subprocess_ms": plain, **({"swerex_ms": theirs} if with_swerex else {})}
    return {name: 1e3 * statistics.median(watch.seconds) for name, watch in found.items()}


def _swerex() -> Any:
    """Return a call that runs `ls` in a folder through swe-rex's local runtime, in one shell session kept open."""
    try:
        from swerex.runtime.abstract import BashAction, CreateBashSessionRequest
        from swerex.runtime.local import LocalRuntime
    except ImportError as error:
        raise DependencyNotInstalled("swe-rex is not installed: pip install swe-rex") from error
    loop = asyncio.new_event_loop()
    runtime = LocalRuntime()
    loop.run_until_complete(runtime.create_session(CreateBashSessionRequest()))

    def run(folder: str) -> Any:
        return loop.run_until_complete(runtime.run_in_session(BashAction(command=f"ls {folder}")))

    return run
