"""Length: solutions of 2 to 8 steps, and step budgets of 1.5 to 4 times the solution."""

from __future__ import annotations

from benchmarks.experiments.design import Arm, Column, Experiment, Results, rate, textworld

ENV_ID = textworld("w2-o3-q4")
LENGTHS = (2, 4, 6, 8)
BUDGETS = (6, 8, 12, 16)


def analyse(results: Results) -> list[str]:
    """What longer solutions and smaller budgets cost."""
    told = []
    for name in ("PPO, 4 steps", *(f"PPO, budget {budget}" for budget in BUDGETS)):
        if name in results:
            rates = ", ".join(f"{column} {rate(found)}" for column, found in results[name].items())
            told.append(f"{name}: {rates}.")
    return told


EXPERIMENT = Experiment(
    question="How do the length of the solution and the step budget change what is learned?",
    arms=(
        *(
            arm
            for steps in LENGTHS
            for arm in (
                Arm(f"SFT, {steps} steps", "sft", ENV_ID, env_kwargs={"solution_length": steps}),
                Arm(
                    f"PPO, {steps} steps",
                    "ppo",
                    ENV_ID,
                    f"SFT, {steps} steps",
                    env_kwargs={"solution_length": steps},
                    options={"credit": "turn"},
                ),
            )
        ),
        *(
            Arm(
                f"PPO, budget {budget}",
                "ppo",
                ENV_ID,
                "SFT, 4 steps",
                env_kwargs={"max_steps": budget},
                options={"credit": "turn"},
            )
            for budget in BUDGETS
        ),
    ),
    columns=tuple(Column(f"{steps} steps", ENV_ID, {"solution_length": steps}) for steps in LENGTHS),
    compared=tuple((f"PPO, {steps} steps", f"SFT, {steps} steps") for steps in LENGTHS),
    published="""
Published (arXiv 2510.01132v2, w2-o3-q4, PPO): with budgets of 6, 8, 12 and 16 steps .55, .73, .80 and .88; 1.5 B on
w4-o6-q8 .01 -> .59, 7 B .28 -> .72.
""",
    analyse=analyse,
)
