"""Rollout workers on a Ray cluster of two nodes: the episodes of one process, whichever worker or node dies over them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.toy_text_env import TOY

pytest.importorskip("ray")

from baselines import grpo
from baselines.config.settings import RolloutSettings, RunSettings, TaskSettings, UpdateSettings
from baselines.errors import ConfigError, TrainingError
from baselines.models.lora import add_lora
from baselines.models.policy import Policy
from baselines.sampling.environments import EnvPool, Task
from baselines.sampling.episode import Episode
from baselines.sampling.ray_rollout import RayWorkers, slices_of
from baselines.sampling.rollout import rollout
from tests.support.blocks import run_with_library
from tests.support.ray_cluster import Nodes, two_nodes

DEADLY = "tests.support.deadly_text_env:DeadlyErrands-v0"
SETTINGS = RolloutSettings(temperature=0.7, max_new_tokens=6, max_context_tokens=256, num_envs=3)
# Episodes of three lengths, in an order in which short and long ones stand side by side.
KINDS: list[tuple[str, dict[str, Any]]] = [(TOY, {"max_steps": steps}) for steps in (1, 3, 6)]
MIXED = [Task(number // 2, kind) for number, kind in enumerate((2, 2, 0, 1, 0, 2, 1, 1, 0, 0, 2, 1, 0, 2))]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture
def policy(make_tiny: Callable[[int], Policy]) -> Policy:
    return make_tiny(3)


def play_here(
    policy: Policy, kinds: Sequence[tuple[str, dict[str, Any]]], tasks: Sequence[Task], settings: RolloutSettings
) -> list[Episode]:
    """Return the slices of two workers, one after another in this process."""
    with EnvPool(kinds) as pool:
        parts = [
            rollout(policy, pool, tasks[part.start : part.stop], settings, (5, 1), first=part.start)
            for part in slices_of(len(tasks), 2, settings.num_envs)
        ]
    return [episode for part in parts for episode in part]


def assert_equal(some: Sequence[Episode], others: Sequence[Episode], tolerance: float = 0.0) -> None:
    """Check for the same episodes in the same order; with tolerance 0 bit for bit."""
    for one, other in zip(some, others, strict=True):
        assert (one.seed, one.task_id, one.turns, one.outcome) == (
            other.seed,
            other.task_id,
            other.turns,
            other.outcome,
        )
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert one.action_mask.tolist() == other.action_mask.tolist()
        assert one.final_prompt.tolist() == other.final_prompt.tolist()
        np.testing.assert_allclose(one.logprobs, other.logprobs, rtol=0, atol=tolerance)


def change(policy: Policy, seed: int) -> None:
    """Change the trained weights as an update might."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)


def test_the_block_of_the_page_runs(nodes: Nodes, policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path / "model")
    smaller = {
        "runs/grpo/model": str(tmp_path / "model"),
        "workers=8, num_cpus=2": "workers=2, num_cpus=0.5",
        "range(256)": "range(4)",
        "RolloutSettings()": "RolloutSettings(max_new_tokens=4, max_context_tokens=1024)",
    }
    episodes = run_with_library("libraries.md", "with RayWorkers", smaller)["episodes"]
    assert [episode.seed for episode in episodes] == [0, 1, 2, 3] and all(episode.turns for episode in episodes)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_episodes_are_those_of_one_process_before_and_after_an_update(
    nodes: Nodes, policy: Policy, lora_rank: int
) -> None:
    if lora_rank:
        add_lora(policy.model, lora_rank, 32.0, seed=1)
    with RayWorkers(policy, KINDS, workers=2, num_cpus=0.5) as workers:
        before = workers.rollout(MIXED, SETTINGS, (5, 1))
        assert_equal(before, play_here(policy, KINDS, MIXED, SETTINGS))
        with EnvPool(KINDS) as pool:
            whole = rollout(policy, pool, MIXED, SETTINGS, (5, 1))
        assert_equal(before, whole, tolerance=1e-4)
        assert_equal(workers.rollout(MIXED[4:9], SETTINGS, (5, 1), first=4), whole[4:9], tolerance=1e-4)
        change(policy, 2)
        after = workers.rollout(MIXED, SETTINGS, (5, 1))
        assert_equal(after, play_here(policy, KINDS, MIXED, SETTINGS))
        assert [episode.token_ids.tolist() for episode in after] != [episode.token_ids.tolist() for episode in before]
        assert workers.rollout([], SETTINGS, (5, 1)) == []
        assert (workers.num_deaths, workers.num_broken) == (0, 0)


class Gate:
    """Holds episodes up until something has been done to the processes that play them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hold = folder / "hold"
        self._hold.touch()
        self.error: BaseException | None = None

    def waiting(self) -> list[int]:
        """Return processes that wait at the gate."""
        return sorted(int(path.stem) for path in self._folder.glob("*.waits"))

    def once_two_wait(self, act: Callable[[list[int]], object]) -> threading.Thread:
        """Act once two processes wait, and open the gate when one of them is gone."""

        def watch() -> None:
            try:
                wait_until(lambda: len(self.waiting()) == 2)
                act(self.waiting())
                wait_until(lambda: not all(Path(f"/proc/{process}").exists() for process in self.waiting()))
            except BaseException as error:
                self.error = error
            finally:
                self._hold.unlink()

        thread = threading.Thread(target=watch)
        thread.start()
        return thread


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "expected the condition to hold in time"
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["worker", "node"])
def test_a_death_loses_no_episode_and_changes_none(nodes: Nodes, policy: Policy, tmp_path: Path, victim: str) -> None:
    tasks = [Task(number) for number in range(16)]
    settings = replace(SETTINGS, num_envs=2)
    expected = play_here(policy, [(TOY, {})], tasks, settings)
    gate = Gate(tmp_path)
    # The first slices are reported, later ones are in the middle of an episode in both workers when one is lost.
    kinds = [(DEADLY, {"gate": str(tmp_path), "hold_from": 6})]
    kill: Callable[[list[int]], object] = (
        (lambda waiting: os.kill(waiting[0], signal.SIGKILL)) if victim == "worker" else (lambda _: nodes.kill_other())
    )
    with RayWorkers(policy, kinds, workers=2, num_cpus=0.5) as workers:
        thread = gate.once_two_wait(kill)
        episodes = workers.rollout(tasks, settings, (5, 1))
        thread.join()
        assert gate.error is None
        assert workers.num_deaths == 1
        assert_equal(episodes, expected)
        assert_equal(workers.rollout(tasks, settings, (5, 1)), expected)
        assert workers.num_deaths == 1
    if victim == "node":
        nodes.revive_other()


def test_tasks_that_always_kill_end_the_run(nodes: Nodes, policy: Policy) -> None:
    kinds = [(TOY, {}), (DEADLY, {"deadly": True})]
    with RayWorkers(policy, kinds, workers=1, num_cpus=0.5, max_deaths=1) as workers:
        with pytest.raises(TrainingError, match="expected at most 1 actors to die over tasks 2 to 3, got one more"):
            workers.rollout([Task(0), Task(1), Task(2), Task(3, 1)], replace(SETTINGS, num_envs=2), (5, 1))
        assert workers.num_deaths == 2
        # What was interrupted does not come back as an answer to the next batch.
        tasks = [Task(7), Task(8)]
        with EnvPool([(TOY, {})]) as pool:
            assert_equal(workers.rollout(tasks, SETTINGS, (5, 1)), rollout(policy, pool, tasks, SETTINGS, (5, 1)))


def test_broken_environments_are_replaced_and_counted(nodes: Nodes, policy: Policy) -> None:
    kinds = [(TOY, {"fail_at": 2, "healthy_after": 1}), (TOY, {"fail_at": 2})]
    with RayWorkers(policy, kinds, workers=1, num_cpus=0.5, max_broken=2) as workers:
        tasks = [Task(seed) for seed in range(4)]
        with EnvPool([(TOY, {})]) as pool:
            expected = rollout(policy, pool, tasks[:2], SETTINGS, (5, 1))
        assert_equal(workers.rollout(tasks[:2], SETTINGS, (5, 1)), expected, tolerance=1e-4)
        assert workers.num_broken == 1
        with pytest.raises(TrainingError, match=r"expected at most 2 broken environments .*the toy was made to fail"):
            workers.rollout([Task(0, 1)], SETTINGS, (5, 1))


def test_what_is_wrong_gets_one_clear_sentence(nodes: Nodes, policy: Policy) -> None:
    with (
        RayWorkers(policy, [(TOY, {"mistake": 1})], workers=1, num_cpus=0.5) as workers,
        pytest.raises(ConfigError, match=r"expected options that .*ToyErrands-v0 accepts"),
    ):
        workers.rollout([Task(0)], SETTINGS, (5, 1))
    with (
        RayWorkers(policy, [(TOY, {})], workers=1, num_cpus=64, start_timeout=1) as workers,
        pytest.raises(TrainingError, match="expected a place with 64 CPU for an actor within 1 s, got none"),
    ):
        workers.rollout([Task(0)], SETTINGS, (5, 1))
    with pytest.raises(TrainingError, match="expected workers that are open, got closed ones"):
        workers.rollout([Task(0)], SETTINGS, (5, 1))
    for options, message in (({"workers": 0}, "workers >= 1"), ({"workers": 1, "num_cpus": 0}, "num_cpus > 0")):
        with pytest.raises(ConfigError, match=f"expected {message}, got 0"):
            RayWorkers(policy, [(TOY, {})], **options)


def test_a_trainer_learns_the_same(nodes: Nodes, tmp_path: Path) -> None:
    def train(name: str, ray_workers: int) -> list[dict[str, float]]:
        config = grpo.Config(
            env_id=TOY,
            num_iterations=2,
            group_size=2,
            groups_per_batch=2,
            tasks=TaskSettings(num_train_seeds=4),
            rollout=RolloutSettings(max_new_tokens=4, max_context_tokens=128, num_envs=1),  # the same shapes in both
            update=UpdateSettings(num_minibatches=2),
            run=RunSettings(out=tmp_path / name, num_threads=1, progress=False, ray_workers=ray_workers, ray_cpus=0.5),
        )
        records = grpo.train(config).records
        return [
            {key: one[key] for key in one if not key.startswith("time/") and "second" not in key} for one in records
        ]

    assert train("cluster", 2) == train("alone", 0)


def test_without_ray_a_trainer_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ray'] = None; from baselines.grpo import main;"
        f"sys.argv = ['grpo', '--env-id', '{TOY}', '--model', 'tiny', '--ray-workers', '2', '--num-iterations', '1',"
        f"'--no-progress', '--out', '{tmp_path}/run']; main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.stderr.splitlines()[-1] == ("error: expected Ray: pip install 'textagent-gym[ray]' for ray_workers=2")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ((0, 2, 64), []),
        ((1, 2, 64), [1]),
        ((64, 2, 64), [32, 32]),
        ((64, 3, 64), [21, 21, 22]),
        ((130, 2, 64), [32, 33, 32, 33]),
        ((5, 2, 1), [1, 1, 1, 1, 1]),
    ],
)
def test_slices_cover_the_batch_in_order(sizes: tuple[int, int, int], lengths: list[int]) -> None:
    slices = slices_of(*sizes)
    assert [len(part) for part in slices] == lengths
    assert [number for part in slices for number in part] == list(range(sizes[0]))
