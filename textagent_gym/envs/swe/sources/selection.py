"""Selection of the tasks of an environment: those of the index or of a file whose measures lie in the requested ranges."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from textagent_gym.contract import Split
from textagent_gym.envs.swe.sources.datasets import adapt
from textagent_gym.envs.swe.sources.formats import read_instances
from textagent_gym.envs.swe.sources.index import InstanceSummary, difficulty_of, load_index, num_edits
from textagent_gym.envs.swe.types import Origin, TaskInstance


def from_index(origin: Origin, split: Split, folder: Path) -> dict[str, InstanceSummary]:
    """Return the tasks of an index that have an origin and are in a split, by name."""
    return {name: task for name, task in load_index(origin, folder).items() if task.split == split}


def from_instances(instances: Iterable[TaskInstance], split: Split) -> dict[str, InstanceSummary]:
    """Return tasks of one's own, by name; all of them are in any split."""
    return {
        instance.instance_id: InstanceSummary(
            instance_id=instance.instance_id,
            origin=instance.origin,
            project=instance.repo,
            split=split,
            num_files=int(instance.extra.get("source_files", 0)),
            num_edits=num_edits(instance),
        )
        for instance in instances
    }


def filter_by_size(
    tasks: dict[str, InstanceSummary], sizes: dict[str, int | None], bounds: dict[str, int | None], where: str
) -> dict[str, InstanceSummary]:
    """Return the tasks whose measures lie within what was asked for.

    Raises:
        ValueError: There is none; the message names what there is.
    """

    def fits(task: InstanceSummary) -> bool:
        for name, value in (("state_space_size", task.num_files), ("solution_length", task.num_edits)):
            exact, low, high = sizes[name], bounds[f"min_{name}"], bounds[f"max_{name}"]
            if (exact is not None and value != exact) or (low is not None and value < low):
                return False
            if high is not None and value > high:
                return False
        return True

    found = {name: task for name, task in tasks.items() if fits(task)}
    if not found:
        there = sorted({(task.num_files, task.num_edits) for task in tasks.values()})
        shown = ", ".join(f"{files} files with {edits}" for files, edits in there[:40]) or "none"
        asked = ", ".join(f"{name}={value}" for name, value in {**sizes, **bounds}.items() if value is not None)
        raise ValueError(f"expected tasks with {asked or 'anything'} of {where}, got none. Feasible: {shown} edits")
    return found


DIFFICULTY = {"failing_tests": "num_failing", "changed_lines": "num_lines", "call_distance": "distance"}
"""Name of a measure in options -> its attribute of `Difficulty`."""


def filter_by_difficulty(
    tasks: dict[str, InstanceSummary], bounds: dict[str, int | None], folder: Path
) -> dict[str, InstanceSummary]:
    """Return the tasks whose measured difficulty lies within bounds such as "min_changed_lines"; without bounds all.

    Raises:
        ValueError: There is none, and the message names the ranges; or they are no mutation tasks of an index.
    """
    asked = ", ".join(f"{name}={value}" for name, value in bounds.items() if value is not None)
    if not asked:
        return tasks
    known = {**load_index("bundled", folder), **load_index("mutation", folder)}
    if not tasks.keys() <= known.keys():
        raise ValueError(f"expected {asked} with mutation tasks of an index, got other tasks")
    found = {name: difficulty_of(task.origin, name, folder) for name, task in tasks.items()}
    ranges = []
    for measure, attribute in DIFFICULTY.items():
        values = {name: getattr(difficulty, attribute) for name, difficulty in found.items()}
        low, high = bounds[f"min_{measure}"], bounds[f"max_{measure}"]
        if low is None and high is None:
            continue
        seen = [value for value in values.values() if value]
        ranges.append(f"{measure} from {min(seen)} to {max(seen)}" if seen else f"{measure} not measured")
        keep = {name for name, value in values.items() if value and (low or 1) <= value <= (high or value)}
        found = {name: difficulty for name, difficulty in found.items() if name in keep}
    if not found:
        raise ValueError(f"expected tasks with {asked}, got none. Feasible, one after the other: {', '.join(ranges)}")
    return {name: tasks[name] for name in found}


def in_images(instances: dict[str, TaskInstance]) -> dict[str, TaskInstance]:
    """Return the tasks with image, as far as their data sets leave it unsaid.

    Raises:
        ValueError: One has none.
    """
    adapted = {name: adapt(instance) for name, instance in instances.items()}
    bare = next((name for name, instance in adapted.items() if not instance.image), None)
    if bare is not None:
        raise ValueError(f"expected tasks that live in images with sandbox='docker', got {bare} without an image")
    return adapted


def custom_instances(tasks: str | None, rebase: bool) -> dict[str, TaskInstance]:
    """Return the tasks of a file by name; of those that are to be moved to an sdist and were before, what they became."""
    if tasks is None:
        return {}
    instances = {instance.instance_id: instance for instance in read_instances(tasks)}
    if rebase:
        from textagent_gym.envs.swe.sources.rebase import remembered

        instances = {name: remembered(instance) or instance for name, instance in instances.items()}
    return instances
