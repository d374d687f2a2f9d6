"""The index of tasks: what it lists without any source code, and the instances that it stands for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from textagent_gym.contract import Split
from textagent_gym.envs.swe.repo.mutation import Mutation, apply_all, mutations
from textagent_gym.envs.swe.repo.patches import make_patch, num_hunks, reverse_patch
from textagent_gym.envs.swe.repo.tree import texts
from textagent_gym.envs.swe.sources.projects import (
    CHANCY_BUGS,
    INDEX,
    Project,
    project_tree,
    projects,
    read_index,
    steady,
)
from textagent_gym.envs.swe.sources.statements import mutation_statement
from textagent_gym.envs.swe.synthesis.bug_finder import FoundBug
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


@functools.cache
def load_index(origin: Origin) -> dict[str, InstanceSummary]:
    """Return every task of the index of one origin, by name, in the order of the index."""
    if origin == "release":
        return _load_releases()
    found: dict[str, InstanceSummary] = {}
    for project in projects().values():
        if (project.sdist is None) != (origin == "bundled"):
            continue
        entry, chancy = _index_of(project.name), CHANCY_BUGS.get(project.name, ())
        for number, task in enumerate(entry["tasks"]):
            if any(entry["bugs"][place]["function"] in chancy for place in task["bugs"]):
                continue
            name = instance_id(project, number)
            found[name] = InstanceSummary(
                instance_id=name,
                origin=origin,
                project=project.name,
                split=project.split,
                num_files=entry["source_files"],
                num_edits=len(task["bugs"]),
            )
    return found


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
def indexed_instance(origin: Origin, name: str) -> TaskInstance:
    """Return the instance of a task of the index.

    Raises:
        OSError: Its archive cannot be fetched.
        ValueError: The index has no such task, or tells of other sources than there are.
    """
    if name not in load_index(origin):
        raise ValueError(f"expected a task of origin {origin!r} in the index, got {name!r:.120}")
    if origin == "release":
        from textagent_gym.envs.swe.sources.releases import release_instance

        return release_instance(name)
    entry = load_index(origin)[name]
    project = projects()[entry.project]
    number = int(name.rpartition(".m")[2])
    index = _index_of(project.name)
    task = index["tasks"][number]
    bugs = [(index["bugs"][place], _mutation(project, index["bugs"][place]["name"])) for place in task["bugs"]]
    tests: list[str] = index["tests"]
    return mutation_instance(
        project,
        name,
        mutated=[mutation for _, mutation in bugs],
        breaks=[frozenset(tests[place] for place in bug["failing"]) for bug, _ in bugs],
        failing=frozenset(tests[place] for place in task["failing"]),
        tests=frozenset(tests),
        seconds=index["seconds"],
    )


def mutation_instance(
    project: Project,
    name: str,
    *,
    mutated: list[Mutation],
    breaks: list[frozenset[str]],
    failing: frozenset[str],
    tests: frozenset[str],
    seconds: float,
) -> TaskInstance:
    """Return the instance of a task made by mutation.

    Args:
        project: The project.
        name: Name of the task.
        mutated: The bugs.
        breaks: For each the tests that it breaks alone.
        failing: Tests that fail with all of them.
        tests: Tests that pass without any.
        seconds: Time that the tests take, in seconds.
    """
    failing, tests = steady(project.name, failing), steady(project.name, tests)
    breaks = [steady(project.name, broken) for broken in breaks]
    gold = texts(project_tree(project))
    files = sorted({mutation.file for mutation in mutated})
    before = {
        file: apply_all(gold[file].encode(), [one for one in mutated if one.file == file]).decode() for file in files
    }
    patch = make_patch(before, {file: gold[file] for file in files})
    return TaskInstance(
        instance_id=name,
        repo=project.name,
        base_commit=f"{project.name}=={project.version}",
        problem_statement=mutation_statement(project.name.rpartition("/")[2], project.version, len(mutated)),
        patch=patch,
        test_patch="",
        FAIL_TO_PASS=tuple(sorted(failing)),
        PASS_TO_PASS=tuple(sorted(tests - failing)),
        version=project.version,
        origin="bundled" if project.sdist is None else "mutation",
        sdist=project.sdist,
        setup_patch=reverse_patch(patch),
        bugs=tuple(
            Bug(
                file=mutation.file,
                function=mutation.function,
                kind=mutation.kind,
                tests=tuple(sorted(broken.difference(*(other for other in breaks if other is not broken)))),
            )
            for mutation, broken in zip(mutated, breaks, strict=True)
        ),
        licence=project.licence,
        seconds=seconds,
    )


def num_edits(instance: TaskInstance) -> int:
    """Return the count behind `solution_length`: inserted bugs where they are known, hunks of the repair otherwise."""
    if instance.bugs and instance.origin in ("bundled", "mutation"):
        return len(instance.bugs)
    return max(1, num_hunks(instance.patch))


def distractors(instance: TaskInstance, count: int) -> list[Mutation]:
    """Bugs of the index that a task does not have, in functions that it leaves alone: wrong edits, always the same ones.

    Raises:
        ValueError: The index has fewer.
    """
    project = projects()[instance.repo]
    places = {(bug.file, bug.function) for bug in instance.bugs}
    pool = [_mutation(project, bug["name"]) for bug in _index_of(project.name)["bugs"]]
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


def bugs_of(instance: TaskInstance) -> list[Mutation]:
    """Return the mutations of a task of the index, in the order of its bugs."""
    if instance.origin not in ("bundled", "mutation") or instance.instance_id not in load_index(instance.origin):
        raise ValueError(f"expected a mutation task of the index, got {instance.instance_id}")
    project = projects()[instance.repo]
    index = _index_of(project.name)
    task = index["tasks"][int(instance.instance_id.rpartition(".m")[2])]
    return [_mutation(project, index["bugs"][place]["name"]) for place in task["bugs"]]


def bug_pool(project: str) -> list[FoundBug]:
    """Return the bugs of the index that a project can have."""
    index = _index_of(project)
    tests = index["tests"]
    return [
        FoundBug(
            mutation=_mutation(projects()[project], bug["name"]),
            failing=tuple(sorted(tests[place] for place in bug["failing"])),
        )
        for bug in index["bugs"]
    ]


@functools.cache
def _index_of(project: str) -> dict[str, Any]:
    path = INDEX / "mutation" / f"{project.replace('/', '-')}.json"
    if not path.exists():
        return {"tasks": [], "bugs": [], "tests": [], "source_files": 0, "seconds": 0.0}
    entry: dict[str, Any] = read_index(f"mutation/{path.name}")
    return entry


def _mutation(project: Project, name: str) -> Mutation:
    found = _mutations(project, name.partition(":")[0]).get(name)
    if found is None:
        raise ValueError(f"expected the index to fit the sources of {project.name}, got no place {name}")
    return found


@functools.lru_cache(maxsize=512)
def _mutations(project: Project, file: str) -> Mapping[str, Mutation]:
    return {mutation.name: mutation for mutation in mutations(file, project_tree(project).get(file, b""))}
