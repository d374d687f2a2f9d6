"""A repair task as an agent meets it: the files that it starts with, what it may do, and what its card says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textagent_gym.contract import Split, Task
from textagent_gym.envs.swe.interfaces.base import Interface, reference_actions
from textagent_gym.envs.swe.interfaces.choice import Choices
from textagent_gym.envs.swe.interfaces.tools import TOOLS
from textagent_gym.envs.swe.repo.tree import Tree
from textagent_gym.envs.swe.sandboxes.base import Protection
from textagent_gym.envs.swe.sources.index import num_edits
from textagent_gym.envs.swe.tasks import PreparedTask


@dataclass(frozen=True, kw_only=True)
class SweTask(Task):
    """A repair task as it is played.

    Attributes:
        prepared: The instance, made ready.
        base: The tree that the agent starts with.
        choices: The edits on offer, with `interface="choice"` alone.
    """

    prepared: PreparedTask
    base: Tree
    choices: Choices | None

    def __hash__(self) -> int:
        return hash(self.task_id)


def make_swe_task(
    ready: PreparedTask,
    *,
    split: Split,
    interface: Interface,
    size: int,
    hint_level: int,
    tests_visible: bool,
    protection: Protection,
    in_image: bool,
    index: Path,
) -> SweTask:
    """Return a prepared task as an environment of these options plays it.

    Args:
        ready: The prepared task.
        split: What the environment draws from.
        interface: What an action is.
        size: Tools or edits on offer.
        hint_level: How much the first observation gives away.
        tests_visible: True if the grading tests are among the files.
        protection: What protects the host.
        in_image: True if the task is played in its container image.
        index: Folder of the index that knows the edits on offer.
    """
    instance, test_spec = ready.instance, ready.test_spec
    choices = Choices(instance, size, index) if interface == "choice" else None
    solution = reference_actions(ready.edits, interface, TOOLS[:size] if interface == "tools" else (), choices)
    counts, numbers = None, None
    if choices is not None:
        counts = (len(choices.commands) + 1,) * len(solution)
        numbers = (*(choices.commands.index(command) + 1 for command in choices.repairs), len(choices.commands) + 1)
    return SweTask(
        task_id=instance.instance_id,
        solution=solution,
        num_reference_steps=2 * num_edits(instance) + 2,
        solution_is_shortest=False,
        subgoals_total=len(test_spec.groups),
        measured={
            "state_space_size": ready.num_files,
            "action_space_size": size,
            "solution_length": num_edits(instance),
        },
        split=split,
        admissible_counts=counts,
        solution_numbers=numbers,
        game_file=None,
        details={
            "origin": instance.origin,
            "repo": instance.repo,
            "version": instance.version,
            "licence": instance.licence,
            "interface": interface,
            "hint_level": hint_level,
            "tests_visible": tests_visible,
            "num_fail_to_pass": len(test_spec.fail_to_pass),
            "num_pass_to_pass": len(test_spec.pass_to_pass),
            "num_renamed_copies": len(test_spec.with_renamed_copy),
            "num_must_fail_copies": len(test_spec.with_must_fail_copy),
            "num_challenged": sum(len(one.tests) for one in test_spec.challenges.each),
            "num_second_opinion": sum(len(one.tests) for one in test_spec.challenges.each if one.plain),
            "num_with_variants": sum(len(one.tests) for one in test_spec.challenges.each if one.variants),
            "num_kept_second_opinion": sum(len(one.tests) for one in test_spec.challenges.kept),
            "test_seconds": instance.seconds,
            "image": instance.image if in_image else "",
            "sandbox": protection.name,
            "sandbox_detail": protection.detail,
            "sandbox_gaps": list(protection.gaps),
        },
        prepared=ready,
        base=ready.visible if tests_visible else ready.hidden,
        choices=choices,
    )
