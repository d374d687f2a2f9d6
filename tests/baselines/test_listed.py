"""Decoding over listed commands: the restricted distribution, its records, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines import grpo
from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings
from baselines.errors import ConfigError, EnvironmentContractError
from baselines.models.policy import Policy
from baselines.rl.batch import collate
from baselines.rl.logprobs import score_actions
from baselines.sampling.decoding import make_decoder
from baselines.sampling.environments import EnvPool, Task
from baselines.sampling.episode import Episode
from baselines.sampling.listed import NO_TOKEN, ListedCommands, pad_allowed, restrict, sample_listed
from baselines.sampling.rollout import rollout
from tests.support.toy_text_env import TOY

SETTINGS = RolloutSettings(decode="listed", max_new_tokens=1, max_context_tokens=256, num_envs=5, temperature=0.7)
COMMANDS = ("bring the lamp", "bring the book", "bring", "look", "bring the lamp now")


def play(policy: Policy, changes: dict[str, Any] | None = None, use_cache: bool = True) -> list[Episode]:
    with EnvPool([(TOY, {})]) as pool:
        return rollout(
            policy, pool, [Task(seed) for seed in range(12)], replace(SETTINGS, **changes or {}), (3,), use_cache
        )


@pytest.fixture(scope="module")
def sharp(make_tiny: Callable[[int], Policy]) -> Policy:
    """Return a policy that is far from uniform."""
    policy = make_tiny(1)
    with torch.no_grad():
        policy.model.get_input_embeddings().weight.mul_(3.0)
    return policy


@pytest.fixture(scope="module")
def episodes(sharp: Policy) -> list[Episode]:
    return play(sharp)


def test_every_action_is_listed_although_it_is_longer_than_new_tokens_are_allowed(episodes: list[Episode]) -> None:
    actions = {turn.action for episode in episodes for turn in episode.turns}
    assert len(actions) > 2 and all(action.startswith("bring the ") for action in actions)
    assert not any(turn.cut for episode in episodes for turn in episode.turns)


def test_logprobs_of_rollout_and_training_agree(sharp: Policy, episodes: list[Episode]) -> None:
    batch = collate(episodes, sharp.pad_token_id)
    scores = score_actions(sharp, batch, SETTINGS.temperature)
    torch.testing.assert_close(scores.logprobs, batch.old_logprobs, rtol=0, atol=1e-5)
    chosen_from = (batch["allowed"] != NO_TOKEN).sum(-1)
    assert int(chosen_from.max()) == 8  # the toy's objects
    forced = batch.action_mask & (chosen_from == 1)
    assert forced.any() and not batch.old_logprobs[forced].any() and not scores.entropy[forced].any()


def test_the_score_is_the_softmax_over_the_allowed_tokens(sharp: Policy, episodes: list[Episode]) -> None:
    episode = max(episodes, key=lambda e: len(e.turns))
    with torch.no_grad():
        logits = sharp.model(torch.from_numpy(episode.token_ids)[None]).logits[0].double() / SETTINGS.temperature
    assert episode.allowed is not None
    for place, allowed in zip(np.flatnonzero(episode.action_mask), episode.allowed, strict=True):
        scores = logits[place - 1].exp()
        expected = scores[episode.token_ids[place]] / scores[list(allowed)].sum()
        assert episode.logprobs[place] == pytest.approx(math.log(expected), abs=1e-4)


@pytest.mark.parametrize("changes", [{"num_envs": 1}, {"num_envs": 12}, {"env_workers": 3}])
@pytest.mark.parametrize("use_cache", [True, False])
def test_an_episode_does_not_depend_on_those_beside_it(
    sharp: Policy, episodes: list[Episode], changes: dict[str, Any], use_cache: bool
) -> None:
    others = play(sharp, changes, use_cache)
    assert [episode.allowed for episode in episodes] == [episode.allowed for episode in others]
    assert [episode.token_ids.tolist() for episode in episodes] == [episode.token_ids.tolist() for episode in others]


@given(st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=5, unique=True), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_command_is_drawn_with_the_product_of_its_choices(sharp: Policy, commands: list[str], seed: int) -> None:
    """Against a plain pass over every listed command."""
    listed = ListedCommands(sharp.chat, commands)
    prompt = sharp.chat.first_turn("A room.")
    decoder = make_decoder(sharp.model, sharp.pad_token_id)
    with torch.inference_mode():
        (path,) = sample_listed(decoder, decoder.admit([prompt]), [listed], 1.0, [np.random.default_rng(seed)])
        assert listed.command(path.token_ids) in commands
        sequences = [tuple(sharp.chat.action(command)) for command in commands]
        logits = sharp.model(torch.tensor([[*prompt, *path.token_ids]])).logits[0].double()
    logprob = 0.0
    for number, token_id in enumerate(path.token_ids):
        before = tuple(path.token_ids[:number])
        allowed = {sequence[number] for sequence in sequences if sequence[:number] == before}
        row = logits[len(prompt) + number - 1]
        logprob += float(row[token_id] - row[list(allowed)].logsumexp(0))
    assert sum(path.logprobs) == pytest.approx(logprob, abs=1e-4)


def test_greedy_takes_the_most_probable_continuation(sharp: Policy) -> None:
    for episode in play(sharp, {"temperature": 0.0}):
        batch = collate([episode], sharp.pad_token_id)
        assert bool(score_actions(sharp, batch).correct[batch.action_mask].all())


def test_the_entropy_has_a_finite_gradient(make_tiny: Callable[[int], Policy], episodes: list[Episode]) -> None:
    policy = make_tiny(1)
    scores = score_actions(policy, collate(episodes, policy.pad_token_id), entropy_gradient=True)
    scores.entropy.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in policy.model.parameters() if p.grad is not None)


def test_restricting_keeps_allowed_scores_and_buries_the_filling() -> None:
    allowed = pad_allowed([(3,), (0, 2)])
    assert allowed.tolist() == [[3, NO_TOKEN], [0, 2]]
    logits = torch.arange(8.0).view(2, 4)
    assert restrict(logits, allowed).tolist() == [[3.0, -1e9], [4.0, 6.0]]


def test_a_command_that_does_not_fit_the_context_truncates(sharp: Policy) -> None:
    (episode, *_) = play(sharp, {"max_context_tokens": 40})
    assert episode.truncated_by_context and episode.num_tokens <= 40


def test_training_over_listed_commands(sharp: Policy, make_tiny: Callable[[int], Policy], tmp_path: Any) -> None:
    make_tiny(1).save(tmp_path / "start")
    config = grpo.Config(
        env_id=TOY,
        model=str(tmp_path / "start"),
        num_iterations=2,
        credit="turn",
        groups_per_batch=8,
        rollout=replace(SETTINGS, temperature=1.0),
        optimiser=OptimiserSettings(learning_rate=1e-3),
        run=RunSettings(out=tmp_path / "out", eval_episodes=4, num_threads=1, progress=False),
    )
    first, second = grpo.train(config).records
    assert first["train/return"] > 0.2 and first["train/grad_norm"] > 0 and second["train/invalid_actions"] == 0


def test_an_environment_without_a_list(sharp: Policy) -> None:
    with EnvPool([("tests.support.toy_text_env:ToyErrands-v0", {})]) as pool:
        env = pool.lease()
        reset = env.unwrapped._info  # type: ignore[attr-defined]
        env.unwrapped._info = lambda: {**reset(), "admissible_commands": ()}  # type: ignore[attr-defined]
        pool.give_back(env)
        with pytest.raises(
            EnvironmentContractError, match=r"expected info\['admissible_commands'\] to name at least one"
        ):
            rollout(sharp, pool, [Task(0)], SETTINGS, (1,))


def test_an_unknown_way_of_decoding() -> None:
    with pytest.raises(ConfigError, match="expected decode to be one of free, listed, got 'beam'"):
        RolloutSettings(decode="beam").check()  # type: ignore[arg-type]
