"""TextWorld through `gym.make`: the expert, detours, other orders, the lost dinner, and the interpreter's words."""

import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import textagent_gym  # noqa: F401
from textagent_gym.agents import ExpertAgent, RandomAgent
from textagent_gym.testing import play


def make(env_id: str, **kwargs: Any) -> gym.Env[str, str]:
    return gym.make(env_id, **{"expose_solution": True, **kwargs})


def commands(env: gym.Env[str, str], actions: Any) -> list[Any]:
    return [env.step(action) for action in actions]


@pytest.mark.parametrize("density", ["Sparse", "Balanced", "Dense"])
@pytest.mark.parametrize("tier", ["Easy", "Medium"])
def test_the_expert_returns_one_and_densities_share_the_task(tier: str, density: str) -> None:
    env = make(f"TextWorld-{tier}-{density}-v0")
    seen = play(env, ExpertAgent(), seed=0)
    assert sum(step[1] for step in seen) == pytest.approx(1, abs=1e-9)
    milestones = {"Sparse": 1, "Balanced": (len(seen) - 1) // 2, "Dense": len(seen) - 1}[density]
    assert sum(step[1] > 0 for step in seen) == milestones
    assert seen[0][4]["task_id"] == make(f"TextWorld-{tier}-Sparse-v0").reset(seed=0)[1]["task_id"]


def test_a_detour_costs_and_coming_back_pays_it_back() -> None:
    env = make("TextWorld-Medium-Dense-v0")
    _, info = env.reset(seed=0)
    first = info["solution"][0]
    back = {"go north": "go south", "go south": "go north", "go east": "go west", "go west": "go east"}[first]
    steps = commands(env, [first, back, "look", first])
    assert [step[1] for step in steps] == [0.125, -0.125, 0, 0.125]
    assert all(step[4]["valid_command"] for step in steps)


def test_the_budget_is_three_times_the_solution() -> None:
    env = make("TextWorld-Easy-Sparse-v0")
    _, info = env.reset(seed=0)
    steps = commands(env, ["look"] * 12)
    assert info["task_card"]["max_steps"] == 12
    assert [step[3] for step in steps] == [False] * 11 + [True]


def test_eating_the_dinner_loses_and_returns_nothing() -> None:
    env = make("TextWorld-Simple-Dense-v0")
    _, info = env.reset(seed=0)
    solution = info["solution"]
    food = solution[-1].removeprefix("put ").removesuffix(" on stove")
    steps = commands(env, [*solution[:-1], f"eat {food}"])
    assert steps[-2][4]["subgoals_done"] == info["subgoals_total"] - 1
    observation, _, terminated, truncated, last = steps[-1]
    assert "You lost!" in observation
    assert (terminated, truncated, last["success"], last["subgoals_done"]) == (True, False, False, 0)
    assert sum(step[1] for step in steps) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("density", "points"), [("Sparse", 1), ("Balanced", None), ("Dense", None)])
def test_simple_pays_its_own_points_on_its_native_scale(density: str, points: int | None) -> None:
    native, unit = (make(f"TextWorld-Simple-{density}-v0", reward_scale=scale) for scale in ("native", "unit"))
    paid, shares = (play(env, ExpertAgent(), seed=1) for env in (native, unit))
    total = paid[0][4]["subgoals_total"]
    assert sum(step[1] for step in paid) == total == (points or total)
    assert [step[1] / total for step in paid] == pytest.approx([step[1] for step in shares])


@pytest.mark.parametrize("knob", ["state_space_size", "action_space_size", "solution_length", "reward_density"])
def test_simple_has_no_knobs(knob: str) -> None:
    with pytest.raises(ValueError, match=f"expected no {knob} with challenge='simple'"):
        make("TextWorld-Simple-Dense-v0", **{knob: 1})


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"state_space_size": 31}, ValueError, r"expected state_space_size in \[1, 30\], got 31"),
        ({"solution_length": 0}, ValueError, "expected solution_length at least 1, got 0"),
        ({"reward_density": -0.1}, ValueError, r"expected reward_density in \[0, 1\]"),
        ({"instructions": "all"}, ValueError, "expected instructions to be one of 'steps', 'goal', 'none', got 'all'"),
        ({"rewards": "dense"}, ValueError, "expected no rewards with challenge='custom'"),
        ({"backend": "native2"}, ValueError, "expected backend to be one of"),
        ({"room_count": 3}, TypeError, "room_count"),
    ],
)
def test_bad_knobs_name_the_range(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make("TextWorld-Easy-Dense-v0", **kwargs)


def test_instructions_tell_more_or_less_about_the_same_world() -> None:
    kinds = ("steps", "goal", "none")
    resets = [make("TextWorld-Easy-Sparse-v0", instructions=kind, preamble=False).reset(seed=0) for kind in kinds]
    texts, infos = zip(*resets, strict=True)
    assert len({info["solution"] for info in infos}) == 1
    assert len(texts[0]) > len(texts[1]) > len(texts[2])
    assert texts[2].startswith("-= ")


ODD = [
    *(
        "take all",
        "it",
        "take",
        "x",
        "again",
        "g",
        "oops look",
        "wait",
        "say hello",
        "take the",
        "open",
        "unlock with",
        "go",
    ),
    *("examine me", "!!!", "a" * 150, "look,", "\x7f", "take key from", "put all on all", "<<>>", "score", "#dialtone"),
    *(
        "\\t s",
        "x\\help",
        "\\",
        "tw-trace-actions",
        "verbose",
        "give me to me",
        "[looking - succeeded]",
        "'",
        '"quoted"',
    ),
]


def test_odd_commands_are_answered_and_change_nothing_that_counts() -> None:
    env = make("TextWorld-Easy-Dense-v0", max_steps=200)
    _, info = env.reset(seed=0)
    for action in ODD:
        observation, reward, terminated, _, now = env.step(action)
        assert observation
        assert "\n>" not in observation
        assert not terminated
        assert abs(reward) <= 1
        assert isinstance(now["admissible_commands"], tuple)
    env.reset(seed=0)
    assert commands(env, info["solution"])[-1][4]["success"]


def test_observations_are_the_games_own_words_and_nothing_of_the_interpreter() -> None:
    env = make("TextWorld-Easy-Dense-v0", preamble=False)
    for seed in range(3):
        for agent in (RandomAgent(), ExpertAgent()):
            for observation, *_ in play(env, agent, seed):
                assert observation == observation.strip() != ""
                assert not any(mark in observation for mark in ("$$", "\n>", "RESTART", "<score>", "succeeded]", "[1m"))


def test_snapshots_restore_the_very_continuation() -> None:
    env, other = make("TextWorld-Medium-Dense-v0"), make("TextWorld-Medium-Dense-v0")
    agent, rng = RandomAgent(), np.random.default_rng(0)
    observation, info = env.reset(seed=0)
    agent.reset(info, 0)
    for _ in range(6):
        observation, *_, info = env.step(agent.act(observation, info))
    snapshot = env.unwrapped.snapshot()
    other.reset(seed=9)
    other.unwrapped.restore(snapshot)
    for _ in range(6):
        action = str(rng.choice(info["admissible_commands"]))
        step = env.step(action)
        assert other.step(action) == step
        info = step[4]


def digest_of(env: gym.Env[str, str], seed: int) -> list[Any]:
    return play(env, RandomAgent(), seed)


def test_threads_do_not_disturb_each_other() -> None:
    expected = {seed: digest_of(make("TextWorld-Easy-Dense-v0"), seed) for seed in range(3)}
    found: dict[int, Any] = {}

    def run(seed: int) -> None:
        found[seed] = digest_of(make("TextWorld-Easy-Dense-v0"), seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_sync_and_async_vector_environments_see_what_one_sees() -> None:
    def one() -> gym.Env[str, str]:

        return make("TextWorld-Easy-Dense-v0")

    single = one()
    observations = [single.reset(seed=seed)[0] for seed in (0, 1)]
    actions = [single.reset(seed=seed)[1]["solution"][0] for seed in (0, 1)]
    answers = []
    for seed, action in enumerate(actions):
        single.reset(seed=seed)
        answers.append(single.step(action))
    for vector in (gym.vector.SyncVectorEnv([one, one]), gym.vector.AsyncVectorEnv([one, one], shared_memory=False)):
        texts, infos = vector.reset(seed=[0, 1])
        assert list(texts) == observations
        assert list(infos["success"]) == [False, False]
        texts, rewards, *_ = vector.step(actions)
        assert list(texts) == [answer[0] for answer in answers]
        assert rewards.tolist() == [answer[1] for answer in answers]
        vector.close()


@pytest.mark.parametrize("backend", ["native", "inform7"])
def test_a_comma_buys_no_second_turn(backend: str) -> None:
    env = make("TextWorld-Easy-Dense-v0", backend=backend)
    _, info = env.reset(seed=0)
    first = info["solution"][0]
    observation, reward, _, _, info = env.step(f"{first}, {first}")
    assert observation.startswith("Nothing was done")
    assert (reward, info["valid_command"]) == (0, False)
    assert env.step(first)[1] > 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_backends_pay_and_say_the_same(seed: int) -> None:
    native, reference = (make("TextWorld-Medium-Dense-v0", backend=backend) for backend in ("native", "inform7"))
    for agent in (ExpertAgent(), RandomAgent()):
        mine, theirs = (play(env, agent, seed=seed) for env in (native, reference))
        for step in (mine[0], theirs[0]):
            del step[4]["task_card"]
        assert mine == theirs


def test_a_random_agent_by_number_plays_valid_commands() -> None:
    env = make("TextWorld-Easy-Dense-v0", by_number=True)
    assert all(step[4]["valid_command"] for step in play(env, RandomAgent(by_number=True), seed=0))
