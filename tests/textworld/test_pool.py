"""Games made ahead of time: each once, resumed, and the very games that are played."""

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from textagent_gym import cache as data
from textagent_gym.envs.textworld.generation.prepare import prepare, shared_structures, task_specs_of
from textagent_gym.envs.textworld.tasks import cached_file, make_task

EASY = "TextWorld-w2-o3-q4-Dense-v0"


def test_what_is_missing_is_made_and_is_what_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.CACHE_VARIABLE, str(tmp_path))
    make_task.cache_clear()
    specs = task_specs_of(EASY, {}, range(4))
    names = [spec.name for spec in specs]
    assert len(set(specs)) == 4
    assert not any(cached_file(spec).exists() for spec in specs)
    assert list(prepare(EASY, {}, range(3), 2)) == names[:3]
    assert [cached_file(spec).exists() for spec in specs] == [True] * 3 + [False]
    env = gym.make(EASY)
    _, info = env.reset(seed=2)
    assert info["task_id"].startswith(names[2])
    assert list(prepare(EASY, {}, (3, 0, 3), 2)) == [names[0], names[3], names[3]]
    assert all(cached_file(spec).exists() for spec in specs)
    make_task.cache_clear()


def test_threads_read_kept_games_side_by_side() -> None:
    """In a fresh interpreter, since what the textworld package has parsed once it does not parse again."""
    program = """
from concurrent.futures import ThreadPoolExecutor
import gymnasium as gym
import textagent_gym

def task_id(seed):
    return gym.make("TextWorld-w2-o3-q4-Dense-v0").reset(seed=seed)[1]["task_id"]

with ThreadPoolExecutor(8) as executor:
    print(*executor.map(task_id, range(8)))
"""
    env = gym.make(EASY)
    expected = [env.reset(seed=seed)[1]["task_id"] for seed in range(8)]
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout.split() == expected, run.stderr[-2000:]


def test_other_domains_have_no_games_to_make() -> None:
    with pytest.raises(ValueError, match="expected an id of TextWorld, got CartPole-v1"):
        next(prepare("CartPole-v1", {}, range(2), 1))


def test_no_test_game_has_the_structure_of_a_train_game() -> None:
    found = shared_structures(EASY, {}, 20)
    assert found["shared"] == 0
    assert 1 < found["train"] <= 20 and 1 < found["test"] <= 20
