"""ALFWorld's hand-coded expert plays on the native engine what it plays through the package itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import pytest
from alfworld.agents.expert import handcoded_expert

import textagent_gym  # noqa: F401
from baselines.errors import ConfigError
from benchmarks.agents.handcoded import HandCodedExpert
from tests.alfworld.conftest import real_data as real_data
from textagent_gym.envs.packages import import_alfworld, undisturbed


def test_other_environments_are_refused() -> None:
    for env_id in ("TextWorld-Easy-Dense-v0", "ALFWorld-Easy-Dense-v0"):
        with pytest.raises(ConfigError, match="expected real games of ALFWorld for the agent handcoded"):
            HandCodedExpert(gym.make(env_id))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # textworld leaves the game's file open
@pytest.mark.parametrize("kind", ["pick_clean", "pick_cool", "look_at_obj"])
def test_it_plays_as_through_the_package(
    real_data: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = gym.make("ALFWorld-v0", split="valid_seen", max_steps=50, strict=True)
    task_id = next(name for name in env.unwrapped.task_ids if f"/{kind}" in name)  # type: ignore[attr-defined]
    observation, info = env.reset(options={"task_id": task_id})
    agent = HandCodedExpert(env)
    agent.reset(info, 0)
    monkeypatch.setattr(agent, "_choose", min)
    monkeypatch.setattr(handcoded_expert, "random", SimpleNamespace(choice=min))

    shutil.copy(info["task_card"]["game_file"], tmp_path / "game.tw-pddl")
    kind, thing, within, target, _ = task_id.split("/")[1].rsplit("-", 4)
    names = {"object_target": thing, "mrecep_target": within, "parent_target": target, "toggle_target": target}
    (tmp_path / "traj_data.json").write_text(json.dumps({"task_type": kind, "pddl_params": names}))
    package = import_alfworld()
    with undisturbed():
        import textworld
        import textworld.envs.pddl

        infos = textworld.EnvInfos(feedback=True, admissible_commands=True, facts=True, won=True)
        theirs = package.AlfredExpert(
            package.AlfredDemangler(textworld.envs.pddl.PddlEnv(infos)), expert_type="handcoded"
        )
        theirs.load(str(tmp_path / "game.tw-pddl"))
        state = theirs.reset()
        while True:
            command = agent.act(observation, info)
            assert state["extra.expert_plan"] == [command]
            observation, _, terminated, truncated, info = env.step(command)
            state, _, _ = theirs.step(command)
            assert state["feedback"] == observation and state["won"] == info["success"]
            if terminated or truncated:
                break
    assert info["success"]
