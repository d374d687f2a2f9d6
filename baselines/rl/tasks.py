"""Tasks of an iteration: seeds of one environment, a weighted mixture of several, or a curriculum.

Everything but an adaptive curriculum's stage is a function of the run's seed and the iteration, so that a resumed run
plays what it would have played.
"""

from __future__ import annotations

import numpy as np

from baselines.config.settings import TaskSettings
from baselines.sampling.environments import EnvKwargs, Task

NUM_TEXT_SEEDS = 100
"""Seeds whose texts a new tokenizer is trained on, where the seeds are without end."""


class TaskSchedule:
    """Draws the tasks of every iteration.

    Attributes:
        kinds: the environments, each an id and its constructor options; `Task.kind` counts in this order.
        stage: where an adaptive curriculum stands, an index into `kinds`.
    """

    def __init__(
        self, env_id: str, env_kwargs: EnvKwargs, settings: TaskSettings, num_iterations: int, seed: int
    ) -> None:
        self.kinds = [(name, env_kwargs) for name in (env_id, *settings.also)]
        self.stage = 0
        self._settings = settings
        self._num_iterations = num_iterations
        self._seed = seed
        weights = np.array([1.0, *settings.also.values()])
        self._shares = weights / weights.sum()

    def draw(self, iteration: int, count: int) -> list[Task]:
        """Return the `count` tasks of an iteration (from 0).

        Seeds are consecutive numbers that no iteration has had before, or, of a limited number of seeds, consecutive
        pieces of one random order of them after another.
        """
        kinds = self._draw_kinds(iteration, count)
        numbers = range(iteration * count, (iteration + 1) * count)
        return [Task(self._seed_of(number), kind) for number, kind in zip(numbers, kinds, strict=True)]

    def observe(self, success_rate: float) -> None:
        """Move an adaptive curriculum by what an iteration achieved, in [0, 1]."""
        if self._settings.curriculum != "adaptive":
            return
        if success_rate > self._settings.band_high:
            self.stage = min(self.stage + 1, len(self.kinds) - 1)
        elif success_rate < self._settings.band_low:
            self.stage = max(self.stage - 1, 0)

    @property
    def text_seeds(self) -> range:
        """Seeds whose texts a new tokenizer is trained on."""
        first = self._settings.first_train_seed
        return range(first, first + (self._settings.num_train_seeds or NUM_TEXT_SEEDS))

    def _draw_kinds(self, iteration: int, count: int) -> list[int]:
        if self._settings.curriculum == "adaptive":
            return [self.stage] * count
        if self._settings.curriculum == "fixed":
            return [min(iteration * len(self.kinds) // self._num_iterations, len(self.kinds) - 1)] * count
        rng = np.random.default_rng([self._seed, iteration, len(self.kinds)])
        kinds: list[int] = rng.choice(len(self.kinds), size=count, p=self._shares).tolist()
        return kinds

    def _seed_of(self, number: int) -> int:
        first, count = self._settings.first_train_seed, self._settings.num_train_seeds
        if count == 0:
            return first + number
        cycle, position = divmod(number, count)
        order = np.random.default_rng([self._seed, cycle]).permutation(count)
        return first + int(order[position])
