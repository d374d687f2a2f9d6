"""MaskablePPO of sb3-contrib on TextWorld as numbers (`pip install stable-baselines3 sb3-contrib`).

python docs/examples/sb3.py
"""

from __future__ import annotations

import gymnasium as gym
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import DummyVecEnv

import textagent_gym  # noqa: F401  # registers the ids
from textagent_gym.interop.numeric import AdmissibleActionIndex, FixedSeeds, HashedBagOfWords


def make_game() -> HashedBagOfWords:
    """Return an environment of eight games whose observations count words and whose actions are places in a list."""
    env = gym.make("TextWorld-Easy-Dense-v0", show_admissible=True, preamble=False)
    return HashedBagOfWords(AdmissibleActionIndex(FixedSeeds(env, seeds=range(8)), max_actions=24), num_features=256)


def train(num_steps: int) -> float:
    """Train and return the share of the eight games that the policy then solves, played greedily."""
    envs = DummyVecEnv([make_game] * 8)
    model = MaskablePPO(
        "MlpPolicy", envs, learning_rate=2.5e-3, n_steps=32, batch_size=128, n_epochs=4, gamma=0.9, seed=0
    )
    model.learn(num_steps)
    env, solved = make_game(), 0
    for seed in range(8):
        observation, info = env.reset(seed=seed)
        over = False
        while not over:
            action, _ = model.predict(observation, action_masks=info["action_mask"], deterministic=True)
            observation, _, terminated, truncated, info = env.step(int(action))
            over = terminated or truncated
        solved += info["success"]
    return solved / 8


if __name__ == "__main__":
    print(f"games solved: {train(12_288):.2f}")
