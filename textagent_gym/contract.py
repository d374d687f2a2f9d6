"""The info dictionary, the task card, and the records and engines that a domain hands to `core`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypedDict

from typing_extensions import Self, TypeVar

from textagent_gym.wrappers import ActionForm

Split = Literal["train", "test", "valid_seen", "valid_unseen", "literature"]
"""Split of the tasks; no task is in two of them. The last two are ALFWorld's own names, for its real games alone."""

RewardScale = Literal["unit", "native"]
"""Scale of the reward: milestones, which sum to 1, or the domain's own points."""


class Info(TypedDict, total=False):
    """Entries of `info` at every reset and step; the last two only at reset.

    Attributes:
        task_id: Name of the task, by its content; `reset(options={"task_id": ...})` plays it again.
        success: True if the task is solved. `terminated` alone does not say so: a lost game is over, too.
        subgoals_done: Sub-goals completed now, from 0 to `subgoals_total`; equal to it if and only if `success`. Where
            success alone pays, it is counted when it is first read, so that nothing is searched where nobody asks.
        subgoals_total: Sub-goals of the task.
        valid_command: True if the last action was a command that the world carried out; True at reset. False also for a
            command that failed by chance (`fault_rate`).
        admissible_commands: The commands that do something now, sorted, or None where the domain knows no such list.
        task_card: Requested and measured difficulty of the task, see `TaskCard`.
        solution: Actions that solve the task, in the form that the options ask for; with `expose_solution=True` only,
            missing where the interface cannot give the reference.
    """

    task_id: str
    success: bool
    subgoals_done: int
    subgoals_total: int
    valid_command: bool
    admissible_commands: tuple[str, ...] | None
    task_card: TaskCard
    solution: tuple[str, ...]


class TaskCard(TypedDict, total=False):
    """Requested and measured sizes of one task.

    Attributes:
        requested: Knob -> value asked for; a knob that does not apply is missing.
        measured: Knob -> value counted in this task.
        units: Knob -> what it counts in this domain.
        solution_length: Steps of the reference solution.
        solution_is_shortest: True if a search proved that no solution is shorter.
        mean_admissible: Mean number of admissible commands before each step of the reference solution, or None.
        max_admissible: Largest such number, or None.
        steps_per_reward: Steps of the reference solution per milestone that pays.
        max_steps: Step budget of an episode.
        split: "train" or "test".
        backend: Engine that plays the task.
        game_file: File that holds the task, or None.
        details: Properties that only this domain has.
    """

    requested: dict[str, float]
    measured: dict[str, int]
    units: dict[str, str]
    solution_length: int
    solution_is_shortest: bool
    mean_admissible: float | None
    max_admissible: int | None
    steps_per_reward: float
    max_steps: int
    split: str
    backend: str
    game_file: str | None
    details: dict[str, Any]


class EpisodeOptions(TypedDict, total=False):
    """The options of every environment, whatever its domain; `TextAgentEnv` says what each means."""

    reward_scale: RewardScale
    split: Split
    max_steps: int | None
    preamble: bool
    show_admissible: bool
    by_number: bool
    history: int
    action_format: ActionForm
    invalid_penalty: float
    distractors: int
    fault_rate: float
    expose_solution: bool
    render_mode: str | None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One problem to solve; a domain may extend it with what its backend needs.

    Attributes:
        task_id: Name of the task, by its content.
        solution: Commands that solve it; none where no agent could give the known solution as commands.
        solution_is_shortest: True if a search proved that none is shorter.
        subgoals_total: Sub-goals, at least 1.
        measured: Knob -> value counted in this task.
        split: "train" or "test".
        admissible_counts: Number of admissible commands before each step of `solution`, or None.
        solution_numbers: Place of each command of `solution` among the admissible ones, from 1, or None.
        game_file: File that holds the task, or None.
        details: Properties that only this domain has, for the task card.
        num_reference_steps: Steps that a solution is taken to need where `solution` is empty.
    """

    task_id: str
    solution: tuple[str, ...]
    solution_is_shortest: bool
    subgoals_total: int
    measured: dict[str, int]
    split: str
    admissible_counts: tuple[int, ...] | None = None
    solution_numbers: tuple[int, ...] | None = None
    game_file: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    num_reference_steps: int = 1

    @property
    def solution_length(self) -> int:
        """Length of the solution, known or taken."""
        return len(self.solution) or self.num_reference_steps

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the task itself: nothing of it changes."""
        return self


TaskT = TypeVar("TaskT", bound=Task, default=Task)
"""A domain's type of tasks."""


class StepResult(NamedTuple):
    """Result of a reset or a command, from the backend to `core`.

    Attributes:
        text: The backend's own words: one contiguous slice of what it printed.
        subgoals_done: Sub-goals that stand now, or a function that counts them as of this result; need not be clamped.
        won: True if the task is solved.
        lost: True if it can be neither solved nor played on; it is worth nothing.
        ended: True if the agent ended the episode itself; it is worth what stands.
        valid: True if the command was carried out.
        admissible: Commands that do something now, sorted, or None where not known.
        points: The domain's own score, for `reward_scale="native"`.
        faulted: True if the command failed by chance (`fault_rate`) and never reached the backend.
    """

    text: str
    subgoals_done: int | Callable[[], int] = 0
    won: bool = False
    lost: bool = False
    ended: bool = False
    valid: bool = True
    admissible: tuple[str, ...] | None = None
    points: float = 0.0
    faulted: bool = False


PlayedT = TypeVar("PlayedT", bound=Task, contravariant=True)


class Engine(Protocol[PlayedT]):
    """Plays one game at a time; its results leave `subgoals_done` to the environment, which counts them in `state`."""

    @property
    def state(self) -> Any:
        """The world and what was completed in it, in the form that the domain's planner reads."""

    def load(self, task: PlayedT) -> None:
        """Make `task` the game that `reset` starts."""

    def reset(self) -> StepResult:
        """Start the loaded game from its beginning."""

    def step(self, command: str) -> StepResult:
        """Play one printable line."""

    def snapshot(self) -> Any:
        """Return the current point of the game, for `restore` of an engine that has loaded the same task."""

    def restore(self, snapshot: Any) -> None:
        """Go back to `snapshot`."""

    def close(self) -> None:
        """Free what the engine holds; a closed engine can load again."""


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[TaskT]):
    """A point of an episode to which `restore` goes back; opaque to users."""

    task: TaskT
    turn: StepResult
    steps: int
    paid: int
    over: bool
    memory: Any
    backend: Any
    stream: tuple[int, ...]
