"""Generated games as files: ALFWorld's own environments find and play them, and so does `ALFWorld-v0`."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from textagent_gym.core import TextAgentEnv
from textagent_gym.envs.alfworld.generation.export import prepare, write_game
from textagent_gym.envs.packages import import_alfworld


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, Any]:
    env = gym.make("ALFWorld-Easy-Dense-v0", preamble=False)
    env.reset(seed=3)
    assert isinstance(env.unwrapped, TextAgentEnv)
    write_game(env.unwrapped.task, tmp_path)
    return tmp_path, env.unwrapped.task


# The package leaves the game files that it reads open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_alfworlds_own_environment_finds_and_solves_it(exported: tuple[Path, Any]) -> None:
    folder, task = exported
    config = {
        "env": {
            "goal_desc_human_anns_prob": 0,
            "task_types": [1, 2, 3, 4, 5, 6],
            "domain_randomization": False,
            "expert_type": "handcoded",
        },
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": 50}},
        "dataset": {"data_path": str(folder / "json_2.1.1" / "train"), "num_train_games": -1},
    }
    env = import_alfworld().AlfredTWEnv(config, train_eval="train").init_env(batch_size=1)
    (observation,), _ = env.reset()
    assert task.game.task in observation
    for command in task.solution:
        (observation,), (score,), (done,), infos = env.step([command])
    assert (score, done, infos["won"][0]) == (1, True, True)
    env.close()


def test_the_real_games_environment_plays_it(exported: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, task = exported
    monkeypatch.setenv("ALFWORLD_DATA", str(folder))
    env = gym.make("ALFWorld-v0", expose_solution=True)
    observation, info = env.reset(seed=0)
    assert task.game.task in observation
    assert info["solution"] == task.solution


def test_only_generated_tasks_of_alfworld_are_written(tmp_path: Path) -> None:
    env = gym.make("TextWorld-Easy-Dense-v0")
    env.reset(seed=0)
    assert isinstance(env.unwrapped, TextAgentEnv)
    with pytest.raises(ValueError, match="expected a generated task of ALFWorld"):
        write_game(env.unwrapped.task, tmp_path)


def test_an_id_may_begin_with_its_module(tmp_path: Path) -> None:
    (path,) = prepare("textagent_gym:ALFWorld-Easy-Dense-v0", {"split": "train"}, [3], 1, tmp_path)
    assert Path(path).is_file()
