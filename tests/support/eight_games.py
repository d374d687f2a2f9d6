"""TextWorld-Easy as numbers: eight training games, others that are held out, and the success of chance on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import textagent_gym  # noqa: F401  (registers the ids)
from textagent_gym.interop.numeric import AdmissibleActionIndex, FixedSeeds, HashedBagOfWords

ENV_ID = "TextWorld-Easy-Dense-v0"
TRAIN_SEEDS = tuple(range(8))
HELD_OUT = tuple(range(64))
MAX_ACTIONS = 24
EPISODES = 64

Act = Callable[[NDArray[np.float32], NDArray[np.int8]], int]
"""(observation, action mask) -> place of a command."""

MakeGame = Callable[[Sequence[int], str], gym.Env[NDArray[np.float32], Any]]
"""(seeds, split) -> one game after another."""


class Scores(NamedTuple):
    """Success of `EPISODES` episodes each; chance chooses evenly among the admissible commands."""

    random: float
    random_held_out: float
    train: float
    held_out: float


def make_game(seeds: Sequence[int] = TRAIN_SEEDS, split: str = "train") -> gym.Env[NDArray[np.float32], Any]:
    """Return one game after another, as counts of words and places of commands; the words include those of the commands."""
    env = gym.make(ENV_ID, split=split, show_admissible=True, preamble=False)
    return HashedBagOfWords(AdmissibleActionIndex(FixedSeeds(env, seeds), MAX_ACTIONS), num_features=256)


def choose_randomly(seed: int) -> Act:
    """Return the chance, which knows the mask."""
    rng = np.random.default_rng(seed)
    return lambda _, mask: int(rng.choice(np.flatnonzero(mask)))


def success_rate(act: Act, seeds: Sequence[int], split: str, make: MakeGame = make_game) -> float:
    """Return the share of `EPISODES` episodes that reach the objective; the seeds are played in turn."""
    env, successes = make(seeds, split), 0
    for _ in range(EPISODES):
        observation, info = env.reset()
        over = False
        while not over:
            observation, _, terminated, truncated, info = env.step(act(observation, info["action_mask"]))
            over = terminated or truncated
        successes += info["success"]
    return successes / EPISODES


def score(act: Act, make: MakeGame = make_game, seeds: Sequence[int] = TRAIN_SEEDS) -> Scores:
    """Play the training games and the held-out ones, by policy and by chance."""
    return Scores(
        random=success_rate(choose_randomly(0), seeds, "train"),
        random_held_out=success_rate(choose_randomly(1), HELD_OUT, "test"),
        train=success_rate(act, seeds, "train", make),
        held_out=success_rate(act, HELD_OUT, "test", make),
    )


def report(library: str, algorithm: str, steps: int, seconds: float, scores: Scores) -> None:
    """Print a row of the table in docs/libraries.md; `seconds` are those of the processor."""
    chance = f"{scores.random:.2f} / {scores.random_held_out:.2f}"
    policy = f"{scores.train:.2f} / {scores.held_out:.2f}"
    print(f"| {library} {version(library)} | {algorithm} | {steps:,} | {chance} | {policy} | {seconds:.0f} |")
