"""Kept games: they start without textworld, and play as those that were just drawn."""

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from textagent_gym.agents import RandomAgent
from textagent_gym.envs.textworld.engine import compiled_game
from textagent_gym.envs.textworld.env import TextWorldEnv
from textagent_gym.envs.textworld.generation.saved import saved_task
from textagent_gym.envs.textworld.tasks import cached_file, content_of, make_task
from textagent_gym.envs.textworld.types import TaskSpec
from textagent_gym.envs.textworld.world.saved_game import SavedGame

SPECS = [
    TaskSpec(num_rooms=3, num_objects=4, solution_length=4, seed=5),
    TaskSpec(num_rooms=6, num_objects=8, solution_length=8, instructions="goal", seed=6),
    TaskSpec(challenge="simple", rewards="dense", seed=7),
    TaskSpec(num_rooms=2, num_objects=3, solution_length=4, exact=False, seed=8),
]

START = """
import sys
import gymnasium as gym
env = gym.make("textagent_gym:TextWorld-Easy-Dense-v0")
env.reset(seed=3)
for command in env.unwrapped.task.solution:
    *_, info = env.step(command)
print(info["success"], "textworld" in sys.modules)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder, on disk and in memory."""
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path))
    forget()
    return tmp_path


def forget() -> None:
    make_task.cache_clear()
    compiled_game.cache_clear()


def options_of(spec: TaskSpec) -> dict[str, Any]:
    if spec.challenge == "simple":
        return {"challenge": "simple", "rewards": spec.rewards}
    sizes = {"state_space_size": spec.num_rooms, "action_space_size": spec.num_objects}
    return {**sizes, "solution_length": spec.solution_length, "reward_density": 1.0, "exact": spec.exact}


def transcript(spec: TaskSpec) -> list[Any]:
    """Return all that one game says to random commands."""
    env = TextWorldEnv(**options_of(spec), instructions=spec.instructions)
    agent = RandomAgent()
    observation, info = env.reset(seed=11)
    agent.reset(info, 11)
    seen: list[Any] = [(observation, info)]
    over = False
    while not over:
        observation, reward, terminated, truncated, info = env.step(agent.act(observation, info))
        over = terminated or truncated
        seen.append((observation, reward, terminated, truncated, info))
    return seen


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_kept_game_plays_as_when_it_was_drawn(spec: TaskSpec) -> None:
    drawn = transcript(spec)
    forget()
    assert transcript(spec) == drawn


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_kept_task_is_the_one_that_was_drawn(spec: TaskSpec) -> None:
    drawn = make_task(spec)
    kept = saved_task(cached_file(spec))
    assert kept is not None
    assert isinstance(kept.game, SavedGame)
    names = {name for name in vars(drawn) if name not in ("game", "ground", "planner")}
    assert {name: getattr(kept, name) for name in names} == {name: getattr(drawn, name) for name in names}
    assert kept.ground.rules == drawn.ground.rules
    assert kept.planner.reference == drawn.planner.reference
    assert kept.ground.problem.initial == drawn.ground.problem.initial
    assert kept.ground.problem.goals == drawn.ground.problem.goals
    assert kept.game_file == str(cached_file(spec))
    assert content_of(kept.whole_game) == content_of(drawn.whole_game)


def test_a_kept_game_starts_without_textworld() -> None:
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("damage", [b"", b"[1]", *(gzip.compress(one, mtime=0) for one in (b"{", b"[1]", b"{}"))])
def test_a_damaged_file_is_made_again(cache: Path, damage: bytes) -> None:
    task = make_task(SPECS[0])
    (file,) = (cache / "textworld-play-1").iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage)
    forget()
    assert make_task(SPECS[0]).task_id == task.task_id
    assert file.read_bytes() == whole


def test_another_game_in_the_same_place_is_not_taken_for_it() -> None:
    make_task(SPECS[0])
    make_task(SPECS[1])
    cached_file(SPECS[0]).write_bytes(cached_file(SPECS[1]).read_bytes())
    assert saved_task(cached_file(SPECS[0])) is None
