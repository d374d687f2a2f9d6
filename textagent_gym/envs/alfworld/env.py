"""ALFWorld as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, cast, get_args

from typing_extensions import Unpack

from textagent_gym.contract import Engine, EpisodeOptions, StepResult
from textagent_gym.core import TextAgentEnv
from textagent_gym.envs.alfworld import dataset
from textagent_gym.envs.alfworld.commands import meant, why_nothing
from textagent_gym.envs.alfworld.engine import NativeEngine
from textagent_gym.envs.alfworld.planning.model import AbstractState
from textagent_gym.envs.alfworld.planning.stages import num_stages, stages_done
from textagent_gym.envs.alfworld.reference import ReferenceEngine
from textagent_gym.envs.alfworld.room_map import draw_map
from textagent_gym.envs.alfworld.tasks import (
    MAX_OBJECTS,
    MAX_RECEPTACLES,
    MAX_SOLUTION_LENGTH,
    MIN_SOLUTION_LENGTH,
    find_task,
    make_task,
)
from textagent_gym.envs.alfworld.types import TASK_TYPES, AlfworldTask, TaskSpec, TaskType
from textagent_gym.mechanics.knobs import Knobs, check_choice

Backend = Literal["native", "alfworld"]
"""Engine that plays the games: the engine of this package, or the alfworld package."""

Subgoals = Literal["steps", "stages"]
"""Unit of progress."""


class ALFWorldEnv(TextAgentEnv[AlfworldTask]):
    """Household tasks in the rooms of ALFRED: find a thing, wash, heat or cool it, and put it where it belongs.

    A room has receptacles (cabinets, tables, a fridge) and portable objects in them. The content of a closed receptacle is
    not seen before it is opened, so that things have to be looked for. There are two kinds of games:

    - **generated** (`ALFWorld-Easy-Dense-v0` and the like): drawn without end in the 120 floor plans that the alfworld
      package carries, by its rules of what may lie where, with its domain, its grammar and its six types of task; long tasks
      join several. They need no data.
    - **real** (`ALFWorld-v0`): the games of ALFWorld's own splits, from the folder that `alfworld-download` fills.

    Both are played by the same engine, word for word as ALFWorld itself plays them. Scores on the real splits can be
    compared with published ALFWorld results; scores on generated tasks cannot.

    ## Action space

    One command per step, as a string: `look`, `inventory`, `go to RECEPTACLE`, `open RECEPTACLE`, `close RECEPTACLE`,
    `take OBJECT from RECEPTACLE`, `move OBJECT to RECEPTACLE`, `clean OBJECT with RECEPTACLE`, `heat ...`, `cool ...`,
    `slice OBJECT with OBJECT`, `use LAMP`, `examine THING`, `help`. Names carry numbers: `cabinet 3`. A command that cannot
    be carried out is answered by "Nothing happens." and costs a step.

    ## Observation space

    The game's own text: the receptacles of the room and the task at reset, the answer to the command after each step. With
    `preamble=True` the first observation starts with the rules in two sentences.

    ## Rewards

    ALFWorld itself pays 1 for success and nothing before. Here `reward_density` says which share of the sub-goals pays when
    reached. With `subgoals="steps"` these are the steps of the shortest solution: `subgoals_total` is its length, and
    `subgoals_done` that length minus the length of the shortest solution from here. With `subgoals="stages"` they are what
    the type of task names: find, take, clean or heat or cool, put down, for each object. Both are functions of the state
    alone: what is undone is paid back, and putting and taking earns nothing. A solved game returns 1 at every density.

    ## Episode end

    Terminated when the task is solved (no state of these games is lost); truncated after `max_steps`.

    ## Knobs

    | knob | unit | range |
    | --- | --- | --- |
    | `state_space_size` | receptacles in the room | 2 to 51 |
    | `action_space_size` | portable objects in the room | 1 to 80 |
    | `solution_length` | steps of the shortest solution | 3 to 60 |
    | `reward_density` | share of the sub-goals that pay | 0 to 1 |

    Generated tasks have exactly what is asked for, the solution proved shortest by a search; what no floor plan of the split
    can give raises at reset and says what can be given. For real games the knobs select: a number selects the games
    that have it, `min_...` and `max_...` those in a range.

    Args:
        games: "generated" or "real".
        task_types: Types of task, of the six; all of them by default.
        state_space_size: Receptacles; default 12 for generated games.
        action_space_size: Portable objects; default 18 for generated games.
        solution_length: Steps; default 8 for generated games.
        min_state_space_size: Fewest receptacles (real games).
        max_state_space_size: Most receptacles (real games).
        min_action_space_size: Fewest portable objects (real games).
        max_action_space_size: Most portable objects (real games).
        min_solution_length: Fewest steps (real games).
        max_solution_length: Most steps (real games).
        reward_density: Share of the sub-goals that pay when reached; default 0.
        subgoals: Unit of progress: "steps" or "stages".
        strict: True if only ALFWorld's own wording is understood. By default `put X in/on Y` and `move X to Y` both are,
            whichever the game's grammar has, and capitals, articles and spaces are free.
        explain: True adds the reason to "Nothing happens."
        backend: Engine that plays the games: "native", or "alfworld", the package itself, which is the reference and plays
            the rare game file whose domain or grammar the native engine does not know.
        **options: The options of every environment, see `textagent_gym.core.TextAgentEnv`; `split` is "train" or "test" for
            generated games, "train", "valid_seen" or "valid_unseen" for real ones.

    Raises:
        TypeError: An argument is unknown or has the wrong type.
        ValueError: An argument is out of its range, or no game has what was asked for.
        FileNotFoundError: The real games are not where they should be; the message says which command fetches them.
    """

    units: ClassVar[dict[str, str]] = {
        "state_space_size": "receptacles",
        "action_space_size": "portable objects",
        "solution_length": "steps",
    }
    rules: str = (
        "You are in a room and have a household task to do. Commands look like these: look, inventory, go to cabinet 1, "
        "open cabinet 1, take apple 1 from cabinet 1, move apple 1 to table 1, clean apple 1 with sinkbasin 1, "
        "heat apple 1 with microwave 1, cool apple 1 with fridge 1, use desklamp 1, examine apple 1."
    )

    distractor_nouns: ClassVar[tuple[str, ...]] = (
        "mug", "plate", "apple", "drawer", "cabinet", "pillow", "pencil", "candle", "towel", "lamp",
    )  # fmt: skip

    def __init__(
        self,
        *,
        games: Literal["generated", "real"] = "generated",
        task_types: Sequence[TaskType] | None = None,
        state_space_size: int | None = None,
        action_space_size: int | None = None,
        solution_length: int | None = None,
        min_state_space_size: int | None = None,
        max_state_space_size: int | None = None,
        min_action_space_size: int | None = None,
        max_action_space_size: int | None = None,
        min_solution_length: int | None = None,
        max_solution_length: int | None = None,
        reward_density: float = 0.0,
        subgoals: Subgoals = "steps",
        strict: bool = False,
        explain: bool = False,
        backend: Backend = "native",
        **options: Unpack[EpisodeOptions],
    ) -> None:
        check_choice("games", games, ("generated", "real"))
        check_choice("subgoals", subgoals, ("steps", "stages"))
        check_choice("strict", strict, (True, False))
        check_choice("explain", explain, (True, False))
        check_choice("backend", backend, ("native", "alfworld"))
        types = _checked_types(task_types)
        ranges = {
            "state_space_size": (state_space_size, min_state_space_size, max_state_space_size),
            "action_space_size": (action_space_size, min_action_space_size, max_action_space_size),
            "solution_length": (solution_length, min_solution_length, max_solution_length),
        }
        self._task_spec: TaskSpec | None = None
        self._entries: dict[str, dataset.Entry] = {}
        if games == "generated":
            knobs = _knobs(ranges, reward_density)
            super().__init__(requested={**vars(knobs)}, reward_density=reward_density, **options)
            self._task_spec = TaskSpec(
                num_receptacles=knobs.state_space_size,
                num_objects=knobs.action_space_size,
                solution_length=knobs.solution_length,
                task_types=types,
            )
        else:
            wanted: dict[str, float] = {name: exact for name, (exact, _, _) in ranges.items() if exact is not None}
            super().__init__(
                requested={**wanted, "reward_density": reward_density},
                splits=get_args(dataset.RealSplit),
                reward_density=reward_density,
                **options,
            )
            self._entries = dataset.select(cast(dataset.RealSplit, self.split), types, ranges)
        self._subgoals: Subgoals = subgoals
        self._strict = strict
        self._explain = explain
        self._backend: Backend = backend
        self._engine: Engine[AlfworldTask] = NativeEngine()

    @property
    def backend(self) -> str:
        """Name of the program that plays the games."""
        return "native" if isinstance(self._engine, NativeEngine) else "alfworld"

    @property
    def task_ids(self) -> tuple[str, ...] | None:
        """The real games that were selected, sorted; None for games that are drawn without end."""
        return None if self._task_spec is not None else tuple(self._entries)

    def plan(self) -> tuple[str, ...] | None:
        """Return commands that solve the task from here, proved to be as few as can be wherever the search closes."""
        task = self.task
        plan = task.planner.plan(self._engine.state) if task.planner is not None else None
        if plan is None or task.game is None:
            return None
        return tuple(map(task.game.command_of, plan.steps))

    def query_debug(self, word: str) -> str | None:
        """Return `map`: all receptacles, what is in them, and where the agent stands.

        None for games that only alfworld plays.
        """
        game = self.task.game
        return draw_map(self._engine.state, game.names) if word == "map" and game is not None else None

    def _new_task(self) -> AlfworldTask:
        if self._task_spec is not None:
            seed = int(self.np_random.integers(2**31))
            return self._with_subgoals(make_task(replace(self._task_spec, split=self.split, seed=seed)))
        names = tuple(self._entries)
        return self._find_task(names[self.np_random.integers(len(names))])

    def _find_task(self, task_id: str) -> AlfworldTask:
        if self._task_spec is not None:
            return self._with_subgoals(find_task(task_id))
        if task_id not in self._entries:
            raise ValueError(
                f"expected one of the {len(self._entries)} task_ids of this environment, got {task_id!r:.160}"
            )
        return self._with_subgoals(dataset.load(cast(dataset.RealSplit, self.split), self._entries[task_id]))

    def _with_subgoals(self, task: AlfworldTask) -> AlfworldTask:
        """Return the task with the sub-goals that were asked for."""
        if task.planner is None or self._subgoals == "steps":
            return task
        return replace(task, subgoals_total=num_stages(task.planner.goals))

    def _begin(self, task: AlfworldTask) -> StepResult:
        self._load(task)
        return self._counted(self._engine.reset())

    def _play(self, command: str) -> StepResult:
        task, admissible = self.task, self._turn.admissible or ()
        if not self._strict and command not in admissible:
            command = meant(command, admissible)
        reply = self._engine.step(command)
        if self._explain and not reply.valid and task.game is not None:
            reason = why_nothing(command, task.game, self._engine.state)
            reply = reply._replace(text=f"{reply.text.rstrip('.')}: {reason}")
        return self._counted(reply)

    def _snapshot_backend(self) -> Any:
        return self._engine.snapshot()

    def _restore_backend(self, task: AlfworldTask, snapshot: Any) -> None:
        self._load(task)
        self._engine.restore(snapshot)

    def _commands_now(self) -> tuple[str, ...] | None:
        game = self.task.game
        return self._turn.admissible if game is None else tuple(sorted(game.commands(self._engine.state)))

    def _load(self, task: AlfworldTask) -> None:
        native = self._backend == "native" and task.game is not None
        if native != isinstance(self._engine, NativeEngine):
            self._engine = NativeEngine() if native else ReferenceEngine()
        self._engine.load(task)

    def _counted(self, result: StepResult) -> StepResult:
        """Return a result of the engine with the number of sub-goals that stand."""
        task, facts = self.task, self._engine.state
        if task.planner is None:
            return result
        if self._subgoals == "stages":
            return result._replace(subgoals_done=stages_done(facts, task.planner.goals))
        return result._replace(subgoals_done=partial(_steps_done, task, task.planner.abstract(facts)))


def _steps_done(task: AlfworldTask, node: AbstractState) -> int:
    assert task.planner is not None
    remaining = task.planner.remaining_from(node)
    return 0 if remaining is None else task.subgoals_total - remaining


def _checked_types(task_types: Sequence[TaskType] | None) -> tuple[TaskType, ...]:
    if task_types is None:
        return TASK_TYPES
    if isinstance(task_types, str) or not isinstance(task_types, Sequence) or not task_types:
        raise ValueError(f"expected task_types to be a list of some of {', '.join(TASK_TYPES)}, got {task_types!r}")
    for kind in task_types:
        check_choice("task_types", kind, TASK_TYPES)
    return tuple(kind for kind in TASK_TYPES if kind in task_types)


def _knobs(ranges: dict[str, dataset.Range], reward_density: float) -> Knobs:
    """Return the knobs of generated games."""
    for name, (_, low, high) in ranges.items():
        if low is not None or high is not None:
            raise ValueError(
                f"expected min_{name} and max_{name} with games='real' alone: generated games have exactly {name}"
            )
    exact = {name: asked for name, (asked, _, _) in ranges.items() if asked is not None}
    defaults = {"state_space_size": 12, "action_space_size": 18, "solution_length": 8}
    return Knobs(**{**defaults, **exact}, reward_density=reward_density).within(
        state_space_size=(2, MAX_RECEPTACLES),
        action_space_size=(1, MAX_OBJECTS),
        solution_length=(MIN_SOLUTION_LENGTH, MAX_SOLUTION_LENGTH),
    )
