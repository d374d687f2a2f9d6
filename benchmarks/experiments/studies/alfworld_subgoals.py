"""Sub-goals of ALFWorld: GRPO on success alone, on steps of the shortest plan, or on stages of the task."""

from __future__ import annotations

from typing import Any

from baselines.config.settings import RolloutSettings
from benchmarks.experiments.design import Arm, Experiment, Results, both_splits, difference

ENV_ID = "textagent_gym:ALFWorld-Easy-Sparse-v0"
OPTIONS: dict[str, Any] = {
    "task_types": ["pick_and_place_simple"],
    "state_space_size": 4,
    "action_space_size": 2,
    "max_steps": 10,
    "preamble": False,
    "show_admissible": True,
}
"""Two objects in four receptacles: the expert knows where things are, the policy has to look for them."""

REWARDS: dict[str, dict[str, Any]] = {
    "success": {},
    "steps": {"reward_density": 1.0, "subgoals": "steps"},
    "stages": {"reward_density": 1.0, "subgoals": "stages"},
}


def analyse(results: Results) -> list[str]:
    """Return the gain of GRPO over SFT on held-out floor plans, for each reward."""
    gains = {name: difference(results, f"GRPO on {name}", "SFT", "test split") for name in REWARDS}
    return [f"GRPO on {name}: {gain:+.2f} on held-out floor plans." for name, gain in gains.items() if gain is not None]


EXPERIMENT = Experiment(
    question="Which sub-goals of ALFWorld should pay: success alone, steps of the shortest plan, or stages of the task?",
    arms=(
        Arm("SFT", "sft", ENV_ID),
        *(Arm(f"GRPO on {name}", "grpo", ENV_ID, "SFT", env_kwargs=options) for name, options in REWARDS.items()),
    ),
    columns=both_splits("", ENV_ID),
    compared=tuple((f"GRPO on {name}", "SFT") for name in REWARDS),
    published="",
    analyse=analyse,
    changes={
        "laptop": {
            "model": "tiny",
            "options": OPTIONS,
            "rollout": RolloutSettings(max_context_tokens=1536, max_new_tokens=16),
            "num_demos": 500,
            "sft_epochs": 6,
            "sft_learning_rate": 1e-3,
            "num_iterations": 24,
            "episodes_per_batch": 96,
            "group_size": 8,
            "learning_rate": 3e-5,
            "num_test_games": 400,
        },
        "gpu": {"options": OPTIONS},
    },
)
