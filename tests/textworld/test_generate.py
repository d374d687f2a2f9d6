"""Games are those of the textworld package itself, draw for draw; drawing them disturbs nothing."""

import random

import numpy as np
import pytest

from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.textworld.generation.draft import draft, give_instructions
from textagent_gym.envs.textworld.generation.simple import make_simple
from textagent_gym.envs.textworld.types import Instructions
from textagent_gym.envs.textworld.world.grounding import GroundGame
from textagent_gym.mechanics.planning import Planner


def reference_game(rooms: int, objects: int, length: int, quests: int, seed: int, *, last_only: bool = False):
    """Return the game of `tw-make custom`, from textworld's own `make_game`."""
    textworld = import_textworld()
    options = textworld.GameOptions()
    options.kb = textworld.generator.KnowledgeBase.default()
    options.nb_rooms, options.nb_objects, options.quest_length = rooms, objects, length
    options.nb_parallel_quests, options.seeds = quests, seed
    options.grammar.only_last_action = last_only
    with undisturbed():
        return textworld.generator.make_game(options)


SIZES = [(2, 3, 4, 1), (8, 3, 4, 1), (2, 12, 4, 1), (8, 12, 4, 1), (4, 6, 8, 1), (3, 4, 4, 1), (6, 8, 4, 2)]


@pytest.mark.parametrize(("rooms", "objects", "length", "quests"), SIZES)
def test_games_are_byte_for_byte_those_of_tw_make(rooms: int, objects: int, length: int, quests: int) -> None:
    for seed in range(4):
        ours = draft(num_rooms=rooms, num_objects=objects, quest_length=length, num_quests=quests, seed=seed,
                     instructions="steps").furnished().worded()  # fmt: skip
        assert ours.serialize() == reference_game(rooms, objects, length, quests, seed).serialize()


@pytest.mark.slow
@pytest.mark.parametrize(("rooms", "objects", "length", "quests"), [*SIZES, (9, 16, 9, 2), (12, 24, 10, 3)])
def test_many_games_are_byte_for_byte_those_of_tw_make(rooms: int, objects: int, length: int, quests: int) -> None:
    for seed in range(100, 130 if rooms * quests < 12 else 104):
        ours = draft(num_rooms=rooms, num_objects=objects, quest_length=length, num_quests=quests, seed=seed,
                     instructions="steps").furnished().worded()  # fmt: skip
        assert ours.serialize() == reference_game(rooms, objects, length, quests, seed).serialize()


def test_instructions_change_the_objective_and_nothing_else() -> None:
    games = {}
    for instructions in ("steps", "goal", "none"):
        drawn = draft(num_rooms=4, num_objects=6, quest_length=5, num_quests=2, seed=3, instructions=instructions)
        games[instructions] = drawn.furnished().worded()
        give_instructions(games[instructions], instructions)
    worlds = [game.serialize()["world"] for game in games.values()]
    assert worlds[0] == worlds[1] == worlds[2]
    assert games["none"].objective == ""
    assert games["goal"].objective.count("\nAND\n") == 1
    assert len(games["goal"].objective) < len(games["steps"].objective)
    names = [[info.name for info in game.infos.values()] for game in games.values()]
    assert names[0] == names[1] == names[2]


@pytest.mark.parametrize(
    ("rewards", "instructions", "test", "seed"),
    [("balanced", "goal", False, 11), ("dense", "steps", True, 12), ("sparse", "none", False, 13)],
)
def test_simple_games_are_those_of_tw_make(rewards: str, instructions: Instructions, test: bool, seed: int) -> None:
    textworld = import_textworld()
    options = textworld.GameOptions()
    options.seeds = seed
    _, make, _ = textworld.challenges.CHALLENGES["tw-simple"]
    goal = {"steps": "detailed", "goal": "brief", "none": "none"}[instructions]
    with undisturbed():
        reference = make({"rewards": rewards, "goal": goal, "test": test}, options)
    ours = make_simple(rewards=rewards, instructions=instructions, test=test, seed=seed)
    assert ours.serialize() == reference.serialize()


def test_generation_leaves_the_global_generators_alone() -> None:
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist()
    draft(num_rooms=3, num_objects=4, quest_length=4, num_quests=1, seed=1, instructions="steps").furnished().worded()
    make_simple(rewards="sparse", instructions="steps", test=True, seed=1)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())


def test_a_cut_quest_is_a_shorter_one() -> None:
    drawn = draft(num_rooms=4, num_objects=8, quest_length=8, num_quests=1, seed=2, instructions="steps")
    whole = Planner(GroundGame(drawn.bare_game()).problem).reference
    cuts = [drawn.without_last(n) for n in range(1, 9)]
    assert cuts[-1] is None
    kept = [cut for cut in cuts if cut is not None]
    assert kept
    lengths = [Planner(GroundGame(cut.bare_game()).problem).reference.length for cut in kept]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] <= whole.length
