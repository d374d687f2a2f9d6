"""Horizon: step budgets of 6 to 16 on one size (table 4 of arXiv 2510.01132)."""

from __future__ import annotations

from benchmarks.experiments.design import Arm, Experiment, Results, both_splits, rate, textworld

ENV_ID = textworld("w2-o3-q4")
BUDGETS = (6, 8, 12, 16)


def analyse(results: Results) -> list[str]:
    """Return the success of each budget with its own budget at test time."""
    found = []
    for budget in BUDGETS:
        arm = results.get(f"PPO, {budget} steps")
        if arm is not None:
            base = f", base {rate(results['base'][f'{budget} steps, new seeds'])}" if "base" in results else ""
            found.append(f"{budget} steps: {rate(arm[f'{budget} steps, new seeds'])} on new seeds{base}.")
    return found


EXPERIMENT = Experiment(
    question="How does the step budget change what is learned?",
    arms=(
        Arm("base", "base", ENV_ID),
        *(Arm(f"PPO, {budget} steps", "ppo", ENV_ID, env_kwargs={"max_steps": budget}) for budget in BUDGETS),
    ),
    columns=tuple(
        column
        for budget in BUDGETS
        for column in both_splits(f"{budget} steps, ", ENV_ID, {"max_steps": budget}, num_games=100)
    ),
    compared=tuple((f"PPO, {budget} steps", "base") for budget in BUDGETS),
    published="""
Published (arXiv 2510.01132v2, w2-o3-q4, PPO, 1.5 B): with 6, 8, 12 and 16 steps .55, .73, .80 and .88.
""",
    analyse=analyse,
)
