"""Vector environments: what Gymnasium's own gives, for any number of processes, and errors that say who has died."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TransformObservation
from gymnasium.wrappers import vector as vector_wrappers

from tests.support.toy import CorridorEnv
from textagent_gym.vector import TextVectorEnv, WorkerError

ALFWORLD = "ALFWorld-Easy-Dense-v0"
MODES = [mode.value for mode in AutoresetMode]


class BrittleEnv(CorridorEnv):
    """Raises, or takes its process away, when it is asked to; nobody else can have its secret."""

    def secret(self) -> Any:
        return lambda: self

    def step(self, action: str) -> Any:
        if action == "raise":
            raise OSError("the roof has come down")
        if action == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class StillbornEnv(CorridorEnv):
    def __init__(self) -> None:
        raise OSError("no room at the inn")


def same(ours: Any, theirs: Any) -> None:
    """Observations, arrays and infos are equal, key by key."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(theirs, tuple):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            same(mine, other)
    else:
        assert ours == theirs


def actions_of(infos: dict[str, Any], rng: np.random.Generator, num_envs: int) -> list[str]:
    """Return a random admissible command for each environment, where it lists some."""
    answer = infos.get("admissible_commands", [None] * num_envs)
    return [str(rng.choice(commands)) if commands else "look" for commands in answer]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_it_is_gymnasiums_own_vector_environment(mode: str, processes: int) -> None:
    num_envs = 3
    ours = gym.make_vec(ALFWORLD, num_envs, processes=processes, autoreset_mode=mode, max_steps=5)
    assert isinstance(ours, TextVectorEnv)
    theirs = SyncVectorEnv(
        [partial(gym.make, ALFWORLD, max_steps=5, disable_env_checker=True)] * num_envs, autoreset_mode=mode
    )
    rng, ends = np.random.default_rng(0), 0
    observations, infos = theirs.reset(seed=7)
    same(ours.reset(seed=7), (observations, infos))
    over = np.zeros(num_envs, dtype=np.bool_)
    for _ in range(25):
        if mode == "Disabled" and over.any():
            options = {"reset_mask": over}
            observations, infos = theirs.reset(options=dict(options))
            mine, my_infos = ours.reset(options=dict(options))
            assert mine == observations
            same(my_infos, infos)
        actions = actions_of(infos, rng, num_envs)
        observations, *numbers, infos = theirs.step(tuple(actions))
        same(ours.step(actions), (observations, *numbers, infos))
        over = np.logical_or(numbers[1], numbers[2])
        ends += int(over.sum())
    assert ends > 6
    ours.close()
    theirs.close()


def test_the_end_of_an_episode_is_kept_in_the_same_step() -> None:
    env = gym.make_vec(ALFWORLD, 2, autoreset_mode="SameStep", max_steps=1)
    first, _ = env.reset(seed=[3, 4])
    observations, _, _, truncated, infos = env.step(["look", "inventory"])
    assert truncated.all()
    assert all(one not in observations for one in first)
    assert "You are carrying nothing" in infos["final_obs"][1] or infos["final_obs"][1]
    assert infos["final_obs"][0] != observations[0]
    assert infos["final_info"]["valid_command"].tolist() == [True, True]


def test_seeds_are_as_documented() -> None:
    env = gym.make_vec(ALFWORLD, 3)
    one, _ = env.reset(seed=5)
    three, _ = env.reset(seed=[5, 6, 7])
    assert one == three
    alone = [gym.make(ALFWORLD).reset(seed=seed)[0] for seed in (5, 6, 7)]
    assert list(one) == alone
    more, _ = env.reset()
    assert more != one


def test_every_domain_has_one() -> None:
    for env_id in ("TextWorld-w2-o3-q4-Dense-v0", ALFWORLD):
        env = gym.make_vec(f"textagent_gym:{env_id}", 2, show_admissible=True)
        observations, _infos = env.reset(seed=0)
        assert env.observation_space.contains(observations)
        assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        assert all("Admissible commands:" in one for one in observations)
        assert env.spec is not None and env.spec.id == env_id
        env.close()


def test_attributes_and_methods_of_all_can_be_asked_for() -> None:
    env = TextVectorEnv(CorridorEnv, 3, processes=2)
    env.reset(seed=0)
    assert env.call("steps") == (0, 0, 0)
    env.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_attributes_rendering_and_seeds_are_those_of_gymnasium(processes: int) -> None:
    ours = gym.make_vec(ALFWORLD, 3, processes=processes, render_mode="ansi")
    theirs = gym.make_vec(ALFWORLD, 3, vectorization_mode="sync", render_mode="ansi")
    same(ours.reset(seed=4), theirs.reset(seed=4))
    for name in ("split", "max_steps", "steps", "render_mode", "np_random_seed", "plan"):
        assert ours.get_attr(name) == theirs.get_attr(name)
    assert ours.render() == theirs.render()
    assert ours.np_random_seed == theirs.np_random_seed == (4, 5, 6)
    for env in (ours, theirs):
        env.set_attr("mark", [1, None, "y"])
        assert env.get_attr("mark") == (1, None, "y")
        env.set_attr("mark", "x")
        assert env.get_attr("mark") == ("x", "x", "x")
        with pytest.raises(ValueError, match="values"):
            env.set_attr("mark", [1])
    if processes == 1:
        assert [env.unwrapped.steps for env in ours.envs] == [0, 0, 0]
    else:
        with pytest.raises(AttributeError, match="use call, get_attr, set_attr"):
            _ = ours.envs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_time_limit_truncates_as_gymnasiums(processes: int) -> None:
    ours = gym.make_vec(ALFWORLD, 2, processes=processes, max_episode_steps=2, disable_env_checker=True)
    theirs = gym.make_vec(ALFWORLD, 2, vectorization_mode="sync", max_episode_steps=2)
    same(ours.reset(seed=1), theirs.reset(seed=1))
    for _ in range(7):
        same(ours.step(("look", "inventory")), theirs.step(("look", "inventory")))
    ours.close()
    theirs.close()


WRAPPERS: dict[str, Any] = {
    "statistics": vector_wrappers.RecordEpisodeStatistics,
    "infos": vector_wrappers.DictInfoToList,
    "rewards": lambda env: vector_wrappers.TransformReward(env, lambda rewards: 2 * rewards),
    "actions": lambda env: vector_wrappers.TransformAction(env, lambda actions: tuple(map(str.lower, actions))),
    "text": lambda env: vector_wrappers.TransformObservation(env, lambda texts: tuple(map(str.upper, texts))),
    "numbers": lambda env: vector_wrappers.TransformObservation(
        env, lambda texts: np.array([[len(text)] for text in texts]), single_observation_space=Box(0, 1e6, (1,))
    ),
    "each": lambda env: vector_wrappers.VectorizeTransformObservation(
        env,
        TransformObservation,
        func=lambda text: np.array([len(text)], np.float32),
        observation_space=Box(0, 1e6, (1,)),
    ),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_of_gymnasium_do_the_same(name: str) -> None:
    ours, theirs = (
        WRAPPERS[name](gym.make_vec(ALFWORLD, 2, vectorization_mode=mode, max_steps=2)) for mode in (None, "sync")
    )
    assert ours.observation_space == theirs.observation_space
    without = ("episode", "_episode")  # the time that an episode took
    for mine, other in [(ours.reset(seed=2), theirs.reset(seed=2)), *(
        (ours.step(("look", "LOOK")), theirs.step(("look", "LOOK"))) for _ in range(4)
    )]:  # fmt: skip
        for one in (mine[-1], other[-1]):
            for key in without:
                one.pop(key, None) if isinstance(one, dict) else [info.pop(key, None) for info in one]
        same(mine, other)


def test_a_spec_is_json_whatever_the_arguments_were() -> None:
    env = gym.make_vec(
        ALFWORLD,
        2,
        autoreset_mode=AutoresetMode.SAME_STEP,
        max_steps=7,
        task_types=("pick_and_place_simple",),
    )
    assert env.spec is not None
    again = gym.make_vec(EnvSpec.from_json(env.spec.to_json()))
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    again.reset(seed=1)
    assert again.get_attr("max_steps") == (7, 7)


def test_a_worker_that_dies_is_named() -> None:
    env = TextVectorEnv(BrittleEnv, 4, processes=2)
    env.reset(seed=0)
    with pytest.raises(WorkerError, match=r"the process of environments 2 to 3 has died with exit code -9"):
        env.step(["look", "look", "look", "die"])
    env.close()


def test_an_environment_that_raises_is_named_with_what_it_said() -> None:
    env = TextVectorEnv(BrittleEnv, 2, processes=2)
    env.reset(seed=0)
    with pytest.raises(
        WorkerError, match=r"the process of environment 1 raised:\n(.*\n)*.*OSError: the roof has come down"
    ):
        env.step(["look", "raise"])
    env.close()


def test_an_environment_that_cannot_be_made_is_an_error_and_leaves_no_process() -> None:
    with pytest.raises(WorkerError, match="no room at the inn"):
        TextVectorEnv(StillbornEnv, 2, processes=2)
    with pytest.raises(OSError, match="no room at the inn"):
        TextVectorEnv(StillbornEnv, 2)


def test_without_autoreset_the_end_is_an_end() -> None:
    for processes in (1, 2):
        env = gym.make_vec(ALFWORLD, 2, autoreset_mode="Disabled", max_steps=1, processes=processes)
        env.reset(seed=0)
        env.step(["look", "look"])
        with pytest.raises(ResetNeeded, match="expected environment 0 to be reset"):
            env.step(["look", "look"])
        env.close()


@pytest.mark.parametrize("processes", [1, 3])
def test_after_an_end_that_nobody_reset_all_go_on_where_they_were(processes: int) -> None:
    env = TextVectorEnv(CorridorEnv, 3, processes=processes, autoreset_mode="Disabled")
    env.reset(seed=0)
    env.step(["east", "stop", "east"])
    with pytest.raises(ResetNeeded, match="expected environment 1 to be reset"):
        env.step(["east", "east", "east"])
    env.reset(options={"reset_mask": np.array([False, True, False])})
    observations, *_ = env.step(["east", "east", "east"])
    assert [one.splitlines()[-1] for one in observations] == ["Door 2.", "Door 1.", "Door 2."]
    env.close()


def test_an_error_leaves_no_answer_behind() -> None:
    env = TextVectorEnv(BrittleEnv, 2, processes=2)
    env.reset(seed=0)
    with pytest.raises(WorkerError, match="environment 0 raised"):
        env.step(["raise", "east"])
    with pytest.raises(WorkerError, match=r"environment 0 raised:\n(.*\n)*.*pickle"):
        env.call("secret")
    env.reset(seed=0)
    observations, *_ = env.step(["east", "look"])
    assert ["Door 1." in one for one in observations] == [True, False]
    env.close()


def test_closed_is_closed() -> None:
    env = TextVectorEnv(CorridorEnv, 2, processes=2)
    env.reset(seed=0)
    processes = [group._process for group in env._groups]  # type: ignore[union-attr]
    env.close()
    env.close()
    assert [process.exitcode for process in processes] == [0, 0]
    with pytest.raises(ClosedEnvironmentError):
        env.step(["look", "look"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda env: env.step(["look"]), ValueError, "expected 2 actions, got 1"),
        (lambda env: env.step("go"), TypeError, "expected a sequence of 2 actions, got the string 'go'"),
        (lambda env: env.reset(seed=[1]), ValueError, "expected 2 seeds, got 1"),
        (lambda env: env.reset(options={"reset_mask": [True, False]}), TypeError, "array of bools, got list"),
        (lambda env: env.reset(options={"reset_mask": np.zeros(2, np.bool_)}), ValueError, "with a True"),
        (lambda env: TextVectorEnv(CorridorEnv, 2, processes=3), ValueError, "processes"),
        (lambda env: TextVectorEnv(CorridorEnv, 0), ValueError, "num_envs"),
        (lambda env: TextVectorEnv(CorridorEnv, 2, autoreset_mode="Never"), ValueError, "Never"),
        (lambda env: gym.make_vec(ALFWORLD, 2, no_such_option=1), TypeError, "no_such_option"),
    ],
)
def test_bad_input_gets_one_clear_sentence(call: Any, error: type[Exception], message: str) -> None:
    env = TextVectorEnv(CorridorEnv, 2)
    env.reset(seed=0)
    with pytest.raises(error, match=message):
        call(env)


def test_asynchronous_with_shared_memory_is_refused_and_works_without() -> None:
    with pytest.raises(TypeError, match=r'vector_kwargs=\{"shared_memory": False\}'):
        gym.make_vec(ALFWORLD, 2, vectorization_mode="async")
    env = gym.make_vec(ALFWORLD, 2, vectorization_mode="async", vector_kwargs={"shared_memory": False})
    ours = gym.make_vec(ALFWORLD, 2)
    try:
        assert env.reset(seed=1)[0] == ours.reset(seed=1)[0]
        assert env.step(("look", "inventory"))[0] == ours.step(("look", "inventory"))[0]
    finally:
        env.close()
