"""SWEGym tasks: from an instance to the tree that an agent sees, the test spec that decides, and the reference repair."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection
from dataclasses import dataclass, replace

from textagent_gym.envs.swe.grading.challenges import find_challenges
from textagent_gym.envs.swe.grading.grader import TestSpec, gold_run, time_limit
from textagent_gym.envs.swe.grading.guards import split_id, whole_id
from textagent_gym.envs.swe.grading.pytest_runs import test_files
from textagent_gym.envs.swe.grading.runtime import distribution_name, required_name, runtime_folder
from textagent_gym.envs.swe.repo.edits import Edit, edits_of, with_function_of
from textagent_gym.envs.swe.repo.patches import apply_patch, patched_files
from textagent_gym.envs.swe.repo.text import encoding_of
from textagent_gym.envs.swe.repo.tree import (
    Tree,
    as_text,
    is_test,
    patch_bytes,
    patch_texts,
    source_files,
    with_changes,
)
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sources.images import image_tree
from textagent_gym.envs.swe.sources.projects import installed_tree, projects
from textagent_gym.envs.swe.types import TaskInstance

IMAGE_SECONDS = 60.0
"""Time that tests in an image are taken to need where nobody measured it, in seconds."""

MAX_GROUPS = 10
"""Most sub-goals of a task whose bugs nobody knows."""


@dataclass(frozen=True, kw_only=True)
class PreparedTask:
    """A task ready to be played: everything that it depends on is in memory.

    Attributes:
        instance: The task.
        test_spec: What decides it.
        visible: The tree that the agent sees, tests included.
        hidden: The same without the grading tests.
        edits: The reference repair, or None where it changes binary files.
        num_files: Source files of the repository.
    """

    instance: TaskInstance
    test_spec: TestSpec
    visible: Tree
    hidden: Tree
    edits: tuple[Edit, ...] | None
    num_files: int


def prepare_task(instance: TaskInstance, sandbox: Sandbox) -> PreparedTask:
    """Return a task made ready, its reference repair checked on this machine: the same object for the same instance.

    Raises:
        OSError: Its archive cannot be fetched.
        ValueError: The instance is not sound: a patch does not fit, or the repaired tree fails a test that it should pass.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed, or the instance's image cannot be had.
    """
    key = instance.instance_id, hashlib.sha256(repr((instance, sandbox.identity)).encode()).hexdigest()
    known = _prepared.get(key)
    if known is None:
        known = _prepare(instance, sandbox)
        with _lock:
            _prepared[key] = known
            while len(_prepared) > 512:
                _prepared.pop(next(iter(_prepared)))
    return known


_lock = threading.Lock()
_prepared: dict[tuple[str, str], PreparedTask] = {}


def _prepare(instance: TaskInstance, sandbox: Sandbox) -> PreparedTask:
    base = base_tree(instance, sandbox)
    try:
        start = patched(base, instance.setup_patch)
        visible = patched(start, instance.test_patch, text_only=True)
        gold = patched(visible, instance.patch, text_only=True)
    except ValueError as error:
        raise ValueError(f"expected patches of {instance.instance_id} that fit its tree: {error}") from error
    files = test_files({*instance.FAIL_TO_PASS, *instance.PASS_TO_PASS})
    missing = [path for path in files if path not in gold]
    if missing:
        raise ValueError(f"expected the tests of {instance.instance_id} in its tree, got no {missing[0]}")
    requirements = () if sandbox.brings_pytest else requirements_of(instance, start)
    in_image = bool(instance.image and sandbox.identity)
    seconds = time_limit(instance.seconds or (IMAGE_SECONDS if in_image else 12.0))
    run = gold_run(gold, files, sandbox=sandbox, seconds=seconds, requirements=requirements)
    if in_image:
        instance = _with_whole_ids(instance, run.passed)
    wanted = frozenset(instance.FAIL_TO_PASS)
    if not wanted <= run.passed:
        test = sorted(wanted - run.passed)[0]
        raise ValueError(f"expected the reference repair of {instance.instance_id} to pass {test}, got a failure here")
    groups = groups_of(instance)
    tests = {**{path: content for path, content in gold.items() if is_test(path)}, **_test_data(instance, visible)}
    initial = {**start, **tests}
    kept = frozenset(instance.PASS_TO_PASS) & run.passed
    challenges = find_challenges(
        gold,
        wanted,
        groups,
        start=initial,
        pass_to_pass=kept,
        alone=_repaired_alone(initial, gold, instance),
        sandbox=sandbox,
        seconds=seconds,
        requirements=requirements,
    )
    test_spec = TestSpec(
        start=start,
        tests=tests,
        groups=groups,
        fail_to_pass=wanted,
        pass_to_pass=kept,
        gold={path: gold.get(path) for path in sorted({*start, *gold}) if start.get(path) != gold.get(path)},
        seconds=instance.seconds or (IMAGE_SECONDS if in_image else 2.0),
        with_renamed_copy=wanted & run.with_renamed_copy,
        with_must_fail_copy=wanted & run.with_must_fail_copy,
        requirements=requirements,
        challenges=challenges,
        allowed=run.seen,
    )
    return PreparedTask(
        instance=instance,
        test_spec=test_spec,
        visible=visible,
        hidden=_without_tests(start, instance),
        edits=edits_of(visible, gold),
        num_files=len(source_files(start)),
    )


def _with_whole_ids(instance: TaskInstance, passed: Collection[str]) -> TaskInstance:
    """Return the instance with whole ids in place of those that end at the first blank of their parameters, as in logs."""
    return replace(
        instance,
        FAIL_TO_PASS=tuple(dict.fromkeys(whole_id(test, passed) or test for test in instance.FAIL_TO_PASS)),
        PASS_TO_PASS=tuple(dict.fromkeys(whole_id(test, passed) or test for test in instance.PASS_TO_PASS)),
    )


def base_tree(instance: TaskInstance, sandbox: Sandbox) -> Tree:
    """Return the tree of an instance's archive or bundled library; of its image, where the sandbox is one of images.

    Raises:
        OSError: The archive cannot be fetched.
        ValueError: The instance names none of them.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The image cannot be had.
    """
    if instance.image and sandbox.identity:
        return image_tree(instance.image)
    if instance.sdist is not None:
        return installed_tree(instance.sdist)
    if instance.origin == "bundled" and instance.repo in projects():
        return projects()[instance.repo].tree
    raise ValueError(
        f"expected {instance.instance_id} to name an sdist, got a record without one: it lives in an image "
        "(sandbox='docker'), or may be moved to the nearest earlier sdist (rebase=True)"
    )


def requirements_of(instance: TaskInstance, start: Tree) -> tuple[str, ...]:
    """Return wheels that its tests need besides pytest: its column `requirements`, seen not to hold the code under repair.

    Raises:
        OSError: A wheel cannot be installed.
        ValueError: The column is no list of "name==version", or a wheel, or pytest itself, brings a module of `start`.
    """
    named = instance.extra.get("requirements", [])
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        raise ValueError(
            f"expected requirements of {instance.instance_id} as a list of 'name==version', got {named!r:.120}"
        )
    requirements = tuple(named)
    if requirements or instance.origin in ("dataset", "rebased"):
        project = instance.sdist.project if instance.sdist is not None else instance.repo.rpartition("/")[2]
        check_requirements(project, requirements, start)
    return requirements


def check_requirements(project: str, requirements: tuple[str, ...], tree: Tree) -> None:
    """See that neither pytest nor the wheels of a project hold the code under repair.

    Raises:
        OSError: A wheel cannot be installed.
        ValueError: One of them does.
    """
    if distribution_name(project) in {required_name(one) for one in requirements}:
        raise ValueError(f"expected requirements without the code under repair, got {project}")
    brought = {path.name.removesuffix(".py") for path in runtime_folder(requirements).iterdir()}
    shared = sorted(brought & {_module(path) for path in source_files(tree)})
    if shared:
        raise ValueError(f"expected pytest and requirements without the code under repair, got a module {shared[0]}")


def _module(path: str) -> str:
    """Return the top-level module that a source file belongs to."""
    parts = path.split("/")
    return parts[1 if parts[0] in ("src", "lib") and len(parts) > 1 else 0].removesuffix(".py")


def _test_data(instance: TaskInstance, visible: Tree) -> dict[str, bytes]:
    """Return the files of the test patch, except those that the repair changes, too."""
    paths = set(patched_files(instance.test_patch)) - set(patched_files(instance.patch))
    return {path: visible[path] for path in sorted(paths) if path in visible}


def patched(tree: Tree, patch: str, *, text_only: bool = False) -> Tree:
    """Return a tree after a patch; with `text_only` its binary files and links are passed over.

    Raises:
        textagent_gym.envs.swe.repo.patches.PatchError: It does not apply.
    """
    if not patch:
        return tree
    changed = apply_patch(patch_texts(tree), patch, text_only=text_only)
    return with_changes(tree, {path: None if text is None else patch_bytes(text) for path, text in changed.items()})


def groups_of(instance: TaskInstance) -> tuple[tuple[str, ...], ...]:
    """Return the sub-goals of a task: the bugs' test groups, or its failing tests in at most ten groups of neighbours."""
    if instance.bugs and all(bug.tests for bug in instance.bugs):
        return tuple(bug.tests for bug in instance.bugs)
    tests = sorted(instance.FAIL_TO_PASS)
    count = min(MAX_GROUPS, len(tests))
    return tuple(tuple(tests[len(tests) * k // count : len(tests) * (k + 1) // count]) for k in range(count))


def _repaired_alone(start: Tree, gold: Tree, instance: TaskInstance) -> list[Tree | None]:
    """Return for each group the tree at the start with its bug repaired and no other; None where that is not known."""
    if not (instance.bugs and all(bug.tests for bug in instance.bugs)):
        return [None] * len(groups_of(instance))
    if len(instance.bugs) == 1:
        return [gold]
    found: list[Tree | None] = []
    for bug in instance.bugs:
        before, after = (as_text(tree.get(bug.file, b"")) for tree in (start, gold))
        text = None if before is None or after is None else with_function_of(before, after, bug.function)
        encoding = encoding_of(start.get(bug.file, b"")) or "utf-8"
        found.append(None if text is None else {**start, bug.file: text.encode(encoding)})
    return found


def _without_tests(start: Tree, instance: TaskInstance) -> Tree:
    """Return the tree without the files of the failing tests; where a patch brings those tests, it is just not applied."""
    if instance.test_patch:
        return start
    files = {split_id(test)[0] for test in instance.FAIL_TO_PASS}
    return {path: content for path, content in start.items() if path not in files}


def forget() -> None:
    """Make every task new again, for a measurement."""
    _prepared.clear()
