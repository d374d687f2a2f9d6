"""The grounded game against textworld's own logic, state by state along random walks."""

import numpy as np
import pytest

from tests.textworld.test_generate import reference_game
from textagent_gym.envs.textworld.generation.simple import make_simple
from textagent_gym.envs.textworld.world.grounding import GroundGame, as_fact
from textagent_gym.mechanics.planning import Planner


def walk_beside_textworld(game, num_steps: int, seed: int) -> None:
    """Apply the same random actions in textworld's state and in ours, and compare facts and commands each time."""
    ground, state = GroundGame(game), game.world.state.copy()
    names = {key: info.name for key, info in game.infos.items()}
    rules, constants = game.kb.rules.values(), game.kb.types.constants_mapping
    ours, rng = ground.problem.initial, np.random.default_rng(seed)
    for _ in range(num_steps):
        actions = {action.format_command(names): action for action in state.all_applicable_actions(rules, constants)}
        assert ground.commands(ours) == tuple(sorted(actions))
        assert sorted(ground.facts(ours)) == sorted(map(as_fact, state.facts))
        assert ground.state(state.facts, ours) == ours
        command = sorted(actions)[int(rng.integers(len(actions)))]
        state.apply(actions[command])
        operator = next(op for op in ground.problem.applicable(ours) if op.name == command)
        ours = ground.problem.successor(ours, operator)


@pytest.mark.parametrize(("rooms", "objects", "length", "quests"), [(2, 3, 4, 1), (4, 6, 8, 1), (6, 14, 4, 2)])
def test_commands_and_facts_are_those_of_textworld(rooms: int, objects: int, length: int, quests: int) -> None:
    for seed in range(3):
        walk_beside_textworld(reference_game(rooms, objects, length, quests, seed), num_steps=40, seed=seed)


def test_commands_and_facts_of_simple_games() -> None:
    game = make_simple(rewards="dense", instructions="steps", test=False, seed=0)
    walk_beside_textworld(game, num_steps=40, seed=0)


@pytest.mark.slow
def test_commands_and_facts_of_a_large_game() -> None:
    walk_beside_textworld(reference_game(12, 24, 10, 3, 1), num_steps=150, seed=0)


def test_simple_game_points_and_loss() -> None:
    game = make_simple(rewards="dense", instructions="steps", test=False, seed=4)
    ground = GroundGame(game)
    plan = Planner(ground.problem).reference
    assert plan is not None
    assert plan.is_shortest
    state, points = ground.problem.initial, []
    for operator in plan.operators:
        state = ground.problem.successor(state, operator)
        points.append(ground.completed_points(state))
    assert points == sorted(points)
    assert points[-1] == sum(ground.points) == game.max_score
    food = plan.operators[-1].name.removeprefix("put ").removesuffix(" on stove")
    state = ground.problem.initial
    for operator in plan.operators[:-1]:
        state = ground.problem.successor(state, operator)
    eat = next(op for op in ground.problem.applicable(state) if op.name == f"eat {food}")
    lost = ground.problem.successor(state, eat)
    assert ground.problem.is_lost(lost)
    assert Planner(ground.problem).remaining(lost) is None
