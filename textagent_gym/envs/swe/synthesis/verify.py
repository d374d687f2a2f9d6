"""Validates the tasks of an index again: `python -m textagent_gym.envs.swe.synthesis.verify --out FILE.jsonl`.

The file has one line a task; the same command goes on where it was ended. `make verify-tasks` calls it.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import tyro

from textagent_gym.envs.swe.grading.grader import accepted, run_grading
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sources.index import indexed_instance, load_index
from textagent_gym.envs.swe.sources.projects import INDEX
from textagent_gym.envs.swe.synthesis.journal import Journal
from textagent_gym.envs.swe.tasks import prepare_task
from textagent_gym.envs.swe.types import Origin, TaskInstance

ORIGINS: tuple[Origin, ...] = ("bundled", "mutation", "release")

PATIENCE = 10.0
"""Least time that tests are taken to need, in seconds, so that no limit of time ends them on a busy machine."""


def problem_of(instance: TaskInstance, sandbox: Sandbox) -> str:
    """Return why a task is not sound, by running its tests; empty where it is.

    A sound task is resolved by its repair, which has no flag, and nothing less is paid.

    Raises:
        OSError: Its archive or a wheel cannot be fetched.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
    """
    try:
        spec = prepare_task(replace(instance, seconds=max(instance.seconds, PATIENCE)), sandbox).test_spec
    except ValueError as error:
        return str(error).partition("\n")[0]
    untouched = run_grading(spec, {}, sandbox)
    if untouched.stopped:
        return f"the tests used too much {untouched.stopped}"
    if not untouched.complete:
        return untouched.reason
    if untouched.num_failing != len(spec.fail_to_pass) or any(untouched.groups_done):
        return f"{len(spec.fail_to_pass) - untouched.num_failing} tests that should fail at the start pass"
    if untouched.num_broken:
        return f"{untouched.num_broken} tests that should pass at the start fail: {untouched.reason}"
    repaired = run_grading(spec, accepted(spec.gold), sandbox)
    if not repaired.resolved:
        return f"the reference repair is not accepted: {repaired.reason}"
    return f"the reference repair is flagged: {'; '.join(repaired.flags)}" if repaired.flags else ""


def verify(index: Path, every: int, journal: Journal) -> Iterator[tuple[str, str, float]]:
    """Validate every `every`-th task of each origin of an index, and yield its name, what is wrong with it, and the seconds.

    Raises:
        OSError: An archive or a wheel cannot be fetched.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
    """
    sandbox = choose_sandbox()
    for origin in ORIGINS if index == INDEX else ("mutation",):
        for name in list(load_index(origin, index))[::every]:

            def run(origin: Origin = origin, name: str = name) -> list[str | float]:
                started = time.perf_counter()
                problem = problem_of(indexed_instance(origin, name, index), sandbox)
                return [problem, round(time.perf_counter() - started, 2)]

            problem, seconds = journal.recall(name, run)
            yield name, problem, seconds


def main(out: Path, index: Path = INDEX, every: int = 1) -> None:
    """Validate the tasks of an index, and print which are not sound.

    Args:
        out: File of the results, which is continued.
        index: Folder of the index.
        every: Validate one task in so many.
    """
    journal = Journal(out, f"validated by Python {sys.version.partition(' ')[0]}")
    problems: Counter[str] = Counter()
    total, num_tasks = 0.0, 0
    for name, problem, seconds in verify(index.resolve(), every, journal):
        num_tasks += 1
        total += seconds
        if problem:
            problems[problem] += 1
        print(f"{name}: {problem or 'sound'} ({seconds} s)", flush=True)
    print(f"{num_tasks} tasks, {num_tasks - problems.total()} sound, {total:.0f} seconds")
    print("\n".join(f"{count} left out: {problem}" for problem, count in problems.most_common()))


if __name__ == "__main__":
    tyro.cli(main, prog="python -m textagent_gym.envs.swe.synthesis.verify")
