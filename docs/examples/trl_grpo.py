"""TRL's GRPOTrainer on TextWorld (`pip install 'trl>=1.8'`, a GPU, and a model whose chat template knows tools).

python docs/examples/trl_grpo.py Qwen/Qwen3-0.6B
"""

from __future__ import annotations

import sys

from trl import GRPOConfig, GRPOTrainer

from textagent_gym.interop.trl import environment_factory, make_dataset


def make_trainer(model: str) -> GRPOTrainer:
    """Return a trainer whose model plays through the tool `act`; the reward is the return of the episode."""
    return GRPOTrainer(
        model=model,
        args=GRPOConfig(num_generations=8, max_completion_length=4096, max_tool_calling_iterations=12),
        train_dataset=make_dataset(range(1000)),
        environment_factory=environment_factory("textagent_gym:TextWorld-Easy-Dense-v0"),
    )


if __name__ == "__main__":
    make_trainer(sys.argv[1]).train()
