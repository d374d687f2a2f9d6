"""Commands and tests on an episode's files: each in a fresh copy, in a sandbox of its own; what it changed is kept."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from textagent_gym.envs.swe.grading.pytest_runs import mounted, python_environment, run_tests
from textagent_gym.envs.swe.interfaces import git
from textagent_gym.envs.swe.repo.tree import read_changes, room_for, scratch_folder, write_tree
from textagent_gym.envs.swe.repo.workspace import FileProblemError, Workspace, clean_path
from textagent_gym.envs.swe.sandboxes.base import Command, Limits, Sandbox
from textagent_gym.envs.swe.synthesis.bug_finder import runnable_files

MAX_MESSAGES = 8
"""Failures that a run of tests tells in full."""

MESSAGE_LENGTH = 1_200
"""Characters at the end of each stream that are shown."""

_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b")


class CommandResult(NamedTuple):
    """Result of a command.

    Attributes:
        returncode: Its exit status; -1 where a limit ended it.
        output: What it printed, as text.
        notes: What else there is to say: the limit that ended it, files that were not kept.
    """

    returncode: int
    output: str
    notes: tuple[str, ...]

    @property
    def to_observation(self) -> str:
        """The observation, in the form of mini-swe-agent."""
        printed = "\n{}\n".format(self.output.rstrip("\n")) if self.output.strip() else ""
        return "\n".join([f"<returncode>{self.returncode}</returncode>", f"<output>{printed}</output>", *self.notes])


@dataclass
class Shell:
    """Runs commands and tests over one workspace.

    Attributes:
        workspace: The files; a command's changes go there.
        sandbox: Where it runs.
        limits: What a command may use.
        test_seconds: Time limit of a run of tests, in seconds.
        requirements: Wheels that the tests need besides pytest, each as "name==version".
    """

    workspace: Workspace
    sandbox: Sandbox
    limits: Limits
    test_seconds: float
    requirements: tuple[str, ...] = ()

    def run(self, command: str) -> CommandResult:
        """Run a command with bash; one that names git finds a repository, see `git`."""
        workspace = self.workspace
        tree = workspace.files
        with_git = git.is_named(command) and git.FOLDER not in tree
        if with_git and workspace.repository is None:
            workspace.repository = git.new_repository(workspace.base, self.sandbox)
        notes: list[str] = []
        with scratch_folder(*room_for(tree, self.limits.disk_bytes, self.limits.num_files)) as folder:
            write_tree(tree, folder)
            if with_git and workspace.repository:
                git.write(workspace.repository, folder)
            result = self.sandbox.run(
                Command(
                    ["bash", "-c", command],
                    worktree=folder,
                    mounts=mounted(self.sandbox, self.requirements),
                    environment={**python_environment(tree, self.sandbox), **git.VARIABLES},
                    limits=self.limits,
                )
            )
            changes, refused = read_changes(folder, tree)
            if with_git:
                repository = git.read(folder, workspace.repository or {})
                if repository is None:
                    notes.append("What git stored is too large and was not kept.")
                else:
                    workspace.repository = repository
        try:
            workspace.become({**workspace.changes, **changes})
        except FileProblemError as problem:
            notes.append(f"What the command changed was not kept: {problem}.")
        notes += [f"{path:.200} is too large, or has too long a name, and was not kept." for path in refused[:3]]
        if result.stopped is not None:
            notes.append(f"The command was ended: it used too much {result.stopped}.")
        return CommandResult(result.returncode, result.output.decode("utf-8", "replace"), tuple(notes))

    def test(self, target: str = "") -> str:
        """Run the tests that a target names, or all, and tell how they fail.

        Raises:
            FileProblemError: There is no such test file.
        """
        tree = self.workspace.files
        targets = runnable_files(tree)
        if target:
            file, mark, test = target.partition("::")
            path = clean_path(file, folder=True)
            if path != "." and not any(self.workspace.below(path)):
                raise FileProblemError(f"there is no test file {path!r}")
            targets = [path + mark + test]
        if not targets:
            raise FileProblemError("there are no tests in the repository; write some, or reason without")
        report = run_tests(
            tree,
            targets,
            sandbox=self.sandbox,
            seconds=self.test_seconds,
            num_messages=MAX_MESSAGES,
            message_length=MESSAGE_LENGTH,
            requirements=self.requirements,
        )
        if report.stopped is not None:
            return f"The tests were ended: they used too much {report.stopped}."
        if not report.complete:
            return f"The tests did not run to their end.\n{report.output[-MESSAGE_LENGTH:]}"
        counts = Counter(report.outcomes.values())
        results = [result for result in ("passed", "failed", "skipped") if result in counts]
        lines = [", ".join(f"{counts[result]} {result}" for result in results) or "no tests ran"]
        lines += [f"FAILED {test}" for test, result in sorted(report.outcomes.items()) if result == "failed"]
        lines += [f"ERROR {path}" for path in sorted(report.broken)]
        lines += [f"\n{test}:\n{message}" for test, message in sorted(report.messages.items())]
        return _ADDRESS.sub("0x...", "\n".join(lines))
