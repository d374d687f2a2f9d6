"""Stages stand or fall with the state: they grow on the way of the expert, and no loop can be farmed."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import textagent_gym  # noqa: F401
from tests.support.rooms import PLACES, household, write_room
from textagent_gym.agents import ExpertAgent
from textagent_gym.envs.alfworld.engine import NativeEngine
from textagent_gym.envs.alfworld.generation.floor_plans import Receptacle
from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.planning.goals import ExamineGoal, PlaceGoal
from textagent_gym.envs.alfworld.planning.stages import num_stages, stages_done
from textagent_gym.envs.alfworld.tasks import make_task
from textagent_gym.envs.alfworld.types import TASK_TYPES, TaskSpec, TaskType
from textagent_gym.testing import play

STAGES = {kind: 4 if "_then_" in kind else 6 if "two" in kind else 3 for kind in TASK_TYPES}
LENGTHS = {kind: 8 if "two" in kind else 6 if "_then_" in kind else 4 for kind in TASK_TYPES}


def make(kind: TaskType = "pick_and_place_simple", **kwargs: Any) -> gym.Env[str, str]:
    options = {"task_types": (kind,), "solution_length": LENGTHS[kind], "expose_solution": True, "subgoals": "stages"}
    return gym.make("ALFWorld-Easy-Dense-v0", **{**options, "max_steps": 100, **kwargs})


def room(data: Path, monkeypatch: pytest.MonkeyPatch, *args: Any) -> gym.Env[str, str]:
    """Return one goal in the room of `tests.support.rooms`."""
    write_room(data, household(*args))
    monkeypatch.setenv("ALFWORLD_DATA", str(data))
    env = gym.make("ALFWorld-v0", reward_density=1.0, subgoals="stages", max_steps=100)
    env.reset(seed=0)
    return env


def done_after(env: gym.Env[str, str], commands: list[str]) -> list[int]:
    steps = [env.step(command) for command in commands]
    assert all(step[4]["valid_command"] for step in steps)
    return [step[4]["subgoals_done"] for step in steps]


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_the_expert_climbs_all_stages(kind: TaskType) -> None:
    env = make(kind)
    for seed in range(5):
        seen = play(env, ExpertAgent(), seed)
        done = [step[4]["subgoals_done"] for step in seen]
        assert {step[4]["subgoals_total"] for step in seen} == {STAGES[kind]}
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, STAGES[kind])
        assert set(done) == set(range(STAGES[kind] + 1)) or kind == "pick_two_obj_and_place"
        assert sum(step[1] for step in seen) == pytest.approx(1, abs=1e-9)
        assert [step[4]["success"] for step in seen] == [False] * LENGTHS[kind] + [True]


@pytest.mark.parametrize("tier", ["Hard", "Extreme"])
def test_stages_of_several_goals_never_exceed_their_number(tier: str) -> None:
    env = gym.make(f"ALFWorld-{tier}-Dense-v0", subgoals="stages", expose_solution=True)
    for seed in range(4):
        seen = play(env, ExpertAgent(), seed)
        kinds = seen[0][4]["task_card"]["details"]["chores"]
        total = sum(STAGES[kind] for kind in kinds)
        done = [step[4]["subgoals_done"] for step in seen]
        assert seen[0][4]["subgoals_total"] == total
        assert max(done[:-1]) < done[-1] == total
        assert sum(step[1] for step in seen) == pytest.approx(1, abs=1e-9)


def test_stages_are_counted_by_hand() -> None:
    heated = PlaceGoal("appletype", "shelftype", frozenset({"ishot"}), frozenset({"heatable"}))
    two = PlaceGoal("booktype", "desktype", num_objects=2)
    assert num_stages((heated,)) == 4
    assert num_stages((two, ExamineGoal("booktype", "desklamptype"), heated)) == 6 + 3 + 4


def test_put_and_take_return_to_the_same_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = room(tmp_path, monkeypatch, "pick_heat_then_place_in_recep", "Apple", "Fridge")
    fetch = ["go to countertop 1", "take apple 1 from countertop 1"]
    assert done_after(env, fetch) == [1, 2]
    loop = ["move apple 1 to countertop 1", "take apple 1 from countertop 1"]
    assert done_after(env, loop * 3) == [1, 2] * 3
    assert done_after(env, ["go to fridge 1", "open fridge 1"]) == [2, 2]
    assert done_after(env, ["move apple 1 to fridge 1", "close fridge 1", "open fridge 1"]) == [1, 0, 1]
    assert done_after(env, ["take apple 1 from fridge 1", "go to microwave 1"]) == [2, 2]
    assert done_after(env, ["heat apple 1 with microwave 1", "heat apple 1 with microwave 1"]) == [3, 3]
    assert done_after(env, ["go to fridge 1", "cool apple 1 with fridge 1"]) == [3, 2]
    assert done_after(env, ["go to microwave 1", "heat apple 1 with microwave 1", "go to fridge 1"]) == [2, 3, 3]
    assert done_after(env, ["move apple 1 to fridge 1"]) == [4]


def test_a_thing_in_a_closed_place_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = room(tmp_path, monkeypatch, "pick_and_place_simple", "Mug", "CounterTop")
    assert done_after(env, ["go to cabinet 1", "open cabinet 1", "close cabinet 1"]) == [0, 1, 0]
    assert done_after(env, ["open cabinet 1", "go to desk 1", "go to cabinet 1"]) == [1, 0, 1]


def test_looking_needs_the_thing_in_hand_before_the_used_lamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = room(tmp_path, monkeypatch, "look_at_obj_in_light", "Apple", "DeskLamp")
    fetch = ["go to countertop 1", "take apple 1 from countertop 1"]
    assert done_after(env, ["go to desk 1", "use desklamp 1", *fetch, "go to desk 1"]) == [0, 0, 1, 2, 3]


def test_two_things_count_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = household("pick_two_obj_and_place", "Book", "Shelf")
    counter = Receptacle("Dresser_bar_1", "Dresser", "loc_bar_Dresser")
    two.receptacles.append(counter)
    two.objects.append(("Book_bar_2", "Book", counter))
    write_room(tmp_path, two)
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    env = gym.make("ALFWorld-v0", reward_density=1.0, subgoals="stages", max_steps=100)
    names = {"dresser": "book 1", "desk": "book 2"}
    env.reset(seed=0)
    for place, (found, held, walked, put) in {"desk": (1, 2, 2, 3), "dresser": (4, 5, 5, 6)}.items():
        way = [f"go to {place} 1", f"take {names[place]} from {place} 1", "go to shelf 1"]
        assert done_after(env, [*way, f"move {names[place]} to shelf 1"]) == [found, held, walked, put]


def test_of_several_things_that_would_do_the_furthest_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = household("pick_and_place_simple", "Book", "Shelf")
    one.objects.append(("Book_bar_2", "Book", PLACES["Cabinet"]))
    write_room(tmp_path, one)
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    env = gym.make("ALFWorld-v0", reward_density=1.0, subgoals="stages", max_steps=100)
    env.reset(seed=0)
    assert done_after(env, ["go to desk 1", "take book 2 from desk 1", "go to cabinet 1", "open cabinet 1"]) == [
        1,
        2,
        2,
        2,
    ]
    assert done_after(env, ["go to shelf 1", "move book 2 to shelf 1"]) == [2, 3]


@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(TASK_TYPES), seed=st.integers(0, 20), walk=st.lists(st.integers(0, 999), max_size=40))
def test_stages_are_a_function_of_the_state_alone(kind: TaskType, seed: int, walk: list[int]) -> None:
    task = make_task(
        TaskSpec(num_receptacles=4, num_objects=4, solution_length=LENGTHS[kind], task_types=(kind,), seed=seed)
    )
    assert task.game is not None and task.planner is not None
    engine = NativeEngine()
    engine.load(task)
    reply = engine.reset()
    for number in walk:
        reply = engine.step(reply.admissible[number % len(reply.admissible)])
        names = {*engine.state.fluents, *task.game.problem.facts}
        fresh = Facts({name: set(engine.state.rows(name)) for name in names}, engine.state.fluents)
        assert stages_done(engine.state, task.planner.goals) == stages_done(fresh, task.planner.goals)


@pytest.mark.parametrize("subgoals", ["steps", "stages"])
@settings(max_examples=12, deadline=None)
@given(kind=st.sampled_from(TASK_TYPES), seed=st.integers(0, 20), walk=st.lists(st.integers(0, 999), max_size=60))
def test_any_walk_is_paid_what_stands_at_its_end(subgoals: str, kind: TaskType, seed: int, walk: list[int]) -> None:
    env = make(kind, subgoals=subgoals)
    _, info = env.reset(seed=seed)
    total, highest = 0.0, 0
    for number in walk:
        commands = info["admissible_commands"]
        _, reward, terminated, _, info = env.step(commands[number % len(commands)])
        total += reward
        assert total == pytest.approx(info["subgoals_done"] / info["subgoals_total"], abs=1e-9)
        assert 0 <= info["subgoals_done"] <= info["subgoals_total"]
        highest = max(highest, info["subgoals_done"])
        if terminated:
            break
    assert total <= highest / info["subgoals_total"] + 1e-9
