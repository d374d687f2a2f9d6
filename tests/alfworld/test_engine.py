"""The native engine says what ALFWorld says, byte for byte."""

from pathlib import Path

import gymnasium as gym
import pytest

from tests.alfworld.differential import (
    Source,
    Tally,
    careless_player,
    compare,
    random_player,
    tasks_of,
    walkthrough_player,
)
from textagent_gym.agents import RandomAgent
from textagent_gym.envs.alfworld.commands import meant
from textagent_gym.envs.alfworld.engine import NativeEngine
from textagent_gym.envs.alfworld.reference import ReferenceEngine
from textagent_gym.envs.alfworld.tasks import file_task
from textagent_gym.envs.alfworld.types import AlfworldTask


def play(task: AlfworldTask, seed: int, num_steps: int) -> Tally:
    tally, reference = Tally(), ReferenceEngine()
    reference.load(task)
    for player in (walkthrough_player(task), random_player(seed), careless_player(seed)):
        tally.add(compare(task, player, num_steps, reference))
    return tally


@pytest.mark.parametrize("number", range(3))
def test_a_generated_game_is_played_as_alfworld_plays_it(number: int) -> None:
    (task,) = tasks_of("generated", number, 1)
    tally = play(task, number, num_steps=12)
    assert tally.lines > 30
    assert tally.examples == []


def test_real_games_are_played_as_alfworld_plays_them(real_data: Path) -> None:
    looking, cleaning, cooling = (next(tasks_of("valid_seen", first, 1)) for first in (3, 48, 70))
    assert play(looking, 3, num_steps=15).examples == []
    assert compare(cleaning, walkthrough_player(cleaning), num_steps=20).examples == []
    assert compare(cooling, random_player(70), num_steps=15).examples == []


@pytest.mark.slow
@pytest.mark.parametrize(("source", "num_games"), [("valid_seen", 140), ("train", 60)])
def test_all_games_are_played_as_alfworld_plays_them(real_data: Path, source: Source, num_games: int) -> None:
    for number, task in enumerate(tasks_of(source, 0, num_games)):
        assert play(task, number, num_steps=50).examples == []


def test_alfworld_itself_solves_a_generated_game_with_our_plan() -> None:
    (task,) = tasks_of("generated", 3, 1)  # Extreme: several goals
    reference = ReferenceEngine()
    reference.load(task)
    reply = reference.reset()
    for command in task.solution:
        assert not reply.won
        assert command in reply.admissible
        reply = reference.step(command)
    assert reply.won


def test_a_snapshot_leads_back_from_anywhere() -> None:
    (task,) = tasks_of("generated", 1, 1)
    engine = NativeEngine()
    engine.load(task)
    engine.reset()
    for command in task.solution[:3]:
        engine.step(command)
    snapshot = engine.snapshot()
    seen = [engine.step(command) for command in task.solution[3:]]
    engine.restore(snapshot)
    assert [engine.step(command) for command in task.solution[3:]] == seen


def test_a_grammar_that_is_not_known_is_played_by_alfworld_and_the_card_says_so() -> None:
    (known,) = tasks_of("generated", 0, 1)
    grammar = known.data["grammar"].replace("You open the {r.name}.", "You open the {r.name.upper()}.")
    data = {**known.data, "grammar": grammar, "walkthrough": known.solution}
    task = file_task(data, task_id="odd", task_type="pick_and_place_simple", split="train", game_file="odd")
    assert task.game is None
    assert "r.name.upper()" in task.details["backend_reason"]
    assert task.measured == known.measured


def test_an_older_grammar_is_played_as_alfworld_plays_it_and_the_newer_words_are_understood() -> None:
    (newer,) = tasks_of("generated", 0, 1)
    grammar = newer.data["grammar"].replace('template :: "move {o} to {r}"', 'template :: "put {o} in/on {r}"')
    data = {**newer.data, "grammar": grammar}
    task = file_task(data, task_id="old", task_type="pick_and_place_simple", split="train", game_file="old")
    assert task.solution[-1].startswith("put ")
    assert compare(task, walkthrough_player(task), num_steps=10).examples == []
    assert meant(newer.solution[-1], task.solution) == task.solution[-1]


def test_commands_that_are_kept_are_those_of_the_state() -> None:
    env, agent = gym.make("ALFWorld-Hard-Dense-v0", max_steps=200), RandomAgent()
    observation, info = env.reset(seed=3)
    agent.reset(info, 3)
    task, engine = env.unwrapped.task, env.unwrapped._engine  # type: ignore[attr-defined]
    points = []
    for number in range(150):
        observation, _, _, _, info = env.step(agent.act(observation, info))
        if number % 7 == 0:
            points.append((env.unwrapped.snapshot(), info["admissible_commands"]))  # type: ignore[attr-defined]
        fresh = task.game.initial.copy()
        fresh.go_to(engine.state.mark())
        assert info["admissible_commands"] == tuple(sorted(task.game.commands(fresh)))
        assert info["success"] == task.game.is_won(fresh)
    for snapshot, commands in reversed(points):
        env.unwrapped.restore(snapshot)  # type: ignore[attr-defined]
        assert tuple(engine._admissible) == commands
