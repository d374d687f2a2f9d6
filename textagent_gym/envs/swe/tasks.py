"""SWEGym tasks: from a record to the tree that an agent sees, the exam that decides, and the reference repair."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from textagent_gym.contract import Split
from textagent_gym.envs.swe.building import FoundBug
from textagent_gym.envs.swe.canaries import split_id, whole_id
from textagent_gym.envs.swe.grading import Exam, gold_run, test_files, time_limit
from textagent_gym.envs.swe.images import image_tree
from textagent_gym.envs.swe.mutation import Mutation, apply_all, mutations
from textagent_gym.envs.swe.patches import PatchError, apply_patch, make_patch, num_hunks, patched_files, reverse_patch
from textagent_gym.envs.swe.projects import INDEX, Project, installed_tree, project_tree, projects, read_index
from textagent_gym.envs.swe.records import Bug, Origin, TaskRecord
from textagent_gym.envs.swe.repairs import Edit, edits_of
from textagent_gym.envs.swe.runtime import distribution_name, required_name, runtime_folder
from textagent_gym.envs.swe.sandbox import Sandbox
from textagent_gym.envs.swe.statements import mutation_statement
from textagent_gym.envs.swe.trees import Tree, is_test, source_files, texts, with_changes

IMAGE_SECONDS = 60.0
"""Time that tests in an image are taken to need where nobody measured it, in seconds; ten times that is their limit."""

MAX_GROUPS = 10
"""Most sub-goals of a task whose bugs nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What the index tells of a task without reading any source.

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
class Problem:
    """A task ready to be played: everything that it depends on is in memory.

    Attributes:
        record: The task.
        exam: What decides it.
        visible: The tree that the agent sees, tests included.
        hidden: The same without the tests that the repair is judged by.
        edits: The reference repair.
        num_files: Source files of the repository.
    """

    record: TaskRecord
    exam: Exam
    visible: Tree
    hidden: Tree
    edits: tuple[Edit, ...]
    num_files: int


@functools.cache
def listed(origin: Origin) -> dict[str, Listed]:
    """Every task of the index of one origin, by name, in the order of the index."""
    if origin == "release":
        return _listed_releases()
    found: dict[str, Listed] = {}
    for project in projects().values():
        if (project.sdist is None) != (origin == "bundled"):
            continue
        entry = _index_of(project.name)
        for number, task in enumerate(entry["tasks"]):
            name = instance_id(project, number)
            found[name] = Listed(
                instance_id=name,
                origin=origin,
                project=project.name,
                split=project.split,
                num_files=entry["source_files"],
                num_edits=len(task["bugs"]),
            )
    return found


def _listed_releases() -> dict[str, Listed]:
    return {
        row["instance_id"]: Listed(
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
    """Name of a mutation task, for example "cachetools-8.0.1.m7"."""
    return f"{project.name.replace('/', '-')}-{project.version}.m{number}"


@functools.lru_cache(maxsize=512)
def indexed_record(origin: Origin, name: str) -> TaskRecord:
    """The record of a task of the index.

    Raises:
        OSError: Its archive cannot be fetched.
        ValueError: The index has no such task, or tells of other sources than there are.
    """
    if name not in listed(origin):
        raise ValueError(f"expected a task of origin {origin!r} in the index, got {name!r:.120}")
    if origin == "release":
        from textagent_gym.envs.swe.releases import release_record

        return release_record(name)
    entry = listed(origin)[name]
    project = projects()[entry.project]
    number = int(name.rpartition(".m")[2])
    index = _index_of(project.name)
    task = index["tasks"][number]
    bugs = [(index["bugs"][place], _mutation(project, index["bugs"][place]["name"])) for place in task["bugs"]]
    tests: list[str] = index["tests"]
    return mutation_record(
        project,
        name,
        mutated=[mutation for _, mutation in bugs],
        breaks=[frozenset(tests[place] for place in bug["failing"]) for bug, _ in bugs],
        failing=frozenset(tests[place] for place in task["failing"]),
        tests=frozenset(tests),
        seconds=index["seconds"],
    )


def mutation_record(
    project: Project,
    name: str,
    *,
    mutated: list[Mutation],
    breaks: list[frozenset[str]],
    failing: frozenset[str],
    tests: frozenset[str],
    seconds: float,
) -> TaskRecord:
    """The record of a task made by mutation.

    Args:
        project: The project.
        name: Name of the task.
        mutated: The bugs.
        breaks: For each the tests that it breaks alone.
        failing: Tests that fail with all of them.
        tests: Tests that pass without any.
        seconds: Time that the tests take, in seconds.
    """
    gold = texts(project_tree(project))
    files = sorted({mutation.file for mutation in mutated})
    before = {
        file: apply_all(gold[file].encode(), [one for one in mutated if one.file == file]).decode() for file in files
    }
    patch = make_patch(before, {file: gold[file] for file in files})
    return TaskRecord(
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


def problem(record: TaskRecord, sandbox: Sandbox) -> Problem:
    """A task made ready, its reference repair checked on this machine: the same object for the same record.

    Raises:
        OSError: Its archive cannot be fetched.
        ValueError: The record is not sound: a patch does not fit, or the repaired tree fails a test that it should pass.
        textagent_gym.envs.swe.sandbox.SandboxError: The sandbox failed, or the record's image cannot be had.
    """
    key = record.instance_id, hashlib.sha256(repr((record, sandbox.identity)).encode()).hexdigest()
    known = _problems.get(key)
    if known is None:
        known = _problem(record, sandbox)
        with _lock:
            _problems[key] = known
            while len(_problems) > 512:
                _problems.pop(next(iter(_problems)))
    return known


_lock = threading.Lock()
_problems: dict[tuple[str, str], Problem] = {}


def _problem(record: TaskRecord, sandbox: Sandbox) -> Problem:
    base = base_tree(record, sandbox)
    try:
        start = patched(base, record.setup_patch)
        visible = patched(start, record.test_patch)
        gold = patched(visible, record.patch)
        edits = edits_of(texts(start), record.patch)
    except (PatchError, ValueError) as error:
        raise ValueError(f"expected patches of {record.instance_id} that fit its tree: {error}") from error
    files = test_files({*record.FAIL_TO_PASS, *record.PASS_TO_PASS})
    missing = [path for path in files if path not in gold]
    if missing:
        raise ValueError(f"expected the tests of {record.instance_id} in its tree, got no {missing[0]}")
    requirements = () if sandbox.brings_pytest else requirements_of(record, start)
    in_image = bool(record.image and sandbox.identity)
    seconds = time_limit(record.seconds or (IMAGE_SECONDS if in_image else 12.0))
    run = gold_run(gold, files, sandbox=sandbox, seconds=seconds, requirements=requirements)
    if in_image:
        record = _with_whole_ids(record, run.passed)
    wanted = frozenset(record.FAIL_TO_PASS)
    if not wanted <= run.passed:
        test = sorted(wanted - run.passed)[0]
        raise ValueError(f"expected the reference repair of {record.instance_id} to pass {test}, got a failure here")
    exam = Exam(
        start=start,
        tests={**{path: content for path, content in gold.items() if is_test(path)}, **_test_data(record, visible)},
        groups=groups_of(record),
        fail_to_pass=wanted,
        pass_to_pass=frozenset(record.PASS_TO_PASS) & run.passed,
        seconds=record.seconds or (IMAGE_SECONDS if in_image else 2.0),
        aliased=wanted & run.aliased,
        twinned=wanted & run.twinned,
        requirements=requirements,
    )
    return Problem(
        record=record,
        exam=exam,
        visible=visible,
        hidden=_without_tests(start, record),
        edits=edits,
        num_files=len(source_files(start)),
    )


def _with_whole_ids(record: TaskRecord, passed: Collection[str]) -> TaskRecord:
    """The record with whole ids in place of those that end at the first blank of their parameters, as in logs."""
    return replace(
        record,
        FAIL_TO_PASS=tuple(dict.fromkeys(whole_id(test, passed) or test for test in record.FAIL_TO_PASS)),
        PASS_TO_PASS=tuple(dict.fromkeys(whole_id(test, passed) or test for test in record.PASS_TO_PASS)),
    )


def base_tree(record: TaskRecord, sandbox: Sandbox) -> Tree:
    """The tree of a record's archive or bundled library; of its image, where the sandbox is one of images.

    Raises:
        OSError: The archive cannot be fetched.
        ValueError: The record names none of them.
        textagent_gym.envs.swe.sandbox.SandboxError: The image cannot be had.
    """
    if record.image and sandbox.identity:
        return image_tree(record.image)
    if record.sdist is not None:
        return installed_tree(record.sdist)
    if record.origin == "bundled" and record.repo in projects():
        return project_tree(projects()[record.repo])
    raise ValueError(
        f"expected {record.instance_id} to name an sdist, got a record without one: it lives in an image "
        "(sandbox='docker'), or may be moved to the nearest earlier sdist (rebase=True)"
    )


def requirements_of(record: TaskRecord, start: Tree) -> tuple[str, ...]:
    """Wheels that a record's tests need besides pytest: its column `requirements`, seen not to hold the code under repair.

    Raises:
        OSError: A wheel cannot be installed.
        ValueError: The column is no list of "name==version", or a wheel, or pytest itself, brings a module of `start`.
    """
    named = record.extra.get("requirements", [])
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        raise ValueError(
            f"expected requirements of {record.instance_id} as a list of 'name==version', got {named!r:.120}"
        )
    requirements = tuple(named)
    if record.origin not in ("dataset", "rebased"):
        return requirements
    project = record.sdist.project if record.sdist is not None else record.repo.rpartition("/")[2]
    if distribution_name(project) in {required_name(one) for one in requirements}:
        raise ValueError(f"expected requirements without the code under repair, got {project}")
    brought = {path.name.removesuffix(".py") for path in runtime_folder(requirements).iterdir()}
    shared = sorted(brought & {_module(path) for path in source_files(start)})
    if shared:
        raise ValueError(f"expected pytest and requirements without the code under repair, got a module {shared[0]}")
    return requirements


def _module(path: str) -> str:
    """The top-level module that a source file belongs to."""
    parts = path.split("/")
    return parts[1 if parts[0] in ("src", "lib") and len(parts) > 1 else 0].removesuffix(".py")


def _test_data(record: TaskRecord, visible: Tree) -> dict[str, bytes]:
    """What the test patch brings, whatever its names, but for files that the repair changes, too."""
    paths = set(patched_files(record.test_patch)) - set(patched_files(record.patch))
    return {path: visible[path] for path in sorted(paths) if path in visible}


def patched(tree: Tree, patch: str) -> Tree:
    """A tree after a patch.

    Raises:
        textagent_gym.envs.swe.patches.PatchError: It does not apply.
    """
    if not patch:
        return tree
    changed = apply_patch(texts(tree), patch)
    return with_changes(tree, {path: None if text is None else text.encode() for path, text in changed.items()})


def groups_of(record: TaskRecord) -> tuple[tuple[str, ...], ...]:
    """The sub-goals of a task: the bugs' test groups, or its failing tests in at most ten groups of neighbours."""
    if record.bugs and all(bug.tests for bug in record.bugs):
        return tuple(bug.tests for bug in record.bugs)
    tests = sorted(record.FAIL_TO_PASS)
    count = min(MAX_GROUPS, len(tests))
    return tuple(tuple(tests[len(tests) * k // count : len(tests) * (k + 1) // count]) for k in range(count))


def _without_tests(start: Tree, record: TaskRecord) -> Tree:
    """The tree without the files of the failing tests; where a patch brings those tests, it is just not applied."""
    if record.test_patch:
        return start
    files = {split_id(test)[0] for test in record.FAIL_TO_PASS}
    return {path: content for path, content in start.items() if path not in files}


def num_edits(record: TaskRecord) -> int:
    """What `solution_length` counts: bugs where they are known to have been put in, hunks of the repair otherwise."""
    return len(record.bugs) if record.origin in ("bundled", "mutation") else num_hunks(record.patch)


def distractors(record: TaskRecord, count: int) -> list[Mutation]:
    """Bugs of the index that a task does not have, in functions that it leaves alone: wrong edits, always the same ones.

    Raises:
        ValueError: The index has fewer.
    """
    project = projects()[record.repo]
    places = {(bug.file, bug.function) for bug in record.bugs}
    pool = [_mutation(project, bug["name"]) for bug in _index_of(project.name)["bugs"]]
    free: dict[tuple[str, str], Mutation] = {}
    seed = int.from_bytes(hashlib.sha256(record.instance_id.encode()).digest()[:8], "big")
    for place in np.random.default_rng(seed).permutation(len(pool)):
        mutation = pool[int(place)]
        where = mutation.file, mutation.function
        if where not in places:
            free.setdefault(where, mutation)
    if len(free) < count:
        raise ValueError(
            f"expected at most {len(free) + len(record.bugs)} candidate edits for {record.instance_id}, "
            f"got action_space_size={count + len(record.bugs)}"
        )
    return list(free.values())[:count]


def bugs_of(record: TaskRecord) -> list[Mutation]:
    """The mutations of a task of the index, in the order of its bugs."""
    if record.origin not in ("bundled", "mutation") or record.instance_id not in listed(record.origin):
        raise ValueError(f"expected a mutation task of the index, got {record.instance_id}")
    project = projects()[record.repo]
    index = _index_of(project.name)
    task = index["tasks"][int(record.instance_id.rpartition(".m")[2])]
    return [_mutation(project, index["bugs"][place]["name"]) for place in task["bugs"]]


def bug_pool(project: str) -> list[FoundBug]:
    """The bugs of the index that a project can have."""
    index = _index_of(project)
    tests = index["tests"]
    return [
        FoundBug(
            mutation=_mutation(projects()[project], bug["name"]),
            failing=tuple(sorted(tests[place] for place in bug["failing"])),
        )
        for bug in index["bugs"]
    ]


def forget() -> None:
    """Makes every task new again, for a measurement."""
    _problems.clear()


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
