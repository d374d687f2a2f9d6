"""Rollouts: what is recorded is what was sampled, with the cache and without it, and training agrees."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.config.settings import RolloutSettings
from baselines.errors import ConfigError, EnvironmentContractError, TrainingError
from baselines.models.policy import Policy
from baselines.rl.batch import collate
from baselines.rl.logprobs import score_actions
from baselines.sampling import decoding
from baselines.sampling.decoding import HistoryDecoder, RaggedDecoder, sample_tokens
from baselines.sampling.environments import EnvPool, Task, make_env
from baselines.sampling.episode import Episode
from baselines.sampling.rollout import rollout
from tests.support.toy_text_env import TOY, ToyErrands

SETTINGS = RolloutSettings(temperature=0.7, max_new_tokens=6, max_context_tokens=256)
TASKS = [Task(seed) for seed in (0, 0, 1, 2, 2, 3, 4)]
# Three kinds whose episodes differ in length, in an order in which short and long ones stand side by side.
KINDS: list[tuple[str, dict[str, Any]]] = [(TOY, {"max_steps": steps}) for steps in (1, 3, 6)]
MIXED = [Task(number // 2, kind) for number, kind in enumerate((2, 2, 0, 1, 0, 2, 1, 1, 0, 0, 2, 1, 0, 2))]


def play(policy: Policy, settings: RolloutSettings = SETTINGS, num_envs: int = 7, **options: bool) -> list[Episode]:
    with EnvPool([(TOY, {})]) as pool:
        return rollout(policy, pool, TASKS, replace(settings, num_envs=num_envs), (5,), **options)


def play_mixed(
    policy: Policy, tasks: Sequence[Task] = MIXED, first: int = 0, use_cache: bool = True, **limits: int
) -> list[Episode]:
    with EnvPool(KINDS) as pool:
        return rollout(policy, pool, tasks, replace(SETTINGS, **limits), (5, 1), use_cache, first)


def assert_same(some: Sequence[Episode], others: Sequence[Episode]) -> None:
    for one, other in zip(some, others, strict=True):
        assert (one.seed, one.task_id, one.turns) == (other.seed, other.task_id, other.turns)
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert one.final_prompt.tolist() == other.final_prompt.tolist()
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


@pytest.fixture(scope="module")
def sharp(make_tiny: Callable[[int], Policy]) -> Policy:
    """Return a tiny policy with logits far from uniform, which ends some turns by itself."""
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


def test_logprobs_are_those_of_a_plain_pass_over_the_episode(sharp: Policy, alone: list[Episode]) -> None:
    for episode in play_mixed(sharp, num_envs=3):
        with torch.inference_mode():
            logits = sharp.model(input_ids=torch.as_tensor(episode.token_ids)[None], use_cache=False).logits[0]
        plain = torch.log_softmax(logits / SETTINGS.temperature, dim=-1)[:-1]
        chosen = plain.gather(1, torch.as_tensor(episode.token_ids)[1:, None])[:, 0].numpy()
        mask = episode.action_mask
        np.testing.assert_allclose(episode.logprobs[1:][mask[1:]], chosen[mask[1:]], atol=1e-4)


def test_cache_and_no_cache_agree(sharp: Policy, episodes: list[Episode]) -> None:
    assert_same(episodes, play(sharp, use_cache=False))


@pytest.fixture(scope="module")
def alone(sharp: Policy) -> list[Episode]:
    """Return every task of the mixture in a rollout of its own."""
    return [play_mixed(sharp, [task], number, use_cache=False)[0] for number, task in enumerate(MIXED)]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("num_envs", [1, 3, 8, 64])
def test_an_episode_does_not_depend_on_those_beside_it(
    sharp: Policy, alone: list[Episode], num_envs: int, use_cache: bool
) -> None:
    assert {len(episode.turns) for episode in alone} == {1, 3, 6}
    assert_same(play_mixed(sharp, use_cache=use_cache, num_envs=num_envs), alone)


def test_slices_make_the_whole(sharp: Policy, alone: list[Episode]) -> None:
    parts = [play_mixed(sharp, MIXED[start:end], start, num_envs=3) for start, end in ((0, 5), (5, 6), (6, 14))]
    assert_same([episode for part in parts for episode in part], alone)
    assert play_mixed(sharp, MIXED[5:6], 0)[0].token_ids.tolist() != alone[5].token_ids.tolist()


def test_threads_play_the_same_episodes(sharp: Policy, alone: list[Episode]) -> None:
    assert_same(play_mixed(sharp, num_envs=5, env_workers=4), alone)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> type[ToyErrands]:
    """Return the toy with its counts at zero."""
    monkeypatch.setattr(ToyErrands, "num_made", 0)
    monkeypatch.setattr(ToyErrands, "num_closed", 0)
    return ToyErrands


@pytest.mark.parametrize("env_workers", [1, 3])
@pytest.mark.parametrize("fail_at", [-1, 1, 4])
def test_a_broken_environment_is_replaced_and_its_episode_played_anew(
    sharp: Policy, episodes: list[Episode], toys: type[ToyErrands], fail_at: int, env_workers: int
) -> None:
    settings = replace(SETTINGS, num_envs=3, env_workers=env_workers)
    with EnvPool([(TOY, {"fail_at": fail_at, "healthy_after": 2})], max_broken=2) as pool:
        assert_same(rollout(sharp, pool, TASKS, settings, (5,)), episodes)
        assert pool.num_broken == 2 == toys.num_closed
        assert toys.num_made == 5  # three side by side
    assert toys.num_closed == 5


@pytest.mark.parametrize(("fail_at", "where"), [(-1, "reset"), (2, "step 2")])
def test_one_broken_environment_too_many_ends_the_run(
    sharp: Policy, toys: type[ToyErrands], fail_at: int, where: str
) -> None:
    with EnvPool([(TOY, {"fail_at": fail_at})], max_broken=2) as pool:
        expected = (
            f"expected at most 2 broken environments .* {TOY} raised RuntimeError in {where} of seed 9 "
            r"\(the toy was made to fail\), after 2 had been replaced"
        )
        with pytest.raises(TrainingError, match=expected):
            rollout(sharp, pool, [Task(9)], SETTINGS, (5,))
        assert toys.num_made == toys.num_closed == 3


def test_a_run_that_ends_gives_back_what_it_has_leased(sharp: Policy, toys: type[ToyErrands]) -> None:
    kinds: list[tuple[str, dict[str, Any]]] = [(TOY, {}), (TOY, {"fail_at": 2})]
    with EnvPool(kinds) as pool:
        with pytest.raises(TrainingError):
            rollout(sharp, pool, [Task(0), Task(1, 1), Task(2)], SETTINGS, (5,))
        made = toys.num_made
        assert len({id(pool.lease()) for _ in range(2)}) == 2 and toys.num_made == made


def test_the_pool_refuses_what_it_cannot_make(toys: type[ToyErrands]) -> None:
    with pytest.raises(ConfigError, match=r"expected options that .*ToyErrands-v0 accepts"):
        EnvPool([(TOY, {}), (TOY, {"mistake": 1})])
    assert toys.num_made == toys.num_closed == 1
    with pytest.raises(ConfigError, match="expected at least one kind of environment, got none"):
        EnvPool([])
    with EnvPool([(TOY, {})]) as pool, pytest.raises(ConfigError, match="expected a kind of environment from 0 to 0"):
        pool.lease(1)


@pytest.mark.parametrize("error", [KeyError, AttributeError, AssertionError])
def test_an_option_that_breaks_a_constructor_is_one_sentence(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: Any, **__: Any) -> None:
        raise error("colour")

    monkeypatch.setattr("gymnasium.make", make)
    with pytest.raises(ConfigError, match=r"expected options that X-v0 accepts, got {'colour': 3}: .*colour"):
        make_env("X-v0", {"colour": 3})


@st.composite
def decoder_calls(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Return a random history of a batch: rows come, speak, wait and go."""
    chunk = st.lists(st.integers(4, 250), min_size=1, max_size=9)
    calls: list[tuple[str, Any]] = [("admit", draw(st.lists(chunk, min_size=1, max_size=3)))]
    num_rows = len(calls[0][1])
    for _ in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from(["admit", "keep", "feed", "feed_tokens"] if num_rows else ["admit"]))
        if name == "admit":
            prompts = draw(st.lists(chunk | st.just([7, 8, 9]), min_size=1, max_size=3))
            calls.append((name, prompts))
            num_rows += len(prompts)
        elif name == "keep":
            kept = draw(st.lists(st.sampled_from(range(num_rows)), unique=True, max_size=num_rows))
            calls.append((name, kept))
            num_rows = len(kept)
        elif name == "feed":
            calls.append((name, draw(st.lists(chunk, min_size=num_rows, max_size=num_rows))))
        else:
            token = st.tuples(st.integers(4, 250), st.booleans())
            calls.append((name, draw(st.lists(token, min_size=num_rows, max_size=num_rows))))
    return calls


@settings(max_examples=40, deadline=None)
@given(calls=decoder_calls(), min_saved=st.sampled_from([1, 4, 128]))
def test_the_cache_gives_the_logits_of_the_whole_history(
    sharp: Policy, calls: list[tuple[str, Any]], min_saved: int
) -> None:
    model, pad = sharp.model, sharp.pad_token_id
    decoders = [HistoryDecoder(model, pad), RaggedDecoder(model, pad), RaggedDecoder(model, pad, fixed_shapes=True)]
    with torch.inference_mode(), patch.object(decoding, "_MIN_SAVED", min_saved):
        for name, argument in calls:
            if name == "keep":
                for decoder in decoders:
                    decoder.keep(argument)
                continue
            if name == "feed_tokens":
                token_ids, active = (torch.tensor(column) for column in zip(*argument, strict=True))
                plain, *cached = (decoder.feed_tokens(token_ids, active)[active] for decoder in decoders)
            else:
                plain, *cached = (getattr(decoder, name)(argument) for decoder in decoders)
            for logits in cached:
                torch.testing.assert_close(logits, plain, atol=1e-3, rtol=1e-4)


@given(lengths=st.lists(st.integers(0, 200), min_size=1, max_size=40).filter(any), min_saved=st.integers(1, 300))
def test_long_chunks_are_cut_off_where_that_saves_holes(lengths: list[int], min_saved: int) -> None:
    with patch.object(decoding, "_MIN_SAVED", min_saved):
        cuts = decoding._cuts(lengths)
    edges = [max(lengths), *cuts, 0]
    assert edges == sorted(set(edges), reverse=True)
    parts = list(itertools.pairwise(edges))
    run = [(left - right) * sum(n > right for n in lengths) for left, right in parts[:-1]]
    last = parts[-1][0] * len(lengths)  # where all rows get their logits
    whole = max(lengths) * len(lengths)
    assert whole - sum(run) - last >= min_saved * len(cuts)
    for left, right in parts:
        for cut in range(right + 1, left):
            ended = sum(right < n <= cut for n in lengths) if right else sum(n <= cut for n in lengths)
            assert ended * (left - cut) < min_saved, "no further cut would save enough"


def test_a_step_of_fixed_shapes_keeps_its_inputs_until_the_buffers_grow(sharp: Policy) -> None:
    decoder = RaggedDecoder(sharp.model, sharp.pad_token_id, fixed_shapes=True)
    with torch.inference_mode():
        decoder.admit([[5, 6, 7], [8, 9]])
        inputs = []
        for token_id in range(10, 330):
            decoder.feed_tokens(torch.tensor([token_id % 200, 4]), torch.tensor([True, token_id % 2 == 0]))
            assert decoder._fixed_step is not None
            inputs.append(decoder._fixed_step._mask.data_ptr())
    assert len(dict.fromkeys(inputs)) == 2, "one for each size of the buffers, 256 columns and 512"


def test_cuda_graphs_need_a_gpu() -> None:
    with pytest.raises(ConfigError, match="expected a device cuda with cuda_graphs, got cpu"):
        RolloutSettings(cuda_graphs=True).check_device("cpu")
    RolloutSettings(cuda_graphs=True).check_device("cuda:1")


def test_sampling_inverts_the_cumulative_distribution() -> None:
    logits = torch.tensor([0.2, 0.0, 0.5, 0.3, 0.0]).log()
    uniforms = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, np.nextafter(1.0, 0.0)], dtype=torch.float64)
    token_ids, logprobs = sample_tokens(logits.expand(6, 5), 1.0, uniforms)
    assert token_ids.tolist() == [0, 0, 2, 2, 3, 3]
    assert logprobs.exp().tolist() == pytest.approx([0.2, 0.2, 0.5, 0.5, 0.3, 0.3])
    assert sample_tokens(logits.expand(6, 5), 1.0, uniforms[:, None])[0].tolist() == token_ids.tolist()


@pytest.mark.parametrize("rounding", [0.0, 1e-12])
def test_sampling_never_draws_what_has_no_probability(monkeypatch: pytest.MonkeyPatch, rounding: float) -> None:
    exact, noise = torch.Tensor.cumsum, torch.rand(300, generator=torch.Generator().manual_seed(1))
    # A device that sums in parallel is off in the last bits, and differently at every token.
    monkeypatch.setattr(torch.Tensor, "cumsum", lambda self, dim: exact(self, dim) + rounding * noise)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2000, 300), generator=generator) * 3
    logits[torch.rand(logits.shape, generator=generator) < 0.5] = -torch.inf
    logits[:, 0], logits[:, -3:] = -torch.inf, -torch.inf
    for uniform in (0.0, 0.5, np.nextafter(1.0, 0.0), 1.0):
        _, logprobs = sample_tokens(logits, 1.0, torch.full((2000,), uniform, dtype=torch.float64))
        assert logprobs.isfinite().all()


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


def test_equal_seeds_give_equal_episodes(sharp: Policy, episodes: list[Episode]) -> None:
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


def test_the_final_prompt_is_what_would_have_been_read_next(sharp: Policy, episodes: list[Episode]) -> None:
    first = len(sharp.chat.first_turn(make_env(TOY, {}).reset(seed=0)[0]))
    tight = play(sharp, RolloutSettings(temperature=1.0, max_new_tokens=6, max_context_tokens=first + 30))
    for episode in [*episodes, *tight]:
        assert episode.final_prompt.tolist() == sharp.chat.next_turn(episode.final_observation)


def test_the_final_prompt_is_left_out_where_the_model_has_no_positions_for_it(
    sharp: Policy, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [episode.num_tokens + len(episode.final_prompt) for episode in episodes]
    limit = sorted(whole)[3]
    monkeypatch.setattr(sharp.model.config, "max_position_embeddings", limit)
    sizes = [len(episode.final_prompt) for episode in play(sharp)]
    assert [size > 0 for size in sizes] == [tokens <= limit for tokens in whole]
    assert {size > 0 for size in sizes} == {True, False}


def test_an_episode_that_terminated_has_no_final_prompt(
    sharp: Policy, toys: type[ToyErrands], monkeypatch: pytest.MonkeyPatch
) -> None:
    def won(self: ToyErrands, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "Thank you.", 1.0, True, False, {}

    monkeypatch.setattr(toys, "step", won)
    for episode in play(sharp):
        assert episode.terminated and episode.success and len(episode.turns) == 1 and not episode.final_prompt.size


def test_a_prompt_that_does_not_fit_is_an_episode_without_turns(sharp: Policy) -> None:
    hopeless = play(sharp, RolloutSettings(temperature=1.0, max_new_tokens=6, max_context_tokens=8))
    assert all(e.truncated_by_context and e.num_tokens == 0 and e.episode_return == 0 for e in hopeless)
    assert all(e.final_observation and not e.final_prompt.size for e in hopeless)


@pytest.mark.parametrize(("option", "value"), [("top_p", 0.9), ("top_k", 5)])
def test_sampling_other_than_the_models_own_is_refused(tiny_policy: Policy, option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=r"expected top_p=1 and top_k=0 .*, got "):
        play(tiny_policy, RolloutSettings(**{option: value}))  # type: ignore[arg-type]


def test_an_observation_that_is_no_text(tiny_policy: Policy) -> None:
    expected = "expected a str observation from reset of CartPole-v1, got nd"
    with EnvPool([("CartPole-v1", {})], max_broken=5) as pool, pytest.raises(EnvironmentContractError, match=expected):
        rollout(tiny_policy, pool, [Task(0)], SETTINGS, (0,))


def test_transcript_reads_like_play(episodes: list[Episode]) -> None:
    text = episodes[0].transcript()
    assert "Bring the" in text and "[6] > " in text and "== out of steps after 6 steps, return 0" in text
