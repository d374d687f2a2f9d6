"""TextWorld tasks: a specification gives a game, the cache keeps it, a planner knows how far it is from being won."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textagent_gym.cache import cache_folder, keep
from textagent_gym.contract import Split
from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.textworld.generation.ambiguity import is_playable
from textagent_gym.envs.textworld.generation.closure import closes_breadth_first
from textagent_gym.envs.textworld.generation.draft import Draft, draft, give_instructions
from textagent_gym.envs.textworld.generation.saved import save, saved_task
from textagent_gym.envs.textworld.generation.simple import make_simple
from textagent_gym.envs.textworld.types import TaskSpec, TextWorldTask
from textagent_gym.envs.textworld.world.grounding import GroundGame, as_fact
from textagent_gym.mechanics.planning import Planner

if TYPE_CHECKING:
    from textworld.generator.game import Game

MAX_ROOMS, MAX_OBJECTS, MAX_SOLUTION_LENGTH = 30, 60, 40
"""Largest requests: textworld's generator needs minutes beyond them."""

LONGEST_QUEST = 12
"""Quests of more actions are replaced by parallel quests, which textworld finds much faster."""

MAX_DRAWS = 100
"""Draws after which a request is given up."""

NODE_BUDGET = 100
"""Nodes that the search for one quest may expand before the game is drawn again."""

NUM_VARIANTS = 20
"""Times that the quests of one draw get other objects and other words."""

_FORMAT = "textworld-1"
"""Name of the cache folder; to be changed with whatever changes the games of a specification."""


@functools.lru_cache(maxsize=256)
def make_task(spec: TaskSpec) -> TextWorldTask:
    """Return the task of a specification: from memory, from the cache folder, or generated and kept in both.

    Raises:
        ValueError: No game has what the specification asks for; the message names what was found instead.
    """
    path = cached_file(spec)
    saved = saved_task(path)
    if saved is not None:
        return saved
    game = _read_cached(path)
    if game is None:
        game = generate(spec)
        game.metadata["content"] = content_of(game)
        # No time stamp goes into the file: the same game is the same bytes.
        path = keep(path, gzip.compress(json.dumps(game.serialize()).encode(), mtime=0))
    simple = spec.challenge == "simple"
    kind = "tw-simple" if simple else "exact" if spec.exact else "tw-make custom"
    details = {
        "generator": kind,
        "instructions": spec.instructions,
        "generator_seed": game.metadata["generator_seed"],
    }
    task = task_of(game, path, name=spec.name, split=spec.split, details=details, counts_points=simple)
    save(task, path)
    return task


def cached_file(spec: TaskSpec) -> Path:
    """Return the path of a specification's game in the cache folder."""
    return cache_folder() / _FORMAT / f"{spec.name}.json.gz"


def find_task(task_id: str) -> TextWorldTask:
    """Return the task named by `info["task_id"]`, made again if it is not in memory.

    Raises:
        ValueError: The name is not one of this domain's, or its game is another one than it was when it was named.
    """
    name, _, _ = task_id.rpartition(".")
    spec = TaskSpec.parse(name)
    if spec is None:
        raise ValueError(
            f"expected a task_id such as 'w6-o8-q8-exact-steps-train-7.0123456789ab', got {task_id!r:.120}"
        )
    task = make_task(spec)
    if task.task_id != task_id:
        raise ValueError(f"expected the game {task_id!r}, got {task.task_id!r} from this version of the generator")
    return task


def generate(spec: TaskSpec) -> Game:
    """Draw games until one is what the specification asks for.

    Raises:
        ValueError: None of many draws was.
    """
    found: dict[str, set[int]] = {"action_space_size": set(), "solution_length": set()}
    if spec.split == "literature":
        game = _draw(spec, spec.seed, found)
        if game is None:
            raise ValueError(f"expected a seed with which tw-make custom makes a game of {spec.name}, got {spec.seed}")
        game.metadata["generator_seed"] = spec.seed
        return game
    for attempt in range(MAX_DRAWS):
        seed = int(np.random.SeedSequence([spec.seed, attempt]).generate_state(1)[0])
        game = _draw(spec, seed, found)
        if game is not None:
            game.metadata["generator_seed"] = seed
            return game
    seen = "; ".join(f"{name} {min(values)} to {max(values)}" for name, values in found.items() if values)
    raise ValueError(
        f"expected a feasible combination, got state_space_size={spec.num_rooms}, "
        f"action_space_size={spec.num_objects}, solution_length={spec.solution_length} ({spec.split}): "
        f"none in {MAX_DRAWS} draws, which had {seen or 'no quest at all'}"
    )


def split_of(game: Game) -> Split:
    """Return the split, decided by a hash of the initial facts and the quests, free of seed and of names."""
    return "test" if int(structure_of(game), 16) % 2 else "train"


def structure_of(game: Game) -> str:
    """Return a digest of the initial facts and the quests in textworld's own numbering, without any name."""
    events = [(quest.win_events, quest.fail_events) for quest in game.quests]
    quests = [[[_sorted_facts(e.condition.preconditions) for e in side] for side in sides] for sides in events]
    return _digest([_sorted_facts(game.world.facts), quests])


def _draw(spec: TaskSpec, seed: int, found: dict[str, set[int]]) -> Game | None:
    """Return one game of the requested size, or None; what was found instead goes into `found`."""
    if spec.challenge == "simple":
        return make_simple(rewards=spec.rewards, instructions=spec.instructions, test=spec.split == "test", seed=seed)
    import_textworld()
    from textworld.generator import QuestGenerationError

    num_quests, quest_length = quest_shape(spec.solution_length) if spec.exact else (1, spec.solution_length)
    try:
        drawn = draft(
            num_rooms=spec.num_rooms,
            num_objects=spec.num_objects,
            quest_length=quest_length,
            num_quests=num_quests,
            seed=seed,
            instructions=spec.instructions,
            node_budget=NODE_BUDGET if spec.exact else None,
        )
    except QuestGenerationError:
        return None
    found["action_space_size"].add(drawn.num_objects)
    if spec.exact:
        cut = _cut_to(drawn, spec.solution_length, found) if drawn.num_objects <= spec.num_objects else None
        if cut is None:
            return None
        drawn = cut
    game = _varied(drawn, spec.split) if spec.exact else _as_drawn(drawn, spec.split)
    if game is not None:
        give_instructions(game, spec.instructions)
    return game


def _as_drawn(drawn: Draft, split: Split) -> Game | None:
    """Return the game of `tw-make custom`, or None where it is of the other split or cannot be won by its solution."""
    furnished = drawn.furnished()
    if split == "literature":
        return furnished.worded()
    if split_of(furnished.bare_game()) != split:
        return None
    game = furnished.worded()
    return game if is_playable(game) else None


def _varied(drawn: Draft, split: Split) -> Game | None:
    """Return a game around a draft's quests: other objects until the split is right, other words until all are clear."""
    for variant in range(NUM_VARIANTS):
        furnished = drawn.furnished(variant)
        if split_of(furnished.bare_game()) != split:
            if furnished is drawn:
                return None  # no room for other objects: every variant has this structure
            continue
        game = furnished.worded(variant)
        if is_playable(game):
            return game
    return None


def quest_shape(solution_length: int) -> tuple[int, int]:
    """Return the number of parallel quests, and of actions in each, for a solution of that length.

    Parallel quests share walks, so their shortest solution is shorter than their sum; a little more is drawn and cut.
    """
    if solution_length <= LONGEST_QUEST:
        return 1, solution_length
    num_quests = -(-solution_length // 10)
    return num_quests, -(-(solution_length + 2 * num_quests) // num_quests)


def _cut_to(drawn: Draft, solution_length: int, found: dict[str, set[int]]) -> Draft | None:
    """Return `drawn` with its last quest cut until the shortest solution has exactly that length, or None."""
    excess, num_cut = 0, 0
    while True:
        candidate = drawn.without_last(num_cut) if num_cut else drawn
        if candidate is not None:
            problem = GroundGame(candidate.bare_game()).problem
            reference = Planner(problem).reference
            if reference is None or reference.length < solution_length or not closes_breadth_first(problem):
                return None
            found["solution_length"].add(reference.length)
            if reference.length == solution_length:
                return candidate
            excess = reference.length - solution_length
        elif num_cut >= len(drawn.quests[-1].win_events[0].actions):
            return None
        num_cut += 1 if candidate is None else excess


def task_of(
    game: Game, path: Path, *, name: str, split: Split, details: dict[str, Any], counts_points: bool = False
) -> TextWorldTask:
    """Return the task that a game is, measured.

    Raises:
        ValueError: The game cannot be won, or is too large to plan and brings no walkthrough.
    """
    ground = GroundGame(game)
    planner = Planner(ground.problem)
    plan = planner.reference
    if plan is not None:
        solution = tuple(operator.name for operator in plan.operators)
    elif game.metadata.get("walkthrough") and sum(ground.points):  # too large to plan: by its maker's own account
        solution, counts_points = tuple(game.metadata["walkthrough"]), True
    else:
        raise ValueError(f"expected a game that can be won, got {name}")
    counts, numbers = _along(solution, ground)
    kinds = [info.type for info in game.infos.values()]
    return TextWorldTask(
        task_id=f"{name}.{content_of(game)[:12]}",
        solution=solution,
        solution_is_shortest=plan is not None and plan.is_shortest,
        subgoals_total=sum(ground.points) if counts_points else len(solution),
        measured={
            "state_space_size": kinds.count("r"),
            "action_space_size": sum(kind not in {"r", "d", "P", "I"} for kind in kinds),
            "solution_length": len(solution),
        },
        split=split,
        admissible_counts=counts,
        solution_numbers=numbers,
        game_file=str(path),
        details={
            **details,
            "num_quests": sum(bool(quest.win_events) for quest in game.quests),
            "structure": structure_of(game)[:16],
        },
        game=game,
        ground=ground,
        planner=planner,
        counts_points=counts_points,
    )


def _along(solution: tuple[str, ...], ground: GroundGame) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Return the number of admissible commands before each step, and the step's index; None if a step is not listed."""
    state = ground.problem.initial
    counts, numbers = [], []
    for command in solution:
        commands = ground.commands(state)
        if command not in commands:
            return None, None
        counts.append(len(commands))
        numbers.append(commands.index(command) + 1)
        state = ground.problem.successor(
            state, next(op for op in ground.problem.applicable(state) if op.name == command)
        )
    return tuple(counts), tuple(numbers)


def content_of(game: Game) -> str:
    """Return a digest of all that a player can meet: facts, quests, names, texts and objective."""
    data = game.serialize()
    return _digest([data[key] for key in ("world", "quests", "infos", "objective")])


def _read_cached(path: Path) -> Game | None:
    """Return the game in a file, or None where it is missing, cut short, or not what was written."""
    textworld = import_textworld()
    try:
        data = json.loads(gzip.decompress(path.read_bytes()))
        with undisturbed():  # its parser knows one text at a time
            game: Game = textworld.Game.deserialize(data)
        return game if game.metadata.get("content") == content_of(game) else None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sorted_facts(facts: Any) -> list[Any]:
    return sorted(as_fact(fact) for fact in facts)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
