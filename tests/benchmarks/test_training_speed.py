"""The benchmark of the trainers: its opponent plays the same episodes, and it does without TRL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from baselines.config.settings import RolloutSettings
from baselines.errors import ConfigError
from baselines.models.policy import Policy
from baselines.sampling.environments import EnvPool, Task, collect_texts
from baselines.sampling.rollout import rollout
from benchmarks.speed.peers.generate_rollout import generate_rollout
from benchmarks.speed.training import Config, UpdateSpeed, measure, record_update, update_table
from tests.support.toy_text_env import TOY

KINDS = [(TOY, {"max_steps": 2}), (TOY, {"max_steps": 4})]
TASKS = [Task(0, 0), Task(0, 1), Task(1, 1), Task(2, 0)]
GREEDY = RolloutSettings(temperature=0.0, max_new_tokens=6, max_context_tokens=256)
SMALL = Config(
    env_id=TOY,
    env_kwargs={"max_steps": 2},
    num_episodes=4,
    group_size=2,
    max_new_tokens=3,
    micro_batch_tokens=(64,),
    rounds=1,
    num_threads=1,
)


@pytest.fixture(scope="module")
def pool() -> Iterator[EnvPool]:
    torch.set_num_threads(1)
    with EnvPool(KINDS) as pool:
        yield pool


@pytest.fixture(scope="module")
def policy(pool: EnvPool) -> Policy:
    """Return a tiny policy with logits far from uniform, which ends some turns by itself."""
    env = pool.lease()
    policy = Policy.tiny(collect_texts(env, range(8)), seed=3)
    pool.give_back(env)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2)
        policy.model.get_input_embeddings().weight[policy.chat.end_token_id] *= 3
    return policy


@pytest.mark.parametrize("max_context_tokens", [256, 45])
def test_the_loop_around_generate_plays_the_same_greedy_episodes(
    policy: Policy, pool: EnvPool, max_context_tokens: int
) -> None:
    settings = RolloutSettings(temperature=0.0, max_new_tokens=6, max_context_tokens=max_context_tokens)
    episodes = rollout(policy, pool, TASKS, settings, (0,))
    conversations = generate_rollout(policy, pool, TASKS, settings)
    assert any(episode.truncated_by_context for episode in episodes) == (max_context_tokens == 45)
    assert {turn.cut for episode in episodes for turn in episode.turns} == {False, True}
    for episode, conversation in zip(episodes, conversations, strict=True):
        assert conversation.token_ids == episode.token_ids.tolist()
        assert conversation.action_mask == episode.action_mask.tolist()
        assert conversation.num_turns == len(episode.turns) > 0


def test_a_sampled_action_ends_once(policy: Policy, pool: EnvPool) -> None:
    settings = RolloutSettings(temperature=1.5, max_new_tokens=5, max_context_tokens=256)
    end = policy.chat.end_token_id
    for conversation in generate_rollout(policy, pool, TASKS, settings):
        assert len(conversation.action_mask) == conversation.num_tokens
        assert conversation.token_ids.count(end) == conversation.num_turns
        assert conversation.token_ids[-1] == end


def test_what_trl_is_given_is_what_was_played(policy: Policy, pool: EnvPool, tmp_path: Path) -> None:
    episodes = rollout(policy, pool, TASKS, GREEDY, (0,))
    advantages = record_update(policy, episodes, SMALL, tmp_path)
    np.testing.assert_allclose(advantages.reshape(2, 2).sum(1), 0, atol=1e-6)
    assert (advantages != 0).all()
    data = np.load(tmp_path / "episodes.npz")
    for tokens, episode in zip(np.split(data["token_ids"], data["lengths"].cumsum()[:-1]), episodes, strict=True):
        assert tokens.tolist() == episode.token_ids.tolist()


@pytest.mark.parametrize(("trl", "reason"), [("", "--trl names"), ("/no/such/python", "cannot be run"), ("false", "1")])
def test_without_trl_a_sentence_takes_its_place(trl: str, reason: str) -> None:
    console = Console(record=True, width=120)
    torch.set_num_threads(1)
    config = Config(**{**vars(SMALL), "trl": trl, "rollouts": not trl})
    figures = measure(config, console)
    ours, theirs = figures["updates"]
    assert ours["tokens_per_s"] > 0 and ours["grad_norm"] > 0
    assert theirs.startswith("TRL was not measured: ") and reason in theirs
    text = console.export_text()
    assert "TRL was not measured" in text
    assert ("model.generate" in text) == ("rollouts" in figures) == (not trl)


def test_the_ratio_is_ours_over_theirs() -> None:
    sides = [UpdateSpeed(name, "4 episodes", 1.0, speed, 0.5, {}) for name, speed in (("a", 300.0), ("b", 200.0))]
    console = Console(record=True, width=120)
    console.print(update_table(*sides))
    assert "1.50" in console.export_text()


def test_groups_have_to_fill_the_batch() -> None:
    with pytest.raises(ConfigError, match="group_size to divide the 5 episodes"):
        Config(num_episodes=5, group_size=2).check()
