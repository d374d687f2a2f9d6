"""Commands and tests on an episode's files: each in a fresh copy, in a sandbox of its own; what it changed is kept."""

from __future__ import annotations

import re
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
        parts = [f"<returncode>{self.returncode}</returncode>"]
        parts.append(
            f"<output>\n{self.output.rstrip(chr(10))}\n</output>" if self.output.strip() else "<output></output>"
        )
        return "\n".join([*parts, *self.notes])


class Shell:
    """Runs commands and tests over one workspace.

    Args:
        workspace: The files; a command's changes go there.
        sandbox: Where it runs.
        limits: What a command may use.
        test_seconds: Time limit of a run of tests, in seconds.
        requirements: Wheels that the tests need besides pytest, each as "name==version".
    """

    def __init__(
        self,
        workspace: Workspace,
        sandbox: Sandbox,
        limits: Limits,
        test_seconds: float,
        requirements: tuple[str, ...] = (),
    ) -> None:
        self._workspace = workspace
        self._sandbox = sandbox
        self._limits = limits
        self._test_seconds = test_seconds
        self._requirements = requirements

    def run(self, command: str) -> CommandResult:
        """Run a command with bash; one that names git finds a repository, see `git`."""
        tree, workspace = self._workspace.files, self._workspace
        with_git = git.is_named(command) and git.FOLDER not in tree
        if with_git and workspace.repository is None:
            workspace.repository = git.new_repository(workspace.base, self._sandbox)
        notes: list[str] = []
        with scratch_folder(*room_for(tree, self._limits.disk_bytes, self._limits.num_files)) as folder:
            write_tree(tree, folder)
            if with_git and workspace.repository:
                git.write(workspace.repository, folder)
            result = self._sandbox.run(
                Command(
                    ["bash", "-c", command],
                    worktree=folder,
                    mounts=mounted(self._sandbox, self._requirements),
                    environment={**python_environment(tree, self._sandbox), **git.VARIABLES},
                    limits=self._limits,
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
        tree = self._workspace.files
        targets = [target] if target else runnable_files(tree)
        if target:
            path = clean_path(target.partition("::")[0], folder=True)
            if path not in tree and not any(file.startswith(f"{path}/") for file in tree) and path != ".":
                raise FileProblemError(f"there is no test file {path!r}")
            targets = [path + target[len(target.partition("::")[0]) :]]
        if not targets:
            raise FileProblemError("there are no tests in the repository; write some, or reason without")
        report = run_tests(
            tree,
            targets,
            sandbox=self._sandbox,
            seconds=self._test_seconds,
            num_messages=MAX_MESSAGES,
            message_length=MESSAGE_LENGTH,
            requirements=self._requirements,
        )
        if report.stopped is not None:
            return f"The tests were ended: they used too much {report.stopped}."
        if not report.complete:
            return f"The tests did not run to their end.\n{report.output[-MESSAGE_LENGTH:]}"
        counts = {result: list(report.outcomes.values()).count(result) for result in ("passed", "failed", "skipped")}
        lines = [", ".join(f"{count} {result}" for result, count in counts.items() if count) or "no tests ran"]
        lines += [f"FAILED {test}" for test, result in sorted(report.outcomes.items()) if result == "failed"]
        lines += [f"ERROR {path}" for path in sorted(report.broken)]
        lines += [f"\n{test}:\n{message}" for test, message in sorted(report.messages.items())]
        return _ADDRESS.sub("0x...", "\n".join(lines))
