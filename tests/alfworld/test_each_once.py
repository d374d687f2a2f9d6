"""Evaluation by code that knows of no tasks: every game of a finite list is played once, and none is counted twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers import vector as vector_wrappers

import textagent_gym  # noqa: F401
from tests.support.rooms import HOT_APPLE, write_room
from textagent_gym.wrappers import EachTaskOnce

NUM_GAMES = 7


@pytest.fixture
def games(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the number of games in a folder of one's own."""
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path / "cache"))
    for number in range(NUM_GAMES):
        write_room(tmp_path / "data", HOT_APPLE, name=f"X-None-Y-{number}")
    return NUM_GAMES


def make(**kwargs: Any) -> EachTaskOnce:
    return EachTaskOnce(gym.make("ALFWorld-v0", max_steps=2), **kwargs)


def finish(env: gym.Env[str, str]) -> None:
    while True:
        _, _, terminated, truncated, _ = env.step("look")
        if terminated or truncated:
            return


def test_a_loop_over_resets_plays_each_game_once(games: int) -> None:
    env = RecordEpisodeStatistics(make())
    played = []
    for _ in range(games):
        played.append(env.reset()[1]["task_id"])
        finish(env)
    assert tuple(played) == env.unwrapped.task_ids and len(env.return_queue) == games
    _, info = env.reset()
    assert info["idle"] and "task_id" not in info and info["admissible_commands"]
    with pytest.raises(ResetNeeded, match=f"expected at most {games} episodes, one for each task, got one more"):
        env.step("look")
    assert env.reset()[1]["task_id"] == played[0] and "idle" not in env.reset()[1]


def test_a_reset_without_a_step_and_one_with_a_seed(games: int) -> None:
    env = make()
    first = env.reset()[1]["task_id"]
    assert env.reset()[1]["task_id"] == first  # nothing was played
    env.step("look")
    assert env.reset()[1]["task_id"] != first
    env.step("look")
    assert env.reset(seed=3)[1]["task_id"] == first
    with pytest.raises(ValueError, match="expected options without task_id"):
        env.reset(options={"task_id": first})


def test_shares_are_the_whole_list(games: int) -> None:
    shares = [make(share=number, num_shares=3).task_ids for number in range(3)]
    assert sorted(name for share in shares for name in share) == sorted(make().task_ids)
    assert [len(share) for share in shares] == [(games + number) // 3 for number in range(3)]
    with pytest.raises(ValueError, match="expected share"):
        make(share=3, num_shares=3)


def test_tasks_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match="finite list of tasks"):
        EachTaskOnce(gym.make("ALFWorld-Easy-Dense-v0"))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(("num_envs", "processes"), [(1, 1), (3, 1), (4, 2), (9, 1)])
def test_vector_environments_share_the_list(games: int, num_envs: int, processes: int, mode: AutoresetMode) -> None:
    kinds = {"each_task_once": True, "processes": processes, "autoreset_mode": mode, "max_steps": 2}
    if num_envs > games:
        with pytest.raises(ValueError, match="expected at most 7 environments"):
            gym.make_vec("ALFWorld-v0", num_envs=num_envs, **kinds)
        return
    envs = vector_wrappers.RecordEpisodeStatistics(gym.make_vec("ALFWorld-v0", num_envs=num_envs, **kinds))
    current = list(envs.reset(seed=0)[1]["task_id"])
    played: list[str] = []
    for _ in range(40):
        _, _, terminations, truncations, infos = envs.step(["look"] * num_envs)
        over = terminations | truncations
        played += [name for name, is_over in zip(current, over, strict=True) if is_over]
        names = infos.get("task_id", [None] * num_envs)
        current = [name or before for name, before in zip(names, current, strict=True)]
        if len(played) == games:
            break
    assert sorted(played) == sorted(make().task_ids) and len(envs.return_queue) == games
    with pytest.raises(Exception, match="expected at most 7 episodes"):
        for _ in range(60):
            over = envs.step(["look"] * num_envs)
            assert not (over[2] | over[3]).any()
    envs.close()
