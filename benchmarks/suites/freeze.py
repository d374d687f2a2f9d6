"""Makes the file of a suite from its definition; done once for each version.

    python -m benchmarks freeze core-v0

Prints the digest to be put into `suite.DIGESTS`. A published suite is never frozen again: it gets a new version.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

from baselines.sampling.task_lists import list_task_ids
from benchmarks.suites.suite import (
    DIGESTS,
    Cell,
    SuiteError,
    SuiteTask,
    open_plain_env,
    parse_suite,
    read_task,
    render_suite,
)

FIRST_SEED = 10_000_000

FIRST_STUDY_SEED = 10_001
"""First seed of the study's games (arXiv 2510.01132): its script calls `tw-make custom --seed BASE+I` with I from 1 and the
BASE 10000; its recipes train on the seeds from 50001 on."""

Definition = list[tuple[str, dict[str, Any], int]]
"""Environment id, options, number of tasks."""

ALFWORLD: dict[str, Any] = {"max_steps": 50, "strict": True}
"""Options of ALFWorld's own evaluation: 50 steps, its wording alone, success alone pays."""

TEXTWORLD_SIZES = ("w2-o3-q4", "w8-o3-q4", "w2-o12-q4", "w8-o12-q4", "w4-o6-q8")

DEFINITIONS: dict[str, tuple[str, Definition]] = {
    "smoke-v0": (
        "Ten easy tasks, to see in seconds whether an agent plays at all.",
        [("TextWorld-w2-o3-q4-Dense-v0", {}, 5), ("ALFWorld-Easy-Dense-v0", {}, 5)],
    ),
    "core-v0": (
        "All three domains from easy to hard, in minutes on a laptop and without a network.",
        [
            ("TextWorld-w2-o3-q4-Dense-v0", {}, 30),
            ("TextWorld-Easy-Dense-v0", {}, 20),
            ("TextWorld-Medium-Dense-v0", {}, 20),
            ("TextWorld-Hard-Dense-v0", {}, 10),
            ("ALFWorld-Easy-Dense-v0", {}, 20),
            ("ALFWorld-Medium-Dense-v0", {}, 20),
            ("ALFWorld-Hard-Dense-v0", {}, 10),
            ("SWEGym-Easy-Dense-v0", {}, 10),
        ],
    ),
    "size-v0": (
        "TextWorld of the five sizes of the literature: does what was learned on one size hold on the others?",
        [(f"TextWorld-{size}-Dense-v0", {}, 50) for size in TEXTWORLD_SIZES],
    ),
    "length-v0": (
        "The same worlds (6 rooms, 8 objects) with solutions of 2 to 12 steps.",
        [("TextWorld-Medium-Dense-v0", {"solution_length": steps}, 50) for steps in (2, 4, 6, 8, 10, 12)],
    ),
    "density-v0": (
        "The same tasks, paid sparsely, in half and densely: return tells them apart, success must not.",
        [
            (f"{tier}-{density}-v0", {}, 50)
            for tier in ("TextWorld-Medium", "ALFWorld-Medium")
            for density in ("Sparse", "Balanced", "Dense")
        ],
    ),
    "full-v0": (
        "Every tier of every domain; the harder repairs fetch real projects from the package index once.",
        [
            *((f"TextWorld-{size}-Dense-v0", {}, 50) for size in TEXTWORLD_SIZES),
            *((f"TextWorld-{tier}-Dense-v0", {}, 50) for tier in ("Easy", "Medium", "Hard", "Extreme")),
            *((f"ALFWorld-{tier}-Dense-v0", {}, 50) for tier in ("Easy", "Medium", "Hard", "Extreme")),
            ("SWEGym-Easy-Dense-v0", {}, 50),
            ("SWEGym-Medium-Dense-v0", {}, 18),
            ("SWEGym-Hard-Dense-v0", {}, 16),
            ("SWEGym-Extreme-Dense-v0", {}, 14),
        ],
    ),
    "alfworld-v0": (
        "The real games of ALFWorld's valid_seen and valid_unseen (data 2.1.1), each once, in at most 50 steps.",
        [
            ("ALFWorld-v0", {**ALFWORLD, "split": "valid_seen"}, 140),
            ("ALFWorld-v0", {**ALFWORLD, "split": "valid_unseen"}, 134),
        ],
    ),
    **{
        f"textworld-{size}-v0": (
            f"A hundred games of tw-make custom of the size {size}, with the seeds of the script of arXiv 2510.01132.",
            [(f"TextWorld-{size}-Sparse-v0", {"split": "literature"}, 100)],
        )
        for size in TEXTWORLD_SIZES
    },
}


def freeze(name: str) -> str:
    """Return the text of a suite's file, every task played through once.

    Raises:
        SuiteError: there is no such definition, or a cell has fewer different tasks than it asks for.
    """
    if name not in DEFINITIONS:
        raise SuiteError(f"expected one of the definitions {', '.join(DEFINITIONS)}, got {name!r}")
    description, rows = DEFINITIONS[name]
    return render_suite(name, description, [cell for row in rows for cell in make_cells(*row)])


def make_cells(env_id: str, options: dict[str, Any], num_tasks: int) -> list[Cell]:
    """Return the cells of a row: one for each type of task where the row is of all ALFWorld's games of a split.

    Raises:
        SuiteError: there are fewer tasks, or a split has another number of games.
    """
    return (
        make_type_cells(env_id, options, num_tasks)
        if env_id == "ALFWorld-v0"
        else [make_cell(env_id, options, num_tasks)]
    )


def make_type_cells(env_id: str, options: dict[str, Any], num_tasks: int) -> list[Cell]:
    """Return one cell for each type of task, with all games of a split by name.

    Raises:
        SuiteError: the split does not have `num_tasks` games.
    """
    cell = Cell(f"textagent_gym:{env_id}", options, True, True, {"reward_density": 0.0}, (), by_name=True)
    env = open_plain_env(cell)
    names = list_task_ids(env) or ()
    if len(names) != num_tasks:
        raise SuiteError(f"expected {num_tasks} games of {options['split']}, got {len(names)}")
    kinds: dict[str, list[SuiteTask]] = {}
    for seed, name in enumerate(tqdm(names, desc=options["split"], file=sys.stderr)):
        kind = name.split("/")[1].partition("-")[0]
        kinds.setdefault(kind, []).append(read_task(env, seed, cell.exact_text, name, has_game=True))
    env.close()
    return [
        replace(cell, groups={"split": options["split"], "task type": kind}, tasks=tuple(kinds[kind]))
        for kind in sorted(kinds)
    ]


def make_cell(env_id: str, options: dict[str, Any], num_tasks: int) -> Cell:
    """Return a cell of `num_tasks` different tasks of the test split, from `FIRST_SEED` on.

    With `split="literature"` the seeds are those of the study, from `FIRST_STUDY_SEED` on, less those that give no game.

    Args:
        env_id: of this package, or "module:id" of another one.
        options: of the environment's constructor.
        num_tasks: of the cell.

    Raises:
        SuiteError: there are fewer tasks.
    """
    cell = Cell(
        env_id if ":" in env_id else f"textagent_gym:{env_id}", {"split": "test", **options}, True, True, {}, ()
    )
    env = open_plain_env(cell)
    exact_text: bool = getattr(env.unwrapped, "exact_text", True)
    is_study = options.get("split") == "literature"
    first = FIRST_STUDY_SEED if is_study else FIRST_SEED
    tasks: dict[str, SuiteTask] = {}
    for seed in tqdm(range(first, first + 20 * num_tasks), desc=env_id, file=sys.stderr):
        if len(tasks) == num_tasks:
            break
        try:
            _, info = env.reset(seed=seed)
        except ValueError:
            if not is_study:
                raise
            continue  # tw-make makes no game of this seed either
        if info["task_id"] not in tasks:
            tasks[info["task_id"]] = read_task(env, seed, exact_text)
    env.close()
    if len(tasks) < num_tasks:
        raise SuiteError(f"expected {num_tasks} different tasks of {env_id}, got {len(tasks)}")
    lists = info["admissible_commands"] is not None
    return replace(
        cell, exact_text=exact_text, lists=lists, knobs=info["task_card"]["requested"], tasks=tuple(tasks.values())
    )


def main(name: tyro.conf.Positional[str], force: bool = False) -> None:
    """Freeze a suite.

    Args:
        name: of the definition, such as core-v0.
        force: freeze a published suite again, to see whether it would be the same.
    """
    if name in DIGESTS and not force:
        raise SuiteError(f"expected a suite that was not published yet, got {name}")
    text = freeze(name)
    (Path(__file__).parent / f"{name}.json").write_text(text, encoding="utf-8")
    sys.stdout.write(f"{json.dumps(name)}: {json.dumps(parse_suite(text).digest)},\n")
