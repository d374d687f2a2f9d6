"""How to split a budget: demonstrations that are dear, and episodes of practice that are cheap."""

from __future__ import annotations

from benchmarks.experiments.design import WITHOUT_WARMUP, Arm, Column, Experiment, Results, rate, textworld

ENV_ID = textworld("w2-o3-q4")

SPLITS = {1.0: (200, 0), 0.8: (160, 4), 0.6: (120, 8), 0.4: (80, 12), 0.2: (40, 16)}
"""Share for demonstrations -> demonstrations and iterations of practice.

Of a budget of 1,280 episodes of practice, where a demonstration costs 6.4 and an iteration of the laptop scale 64.
"""


def analyse(results: Results) -> list[str]:
    """The best share, if there is one."""
    rates = {share: results[name(share)]["held-out games"] for share in SPLITS if name(share) in results}
    told = [f"Share {share}: {rate(found)} of held-out games." for share, found in rates.items()]
    best = max(rates, key=lambda share: rates[share].mean(), default=None)
    return [*told, f"The best of these: {best}."] if best is not None else told


def name(share: float) -> str:
    """The arm at the end of a split."""
    return f"share {share}"


EXPERIMENT = Experiment(
    question="A fixed budget, split between demonstrations and practice: what share is best?",
    arms=tuple(
        arm
        for share, (demos, iterations) in SPLITS.items()
        for arm in (
            Arm(f"{demos} demonstrations" if iterations else name(share), "sft", ENV_ID, num_demos=demos),
            *(
                [
                    Arm(
                        name(share),
                        "ppo",
                        ENV_ID,
                        f"{demos} demonstrations",
                        num_iterations=iterations,
                        num_train_games=1000,
                        num_minibatches=4,
                        options={"credit": "turn"},
                    )
                ]
                if iterations
                else []
            ),
        )
    ),
    columns=(Column("held-out games", ENV_ID),),
    compared=tuple((name(share), name(1.0)) for share in SPLITS if share < 1),
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
    changes=WITHOUT_WARMUP,
)
