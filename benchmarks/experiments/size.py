"""Size: a policy that was trained on one size of world, played on others."""

from __future__ import annotations

from benchmarks.experiments.design import Arm, Column, Experiment, Results, rate, textworld

TRAINED = ("w2-o3-q4", "w8-o3-q4", "w2-o12-q4")
TESTED = (*TRAINED, "w8-o12-q4", "w4-o6-q8")


def analyse(results: Results) -> list[str]:
    """How much of what is learned on a size holds on the others."""
    told = []
    for size in TRAINED:
        found = results.get(f"PPO on {size}")
        if found is not None:
            own, others = rate(found[size]), [rate(found[other]).value for other in TESTED if other != size]
            told.append(f"Trained on {size}: {own} there, {sum(others) / len(others):.2f} on average elsewhere.")
    return told


EXPERIMENT = Experiment(
    question="Train on one size of world, test on others: what carries over?",
    arms=tuple(
        arm
        for size in TRAINED
        for arm in (
            Arm(f"SFT on {size}", "sft", textworld(size)),
            Arm(
                f"PPO on {size}",
                "ppo",
                textworld(size),
                f"SFT on {size}",
                num_train_games=1000,
                num_minibatches=4,
                options={"credit": "turn"},
            ),
        )
    ),
    columns=tuple(Column(size, textworld(size), num_games=100) for size in TESTED),
    compared=tuple((f"PPO on {size}", f"SFT on {size}") for size in TRAINED),
    published="""
Published (arXiv 2510.01132v2, PPO, 1.5 B, success rate; rows trained on, columns tested on):

| trained on | w2-o3-q4 | w8-o3-q4 | w2-o12-q4 | w8-o12-q4 | w4-o6-q8 |
| --- | --- | --- | --- | --- | --- |
| w2-o3-q4 | .88 | .51 | .40 | .27 | .12 |
| w8-o3-q4 |  | .68 | .50 | .51 | .21 |
| w2-o12-q4 |  | .27 | .54 | .27 | .13 |
""",
    analyse=analyse,
    # Fewer passes over four times as many games: what is to carry over must not be learned by heart.
    changes={"laptop": {"num_demos": 800, "sft_epochs": 3}},
)
