"""verifiers: an environment of `verifiers.v1` plays a model behind a chat server; each reward is the episode's return."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from tests.support.chat_player import playing, solution

vf = pytest.importorskip("verifiers.v1")
if version("verifiers") < "0.4":
    pytest.skip("expected verifiers 0.4 or newer", allow_module_level=True)

from textagent_gym.interop.verifiers import GymEnv, GymTaskset  # noqa: E402  # needs what may be absent

ENV_ID = "textagent_gym:TextWorld-Easy-Dense-v0"
SEEDS = (3, 4, 5)

TASKSET = """
from textagent_gym.interop.verifiers import GymEnv, GymTaskset
__all__ = ["GymEnv", "GymTaskset"]
"""

HARNESS = '''
"""A chat of one request a turn, in this process: the built-in one is a script that uv installs from the network."""

import httpx
import verifiers.v1 as vf
from verifiers.v1.dialects.chat import message_to_wire

class InProcess(vf.Harness[vf.HarnessConfig]):
    APPENDS_SYSTEM_PROMPT = SUPPORTS_RESUME = True
    EXECUTES_CODE = NEEDS_CONTAINER = False

    async def launch(self, ctx, trace, runtime, endpoint, secret, mcp_urls, data):
        system, prompt = self.resolve_prompt(data)
        messages = [message_to_wire(message) for message in prompt]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = await client.post(
                f"{endpoint}/chat/completions",
                json={"model": ctx.model, "messages": messages},
                headers={"Authorization": f"Bearer {secret}"},
            )
        failed = answer.status_code != 200
        return vf.ProgramResult(exit_code=int(failed), stdout="", stderr=answer.text if failed else "")

__all__ = ["InProcess"]
'''


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Yield the two modules of a user, at the top level of the path as verifiers requires."""
    (tmp_path / "textworld_easy_tasks.py").write_text(TASKSET)
    (tmp_path / "in_process_harness.py").write_text(HARNESS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CHAT_PLAYER_KEY", "none")


def load(**options: Any) -> GymEnv:
    config = {
        "taskset": {"id": "textworld_easy_tasks", "env_id": ENV_ID, "first_seed": 3, **options},
        "player": {"harness": {"id": "in_process_harness"}},
    }
    return vf.load_environment(vf.resolve_env_config(config))


def first_words(seed: int) -> str:
    return str(gym.make(ENV_ID).reset(seed=seed)[0])


def replay(seed: int, actions: Any, max_steps: int) -> tuple[float, int, bool]:
    env = gym.make(ENV_ID, max_steps=max_steps)
    env.reset(seed=seed)
    rewards = []
    for action in actions:
        _, reward, terminated, truncated, info = env.step(action)
        rewards.append(float(reward))
        if terminated or truncated:
            break
    return sum(rewards), len(rewards), info["success"]


async def play(env: GymEnv, base_url: str, **options: Any) -> list[Any]:
    client = vf.EvalClientConfig(base_url=base_url, api_key_var="CHAT_PLAYER_KEY")
    context = vf.ModelContext(model="by-heart", client=client)
    async with env.serving():
        slots = [slot for task in env.taskset for slot in env.slots(task, 2)]
        return list(await asyncio.gather(*(env.run_slot(slot, context) for slot in slots)))


@pytest.mark.filterwarnings("ignore")  # what the library says of its own
@pytest.mark.usefixtures("plugins")
def test_rewards_are_returns() -> None:
    by_heart = {first_words(seed): solution(ENV_ID, seed) for seed in SEEDS}
    by_heart[first_words(4)] = solution(ENV_ID, 4)[:3] + ("look",) * 50  # one that runs out of its steps
    env = load(env_kwargs={"max_steps": 8}, num_tasks=3, instructions="Play.")
    assert isinstance(env, GymEnv) and isinstance(env.taskset, GymTaskset) and env.taskset.bounded
    with playing(by_heart) as base_url:
        episodes = asyncio.run(play(env, base_url))
    assert len(episodes) == 6
    for episode in episodes:
        assert episode.ok, [error.message for error in episode.errors]
        (trace,) = episode.traces
        seed = trace.task.data.seed
        total, count, success = replay(seed, by_heart[first_words(seed)], max_steps=8)
        assert trace.reward == pytest.approx(total)
        assert (trace.metrics["num_steps"], trace.metrics["success"]) == (count, float(success))
        messages = trace.branches[-1].messages
        assert [message.role for message in messages[:3]] == ["system", "user", "assistant"]
        assert messages[1].content == first_words(seed)
        assert trace.num_turns == count
    assert {episode.traces[0].task.data.seed for episode in episodes} == set(SEEDS)
    assert {episode.traces[0].reward == pytest.approx(1) for episode in episodes} == {True, False}


@pytest.mark.usefixtures("plugins")
def test_there_is_no_end_of_tasks_unless_one_is_asked_for() -> None:
    env = load()
    assert not env.taskset.bounded
    tasks = list(env.taskset.take(3))
    assert [task.data.seed for task in tasks] == [3, 4, 5]
    assert json.loads(tasks[0].data.model_dump_json())["env_id"] == ENV_ID
    assert env.taskset.take(3).bounded


@pytest.mark.usefixtures("plugins")
def test_the_default_player_needs_neither_tools_nor_a_sandbox() -> None:
    config = vf.resolve_env_config({"taskset": {"id": "textworld_easy_tasks", "env_id": ENV_ID}})
    assert (config.player.harness.id, config.player.runtime.type) == ("null", "subprocess")
