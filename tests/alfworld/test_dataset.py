"""Real games in a folder: found, measured, kept, selected, and left out with a word where they are none."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import textagent_gym  # noqa: F401
from tests.support.rooms import HOT_APPLE, household, write_game, write_room
from textagent_gym.agents import ExpertAgent
from textagent_gym.cache import cache_folder
from textagent_gym.envs.alfworld import dataset
from textagent_gym.envs.alfworld.generation.game_file import game_data
from textagent_gym.envs.alfworld.pddl.parser import read_problem
from textagent_gym.envs.alfworld.tasks import file_task, make_task
from textagent_gym.envs.alfworld.types import TASK_TYPES, TaskSpec, TaskType
from textagent_gym.testing import check_text_env, play

LENGTHS: dict[TaskType, int] = {
    "pick_and_place_simple": 4,
    "pick_clean_then_place_in_recep": 6,
    "pick_two_obj_and_place": 8,
}
"""The drawn games: one of each type, of that length, with as many receptacles and twice as many objects."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder for games, and an empty cache."""
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture
def games(data: Path) -> Path:
    """Return a folder with three games."""
    for kind, length in LENGTHS.items():
        spec = TaskSpec(num_receptacles=length, num_objects=2 * length, solution_length=length, task_types=(kind,))
        task = make_task(spec)
        write_game(data, {**task.data, "walkthrough": list(task.solution)}, kind)
    return data


def make(**kwargs: Any) -> gym.Env[str, str]:
    return gym.make("ALFWorld-v0", **kwargs)


def names(split: str = "train", *, kinds: Any = LENGTHS) -> tuple[str, ...]:
    return tuple(f"{split}/{kind}-X-None-Y-1/trial_1" for kind in kinds)


def test_the_index_is_sorted_measured_and_the_same_again(games: Path) -> None:
    found = dataset.index("train")
    assert tuple(entry.task_id for entry in found) == tuple(sorted(names()))
    assert {entry.task_type: entry.solution_length for entry in found} == LENGTHS
    assert all(entry.state_space_size == entry.solution_length == entry.action_space_size / 2 for entry in found)
    dataset._index.cache_clear()
    assert dataset.index("train") == found
    for path in cache_folder().rglob("*.json"):
        path.unlink()
    dataset._index.cache_clear()
    assert dataset.index("train") == found


def test_an_index_in_the_cache_spares_reading_the_games(games: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = dataset.index("train")
    dataset._index.cache_clear()
    read: list[str] = []

    def spy(*args: Any, task_id: str, **kwargs: Any) -> Any:
        read.append(task_id)
        return file_task(*args, task_id=task_id, **kwargs)

    monkeypatch.setattr(dataset, "file_task", spy)
    assert dataset.index("train") == found
    assert read == []
    write_room(games, HOT_APPLE)
    assert len(dataset.index("train")) == len(found) + 1
    assert len(read) == len(found) + 1


def test_an_unreadable_index_is_made_anew(games: Path) -> None:
    found = dataset.index("train")
    (path,) = cache_folder().rglob("*.json")
    for content in ("[{", "{}x", '[{"task_id": 3}]', "[1]"):
        path.write_text(content)
        dataset._index.cache_clear()
        assert dataset.index("train") == found


def test_nothing_but_the_game_file_is_needed(games: Path) -> None:
    assert {path.name for path in games.rglob("*") if path.is_file()} == {"game.tw-pddl"}
    check_text_env("ALFWorld-v0", seeds=(0,), reward_density=1.0)


def test_movable_and_sliced_things_and_other_files_are_no_games(games: Path) -> None:
    write_room(games, HOT_APPLE, name="Apple-None-BreadSliced-1")
    write_room(games, HOT_APPLE, name="Apple-None-movable-1")
    write_game(games, game_data(HOT_APPLE), "pick_and_place_with_movable_recep")
    write_game(games, game_data(HOT_APPLE), "stack")
    (games / "json_2.1.1" / "train" / "notes.txt").write_text("by hand")
    (games / "json_2.1.1" / "train" / "pick_and_place_simple-X-None-Y-1" / "notes.txt").write_text("by hand")
    (games / "json_2.1.1" / "train" / "pick_and_place_simple-Z-None-Y-1" / "trial_1").mkdir(parents=True)
    assert make().unwrapped.task_ids == tuple(sorted(names()))


BAD_GAMES: dict[str, tuple[Callable[[str], str], str]] = {
    "cut": (lambda whole: whole[:-100], "expected a whole game file"),
    "empty": (lambda whole: "", "expected a whole game file"),
    "list": (lambda whole: "[1, 2]", "expected a JSON object, got list"),
    "foreign": (lambda whole: '{"name": "zork"}', "expected a game with 'pddl_domain'"),
    "number": (lambda whole: json.dumps({**json.loads(whole), "grammar": 3}), "expected a game with 'grammar'"),
    "unsolvable": (lambda whole: json.dumps({**json.loads(whole), "solvable": False}), "marked as unsolvable"),
    "no way": (lambda whole: whole.replace("canContain", "couldContain"), "no plan was found"),
    "no solution": (lambda whole: whole[:-1] + ', "walkthrough": ["look"]}', "expected a solution"),
    "pddl cut": (lambda whole: whole.replace("(:goal", "(:gaol"), "PDDL problem with :goal"),
}


@pytest.mark.parametrize("damage", BAD_GAMES)
def test_a_bad_file_is_named_and_left_out(games: Path, damage: str) -> None:
    change, message = BAD_GAMES[damage]
    path = write_room(games, HOT_APPLE)
    whole = path.read_text()
    if damage == "no solution":
        whole = whole.replace("canContain", "couldContain")
    path.write_text(change(whole))
    with pytest.warns(UserWarning, match=message) as answer:
        found = dataset.index("train")
    assert len(answer) == 1
    assert str(path) in str(answer[0].message)
    assert tuple(entry.task_id for entry in found) == tuple(sorted(names()))


NEEDED = {"atlocation", "cancontain", "heatable", "inreceptacle", "objecttype", "pickupable", "receptacleatlocation",
          "receptacletype"}  # fmt: skip
"""Predicates without which the apple cannot be heated."""


@pytest.mark.parametrize("predicate", sorted(read_problem(game_data(HOT_APPLE)["pddl_problem"]).facts))
def test_a_game_that_lacks_facts_is_played_or_refused(predicate: str) -> None:
    content = game_data(HOT_APPLE)
    start, goal = content["pddl_problem"].split("(:goal")
    content["pddl_problem"] = re.sub(rf"\({predicate} [^()]*\)", "", start, flags=re.IGNORECASE) + "(:goal" + goal
    refused = ""
    try:
        assert file_task(content, task_id="x", task_type="x", split="train", game_file="x").solution
    except ValueError as error:
        refused = str(error)
    assert refused.startswith("expected" if refused else "")
    assert bool(refused) == (predicate in NEEDED)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(games: Path) -> None:
    closed = games / "json_2.1.1" / "train" / names()[0].split("/")[1]
    closed.chmod(0)
    try:
        with pytest.raises(PermissionError, match=re.escape(str(closed))):
            make()
    finally:
        closed.chmod(0o755)


def test_missing_data_is_named_with_the_command_that_fetches_it(data: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"{data}/json_2.1.1/train.*alfworld-download"):
        make()


def test_an_empty_split_is_named_with_the_command_that_fills_it(data: Path) -> None:
    (data / "json_2.1.1" / "valid_seen").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=rf"{data}/json_2.1.1/valid_seen.*alfworld-download"):
        make(split="valid_seen")
    assert not list(cache_folder().rglob("*.json"))


@pytest.mark.parametrize(
    ("kwargs", "kinds"),
    [
        ({}, LENGTHS),
        ({"solution_length": 6}, ["pick_clean_then_place_in_recep"]),
        ({"state_space_size": 8, "action_space_size": 16}, ["pick_two_obj_and_place"]),
        ({"min_solution_length": 6}, ["pick_clean_then_place_in_recep", "pick_two_obj_and_place"]),
        ({"max_state_space_size": 6}, ["pick_and_place_simple", "pick_clean_then_place_in_recep"]),
        ({"min_action_space_size": 9, "max_action_space_size": 15}, ["pick_clean_then_place_in_recep"]),
        ({"task_types": ["pick_two_obj_and_place", "pick_and_place_simple"]},
         ["pick_and_place_simple", "pick_two_obj_and_place"]),
    ],
)  # fmt: skip
def test_knobs_select_among_the_games(games: Path, kwargs: dict[str, Any], kinds: Any) -> None:
    env = make(**kwargs)
    assert env.unwrapped.task_ids == names(kinds=kinds)
    drawn = {env.reset(seed=seed)[1]["task_id"] for seed in range(30)}
    assert drawn == set(names(kinds=kinds))


@pytest.mark.parametrize(
    "kwargs",
    [
        {"solution_length": 5},
        {"min_solution_length": 9},
        {"max_state_space_size": 3},
        {"min_action_space_size": 9, "max_action_space_size": 11},
        {"task_types": ["look_at_obj_in_light"]},
    ],
)
def test_a_selection_of_nothing_says_what_there_is(games: Path, kwargs: dict[str, Any]) -> None:
    there = "among 3, which have state_space_size 4 to 8; action_space_size 8 to 16; solution_length 4 to 8"
    with pytest.raises(ValueError, match=there) as answer:
        make(**kwargs)
    for name, value in kwargs.items():
        assert (value[0] if name == "task_types" else f"{name}={value}") in str(answer.value)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (
            {"split": "test"},
            ValueError,
            "expected split to be one of 'train', 'valid_seen', 'valid_unseen', got 'test'",
        ),
        ({"task_types": ["juggle"]}, ValueError, f"expected task_types to be one of '{TASK_TYPES[0]}'.*got 'juggle'"),
        ({"task_types": "pick_two_obj_and_place"}, ValueError, "expected task_types to be a list"),
        ({"task_types": []}, ValueError, "expected task_types to be a list"),
        ({"min_solution_length": 0}, ValueError, "expected min_solution_length at least 1, got 0"),
        ({"solution_length": 4.5}, TypeError, "expected solution_length to be an integer"),
        ({"games": "unreal"}, ValueError, "expected games to be one of 'generated', 'real'"),
    ],
)
def test_bad_requests_are_named(games: Path, kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"split": "valid_seen"}, "expected split to be one of 'train', 'test', got 'valid_seen'"),
        ({"min_solution_length": 3}, "expected min_solution_length and max_solution_length with games='real' alone"),
    ],
)
def test_generated_games_have_no_real_split_and_no_range(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gym.make("ALFWorld-Easy-Dense-v0", **kwargs)


def test_each_game_can_be_asked_for_by_name(games: Path) -> None:
    env = make(expose_solution=True)
    for task_id in env.unwrapped.task_ids:
        _, info = env.reset(options={"task_id": task_id})
        card = info["task_card"]
        assert info["task_id"] == task_id
        assert card["game_file"] == str(games / "json_2.1.1" / task_id / "game.tw-pddl")
        assert card["details"]["task_type"] == task_id.split("/")[1].split("-")[0]
        assert card["solution_length"] == len(info["solution"]) == LENGTHS[card["details"]["task_type"]]
        assert card["solution_is_shortest"]
    unselected = make(solution_length=6)
    for task_id in ("train/zork/trial_1", "../etc", "", names()[0]):
        with pytest.raises(ValueError, match="expected one of the 1 task_ids"):
            unselected.reset(options={"task_id": task_id})


def test_splits_are_read_apart_and_a_newer_version_of_the_data_will_do(data: Path) -> None:
    write_room(data, HOT_APPLE, split="valid_unseen")
    (data / "json_2.1.1").rename(data / "json_2.1.2")
    write_room(data / "json_2.1.1", household("pick_and_place_simple", "Book", "Shelf"))
    env = make(split="valid_unseen", expose_solution=True)
    seen = play(env, ExpertAgent(), seed=0)
    assert seen[0][4]["task_card"]["split"] == "valid_unseen"
    assert seen[-1][4]["success"]
    with pytest.raises(FileNotFoundError, match="valid_seen"):
        make(split="valid_seen")


def test_a_game_that_was_damaged_after_it_was_indexed_is_named(games: Path) -> None:
    env = make()
    path = games / "json_2.1.1" / names()[1] / "game.tw-pddl"
    path.write_text(path.read_text()[:-100])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        env.reset(options={"task_id": names()[1]})


def test_a_goal_of_another_form_is_solved_by_the_walkthrough_and_pays_success_alone(data: Path) -> None:
    content = game_data(household("pick_and_place_simple", "Book", "Shelf"))
    start, _ = content["pddl_problem"].split("(:goal")
    content["pddl_problem"] = f"{start}(:goal (opened Fridge_bar_1)))"
    content["walkthrough"] = ["go to fridge 1", "look", "open fridge 1"]
    write_game(data, content, "pick_and_place_simple")
    seen = play(make(reward_density=1.0, expose_solution=True), ExpertAgent(), seed=0)
    assert [step[1] for step in seen] == [0, 0, 0, 1]
    assert seen[0][4]["subgoals_total"] == 1
    assert not seen[0][4]["task_card"]["solution_is_shortest"]


def test_real_games_of_every_type_are_solved_by_their_plans(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = real_data / "json_2.1.1" / "valid_seen"
    for kind in TASK_TYPES:
        path = min(folder.glob(f"{kind}-*/*/game.tw-pddl"))
        content = json.loads(path.read_bytes())
        task = file_task(content, task_id="x", task_type=kind, split="valid_seen", game_file=str(path))
        assert task.solution_is_shortest
        assert len(task.solution) <= len(content["walkthrough"])
