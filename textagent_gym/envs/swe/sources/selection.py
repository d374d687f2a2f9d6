"""Selection of the tasks of an environment: those of the index or of a file whose measures lie in the requested ranges."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from textagent_gym.contract import Split
from textagent_gym.envs.swe.sources.datasets import adapt
from textagent_gym.envs.swe.sources.formats import read_instances
from textagent_gym.envs.swe.sources.index import InstanceSummary, load_index, num_edits
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
