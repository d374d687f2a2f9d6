"""Environments, snapshots, specs and teams pickle and deep-copy at any moment, and play on equally."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import textagent_gym  # noqa: F401
from textagent_gym.envs.textworld.tasks import make_task
from textagent_gym.envs.textworld.types import TaskSpec

COPIES: dict[str, Callable[[Any], Any]] = {"pickle": lambda one: pickle.loads(pickle.dumps(one)), "copy": copy.deepcopy}
SWE_CALLS = (
    '{"tool": "create", "path": "a.py", "content": "x"}', '{"tool": "undo"}', '{"tool": "undo"}', '{"tool": "submit"}'
)  # fmt: skip
ENVIRONMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "textworld": ("TextWorld-Easy-Dense-v0", {}),
    "textworld, by number": ("TextWorld-Easy-Dense-v0", {"history": 2, "by_number": True}),
    "textworld, interpreter": ("TextWorld-Easy-Dense-v0", {"backend": "inform7"}),
    "alfworld": ("ALFWorld-Easy-Dense-v0", {}),
    "alfworld, stages": ("ALFWorld-Easy-Dense-v0", {"subgoals": "stages", "show_admissible": True}),
    "alfworld, reference": ("ALFWorld-Easy-Dense-v0", {"backend": "alfworld"}),
    "swegym": ("SWEGym-Easy-Sparse-v0", {"action_space_size": 9}),
    "swegym, bash": ("SWEGym-Easy-Sparse-v0", {"interface": "bash"}),
}


def plain(value: Any) -> Any:
    """Return a value without arrays, which do not compare."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value


def same(one: Any, other: Any) -> bool:
    return bool(plain(one) == plain(other))


def actions_of(name: str, info: dict[str, Any]) -> tuple[str, ...]:
    """Return actions that play on, the last of which may end the episode."""
    if name == "swegym":
        return SWE_CALLS
    if name == "swegym, bash":
        return ("echo x > a.txt; git add -A; git status --short", "git status --short", "submit")
    return tuple(info["solution"])


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_copy_plays_on_equally(name: str, how: str) -> None:
    env_id, options = ENVIRONMENTS[name]
    env = gym.make(env_id, expose_solution=True, **options)
    fresh = COPIES[how](env)
    observation, info = env.reset(seed=3)
    assert same(fresh.reset(seed=3), (observation, info))
    actions = actions_of(name, info)
    slow = name.endswith(("reference", "interpreter"))  # a copy loads the game and plays it from its start
    for number, action in enumerate(actions):
        if slow and number % 4:
            env.step(action)
            continue
        before = COPIES[how](env)
        assert before.unwrapped.steps == env.unwrapped.steps  # type: ignore[attr-defined]
        after = env.step(action)
        assert same(before.step(action), after), action
        before.close()
    done = COPIES[how](env)
    assert same(done.reset(seed=4), env.reset(seed=4))
    for one in (env, fresh, done):
        one.close()


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", ["textworld", "alfworld", "swegym"])
def test_a_copied_snapshot_leads_to_the_same_episode(name: str, how: str) -> None:
    env_id, options = ENVIRONMENTS[name]
    env, other = (gym.make(env_id, expose_solution=True, **options) for _ in range(2))
    _, info = env.reset(seed=3)
    actions = actions_of(name, info)
    env.step(actions[0])
    point = COPIES[how](env.unwrapped.snapshot())  # type: ignore[attr-defined]
    other.reset(seed=5)
    other.unwrapped.restore(point)  # type: ignore[attr-defined]
    for action in actions[1:]:
        assert same(other.step(action), env.step(action))


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("options", [{}, {"num_envs": 2, "vectorization_mode": "sync"}])
def test_specs_make_equal_environments(how: str, options: dict[str, Any]) -> None:
    spec = COPIES[how](gym.make_vec("TextWorld-Easy-Dense-v0", history=1, **options).spec)
    env, other = gym.make_vec(spec), gym.make_vec("TextWorld-Easy-Dense-v0", history=1, **options)
    assert same(env.reset(seed=1), other.reset(seed=1))
    env.close()
    other.close()


TEAMS: dict[str, dict[str, Any]] = {
    "textworld_coop": {"env_id": "TextWorld-Easy-Dense-v0"},
    "alfworld_coop": {"env_id": "ALFWorld-Easy-Dense-v0"},
    "swe_pair": {"env_id": "SWEGym-Easy-Sparse-v0"},
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", TEAMS)
def test_teams_play_on_equally(name: str, how: str) -> None:
    pytest.importorskip("pettingzoo")
    from importlib import import_module

    module = import_module(f"textagent_gym.multi_agent.{name}")
    team = module.parallel_env(**TEAMS[name])
    fresh = COPIES[how](team)
    assert same(fresh.reset(seed=1), team.reset(seed=1))
    for _ in range(3):
        other, actions = COPIES[how](team), {agent: team.acting(agent, line) for agent, line in team.plan().items()}
        step = team.step(actions)
        assert same(other.step(actions), step)
    turns = module.env(**TEAMS[name])
    turns.reset(seed=1)
    other = COPIES[how](turns)
    agent = turns.agent_selection
    for one in (turns, other):
        one.step("pass")
    assert same(turns.observe(agent), other.observe(agent))


def test_an_unknown_game_pickles(tmp_path: Any) -> None:
    game = make_task(TaskSpec(num_rooms=2, num_objects=3, solution_length=3, seed=1)).whole_game
    data = json.loads(json.dumps(game.serialize()))
    data["quests"].append({**data["quests"][0], "optional": True})
    path = tmp_path / "game.json"
    path.write_text(json.dumps(data))
    env = gym.make("TextWorld-Custom-v0", game=str(path))
    env.reset(seed=0)
    assert env.unwrapped.backend == "inform7"  # type: ignore[attr-defined]
    other = COPIES["pickle"](env)
    assert same(other.step("look"), env.step("look"))
    env.close()
    other.close()
