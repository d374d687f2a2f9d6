"""Generated tasks are what was asked for, in rooms as the package knows them, and the same everywhere."""

import re
from collections.abc import Iterator
from dataclasses import replace

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

import textagent_gym  # noqa: F401
from tests.support.rooms import HOT_APPLE
from textagent_gym.agents import ExpertAgent
from textagent_gym.contract import Split
from textagent_gym.envs.alfworld import tasks as tasks_module
from textagent_gym.envs.alfworld.generation.floor_plans import FLOOR_PLANS, OPENABLE, floor_plan, may_hold
from textagent_gym.envs.alfworld.generation.generator import LAMP_PLACES, MAX_COPIES, SHAPES, fitting_plans, plans_of
from textagent_gym.envs.alfworld.pddl.game import entity_names
from textagent_gym.envs.alfworld.pddl.parser import Problem
from textagent_gym.envs.alfworld.tasks import find_task, make_task
from textagent_gym.envs.alfworld.types import TASK_TYPES, AlfworldTask, TaskSpec, TaskType
from textagent_gym.registration import ALFWORLD
from textagent_gym.testing import play

KNOBS = ("state_space_size", "action_space_size", "solution_length")
SPLITS: tuple[Split, ...] = ("train", "test")
TIERS = [(tier, split) for tier in ALFWORLD.tiers for split in SPLITS]


def tasks(tier: str, split: Split, num_tasks: int = 8) -> Iterator[AlfworldTask]:
    knobs = ALFWORLD.tiers[tier]
    for seed in range(num_tasks):
        yield make_task(
            TaskSpec(
                num_receptacles=knobs["state_space_size"],
                num_objects=knobs["action_space_size"],
                solution_length=knobs["solution_length"],
                split=split,
                seed=seed,
            )
        )


def problem_of(task: AlfworldTask) -> Problem:
    assert task.game is not None
    return task.game.problem


@pytest.mark.parametrize(("tier", "split"), TIERS)
def test_measured_knobs_are_the_requested_ones(tier: str, split: Split) -> None:
    for task in tasks(tier, split):
        assert task.measured == ALFWORLD.tiers[tier]
        assert task.solution_is_shortest
        assert task.split == split
        kinds = list(problem_of(task).objects.values())
        assert kinds.count("receptacle") == task.measured["state_space_size"]
        assert len(problem_of(task).facts["pickupable"]) == task.measured["action_space_size"]


@pytest.mark.parametrize(("tier", "split"), TIERS)
def test_the_solution_solves_in_as_many_steps_as_asked_for(tier: str, split: Split) -> None:
    env = gym.make(f"ALFWorld-{tier}-Sparse-v0", split=split, expose_solution=True)
    for seed in range(4):
        seen = play(env, ExpertAgent(), seed)
        card = seen[0][4]["task_card"]
        assert len(seen) - 1 == card["solution_length"] == ALFWORLD.tiers[tier]["solution_length"]
        assert [step[4]["success"] for step in seen] == [False] * (len(seen) - 1) + [True]
        assert {name: card["requested"][name] for name in KNOBS} == card["measured"]


@pytest.mark.parametrize(("tier", "split"), TIERS)
def test_everything_lies_where_it_may(tier: str, split: Split) -> None:
    for task in tasks(tier, split):
        facts = problem_of(task).facts
        kinds = {thing: kind.removesuffix("type") for thing, kind in facts["objecttype"]}
        places = {place: kind.removesuffix("type") for place, kind in facts["receptacletype"]}
        locations = {row[0]: row[1] for row in facts["receptacleatlocation"]}
        portable = {thing for (thing,) in facts["pickupable"]}
        holds = {place.lower(): {thing.lower() for thing in things} for place, things in may_hold().items()}
        lamp_places = {place.lower() for place in LAMP_PLACES}
        assert len(facts["inreceptacle"]) == len(kinds) == len(facts["objectatlocation"])
        for thing, place in facts["inreceptacle"]:
            allowed = holds[places[place]] if thing in portable else set()
            assert kinds[thing] in allowed or (kinds[thing] == "desklamp" and places[place] in lamp_places)
            assert (thing, locations[place]) in facts["objectatlocation"]
        coolable = {thing for (thing,) in facts.get("coolable", ())}
        chilled = {thing for thing, place in facts["inreceptacle"] if places[place] == "fridge"} & coolable
        assert {thing for (thing,) in facts.get("iscool", ())} == chilled
        named = [kinds[thing] for thing in portable]
        assert max(map(named.count, named)) <= MAX_COPIES
        assert facts.keys().isdisjoint({"opened", "holds", "holdsany", "istoggled", "isclean", "ishot"})
        assert {place for (place,) in facts.get("openable", ())} == {
            place for place, kind in places.items() if kind in {kind.lower() for kind in OPENABLE}
        }


@pytest.mark.parametrize(("tier", "split"), TIERS)
def test_a_room_is_a_part_of_its_floor_plan(tier: str, split: Split) -> None:
    numbers = {plan.number for plan in plans_of(split)}
    for task in tasks(tier, split):
        plan = floor_plan(task.details["floor_plan"])
        assert plan.number in numbers
        assert task.details["room"] == plan.room
        facts = problem_of(task).facts
        known = {
            (place.name.lower(), place.location.lower(), f"{place.kind}Type".lower()) for place in plan.receptacles
        }
        locations = {row[0]: row[1] for row in facts["receptacleatlocation"]}
        assert {(place, locations[place], kind) for place, kind in facts["receptacletype"]} <= known
        portable = {thing for (thing,) in facts["pickupable"]}
        kinds = {kind for thing, kind in facts["objecttype"] if thing in portable}
        assert kinds <= {f"{kind}Type".lower() for kind in plan.kinds}


def test_train_and_test_share_no_floor_plan_and_leave_none_out() -> None:
    train, test = ({plan.number for plan in plans_of(split)} for split in SPLITS)
    assert not train & test
    assert train | test == {number for numbers in FLOOR_PLANS.values() for number in numbers}
    assert len(test) == 12


def test_places_have_names_that_a_player_would_give_them() -> None:
    for split in SPLITS:
        for plan in plans_of(split):
            names = entity_names(place.name.lower() for place in plan.receptacles)
            assert len(set(names.values())) == len(plan.receptacles)
            for place in plan.receptacles:
                kinds = {place.kind.lower(), "bathtubbasin"} if plan.number == 420 else {place.kind.lower()}
                assert names[place.name.lower()].rpartition(" ")[0] in kinds


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", TASK_TYPES)
def test_a_type_of_task_alone_is_what_comes_out(kind: TaskType, split: Split) -> None:
    length = SHAPES[kind].steps
    for steps in (length, length + SHAPES[kind].max_closed):
        for seed in range(4):
            spec = TaskSpec(num_receptacles=5, num_objects=8, solution_length=steps, task_types=(kind,), split=split)
            task = make_task(replace(spec, split=split, seed=seed))
            assert (task.details["task_type"], task.details["chores"]) == (kind, [kind])
            assert len(task.solution) == steps
            assert task.details["room"] in SHAPES[kind].rooms
            verbs = {command.split()[0] for command in task.solution}
            special = {"clean": "clean", "heat": "heat", "cool": "cool", "look": "use"}
            assert verbs & set(special.values()) == {
                verb for word, verb in special.items() if kind.startswith((word, f"pick_{word}"))
            }


def test_every_type_of_task_is_drawn_when_none_is_named() -> None:
    spec = TaskSpec(num_receptacles=8, num_objects=8, solution_length=8)
    drawn = {
        kind for seed in range(60) for kind in make_task(replace(spec, split="train", seed=seed)).details["chores"]
    }
    assert drawn == set(TASK_TYPES)


@pytest.mark.parametrize(
    ("spec", "feasible"),
    [
        (
            TaskSpec(num_receptacles=2, num_objects=2, solution_length=12),
            r"pick_and_place_simple in a kitchen: 2 to \d+",
        ),
        (TaskSpec(num_receptacles=52, num_objects=50, solution_length=4, split="test"), r"2 to \d+ receptacles"),
        (
            TaskSpec(
                num_receptacles=6, num_objects=6, solution_length=5, task_types=("pick_heat_then_place_in_recep",)
            ),
            r"pick_heat_then_place_in_recep in a kitchen: 3 to \d+ receptacles, 1 to \d+ objects, 6 to 8 steps a goal",
        ),
        (
            TaskSpec(num_receptacles=6, num_objects=1, solution_length=8, task_types=("pick_two_obj_and_place",)),
            r"pick_two_obj_and_place in a bathroom: 2 to \d+ receptacles, 2 to \d+ objects, 8 to 11 steps a goal",
        ),
        (
            TaskSpec(num_receptacles=6, num_objects=6, solution_length=6, task_types=("look_at_obj_in_light",)),
            r"look_at_obj_in_light in a bedroom: 2 to \d+ receptacles, 1 to \d+ objects, 3 to 5 steps a goal",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(spec: TaskSpec, feasible: str) -> None:
    with pytest.raises(ValueError, match=rf"Feasible: .*{feasible}") as answer:
        make_task(spec)
    for asked in (spec.num_receptacles, spec.num_objects, spec.solution_length):
        assert re.search(rf"={asked}\b", str(answer.value))


def test_a_draw_of_another_length_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_module, "draw", lambda specification, rng: HOT_APPLE)
    monkeypatch.setattr(tasks_module, "MAX_DRAWS", 3)
    spec = TaskSpec(num_receptacles=7, num_objects=5, solution_length=7, seed=77)
    make_task.cache_clear()
    assert make_task(spec).solution[-2:] == ("open fridge 1", "move apple 1 to fridge 1")
    for length in (6, 8):
        with pytest.raises(ValueError, match="expected a feasible task, got none in 3 draws"):
            make_task(replace(spec, solution_length=length))
    make_task.cache_clear()


def test_largest_rooms_are_found_only_where_they_are() -> None:
    spec = TaskSpec(num_receptacles=40, num_objects=40, solution_length=8)
    assert {plan.number for plan in fitting_plans(spec.split, spec.num_receptacles, spec.task_types)} == {
        plan.number for plan in plans_of("train") if len(plan.receptacles) >= 40
    }
    assert len(problem_of(make_task(spec)).facts["receptacletype"]) == 40


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_specification_makes_the_same_bytes(split: Split) -> None:
    for task in list(tasks("Medium", split)):
        make_task.cache_clear()
        again = find_task(task.task_id)
        assert again is not task
        assert (again.task_id, again.data, again.solution) == (task.task_id, task.data, task.solution)
        spec = TaskSpec.parse(task.task_id.rpartition(".")[0])
        assert spec is not None and spec.split == split


def test_another_seed_makes_another_task() -> None:
    names = {task.task_id.rpartition(".")[2] for split in SPLITS for task in tasks("Medium", split)}
    assert len(names) == 16


@pytest.mark.parametrize(
    "task_id",
    ["", "zork", "r6-o6-q4-t123456-train-0", "r6-o6-q4-t123456-train-0.", "r6-o6-q4-t123456-train-0.0123456789ab",
     "r6-o6-q4-t123456-valid_seen-0.0123456789ab", "train/pick_and_place_simple-X-None-Y-1/trial_1"],
)  # fmt: skip
def test_a_name_of_no_task_is_refused(task_id: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        find_task(task_id)


SPECS = st.builds(
    TaskSpec,
    num_receptacles=st.integers(2, 51),
    num_objects=st.integers(1, 80),
    solution_length=st.integers(3, 60),
    task_types=st.sets(st.sampled_from(TASK_TYPES), min_size=1).map(
        lambda kinds: tuple(sorted(kinds, key=TASK_TYPES.index))
    ),
    split=st.sampled_from(SPLITS),
    seed=st.integers(0, 2**31 - 1),
)


@given(SPECS)
def test_the_name_of_a_recipe_is_read_back(spec: TaskSpec) -> None:
    assert TaskSpec.parse(spec.name) == spec


@given(SPECS, st.data())
def test_a_changed_name_is_no_name_or_that_of_another_recipe(spec: TaskSpec, data: st.DataObject) -> None:
    name = spec.name
    place = data.draw(st.integers(0, len(name) - 1))
    changed = name[:place] + data.draw(st.sampled_from(["", "0", "7", "-", " ", "\n", "t", "٣"])) + name[place + 1 :]
    found = TaskSpec.parse(changed)
    assert found is None or (found.name == changed and (found == spec) == (changed == name))
