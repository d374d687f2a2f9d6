"""Density: sparse, balanced and dense rewards, by algorithm, on tw-simple and on a hard size."""

from __future__ import annotations

from benchmarks.experiments.design import Arm, Experiment, Results, both_splits, difference, is_clear, textworld
from benchmarks.experiments.studies.algorithms import NAMES

WORLDS = {
    "tw-simple": {
        name: f"textagent_gym:TextWorld-Simple-{name.capitalize()}-v0" for name in ("sparse", "balanced", "dense")
    },
    "w4-o6-q8": dict.fromkeys(("sparse", "balanced", "dense"), textworld("w4-o6-q8")),
}
DENSITIES = {"sparse": 0.0, "balanced": 0.5, "dense": 1.0}


def arm_name(world: str, algorithm: str, density: str) -> str:
    """Return the arm of an algorithm with one density on one world."""
    return f"{algorithm}, {density}, {world}"


def analyse(results: Results) -> list[str]:
    """Dense against sparse for each algorithm and world."""
    found = []
    for world in WORLDS:
        for name in NAMES:
            column = f"{world}, new seeds"
            gap = difference(results, arm_name(world, name, "dense"), arm_name(world, name, "sparse"), column)
            if gap is not None:
                word = "beyond" if is_clear(gap) else "within"
                found.append(f"{name} on {world}: dense - sparse {gap:+.2f} on new seeds, {word} the interval.")
    return found


def _arms(world: str) -> list[Arm]:
    return [
        Arm(
            arm_name(world, name, density),
            algorithm,
            env_id,
            env_kwargs={} if world == "tw-simple" else {"reward_density": DENSITIES[density]},
        )
        for density, env_id in WORLDS[world].items()
        for name, algorithm in NAMES.items()
    ]


EXPERIMENT = Experiment(
    question="How dense should the reward be, and for which algorithm?",
    arms=(Arm("base", "base", textworld("w4-o6-q8")), *(arm for world in reversed(WORLDS) for arm in _arms(world))),
    columns=tuple(
        column for world, ids in WORLDS.items() for column in both_splits(f"{world}, ", ids["dense"], num_games=100)
    ),
    compared=tuple(
        (arm_name(world, name, density), "base") for world in WORLDS for density in DENSITIES for name in NAMES
    ),
    published="""
Published (arXiv 2510.01132v2, tw-simple, 7 B, success rate; base .29):

| steps per reward | 10.2 | 2.9 | 1.2 |
| --- | --- | --- | --- |
| PPO | .41 | .29 | .58 |
| RLOO | .35 | .55 | .55 |
""",
    analyse=analyse,
)
