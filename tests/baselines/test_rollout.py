"""Rollouts: what is recorded is what was sampled, with the cache and without it, and training agrees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import TOY

from baselines.batch import collate
from baselines.environments import make_env, make_envs
from baselines.episode import Episode
from baselines.errors import ConfigError, EnvironmentContractError
from baselines.logprobs import score_actions
from baselines.policy import Policy
from baselines.rollout import rollout
from baselines.sampling import seeded_generator
from baselines.settings import RolloutSettings

SETTINGS = RolloutSettings(temperature=0.7, max_new_tokens=6, max_context_tokens=256)
SEEDS = [0, 0, 1, 2, 2, 3, 4]


def play(policy: Policy, settings: RolloutSettings = SETTINGS, num_envs: int = 7, **options: bool) -> list[Episode]:
    envs = make_envs(TOY, {}, num_envs)
    return rollout(policy, envs, SEEDS, settings, seeded_generator(5), **options)


@pytest.fixture(scope="module")
def sharp(make_tiny: Callable[[int], Policy]) -> Policy:
    """A tiny policy with logits far from uniform, which ends some turns by itself."""
    policy = make_tiny(3)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2)
        policy.model.get_input_embeddings().weight[policy.chat.end_token_id] *= 3
    return policy


@pytest.fixture(scope="module")
def episodes(sharp: Policy) -> list[Episode]:
    return play(sharp)


def test_logprobs_of_rollout_and_training_agree(sharp: Policy, episodes: list[Episode]) -> None:
    batch = collate(episodes, sharp.pad_token_id)
    with torch.no_grad():
        scores = score_actions(sharp, batch, SETTINGS.temperature)
    assert (batch.old_logprobs - scores.logprobs).abs().max() < 1e-4
    assert batch.old_logprobs[batch.action_mask].min() < -0.5  # the test would be idle on certain tokens


def test_cache_and_no_cache_agree(sharp: Policy, episodes: list[Episode]) -> None:
    for cached, plain in zip(episodes, play(sharp, use_cache=False), strict=True):
        assert cached.token_ids.tolist() == plain.token_ids.tolist()
        np.testing.assert_allclose(cached.logprobs, plain.logprobs, atol=1e-4)


def test_turns_are_ragged_so_that_the_cache_has_holes(episodes: list[Episode]) -> None:
    lengths = {turn.end - turn.action_start for episode in episodes for turn in episode.turns}
    cut = {turn.cut for episode in episodes for turn in episode.turns}
    assert len(lengths) > 2 and cut == {True, False}


def test_the_record_is_consistent(sharp: Policy, episodes: list[Episode]) -> None:
    end = sharp.chat.end_token_id
    for episode in episodes:
        position = 0
        for number, turn in enumerate(episode.turns):
            assert turn.start == position
            prompt = sharp.chat.next_turn(turn.observation) if number else sharp.chat.first_turn(turn.observation)
            assert episode.token_ids[turn.start : turn.action_start].tolist() == prompt
            assert not episode.action_mask[turn.start : turn.action_start].any()
            assert episode.token_ids[turn.end - 1] == end
            assert (
                episode.action_mask[turn.action_start : turn.end].tolist()
                == [True] * (turn.end - turn.action_start - turn.cut) + [False] * turn.cut
            )
            sampled = episode.token_ids[turn.action_start : turn.end - 1].tolist()
            assert turn.action == sharp.chat.decode_action(sampled)
            position = turn.end
        assert position == episode.num_tokens
        assert not episode.logprobs[~episode.action_mask].any()
        assert (episode.turn_index() == np.repeat(np.arange(6), [t.end - t.start for t in episode.turns])).all()
        assert episode.truncated and not episode.terminated and len(episode.turns) == 6


def test_the_same_seed_is_the_same_task_with_other_samples(episodes: list[Episode]) -> None:
    assert episodes[0].task_id == episodes[1].task_id != episodes[2].task_id
    assert episodes[0].token_ids.tolist() != episodes[1].token_ids.tolist()


def test_equal_generators_give_equal_episodes(sharp: Policy, episodes: list[Episode]) -> None:
    again = play(sharp)
    assert [e.token_ids.tolist() for e in again] == [e.token_ids.tolist() for e in episodes]


def test_no_global_generator_is_touched(tiny_policy: Policy) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    play(tiny_policy)
    Policy.tiny(["a text"], seed=2)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()


def test_greedy_play_does_not_depend_on_the_batch(sharp: Policy) -> None:
    greedy = RolloutSettings(temperature=0.0, max_new_tokens=6, max_context_tokens=256)
    together, apart = play(sharp, greedy), play(sharp, greedy, num_envs=2)
    assert [e.token_ids.tolist() for e in together] == [e.token_ids.tolist() for e in apart]


def test_a_full_context_truncates_and_is_counted(sharp: Policy) -> None:
    first = len(sharp.chat.first_turn(make_env(TOY, {}).reset(seed=0)[0]))
    tight = play(sharp, RolloutSettings(temperature=1.0, max_new_tokens=6, max_context_tokens=first + 30))
    assert all(e.truncated and e.truncated_by_context and not e.success for e in tight)
    assert all(0 < len(e.turns) < 6 and e.num_tokens <= first + 30 for e in tight)
    assert all(e.final_observation for e in tight)


def test_a_prompt_that_does_not_fit_is_an_episode_without_turns(sharp: Policy) -> None:
    hopeless = play(sharp, RolloutSettings(temperature=1.0, max_new_tokens=6, max_context_tokens=8))
    assert all(e.truncated_by_context and e.num_tokens == 0 and e.episode_return == 0 for e in hopeless)


@pytest.mark.parametrize(("option", "value"), [("top_p", 0.9), ("top_k", 5)])
def test_sampling_other_than_the_models_own_is_refused(tiny_policy: Policy, option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=r"expected top_p=1 and top_k=0 .*, got "):
        play(tiny_policy, RolloutSettings(**{option: value}))  # type: ignore[arg-type]


def test_an_observation_that_is_no_text(tiny_policy: Policy) -> None:
    env = make_env("CartPole-v1", {})
    with pytest.raises(EnvironmentContractError, match="expected a str observation from reset of CartPole-v1, got nd"):
        rollout(tiny_policy, [env], [0], SETTINGS, seeded_generator(0))  # type: ignore[list-item]


def test_transcript_reads_like_play(episodes: list[Episode]) -> None:
    text = episodes[0].transcript()
    assert "Bring the" in text and "[6] > " in text and "== out of steps after 6 steps, return 0" in text
