"""The scripted agent repairs what small changes can, and its edits are exactly those changes."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import pytest

import textagent_gym.envs.swe
from textagent_gym.envs.swe.repair_agent import RepairAgent, _as_edit
from textagent_gym.envs.swe.repo.mutation import mutations

BUNDLED = Path(textagent_gym.envs.swe.__file__).parent / "bundled"


def test_an_edit_is_the_change_of_its_mutation() -> None:
    num_edits = num_mutations = 0
    for file in sorted(BUNDLED.rglob("src/**/*.py")):
        source = file.read_text(encoding="utf-8")
        for mutation in mutations(file.name, source.encode()):
            after = mutation.apply(source.encode()).decode()
            num_mutations += 1
            for edit in _as_edit(file.name, source, after):
                num_edits += 1
                assert source.count(edit.old) == 1
                assert source.replace(edit.old, edit.new) == after
    assert num_edits > 0.95 * num_mutations > 500


@pytest.mark.parametrize(("task", "solved"), [("m0", 2), pytest.param("m3", 1, marks=pytest.mark.slow)])
def test_it_repairs_without_hidden_knowledge(task: str, solved: int) -> None:
    env = gym.make("SWEGym-Easy-Sparse-v0", hint_level=0, max_steps=60)
    agent = RepairAgent()
    observation, info = env.reset(seed=0, options={"task_id": f"bundled-ledgerline-1.0.{task}"})
    agent.reset({}, seed=None)
    commands, ended = [], False
    while not ended:
        commands.append(json.loads(agent.act(observation, {})))
        observation, _, terminated, truncated, info = env.step(json.dumps(commands[-1]))
        assert info["valid_command"]
        ended = terminated or truncated
    assert {command["tool"] for command in commands} >= {"test", "search", "view", "edit"}
    assert info["subgoals_done"] == solved
    assert info["success"] == terminated == (solved == 2)
