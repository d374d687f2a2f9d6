"""Settings: what discount, step size, batch and baseline make of the same episodes, on validation games."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.experiments.design import (
    FIRST_VALIDATION_SEED,
    Algorithm,
    Arm,
    Column,
    Experiment,
    Results,
    difference,
    is_clear,
    textworld,
)

ENV_ID = textworld("w2-o3-q4")
NUM_ITERATIONS = 20

CHANGES: dict[tuple[str, Algorithm], dict[str, Mapping[str, Any]]] = {
    ("PPO", "ppo"): {
        **{f"gamma {gamma}": {"gamma": gamma} for gamma in (0.0, 0.9, 1.0)},
        "learning rate 1e-4": {"learning_rate": 1e-4},
        "learning rate 1e-3": {"learning_rate": 1e-3},
        "1 step an iteration": {"num_minibatches": 1},
        "no warm-up": {"warmup_steps": 0},
    },
    ("GRPO", "grpo"): {
        "gamma 1": {"gamma": 1.0},
        "8 groups of 8": {"group_size": 8, "groups_per_batch": 8},
        "not scaled": {"scale_by_std": False},
        "credit of the trajectory": {"credit": "trajectory", "gamma": 1.0},
    },
    ("RFT", "rft"): {"shortest half": {"keep_shortest": 0.5}},
}
"""Algorithm -> name of an arm -> options that it has otherwise than the scale."""

SPARSE = (0.5, 0.9, 1.0)
"""Discounts of PPO with a reward for success alone."""


def analyse(results: Results) -> list[str]:
    """Return what differs from the scale's settings beyond the interval."""
    found = []
    for (name, _), changes in CHANGES.items():
        apart = []
        for change in changes:
            gap = difference(results, f"{name}, {change}", name, "sampled")
            if gap is not None and is_clear(gap):
                apart.append(f"{change} ({gap:+.2f})")
        found.append(f"Beyond its interval these differ from {name}, sampled: {', '.join(apart) or 'none'}.")
    return found


EXPERIMENT = Experiment(
    question=f"Which settings teach most in {NUM_ITERATIONS} iterations of w2-o3-q4? Rows change one of the scale's.",
    arms=(
        Arm("base", "base", ENV_ID),
        *(Arm(name, algorithm, ENV_ID) for name, algorithm in CHANGES),
        *(
            Arm(f"{name}, {change}", algorithm, ENV_ID, options=options)
            for (name, algorithm), changes in CHANGES.items()
            for change, options in changes.items()
        ),
        *(
            Arm(
                f"PPO, sparse, gamma {gamma}",
                "ppo",
                ENV_ID,
                env_kwargs={"reward_density": 0.0},
                options={"gamma": gamma},
            )
            for gamma in SPARSE
        ),
    ),
    columns=tuple(
        Column(name, ENV_ID, split="train", sampled=name == "sampled", first_seed=FIRST_VALIDATION_SEED)
        for name in ("greedy", "sampled")
    ),
    compared=tuple((f"{name}, {change}", name) for (name, _), changes in CHANGES.items() for change in changes),
    published="",
    analyse=analyse,
    changes={"laptop": {"num_iterations": NUM_ITERATIONS, "gamma": 0.5, "num_seeds": 1}},
)
