"""Players whose play a base model is pretrained on: random, careless, and an expert that errs.

They reach an environment through its interface alone: `info["admissible_commands"]` and the environment's own expert, the
method `plan()`, which returns the commands that solve the task from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from baselines.sampling.environments import TextEnv

Player: TypeAlias = Callable[[Sequence[str], str | None], str]
"""Chooses one of the admissible commands, given the expert's (None where it knows none)."""

CARELESS_HABIT = 0.5
"""Share of a careless player's commands that follow its habit; half of the others are the expert's."""


def make_player(kind: str, noise: float, rng: np.random.Generator) -> Player:
    """Return a player of one episode.

    Args:
        kind: "random" draws uniformly. "careless" has a favourite first word, which it uses whenever it can for half of its
            commands; the others are the expert's or random, half and half. "expert" follows the expert.
        noise: share of an expert's commands that are drawn uniformly instead.
        rng: all its randomness.

    Raises:
        ValueError: there is no such player.
    """

    def draw(commands: Sequence[str]) -> str:
        return commands[int(rng.integers(len(commands)))]

    def expert(commands: Sequence[str], best: str | None) -> str:
        return draw(commands) if best is None or rng.random() < noise else best

    favourite = rng.random()

    def careless(commands: Sequence[str], best: str | None) -> str:
        if rng.random() < CARELESS_HABIT:
            words = sorted({command.split()[0] for command in commands})
            word = words[int(favourite * len(words))]
            return draw([command for command in commands if command.split()[0] == word])
        return draw(commands) if best is None or rng.random() < 0.5 else best

    players: dict[str, Player] = {"random": lambda commands, _: draw(commands), "careless": careless, "expert": expert}
    if kind not in players:
        raise ValueError(f"expected a player among {', '.join(players)}, got {kind!r}")
    return players[kind]


def best_command(env: TextEnv, commands: Sequence[str]) -> str | None:
    """Return the first command of the environment's own plan, or None where it has none that is admissible."""
    plan: Any = getattr(env.unwrapped, "plan", None)
    commands_left = plan() if callable(plan) else None
    return commands_left[0] if commands_left and commands_left[0] in commands else None
