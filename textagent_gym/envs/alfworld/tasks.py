"""ALFWorld tasks: a game, what its shortest solution is, and what counts as a sub-goal."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from textagent_gym.contract import Split
from textagent_gym.envs.alfworld.engine import NativeEngine
from textagent_gym.envs.alfworld.generation.game_file import game_data
from textagent_gym.envs.alfworld.generation.generator import Household, describe_feasible, draw
from textagent_gym.envs.alfworld.pddl.game import Game, read_game
from textagent_gym.envs.alfworld.pddl.parser import UnknownPddlError
from textagent_gym.envs.alfworld.pddl.text_grammar import UnknownGrammarError
from textagent_gym.envs.alfworld.planning.goals import read_goals
from textagent_gym.envs.alfworld.planning.planner import Plan, Planner
from textagent_gym.envs.alfworld.types import AlfworldTask, TaskSpec

MIN_SOLUTION_LENGTH = 3
"""The shortest goal: go to a thing next to a lamp, take it, use the lamp."""

MAX_RECEPTACLES, MAX_OBJECTS, MAX_SOLUTION_LENGTH = 51, 80, 60
"""Largest requests: the largest floor plan, and what still fits into it."""

MAX_DRAWS = 3000
"""Draws after which a request is given up."""


@functools.lru_cache(maxsize=256)
def make_task(spec: TaskSpec) -> AlfworldTask:
    """Return the task of a specification.

    Raises:
        ValueError: No task has what the specification asks for; the message names what there is.
    """
    rng = np.random.default_rng(spec.seed)
    for _ in range(MAX_DRAWS):
        household = draw(spec, rng)
        if household is None:
            continue
        data = game_data(household)
        game = read_game(data)
        goals = read_goals(game.problem.goal)
        assert goals is not None
        planner = Planner(game.initial, goals)
        plan = planner.reference
        if plan is not None and plan.is_shortest and len(plan.steps) == spec.solution_length:
            return _generated(spec, household, data, game, planner)
    raise ValueError(
        f"expected a feasible task, got none in {MAX_DRAWS} draws with state_space_size={spec.num_receptacles}, "
        f"action_space_size={spec.num_objects}, solution_length={spec.solution_length}, split={spec.split!r}. "
        f"Feasible: {describe_feasible(spec.split, spec.task_types)}"
    )


def find_task(task_id: str) -> AlfworldTask:
    """Return the generated task named by `info["task_id"]`, made again if it is not in memory.

    Raises:
        ValueError: The name is not one of a generated task, or its game is another one than it was when it was named.
    """
    name, _, _ = task_id.rpartition(".")
    spec = TaskSpec.parse(name)
    if spec is None:
        raise ValueError(f"expected a task_id such as 'r12-o18-q8-t123456-train-7.0123456789ab', got {task_id!r:.120}")
    task = make_task(spec)
    if task.task_id != task_id:
        raise ValueError(f"expected the game {task_id!r}, got {task.task_id!r} from this version of the generator")
    return task


def file_task(data: Mapping[str, Any], *, task_id: str, task_type: str, split: Split, game_file: str) -> AlfworldTask:
    """Return the task of a game file's content.

    Raises:
        ValueError: The content is no game, is marked as unsolvable, or has neither a walkthrough nor a plan that is found.
    """
    check_content(data)
    details: dict[str, Any] = {"task_type": task_type}
    try:
        game = read_game(data)
    except (UnknownPddlError, UnknownGrammarError) as error:
        game, details = None, {**details, "backend_reason": str(error)}
    goals = read_goals(game.problem.goal) if game is not None else None
    planner = Planner(game.initial, goals) if game is not None and goals is not None else None
    if planner is not None and planner.reference is None:
        planner = None
    walkthrough = tuple(data.get("walkthrough") or ())
    if planner is None and not walkthrough:
        reason = details.get("backend_reason", "no plan was found")
        raise ValueError(f"expected a game with a walkthrough or one that can be planned, got neither ({reason})")
    return _task(task_id, split, data, game, planner, walkthrough=walkthrough, game_file=game_file, details=details)


def check_content(data: Any) -> None:
    """Raise ValueError unless `data` is what a `game.tw-pddl` holds, and solvable."""
    if not isinstance(data, dict):
        raise ValueError(f"expected a JSON object, got {type(data).__name__}")
    for key in ("pddl_domain", "grammar", "pddl_problem"):
        if not isinstance(data.get(key), str):
            raise ValueError(f"expected a game with {key!r}, got one without")
    if data.get("solvable") is False:
        raise ValueError("expected a solvable game, got one that is marked as unsolvable")


def _generated(
    spec: TaskSpec, household: Household, data: dict[str, Any], game: Game, planner: Planner
) -> AlfworldTask:
    kinds = [goal.kind for goal in household.goals]
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    details = {
        "task_type": kinds[0] if len(kinds) == 1 else "several",
        "chores": kinds,
        "floor_plan": household.plan.number,
        "room": household.plan.room,
    }
    return _task(f"{spec.name}.{digest[:12]}", spec.split, data, game, planner, details=details)


def _task(
    task_id: str,
    split: Split,
    data: Mapping[str, Any],
    game: Game | None,
    planner: Planner | None,
    *,
    details: dict[str, Any],
    walkthrough: tuple[str, ...] = (),
    game_file: str | None = None,
) -> AlfworldTask:
    solution, counts, numbers = walkthrough, None, None
    if game is not None:
        plan = planner.reference if planner is not None else None
        solution, counts, numbers = _played(game, plan, walkthrough)
    text = data["pddl_problem"].lower()
    return AlfworldTask(
        task_id=task_id,
        solution=solution,
        solution_is_shortest=planner is not None and planner.reference is not None and planner.reference.is_shortest,
        subgoals_total=len(solution) if planner is not None else 1,
        measured={
            "state_space_size": len(re.findall(r"\s[^\s?()]+\s+-\s+receptacle\b", text)),
            "action_space_size": len(re.findall(r"\(\s*pickupable\s", text)),
            "solution_length": len(solution),
        },
        split=split,
        admissible_counts=counts,
        solution_numbers=numbers,
        game_file=game_file,
        details=details,
        data=data,
        game=game,
        planner=planner,
    )


def _played(
    game: Game, plan: Plan | None, walkthrough: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[int, ...] | None, tuple[int, ...] | None]:
    """Return the commands of a plan (or the walkthrough), with the admissible ones before each and their number among them.

    Raises:
        ValueError: They do not solve the game.
    """
    engine = NativeEngine()
    engine.open(game)
    reply = engine.reset()
    commands: list[str] = []
    counts: list[int] = []
    numbers: list[int] = []
    for step in plan.steps if plan is not None else walkthrough:
        command = step if isinstance(step, str) else game.command_of(step)
        admissible = reply.admissible or ()
        if command not in admissible:
            raise ValueError(f"expected a solution that can be played, got one with {command!r} in the wrong place")
        commands.append(command)
        counts.append(len(admissible))
        numbers.append(admissible.index(command) + 1)
        reply = engine.step(command)
    if not reply.won:
        raise ValueError("expected a solution that solves the game, got one that does not")
    return tuple(commands), tuple(counts), tuple(numbers)
