"""Ray on a cluster of two nodes: vector environments play what one process plays, whichever actor or node dies."""

# ruff: noqa: E402

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

ray = pytest.importorskip("ray")

from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode

from tests.support.blocks import run_with_library
from tests.support.ray_cluster import Nodes, two_nodes
from tests.support.toy import CorridorEnv
from tests.test_vector import BrittleEnv, StillbornEnv, actions_of, same
from textagent_gym.interop.ray import make_ray_vector
from textagent_gym.vector import TextVectorEnv, WorkerError

ALFWORLD = "ALFWorld-Easy-Dense-v0"
TEXTWORLD = "textagent_gym:TextWorld-w2-o3-q4-Dense-v0"
MODES = [mode.value for mode in AutoresetMode]
NUM_ENVS = 5

make_small = partial(make_ray_vector, actors=2, cpus_per_actor=0.25)


class MoodyEnv(CorridorEnv):
    """Says something else whenever it is played."""

    def step(self, action: str) -> Any:
        observation, *rest = super().step(action)
        return f"{observation} {time.time_ns()}", *rest


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with two_nodes() as nodes:
        yield nodes


def process_of(env: TextVectorEnv, share: int) -> int:
    """Return the process of the actor of a share."""
    return int(ray.get(env._groups[share]._actor.__ray_call__.remote(lambda _: os.getpid())))  # type: ignore[attr-defined]


def node_of(env: TextVectorEnv, share: int) -> str:
    """Return the node of the actor of a share."""
    ask = env._groups[share]._actor.__ray_call__  # type: ignore[attr-defined]
    return str(ray.get(ask.remote(lambda _: ray.get_runtime_context().get_node_id())))


def follow(theirs: TextVectorEnv, ours: TextVectorEnv, before_step: dict[int, Any], num_steps: int = 24) -> int:
    """Play both at random, some steps after something has been done to ours; returns how many episodes have ended."""
    rng, ends = np.random.default_rng(0), 0
    observations, infos = theirs.reset(seed=7)
    same(ours.reset(seed=7), (observations, infos))
    over = np.zeros(theirs.num_envs, dtype=np.bool_)
    for number in range(num_steps):
        before_step.get(number, lambda: None)()
        if theirs.autoreset_mode == AutoresetMode.DISABLED and over.any():
            observations, infos = theirs.reset(options={"reset_mask": over})
            same(ours.reset(options={"reset_mask": over}), (observations, infos))
        actions = actions_of(infos, rng, theirs.num_envs)
        answered = theirs.step(actions)
        same(ours.step(actions), answered)
        infos, over = answered[4], np.logical_or(answered[2], answered[3])
        ends += int(over.sum())
    return ends


def test_the_block_of_the_page_runs(nodes: Nodes) -> None:
    smaller = {"num_envs=64, actors=8, cpus_per_actor=0.5": "num_envs=4, actors=2, cpus_per_actor=0.25", "* 64": "* 4"}
    played = run_with_library("libraries.md", "make_ray_vector(", smaller)
    assert played["rewards"].tolist() == [0.0] * 4
    assert all("src" in observation for observation in played["observations"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("actors", "env_id"), [(1, ALFWORLD), (3, ALFWORLD), (2, TEXTWORLD)])
def test_trajectories_are_those_of_one_process(nodes: Nodes, mode: str, actors: int, env_id: str) -> None:
    theirs = gym.make_vec(env_id, NUM_ENVS, autoreset_mode=mode, max_steps=5)
    ours = make_small(env_id, NUM_ENVS, actors=actors, autoreset_mode=mode, max_steps=5)
    assert isinstance(theirs, TextVectorEnv)
    assert ours.metadata == theirs.metadata and ours.single_action_space == theirs.single_action_space
    assert follow(theirs, ours, {}) > 3 * NUM_ENVS
    ours.close()
    theirs.close()


@pytest.mark.parametrize("mode", MODES)
def test_actors_that_are_killed_change_nothing(nodes: Nodes, mode: str) -> None:
    theirs = TextVectorEnv(partial(gym.make, ALFWORLD, max_steps=5), NUM_ENVS, autoreset_mode=mode)
    ours = make_small(ALFWORLD, NUM_ENVS, autoreset_mode=mode, max_steps=5)
    killed: list[int] = []

    def kill(share: int) -> None:
        killed.append(process_of(ours, share))
        os.kill(killed[-1], signal.SIGKILL)

    def kill_both() -> None:
        kill(0)
        kill(1)

    # In the middle of an episode, right after its end (step 5, or 6 where a step is spent on the reset), of the second one.
    ends = follow(theirs, ours, {2: partial(kill, 0), 5: partial(kill, 1), 6: partial(kill, 0), 13: kill_both})
    assert ends > 3 * NUM_ENVS
    assert len({*killed, process_of(ours, 0), process_of(ours, 1)}) == 7
    ours.close()


def test_a_node_that_dies_changes_nothing(nodes: Nodes) -> None:
    theirs = TextVectorEnv(partial(gym.make, ALFWORLD, max_steps=5), NUM_ENVS)
    ours = make_small(ALFWORLD, NUM_ENVS, max_steps=5)
    where = [node_of(ours, share) for share in (0, 1)]
    assert set(where) == {nodes.head_id, nodes.other_id}  # they are spread
    lost = process_of(ours, where.index(nodes.other_id))

    def kill_node() -> None:
        nodes.kill_other()
        deadline = time.monotonic() + 60
        while Path(f"/proc/{lost}").exists() and time.monotonic() < deadline:
            time.sleep(0.1)

    assert follow(theirs, ours, {8: kill_node}) > 3 * NUM_ENVS
    assert [node_of(ours, share) for share in (0, 1)] == [nodes.head_id] * 2
    ours.close()


def test_what_methods_have_done_in_an_episode_is_done_again(nodes: Nodes) -> None:
    env = make_small(CorridorEnv, 2)
    env.reset(seed=0)
    env.step(["east", "east"])
    snapshots = env.call("snapshot")
    env.step(["east", "west"])
    env.call("restore", snapshots[0])
    os.kill(process_of(env, 1), signal.SIGKILL)
    observations, *_ = env.step(["east", "east"])
    assert all("Door 2." in one for one in observations)
    env.close()


def test_an_environment_that_is_not_deterministic_is_found_out(nodes: Nodes) -> None:
    env = make_small(MoodyEnv, 2)
    env.reset(seed=0)
    env.step(["east", "east"])
    os.kill(process_of(env, 1), signal.SIGKILL)
    with pytest.raises(
        WorkerError, match="expected environment 1 to be deterministic, got another observation when its 1"
    ):
        env.step(["east", "east"])
    env.close()


def test_a_step_that_always_kills_ends_in_an_error(nodes: Nodes) -> None:
    env = make_small(BrittleEnv, 4, max_deaths=1)
    env.reset(seed=0)
    with pytest.raises(WorkerError, match="the actor of environments 2 to 3 has died 2 times over one message"):
        env.step(["east", "east", "east", "die"])
    env.close()


def test_an_environment_that_raises_is_named_with_what_it_said(nodes: Nodes) -> None:
    env = make_small(BrittleEnv, 2)
    env.reset(seed=0)
    with pytest.raises(
        WorkerError, match=r"the actor of environment 1 raised:\n(.*\n)*.*OSError: the roof has come down"
    ):
        env.step(["east", "raise"])
    env.close()
    with pytest.raises(WorkerError, match="no room at the inn"):
        make_small(StillbornEnv, 2)


def test_without_autoreset_the_end_is_an_end(nodes: Nodes) -> None:
    env = make_small(ALFWORLD, 2, autoreset_mode="Disabled", max_steps=1)
    env.reset(seed=0)
    env.step(["look", "look"])
    with pytest.raises(ResetNeeded, match="expected environment 0 to be reset"):
        env.step(["look", "look"])
    env.close()
    with pytest.raises(ClosedEnvironmentError):
        env.step(["look", "look"])


def test_an_actor_without_a_place_is_an_error(nodes: Nodes) -> None:
    with pytest.raises(
        WorkerError, match="expected a place with 64 CPU for the actor of environment 0 within 1 s, got none"
    ):
        make_ray_vector(ALFWORLD, 1, cpus_per_actor=64, start_timeout=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"actors": 3}, ValueError, "actors"),
        ({"actors": 0}, ValueError, "actors"),
        ({"max_deaths": -1}, ValueError, "max_deaths"),
        ({"cpus_per_actor": 0}, ValueError, "expected cpus_per_actor > 0, got 0"),
        ({"autoreset_mode": "Never"}, ValueError, "Never"),
        ({"no_such_option": 1}, WorkerError, "no_such_option"),
    ],
)
def test_bad_input_gets_one_clear_sentence(
    nodes: Nodes, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_ray_vector(ALFWORLD, 2, **options)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("import sys; sys.modules['ray'] = None", "expected Ray: pip install 'textagent-gym[ray]'"),
        # What ray.init does where nothing runs; here the cluster of these tests does.
        (
            "import ray; ray.init = lambda **_: (_ for _ in ()).throw(ConnectionError())",
            "expected a Ray cluster that runs",
        ),
    ],
)
def test_without_ray_or_a_cluster_one_sentence_says_so(start: str, message: str) -> None:
    code = f"{start}\nfrom textagent_gym.interop.ray import make_ray_vector; make_ray_vector('{ALFWORLD}', 1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert message in done.stderr.splitlines()[-1]
