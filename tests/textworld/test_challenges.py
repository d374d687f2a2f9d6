"""Games of textworld's other challenges, played in lockstep by the native engine and the interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.textworld_players import Player, admissible_player, careless_player, expert_player
from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.textworld.engine import NativeEngine
from textagent_gym.envs.textworld.reference import Inform7Engine
from textagent_gym.envs.textworld.types import TextWorldTask
from textagent_gym.envs.textworld.world.grounding import GroundGame
from textagent_gym.mechanics.planning import Planner

COOKING = {
    "recipe": 1, "take": 1, "go": 1, "open": True, "cook": True, "cut": True, "drop": False, "recipe_seed": 0,
    "split": None,
}  # fmt: skip
SMALL = [
    ("tw-cooking", {**COOKING, "drop": True}),
    ("tw-cooking", {**COOKING, "recipe": 3, "take": 2, "go": 6, "open": False}),
    ("tw-coin_collector", {"level": 3}),
    ("tw-coin_collector", {"level": 105}),
    ("tw-treasure_hunter", {"level": 2}),
    ("tw-treasure_hunter", {"level": 12}),
]
LARGE = [
    ("tw-cooking", {**COOKING, "recipe": 3, "take": 3, "go": 6, "drop": True}),
    ("tw-cooking", {**COOKING, "recipe": 4, "take": 4, "go": 12, "drop": True}),
    ("tw-cooking", {**COOKING, "recipe": 5, "take": 5, "go": 9, "drop": True}),
    ("tw-cooking", {**COOKING, "recipe": 5, "take": 1, "drop": True}),
    ("tw-cooking", {**COOKING, "recipe": 4, "take": 2, "go": 9, "cook": False, "cut": False}),
    ("tw-cooking", {**COOKING, "recipe": 2, "take": 2, "go": 12, "cut": False}),
    ("tw-coin_collector", {"level": 215}),
    ("tw-treasure_hunter", {"level": 25}),
]

KITCHEN = (
    "read recipe", "prepare meal", "prepare dinner", "slice {food}", "cut {food}", "cook {food}", "get {food}",
    "cook {food} with table", "cook knife on stove", "slice raw", "take knife", "dice {food} using table",
    "dice {food} using knife", "chop {food} with it", "x uncut", "x diced", "i", "search counter", "cook {food} in oven",
    "drink {food}", "drop {food}", "look", "take diced roasted {food}", "put it on stove", "look", "take {food}",
    "drop all", "take two", "eat raw", "prepare meal", "cook {food} in oven",
)  # fmt: skip
"""Lines that a cook may type; `{food}` is the ingredient."""


def make(challenge: str, settings: dict[str, Any], folder: Path, seed: int = 3) -> TextWorldTask:
    """Return the game that textworld makes of a challenge's settings; its solution is textworld's own walkthrough."""
    textworld = import_textworld()
    options = textworld.GameOptions()
    options.seeds = seed
    _, make_game, _ = textworld.challenges.CHALLENGES[challenge]
    with undisturbed():
        game = make_game(settings, options)
    path = folder / "game.json"
    game.save(str(path))
    return TextWorldTask(
        task_id=f"{challenge}.{folder}",
        solution=tuple(game.metadata["walkthrough"]),
        solution_is_shortest=False,
        subgoals_total=1,
        measured={},
        split="train",
        admissible_counts=(),
        solution_numbers=(),
        game_file=str(path),
        details={},
        game=game,
        ground=GroundGame(game),
        planner=cast(Planner, None),  # engines plan nothing
    )


def play_beside_the_interpreter(task: TextWorldTask, players: dict[str, Player], num_steps: int) -> None:
    """Both engines answer each player's commands alike.

    Facts are compared only where textworld's own commands are typed: it loses sight of what is moved by other words.
    """
    native, interpreter = NativeEngine(), Inform7Engine()
    native.load(task)
    interpreter.load(task)
    try:
        for name, player in players.items():
            reply, said = interpreter.reset(), native.reset()
            assert (said, native.state) == (reply, interpreter.state)
            for _ in range(num_steps):
                command = player(reply)
                if command is None or reply.won or reply.lost:
                    break
                reply, said = interpreter.step(command), native.step(command)
                answer = (said.text, said.valid, said.points, said.won, said.lost)
                assert answer == (reply.text, reply.valid, reply.points, reply.won, reply.lost), (name, command)
                if name in ("expert", "random"):
                    assert (said.admissible, native.state) == (reply.admissible, interpreter.state), (name, command)
            if name == "expert":
                assert reply.won
    finally:
        interpreter.close()


@pytest.mark.parametrize(("challenge", "settings"), SMALL)
def test_both_engines_say_the_same(challenge: str, settings: dict[str, Any], tmp_path: Path) -> None:
    task = make(challenge, settings, tmp_path)
    players = {"expert": expert_player(task), "random": admissible_player(1), "careless": careless_player(task, 1)}
    if challenge == "tw-cooking":
        food = task.whole_game.metadata["ingredients"][0][0]
        lines = iter([line.format(food=food) for line in KITCHEN])
        players["cook"] = lambda reply: next(lines, None)
    play_beside_the_interpreter(task, players, num_steps=60)


@pytest.mark.slow
@pytest.mark.parametrize(("challenge", "settings"), LARGE)
def test_both_engines_say_the_same_in_large_games(challenge: str, settings: dict[str, Any], tmp_path: Path) -> None:
    task = make(challenge, settings, tmp_path)
    for seed in range(4):
        play_beside_the_interpreter(task, {"random": admissible_player(seed)}, num_steps=200)
