"""Density: sparse, balanced and dense rewards by algorithm, on tw-simple and on a hard size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.experiments.design import (
    Algorithm,
    Arm,
    Experiment,
    Results,
    both_splits,
    difference,
    is_clear,
    textworld,
)

DENSITIES = {"sparse": 0.0, "balanced": 0.5, "dense": 1.0}

ALGORITHMS: dict[str, Algorithm] = {"PPO": "ppo", "RLOO": "rloo"}
"""Algorithms of the published table."""

PUBLISHED = """
Published (arXiv 2510.01132v2, tw-simple, 7 B, success rate; base .29):

| steps per reward | 10.2 | 2.9 | 1.2 |
| --- | --- | --- | --- |
| PPO | .41 | .29 | .58 |
| RLOO | .35 | .55 | .55 |
"""


def arm_name(algorithm: str, density: str) -> str:
    """Return the arm of an algorithm with one density."""
    return f"{algorithm}, {density}"


def analyse(results: Results) -> list[str]:
    """Return how far the denser rewards are ahead of the sparse one, for each algorithm."""
    found = []
    for name in ALGORITHMS:
        for density in ("balanced", "dense"):
            gap = difference(results, arm_name(name, density), arm_name(name, "sparse"), "new seeds")
            if gap is not None:
                word = "beyond" if is_clear(gap) else "within"
                found.append(f"{name}: {density} - sparse {gap:+.2f} on new seeds, {word} the interval.")
    return found


def compare_densities(
    question: str, places: Mapping[str, tuple[str, Mapping[str, Any]]], num_iterations: int
) -> Experiment:
    """Return the experiment on one world.

    Args:
        question: in a sentence.
        places: density -> environment and its constructor options; policies are evaluated on the dense one.
        num_iterations: rounds of RL.
    """
    arms = [
        Arm(arm_name(name, density), algorithm, env_id, env_kwargs=options)
        for name, algorithm in ALGORITHMS.items()
        for density, (env_id, options) in places.items()
    ]
    env_id, options = places["dense"]
    return Experiment(
        question=question,
        arms=(Arm("base", "base", env_id), *arms),
        columns=both_splits("", env_id, options, num_games=100),
        compared=tuple((arm.name, "base") for arm in arms),
        published=PUBLISHED,
        analyse=analyse,
        changes={"laptop": {"num_iterations": num_iterations}},
    )


EXPERIMENT = compare_densities(
    "How dense should the reward be on tw-simple, and for which algorithm?",
    {name: (f"textagent_gym:TextWorld-Simple-{name.capitalize()}-v0", {}) for name in DENSITIES},
    num_iterations=24,
)
HARD = compare_densities(
    "How dense should the reward be on w4-o6-q8, and for which algorithm?",
    {name: (textworld("w4-o6-q8"), {"reward_density": density}) for name, density in DENSITIES.items()},
    num_iterations=20,
)
