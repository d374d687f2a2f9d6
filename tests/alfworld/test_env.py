"""ALFWorld through `gym.make`: the contract, the densities, snapshots, replanning, odd words, and threads."""

import threading
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import textagent_gym  # noqa: F401
from tests.support.rooms import HOT_APPLE
from textagent_gym.agents import ExpertAgent, RandomAgent, ReplanningAgent
from textagent_gym.contract import StepResult
from textagent_gym.envs.alfworld.engine import NativeEngine
from textagent_gym.envs.alfworld.generation.game_file import game_data
from textagent_gym.envs.alfworld.pddl.game import read_game
from textagent_gym.envs.alfworld.planning.goals import read_goals
from textagent_gym.envs.alfworld.planning.planner import PlanningModel
from textagent_gym.envs.alfworld.tasks import make_task
from textagent_gym.envs.alfworld.types import TASK_TYPES, TaskSpec, TaskType
from textagent_gym.testing import check_text_env, play

VERBS = {"go", "open", "take", "move", "heat", "cool", "clean"}


def make(env_id: str, **kwargs: Any) -> gym.Env[str, str]:
    return gym.make(env_id, **{"expose_solution": True, **kwargs})


@pytest.mark.parametrize("env_id", ["ALFWorld-Easy-Dense-v0", "ALFWorld-Medium-Balanced-v0"])
def test_the_contract_holds(env_id: str) -> None:
    check_text_env(env_id)


@pytest.mark.parametrize("kwargs", [{"subgoals": "stages"}, {"explain": True, "strict": True}, {"by_number": True}])
def test_the_contract_holds_for_options(kwargs: dict[str, Any]) -> None:
    check_text_env("ALFWorld-Easy-Dense-v0", seeds=(0,), **kwargs)


@pytest.mark.parametrize("density", ["Sparse", "Balanced", "Dense"])
@pytest.mark.parametrize("tier", ["Easy", "Medium", "Hard", "Extreme"])
def test_the_expert_returns_one_and_densities_share_the_task(tier: str, density: str) -> None:
    env = make(f"ALFWorld-{tier}-{density}-v0")
    seen = play(env, ExpertAgent(), seed=0)
    assert sum(step[1] for step in seen) == pytest.approx(1, abs=1e-9)
    milestones = {"Sparse": 1, "Balanced": (len(seen) - 1) // 2, "Dense": len(seen) - 1}[density]
    assert sum(step[1] > 0 for step in seen) == milestones
    assert seen[0][4]["task_id"] == make(f"ALFWorld-{tier}-Sparse-v0").reset(seed=0)[1]["task_id"]


def test_a_detour_costs_and_coming_back_pays_it_back() -> None:
    env = make("ALFWorld-Medium-Dense-v0")
    _, info = env.reset(seed=0)
    away = next(
        command
        for command in info["admissible_commands"]
        if command.startswith("go to ") and command not in info["solution"]
    )
    first, second = info["solution"][:2]
    assert second.startswith("take ")
    steps = [env.step(command) for command in (first, away, "look", first, second)]
    assert [step[1] for step in steps] == [0.125, -0.125, 0, 0.125, 0.125]
    assert all(step[4]["valid_command"] for step in steps)


def test_the_budget_is_three_times_the_solution() -> None:
    env = make("ALFWorld-Easy-Sparse-v0")
    _, info = env.reset(seed=0)
    steps = [env.step("look") for _ in range(12)]
    assert info["task_card"]["max_steps"] == 12
    assert [step[3] for step in steps] == [False] * 11 + [True]
    assert not any(step[2] for step in steps)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"state_space_size": 52}, ValueError, r"expected state_space_size in \[2, 51\], got 52"),
        ({"action_space_size": 0}, ValueError, "expected action_space_size at least 1, got 0"),
        ({"action_space_size": 81}, ValueError, r"expected action_space_size in \[1, 80\], got 81"),
        ({"solution_length": 2}, ValueError, r"expected solution_length in \[3, 60\], got 2"),
        ({"solution_length": "8"}, TypeError, "expected solution_length to be an integer"),
        ({"reward_density": 1.1}, ValueError, r"expected reward_density in \[0, 1\]"),
        ({"subgoals": "all"}, ValueError, "expected subgoals to be one of 'steps', 'stages', got 'all'"),
        ({"strict": "yes"}, ValueError, "expected strict to be one of True, False, got 'yes'"),
        ({"explain": "yes"}, ValueError, "expected explain to be one of True, False, got 'yes'"),
        ({"backend": "inform7"}, ValueError, "expected backend to be one of 'native', 'alfworld', got 'inform7'"),
        ({"room_count": 3}, TypeError, "room_count"),
    ],
)
def test_bad_knobs_name_the_range(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make("ALFWorld-Easy-Dense-v0", **kwargs)


def test_an_impossible_request_is_refused_at_reset() -> None:
    env = make("ALFWorld-Easy-Dense-v0", task_types=["pick_two_obj_and_place"], solution_length=5)
    with pytest.raises(ValueError, match=r"Feasible: pick_two_obj_and_place in a kitchen: .* 8 to 11 steps a goal"):
        env.reset(seed=0)


@pytest.mark.parametrize("kwargs", [{}, {"history": 2, "show_admissible": True, "subgoals": "stages"}])
def test_snapshots_restore_the_very_continuation(kwargs: dict[str, Any]) -> None:
    env, other = (make("ALFWorld-Medium-Dense-v0", **kwargs) for _ in range(2))
    rng = np.random.default_rng(0)
    for seed in range(3):
        _, info = env.reset(seed=seed)
        for _ in range(6):
            *_, info = env.step(str(rng.choice(info["admissible_commands"])))
        snapshot = env.unwrapped.snapshot()
        actions, steps = [], []
        for _ in range(8):
            actions.append(str(rng.choice(info["admissible_commands"])))
            steps.append(env.step(actions[-1]))
            info = steps[-1][4]
        other.reset(seed=9 + seed)
        for again in (env, other):
            again.unwrapped.restore(snapshot)
            assert [again.step(action) for action in actions] == steps


def test_a_snapshot_of_the_end_is_over() -> None:
    env, other = make("ALFWorld-Easy-Dense-v0"), make("ALFWorld-Easy-Dense-v0")
    play(env, ExpertAgent(), seed=0)
    other.reset(seed=1)
    other.unwrapped.restore(env.unwrapped.snapshot())
    with pytest.raises(gym.error.ResetNeeded):
        other.step("look")


@pytest.mark.parametrize("tier", ["Easy", "Medium", "Hard"])
def test_replanning_solves_from_anywhere_in_the_steps_that_remain(tier: str) -> None:
    env = make(f"ALFWorld-{tier}-Dense-v0", max_steps=500)
    agent, rng = ReplanningAgent(env), np.random.default_rng(0)
    for seed in range(3):
        observation, info = env.reset(seed=seed)
        for _ in range(25):
            observation, _, terminated, _, info = env.step(str(rng.choice(info["admissible_commands"])))
            assert not terminated
        plan = env.unwrapped.plan()
        assert plan is not None
        assert len(plan) >= info["subgoals_total"] - info["subgoals_done"]
        num_steps = 0
        while not info["success"]:
            before = info["subgoals_done"]
            observation, _, _, _, info = env.step(agent.act(observation, info))
            num_steps += 1
            assert info["valid_command"]
            assert info["subgoals_done"] in (before, before + 1)
        assert num_steps <= len(plan)


def test_what_the_planner_foresees_is_what_the_engine_does() -> None:
    kinds: tuple[TaskType, ...] = tuple(kind for kind in TASK_TYPES if "_then_" in kind)
    spec = TaskSpec(num_receptacles=12, num_objects=12, solution_length=7, task_types=kinds)
    commands = set()
    for seed in range(8):
        task = make_task(replace(spec, split="train", seed=seed))
        assert task.game is not None and task.planner is not None
        model = PlanningModel(task.game.initial, task.planner.goals)
        engine, rng = NativeEngine(), np.random.default_rng(seed)
        engine.load(task)
        reply = engine.reset()
        for _ in range(150):
            useful = [command for command in reply.admissible if command.split()[0] in VERBS]
            rare = [command for command in useful if command.split()[0] not in ("go", "examine")]
            command = str(rng.choice(rare if rare and rng.random() < 0.6 else useful))
            reply = foreseen(engine, model, command)
            commands.add(command.split()[0])
    assert commands == VERBS


def test_the_planner_knows_that_heat_and_cold_end_each_other() -> None:
    game = read_game(game_data(HOT_APPLE))
    goals = read_goals(game.problem.goal)
    assert goals is not None
    engine = NativeEngine()
    engine.open(game)
    engine.reset()
    for command in ("go to countertop 1", "take apple 1 from countertop 1", *2 * ("go to microwave 1",
                    "heat apple 1 with microwave 1", "go to fridge 1", "cool apple 1 with fridge 1")):  # fmt: skip
        assert foreseen(engine, PlanningModel(game.initial, goals), command).valid


def foreseen(engine: NativeEngine, model: PlanningModel, command: str) -> StepResult:
    """Play a command, once the planner has said to what it leads."""
    rule, row = engine._commands[command]
    expected = model.after(model.abstract(engine.state), (rule.name, dict(zip(rule.parameters, row, strict=True))))
    reply = engine.step(command)
    assert model.abstract(engine.state) == expected
    return reply


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=4), st.booleans())
def test_any_text_is_answered_and_wins_nothing(actions: list[str], explain: bool) -> None:
    env = make("ALFWorld-Easy-Dense-v0", explain=explain, max_steps=5)
    env.reset(seed=0)
    for action in actions:
        observation, _, terminated, truncated, info = env.step(action)
        assert observation
        assert not (terminated or truncated or info["success"])


WORDS = st.sampled_from(
    [*("go to", "goto", "take", "put", "move", "use", "examine", "slice", "clean", "the", "a", "from", "to", "in/on"),
     *("with", "cabinet", "1", "2", "-1", "agent1", "loc", "appletype", "apple 1", ";", "{o}", "#task#", "help", "\\")]
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=6).map(" ".join), min_size=1, max_size=4))
def test_any_words_of_the_game_are_answered(actions: list[str]) -> None:
    env = make("ALFWorld-Easy-Dense-v0", explain=True, max_steps=5)
    env.reset(seed=0)
    for action in actions:
        observation, _, _, _, info = env.step(action)
        assert observation == observation.strip() or info["valid_command"]
        assert info["valid_command"] or observation.startswith(("Nothing happens: ", "Nothing was done: "))


def test_threads_do_not_disturb_each_other() -> None:
    def played(seed: int) -> list[Any]:
        return play(make("ALFWorld-Medium-Dense-v0"), RandomAgent(), seed)

    expected = {seed: played(seed) for seed in range(8)}
    found: dict[int, dict[int, Any]] = {}
    begin = threading.Barrier(8)

    def run(number: int) -> None:
        begin.wait()
        found[number] = {(seed + number) % 8: played((seed + number) % 8) for seed in range(3)}

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for episodes in found.values():
        assert episodes == {seed: expected[seed] for seed in episodes}
