"""Disturbances that leave the task alone: sentences that do not matter, and commands that fail by chance.

Both draw from an `EpisodeStream` and never from the generator that draws tasks, so that the same seed plays the same tasks
with and without them. Added sentences follow arXiv 2601.18217, which makes observations richer by features that have
nothing to do with the goal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textagent_gym.mechanics.knobs import check_number

GENERAL_NOUNS = ("stone", "river", "cloud", "bird", "boat", "garden", "window", "letter")
"""Things that sentences are about where a domain names no others; their plural ends in s."""

MAX_DISTRACTORS = 100
"""Most sentences that can be added to an observation."""

FAULT_MESSAGE = "Nothing was done: the command failed by chance; it may succeed when it is given again."

_FAULT, _DISTRACTORS = 0, 1


class EpisodeStream:
    """Random numbers of an episode, apart from the generator that draws tasks.

    What is drawn at a step is a function of `key` and the number of the step alone: there is no other state.

    Attributes:
        key: Seed of the environment's generator and number of the episode since it was seeded, from 0.
    """

    def __init__(self) -> None:
        self.key: tuple[int, ...] = (0, 0)
        self._num_episodes = 0

    def start(self, generator_seed: int, *, is_new: bool) -> None:
        """Start an episode.

        Args:
            generator_seed: `env.np_random_seed`; -1 where it is unknown.
            is_new: True if the generator was seeded at this reset.
        """
        self._num_episodes = 0 if is_new else self._num_episodes + 1
        self.key = (max(generator_seed, 0), self._num_episodes)

    def fails(self, step: int, fault_rate: float) -> bool:
        """Return True with the probability `fault_rate`; `step` is the number of steps taken before."""
        return fault_rate > 0 and float(self._generator(step, _FAULT).random()) < fault_rate

    def add_distractors(self, observation: str, step: int, count: int, nouns: Sequence[str]) -> str:
        """Return an observation followed by a paragraph of `count` sentences; unchanged if `count` is 0.

        Args:
            observation: Text of the environment.
            step: Number of steps taken so far.
            count: Number of sentences.
            nouns: Things that the sentences are about, at least two, whose plural ends in s.
        """
        if count == 0:
            return observation
        rng = self._generator(step, _DISTRACTORS)
        return f"{observation}\n\n{' '.join(draw_sentence(rng, nouns) for _ in range(count))}"

    def _generator(self, step: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self.key, step, purpose])


def draw_sentence(rng: np.random.Generator, nouns: Sequence[str]) -> str:
    """Return a sentence about numbers and words that is true in every world, and so says nothing of this one."""
    first, second = (nouns[int(place)] for place in rng.choice(len(nouns), size=2, replace=False))
    a, b = (int(number) for number in rng.integers(2, 10, size=2))
    before, after = sorted((first, second))
    sentences = (
        f"{a} {first}s and {b} {first}s are {a + b} {first}s.",
        f"{a} times {b} {first}s are {a * b} {first}s.",
        f"Half of {2 * a} {first}s are {a} {first}s.",
        f"The word {first} has {len(first)} letters.",
        f"The word {first} begins with {first[0]} and ends with {first[-1]}.",
        f"The word {before} comes before the word {after} in a dictionary.",
    )
    return sentences[int(rng.integers(len(sentences)))]


def check_fault_rate(fault_rate: float) -> None:
    """Raise TypeError unless `fault_rate` is a number, ValueError unless it is in [0, 1)."""
    check_number("fault_rate", fault_rate, 0, 1)
    if fault_rate == 1:
        raise ValueError("expected fault_rate below 1, since no command would ever succeed, got 1")
