"""mini-swe-agent: its default agent with a scripted model repairs tasks of SWEGym, and its trajectory holds the outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from tests.support.blocks import run_with_library

pytest.importorskip("minisweagent")

from minisweagent.agents.default import DefaultAgent  # needs what may be absent
from minisweagent.models.test_models import DeterministicModel, make_output

from textagent_gym.interop.mini_swe import SWEGymEnvironment

ENV_ID = "textagent_gym:SWEGym-Easy-Dense-v0"
TEMPLATES = {"system_template": "You repair programs on {{system}}.", "instance_template": "{{task}}"}


def scripted(*commands: str) -> DeterministicModel:
    return DeterministicModel(outputs=[make_output("", [{"command": command}], cost=0.0) for command in commands])


def repair(seed: int) -> tuple[tuple[str, ...], str]:
    """Return the commands of the reference, and what the first of them prints."""
    env = gym.make(ENV_ID, interface="bash", expose_solution=True)
    _, info = env.reset(seed=seed)
    observation, *_ = env.step(info["solution"][0])
    env.close()
    return info["solution"], observation


@pytest.mark.parametrize("seed", [0, 1])
def test_a_scripted_model_repairs_a_task(seed: int, tmp_path: Path) -> None:
    commands, printed = repair(seed)
    env = SWEGymEnvironment(ENV_ID, seed=seed)
    agent = DefaultAgent(scripted(*commands), env, **TEMPLATES, output_path=tmp_path / "trajectory.json")
    outcome = agent.run(env.task)
    assert outcome["exit_status"] == "Submitted"
    assert outcome["submission"].startswith("diff --git ")
    assert env.episode.metrics == {"episode_return": 1.0, "num_steps": len(commands), "success": 1.0}
    assert agent.messages[3]["content"].split("\n")[0] == printed.split("\n")[0]
    saved = json.loads((tmp_path / "trajectory.json").read_text())["info"]
    assert saved["episode"]["success"] == 1.0
    assert saved["config"]["environment"]["seed"] == seed
    env.close()


def test_its_own_way_to_submit_ends_the_episode() -> None:
    env = SWEGymEnvironment(ENV_ID)
    agent = DefaultAgent(scripted("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"), env, **TEMPLATES)
    assert agent.run(env.task) == {"exit_status": "Submitted", "submission": ""}
    assert env.episode.metrics["success"] == 0.0


def test_output_status_and_folder_are_those_of_the_command() -> None:
    env = SWEGymEnvironment(ENV_ID)
    assert env.execute({"command": "printf 'a\\n\\nb'; exit 3"}) == {
        "output": "a\n\nb",
        "returncode": 3,
        "exception_info": "",
    }
    assert env.execute({"command": "true"})["output"] == ""
    assert env.execute({"command": "pwd"}, cwd="/tmp")["output"] == "/tmp"
    refused = env.execute({"command": ""})
    assert refused["returncode"] == -1
    assert "expected a command" in refused["exception_info"]


def test_the_budget_of_the_environment_ends_the_run() -> None:
    env = SWEGymEnvironment(ENV_ID, max_steps=2)
    agent = DefaultAgent(scripted("ls", "ls", "ls"), env, **TEMPLATES)
    assert agent.run(env.task)["exit_status"] == "LimitsExceeded"
    assert env.episode.num_steps == 2


def test_templates_get_no_secrets_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret")
    env = SWEGymEnvironment(ENV_ID)
    assert "a-secret" not in json.dumps([env.get_template_vars(), env.serialize()])


def test_the_block_on_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    commands, _ = repair(0)
    monkeypatch.setattr("minisweagent.models.get_model", lambda *_, **__: scripted(*commands))
    space: dict[str, Any] = run_with_library("swegym.md", "minisweagent")
    assert space["env"].episode.metrics["success"] == 1.0
