"""Tasks kept next to their games, grounded and solved, so that a kept game starts without the textworld package."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from pathlib import Path

from textagent_gym.cache import cache_folder, keep, read
from textagent_gym.envs.textworld.types import TextWorldTask
from textagent_gym.envs.textworld.world.grounding import GroundGame, GroundRules
from textagent_gym.envs.textworld.world.known import UnknownGameError, check_known
from textagent_gym.envs.textworld.world.saved_game import SavedGame, described
from textagent_gym.mechanics.planning import Operator, Plan, Planner

_FORMAT = "textworld-play-1"
"""Name of the cache folder; to be changed with whatever changes what is kept here: grounding, plans, measured sizes."""

_TASK = ("task_id", "solution", "solution_is_shortest", "subgoals_total", "measured", "split", "admissible_counts",
         "solution_numbers", "details", "counts_points")  # fmt: skip


def save(task: TextWorldTask, path: Path) -> None:
    """Keep a task whose whole game lies in `path`, for `saved_task`.

    Nothing is kept of a game without a plan, or of one that only the interpreter knows.
    """
    try:
        check_known(task.game)
    except UnknownGameError:
        return
    if task.planner.reference is None:
        return
    places = {id(operator): place for place, operator in enumerate(task.ground.problem.operators)}
    data = {
        "source": hashlib.sha256(path.read_bytes()).hexdigest(),
        "game": described(task.game),
        "task": {name: getattr(task, name) for name in _TASK},
        "facts": list(task.ground.rules.facts),
        "operators": [
            [op.name, *(f"{mask:x}" for mask in (op.needs, op.adds, op.deletes))]
            for op in task.ground.problem.operators
        ],
        "acts": [[act, [places[id(op)] for op in operators]] for act, operators in task.ground.acts.items()],
        "plan": [places[id(op)] for op in task.planner.reference.operators],
    }
    keep(_file(path), gzip.compress(json.dumps(data).encode(), mtime=0))


def saved_task(path: Path) -> TextWorldTask | None:
    """Return the task that was saved with the game in `path`; None where there is none, or the game is another one."""
    kept, whole = read(_file(path)), read(path)
    if kept is None or whole is None:
        return None
    try:
        data = json.loads(gzip.decompress(kept))
        if data["source"] != hashlib.sha256(whole).hexdigest() or data["task"].keys() != set(_TASK):
            return None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError):
        return None
    operators = [Operator(name, *(int(mask, 16) for mask in masks)) for name, *masks in data["operators"]]
    acts = {tuple(act): [operators[place] for place in places] for act, places in data["acts"]}
    game = SavedGame(data["game"], path)
    ground = GroundGame(game, GroundRules([tuple(fact) for fact in data["facts"]], operators, acts))
    fields = data["task"]
    plan = Plan(tuple(operators[place] for place in data["plan"]), fields["solution_is_shortest"])
    for name in ("solution", "admissible_counts", "solution_numbers"):
        fields[name] = None if fields[name] is None else tuple(fields[name])
    return TextWorldTask(
        **fields, game_file=str(path), game=game, ground=ground, planner=Planner(ground.problem, reference=plan)
    )


def _file(path: Path) -> Path:
    return cache_folder() / _FORMAT / path.name
