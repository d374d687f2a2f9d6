"""SFT share: a fixed budget, split between demonstrations and RL episodes at the study's prices."""

from __future__ import annotations

from functools import partial

from benchmarks.experiments.design import Arm, Experiment, Results, both_splits, rate, textworld

SPLITS = {0: 1000, 20: 800, 40: 600, 60: 400, 80: 200, 100: 0}
"""Demonstrations -> episodes of RL: a budget of 1,000, where a demonstration costs 10 and an episode 1."""

EPISODES_PER_BATCH = 40

PUBLISHED = """
Published (arXiv 2510.01132v2; demonstrations at 10, episodes at 1, budget 1,000; success rate):

| demonstrations + episodes | w2-o3-q4 | w4-o6-q8 |
| --- | --- | --- |
| 0 + 1000 | .54 | .11 |
| 20 + 800 | .62 | .15 |
| 40 + 600 | .72 | .44 |
| 60 + 400 | .85 | .59 |
| 80 + 200 | .95 | .35 |
| 100 + 0 | .95 | .55 |
"""


def arm_name(demos: int) -> str:
    """Return the arm at the end of a split."""
    return f"{demos} + {SPLITS[demos]}"


def analyse(results: Results, size: str) -> list[str]:
    """Return the best split, if all are known."""
    if any(arm_name(demos) not in results for demos in SPLITS):
        return []
    rates = {demos: rate(results[arm_name(demos)]["new seeds"]) for demos in SPLITS}
    best = max(rates, key=lambda demos: rates[demos].value)
    return [f"Best on {size}: {best} demonstrations and {SPLITS[best]} episodes, {rates[best]}."]


def compare_shares(size: str) -> Experiment:
    """Return the experiment on one size of world, such as "w2-o3-q4"."""
    env_id = textworld(size)
    arms = []
    for demos, episodes in SPLITS.items():
        start = None
        if demos:
            start = f"{demos} demonstrations" if episodes else arm_name(demos)
            arms.append(Arm(start, "sft", env_id, num_demos=demos))
        if episodes:
            iterations = episodes // EPISODES_PER_BATCH
            arms.append(Arm(arm_name(demos), "ppo", env_id, start, num_iterations=iterations))
    return Experiment(
        question=f"A fixed budget on {size}, split between demonstrations and RL: what share is best?",
        arms=(Arm("base", "base", env_id), *arms),
        columns=both_splits("", env_id, num_games=200),
        compared=tuple((arm_name(demos), arm_name(100)) for demos in SPLITS if demos < 100),
        published=PUBLISHED,
        analyse=partial(analyse, size=size),
        changes={name: {"episodes_per_batch": EPISODES_PER_BATCH} for name in ("laptop", "gpu")},
    )


EXPERIMENT = compare_shares("w2-o3-q4")
HARD = compare_shares("w4-o6-q8")
