"""TextWorld as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias, cast

import numpy as np
from gymnasium.utils.seeding import np_random
from typing_extensions import Unpack

from textagent_gym.contract import Engine, EpisodeOptions, Split, StepResult, TaskCard
from textagent_gym.core import TextAgentEnv
from textagent_gym.envs.textworld.engine import NativeEngine
from textagent_gym.envs.textworld.generation.files import file_tasks
from textagent_gym.envs.textworld.lines import BARRED_VERBS, unreadable
from textagent_gym.envs.textworld.reference import Inform7Engine
from textagent_gym.envs.textworld.story import StoryEngine, StoryTask
from textagent_gym.envs.textworld.tasks import (
    MAX_OBJECTS,
    MAX_ROOMS,
    MAX_SOLUTION_LENGTH,
    find_task,
    make_task,
)
from textagent_gym.envs.textworld.types import Challenge, Instructions, SimpleRewards, TaskSpec, TextWorldTask
from textagent_gym.envs.textworld.world.ascii_map import draw_map
from textagent_gym.envs.textworld.world.known import UnknownGameError
from textagent_gym.mechanics.knobs import Knobs, check_choice

Backend = Literal["native", "inform7"]
"""Engine that plays the games: the engine of this package, or the interpreter of the textworld package."""

AnyTask: TypeAlias = TextWorldTask | StoryTask

_ENGINES: dict[str, Callable[[], Engine[Any]]] = {
    "native": NativeEngine,
    "inform7": Inform7Engine,
    "jericho": StoryEngine,
}
"""Backend -> maker of its engine; story files have the last."""


class TextWorldEnv(TextAgentEnv[AnyTask]):
    """Quests in houses of rooms, containers, doors and keys, generated and played by Microsoft's TextWorld.

    The player walks between rooms, opens, unlocks and closes doors and containers, takes things and puts them somewhere,
    and eats food, until every quest of the game is completed. Games are drawn without end from a seed and kept in
    the cache folder.

    ## Action space

    One command per step, as a string: `look`, `inventory`, `go DIRECTION`, `examine THING`, `take THING`,
    `take THING from PLACE`, `drop THING`, `put THING on SUPPORTER`, `insert THING into CONTAINER`, `open`, `close`,
    `lock THING with KEY`, `unlock THING with KEY`, `eat FOOD`, and whatever else the game's parser understands. A command
    that cannot be carried out is answered in words and costs a step.

    ## Observation space

    The game's own text: the objective and the first room at reset, the answer to the command after each step, byte for
    byte what textworld prints without banner, prompt and status line. With `preamble=True` the first
    observation starts with the rules in two sentences.

    ## Rewards

    Sub-goals are steps of progress: `subgoals_total` is the length of the shortest solution and `subgoals_done` is that
    length minus the length of the shortest solution from here, so that every step along any shortest solution counts, a
    detour costs, and an alternative order of the same quest pays as well. `reward_density` says which share of the
    sub-goals pays when reached. A solved game returns 1 at every density. With `challenge="simple"` the sub-goals are the
    reward events of tw-simple's named setting. `reward_scale="native"` pays the game's own points instead.

    ## Episode end

    Terminated when the game is won or lost (see `info["success"]`); truncated after `max_steps`.

    ## Knobs

    | knob | unit | range |
    | --- | --- | --- |
    | `state_space_size` | rooms | 1 to 30 |
    | `action_space_size` | objects, without doors, player and inventory | 1 to 60 |
    | `solution_length` | steps of the shortest solution | 1 to 40 |
    | `reward_density` | share of the steps that pay | 0 to 1 |

    With `exact=True` games are drawn again until the measured knobs equal the requested ones, the solution proved shortest
    by exhaustive search. With `exact=False` they are what `tw-make custom --world-size STATE --nb-objects ACTION
    --quest-length SOLUTION` draws, which is what the literature used: sometimes more objects, sometimes a shorter
    solution; the task card says so. There, `split="literature"` plays the very game of `tw-make custom --seed SEED` at
    `reset(seed=SEED)`, so that results can be compared with published ones. These games belong to both splits.

    Args:
        state_space_size: Rooms; default 6.
        action_space_size: Objects; default 8.
        solution_length: Steps; default 8.
        reward_density: Share of the steps that pay when reached; default 0.
        exact: True if measured knobs must equal requested ones.
        instructions: Part of the solution that the objective states: "steps" (all of them, textworld's
            default), "goal" (the last of each quest), or "none".
        challenge: "custom"; "simple" for tw-simple, whose world is fixed: the four knobs then raise; or "file" for `game`.
        rewards: Reward setting of tw-simple: "sparse", "balanced" or "dense".
        game: Path of a game file made by `tw-make`, of another story file for the Z-machine (`.z3`, `.z4`, `.z5`, `.z8`), or
            of a folder of them, or a list of such paths: the only tasks then. The size knobs then raise, and the task card
            says what a game has.
        backend: Engine that plays the games: "native", or "inform7", the textworld package itself, which is the reference
            and plays the rare game file that the native engine does not model.
        **options: The options of every environment, see `textagent_gym.core.TextAgentEnv`.

    Raises:
        TypeError: An argument is unknown or has the wrong type.
        ValueError: An argument is out of its range; at `reset`, no game has what was asked for.
    """

    units: ClassVar[dict[str, str]] = {
        "state_space_size": "rooms",
        "action_space_size": "objects",
        "solution_length": "steps",
    }
    rules: str = (
        "You are playing a text adventure; reach its objective. Commands look like these: look, inventory, go north, "
        "open chest, examine table, take key, take key from chest, unlock door with key, put book on table, "
        "insert book into chest, drop book, eat apple."
    )
    distractor_nouns: ClassVar[tuple[str, ...]] = (
        "apple", "carrot", "key", "door", "table", "chest", "book", "lamp", "coin", "room",
    )  # fmt: skip
    barred_verbs: ClassVar[frozenset[str]] = BARRED_VERBS

    def __init__(
        self,
        *,
        state_space_size: int | None = None,
        action_space_size: int | None = None,
        solution_length: int | None = None,
        reward_density: float | None = None,
        exact: bool = True,
        instructions: Instructions = "steps",
        challenge: Challenge | Literal["file"] = "custom",
        rewards: SimpleRewards | None = None,
        game: str | Sequence[str] | None = None,
        backend: Backend = "native",
        **options: Unpack[EpisodeOptions],
    ) -> None:
        check_choice("instructions", instructions, ("steps", "goal", "none"))
        check_choice("challenge", challenge, ("custom", "simple", "file"))
        check_choice("backend", backend, ("native", "inform7"))
        check_choice("exact", exact, (True, False))
        sizes = {
            "state_space_size": state_space_size,
            "action_space_size": action_space_size,
            "solution_length": solution_length,
        }
        self._task_spec: TaskSpec | None = None
        self._file_tasks: dict[str, AnyTask] | None = None
        requested: dict[str, float] = {}
        if challenge == "file" or game is not None:
            if game is None:
                raise ValueError("expected game=PATH, the path of a game file made by tw-make, got none")
            _refuse(f"game={game!r}", {**sizes, "rewards": rewards})
            self._file_tasks = file_tasks(game)
            density = 0.0 if reward_density is None else reward_density
        elif challenge == "simple":
            _refuse("challenge='simple', whose world is fixed", {**sizes, "reward_density": reward_density})
            check_choice("rewards", rewards, ("sparse", "balanced", "dense"))
            density = 1.0  # every reward event of the setting pays
            self._task_spec = TaskSpec(
                challenge="simple", rewards=cast(SimpleRewards, rewards), instructions=instructions
            )
        else:
            _refuse("challenge='custom' (see reward_density)", {"rewards": rewards})
            knobs = Knobs(
                state_space_size=6 if state_space_size is None else state_space_size,
                action_space_size=8 if action_space_size is None else action_space_size,
                solution_length=8 if solution_length is None else solution_length,
                reward_density=0.0 if reward_density is None else reward_density,
            ).within(
                state_space_size=(1, MAX_ROOMS),
                action_space_size=(1, MAX_OBJECTS),
                solution_length=(1, MAX_SOLUTION_LENGTH),
            )
            requested = {**vars(knobs)}
            density = knobs.reward_density
            self._task_spec = TaskSpec(
                num_rooms=knobs.state_space_size,
                num_objects=knobs.action_space_size,
                solution_length=knobs.solution_length,
                exact=exact,
                instructions=instructions,
            )
        if options.get("split") == "literature" and (
            self._task_spec is None or self._task_spec.challenge != "custom" or exact
        ):
            raise ValueError(
                "expected an environment of tw-make's own games with split='literature' (exact=False and no other "
                f"challenge), got exact={exact}, challenge={challenge!r}"
            )
        splits: tuple[Split, ...] = ("train", "test", "literature")
        super().__init__(requested=requested, splits=splits, reward_density=density, **options)
        self._literature_seed: int | None = None
        self._asked_backend: Backend = backend
        self._backend: str = backend
        self._why, self._unmodelled = "", ""
        self._engine: Engine[Any] = _ENGINES[backend]()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode; see `TextAgentEnv.reset`.

        Raises:
            ValueError: With `split="literature"`, textworld makes no game from this seed.
        """
        self._literature_seed = seed if self.split == "literature" else None
        return super().reset(seed=seed, options=options)

    @property
    def backend(self) -> str:
        """Name of the program that plays the games."""
        return self._backend

    def close(self) -> None:
        """End the engine; the environment can be reset again."""
        self._engine.close()

    @property
    def task_ids(self) -> tuple[str, ...] | None:
        """The tasks of game files; None for games that are drawn without end."""
        return None if self._file_tasks is None else tuple(self._file_tasks)

    def task_spec_of(self, seed: int) -> TaskSpec:
        """Return the specification of the game that `reset(seed=seed)` plays.

        Raises:
            ValueError: The environment plays a game file.
        """
        if self._task_spec is None:
            raise ValueError("expected an environment that draws games, got one that plays a game file")
        if self.split == "literature":
            return replace(self._task_spec, split=self.split, seed=seed)
        return self._drawn(self._task_spec, np_random(seed)[0])

    def plan(self) -> tuple[str, ...] | None:
        """Return commands that win from here, proved to be as few as can be wherever the search closes.

        Raises:
            ValueError: The game is a story file, of which nothing is known but its text and score.
        """
        task = self.task
        if isinstance(task, StoryTask):
            raise ValueError(
                f"expected a game with a description to plan in, got the story file {task.game_file}, which has none"
            )
        plan = task.planner.plan(self._engine.state)
        return None if plan is None else tuple(operator.name for operator in plan.operators)

    def query_debug(self, word: str) -> str | None:
        """Return `map`: all rooms, what is in them, and where the player is; of a story file, `score` and moves."""
        task = self.task
        if isinstance(task, StoryTask):
            return self._engine.account if word == "score" and isinstance(self._engine, StoryEngine) else None
        if word != "map":
            return None
        names = {key: info.name for key, info in task.game.infos.items()}
        return draw_map(task.ground.facts(self._engine.state), names)

    def _new_task(self) -> AnyTask:
        if self._file_tasks is not None:
            tasks = tuple(self._file_tasks.values())
            return tasks[0] if len(tasks) == 1 else tasks[self.np_random.integers(len(tasks))]
        assert self._task_spec is not None
        if self._literature_seed is not None:
            return make_task(replace(self._task_spec, split=self.split, seed=self._literature_seed))
        return make_task(self._drawn(self._task_spec, self.np_random))

    def _drawn(self, spec: TaskSpec, generator: np.random.Generator) -> TaskSpec:
        return replace(spec, split=self.split, seed=int(generator.integers(2**31)))

    def _find_task(self, task_id: str) -> AnyTask:
        if self._file_tasks is None:
            return find_task(task_id)
        if task_id not in self._file_tasks:
            first, count = next(iter(self._file_tasks)), len(self._file_tasks)
            which = (
                f"the task {first!r}, the only one" if count == 1 else f"one of the {count} task_ids, such as {first!r}"
            )
            raise ValueError(f"expected {which}, got {task_id!r:.120}")
        return self._file_tasks[task_id]

    def _begin(self, task: AnyTask) -> StepResult:
        self._load(task)
        if isinstance(task, TextWorldTask) and not (task.counts_points or self._reward.pays_success_alone):
            task.planner.prepare()
        return self._counted(self._engine.reset())

    def _play(self, command: str) -> StepResult:
        return self._counted(self._engine.step(command))

    def _snapshot_backend(self) -> Any:
        return self._engine.snapshot()

    def _restore_backend(self, task: AnyTask, snapshot: Any) -> None:
        self._load(task)
        self._engine.restore(snapshot)

    def _commands_now(self) -> tuple[str, ...] | None:
        task = self.task
        return None if isinstance(task, StoryTask) else task.ground.commands(self._engine.state)

    def _unreadable(self, command: str) -> str | None:
        return unreadable(command)

    def _load(self, task: AnyTask) -> None:
        unmodelled = task.task_id == self._unmodelled
        wanted = "jericho" if isinstance(task, StoryTask) else "inform7" if unmodelled else self._asked_backend
        if wanted != self._backend:  # each task of a list of game files has the engine that it needs
            self._engine.close()
            self._backend, self._engine = wanted, _ENGINES[wanted]()
        try:
            self._engine.load(task)
        except UnknownGameError as error:
            self._backend, self._engine = "inform7", _ENGINES["inform7"]()
            self._why, self._unmodelled = f"the native engine does not model {error}", task.task_id
            self._engine.load(task)

    def _card(self) -> TaskCard:
        card = super()._card()
        if self.task.task_id == self._unmodelled:
            card["details"] = {**card["details"], "backend_reason": self._why}
        return card

    def _counted(self, result: StepResult) -> StepResult:
        """Return a result of the engine with the number of sub-goals that stand."""
        task = self.task
        if isinstance(task, StoryTask):
            return result
        state = self._engine.state
        if task.counts_points:
            return result._replace(subgoals_done=task.ground.completed_points(state))
        done = partial(_steps_done, task, state)
        text, _, won, lost, ended, valid, admissible, points, _ = result  # twice as fast as `_replace`
        return StepResult(text, done, won, lost, ended, valid, admissible, points)


def _steps_done(task: TextWorldTask, state: int) -> int:
    remaining = task.planner.remaining(state)
    return 0 if remaining is None else task.subgoals_total - remaining


def _refuse(reason: str, options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"expected no {name} with {reason}, got {value!r}")
