"""Numbers instead of text, for libraries of classical reinforcement learning: indices of commands, bags of words, tokens.

The wrappers need Gymnasium alone, and work on any environment of strings; the first one needs `admissible_commands` in info.

    env = HashedBagOfWords(AdmissibleActionIndex(gym.make("TextWorld-Easy-Dense-v0"), max_actions=24))
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from textagent_gym.mechanics.knobs import check_choice, check_integer
from textagent_gym.wrappers import Step

Mask = NDArray[np.int8]

_WORD = re.compile(r"\w+")


def mask_of(num_commands: int, max_actions: int) -> Mask:
    """Return (max_actions,) 1 for each place of a command, 0 for those beyond."""
    return (np.arange(max_actions) < num_commands).astype(np.int8)


class AdmissibleActionIndex(gym.Wrapper[str, Any, str, Any], RecordConstructorArgs):
    """An action is the place of a command among the admissible ones, from 0.

    `info["action_mask"]` and `action_masks()` say which places there are; an action beyond them is a step in which nothing
    is done. The order of the commands is that of the environment: sorted, so that a place means another command in another
    state.

    Args:
        env: An environment whose info lists `admissible_commands`.
        max_actions: Size of the action space.

    Raises:
        ValueError: The environment lists no commands, or more than `max_actions` (at reset or step).
    """

    def __init__(self, env: gym.Env[str, str], max_actions: int = 64) -> None:
        RecordConstructorArgs.__init__(self, max_actions=max_actions)
        gym.Wrapper.__init__(self, env)
        check_integer("max_actions", max_actions, low=1)
        self.action_space = Discrete(max_actions)
        self._size = max_actions
        self._commands: tuple[str, ...] = ()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode, with `info["action_mask"]` (max_actions,) of 0 and 1."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._masked(info)

    def step(self, action: int | np.int64) -> Step:
        """Play the command at a place; `info["action_mask"]` is that of the next step."""
        place = int(action)
        command = self._commands[place] if 0 <= place < len(self._commands) else ""
        observation, reward, terminated, truncated, info = self.env.step(command)
        return observation, float(reward), terminated, truncated, self._masked(info)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return (max_actions,) True where there is a command; the name is the one that sb3-contrib asks for."""
        return self._mask().astype(np.bool_)

    def _masked(self, info: dict[str, Any]) -> dict[str, Any]:
        commands = info.get("admissible_commands")
        if commands is None:
            raise ValueError(
                "expected info['admissible_commands'], got none: this environment knows no list of commands"
            )
        if len(commands) > self._size:
            raise ValueError(f"expected at most {self._size} commands (max_actions), got {len(commands)}")
        self._commands = tuple(commands)
        return {**info, "action_mask": self._mask()}

    def _mask(self) -> Mask:
        return mask_of(len(self._commands), self._size)


class FixedSeeds(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Episodes play a list of seeds over and over, in its order, so that a policy meets the same tasks again.

    `reset(seed=s)` begins at the place `s % len(seeds)`, and a reset without a seed goes on with the next one: environments
    of a vector, which get consecutive seeds, begin with different tasks.

    Args:
        env: Any environment.
        seeds: Seeds of the resets.

    Raises:
        ValueError: There are no seeds.
    """

    def __init__(self, env: gym.Env[Any, Any], seeds: Sequence[int]) -> None:
        RecordConstructorArgs.__init__(self, seeds=seeds)
        gym.Wrapper.__init__(self, env)
        if not seeds:
            raise ValueError("expected at least one seed, got none")
        self._seeds = tuple(seeds)
        self._place = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode with the next seed of the list."""
        place = self._place if seed is None else seed
        self._place = place + 1
        return self.env.reset(seed=self._seeds[place % len(self._seeds)], options=options)


def bag_of_words(text: str, num_features: int) -> NDArray[np.float32]:
    """Return (num_features,) how often each word of a text occurs, at the place that its CRC-32 gives it."""
    counts = np.zeros(num_features, dtype=np.float32)
    for word in _WORD.findall(text.lower()):
        counts[zlib.crc32(word.encode()) % num_features] += 1
    return counts


class HashedBagOfWords(gym.ObservationWrapper[NDArray[np.float32], Any, str], RecordConstructorArgs):
    """An observation is how often each word occurs, by the word's hash: (num_features,) float32, or twice as many.

    Hashing needs no vocabulary, and is the same on every machine (CRC-32 of the lower-case word). Words that share a place
    are counted together (Weinberger et al., arXiv 0902.2206, without the sign).

    Args:
        env: An environment of strings.
        num_features: Places for words.
        keep_first: True if the first observation of the episode, which states the task, is repeated in each one.
    """

    def __init__(self, env: gym.Env[str, Any], num_features: int = 512, keep_first: bool = True) -> None:
        RecordConstructorArgs.__init__(self, num_features=num_features, keep_first=keep_first)
        gym.ObservationWrapper.__init__(self, env)
        check_integer("num_features", num_features, low=1)
        check_choice("keep_first", keep_first, (True, False))
        self._num_features = num_features
        self._first: NDArray[np.float32] | None = None
        self._keep_first = keep_first
        size = num_features * (2 if keep_first else 1)
        most = getattr(env.observation_space, "max_length", 2**20)  # a word has a character at least
        self.observation_space = Box(0, most, (size,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode."""
        self._first = None
        return super().reset(seed=seed, options=options)

    def observation(self, observation: str) -> NDArray[np.float32]:
        """Return the counts of the hashed words."""
        counts = bag_of_words(observation, self._num_features)
        if not self._keep_first:
            return counts
        self._first = counts if self._first is None else self._first
        return np.concatenate([self._first, counts])


class CommandWords(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """An observation is a row of words for each place of a command: (max_actions, 3 * num_features) float32 of 0 and 1.

    The first third of a row says which words, by hash, the command has; the second, which of these the first observation
    of the episode has, which states the task; the last, which of these this observation has. A row without a command is 0.
    A policy that scores every row with the same weights reads what a command says, and can play tasks that it has not met.

    Args:
        env: An `AdmissibleActionIndex`; without `show_admissible`, which would make the last third say nothing.
        num_features: Places for words.

    Raises:
        ValueError: Actions are not places of commands.
    """

    def __init__(self, env: gym.Env[str, Any], num_features: int = 128) -> None:
        RecordConstructorArgs.__init__(self, num_features=num_features)
        gym.Wrapper.__init__(self, env)
        check_integer("num_features", num_features, low=1)
        if not isinstance(env.action_space, Discrete):
            raise ValueError(f"expected places of commands (AdmissibleActionIndex), got actions of {env.action_space}")
        self._num_features = num_features
        self._task = np.zeros(num_features, dtype=np.bool_)
        self.observation_space = Box(0, 1, (int(env.action_space.n), 3 * num_features), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._task = self._words(observation)
        return self._rows(observation, info), info

    def step(self, action: int | np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Play the command at a place."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._rows(observation, info), float(reward), terminated, truncated, info

    def _rows(self, observation: str, info: dict[str, Any]) -> NDArray[np.float32]:
        rows = np.zeros(self.observation_space.shape or (), dtype=np.float32)
        now = self._words(observation)
        for row, command in zip(rows, info["admissible_commands"], strict=False):
            words = self._words(command)
            row[:] = np.concatenate([words, words & self._task, words & now])
        return rows

    def _words(self, text: str) -> NDArray[np.bool_]:
        return bag_of_words(text, self._num_features) > 0


class TokenizedObservation(gym.ObservationWrapper[NDArray[np.int64], Any, str], RecordConstructorArgs):
    """An observation is its tokens: (max_tokens,) int64, padded at the end, the first ones cut off where there are more.

    Args:
        env: An environment of strings.
        encode: Text -> token ids below `vocab_size`, such as a tokenizer's `encode`.
        vocab_size: Number of tokens.
        max_tokens: Length of an observation.
        pad_token_id: Token that fills up.
    """

    def __init__(
        self,
        env: gym.Env[str, Any],
        encode: Callable[[str], Sequence[int]],
        vocab_size: int,
        max_tokens: int = 512,
        pad_token_id: int = 0,
    ) -> None:
        RecordConstructorArgs.__init__(
            self, encode=encode, vocab_size=vocab_size, max_tokens=max_tokens, pad_token_id=pad_token_id
        )
        gym.ObservationWrapper.__init__(self, env)
        check_integer("vocab_size", vocab_size, low=1)
        check_integer("max_tokens", max_tokens, low=1)
        check_integer("pad_token_id", pad_token_id, low=0, high=vocab_size - 1)
        self._encode, self._length, self._pad = encode, max_tokens, pad_token_id
        self.observation_space = Box(0, vocab_size - 1, (max_tokens,), np.int64)

    def observation(self, observation: str) -> NDArray[np.int64]:
        """Return the last tokens of the text, padded."""
        tokens = list(self._encode(observation))[-self._length :]
        return np.array(tokens + [self._pad] * (self._length - len(tokens)), dtype=np.int64)
