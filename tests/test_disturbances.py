"""Added sentences and commands that fail by chance change neither the task nor the validity of its solution."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import load_env_creator
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.toy import CorridorEnv
from textagent_gym.agents import ExpertAgent, RandomAgent, ReplanningAgent
from textagent_gym.core import TextAgentEnv
from textagent_gym.mechanics.disturbances import FAULT_MESSAGE, EpisodeStream, draw_sentence
from textagent_gym.multi_agent import textworld_coop
from textagent_gym.testing import check_text_env, play
from textagent_gym.vector import TextVectorEnv
from textagent_gym.wrappers import ActionFormat, Distractors, Faults, History, InvalidPenalty, ShowAdmissible

IDS = ("TextWorld-Easy-Dense-v0", "ALFWorld-Easy-Dense-v0", "SWEGym-Easy-Dense-v0")
TEXT_IDS = IDS[:2]
seeds = st.integers(0, 2**31)
rates = st.sampled_from([0.1, 0.3, 0.6])
counts = st.sampled_from([1, 3])


def is_true(sentence: str) -> bool:
    """Work out a sentence of numbers and words."""
    if found := re.fullmatch(r"(\d+) (\w+)s and (\d+) (\w+)s are (\d+) (\w+)s\.", sentence):
        return int(found[1]) + int(found[3]) == int(found[5]) and found[2] == found[4] == found[6]
    if found := re.fullmatch(r"(\d+) times (\d+) (\w+)s are (\d+) (\w+)s\.", sentence):
        return int(found[1]) * int(found[2]) == int(found[4]) and found[3] == found[5]
    if found := re.fullmatch(r"Half of (\d+) (\w+)s are (\d+) (\w+)s\.", sentence):
        return int(found[1]) == 2 * int(found[3]) and found[2] == found[4]
    if found := re.fullmatch(r"The word (\w+) has (\d+) letters\.", sentence):
        return len(found[1]) == int(found[2])
    if found := re.fullmatch(r"The word (\w+) begins with (\w) and ends with (\w)\.", sentence):
        return found[1][0] == found[2] and found[1][-1] == found[3]
    found = re.fullmatch(r"The word (\w+) comes before the word (\w+) in a dictionary\.", sentence)
    return found is not None and found[1] < found[2]


def sentences_of(paragraph: str) -> list[str]:
    return re.findall(r"[^.]+\.", paragraph)


@given(seeds, st.sampled_from(IDS))
def test_every_sentence_is_true(seed: int, env_id: str) -> None:
    nouns = load_env_creator(gym.spec(env_id).entry_point).distractor_nouns  # type: ignore[arg-type, attr-defined]
    rng = np.random.default_rng(seed)
    assert all(is_true(draw_sentence(rng, nouns)) for _ in range(20))


def test_the_check_of_truth_finds_what_is_false() -> None:
    assert not is_true("3 keys and 4 keys are 8 keys.") and not is_true("The word key has 4 letters.")
    assert not is_true("The word lamp comes before the word key in a dictionary.")


@settings(max_examples=20, deadline=None)
@given(seed=seeds, env_id=st.sampled_from(TEXT_IDS), count=counts)
def test_sentences_stand_behind_the_same_text(seed: int, env_id: str, count: int) -> None:
    """Task, rewards, infos and the world's words are those without them; the sentences are true."""
    plain, added = gym.make(env_id), gym.make(env_id, distractors=count)
    for one, other in zip(play(plain, RandomAgent(), seed), play(added, RandomAgent(), seed), strict=True):
        text, _, paragraph = other[0].rpartition("\n\n")
        assert (text, *other[1:]) == one
        assert len(sentences_of(paragraph)) == count and all(is_true(s.strip()) for s in sentences_of(paragraph))


@settings(max_examples=20, deadline=None)
@given(seed=seeds, env_id=st.sampled_from(TEXT_IDS), rate=rates, density=st.sampled_from([0.0, 1.0]))
def test_an_expert_that_repeats_what_failed_earns_the_same(seed: int, env_id: str, rate: float, density: float) -> None:
    options = {"max_steps": 1000, "reward_density": density, "expose_solution": True}
    plain = gym.make(env_id, **options)
    faulty = gym.make(env_id, fault_rate=rate, invalid_penalty=0.5, distractors=1, **options)
    without = play(plain, ExpertAgent(), seed)
    for agent in (ExpertAgent(), ReplanningAgent(faulty)):
        seen = play(faulty, agent, seed)
        failed = [step for step in seen[1:] if not step[4]["valid_command"]]
        assert all(step[0].startswith(FAULT_MESSAGE) and step[1] == 0.0 for step in failed)
        played = [step for step in seen if step[4]["valid_command"]]
        assert seen[0][4] == without[0][4]
        assert played[-1][4]["success"] and len(played) == len(without)
        if isinstance(agent, ExpertAgent):
            assert [step[1:] for step in played] == [step[1:] for step in without]


def test_a_fault_by_hand() -> None:
    """The command of a step that fails reaches no backend, pays nothing, is not punished, and counts."""
    env = CorridorEnv(fault_rate=0.5, invalid_penalty=0.25, reward_density=1.0, max_steps=50, preamble=False)
    env.reset(seed=3)
    stream = EpisodeStream()
    stream.start(3, is_new=True)
    expected = [stream.fails(step, 0.5) for step in range(20)]
    assert 3 < sum(expected) < 17
    doors = 0
    for step, fails in enumerate(expected):
        observation, reward, terminated, truncated, info = env.step("sing" if step % 2 else ["east", "west"][doors])
        assert (observation == FAULT_MESSAGE) == fails and not terminated and not truncated
        assert info["valid_command"] == (not fails and step % 2 == 0)
        if fails:
            assert reward == 0.0 and env.place == doors
        elif step % 2:
            assert reward == -0.25
        else:
            assert reward == (0.25 if doors == 0 else -0.25)
            doors = 1 - doors
        assert env.steps == step + 1


def test_draws_are_those_of_every_other_machine() -> None:
    env = CorridorEnv(distractors=2, fault_rate=0.5, preamble=False)
    first, _ = env.reset(seed=0)
    assert first == "Corridor corridor-850.\n\n7 times 3 clouds are 21 clouds. 3 times 2 birds are 6 birds."
    second = env.step("east")[0]
    assert second == "Door 1.\n\nThe word window begins with w and ends with w. The word bird has 4 letters."
    assert env.step("east")[0].startswith(FAULT_MESSAGE)


def test_what_is_no_command_does_not_fail_by_chance() -> None:
    env = CorridorEnv(fault_rate=0.999, action_format="tag")
    env.reset(seed=0)
    assert "expected one command between" in env.step("hm")[0]
    assert "got several" in env.step("<action>east. east</action>")[0]
    assert env.step("<action>east</action>")[0] == FAULT_MESSAGE


@settings(max_examples=25, deadline=None)
@given(seed=seeds, env_id=st.sampled_from(TEXT_IDS), rate=rates, count=counts, cut=st.integers(0, 6))
def test_a_snapshot_holds_what_is_to_come(seed: int, env_id: str, rate: float, count: int, cut: int) -> None:
    """In the same environment, after other play, and in an equal one that was never reset."""
    options = {"fault_rate": rate, "distractors": count, "history": 2, "max_steps": 50}
    env, other = (gym.make(env_id, **options).unwrapped for _ in range(2))
    assert isinstance(env, TextAgentEnv) and isinstance(other, TextAgentEnv)
    agent = RandomAgent()
    _, info = env.reset(seed=seed)
    agent.reset(info, seed)
    for _ in range(cut):
        info = env.step(agent.act("", info))[4]
    snapshot = env.snapshot()
    actions: list[str] = []
    wanted = []
    for _ in range(8):
        actions.append(agent.act("", info))
        wanted.append(env.step(actions[-1]))
        info = wanted[-1][4]
        if wanted[-1][2]:
            break
    env.reset()
    for again in (env, other):
        again.restore(snapshot)
        assert [again.step(action) for action in actions] == wanted


@settings(max_examples=20, deadline=None)
@given(seed=seeds, env_id=st.sampled_from(TEXT_IDS))
def test_zero_is_the_same_as_nothing(seed: int, env_id: str) -> None:
    plain = gym.make(env_id, show_admissible=True)
    zero = gym.make(env_id, show_admissible=True, distractors=0, fault_rate=0.0)
    assert play(plain, RandomAgent(), seed) == play(zero, RandomAgent(), seed)
    assert plain.reset() == zero.reset()


def test_the_same_seed_gives_the_same_bytes_and_the_same_tasks() -> None:
    options = {"fault_rate": 0.3, "distractors": 2}
    plain = gym.make(TEXT_IDS[0])
    first, second = (gym.make(TEXT_IDS[0], **options) for _ in range(2))
    assert play(first, RandomAgent(), 5) == play(second, RandomAgent(), 5)
    plain.reset(seed=5)
    # Episodes that go on without a seed play the same tasks, each with disturbances of its own.
    tasks = [[env.reset()[1]["task_id"] for _ in range(3)] for env in (plain, first, second)]
    assert tasks[0] == tasks[1] == tasks[2]
    name = {"task_id": tasks[0][0]}
    texts = [first.reset(options=name)[0].rpartition("\n\n")[2] for _ in range(4)]
    assert len(set(texts)) > 1


OPTION_AND_WRAPPER = [
    ({"distractors": 2}, lambda env: Distractors(env, 2)),
    ({"fault_rate": 0.5}, lambda env: Faults(env, 0.5)),
    (
        {
            "show_admissible": True,
            "history": 1,
            "distractors": 1,
            "action_format": "tag",
            "fault_rate": 0.4,
            "invalid_penalty": 1,
        },
        lambda env: ShowAdmissible(
            History(Distractors(ActionFormat(Faults(InvalidPenalty(env, 1), 0.4), "tag"), 1), 1)
        ),
    ),
]


@pytest.mark.parametrize(("options", "wrap"), OPTION_AND_WRAPPER)
def test_option_and_wrapper_agree(options: dict[str, Any], wrap: Any) -> None:
    wrapped: gym.Env[str, str] = wrap(CorridorEnv(preamble=False, length=40, max_steps=100))
    env = CorridorEnv(preamble=False, length=40, max_steps=100, **options)
    actions = ["I think <action>east</action>", "east", "hm", "", "<action>sing</action>", "<action>east</action>"] * 5
    for seed in (0, None, None, 1):
        assert env.reset(seed=seed) == wrapped.reset(seed=seed)
        assert [env.step(action) for action in actions] == [wrapped.step(action) for action in actions]


@pytest.mark.parametrize(
    "env_id", [*TEXT_IDS, "tests.support.guessing:Guessing-Easy-Dense-v0", pytest.param(IDS[2], marks=pytest.mark.slow)]
)
def test_the_contract_holds_with_disturbances(env_id: str) -> None:
    check_text_env(env_id, seeds=(0,), distractors=2, fault_rate=0.2, max_steps=200)


def test_a_repair_succeeds_with_disturbances() -> None:
    env = gym.make(IDS[2], distractors=1, fault_rate=0.5, max_steps=200, expose_solution=True)
    seen = play(env, ExpertAgent(), 1)
    failed = [step for step in seen if step[0].startswith(FAULT_MESSAGE)]
    assert failed and seen[-1][4]["success"] and sum(step[1] for step in seen) == pytest.approx(1)
    assert all(is_true(step[0].rpartition("\n\n")[2]) for step in seen)
    env.close()


def test_a_vector_environment_plays_what_single_ones_play() -> None:
    options = {"distractors": 1, "fault_rate": 0.4, "max_steps": 30}
    vector = gym.make_vec(TEXT_IDS[1], num_envs=2, **options)
    assert isinstance(vector, TextVectorEnv)
    singles = [gym.make(TEXT_IDS[1], **options) for _ in range(2)]
    assert vector.reset(seed=4)[0] == tuple(env.reset(seed=4 + i)[0] for i, env in enumerate(singles))
    for _ in range(5):
        assert vector.step(["look", "inventory"])[0] == tuple(
            env.step(action)[0] for env, action in zip(singles, ("look", "inventory"), strict=True)
        )
    vector.close()


def test_commands_of_a_team_fail_for_each_player_apart_and_are_not_punished() -> None:
    team = textworld_coop.parallel_env(
        env_id="TextWorld-Medium-Dense-v0", num_agents=2, fault_rate=0.5, distractors=1, invalid_penalty=0.25
    )
    team.reset(seed=0)
    failed = []
    for _ in range(8):
        observations, rewards, *_ = team.step(dict.fromkeys(team.agents, "look"))
        failed.append(tuple(FAULT_MESSAGE in observations[name] for name in team.possible_agents))
        assert all(is_true(sentences_of(text.rpartition("\n\n")[2])[0]) for text in observations.values())
        assert set(rewards.values()) == {0.0}
    assert len(set(failed)) > 2  # not both at once


@pytest.mark.parametrize(
    ("option", "error", "reason"),
    [
        ({"distractors": -1}, ValueError, r"expected distractors in \[0, 100\], got -1"),
        ({"distractors": 1.5}, TypeError, "expected distractors to be an integer, got 1.5"),
        ({"fault_rate": 1}, ValueError, "expected fault_rate below 1"),
        ({"fault_rate": -0.1}, ValueError, r"expected fault_rate in \[0, 1\], got -0.1"),
        ({"fault_rate": "often"}, TypeError, "expected fault_rate to be a number, got 'often'"),
    ],
)
def test_values_out_of_range(option: dict[str, Any], error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        CorridorEnv(**option)
