"""An episode of any environment of strings: nothing is asked of its info, and what it pays is summed."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from textagent_gym.interop.episode import Episode, options_of, seed_of


class Parrot(gym.Env[str, str]):
    """Pays half for each word that it expects; knows nothing of this package.

    Args:
        num_words: Words of an episode.
        mute: Whether it answers by bytes.
    """

    def __init__(self, num_words: int = 2, mute: bool = False) -> None:
        self.observation_space = self.action_space = spaces.Text(100)
        self._num_words, self._mute = num_words, mute

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._word = str(self.np_random.integers(1000))
        self._told = 0
        return self._word, {"count": np.int64(self._told), "mask": np.array([1, 0]), "self": Parrot}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._told += 1
        text: Any = b"" if self._mute else action
        over = self._told == self._num_words
        return text, np.float32(0.5) if action == self._word else 0, False, over, {}  # type: ignore[return-value]


gym.register("Parrot-v0", entry_point=Parrot, disable_env_checker=True)


def test_rewards_are_summed_and_the_end_is_held() -> None:
    episode = Episode("Parrot-v0", {"num_words": 3})
    with pytest.raises(ResetNeeded, match="no episode is running"):
        episode.act("a word")
    word = episode.start(7)
    assert episode.act(word) == word
    episode.act("another")
    assert (episode.total_reward, episode.last_reward, episode.over) == (0.5, 0.0, False)
    episode.act(word)
    assert (episode.total_reward, episode.terminated, episode.truncated) == (1.0, False, True)
    assert episode.metrics == {"episode_return": 1.0, "num_steps": 3.0}
    with pytest.raises(ResetNeeded, match="no episode is running"):
        episode.act(word)
    episode.start(7)
    assert (episode.total_reward, episode.num_steps, episode.over) == (0.0, 0, False)


@pytest.mark.parametrize("seed", [np.int64(7), np.uint8(7)])
def test_seeds_of_numpy_are_as_good(seed: Any) -> None:
    episode = Episode("Parrot-v0")
    assert episode.start(seed) == episode.start(7)
    with pytest.raises(TypeError):
        episode.start("7")  # type: ignore[arg-type]


def test_an_environment_that_does_not_speak_is_an_error() -> None:
    episode = Episode("Parrot-v0", {"mute": True})
    episode.start(0)
    with pytest.raises(TypeError, match="expected an observation of type str from Parrot-v0, got bytes"):
        episode.act("a word")


@pytest.mark.parametrize("column", [{}, {"seed": None, "task_id": None}])
def test_a_row_has_its_seed_and_task_in_columns_or_in_extra_info(column: dict[str, Any]) -> None:
    row = {**column, "extra_info": {"seed": 0, "task_id": "one"}}
    assert seed_of(row) == 0 and options_of(row) == {"task_id": "one"}
    assert seed_of({**row, "seed": 4}) == 4 and options_of({**row, "task_id": "two"}) == {"task_id": "two"}
    assert options_of({**column, "extra_info": None}) is None
    with pytest.raises(ValueError, match="expected a seed in the row, got"):
        seed_of({**column, "extra_info": None})
