"""SFT share: a fixed budget, split between demonstrations and RL episodes at the study's prices."""

from __future__ import annotations

from benchmarks.experiments.design import Arm, Experiment, Results, both_splits, rate, textworld

SIZES = ("w2-o3-q4", "w4-o6-q8")
SPLITS = {0: 1000, 20: 800, 40: 600, 60: 400, 80: 200, 100: 0}
"""Demonstrations -> episodes of RL: a budget of 1,000, where a demonstration costs 10 and an episode 1."""

EPISODES_PER_BATCH = 40


def arm_name(size: str, demos: int) -> str:
    """Return the arm at the end of a split."""
    return f"{demos} + {SPLITS[demos]}, {size}"


def analyse(results: Results) -> list[str]:
    """Return the best split on each size, if there is one."""
    found = []
    for size in SIZES:
        rates = {
            demos: rate(results[arm_name(size, demos)][f"{size}, new seeds"])
            for demos in SPLITS
            if arm_name(size, demos) in results
        }
        if len(rates) == len(SPLITS):
            best = max(rates, key=lambda demos: rates[demos].value)
            found.append(f"Best on {size}: {best} demonstrations and {SPLITS[best]} episodes, {rates[best]}.")
    return found


def _arms(size: str) -> list[Arm]:
    arms = []
    for demos, episodes in SPLITS.items():
        start = None
        if demos:
            start = f"{demos} demonstrations, {size}" if episodes else arm_name(size, demos)
            arms.append(Arm(start, "sft", textworld(size), num_demos=demos))
        if episodes:
            iterations = episodes // EPISODES_PER_BATCH
            arms.append(Arm(arm_name(size, demos), "ppo", textworld(size), start, num_iterations=iterations))
    return arms


EXPERIMENT = Experiment(
    question="A fixed budget, split between demonstrations and RL: what share is best?",
    arms=(Arm("base", "base", textworld("w2-o3-q4")), *(arm for size in SIZES for arm in _arms(size))),
    columns=tuple(column for size in SIZES for column in both_splits(f"{size}, ", textworld(size))),
    compared=tuple((arm_name(size, demos), arm_name(size, 100)) for size in SIZES for demos in SPLITS if demos < 100),
    published="""
Published (arXiv 2510.01132v2; demonstrations at 10, episodes at 1, budget 1,000; success rate):

| demonstrations + episodes | w2-o3-q4 | w4-o6-q8 |
| --- | --- | --- |
| 0 + 1000 | .54 | .11 |
| 20 + 800 | .62 | .15 |
| 40 + 600 | .72 | .44 |
| 60 + 400 | .85 | .59 |
| 80 + 200 | .95 | .35 |
| 100 + 0 | .95 | .55 |
""",
    analyse=analyse,
    changes={name: {"episodes_per_batch": EPISODES_PER_BATCH} for name in ("laptop", "gpu")},
)
