"""Context modes: what a prompt shows, what is recorded of it, and what is learned from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines import grpo, ppo, reinforce_pp, rloo
from baselines.config.settings import RolloutSettings, RunSettings, UpdateSettings
from baselines.errors import ConfigError
from baselines.models.chat import SaidAction, make_messages, make_prompt
from baselines.models.policy import Policy
from baselines.rl.batch import collate, collate_ends, join_sequences
from baselines.rl.learner import Collected
from baselines.rl.logprobs import score_actions
from baselines.rl.losses import log_ratios
from baselines.runs.transcripts import read_transcripts
from baselines.sampling.demonstrations import Demonstration, encode_demonstration
from baselines.sampling.environments import EnvPool, Task
from baselines.sampling.episode import Episode, Turn
from baselines.sampling.rollout import rollout
from tests.support.toy_text_env import TOY

MODES = ("full", "window:1", "window:2", "turn")
SETTINGS = RolloutSettings(temperature=0.7, max_new_tokens=6, max_context_tokens=256)
KINDS: list[tuple[str, dict[str, Any]]] = [(TOY, {"max_steps": steps}) for steps in (1, 3, 6)]
TASKS = [Task(number // 2, kind) for number, kind in enumerate((2, 2, 0, 1, 0, 2, 1, 1))]


def play(policy: Policy, context: str, use_cache: bool = True, **limits: Any) -> list[Episode]:
    with EnvPool(KINDS) as pool:
        return rollout(policy, pool, TASKS, replace(SETTINGS, context=context, **limits), (5, 1), use_cache)


def test_names_of_modes() -> None:
    assert [RolloutSettings(context=mode).window for mode in MODES] == [None, 1, 2, 0]
    for mode in ("half", "window", "window:0", "window:-1", "window:1.5", "full:2", ""):
        with pytest.raises(ConfigError, match="expected context to be full, turn or window:K with K >= 1, got"):
            RolloutSettings(context=mode).check()


def test_messages_by_hand() -> None:
    observations, actions = ["a", "b", "c", "d"], ["x", "y", "z"]

    def said(window: int | None) -> list[str]:
        return [message["content"] for message in make_messages(observations, actions, window)]

    assert said(None) == said(3) == ["a", "x", "b", "y", "c", "z", "d"]
    assert said(2) == ["a\n\nb", "y", "c", "z", "d"]
    assert said(1) == ["a\n\nc", "z", "d"]
    assert said(0) == ["a\n\nd"]
    assert [message["role"] for message in make_messages(observations, actions, 1)] == ["user", "assistant", "user"]


@pytest.mark.parametrize("mode", MODES)
def test_a_prompt_is_what_the_template_makes_of_its_messages(mode: str, tiny_policy: Policy) -> None:
    chat, tokenizer = tiny_policy.chat, tiny_policy.tokenizer
    observations, actions = ["Bring the lamp.", "No.", "Thank you.", "Yes."], ["bring the coin", "x", "bring the lamp"]
    settings, said = RolloutSettings(context=mode), [SaidAction(chat.action(text), text) for text in actions]
    window, read = settings.window, list[int]()
    for turn in range(4):
        prompt, continues = make_prompt(chat, observations[: turn + 1], said[:turn], settings)
        assert continues == (turn > 0 and (window is None or turn <= window))
        read = [*read, *prompt] if continues else prompt
        messages = make_messages(observations[: turn + 1], actions[:turn], window)
        whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert read == tokenizer.encode(whole, add_special_tokens=False)
        read += chat.action(actions[turn]) if turn < 3 else []


@pytest.fixture(scope="module")
def sharp(make_tiny: Callable[[int], Policy]) -> Policy:
    """Return a tiny policy with logits far from uniform, which ends some turns by itself."""
    policy = make_tiny(1)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2)
        policy.model.get_input_embeddings().weight[policy.chat.end_token_id] *= 3
    return policy


@pytest.mark.parametrize("mode", MODES[1:])
def test_training_scores_what_the_policy_read(mode: str, sharp: Policy) -> None:
    episodes = play(sharp, mode)
    batch = collate(episodes, sharp.pad_token_id)
    assert len(batch) == sum(len(episode.starts) for episode in episodes) > len(episodes)
    with torch.no_grad():
        scores = score_actions(sharp, batch, SETTINGS.temperature).logprobs
    assert (batch.old_logprobs - scores).abs().max() < 1e-4
    settings, chat = replace(SETTINGS, context=mode), sharp.chat
    for episode in episodes:
        actions = [
            SaidAction(episode.token_ids[turn.action_start : turn.end].tolist(), turn.action) for turn in episode.turns
        ]
        observations = [*(turn.observation for turn in episode.turns), episode.final_observation]
        assert len(episode.starts) == max(1, len(actions) - (settings.window or 0))
        for number, turn in enumerate(episode.turns):
            prompt, continues = make_prompt(chat, observations[: number + 1], actions[:number], settings)
            assert episode.token_ids[turn.start : turn.action_start].tolist() == prompt
            assert number == 0 or continues == (turn.start not in episode.starts)
        if not episode.terminated:
            prompt, continues = make_prompt(chat, observations, actions, settings)
            assert episode.final_prompt.tolist() == prompt and episode.ends_fresh != continues
    joined = join_sequences(batch.old_logprobs, episodes)
    for row, episode in zip(joined.numpy(), episodes, strict=True):
        np.testing.assert_array_equal(row[: episode.num_tokens], episode.logprobs)


@pytest.mark.parametrize("mode", MODES[1:])
def test_an_episode_does_not_depend_on_those_beside_it_or_on_the_cache(mode: str, sharp: Policy) -> None:
    reference = play(sharp, mode, use_cache=False, num_envs=1)
    for options in ({"num_envs": 3}, {"num_envs": 8}, {"use_cache": False, "num_envs": 3}):
        for one, other in zip(play(sharp, mode, **options), reference, strict=True):
            assert one.turns == other.turns and one.starts == other.starts
            assert one.token_ids.tolist() == other.token_ids.tolist()
            np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_a_window_that_holds_the_whole_episode_is_the_whole_history(sharp: Policy) -> None:
    for one, other in zip(play(sharp, "window:6"), play(sharp, "full"), strict=True):
        assert one.turns == other.turns and one.starts == other.starts == (0,)
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_array_equal(one.logprobs, other.logprobs)


def test_the_context_bounds_one_prompt_and_not_the_episode(sharp: Policy) -> None:
    longest = max(end - start for episode in play(sharp, "turn") for start, end in episode.sequences)
    whole = [episode for episode in play(sharp, "full", max_context_tokens=longest + 8) if episode.truncated_by_context]
    parts = play(sharp, "turn", max_context_tokens=longest + 8)
    assert whole and not any(episode.truncated_by_context for episode in parts)
    assert max(episode.num_tokens for episode in parts) > longest + 8


@pytest.mark.parametrize("mode", MODES)
def test_a_demonstration_is_what_a_policy_would_have_played(mode: str, sharp: Policy) -> None:
    settings = replace(SETTINGS, context=mode)
    for episode in play(sharp, mode, decode="listed", max_new_tokens=8):
        words = Demonstration(
            seed=episode.seed,
            task_id=episode.task_id,
            observations=(*(turn.observation for turn in episode.turns), episode.final_observation),
            actions=tuple(turn.action for turn in episode.turns),
            rewards=episode.rewards,
            success=episode.success,
            terminated=episode.terminated,
            truncated=episode.truncated,
        )
        encoded = encode_demonstration(sharp.chat, words, settings)
        assert encoded.token_ids.tolist() == episode.token_ids.tolist() and encoded.starts == episode.starts
        assert encoded.action_mask.tolist() == episode.action_mask.tolist()


ROWS = {"full": (0,), "window:1": (0, 6), "turn": (0, 3, 6)}
"""First tokens of the sequences of an episode of three turns, each with one token of observation and two of action."""


def hand_made(rewards: tuple[float, ...], states: str, mode: str) -> Episode:
    length = 3 * len(rewards)
    mask = np.arange(length) % 3 > 0
    turns = tuple(
        Turn("?", "!", reward, 3 * number, 3 * number + 1, 3 * number + 3, state=state)
        for number, (reward, state) in enumerate(zip(rewards, states, strict=True))
    )
    logprobs = np.where(mask, -1.0, 0.0).astype(np.float32)
    starts = tuple(start for start in ROWS[mode] if start < length)
    ends: dict[str, Any] = {"terminated": True, "truncated": False, "truncated_by_context": False}
    token_ids = np.arange(length)
    return Episode(0, None, token_ids, mask, logprobs, turns, True, final_observation="", starts=starts, **ends)


def hand_collected(mode: str) -> Collected:
    """Return a group of two: A earns 0, 1/2, 1/2 in the states x, y, z, and B 0, 1/2 in the states x, w.

    At gamma 1/2 their returns are 3/8, 3/4, 1/2 and 1/4, 1/2; undiscounted 1 and 1/2. Every token is charged 1/10.
    """
    episodes = [hand_made((0.0, 0.5, 0.5), "xyz", mode), hand_made((0.0, 0.5), "xw", mode)]
    batch = collate(episodes, 0)
    batch = batch.with_columns(ref_logprobs=batch.old_logprobs - 0.1 * batch.action_mask)
    return Collected(episodes, torch.zeros(2, dtype=torch.long), batch, {}, 0.0)


def by_turn(a: tuple[float, ...], b: tuple[float, ...]) -> list[list[float]]:
    """Repeat a value for both tokens of its turn."""
    return [[value for value in values for _ in range(2)] for values in (a, b)]


def charged(count: int) -> list[float]:
    """Return the charges from each of `count` tokens on, at gamma 1/2."""
    return [-0.1 * sum(0.5**k for k in range(count - token)) for token in range(count)]


def plus_charge(values: list[list[float]]) -> list[list[float]]:
    return [[v + c for v, c in zip(row, charged(len(row)), strict=True)] for row in values]


TURN = by_turn((1 / 16, 1 / 8, 1 / 4), (-1 / 16, -1 / 8))
LEFT_OUT = by_turn((1 / 8, 1 / 4, 1 / 2), (-1 / 8, -1 / 4))
EXPECTED: dict[tuple[str, str], list[list[float]]] = {
    ("grpo", "trajectory"): by_turn((1 / 4,) * 3, (-1 / 4,) * 2),
    ("grpo", "turn"): TURN,
    ("grpo", "token"): plus_charge(TURN),
    ("grpo", "step"): by_turn((1 / 4 + 1 / 16, 1 / 4, 1 / 4), (-1 / 4 - 1 / 16, -1 / 4)),
    ("rloo", "trajectory"): by_turn((1 / 2,) * 3, (-1 / 2,) * 2),
    ("rloo", "turn"): LEFT_OUT,
    ("rloo", "token"): plus_charge(LEFT_OUT),
    ("rloo", "step"): by_turn((1 / 2 + 1 / 8, 1 / 2, 1 / 2), (-1 / 2 - 1 / 8, -1 / 2)),
    ("reinforce_pp", "trajectory"): by_turn((1,) * 3, (1 / 2,) * 2),
    ("reinforce_pp", "turn"): by_turn((3 / 8, 3 / 4, 1 / 2), (1 / 4, 1 / 2)),
    # The second tokens of A's turns earn 0, 1/2, 1/2: from the first one on 5/64, 5/32, 5/16, 5/8, 1/4, 1/2.
    ("reinforce_pp", "token"): [[5 / 64, 5 / 32, 5 / 16, 5 / 8, 1 / 4, 1 / 2], [1 / 16, 1 / 8, 1 / 4, 1 / 2]],
}


@pytest.mark.parametrize("mode", ROWS)
@pytest.mark.parametrize(("name", "credit"), EXPECTED)
def test_advantages_by_hand(name: str, credit: str, mode: str) -> None:
    collected = hand_collected(mode)
    in_reward = credit == "token" and name != "reinforce_pp"
    update = UpdateSettings(kl_coef=1.0, kl_placement="reward") if in_reward else UpdateSettings()
    shared: dict[str, Any] = {"env_id": TOY, "credit": credit, "gamma": 0.5, "update": update}
    if name == "grpo":
        found = grpo.group_advantages(collected, grpo.Config(scale_by_std=False, **shared))
    elif name == "rloo":
        found = rloo.leave_one_out_advantages(collected, rloo.Config(**shared))
    else:
        found = reinforce_pp.whitened_advantages(collected, reinforce_pp.Config(**shared))
    expected = EXPECTED[name, credit]
    if name == "reinforce_pp":
        every = np.concatenate([np.array(row) for row in expected])
        expected = [list((np.array(row) - every.mean()) / every.std()) for row in expected]
    whole = join_sequences(found, collected.episodes)
    for row, episode, values in zip(whole, collected.episodes, expected, strict=True):
        assert row[: episode.num_tokens][torch.from_numpy(episode.action_mask)].tolist() == pytest.approx(
            values, abs=1e-6
        )


class HandCritic:
    """A critic that values the state before token t of an episode at t / 10."""

    def values(self, _: object, batch: Any) -> torch.Tensor:
        return batch.token_ids / 10


class HandLearner:
    """The part of a learner that `ppo.estimate` uses."""

    policy, critic = None, HandCritic()

    def score(self, function: Callable[[Any], torch.Tensor], batch: Any) -> torch.Tensor:
        return function(batch)


def expected_gae(credit: str) -> list[list[float]]:
    """Return advantages at gamma 1/2 and lambda 1/2, worked by hand from the equations of the page."""
    if credit == "trajectory":
        return by_turn((1 - 0.1,) * 3, (0.5 - 0.1,) * 2)
    if credit == "turn":  # values .1, .4, .7 and .1, .4
        a2 = 0.5 - 0.7
        a1 = 0.5 + 0.35 - 0.4 + a2 / 4
        a0 = 0.2 - 0.1 + a1 / 4
        b1 = 0.5 - 0.4
        return by_turn((a0, a1, a2), (0.2 - 0.1 + b1 / 4, b1))
    if credit == "token":  # values .1, .2, .4, .5, .7, .8; rewards at the second tokens
        a5 = 0.5 - 0.8
        a4 = 0.4 - 0.7 + a5 / 4
        a3 = 0.5 + 0.35 - 0.5 + a4 / 4
        a2 = 0.25 - 0.4 + a3 / 4
        a1 = 0.2 - 0.2 + a2 / 4
        b3 = 0.5 - 0.5
        b2 = 0.25 - 0.4 + b3 / 4
        b1 = 0.2 - 0.2 + b2 / 4
        return [[0.1 - 0.1 + a1 / 4, a1, a2, a3, a4, a5], [0.1 - 0.1 + b1 / 4, b1, b2, b3]]
    # Bi-level: of turns from values .2, .5, .8; within a turn undiscounted.
    a2 = 0.5 - 0.8
    a1 = 0.5 + 0.4 - 0.5 + a2 / 4
    a0 = 0.25 - 0.2 + a1 / 4
    b1 = 0.5 - 0.5
    b0 = 0.25 - 0.2 + b1 / 4
    first = 0.1 + a0 / 2, 0.1 + a1 / 2, 0.1 + a2 / 2
    return [[first[0], a0, first[1], a1, first[2], a2], [0.1 + b0 / 2, b0, 0.1 + b1 / 2, b1]]


@pytest.mark.parametrize("mode", ROWS)
@pytest.mark.parametrize("credit", ["trajectory", "turn", "token", "bilevel"])
def test_estimates_by_hand(credit: Any, mode: str) -> None:
    collected = hand_collected(mode)
    config = ppo.Config(env_id=TOY, credit=credit, gamma=0.5, gae_lambda=0.5, whiten_advantages=False)
    batch, _ = ppo.estimate(HandLearner(), collected, config)  # type: ignore[arg-type]
    advantages = join_sequences(batch["advantages"], collected.episodes)
    targets, decided = (join_sequences(batch[name], collected.episodes) for name in ("targets", "decided"))
    for row, (episode, values) in enumerate(zip(collected.episodes, expected_gae(credit), strict=True)):
        acted = torch.from_numpy(episode.action_mask)
        assert advantages[row, : episode.num_tokens][acted].tolist() == pytest.approx(values, abs=1e-6)
        places = decided[row].nonzero()[:, 0]
        expected = advantages[row, places] + torch.from_numpy(episode.token_ids)[places] / 10
        torch.testing.assert_close(targets[row, places], expected)
        assert len(places) == {"trajectory": 1, "turn": len(episode.turns)}.get(credit, 2 * len(episode.turns))


@pytest.mark.parametrize("mode", ROWS)
def test_ratios_by_hand_in_rows(mode: str) -> None:
    """log-ratios .1 to .6 of A and .7, .8, .9, 1 of B: means over turns are the same in all modes, over sequences not."""
    collected = hand_collected(mode)
    batch = collected.batch
    logs = torch.zeros_like(batch.old_logprobs).masked_scatter(batch.action_mask, torch.arange(1, 11) / 10)
    found = {
        level: log_ratios(batch.old_logprobs + logs, batch.old_logprobs, batch.action_mask, batch.turns, level)
        for level in ("token", "turn", "sequence")
    }
    turn = [0.15, 0.15, 0.35, 0.35, 0.55, 0.55, 0.75, 0.75, 0.95, 0.95]
    sequence = {
        "full": [0.35] * 6 + [0.85] * 4,
        "window:1": [0.25] * 4 + [0.55] * 2 + [0.85] * 4,
        "turn": turn,
    }
    assert found["token"][batch.action_mask].tolist() == pytest.approx([n / 10 for n in range(1, 11)])
    assert found["turn"][batch.action_mask].tolist() == pytest.approx(turn)
    assert found["sequence"][batch.action_mask].tolist() == pytest.approx(sequence[mode])


def test_the_end_of_an_episode_stands_alone_or_behind_its_last_sequence() -> None:
    episode = replace(hand_made((0.0, 0.0, 0.0), "xyz", "window:1"), final_prompt=np.array([7, 8]))
    batch = collate_ends([episode, replace(episode, ends_fresh=True)], 99)
    assert batch.token_ids.tolist() == [[6, 7, 8, 7, 8, 99], [7, 8, 99, 99, 99, 99]]
    assert batch.action_mask.nonzero().tolist() == [[0, 5], [1, 2]]


ALGORITHMS: dict[str, Any] = {"grpo": grpo, "rloo": rloo, "ppo": ppo, "reinforce_pp": reinforce_pp}


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_trains_in_every_mode(name: str, mode: str, sharp: Policy, tmp_path: Path) -> None:
    sharp.save(tmp_path / "model")
    sizes = {"groups_per_batch": 6, "group_size": 4} if name in ("grpo", "rloo") else {"episodes_per_batch": 8}
    changes: dict[str, Any] = {"bootstrap_truncated": True, "credit": "bilevel"} if name == "ppo" else {}
    config = ALGORITHMS[name].Config(
        env_id=TOY,
        model=str(tmp_path / "model"),
        num_iterations=1,
        rollout=replace(SETTINGS, context=mode, decode="listed"),
        update=UpdateSettings(ratio="turn", kl_coef=0.1, loss_aggregation="sequence"),
        run=RunSettings(out=tmp_path / "out", eval_episodes=2, log_episodes=1, num_threads=1, progress=False),
        **sizes,
        **changes,
    )
    (record,) = ALGORITHMS[name].train(config).records
    assert record["train/grad_norm"] > 0 and record["train/sequences"] > 1
    assert record["train/approx_kl"] < 0.5  # training sees what the rollout saw
    for transcript in read_transcripts(tmp_path / "out/episodes/step-00000001.jsonl"):
        assert all(turn["tokens"] for turn in transcript["turns"])
