"""Grid: credit, level of the ratio, and replacement of groups without signal, in every combination, for GRPO."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.experiments.design import Arm, Experiment, Results, both_splits, is_clear, mean_difference, textworld

ENV_ID = textworld("w2-o3-q4")
NUM_ITERATIONS = 16

CREDITS: dict[str, Mapping[str, Any]] = {
    "trajectory": {"credit": "trajectory", "gamma": 1.0},
    "turn": {"credit": "turn"},
    "step": {"credit": "step"},
}
RATIOS = ("token", "turn", "sequence")
GROUPS: dict[str, Mapping[str, Any]] = {"as drawn": {}, "refilled": {"min_group_spread": 0.05, "refill": 2}}
"""Refilled: groups whose returns hardly differ are replaced, until twice the batch has been played."""

AXES = (tuple(CREDITS), RATIOS, tuple(GROUPS))
STANDARD = ("trajectory", "token", "as drawn")


def arm_name(cell: Sequence[str]) -> str:
    """Return the arm of one cell of the grid: its credit, its ratio, its groups."""
    credit, ratio, groups = cell
    return f"credit {credit}, ratio {ratio}, groups {groups}"


def analyse(results: Results) -> list[str]:
    """Return what each value of an axis gives against the standard one, on average over the cells of the others."""
    found = []
    for place, axis in enumerate(AXES):
        for value in axis:
            pairs = [
                (arm_name([*cell[:place], value, *cell[place + 1 :]]), arm_name(cell))
                for cell in itertools.product(*AXES)
                if cell[place] == STANDARD[place] != value
            ]
            gain = mean_difference(results, pairs, "new seeds") if pairs else None
            if gain is not None:
                name = ("credit", "ratio", "groups")[place]
                word = "beyond" if is_clear(gain) else "within"
                found.append(f"{name} {value} - {STANDARD[place]}: {gain:+.2f} on new seeds, {word} the interval.")
    return found


EXPERIMENT = Experiment(
    question=(
        f"GRPO with credit of the trajectory, turn or step, a ratio of tokens, turns or sequences, and with or without "
        f"replaced groups: what does each make of {NUM_ITERATIONS} iterations on w2-o3-q4?"
    ),
    arms=(
        Arm("base", "base", ENV_ID),
        *(
            Arm(
                arm_name((credit, ratio, groups)),
                "grpo",
                ENV_ID,
                options={**CREDITS[credit], "ratio": ratio, **GROUPS[groups]},
            )
            for credit, ratio, groups in itertools.product(*AXES)
        ),
    ),
    columns=both_splits("", ENV_ID, num_games=100),
    compared=tuple((arm_name(cell), "base") for cell in itertools.product(*AXES)),
    published="",
    analyse=analyse,
    changes={"laptop": {"num_iterations": NUM_ITERATIONS}},
)
