"""Durations of an episode's parts, compared with a plain subprocess and with swe-rex in the same run."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
from typing import Any, cast

import gymnasium as gym
from gymnasium.error import DependencyNotInstalled

from textagent_gym.bench import Stopwatch
from textagent_gym.envs.swe import tasks
from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.swe.grading import grader as grading
from textagent_gym.envs.swe.grading.grader import TestSpec
from textagent_gym.envs.swe.grading.pytest_runs import import_folders, test_files
from textagent_gym.envs.swe.grading.runtime import runtime_folder
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
        edit whose grading report nobody remembers, tests included), `again_ms` (one that is remembered), `tests_ms` (the
        test files of the repaired task by plain pytest in a subprocess), `pytest_ms` (the same with an empty file).

    Raises:
        ValueError: The id is not one of SWEGym.
    """
    env = gym.make(env_id, **{**env_kwargs, "expose_solution": True, "interface": "tools", "action_space_size": 9})
    if not isinstance(env.unwrapped, SWEGymEnv):
        raise ValueError(f"expected an id of SWEGym, got {env_id}")
    first, again, graded, known, alone, nothing = (Stopwatch() for _ in range(6))
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
        _run_plain_pytest(env.unwrapped.task.prepared.test_spec, alone, nothing)
    row: dict[str, float | str] = {"env_id": env_id}
    row |= _commands(env_id, env_kwargs, min(num_steps, 200), reference == "swerex")
    watches = {"first_reset_ms": first, "reset_ms": again, "graded_ms": graded, "again_ms": known}
    watches |= {"tests_ms": alone, "pytest_ms": nothing}
    row |= {name: 1e3 * statistics.median(watch.seconds) for name, watch in watches.items()}
    env.close()
    return row


def _run_plain_pytest(test_spec: TestSpec, alone: Stopwatch, nothing: Stopwatch) -> None:
    """Run the tests of the repaired tree without a sandbox, a guard or a second runner, and pytest on an empty file."""
    empty = "empty_test_file.py"
    tree = {**grading.with_own_tests(test_spec, test_spec.gold), empty: b""}
    with scratch_folder() as folder:
        write_tree(tree, folder)
        places = [str(runtime_folder(test_spec.requirements)), *(str(folder / name) for name in import_folders(tree))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command = [
            sys.executable,
            "-s",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            ".",
            "-c",
            os.devnull,
        ]
        for watch, files in (alone, test_files(test_spec.fail_to_pass | test_spec.pass_to_pass)), (nothing, [empty]):
            with watch:
                subprocess.run([*command, *files], cwd=folder, env=environment, capture_output=True, check=False)


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
