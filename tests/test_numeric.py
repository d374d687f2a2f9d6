"""Numbers instead of text: indices with a mask, bags of words, tokens; and each passes Gymnasium's own checker."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.toy import CorridorEnv
from textagent_gym.interop.numeric import (
    AdmissibleActionIndex,
    CommandWords,
    FixedSeeds,
    HashedBagOfWords,
    TokenizedObservation,
    bag_of_words,
)

ALFWORLD = "ALFWorld-Easy-Dense-v0"


def letters(text: str) -> list[int]:
    return [ord(letter) % 97 for letter in text]


def wrapped(env_id: str = ALFWORLD, **options: Any) -> gym.Env[Any, Any]:
    return HashedBagOfWords(AdmissibleActionIndex(gym.make(env_id, **options), max_actions=64), num_features=64)


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning")
def test_the_checker_of_gymnasium_accepts_them() -> None:
    check_env(HashedBagOfWords(AdmissibleActionIndex(CorridorEnv(), 4), num_features=16), skip_render_check=True)
    check_env(TokenizedObservation(AdmissibleActionIndex(CorridorEnv(), 4), letters, 97, 50), skip_render_check=True)
    check_env(CommandWords(AdmissibleActionIndex(FixedSeeds(CorridorEnv(), [5, 6]), 4), 16), skip_render_check=True)


def test_an_index_plays_the_command_at_its_place() -> None:
    env = AdmissibleActionIndex(gym.make(ALFWORLD, expose_solution=True), max_actions=64)
    _, info = env.reset(seed=0)
    solution, success = info["solution"], False
    for command in solution:
        commands = info["admissible_commands"]
        assert info["action_mask"].tolist() == [1] * len(commands) + [0] * (64 - len(commands))
        np.testing.assert_array_equal(env.action_masks(), info["action_mask"].astype(bool))
        *_, info = env.step(commands.index(command))
        success = info["success"]
    assert success


@pytest.mark.parametrize("place", [60, -1, np.int64(63)])
def test_an_index_without_a_command_does_nothing(place: Any) -> None:
    env = AdmissibleActionIndex(gym.make(ALFWORLD), max_actions=64)
    _, before = env.reset(seed=0)
    _, reward, *_, info = env.step(place)
    assert not info["valid_command"]
    assert reward == 0
    assert info["admissible_commands"] == before["admissible_commands"]


def test_more_commands_than_places_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected at most 3 commands \(max_actions\), got \d+"):
        AdmissibleActionIndex(gym.make(ALFWORLD), max_actions=3).reset(seed=0)


def test_an_environment_without_a_list_is_an_error() -> None:
    class Mute(CorridorEnv):
        def _say(self, text: str, **options: Any) -> Any:
            return super()._say(text, **options)._replace(admissible=None)

    with pytest.raises(ValueError, match="knows no list of commands"):
        AdmissibleActionIndex(Mute()).reset(seed=0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["lamp", "Lamp", "a", "hall", "42"]), max_size=20))
def test_a_bag_counts_every_word_once_whatever_its_case_and_place(words: list[str]) -> None:
    bag = HashedBagOfWords(CorridorEnv(), num_features=4096, keep_first=False)
    counts = bag.observation(" ".join(words))
    assert counts.sum() == len(words)
    np.testing.assert_array_equal(counts, bag.observation("\n".join(reversed(words)).upper()))
    assert counts.max(initial=0) == max((sum(w.lower() == v.lower() for v in words) for w in words), default=0)


def test_the_first_observation_is_told_beside_each_one() -> None:
    env = HashedBagOfWords(CorridorEnv(), num_features=32)
    first, _ = env.reset(seed=0)
    np.testing.assert_array_equal(first[:32], first[32:])
    second, *_ = env.step("east")
    np.testing.assert_array_equal(second[:32], first[:32])
    assert (second[32:] != first[32:]).any()
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(again[:32], again[32:])


def test_hashes_are_the_same_in_every_process() -> None:
    program = (
        "from tests.support.toy import CorridorEnv; from textagent_gym.interop.numeric import HashedBagOfWords as B;"
        "print(*B(CorridorEnv(), 64, False).observation('a lamp in the hall').nonzero()[0])"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env).stdout
        for env in ({"PYTHONHASHSEED": "1", "PYTHONPATH": "."}, {"PYTHONHASHSEED": "2", "PYTHONPATH": "."})
    }
    assert len(outputs) == 1


def test_tokens_are_cut_in_front_and_padded_behind() -> None:
    env = TokenizedObservation(CorridorEnv(), letters, vocab_size=97, max_tokens=5, pad_token_id=9)
    assert env.observation("abc").tolist() == [0, 1, 2, 9, 9]
    assert env.observation("abcdefg").tolist() == [2, 3, 4, 5, 6]
    assert env.observation_space.contains(env.observation(""))


def test_fixed_seeds_are_played_in_turn() -> None:
    env = FixedSeeds(CorridorEnv(), [7, 3, 5])
    tasks = [env.reset()[1]["task_id"] for _ in range(6)]
    assert tasks == [CorridorEnv().reset(seed=seed)[1]["task_id"] for seed in (7, 3, 5)] * 2


def test_a_seed_is_a_place_in_the_list() -> None:
    env = FixedSeeds(CorridorEnv(), range(10, 14))
    tasks = [env.reset(seed=6)[1]["task_id"], env.reset()[1]["task_id"], env.reset()[1]["task_id"]]
    assert tasks == [CorridorEnv().reset(seed=seed)[1]["task_id"] for seed in (12, 13, 10)]


def test_no_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one seed"):
        FixedSeeds(CorridorEnv(), [])


def test_a_row_tells_the_words_of_its_command_and_where_else_they_are() -> None:
    class Talkative(CorridorEnv):
        def _say(self, text: str, **options: Any) -> Any:
            answer = "Go east." if text.startswith("Corridor") else "The west, the west."
            return super()._say(answer, **options)._replace(admissible=("go east", "go west"))

    env = CommandWords(AdmissibleActionIndex(Talkative(), 4), num_features=512)
    first, info = env.reset(seed=0)
    second, *_ = env.step(0)
    go, east, west, none = (bag_of_words(text, 512) for text in ("go", "east", "west", ""))
    assert env.observation_space.contains(first)
    assert info["action_mask"].sum() == 2
    np.testing.assert_array_equal(first[0], np.concatenate([go + east, go + east, go + east]))
    np.testing.assert_array_equal(first[1], np.concatenate([go + west, go, go]))
    np.testing.assert_array_equal(second[0], np.concatenate([go + east, go + east, none]))
    np.testing.assert_array_equal(second[1], np.concatenate([go + west, go, west]))
    assert not first[2:].any()


def test_words_of_commands_need_places() -> None:
    with pytest.raises(ValueError, match="expected places of commands"):
        CommandWords(CorridorEnv())


@pytest.mark.parametrize(
    "make",
    [
        lambda: AdmissibleActionIndex(CorridorEnv(), max_actions=0),
        lambda: HashedBagOfWords(CorridorEnv(), num_features=0),
        lambda: CommandWords(AdmissibleActionIndex(CorridorEnv()), num_features=0),
        lambda: TokenizedObservation(CorridorEnv(), letters, vocab_size=5, pad_token_id=5),
    ],
)
def test_sizes_out_of_range_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()


def test_they_survive_the_spec_of_an_environment() -> None:
    env = wrapped(max_steps=3)
    assert env.spec is not None
    again = gym.make(env.spec)
    np.testing.assert_array_equal(env.reset(seed=3)[0], again.reset(seed=3)[0])
