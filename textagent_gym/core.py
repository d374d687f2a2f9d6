"""The one base class of every environment: strings in, strings out, integers of progress in between.

A domain makes tasks and plays commands; everything that all domains promise alike happens here, once: which actions reach
the backend, what they pay, when an episode is cut, and what `info` says.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic

import gymnasium as gym
from gymnasium.error import ResetNeeded

from textagent_gym.contract import RewardScale, Snapshot, Split, StepResult, TaskCard, TaskT
from textagent_gym.mechanics.disturbances import (
    FAULT_MESSAGE,
    GENERAL_NOUNS,
    MAX_DISTRACTORS,
    EpisodeStream,
    check_fault_rate,
)
from textagent_gym.mechanics.infos import LazyInfo
from textagent_gym.mechanics.knobs import check_choice, check_integer, check_number
from textagent_gym.mechanics.rewards import MilestoneReward
from textagent_gym.mechanics.spaces import AnyText
from textagent_gym.wrappers import (
    ACTION_FORMS,
    FORM_RULES,
    NUMBER_RULE,
    ActionForm,
    Memory,
    as_action,
    choose_command,
    parse_action,
    unchosen_message,
    unparsed_message,
    with_admissible,
    with_numbers,
)

MAX_OBSERVATION = 1_000_000
"""Longest observation, in characters."""

MAX_ACTION = 100_000
"""Longest action in the action space, in characters; a longer one is answered, not refused by an exception."""

MAX_COMMAND = 150
"""Longest command that reaches a backend, in characters."""


class TextAgentEnv(gym.Env[str, str], Generic[TaskT]):
    """A Gymnasium environment of strings, generic in the domain's type of tasks.

    Subclasses implement `backend`, `_new_task`, `_find_task`, `_begin`, `_play`, `_snapshot_backend` and
    `_restore_backend`, and give `requested` and `splits`; all other arguments are options of every environment.

    Args:
        requested: Knob -> value asked for, for the task card (given by the subclass).
        splits: Splits of the domain (given by the subclass).
        reward_density: Share of the sub-goals that pay when reached, in [0, 1]; 0 pays success alone.
        reward_scale: "unit" pays milestones that sum to 1; "native" pays the domain's own points.
        split: Split of the tasks: "train" or "test", or another of `splits`.
        max_steps: Step budget; default 3 times the reference solution. An episode cut by it is truncated.
        preamble: True if the first observation starts with the rules of the game.
        show_admissible: True if each observation lists the admissible commands.
        by_number: True if each observation numbers them, and an action is such a number.
        history: Number of earlier turns repeated before each observation.
        action_format: Form of an action: "plain", "tag" or "last_line".
        invalid_penalty: Reward subtracted for each invalid command, at least 0.
        distractors: Number of sentences, 0 to 100, that are added to each observation: true in every world, and of no
            use for the task (arXiv 2601.18217).
        fault_rate: Probability, in [0, 1), that a command fails by chance: it is answered by a message, changes nothing,
            pays 0 and costs a step. Sentences and failures are drawn from the seed, and change no task.
        expose_solution: True if `info["solution"]` is given at reset.
        render_mode: None or "ansi" (`render` returns the last observation).

    Raises:
        TypeError: An option is unknown or has the wrong type.
        ValueError: An option is out of its range; the message names the range.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]

    units: ClassVar[dict[str, str]]
    """Unit of each size knob in this domain."""

    rules: str
    """The preamble's description of the world and of its commands."""

    exact_text: ClassVar[bool] = True
    """True if the same actions give the same observations to the byte on every machine."""

    distractor_nouns: ClassVar[tuple[str, ...]] = GENERAL_NOUNS
    """Things that `distractors` are about; their plural ends in s."""

    barred_verbs: ClassVar[frozenset[str]] = frozenset()
    """First words that speak to the backend and not to the world; answered here and never passed on."""

    def __init__(
        self,
        *,
        requested: dict[str, float],
        splits: tuple[Split, ...] = ("train", "test"),
        reward_density: float = 0.0,
        reward_scale: RewardScale = "unit",
        split: Split = "train",
        max_steps: int | None = None,
        preamble: bool = True,
        show_admissible: bool = False,
        by_number: bool = False,
        history: int = 0,
        action_format: ActionForm = "plain",
        invalid_penalty: float = 0.0,
        distractors: int = 0,
        fault_rate: float = 0.0,
        expose_solution: bool = False,
        render_mode: str | None = None,
    ) -> None:
        check_number("reward_density", reward_density, 0, 1)
        check_choice("reward_scale", reward_scale, ("unit", "native"))
        check_choice("split", split, splits)
        if max_steps is not None:
            check_integer("max_steps", max_steps, low=1)
        check_integer("history", history, low=0)
        check_choice("action_format", action_format, ACTION_FORMS)
        switches = {"preamble": preamble, "show_admissible": show_admissible, "by_number": by_number}
        for name, value in {**switches, "expose_solution": expose_solution}.items():
            check_choice(name, value, (True, False))
        check_number("invalid_penalty", invalid_penalty, low=0)
        check_integer("distractors", distractors, 0, MAX_DISTRACTORS)
        check_fault_rate(fault_rate)
        check_choice("render_mode", render_mode, (None, "ansi"))
        self.observation_space = AnyText(MAX_OBSERVATION)
        self.action_space = AnyText(MAX_ACTION)
        self.render_mode = render_mode
        self.split: Split = split
        self._requested = requested
        self._reward_density = reward_density
        self.reward_scale: RewardScale = reward_scale
        self._max_steps_asked = max_steps
        self._preamble = preamble
        self._show_admissible = show_admissible
        self._by_number = by_number
        self._action_format: ActionForm = action_format
        self._invalid_penalty = invalid_penalty
        self._expose_solution = expose_solution
        self._memory = Memory(history)
        self._num_distractors = distractors
        self._fault_rate = fault_rate
        self._stream = EpisodeStream()
        self._task: TaskT | None = None
        self._over = True
        self._seen = ""

    # What a domain implements.

    @property
    def task_ids(self) -> tuple[str, ...] | None:
        """Names of all tasks of this split, or None where there is no end of them."""
        return None

    @property
    @abstractmethod
    def backend(self) -> str:
        """Name of the program that plays the tasks, for the task card."""

    @abstractmethod
    def _new_task(self) -> TaskT:
        """Draw a task; all randomness comes from `self.np_random`."""

    @abstractmethod
    def _find_task(self, task_id: str) -> TaskT:
        """Return the task of that name; raises ValueError where there is none."""

    @abstractmethod
    def _begin(self, task: TaskT) -> StepResult:
        """Start `task` from its beginning."""

    @abstractmethod
    def _play(self, command: str) -> StepResult:
        """Play one clean command."""

    @abstractmethod
    def _snapshot_backend(self) -> Any:
        """Return the state that `_restore_backend` takes back."""

    @abstractmethod
    def _restore_backend(self, task: TaskT, snapshot: Any) -> None:
        """Go back to a snapshot of the backend."""

    def plan(self) -> tuple[str, ...] | None:
        """Return commands that solve the task from here, as few as the planner finds, or None where it knows no way.

        For experts that correct a learner wherever it went; `agents.ReplanningAgent` plays them.
        """
        return None

    def parse_shorthand(self, line: str) -> str:
        """Return the action that a person means who plays by hand and types `line`."""
        return line

    def query_debug(self, word: str) -> str | None:
        """Return the answer to a question of a human player that costs no step; None if `word` is no such question."""
        return None

    def _commands_now(self) -> tuple[str, ...] | None:
        """Return the commands that do something now, sorted, or None where the domain knows no such list."""
        return self._turn.admissible

    def _unreadable(self, command: str) -> str | None:
        """Return why the backend cannot read `command`, or None where it can."""
        return None

    # What all domains share.

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds the draws from here on; the same seed gives the same tasks everywhere.
            options: `{"task_id": name}` plays that task; nothing else is understood.

        Raises:
            ValueError: An option is unknown, or no task has that name.
        """
        super().reset(seed=seed)
        self._stream.start(self.np_random_seed, is_new=seed is not None)
        unknown = set(options or ()) - {"task_id"}
        if unknown:
            raise ValueError(f"expected reset options among 'task_id', got {', '.join(map(repr, sorted(unknown)))}")
        task_id = (options or {}).get("task_id")
        if not isinstance(task_id, str | None):
            raise ValueError(f"expected task_id to be a string, got {task_id!r:.120}")
        self._task = self._new_task() if task_id is None else self._find_task(task_id)
        self._reward = MilestoneReward(self._task.subgoals_total, self._reward_density)
        self._turn = self._begin(self._task)
        self._steps = 0
        self._over = False
        info = self._info(self._subgoals_done())
        info["task_card"] = copy.deepcopy(self._card())
        if self._expose_solution and self._task.solution:
            info["solution"] = self._solution()
        return self._view(self._memory.start(self._distracted(self.initial_text()))), info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action: one command of the world, in the form that `action_format` asks for.

        What a model does wrong is answered by an observation. An action of several commands, of control characters, or
        one that speaks to the backend rather than to the world, never reaches the backend.

        Raises:
            TypeError: `action` is not a string.
            gymnasium.error.ResetNeeded: The episode is over, or none was started.
        """
        if not isinstance(action, str):
            raise TypeError(f"expected an action of type str, got {type(action).__name__}: {action!r:.80}")
        if self._over:
            raise ResetNeeded("expected reset() before step(): no episode is running")
        command, complaint = self._read(action)
        if complaint is not None:
            turn = self._unplayed(complaint, valid=False)
        elif self._fault_rate and self._stream.fails(self._steps, self._fault_rate):
            turn = self._unplayed(FAULT_MESSAGE, valid=False)._replace(faulted=True)
        else:
            turn = self._play(command)
        return self._advance(command if self._by_number else action, turn)

    def skip_turn(self, action: str, text: str, *, valid: bool = True) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Spend a step on an action that does not reach the world, answered by `text`; what it returns is as of `step`.

        For those who play several players in one world, of whom one speaks or waits.

        Raises:
            gymnasium.error.ResetNeeded: The episode is over, or none was started.
        """
        if self._over:
            raise ResetNeeded("expected reset() before skip_turn(): no episode is running")
        return self._advance(action, self._unplayed(text, valid=valid))

    def replace_observation(self, text: str) -> str:
        """Return the last observation with `text` for its words, and with the commands that are admissible now.

        For those who change the world between two steps of this environment, and have to say so.
        """
        self._turn = self._turn._replace(text=text, admissible=self._commands_now())
        return self._view(self._memory.replace(self._distracted(text)))

    def initial_text(self) -> str:
        """Return the text of the last turn as an episode begins with it: after the rules, if these are requested."""
        return f"{self._rules()}\n\n{self._turn.text}" if self._preamble else self._turn.text

    def _unplayed(self, text: str, *, valid: bool) -> StepResult:
        """Return the result of a step in which nothing happened in the world."""
        before = self._turn
        return StepResult(text, before.subgoals_done, valid=valid, admissible=before.admissible, points=before.points)

    def _advance(self, action: str, turn: StepResult) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one step, whose result is `turn`; the history keeps `action`."""
        before, self._turn = self._turn, turn
        self._steps += 1
        terminated = turn.won or turn.lost or turn.ended
        truncated = not terminated and self._steps >= self.max_steps
        self._over = terminated or truncated
        done = self._subgoals_done()
        reward = self._reward.pay(0 if callable(done) else done)
        if self.reward_scale == "native":
            reward = float(turn.points - before.points)
        if not turn.valid and not turn.faulted:
            reward -= self._invalid_penalty
        text = self._distracted(turn.text) if self._num_distractors else turn.text
        return self._view(self._memory.tell(action, text)), reward, terminated, truncated, self._info(done)

    def render(self) -> str | None:
        """Return the last observation with `render_mode="ansi"`, None without."""
        return self._seen if self.render_mode == "ansi" else None

    @property
    def task(self) -> TaskT:
        """The task of the current episode.

        Raises:
            gymnasium.error.ResetNeeded: None was started.
        """
        if self._task is None:
            raise ResetNeeded("expected reset() first: no episode is running")
        return self._task

    @property
    def max_steps(self) -> int:
        """Step budget of the current episode."""
        return self._max_steps_asked or 3 * self.task.solution_length

    @property
    def steps(self) -> int:
        """Steps taken in the current episode."""
        _ = self.task  # raises where there is none
        return self._steps

    def snapshot(self) -> Snapshot[TaskT]:
        """Return the current point of the episode, to be given to `restore` of this or an equal environment."""
        return Snapshot(
            task=self.task,
            turn=self._turn,
            steps=self._steps,
            paid=self._reward.paid,
            over=self._over,
            memory=(self._memory.snapshot(), self._seen),
            backend=self._snapshot_backend(),
            stream=self._stream.key,
        )

    def restore(self, snapshot: Snapshot[TaskT]) -> None:
        """Go back to `snapshot`; the continuation is the one that would have followed it."""
        self._restore_backend(snapshot.task, snapshot.backend)
        self._task = snapshot.task
        self._turn = snapshot.turn
        self._steps = snapshot.steps
        self._over = snapshot.over
        memory, self._seen = snapshot.memory
        self._memory.restore(memory)
        self._reward = MilestoneReward(snapshot.task.subgoals_total, self._reward_density)
        self._reward.paid = snapshot.paid
        self._stream.key = snapshot.stream

    def _read(self, action: str) -> tuple[str, str | None]:
        """Return the command in `action`, and the complaint that answers it where it must not reach the backend."""
        if self._action_format == "plain" and not self._by_number and action in (self._turn.admissible or ()):
            return action, None  # what the backend itself offers is one command of the world
        command = parse_action(action, self._action_format)
        if command is None:
            return "", unparsed_message(self._action_format)
        if self._by_number:
            commands = self._turn.admissible
            chosen = choose_command(command, commands)
            return ("", unchosen_message(commands)) if chosen is None else (chosen, None)
        return self._checked(command)

    def _checked(self, command: str) -> tuple[str, str | None]:
        """Return the command as the backend takes it, and the complaint that answers it where it must not get there."""
        end = len(command)
        while end and (command[end - 1] == "." or command[end - 1].isspace()):
            end -= 1
        command = command[:end]
        return command, refusal(command, self.barred_verbs) or self._unreadable(command)

    def _distracted(self, text: str) -> str:
        """Return the words of the world, followed by the sentences of this step that do not matter."""
        return self._stream.add_distractors(text, self._steps, self._num_distractors, self.distractor_nouns)

    def _view(self, text: str) -> str:
        commands = self._turn.admissible
        if self._by_number:
            text = with_numbers(text, commands)
        elif self._show_admissible:
            text = with_admissible(text, commands)
        self._seen = text
        return text

    def _rules(self) -> str:
        number = f" {NUMBER_RULE}" if self._by_number else ""
        return f"{self.rules} {FORM_RULES[self._action_format]}{number}"

    def _solution(self) -> tuple[str, ...]:
        task = self.task
        if self._by_number and task.solution_numbers is not None:
            commands = tuple(map(str, task.solution_numbers))
        else:
            commands = task.solution
        return tuple(as_action(command, self._action_format) for command in commands)

    def _subgoals_done(self) -> int | Callable[[], int]:
        """Return the sub-goals that stand, or, where success alone pays and has not come, a function that counts them."""
        total, done = self.task.subgoals_total, self._turn.subgoals_done
        if self._turn.won:
            return total
        # A finished world that is not won has nothing; one that is not finished lacks at least one sub-goal.
        if self._turn.lost:
            return 0
        if callable(done) and self._reward.pays_success_alone:
            return lambda: min(max(done(), 0), total - 1)
        return min(max(done() if callable(done) else done, 0), total - 1)

    def _info(self, subgoals_done: int | Callable[[], int]) -> dict[str, Any]:
        task = self.task
        info = {
            "task_id": task.task_id,
            "success": self._turn.won,
            "subgoals_done": subgoals_done,
            "subgoals_total": task.subgoals_total,
            "valid_command": self._turn.valid,
            "admissible_commands": self._turn.admissible,
        }
        return LazyInfo(info) if callable(subgoals_done) else info

    def _card(self) -> TaskCard:
        task = self.task
        counts = task.admissible_counts
        return TaskCard(
            requested=self._requested,
            measured=task.measured,
            units=self.units,
            solution_length=task.solution_length,
            solution_is_shortest=task.solution_is_shortest,
            mean_admissible=sum(counts) / len(counts) if counts else None,
            max_admissible=max(counts) if counts else None,
            steps_per_reward=task.solution_length / self._reward.milestones,
            max_steps=self.max_steps,
            split=task.split,
            backend=self.backend,
            game_file=task.game_file,
            details=task.details,
        )


def refusal(command: str, barred_verbs: frozenset[str]) -> str | None:
    """Return why `command` must not reach a backend, or None: a step is one command of the world.

    Several commands in one line would buy several turns for one step; a backend's own verbs could save files, reset the
    game or end it.
    """
    if not command:
        return "Nothing was done: expected one command, got an empty one."
    if len(command) > MAX_COMMAND:
        return f"Nothing was done: expected a command of at most {MAX_COMMAND} characters, got {len(command)}."
    if "\n" in command or "\r" in command:
        return "Nothing was done: expected one command, got several lines."
    if not command.isprintable():
        return "Nothing was done: expected plain text, got a control character."
    words = command.lower().split()
    if "." in command or "then" in words:
        return "Nothing was done: expected one command at a time, got several."
    if words[0] in barred_verbs or words[0].startswith("tw-"):
        return f"Nothing was done: {words[0]!r} speaks to the program, not to the world."
    return None
