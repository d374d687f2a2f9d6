"""Interpretation of commands and reasons for failure: each sentence in one known room."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import textagent_gym  # noqa: F401
from tests.support.rooms import HOT_APPLE, write_room
from textagent_gym.envs.alfworld.commands import meant

KITCHEN = {"task_types": ("pick_heat_then_place_in_recep",), "solution_length": 6}


def make(**kwargs: Any) -> gym.Env[str, str]:
    return gym.make("ALFWorld-Easy-Dense-v0", **{**KITCHEN, "expose_solution": True, "max_steps": 100, **kwargs})


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gym.Env[str, str]:
    """Return the room of `tests.support.rooms`, explained."""
    write_room(tmp_path, HOT_APPLE)
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    env = gym.make("ALFWorld-v0", explain=True, max_steps=100)
    env.reset(seed=0)
    return env


def dialects(command: str) -> list[str]:
    """Return the command in other words."""
    verb, thing, preposition, place = command.split(" ", 1)[0], *command.split(" ", 1)[1].partition(" to ")
    assert (verb, preposition) == ("move", " to ")
    return [
        command.upper(),
        f"  {command} ",
        command.replace(" ", "  "),
        f"move the {thing} to a {place}",
        f"move {thing.replace(' ', '')} to {place.replace(' ', '')}",
        *(f"put {thing} {words} {place}" for words in ("in/on", "in", "on", "into", "onto", "to")),
        f"Place the {thing} in/on the {place}.",
        f"insert {thing} into {place}",
    ]


def test_other_words_for_a_command_do_what_it_does() -> None:
    env = make()
    _, info = env.reset(seed=0)
    *way, last = info["solution"]
    for command in dialects(last):
        env.reset(seed=0)
        for step in way:
            env.step(step)
        observation, reward, terminated, _, info = env.step(command)
        assert (terminated, info["success"], info["valid_command"]) == (True, True, True), command
        assert observation.startswith("You move the ")
        assert reward > 0


def test_strict_keeps_to_the_wording_of_the_game() -> None:
    env = make(strict=True)
    _, info = env.reset(seed=0)
    *way, last = info["solution"]
    for step in way:
        env.step(step)
    answer = {command.strip().rstrip(".") for command in dialects(last)} - {last}
    for command in sorted(answer):
        observation, reward, terminated, _, info = env.step(command)
        assert (observation, reward, terminated, info["valid_command"]) == ("Nothing happens.", 0, False, False), (
            command
        )
    assert env.step(last)[4]["success"]


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("go to the cabinet 1", "go to cabinet 1"),
        ("GO  TO CABINET1", "go to cabinet 1"),
        ("goto cabinet 1", "go to cabinet 1"),
        ("take an apple 1 from the countertop 1", "take apple 1 from countertop 1"),
        ("put apple 1 in/on countertop 1", "move apple 1 to countertop 1"),
        ("put apple 1 on countertop 1", "put apple 1 in/on countertop 1"),
        ("move apple 1 to countertop 1", "put apple 1 in/on countertop 1"),
        ("place the panini 1 on the tin 1", "move panini 1 to tin 1"),
    ],
)
def test_dialects_articles_capitals_and_spaces_are_free(said: str, known: str) -> None:
    assert meant(said, ("look", known, "go to cabinet 11")) == known


@pytest.mark.parametrize("said", ["go to cabinet 2", "go cabinet 1", "apple", "", "move apple 1 from countertop 1"])
def test_what_means_nothing_stays_as_it_is(said: str) -> None:
    assert meant(said, ("go to cabinet 1", "move apple 1 to countertop 1")) == said


APPLE = ("go to countertop 1", "take apple 1 from countertop 1")
KNIFE = ("go to countertop 1", "take knife 1 from countertop 1")
REASONS = [
    ((), "dance", "that is not one of the commands; help lists them."),
    ((), "take apple 1", "that is not one of the commands; help lists them."),
    ((), "take unicorn 1 from fridge 1", "nothing in this room is called 'unicorn 1'."),
    ((), "Take the Apple 1 from the Fridge 2", "nothing in this room is called 'fridge 2'."),
    (("go to fridge 1",), "go to the fridge 1", "you are already at the fridge 1."),
    (("go to desk 1",), "go to apple 1", "the apple 1 is not a place for things."),
    (APPLE, "move apple 1 to bread 1", "the bread 1 is not a place for things."),
    ((), "open fridge 1", "you are not at the fridge 1; go there first."),
    ((), "take apple 1 from countertop 1", "you are not at the countertop 1; go there first."),
    (("go to fridge 1", "open fridge 1"), "open fridge 1", "the fridge 1 is already open."),
    (("go to fridge 1",), "close fridge 1", "the fridge 1 is already closed."),
    (("go to desk 1",), "open desk 1", "the desk 1 cannot be opened or closed."),
    (("go to desk 1",), "close desk 1", "the desk 1 cannot be opened or closed."),
    ((*APPLE, "go to desk 1"), "clean apple 1 with desk 1", "nothing can be cleaned with the desk 1."),
    ((*APPLE, "go to fridge 1"), "heat apple 1 with fridge 1", "nothing can be heated with the fridge 1."),
    ((*APPLE, "go to microwave 1"), "cool apple 1 with microwave 1", "nothing can be cooled with the microwave 1."),
    (("go to sinkbasin 1",), "clean apple 1 with sinkbasin 1", "you are not carrying the apple 1."),
    ((*APPLE, "go to sinkbasin 1"), "clean bread 1 with sinkbasin 1", "you are not carrying the bread 1."),
    ((*KNIFE, "go to microwave 1"), "heat knife 1 with microwave 1", "the knife 1 cannot be heated."),
    (("go to desk 1",), "put apple 1 on desk 1", "you are not carrying the apple 1."),
    (("go to fridge 1",), "put apple 1 in fridge 1", "you are not carrying the apple 1."),
    ((*APPLE, "go to fridge 1"), "put apple 1 in fridge 1", "the fridge 1 is closed."),
    ((*APPLE, "go to shelf 1"), "put apple 1 on shelf 1", "the shelf 1 is no place for the apple 1."),
    (("go to cabinet 1",), "take mug 1 from cabinet 1", "the cabinet 1 is closed."),
    (("go to cabinet 1",), "take apple 1 from cabinet 1", "the cabinet 1 is closed."),
    (("go to desk 1",), "take apple 1 from desk 1", "the apple 1 is not in or on the desk 1."),
    (("go to desk 1",), "take desklamp 1 from desk 1", "the desklamp 1 cannot be taken."),
    (APPLE, "take bread 1 from countertop 1", "your hands are full: you are carrying the apple 1."),
    ((), "use desklamp 1", "there is no desklamp 1 where you are."),
    (("go to desk 1",), "use book 1", "the book 1 has no switch."),
    (("go to cabinet 1",), "use mug 1", "there is no mug 1 where you are."),
    (("go to cabinet 1", "open cabinet 1"), "use mug 1", "the mug 1 has no switch."),
    ((), "examine desk 1", "you are not at the desk 1; go there first."),
    (("go to desk 1",), "examine book 1", "you can only examine what you hold, or a place you are at."),
    (("go to countertop 1",), "slice apple 1 with knife 1", "you are not carrying the knife 1."),
    ((*KNIFE, "go to desk 1"), "slice apple 1 with knife 1", "there is no apple 1 where you are."),
    ((*KNIFE, "go to cabinet 1"), "slice mug 1 with knife 1", "there is no mug 1 where you are."),
    ((*KNIFE, "go to desk 1"), "slice book 1 with knife 1", "that cannot be sliced with this."),
    (APPLE, "slice bread 1 with apple 1", "that cannot be sliced with this."),
]


@pytest.mark.parametrize(("way", "command", "reason"), REASONS)
def test_nothing_happens_for_a_reason(room: gym.Env[str, str], way: tuple[str, ...], command: str, reason: str) -> None:
    for step in way:
        assert room.step(step)[4]["valid_command"], step
    observation, _, _, _, info = room.step(command)
    assert observation == f"Nothing happens: {reason}"
    assert not info["valid_command"]


@pytest.mark.parametrize("explain", [True, False])
def test_reasons_are_given_only_when_asked_for(explain: bool) -> None:
    env = make(explain=explain)
    env.reset(seed=0)
    for command in ("dance", "open unicorn 1", "use microwave 1", "heat apple 1 with microwave 1"):
        observation, _, _, _, info = env.step(command)
        assert not info["valid_command"]
        assert observation.startswith("Nothing happens: ") if explain else observation == "Nothing happens."


def test_every_invalid_command_of_a_generated_game_has_a_reason() -> None:
    env = make(explain=True, max_steps=10_000)
    _, info = env.reset(seed=0)
    solution = info["solution"]
    _, other = env.reset(seed=1)
    env.reset(seed=0)
    known = {*solution, *other["solution"], *info["admissible_commands"]}
    for step in solution:
        for command in sorted(known - set(info["admissible_commands"])):
            observation, _, _, _, now = env.step(command)
            assert not now["valid_command"]
            assert observation.startswith("Nothing happens: ") and not observation.endswith("nothing came of it.")
        info = env.step(step)[4]
    assert info["success"]
