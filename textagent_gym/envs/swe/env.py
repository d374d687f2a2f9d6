"""SWEGym as a Gymnasium environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from typing_extensions import Unpack

from textagent_gym.contract import EpisodeOptions, StepResult
from textagent_gym.core import MAX_ACTION, TextAgentEnv
from textagent_gym.envs.swe.grading.grader import GradingReport, grade, time_limit
from textagent_gym.envs.swe.interfaces import tools
from textagent_gym.envs.swe.interfaces.base import Interface, actions_asked, rules_of
from textagent_gym.envs.swe.interfaces.fences import read_command
from textagent_gym.envs.swe.interfaces.shell import Shell
from textagent_gym.envs.swe.interfaces.swe_task import SweTask, make_swe_task
from textagent_gym.envs.swe.repo.patches import make_patch
from textagent_gym.envs.swe.repo.tree import UnwritableTreeError, patch_texts, texts
from textagent_gym.envs.swe.repo.workspace import Workspace
from textagent_gym.envs.swe.sandboxes.base import Limits, Sandbox
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sandboxes.container.container import container_sandbox
from textagent_gym.envs.swe.sandboxes.container.engine import engine
from textagent_gym.envs.swe.sources.index import indexed_instance
from textagent_gym.envs.swe.sources.projects import INDEX
from textagent_gym.envs.swe.sources.selection import (
    custom_instances,
    filter_by_difficulty,
    filter_by_size,
    from_index,
    from_instances,
    in_images,
)
from textagent_gym.envs.swe.sources.statements import HINT_LEVELS, statement
from textagent_gym.envs.swe.tasks import prepare_task
from textagent_gym.envs.swe.types import Origin, TaskInstance
from textagent_gym.mechanics.knobs import check_choice, check_integer, check_number
from textagent_gym.mechanics.spaces import AnyText

SUBMIT_MARK = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""First line that a command of the bash interface prints to submit, as in mini-swe-agent."""


class SWEGymEnv(TextAgentEnv[SweTask]):
    """Software repair: real Python projects with bugs, graded by their own tests, without a container engine.

    A task is a repository whose tests fail. The agent reads, edits and tests it with tools, with a shell, or by choosing
    among edits on offer, and submits. There are four origins:

    - **bundled** (`SWEGym-Easy-...`): bugs put into three small libraries that come with this package; nothing is fetched.
    - **mutation** (`SWEGym-Medium-...` and above): bugs put into unmodified source distributions of real projects, which
      are fetched once, by hash, from the package index that pip uses.
    - **release** (`SWEGym-Release-v0`): what a real release repaired, between two consecutive source distributions.
    - **dataset** (`SWEGym-Custom-v0` with `tasks=PATH_OR_HUB_ID`): rows of SWE-Gym, SWE-bench and the like, or tasks that
      `textagent-gym prepare` made.

    Everything that an agent causes to run, runs in a sandbox; what protects an episode stands in its task card.

    ## Action space

    With `interface="tools"`, one JSON object such as `{"tool": "view", "path": "src/x.py"}`; the first observation lists the
    tools. With `"bash"`, one command for bash in the repository, alone or in one fenced code block; `submit` submits, as
    does printing `COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT` on the first line. With `"choice"`, the number of an edit on the
    list, which makes it or, where it is made already, takes it back; or `submit`.

    ## Observation space

    At reset the task in words, with hints as `hint_level` says; then what the tool, the command or the tests said. The
    middle of an observation of more than 10,000 characters is left out.

    ## Rewards

    The sub-goals are the groups of tests that the bugs break, one group a bug (for releases and data sets the failing
    tests, in at most ten groups). A group counts while all its tests pass and every test that passed at the start still
    does: breaking something takes all credit away until it works again. The last sub-goal completes at `submit`, if
    everything is green. So submitting at once returns 0, the reference repair exactly 1, and what was repaired in
    part is paid as `reward_density` says.

    ## Episode end

    Terminated by `submit`, whatever the tests say, and by nothing else; truncated after `max_steps`.

    ## Knobs

    | knob | unit |
    | --- | --- |
    | `state_space_size` | source files of the repository: a selection among projects |
    | `action_space_size` | the first of edit, submit, view, test, search, list, create, undo, bash; or edits on offer |
    | `solution_length` | bugs; hunks of the reference repair for releases and data sets |
    | `reward_density` | share of the sub-goals that pay when reached |

    Args:
        origin: Source of the tasks: "bundled", "mutation" or "release"; with `tasks`, "dataset".
        index: Folder of tasks that `textagent-gym prepare swe` has made, in place of the index of this package; with
            `SWEGym-Custom-v0` all of them, with other ids those of their sizes.
        tasks: File, folder or hub id of tasks of one's own (.jsonl, .json, .parquet, a swebench task folder, Harbor task
            folders that `textagent-gym export` made).
        interface: Form of an action: "tools", "bash" or "choice".
        state_space_size: Source files, exactly; default any number.
        action_space_size: Tools or candidate edits; default 9 tools, or 8 candidates.
        solution_length: Bugs (hunks), exactly; default any number.
        min_state_space_size: Fewest source files.
        max_state_space_size: Most source files.
        min_solution_length: Fewest bugs (hunks).
        max_solution_length: Most bugs (hunks).
        min_failing_tests: Fewest tests that fail at the start, in mutation tasks of an index.
        max_failing_tests: Most of them.
        min_changed_lines: Fewest lines that the reference repair changes, in mutation tasks of an index.
        max_changed_lines: Most of them.
        min_call_distance: Fewest calls between the nearest failing test and a bug's function, the largest over the bugs; 1
            is a direct call. In mutation tasks of an index.
        max_call_distance: Most of them.
        reward_density: Share of the sub-goals that pay when reached; default 0.
        statements: Text of mutation tasks: "short" says how many bugs there are, "report" what was called, expected and got
            in a failing test of each bug, without the names of functions that have one.
        hint_level: 0 nothing, 1 also the files with bugs, 2 also the functions, 3 also the failing tests, 4 also the kind of
            each bug.
        tests_visible: True if the grading tests are among the files. Without, their files are missing, or are as they
            were before the repair that brought them.
        rebase: True if rows of `tasks` that live in an image are moved to the nearest earlier source distribution, when they
            are played first: see `textagent_gym.envs.swe.sources.rebase`. Scores on them are not those of the data set.
        sandbox: "local", or "docker" for tasks that live in container images, through Docker or podman.
        allow_weaker: True if Landlock alone may protect the host where bubblewrap cannot run.
        allow_unsafe: True if nothing at all may protect the host where neither can.
        command_seconds: Time limit of one command, in seconds.
        **options: The options of every environment, see `textagent_gym.core.TextAgentEnv`.

    Raises:
        TypeError: An argument is unknown or has the wrong type.
        ValueError: An argument is out of its range, or no task has what was asked for.
        gymnasium.error.DependencyNotInstalled: The extra `swe` is not installed.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: Nothing here can protect the host, and no weaker way was
            allowed; no container engine answers, or it does not have a task's image (at reset).
        OSError: A source distribution cannot be fetched (at reset).
    """

    exact_text: ClassVar[bool] = False
    units: ClassVar[dict[str, str]] = {
        "state_space_size": "source files",
        "action_space_size": "tools",
        "solution_length": "bugs or hunks",
    }
    distractor_nouns: ClassVar[tuple[str, ...]] = (
        "function", "module", "test", "loop", "string", "commit", "number", "name", "line", "error",
    )  # fmt: skip

    def __init__(
        self,
        *,
        origin: Origin = "mutation",
        index: str | None = None,
        tasks: str | None = None,
        interface: Interface = "tools",
        state_space_size: int | None = None,
        action_space_size: int | None = None,
        solution_length: int | None = None,
        min_state_space_size: int | None = None,
        max_state_space_size: int | None = None,
        min_solution_length: int | None = None,
        max_solution_length: int | None = None,
        min_failing_tests: int | None = None,
        max_failing_tests: int | None = None,
        min_changed_lines: int | None = None,
        max_changed_lines: int | None = None,
        min_call_distance: int | None = None,
        max_call_distance: int | None = None,
        reward_density: float = 0.0,
        statements: Literal["short", "report"] = "short",
        hint_level: int = 0,
        tests_visible: bool = True,
        rebase: bool = False,
        sandbox: Literal["local", "docker"] = "local",
        allow_weaker: bool = False,
        allow_unsafe: bool = False,
        command_seconds: float = 30.0,
        **options: Unpack[EpisodeOptions],
    ) -> None:
        check_choice("interface", interface, get_args(Interface))
        origin = source_of(origin, index, tasks)
        check_choice("statements", statements, ("short", "report"))
        check_integer("hint_level", hint_level, 0, len(HINT_LEVELS) - 1)
        check_choice("tests_visible", tests_visible, (True, False))
        check_choice("rebase", rebase, (True, False))
        check_choice("sandbox", sandbox, ("local", "docker"))
        if sandbox == "docker" and tasks is None:
            raise ValueError("expected sandbox='docker' with tasks=PATH_OR_HUB_ID that live in images, got no tasks")
        if rebase and (tasks is None or sandbox == "docker"):
            raise ValueError(
                "expected rebase=True with tasks=PATH_OR_HUB_ID and sandbox='local', got another combination"
            )
        check_number("command_seconds", command_seconds, 0.1, 3600)
        if interface == "choice" and (tasks is not None or origin == "release"):
            raise ValueError(
                "expected interface='choice' with mutation tasks of the index, whose wrong edits are known"
            )
        sizes = {"state_space_size": state_space_size, "solution_length": solution_length}
        bounds = {
            "min_state_space_size": min_state_space_size,
            "max_state_space_size": max_state_space_size,
            "min_solution_length": min_solution_length,
            "max_solution_length": max_solution_length,
        }
        difficulty = {
            "min_failing_tests": min_failing_tests,
            "max_failing_tests": max_failing_tests,
            "min_changed_lines": min_changed_lines,
            "max_changed_lines": max_changed_lines,
            "min_call_distance": min_call_distance,
            "max_call_distance": max_call_distance,
        }
        for name, value in {**sizes, **bounds, **difficulty}.items():
            if value is not None:
                check_integer(name, value, low=1)
        self._size = actions_asked(interface, action_space_size)
        self._interface: Interface = interface
        self._tools = tools.TOOLS[: self._size] if interface == "tools" else ()
        self.rules = rules_of(interface, self._tools)
        asked = {**sizes, "action_space_size": self._size, **bounds, **difficulty, "reward_density": reward_density}
        requested: dict[str, float] = {name: value for name, value in asked.items() if value is not None}
        super().__init__(requested=requested, reward_density=reward_density, **options)
        if interface != "choice":
            shown = (
                tools.examples(self._tools)
                if interface == "tools"
                else ("ls", "git --version", "cat README.md", "submit")
            )
            self.action_space = AnyText(MAX_ACTION, examples=shown)
        self._instances = custom_instances(tasks, rebase)
        if sandbox == "docker":
            self._instances = in_images(self._instances)
        self._rebase = rebase
        self._origin: Origin = origin
        self._index = INDEX if index is None else Path(index).resolve()
        offered = (
            from_index(self._origin, self.split, self._index)
            if tasks is None
            else from_instances(self._instances.values(), self.split)
        )
        where = f"origin {origin!r} in the split {self.split!r}" if tasks is None else "these tasks"
        self._offered = filter_by_size(offered, sizes, bounds, where)
        self._offered = filter_by_difficulty(self._offered, difficulty, self._index)
        self._statements = statements
        self._of_project: dict[str, list[str]] = {}
        for name, task in self._offered.items():
            self._of_project.setdefault(task.project, []).append(name)
        self._hint_level = hint_level
        self._tests_visible = tests_visible
        self._limits = Limits(seconds=command_seconds)
        self._sandbox: Sandbox | None = None  # each task has its own, of an engine that is seen to answer
        if sandbox == "docker":
            engine()
        else:
            self._sandbox = choose_sandbox(allow_weaker=allow_weaker, allow_unsafe=allow_unsafe)
        self._workspace = Workspace({})
        self._applied: frozenset[str] = frozenset()
        self._grading_report: GradingReport | None = None

    @property
    def backend(self) -> str:
        """Protection of the host."""
        return "container" if self._sandbox is None else self._sandbox.protection.name

    @property
    def task_ids(self) -> tuple[str, ...] | None:
        """The tasks that were selected, in the order of the index."""
        return tuple(self._offered)

    @property
    def kinds(self) -> tuple[Origin, ...]:
        """Origins of the tasks that were selected, sorted."""
        return tuple(sorted({task.origin for task in self._offered.values()}))

    @property
    def shapes(self) -> tuple[tuple[str, int], ...]:
        """Project and number of edits of the tasks that were selected, each pair once, sorted."""
        return tuple(sorted({(task.project, task.num_edits) for task in self._offered.values()}))

    @property
    def index(self) -> Path:
        """Folder of the index that the tasks come from, where they come from one."""
        return self._index

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools on offer, with `interface="tools"`; none with the others."""
        return self._tools

    @property
    def grading_report(self) -> GradingReport | None:
        """Grading report of the grader on the present files, or None before the first change."""
        return self._grading_report

    def grade(self) -> GradingReport:
        """Grade the present files; the report is remembered, so that a second call costs nothing."""
        prepared = self.task.prepared
        # Hidden tests are missing from the agent's tree; that is no change of the agent's.
        self._grading_report = grade(prepared.test_spec, self._workspace.changes, self._sandbox_of(prepared.instance))
        return self._grading_report

    @property
    def patch(self) -> str:
        """Unified diff of the agent's changes to text files; bytes that are no UTF-8 are surrogate escapes."""
        return make_patch(patch_texts(self._workspace.base), patch_texts(self._workspace.files))

    def parse_shorthand(self, line: str) -> str:
        """Return a call of a tool from words, such as `view src/x.py 10 40`."""
        return tools.typed_call(line, self._tools)

    def query_debug(self, word: str) -> str | None:
        """Return `issue`, `files` and `diff`: the task, the repository's files, and what was changed so far."""
        task = self.task
        if word == "issue":
            return statement(task.prepared.instance, self._hint_level)
        if word == "files":
            return "\n".join(sorted(self._workspace.files))
        if word == "diff":
            shown = make_patch(texts(self._workspace.base), texts(self._workspace.files))
            return shown or "Nothing was changed yet."
        return None

    def _new_task(self) -> SweTask:
        projects = list(self._of_project.values())
        names = projects[self.np_random.integers(len(projects))]
        return self._find_task(names[self.np_random.integers(len(names))])

    def instance_of(self, task_id: str) -> tuple[TaskInstance, Sandbox]:
        """Return the instance of a task of this environment, and the sandbox that it is played in.

        Raises:
            ValueError: There is no such task, or it cannot be moved to an archive.
        """
        if task_id not in self._offered:
            raise ValueError(
                f"expected one of the {len(self._offered)} task_ids of this environment, got {task_id!r:.120}"
            )
        instance = self._instances.get(task_id) or indexed_instance(self._origin, task_id, self._index)
        if self._rebase and instance.origin == "dataset" and instance.sdist is None:
            from textagent_gym.envs.swe.sources.rebase import rebased

            instance = self._instances[task_id] = rebased(instance, self._sandbox_of(instance))
        sandbox = self._sandbox_of(instance)
        if self._statements == "report" and instance.origin in ("bundled", "mutation") and instance.bugs:
            from textagent_gym.envs.swe.synthesis.reports import with_report

            instance = with_report(instance, sandbox)
        return instance, sandbox

    def _find_task(self, task_id: str) -> SweTask:
        instance, sandbox = self.instance_of(task_id)
        return make_swe_task(
            prepare_task(instance, sandbox),
            split=self.split,
            interface=self._interface,
            size=self._size,
            hint_level=self._hint_level,
            tests_visible=self._tests_visible,
            protection=sandbox.protection,
            in_image=self._sandbox is None,
            index=self._index,
        )

    def _sandbox_of(self, instance: TaskInstance) -> Sandbox:
        return self._sandbox or container_sandbox(instance.image)

    def _begin(self, task: SweTask) -> StepResult:
        self._enter(task)
        instance = task.prepared.instance
        text = (
            f"Repository: {instance.repo} {instance.version}".rstrip()
            + f" ({task.prepared.num_files} source files)\n\n"
        )
        text += statement(instance, self._hint_level)
        if task.choices is not None:
            text += f"\n\nEdits:\n{task.choices.listing()}"
        return self._turn_of(text, done=0)

    def _enter(self, task: SweTask) -> None:
        """Open the task's files."""
        seconds = time_limit(task.prepared.test_spec.seconds)
        self._workspace = Workspace(task.base)
        sandbox = self._sandbox_of(task.prepared.instance)
        self._shell = Shell(self._workspace, sandbox, self._limits, seconds, task.prepared.test_spec.requirements)
        self._toolbox = tools.Toolbox(self._workspace, self._shell)
        self._applied = frozenset()
        self._grading_report = None

    def _checked(self, command: str) -> tuple[str, str | None]:
        """Return the action as it is: it may hold anything, and a tool says what is wrong with it."""
        return command, None

    def _play(self, command: str) -> StepResult:
        if self._interface == "choice":
            return self._choose(command)
        if self._interface == "bash":
            return self._run(command)
        call = tools.read_call(command, self._tools)
        if isinstance(call, str):
            return self._turn_of(f"Nothing was done: {call}.", valid=False)
        name, arguments = call
        if name == "submit":
            return self._submit()
        answer = self._toolbox.call(name, arguments)
        return self._turn_of(answer.text, valid=answer.valid)

    def _run(self, action: str) -> StepResult:
        command, complaint = read_command(action)
        if complaint is not None:
            return self._turn_of(f"Nothing was done: {complaint}.", valid=False)
        if command.strip() == "submit":
            return self._submit()
        if not command.strip() or "\0" in command:
            return self._turn_of("Nothing was done: expected a command for bash.", valid=False)
        try:
            ran = self._shell.run(command)
        except UnwritableTreeError as error:
            return self._turn_of(f"Nothing was done: {error}.", valid=False)
        if ran.returncode == 0 and ran.output.lstrip().partition("\n")[0].strip() == SUBMIT_MARK:
            return self._submit()
        return self._turn_of(tools.shortened(ran.to_observation))

    def _choose(self, command: str) -> StepResult:
        task = self.task
        assert task.choices is not None
        if command.strip().lower() == "submit":
            return self._submit()
        chosen = task.choices.chosen(command)
        if chosen is None:
            last = len(task.choices.commands)
            text = f"Nothing was done: expected the number of an edit, from 1 to {last}, or submit."
            return self._turn_of(text, valid=False)
        made = chosen not in self._applied
        self._applied ^= {chosen}
        self._workspace.become(task.choices.changes(self._workspace.base, self._applied))
        report = self.grade()
        result = (
            f"Edit {chosen} is {'made' if made else 'taken back'}. Of the tests that failed {report.num_failing} still "
            f"fail; of those that passed {report.num_broken} are broken."
        )
        made_now = ", ".join(sorted(self._applied)) or "none"
        return self._turn_of(f"{result} Edits that are made: {made_now}.")

    def _submit(self) -> StepResult:
        report = self.grade()
        done = sum(report.groups_done)
        result = "all tests pass" if report.resolved else f"{done} of {len(report.groups_done)} parts are repaired"
        why = f" ({report.reason})" if report.reason else ""
        return self._turn_of(f"Submitted: {result}{why}.", done=done, won=report.resolved, ended=True)

    def _turn_of(
        self, text: str, *, done: int | None = None, valid: bool = True, won: bool = False, ended: bool = False
    ) -> StepResult:
        if done is None:
            done = sum(self.grade().groups_done)
        task = self.task
        offered = None if task.choices is None else (*task.choices.commands, "submit")
        return StepResult(text, done, won=won, ended=ended, valid=valid, admissible=offered, points=float(won))

    def _snapshot_backend(self) -> Any:
        return self._workspace.snapshot(), self._applied

    def _restore_backend(self, task: SweTask, snapshot: Any) -> None:
        self._enter(task)
        files, self._applied = snapshot
        self._workspace.restore(files)


def source_of(origin: Origin, index: str | None, tasks: str | None) -> Origin:
    """Return the origin of an environment's tasks: with an index of one's own "mutation".

    Raises:
        ValueError: The options exclude each other, or there are no tasks.
    """
    check_choice("origin", origin, ("bundled", "mutation", "release", "dataset") if tasks is None else get_args(Origin))
    if index is not None:
        if tasks is not None or origin not in ("mutation", "dataset"):
            raise ValueError(f"expected index=FOLDER without tasks and without origin={origin!r}, got both")
        return "mutation"
    if tasks is None and origin == "dataset":
        raise ValueError("expected tasks=PATH_OR_HUB_ID or index=FOLDER for SWEGym-Custom-v0, got neither")
    return origin
