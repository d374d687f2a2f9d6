"""Density x credit: does a denser reward help, and does it help only those who can see when it was paid?"""

from __future__ import annotations

from itertools import combinations

from benchmarks.experiments.design import (
    WITHOUT_WARMUP,
    Algorithm,
    Arm,
    Column,
    Experiment,
    Results,
    difference,
    is_clear,
    mean_difference,
    textworld,
)

DENSITIES = {"sparse": 0.0, "balanced": 0.5, "dense": 1.0}
ENV_ID = textworld("w2-o3-q4")
NUM_GAMES = 16
"""Practised, 32 times each at laptop scale: few, since the grid is large and a game must be met often to be learned."""

ALL_CREDITS: dict[str, Algorithm] = {"GRPO": "grpo", "PPO": "ppo"}
TURN_ONLY: dict[str, Algorithm] = {"RLOO": "rloo", "REINFORCE++": "reinforce_pp"}

PLANNED: tuple[tuple[str, Algorithm, str], ...] = (
    *((name, algorithm, credit) for name, algorithm in ALL_CREDITS.items() for credit in ("trajectory", "turn")),
    *((name, algorithm, "turn") for name, algorithm in TURN_ONLY.items()),
    ("PPO", "ppo", "token"),
)
"""Token credit is PPO's alone here: elsewhere it differs from turn by the KL penalty, and there is none."""


def analyse(results: Results) -> list[str]:
    """Dense against sparse for each credit, and turn against trajectory for each density."""
    told = []
    column = "practised games"
    for name, _, credit in PLANNED:
        found = difference(results, _arm("dense", name, credit), _arm("sparse", name, credit), column)
        if found is not None:
            word = "beyond" if is_clear(found) else "within"
            told.append(f"{name}, {credit}: dense - sparse {found:+.2f} on {column}, {word} the interval.")
    for name in ALL_CREDITS:
        for density in DENSITIES:
            found = difference(results, _arm(density, name, "turn"), _arm(density, name, "trajectory"), column)
            if found is not None:
                told.append(f"{name}, {density}: turn - trajectory {found:+.2f} on {column}.")
    for where in ("practised games", "held-out games"):
        for later, earlier in (*combinations(reversed(DENSITIES), 2), *((density, "SFT") for density in DENSITIES)):
            pairs = [(_arm(later, name, credit), _arm(earlier, name, credit)) for name, _, credit in PLANNED]
            found = mean_difference(results, pairs, where)
            if found is not None:
                told.append(f"All {len(pairs)} together: {later} - {earlier} {found:+.2f} on {where}.")
    return told


def _arm(density: str, name: str, credit: str) -> str:
    """The arm's name; SFT is the same for all."""
    return "SFT" if density == "SFT" else f"{name}, {credit}, {density}"


EXPERIMENT = Experiment(
    question="How dense should the reward be, and which credit makes use of it?",
    arms=(
        Arm("SFT", "sft", ENV_ID),
        *(
            Arm(
                _arm(density, name, credit),
                algorithm,
                ENV_ID,
                "SFT",
                env_kwargs={"reward_density": share},
                num_iterations=8,
                num_train_games=NUM_GAMES,
                num_minibatches=4,
                options={"credit": credit},
            )
            for density, share in DENSITIES.items()
            for name, algorithm, credit in PLANNED
        ),
    ),
    columns=(
        Column("practised games", ENV_ID, practised=True, num_games=NUM_GAMES),
        Column("held-out games", ENV_ID, num_games=100),
    ),
    compared=tuple((_arm(density, name, credit), "SFT") for density in DENSITIES for name, _, credit in PLANNED),
    published="""
Published (arXiv 2510.01132v2, tw-simple, 7 B, success rate; base .29):

| steps per reward | 10.2 | 2.9 | 1.2 |
| --- | --- | --- | --- |
| PPO | .41 | .29 | .58 |
| RLOO | .35 | .55 | .55 |
""",
    analyse=analyse,
    changes=WITHOUT_WARMUP,
)
