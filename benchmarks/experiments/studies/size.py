"""Size: five sizes of world, each trained on and each tested (tables 1 and 5 of arXiv 2510.01132)."""

from __future__ import annotations

from benchmarks.experiments.design import Arm, Column, Experiment, Results, difference, rate, textworld

SIZES = ("w2-o3-q4", "w8-o3-q4", "w2-o12-q4", "w8-o12-q4", "w4-o6-q8")
COLUMNS = (("new seeds", "train", False), ("new seeds, sampled", "train", True), ("test split", "test", False))
MIXED = ("w8-o3-q4", "w2-o12-q4")


def analyse(results: Results) -> list[str]:
    """Return the gain on each size, and how much of it holds on the others."""
    found = []
    for size in SIZES:
        gain = difference(results, f"PPO on {size}", "base", f"{size}, new seeds")
        if gain is None:
            continue
        others = [
            mean
            for other in SIZES
            if other != size and (mean := difference(results, f"PPO on {size}", "base", f"{other}, new seeds"))
        ]
        carried = sum(one.value for one in others) / len(others)
        trained = rate(results[f"PPO on {size}"][f"{size}, new seeds"])
        found.append(f"PPO on {size}: {trained} there, {gain:+.2f} over the base; {carried:+.2f} on average elsewhere.")
    for size in MIXED:
        mixed = difference(results, "PPO on two sizes", f"PPO on {size}", "w8-o12-q4, new seeds")
        if mixed is not None:
            found.append(f"On w8-o12-q4, two sizes - {size} alone: {mixed:+.2f}.")
    return found


EXPERIMENT = Experiment(
    question="Train on one size of world, test on all: what is learned there, and what carries over?",
    arms=(
        Arm("base", "base", textworld("w2-o3-q4")),
        *(Arm(f"PPO on {size}", "ppo", textworld(size)) for size in SIZES),
        Arm("PPO on two sizes", "ppo", textworld(MIXED[0]), also={textworld(MIXED[1]): 1.0}),
    ),
    columns=tuple(
        Column(f"{size}, {name}", textworld(size), split=split, sampled=sampled, num_games=60)
        for size in SIZES
        for name, split, sampled in COLUMNS
    ),
    compared=(
        *((f"PPO on {size}", "base") for size in SIZES),
        *(("PPO on two sizes", f"PPO on {size}") for size in MIXED),
    ),
    published="""
Published (arXiv 2510.01132v2, PPO, Qwen2.5-1.5B, success rate; rows trained on, columns tested on; the study tests on new
seeds of the training distribution):

| trained on | w2-o3-q4 | w8-o3-q4 | w2-o12-q4 | w8-o12-q4 | w4-o6-q8 |
| --- | --- | --- | --- | --- | --- |
| base | .17 | .07 | .08 | .03 | .01 |
| own size | .88 | .68 | .54 | .51 | .59 |
| w2-o3-q4 | .88 | .51 | .40 | .27 | .12 |
| w8-o3-q4 |  | .68 | .50 | .51 | .21 |
| w2-o12-q4 |  | .27 | .54 | .27 | .13 |
| w8-o3-q4 and w2-o12-q4 |  | .52 | .41 | .34 | .17 |
""",
    analyse=analyse,
    changes={"laptop": {"num_iterations": 20}},
)
