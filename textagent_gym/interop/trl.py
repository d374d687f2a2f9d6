"""TRL: any environment of strings for `GRPOTrainer(environment_factory=...)`, played by a tool call per step.

    trainer = GRPOTrainer(
        model="Qwen/Qwen3-0.6B",
        args=GRPOConfig(num_generations=8, max_completion_length=4096),
        train_dataset=make_dataset(range(1000)),
        environment_factory=environment_factory("textagent_gym:TextWorld-Easy-Dense-v0"),
    )

The seed in a row of the dataset chooses the task, so the generations of a group share one. The reward is the return of the
episode, from the environment itself; TRL logs it as `rewards/TextEnvironment/mean`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from gymnasium.error import DependencyNotInstalled

from textagent_gym.interop.episode import Episode, options_of

try:
    import trl  # noqa: F401  # what it brings is used, and no class of its own
    from datasets import Dataset
except ImportError as error:
    raise DependencyNotInstalled("expected TRL: pip install 'trl>=1.8'") from error

PROMPT = "Play this game: call the tool `act` once for each step, and read what it answers before the next one."


class TextEnvironment:
    """Environment as TRL calls it: `reset`, the tools, which are all other public methods, and `get_reward`.

    Args:
        env_id: An id for `gym.make`.
        env_kwargs: Constructor options.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> None:
        self._episode = Episode(env_id, env_kwargs)
        self._failure: Exception | None = None
        weakref.finalize(self, self._episode.close)  # TRL never closes, and a public `close` would be a tool

    def reset(self, seed: int | None = None, **columns: Any) -> str:
        """Start the task of the row's seed, or of its `task_id`; the text that is returned ends the row's prompt.

        Raises:
            ValueError: The row has no seed, so that every member of a group would play another task.
        """
        if seed is None:
            raise ValueError(f"expected a column 'seed' in the dataset, got {', '.join(sorted(columns)) or 'none'}")
        self._failure = None
        return self._episode.start(seed, options_of(columns))

    def act(self, action: str) -> str:
        """Take one step in the game.

        Args:
            action: What to do, for example a command of the game.

        Returns:
            What happens then.
        """
        if self._episode.over:
            return "Nothing was done: the game is over."
        if not isinstance(action, str | int):
            return f"Nothing was done: expected action to be a string, got {type(action).__name__}."
        try:
            return self._episode.act(str(action))
        except Exception as failure:
            self._failure = failure  # TRL reports it to the model and continues; get_reward ends the run
            raise

    def get_reward(self) -> float:
        """Return the return of the episode.

        Raises:
            RuntimeError: The environment failed, so that the episode has no return.
        """
        if self._failure is not None:
            raise RuntimeError(f"expected an episode without failures, got {self._failure!r}") from self._failure
        return self._episode.total_reward


def environment_factory(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> Callable[[], TextEnvironment]:
    """Return the argument `environment_factory` of a trainer.

    One environment is made here, so that a mistake is found at once.
    """
    Episode(env_id, env_kwargs).close()
    return partial(TextEnvironment, env_id, env_kwargs)


def make_dataset(seeds: Iterable[int], prompt: str = PROMPT) -> Dataset:
    """Return a dataset of one row per seed: the prompt, to which the first observation is added, and the seed."""
    message = {"role": "user", "content": f"{prompt}\n\n"}
    return Dataset.from_list([{"prompt": [message], "seed": seed} for seed in seeds])
