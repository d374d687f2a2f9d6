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

Definition = list[tuple[str, dict[str, Any], int]]
"""Environment id, options, number of tasks."""

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
}


def freeze(name: str) -> str:
    """Return the text of a suite's file, every task played through once.

    Raises:
        SuiteError: there is no such definition, or a cell has fewer different tasks than it asks for.
    """
    if name not in DEFINITIONS:
        raise SuiteError(f"expected one of the definitions {', '.join(DEFINITIONS)}, got {name!r}")
    description, rows = DEFINITIONS[name]
    return render_suite(name, description, [make_cell(*row) for row in rows])


def make_cell(env_id: str, options: dict[str, Any], num_tasks: int) -> Cell:
    """Return a cell of `num_tasks` different tasks of the test split, from `FIRST_SEED` on.

    Args:
        env_id: of this package, or "module:id" of another one.
        options: of the environment's constructor.
        num_tasks: of the cell.

    Raises:
        SuiteError: there are fewer tasks.
    """
    cell = Cell(
        env_id if ":" in env_id else f"textagent_gym:{env_id}", {**options, "split": "test"}, True, True, {}, ()
    )
    env = open_plain_env(cell)
    exact_text: bool = getattr(env.unwrapped, "exact_text", True)
    _, info = env.reset(seed=FIRST_SEED)
    tasks: dict[str, SuiteTask] = {}
    for seed in tqdm(range(FIRST_SEED, FIRST_SEED + 20 * num_tasks), desc=env_id, file=sys.stderr):
        if len(tasks) == num_tasks:
            break
        _, info = env.reset(seed=seed)
        if info["task_id"] not in tasks:
            tasks[info["task_id"]] = read_task(env, seed, exact_text)
    env.close()
    if len(tasks) < num_tasks:
        raise SuiteError(f"expected {num_tasks} different tasks of {env_id}, got {len(tasks)}")
    lists = info["admissible_commands"] is not None
    return replace(
        cell, exact_text=exact_text, lists=lists, knobs=info["task_card"]["requested"], tasks=tuple(tasks.values())
    )


def freeze_suite(name: tyro.conf.Positional[str], force: bool = False) -> None:
    """Freeze a suite.

    Args:
        name: of the definition, such as core-v0.
        force: freeze a published suite again, to see whether it would be the same.
    """
    if name in DIGESTS and not force:
        raise SystemExit(f"error: expected a suite that was not published yet, got {name}")
    try:
        text = freeze(name)
    except SuiteError as error:
        raise SystemExit(f"error: {error}") from error
    (Path(__file__).parent / f"{name}.json").write_text(text, encoding="utf-8")
    sys.stdout.write(f"{json.dumps(name)}: {json.dumps(parse_suite(text).digest)},\n")


def main() -> None:
    """Freeze a suite from the command line."""
    tyro.cli(freeze_suite, description=__doc__)


if __name__ == "__main__":
    main()
