"""Which algorithm: the same clone, the same few games, the same number of episodes, and what each makes of them."""

from __future__ import annotations

from benchmarks.experiments.design import (
    WITHOUT_WARMUP,
    Algorithm,
    Arm,
    Column,
    Experiment,
    Results,
    difference,
    is_clear,
    textworld,
)

ENV_ID = textworld("w2-o3-q4")

NAMES: dict[str, Algorithm] = {
    "GRPO, turn": "grpo",
    "RLOO, turn": "rloo",
    "REINFORCE++, turn": "reinforce_pp",
    "PPO, turn": "ppo",
}


def analyse(results: Results) -> list[str]:
    """What each algorithm gains, where it practised and elsewhere."""
    told = []
    for column in ("practised games", "held-out games"):
        clear = [name for name in NAMES if is_clear(difference(results, name, "SFT", column))]
        told.append(f"On {column} these differ from SFT beyond their interval: {', '.join(clear) or 'none'}.")
    return told


EXPERIMENT = Experiment(
    question="All algorithms on one TextWorld id: what do they make of the same episodes, and is it of use elsewhere?",
    arms=(
        Arm("SFT", "sft", ENV_ID),
        *(
            Arm(name, algorithm, ENV_ID, "SFT", num_iterations=24, options={"credit": "turn"})
            for name, algorithm in NAMES.items()
        ),
    ),
    columns=(Column("practised games", ENV_ID, practised=True), Column("held-out games", ENV_ID)),
    compared=tuple((name, "SFT") for name in NAMES),
    published="""
Published (arXiv 2510.01132v2, w2-o3-q4, success rate after training; one seed, 100 games):

| model | base | PPO | RLOO | GRPO | REINFORCE++ |
| --- | --- | --- | --- | --- | --- |
| 1.5 B | .15 | .88 | .51 | .18 | .18 |
| 7 B | .65 | .98 | .97 | .79 | .72 |
""",
    analyse=analyse,
    changes=WITHOUT_WARMUP,
)
