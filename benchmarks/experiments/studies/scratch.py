"""Scratch: RL after SFT where the model has random weights at the start, and knows nothing but its demonstrations."""

from __future__ import annotations

from benchmarks.experiments.design import Arm, Experiment, Results, both_splits, difference, textworld

ENV_ID = textworld("w2-o3-q4")
FIRST_GAME = 1_000_000
"""Games of a column begin this many seeds after its split's; a run of 40 iterations was evaluated on those before."""


def analyse(results: Results) -> list[str]:
    """Return the gain of RL over SFT on both splits."""
    gains = {where: difference(results, "SFT + PPO", "SFT", where) for where in ("new seeds", "test split")}
    return [f"PPO after SFT, {where}: {gain:+.2f}." for where, gain in gains.items() if gain is not None]


EXPERIMENT = Experiment(
    question="Random weights and 200 demonstrations: what does RL add to SFT?",
    arms=(Arm("SFT", "sft", ENV_ID), Arm("SFT + PPO", "ppo", ENV_ID, start="SFT")),
    columns=both_splits("", ENV_ID, skip=FIRST_GAME),
    compared=(("SFT + PPO", "SFT"),),
    published="",
    analyse=analyse,
    changes={
        "laptop": {
            "model": "tiny",
            "sft_epochs": 14,
            "sft_learning_rate": 1e-3,
            "num_iterations": 80,
            "gamma": 0.5,
            "num_test_games": 400,
        }
    },
)
