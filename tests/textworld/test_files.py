"""Game files of one's own: played as they are, measured, and refused with a word that names the file."""

import json
import shutil
from pathlib import Path

import gymnasium as gym
import pytest

import textagent_gym  # noqa: F401
from textagent_gym.agents import ExpertAgent
from textagent_gym.envs.textworld.reference import compiled
from textagent_gym.envs.textworld.tasks import make_task
from textagent_gym.envs.textworld.types import TaskSpec
from textagent_gym.testing import check_text_env, play

TASK = make_task(TaskSpec(num_rooms=3, num_objects=4, solution_length=4, seed=1))


@pytest.fixture
def game_file(tmp_path: Path) -> Path:
    path = tmp_path / "my game.json"
    path.write_text(json.dumps(TASK.whole_game.serialize()))
    return path


def test_a_game_file_is_played_natively_and_measured(game_file: Path) -> None:
    env = gym.make("TextWorld-Custom-v0", game=str(game_file), expose_solution=True)
    seen = play(env, ExpertAgent(), seed=0)
    assert seen[-1][4]["success"]
    assert sum(step[1] for step in seen) == pytest.approx(1)
    card = seen[0][4]["task_card"]
    assert card["requested"] == {}
    assert card["measured"] == TASK.measured
    assert card["backend"] == "native"
    assert card["game_file"] == str(game_file)
    assert env.unwrapped.task_ids == (seen[0][4]["task_id"],)
    assert env.reset(options={"task_id": seen[0][4]["task_id"]})[0] == seen[0][0]
    with pytest.raises(ValueError, match="the only one"):
        env.reset(options={"task_id": "another"})


def test_a_folder_and_a_list_are_many_tasks(game_file: Path) -> None:
    other = make_task(TaskSpec(num_rooms=3, num_objects=4, solution_length=4, seed=2))
    second = game_file.with_name("another.json")
    second.write_text(json.dumps(other.whole_game.serialize()))
    shutil.copy(compiled(TASK), game_file.with_suffix(".z8"))  # the same game in another form
    (game_file.parent / "notes.txt").write_text("not a game")
    by_folder = gym.make("TextWorld-Custom-v0", game=str(game_file.parent))
    by_list = gym.make("TextWorld-Custom-v0", game=[str(second), str(game_file)])
    names = by_folder.unwrapped.task_ids  # type: ignore[attr-defined]
    assert names == by_list.unwrapped.task_ids and len(names) == 2  # type: ignore[attr-defined]
    assert {by_folder.reset(seed=seed)[1]["task_id"] for seed in range(20)} == set(names)
    for name in names:
        assert by_folder.reset(options={"task_id": name})[0] == by_list.reset(options={"task_id": name})[0]
    with pytest.raises(ValueError, match=r"expected one of the 2 task_ids, such as 'file-another\..*', got 'third'"):
        by_folder.reset(options={"task_id": "third"})
    with pytest.raises(
        ValueError, match=r"expected each game once, got one in .*my game.json and again in .*my game.z8"
    ):
        gym.make("TextWorld-Custom-v0", game=[str(game_file), str(game_file.with_suffix(".z8"))])
    with pytest.raises(FileNotFoundError, match="expected at least one game file"):
        gym.make("TextWorld-Custom-v0", game=[])
    with pytest.raises(ValueError, match="expected game to be a path or a list of paths, got 3"):
        gym.make("TextWorld-Custom-v0", game=3)
    (game_file.parent / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected game files .* in the folder .*empty, found none"):
        gym.make("TextWorld-Custom-v0", game=str(game_file.parent / "empty"))


def test_a_game_that_the_native_engine_does_not_model_leaves_the_others_to_it(game_file: Path) -> None:
    content = json.loads(game_file.read_text())
    room = next(info for key, info in content["infos"] if key.startswith("r_"))
    room["desc"] += "[if the player is in r_0] You are here.[end if]"
    strange = game_file.with_name("strange.json")
    strange.write_text(json.dumps(content))
    env = gym.make("TextWorld-Custom-v0", game=[str(game_file), str(strange)])
    plain, other = env.unwrapped.task_ids  # type: ignore[attr-defined]
    backends = [
        env.reset(options={"task_id": name})[1]["task_card"]["backend"] for name in (plain, other, other, plain)
    ]
    assert backends == ["native", "inform7", "inform7", "native"]
    env.close()


def test_the_contract_holds_for_files(game_file: Path) -> None:
    check_text_env("TextWorld-Custom-v0", seeds=(0,), game=str(game_file))


def test_the_story_beside_the_description_will_do(game_file: Path) -> None:
    story = game_file.with_suffix(".z8")
    shutil.copy(compiled(TASK), story)
    by_story, by_description = (gym.make("TextWorld-Custom-v0", game=str(path)) for path in (story, game_file))
    assert by_story.reset(seed=0)[0] == by_description.reset(seed=0)[0]
    game_file.unlink()
    assert gym.make("TextWorld-Custom-v0", game=str(story)).reset()[1]["task_card"]["backend"] == "jericho"


def test_what_only_inform_can_say_is_said_by_the_interpreter(game_file: Path) -> None:
    content = json.loads(game_file.read_text())
    room = next(info for key, info in content["infos"] if key.startswith("r_"))
    room["desc"] += "[if the player is in r_0] You are here.[end if]"
    game_file.write_text(json.dumps(content))
    env = gym.make("TextWorld-Custom-v0", game=str(game_file))
    _, info = env.reset(seed=0)
    assert info["task_card"]["backend"] == "inform7"


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign", "list", "suffix"])
def test_a_file_that_is_no_game_is_named(game_file: Path, damage: str) -> None:
    name = str(game_file)
    if damage == "missing":
        game_file.unlink()
    elif damage == "suffix":
        name = str(game_file.with_suffix(".txt"))
    else:
        whole = game_file.read_text()
        game_file.write_text({"cut": whole[:-100], "foreign": '{"name": "zork"}', "list": "[1, 2]"}[damage])
    with pytest.raises((ValueError, FileNotFoundError), match="my game"):
        gym.make("TextWorld-Custom-v0", game=name)


def test_a_file_is_needed_and_has_no_knobs(game_file: Path) -> None:
    with pytest.raises(ValueError, match="expected game=PATH"):
        gym.make("TextWorld-Custom-v0")
    with pytest.raises(ValueError, match="expected no solution_length with game="):
        gym.make("TextWorld-Custom-v0", game=str(game_file), solution_length=4)
