"""Algorithms: the same base, the same number of episodes, an easy and a hard size."""

from __future__ import annotations

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

SIZES = {"easy": "w2-o3-q4", "hard": "w4-o6-q8"}

NAMES: dict[str, Algorithm] = {"PPO": "ppo", "GRPO": "grpo", "RLOO": "rloo", "REINFORCE++": "reinforce_pp"}


def analyse(results: Results) -> list[str]:
    """Return the gain of each algorithm over the base, and what differs from PPO."""
    found = []
    for size in SIZES.values():
        for column in (f"{size}, new seeds", f"{size}, test split"):
            gains = [(name, difference(results, f"{name}, {size}", "base", column)) for name in NAMES]
            found += [f"{name} on {column}: {gain:+.2f} over the base." for name, gain in gains if gain is not None]
        others = [name for name in NAMES if name != "PPO"]
        apart = [
            name
            for name in others
            if is_clear(difference(results, f"{name}, {size}", f"PPO, {size}", f"{size}, new seeds"))
        ]
        found.append(f"Beyond its interval these differ from PPO on {size}: {', '.join(apart) or 'none'}.")
    return found


EXPERIMENT = Experiment(
    question="Four algorithms from one base: what does each make of the same number of episodes?",
    arms=(
        Arm("base", "base", textworld("w2-o3-q4")),
        *(
            Arm(f"{name}, {size}", algorithm, textworld(size))
            for size in SIZES.values()
            for name, algorithm in NAMES.items()
        ),
    ),
    columns=tuple(column for size in SIZES.values() for column in both_splits(f"{size}, ", textworld(size))),
    compared=tuple((f"{name}, {size}", "base") for size in SIZES.values() for name in NAMES),
    published="""
Published (arXiv 2510.01132v2, success rate after training, Qwen2.5; one seed, 100 games):

| model, size | base | PPO | RLOO | GRPO | REINFORCE++ |
| --- | --- | --- | --- | --- | --- |
| 1.5 B, w2-o3-q4 | .15 | .88 | .51 | .18 | .18 |
| 1.5 B, w4-o6-q8 | .01 | .59 | .00 | .02 | .00 |
| 7 B, w2-o3-q4 | .65 | .98 | .97 | .79 | .72 |
| 7 B, w4-o6-q8 | .28 | .72 | .47 | .36 | .33 |
""",
    analyse=analyse,
)
