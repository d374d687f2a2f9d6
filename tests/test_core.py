"""Contract of all domains, on the toy corridor: actions that reach the backend, rewards, ends of episodes."""

from typing import Any

import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st

from tests.support.toy import CorridorEnv


def walk(env: CorridorEnv, *actions: str) -> list[tuple[str, float, bool, bool, dict[str, Any]]]:
    return [env.step(action) for action in actions]


@pytest.mark.parametrize("density", [0, 0.3, 0.5, 1])
def test_the_solution_returns_one_at_every_density(density: float) -> None:
    env = CorridorEnv(reward_density=density, expose_solution=True)
    _, info = env.reset(seed=0)
    steps = walk(env, *info["solution"])
    assert sum(step[1] for step in steps) == pytest.approx(1, abs=1e-9)
    assert steps[-1][2:4] == (True, False)
    assert steps[-1][4]["success"]


@pytest.mark.parametrize(
    ("options", "action"),
    [
        ({"by_number": True}, "1"),
        ({"action_format": "tag"}, "<action>east</action>"),
        ({"action_format": "last_line"}, "east"),
        ({"action_format": "tag", "by_number": True}, "<action>1</action>"),
    ],
)
def test_the_solution_is_told_in_the_form_of_actions(options: dict[str, Any], action: str) -> None:
    env = CorridorEnv(expose_solution=True, **options)
    _, info = env.reset(seed=0)
    assert info["solution"] == (action,) * 4
    assert walk(env, *info["solution"])[-1][4]["success"]


def test_a_lost_episode_returns_nothing_and_is_no_success() -> None:
    env = CorridorEnv(reward_density=1.0)
    env.reset(seed=0)
    steps = walk(env, "east", "east", "west", "west", "west")
    assert [step[1] for step in steps] == [0.25, 0.25, -0.25, -0.25, 0]
    assert steps[-1][2:4] == (True, False)
    assert not steps[-1][4]["success"]
    assert steps[-1][4]["subgoals_done"] == 0


def test_the_budget_truncates_and_only_then() -> None:
    env = CorridorEnv(max_steps=3)
    env.reset(seed=0)
    steps = walk(env, "east", "west", "east")
    assert [step[3] for step in steps] == [False, False, True]
    assert not steps[-1][2]
    env = CorridorEnv(max_steps=4)
    env.reset(seed=0)
    assert walk(env, *["east"] * 4)[-1][2:4] == (True, False)
    assert CorridorEnv(length=5).reset(seed=0)[1]["task_card"]["max_steps"] == 15


def test_native_scale_pays_the_domains_own_points() -> None:
    env = CorridorEnv(reward_scale="native")
    env.reset(seed=0)
    assert [step[1] for step in walk(env, "east", "look around", "west", "east")] == [10, 0, -10, 10]


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        ("", "got an empty one"),
        (" . ", "got an empty one"),
        ("east\neast", "got several lines"),
        ("east. east", "got several"),
        ("east then east", "got several"),
        ("east\x07", "got a control character"),
        ("save", "'save' speaks to the program"),
        ("SAVE game", "'save' speaks to the program"),
        ("tw-print score", "'tw-print' speaks to the program"),
        ("x" * 201, "at most 150 characters, got 201"),
        ("x" * 100_000, "at most 150 characters, got 100000"),
    ],
)
def test_what_is_not_one_command_of_the_world_is_answered_here(action: str, complaint: str) -> None:
    env = CorridorEnv()
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(action)
    assert complaint in observation
    assert (reward, terminated, truncated) == (0, False, False)
    assert not info["valid_command"]
    assert info["admissible_commands"] == ("east", "west")
    assert env.played == []
    assert env.steps == 1


@pytest.mark.parametrize("action", [" east ", "east.", "\neast\n", "east ..."])
def test_spaces_and_full_stops_around_a_command_are_forgiven(action: str) -> None:
    env = CorridorEnv()
    env.reset(seed=0)
    env.step(action)
    assert env.played == ["east"]


@given(st.lists(st.text(max_size=30), max_size=10))
def test_no_string_raises_and_every_invariant_holds(actions: list[str]) -> None:
    env = CorridorEnv(max_steps=50, action_format="tag", invalid_penalty=0.1, history=2, show_admissible=True)
    env.reset(seed=0)
    for action in actions:
        observation, reward, terminated, _, info = env.step(action)
        assert observation in env.observation_space
        assert info["success"] == (info["subgoals_done"] == info["subgoals_total"])
        assert reward == (0 if info["valid_command"] else -0.1)
        assert not terminated


def test_wrong_use_raises() -> None:
    env = CorridorEnv(max_steps=1)
    for call in (lambda: env.step("east"), lambda: env.steps, env.snapshot):
        with pytest.raises(ResetNeeded):
            call()
    env.reset(seed=0)
    with pytest.raises(TypeError, match="expected an action of type str, got int: 3"):
        env.step(3)  # type: ignore[arg-type]
    env.step("east")
    with pytest.raises(ResetNeeded, match="expected reset"):
        env.step("east")
    with pytest.raises(ValueError, match="expected reset options among 'task_id', got 'level'"):
        env.reset(options={"level": 3})
    with pytest.raises(ValueError, match="expected task_id to be a string, got 3"):
        env.reset(options={"task_id": 3})


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"reward_density": 2}, ValueError),
        ({"split": "valid"}, ValueError),
        ({"max_steps": 0}, ValueError),
        ({"history": -1}, ValueError),
        ({"history": 1.0}, TypeError),
        ({"action_format": "json"}, ValueError),
        ({"invalid_penalty": -1}, ValueError),
        ({"render_mode": "human"}, ValueError),
        ({"preamble": "no"}, ValueError),
        ({"show_admissible": "false"}, ValueError),
        ({"by_number": "false"}, ValueError),
        ({"expose_solution": 2}, ValueError),
        ({"reward_scale": "log"}, ValueError),
        ({"densty": 1}, TypeError),
    ],
)
def test_bad_options_are_refused_at_construction(option: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        CorridorEnv(**option)


def test_preamble_render_and_card() -> None:
    env = CorridorEnv(render_mode="ansi", reward_density=0.5)
    observation, info = env.reset(seed=0)
    assert observation.startswith("Walk east. Answer with one command")
    assert env.render() == observation
    assert CorridorEnv(preamble=False).reset(seed=0)[0] == f"Corridor {info['task_id']}."
    card = info["task_card"]
    assert (card["mean_admissible"], card["max_admissible"], card["steps_per_reward"]) == (2, 2, 2)
    card["measured"]["solution_length"] = 99
    assert env.reset(seed=0)[1]["task_card"]["measured"] == {"solution_length": 4}


def test_the_same_seed_draws_the_same_tasks_and_a_task_can_be_named() -> None:
    one, two = CorridorEnv(), CorridorEnv()
    names = [one.reset(seed=7)[1]["task_id"]] + [one.reset()[1]["task_id"] for _ in range(5)]
    assert names == [two.reset(seed=7)[1]["task_id"]] + [two.reset()[1]["task_id"] for _ in range(5)]
    assert len(set(names)) > 1
    assert one.reset(options={"task_id": names[2]})[1]["task_id"] == names[2]


@given(
    st.lists(st.sampled_from(["east", "west", "sing"]), max_size=6),
    st.lists(st.sampled_from(["east", "west"]), max_size=9),
)
def test_restore_continues_as_the_original_does(before: list[str], after: list[str]) -> None:
    env, other = (CorridorEnv(length=8, history=3, reward_density=1.0) for _ in range(2))
    env.reset(seed=1)
    other.reset(seed=2)
    for action in before:
        if not env.step(action)[2]:
            continue
        return
    snapshot = env.snapshot()
    other.restore(snapshot)
    for action in after:
        step = env.step(action)
        assert other.step(action) == step
        if step[2]:
            return


def test_an_episode_that_the_agent_ends_keeps_what_stands() -> None:
    env = CorridorEnv(length=4, reward_density=1.0)
    env.reset(seed=0)
    total = env.step("east")[1] + env.step("east")[1]
    _, reward, terminated, truncated, info = env.step("stop")
    assert (terminated, truncated, info["success"], info["subgoals_done"]) == (True, False, False, 2)
    assert total + reward == pytest.approx(0.5)
