"""Games made ahead of time: each once, resumed, and the very games that are played."""

from pathlib import Path

import gymnasium as gym
import pytest

from textagent_gym import data
from textagent_gym.envs.textworld.pool import missing_recipes, prepare, shared_structures
from textagent_gym.envs.textworld.tasks import make_task

EASY = "TextWorld-w2-o3-q4-Dense-v0"


def test_what_is_missing_is_made_and_is_what_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.CACHE_VARIABLE, str(tmp_path))
    make_task.cache_clear()
    recipes = missing_recipes(EASY, {}, range(4))
    assert len(recipes) == 4
    assert list(prepare(recipes[:3], 2)) == [recipe.name for recipe in recipes[:3]]
    assert missing_recipes(EASY, {}, range(4)) == recipes[3:]
    env = gym.make(EASY)
    _, info = env.reset(seed=2)
    assert info["task_id"].startswith(recipes[2].name)
    assert missing_recipes(EASY, {}, range(4)) == recipes[3:]
    make_task.cache_clear()


def test_other_domains_have_no_games_to_make() -> None:
    with pytest.raises(ValueError, match="expected an id of TextWorld, got CartPole-v1"):
        missing_recipes("CartPole-v1", {}, range(2))


def test_no_test_game_has_the_structure_of_a_train_game() -> None:
    found = shared_structures(EASY, {}, 20)
    assert found["shared"] == 0
    assert 1 < found["train"] <= 20 and 1 < found["test"] <= 20
