"""Algorithms: one base and the same number of episodes, on an easy and on a hard size."""

from __future__ import annotations

from functools import partial

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

NAMES: dict[str, Algorithm] = {"PPO": "ppo", "GRPO": "grpo", "RLOO": "rloo", "REINFORCE++": "reinforce_pp"}

NUM_DEMOS = 600
"""Demonstrations of SFT."""

FIRST_GAME = 1_000_000
"""Games of a column begin this many seeds after its split's; a run of 25 iterations was evaluated on those before."""

PUBLISHED = """
Published (arXiv 2510.01132v2, success rate after training, Qwen2.5; one seed, 100 games):

| model, size | base | PPO | RLOO | GRPO | REINFORCE++ |
| --- | --- | --- | --- | --- | --- |
| 1.5 B, w2-o3-q4 | .15 | .88 | .51 | .18 | .18 |
| 1.5 B, w4-o6-q8 | .01 | .59 | .00 | .02 | .00 |
| 7 B, w2-o3-q4 | .65 | .98 | .97 | .79 | .72 |
| 7 B, w4-o6-q8 | .28 | .72 | .47 | .36 | .33 |
"""


def analyse(results: Results, size: str) -> list[str]:
    """Return the gain of each algorithm over the base, and the algorithms that differ from PPO."""
    found = []
    for column in ("new seeds", "test split"):
        gains = [(name, difference(results, name, "base", column)) for name in NAMES]
        found += [f"{name}, {column}: {gain:+.2f} over the base." for name, gain in gains if gain is not None]
    others = [name for name in NAMES if name != "PPO"]
    apart = [name for name in others if is_clear(difference(results, name, "PPO", "new seeds"))]
    return [*found, f"Beyond its interval these differ from PPO on {size}: {', '.join(apart) or 'none'}."]


def compare_algorithms(size: str, num_games: int, num_iterations: int) -> Experiment:
    """Return the experiment on one size of world.

    Args:
        size: such as "w2-o3-q4".
        num_games: games of a column.
        num_iterations: rounds of RL.
    """
    env_id = textworld(size)
    return Experiment(
        question=f"Four algorithms from one base on {size}: what does each make of the same number of episodes?",
        arms=(
            Arm("base", "base", env_id),
            Arm("SFT", "sft", env_id, num_demos=NUM_DEMOS),
            *(Arm(name, algorithm, env_id) for name, algorithm in NAMES.items()),
        ),
        columns=both_splits("", env_id, num_games=num_games, skip=FIRST_GAME),
        compared=tuple((name, earlier) for earlier in ("base", "SFT") for name in NAMES),
        published=PUBLISHED,
        analyse=partial(analyse, size=size),
        changes={"laptop": {"num_iterations": num_iterations}},
    )


EXPERIMENT = compare_algorithms("w2-o3-q4", num_games=400, num_iterations=60)
HARD = compare_algorithms("w4-o6-q8", num_games=100, num_iterations=30)
