"""The index of tasks: what it lists without any source code, and the instances that it stands for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textagent_gym.contract import Split
from textagent_gym.envs.swe.repo.mutation import Mutation, mutations
from textagent_gym.envs.swe.repo.patches import make_patch, num_hunks, reverse_patch
from textagent_gym.envs.swe.repo.tree import patch_texts
from textagent_gym.envs.swe.sources.projects import INDEX, Project, projects, read_index
from textagent_gym.envs.swe.sources.releases import release_instance
from textagent_gym.envs.swe.sources.statements import mutation_statement
from textagent_gym.envs.swe.synthesis.bug_finder import FoundBug, mutated_tree, own_groups
from textagent_gym.envs.swe.types import Bug, Origin, TaskInstance


@dataclass(frozen=True, kw_only=True)
class InstanceSummary:
    """Summary of a task from the index, without reading any source.

    Attributes:
        instance_id: Name of the task.
        origin: Where it comes from.
        project: Name of its project.
        split: "train" or "test".
        num_files: Source files of the repository.
        num_edits: Bugs, or hunks of the reference repair.
    """

    instance_id: str
    origin: Origin
    project: str
    split: Split
    num_files: int
    num_edits: int


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """Measured difficulty of a mutation task.

    Attributes:
        num_failing: Tests that fail at the start.
        num_lines: Lines that the reference repair changes.
        distance: Calls between the nearest failing test and the function of a bug, 1 for a direct call: the largest over the
            bugs. 0 where it is not known.
    """

    num_failing: int
    num_lines: int
    distance: int


def difficulty_of(origin: Origin, name: str, folder: Path = INDEX) -> Difficulty:
    """Return the measures of a mutation task, as `textagent_gym.envs.swe.synthesis.difficulty` has written them."""
    entry = index_of(projects(folder)[load_index(origin, folder)[name].project])
    task = entry["tasks"][_number(name)]
    bugs = [entry["bugs"][place] for place in task["bugs"]]
    distances = [bug.get("distance", 0) for bug in bugs]
    return Difficulty(
        num_failing=len(task["failing"]),
        num_lines=sum(bug.get("lines", 0) for bug in bugs),
        distance=max(distances) if all(distances) else 0,
    )


@functools.cache
def load_index(origin: Origin, folder: Path = INDEX) -> dict[str, InstanceSummary]:
    """Return every task of an index of one origin, by name, in the order of the index.

    Raises:
        ValueError: The folder holds no index.
    """
    if origin == "release":
        return _load_releases()
    return {
        instance_id(project, number): InstanceSummary(
            instance_id=instance_id(project, number),
            origin=origin,
            project=project.name,
            split=project.split,
            num_files=project.num_files,
            num_edits=num_bugs,
        )
        for project in projects(folder).values()
        if (project.sdist is None) == (origin == "bundled")
        for number, num_bugs in enumerate(project.tasks)
    }


def _load_releases() -> dict[str, InstanceSummary]:
    return {
        row["instance_id"]: InstanceSummary(
            instance_id=row["instance_id"],
            origin="release",
            project=row["project"],
            split=row["split"],
            num_files=row["source_files"],
            num_edits=row["hunks"],
        )
        for row in read_index("releases.json")
    }


def instance_id(project: Project, number: int) -> str:
    """Return the name of a mutation task, for example "cachetools-8.0.1.m7"."""
    return f"{project.name.replace('/', '-')}-{project.version}.m{number}"


@functools.lru_cache(maxsize=512)
def indexed_instance(origin: Origin, name: str, folder: Path = INDEX) -> TaskInstance:
    """Return the instance of a task of an index.

    Raises:
        OSError: Its archive cannot be fetched.
        ValueError: The index has no such task, or tells of other sources than there are.
    """
    if name not in load_index(origin, folder):
        raise ValueError(f"expected a task of origin {origin!r} in the index, got {name!r:.120}")
    if origin == "release":
        return release_instance(name)
    project = projects(folder)[load_index(origin, folder)[name].project]
    index = index_of(project)
    tests: list[str] = index["tests"]
    return mutation_instance(
        project,
        name,
        bugs=_bugs_of(project, name),
        failing=[tests[place] for place in index["tasks"][_number(name)]["failing"]],
        tests=tests,
        seconds=index["seconds"],
    )


def mutation_instance(
    project: Project,
    name: str,
    *,
    bugs: Sequence[FoundBug],
    failing: Collection[str],
    tests: Collection[str],
    seconds: float,
) -> TaskInstance:
    """Return the instance of a task made by mutation.

    Args:
        project: The project.
        name: Name of the task.
        bugs: The bugs, each with the tests that it breaks alone.
        failing: Tests that fail with all of them.
        tests: Tests that pass without any.
        seconds: Time that the tests take, in seconds.
    """
    mutated = mutated_tree(project.tree, [bug.mutation for bug in bugs])
    files = {bug.mutation.file for bug in bugs}
    patch = make_patch(*(patch_texts({file: tree[file] for file in files}) for tree in (mutated, project.tree)))
    return TaskInstance(
        instance_id=name,
        repo=project.name,
        base_commit=f"{project.name}=={project.version}",
        problem_statement=mutation_statement(project.name.rpartition("/")[2], project.version, len(bugs)),
        patch=patch,
        test_patch="",
        FAIL_TO_PASS=tuple(sorted(failing)),
        PASS_TO_PASS=tuple(sorted({*tests} - {*failing})),
        version=project.version,
        origin="bundled" if project.sdist is None else "mutation",
        sdist=project.sdist,
        setup_patch=reverse_patch(patch),
        bugs=tuple(
            Bug(file=bug.mutation.file, function=bug.mutation.function, kind=bug.mutation.kind, tests=group)
            for bug, group in zip(bugs, own_groups(bugs), strict=True)
        ),
        licence=project.licence,
        seconds=seconds,
        extra={"requirements": list(project.wheels)} if project.wheels else {},
    )


def num_edits(instance: TaskInstance) -> int:
    """Return the count behind `solution_length`: inserted bugs where they are known, hunks of the repair otherwise."""
    if instance.bugs and instance.origin in ("bundled", "mutation"):
        return len(instance.bugs)
    return max(1, num_hunks(instance.patch))


def distractors(instance: TaskInstance, count: int, folder: Path) -> list[Mutation]:
    """Bugs of an index that a task does not have, in functions that it leaves alone: wrong edits, always the same ones.

    Raises:
        ValueError: The index has fewer.
    """
    project = projects(folder)[instance.repo]
    places = {(bug.file, bug.function) for bug in instance.bugs}
    pool = [_mutation(project, bug["name"]) for bug in index_of(project)["bugs"]]
    free: dict[tuple[str, str], Mutation] = {}
    seed = int.from_bytes(hashlib.sha256(instance.instance_id.encode()).digest()[:8], "big")
    for place in np.random.default_rng(seed).permutation(len(pool)):
        mutation = pool[int(place)]
        where = mutation.file, mutation.function
        if where not in places:
            free.setdefault(where, mutation)
    if len(free) < count:
        raise ValueError(
            f"expected at most {len(free) + len(instance.bugs)} candidate edits for {instance.instance_id}, "
            f"got action_space_size={count + len(instance.bugs)}"
        )
    return list(free.values())[:count]


def bugs_of(instance: TaskInstance, folder: Path) -> list[Mutation]:
    """Return the mutations of a task of an index, in the order of its bugs."""
    if instance.origin not in ("bundled", "mutation") or instance.instance_id not in load_index(
        instance.origin, folder
    ):
        raise ValueError(f"expected a mutation task of the index, got {instance.instance_id}")
    return [bug.mutation for bug in _bugs_of(projects(folder)[instance.repo], instance.instance_id)]


def tests_of(project: Project) -> frozenset[str]:
    """Return the tests of a project that decide its tasks."""
    return frozenset(index_of(project)["tests"])


def bug_pool(project: Project) -> list[FoundBug]:
    """Return the bugs of the index that a project can have."""
    return [_found_bug(project, bug) for bug in index_of(project)["bugs"]]


def _bugs_of(project: Project, name: str) -> list[FoundBug]:
    """Return the bugs of a mutation task."""
    index = index_of(project)
    return [_found_bug(project, index["bugs"][place]) for place in index["tasks"][_number(name)]["bugs"]]


def _found_bug(project: Project, bug: Mapping[str, Any]) -> FoundBug:
    tests = index_of(project)["tests"]
    return FoundBug(
        mutation=_mutation(project, bug["name"]), failing=tuple(sorted(tests[place] for place in bug["failing"]))
    )


def _number(name: str) -> int:
    """Return the place of a mutation task among those of its project."""
    return int(name.rpartition(".m")[2])


@functools.cache
def index_of(project: Project) -> dict[str, Any]:
    """Return the content of a project's file in its index: tests, bugs and tasks."""
    entry: dict[str, Any] = read_index(project.index_file, project.folder)
    return entry


def _mutation(project: Project, name: str) -> Mutation:
    found = _mutations(project, name.partition(":")[0]).get(name)
    if found is None:
        raise ValueError(f"expected the index to fit the sources of {project.name}, got no place {name}")
    return found


@functools.lru_cache(maxsize=512)
def _mutations(project: Project, file: str) -> Mapping[str, Mutation]:
    return {mutation.name: mutation for mutation in mutations(file, project.tree.get(file, b""))}
