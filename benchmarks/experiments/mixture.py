"""Mixtures: is a policy that was trained on two sizes better on a third than one that was trained on either?"""

from __future__ import annotations

from benchmarks.experiments.design import Arm, Column, Experiment, Results, difference, textworld

SINGLE = ("w2-o12-q4", "w8-o3-q4")
TESTED = ("w2-o3-q4", *SINGLE, "w8-o12-q4", "w4-o6-q8")


def analyse(results: Results) -> list[str]:
    """The mixture against each of its parts, on the size that neither was trained on."""
    told = []
    for size in SINGLE:
        found = difference(results, "PPO on both", f"PPO on {size}", "w8-o12-q4")
        if found is not None:
            told.append(f"On w8-o12-q4, both - {size} alone: {found:+.2f}.")
    return told


EXPERIMENT = Experiment(
    question="Does training on a mixture of sizes carry further than training on one of them?",
    arms=(
        Arm("SFT", "sft", textworld("w2-o12-q4")),
        *(Arm(f"PPO on {size}", "ppo", textworld(size), "SFT", options={"credit": "turn"}) for size in SINGLE),
        Arm(
            "PPO on both",
            "ppo",
            textworld(SINGLE[0]),
            "SFT",
            also={textworld(SINGLE[1]): 1.0},
            options={"credit": "turn"},
        ),
    ),
    columns=tuple(Column(size, textworld(size)) for size in TESTED),
    compared=tuple(("PPO on both", f"PPO on {size}") for size in SINGLE),
    published="""
Published (arXiv 2510.01132v2, PPO, 1.5 B, success rate):

| trained on | w2-o12-q4 | w8-o3-q4 | w8-o12-q4 | w4-o6-q8 |
| --- | --- | --- | --- | --- |
| w8-o3-q4 | .50 | .68 | .51 | .21 |
| w2-o12-q4 | .54 | .27 | .27 | .13 |
| both | .41 | .52 | .34 | .17 |
""",
    analyse=analyse,
)
