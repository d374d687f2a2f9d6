"""Length: solutions of 4 to 16 steps in worlds of four rooms and six objects."""

from __future__ import annotations

from benchmarks.experiments.design import Arm, Experiment, Results, both_splits, difference, textworld

ENV_ID = textworld("w4-o6-q8")
LENGTHS = (4, 8, 12, 16)


def analyse(results: Results) -> list[str]:
    """Return the gain over the base for each length."""
    found = []
    for steps in LENGTHS:
        gain = difference(results, f"PPO, {steps} steps", "base", f"{steps} steps, new seeds")
        if gain is not None:
            found.append(f"{steps} steps: {gain:+.2f} over the base on new seeds.")
    return found


EXPERIMENT = Experiment(
    question="How does the length of the solution change what is learned?",
    arms=(
        Arm("base", "base", ENV_ID),
        *(Arm(f"PPO, {steps} steps", "ppo", ENV_ID, env_kwargs={"solution_length": steps}) for steps in LENGTHS),
    ),
    columns=tuple(
        column
        for steps in LENGTHS
        for column in both_splits(f"{steps} steps, ", ENV_ID, {"solution_length": steps}, num_games=100)
    ),
    compared=tuple((f"PPO, {steps} steps", "base") for steps in LENGTHS),
    published="""
Published (arXiv 2510.01132v2, PPO): w4-o6-q8, eight steps, 1.5 B .01 -> .59, 7 B .28 -> .72; w2-o3-q4, four steps, 1.5 B
.17 -> .88, 7 B .65 -> .98.
""",
    analyse=analyse,
)
