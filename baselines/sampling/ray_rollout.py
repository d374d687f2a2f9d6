"""Rollouts on a Ray cluster: actors with copies of the policy play slices of a batch, and none is lost where one dies.

What is sampled in an episode depends on the run's seed and the episode's number alone (see `rollout.py`). So a slice of
the batch may be played anywhere, and once more where the first actor did not live to report it: the episodes are the
same. Weights go into Ray's object store once per batch, and from there to each machine once.

    with RayWorkers(policy, [(env_id, env_kwargs)], workers=8, num_cpus=2) as workers:
        episodes = workers.rollout(tasks, settings, seed=(1, iteration))

The trainers do this with `--ray-workers 8 --ray-cpus 2`. The cluster is one that runs already (`ray start --head`, and on
other machines `ray start --address ...`), with the same packages on every machine.
"""

from __future__ import annotations

import copy
import logging
import pickle
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from gymnasium.error import DependencyNotInstalled
from torch import Tensor

from baselines.config.settings import RolloutSettings, check_at_least, check_positive
from baselines.errors import BaselinesError, ConfigError, TrainingError
from baselines.models.policy import Policy, silence_transformers
from baselines.sampling.environments import EnvKwargs, EnvPool, Task
from baselines.sampling.episode import Episode
from baselines.sampling.rollout import rollout

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise DependencyNotInstalled("expected Ray: pip install 'textagent-gym[ray]'") from error

Weights: TypeAlias = dict[str, Tensor]
WorkerResult: TypeAlias = tuple[bool, Any]

_log = logging.getLogger(__name__)


class RayWorkers:
    """Actors of a Ray cluster, spread over its machines, that play episodes of one policy.

    Args:
        policy: in training, or trained; every rollout plays its weights of that moment.
        kinds: id and constructor options of each kind of environment, as for `EnvPool`; each actor makes its own.
        workers: actors.
        num_cpus: CPUs that Ray reserves for each; fractions put several on one core. Torch gets as many threads, at least 1.
        num_gpus: likewise; above 0 the model lies on the GPU.
        max_broken: environments that may raise in the life of an actor.
        max_deaths: times that actors may die over one slice, or over being made; one more ends the run.
        start_timeout: seconds to wait for the first actor to find a place, where none is playing.

    Attributes:
        num_broken: environments that have raised and been replaced so far, in all actors, as far as they reported it.
        num_deaths: actors that have died and been replaced so far.

    Raises:
        ConfigError: a number is out of its range, or no cluster runs.
    """

    def __init__(
        self,
        policy: Policy,
        kinds: Sequence[tuple[str, EnvKwargs]],
        *,
        workers: int,
        num_cpus: float = 1.0,
        num_gpus: float = 0.0,
        max_broken: int = 0,
        max_deaths: int = 3,
        start_timeout: float = 300.0,
    ) -> None:
        check_at_least("workers", workers, 1)
        check_positive("num_cpus", num_cpus)
        check_at_least("num_gpus", num_gpus, 0)
        check_at_least("max_deaths", max_deaths, 0)
        check_positive("start_timeout", start_timeout)
        connect()
        self.num_broken = self.num_deaths = 0
        self._policy = policy
        self._max_deaths, self._timeout = max_deaths, start_timeout
        self._asked = f"{num_cpus:g} CPU" + (f" and {num_gpus:g} GPU" if num_gpus else "")
        self._kind = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, scheduling_strategy="SPREAD")(_Player)
        # Kept for actors that are made later; the weights that are trained come with every batch.
        opening = ray.put(_on_cpu(policy)), list(kinds), max_broken, max(1, int(num_cpus)), num_gpus > 0
        self._slots = [_Slot(self._kind, opening) for _ in range(workers)]
        self._batch = 0

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rollout(
        self, tasks: Sequence[Task], settings: RolloutSettings, seed: Sequence[int], first: int = 0
    ) -> list[Episode]:
        """Play one episode per task, as `baselines.sampling.rollout.rollout` does.

        Actors take consecutive slices of equal length, as many tasks as `settings.num_envs` at most, as they become free.
        An episode is that of the same slice in one process, bit for bit on the same kind of machine; and that of the whole
        batch in one process up to the rounding of the model's arithmetic.

        Args:
            tasks: tasks to play; a repeated task makes a group.
            settings: temperature and limits; `num_envs` and `env_workers` hold for each actor.
            seed: numbers >= 0, such as the run's seed and the iteration.
            first: number of the first task in the whole batch.

        Returns:
            Episodes in the order of `tasks`, each once.

        Raises:
            BaselinesError: what `rollout` has raised in an actor.
            TrainingError: actors died too often, none found a place, or they were closed before.
        """
        settings.check(training=False)
        if not self._slots:
            raise TrainingError("expected workers that are open, got closed ones")
        self._batch += 1
        weights = ray.put(_trained(self._policy))
        slices = slices_of(len(tasks), len(self._slots), settings.num_envs)
        waiting, played = deque(slices), dict[range, list[Episode]]()
        deaths = Counter[range]()
        try:
            while len(played) < len(slices):
                for slot in self._slots:
                    if slot.is_idle and waiting:
                        part = waiting.popleft()
                        mine = list(tasks[part.start : part.stop])
                        slot.play(part, self._batch, [weights], mine, settings, tuple(seed), first + part.start)
                slot = self._next_to_answer()
                piece, found = slot.part, self._answer_of(slot, deaths)
                if piece is not None and found is None:
                    waiting.appendleft(piece)
                elif piece is not None and found is not None:
                    played[piece], num_broken = pickle.loads(found)
                    self.num_broken += num_broken
        except BaseException:
            for slot in self._slots:
                if slot.part is not None:  # or its answer would be taken for one of the next batch
                    slot.restart()
            raise
        return [episode for part in slices for episode in played[part]]

    def close(self) -> None:
        """Close every environment, and end the actors."""
        for slot in self._slots:
            slot.close()
        self._slots = []

    def _next_to_answer(self) -> _Slot:
        """Return the slot whose actor answers first, or has died."""
        busy = {slot.asked: slot for slot in self._slots if slot.asked is not None}
        is_played = any(slot.part is not None for slot in self._slots)
        done, _ = ray.wait(list(busy), num_returns=1, timeout=None if is_played else self._timeout)
        if not done:
            free = ray.available_resources()
            raise TrainingError(
                f"expected a place with {self._asked} for an actor within {self._timeout:g} s, got none: the cluster has "
                f"{free.get('CPU', 0):g} CPU and {free.get('GPU', 0):g} GPU free"
            )
        return busy[done[0]]

    def _answer_of(self, slot: _Slot, deaths: Counter[range]) -> bytes | None:
        """Return the episode of a slot's actor; None if it was being made, or has died and another one takes its place."""
        try:
            return slot.answer()
        except RayTaskError:  # not of the environments or the model, whose errors are answers
            raise
        except RayError as error:
            self._replace(slot, deaths, error)
            return None

    def _replace(self, slot: _Slot, deaths: Counter[range], error: RayError) -> None:
        """Put a new actor where one has died."""
        self.num_deaths += 1
        if slot.part is not None:
            deaths[slot.part] += 1
        times = deaths[slot.part] if slot.part is not None else slot.deaths_in_making
        if times > self._max_deaths:
            what = "being made" if slot.part is None else f"tasks {slot.part.start} to {slot.part.stop - 1}"
            raise TrainingError(
                f"expected at most {self._max_deaths} actors to die over {what}, got one more: {str(error).strip()}"
            ) from error
        _log.warning("a rollout worker has died; another one takes its place")
        slot.restart()


def slices_of(num_tasks: int, workers: int, num_envs: int) -> list[range]:
    """Cut a batch into consecutive slices, one for each worker or more, whose lengths differ by one at most.

    Args:
        num_tasks: of the batch.
        workers: that share it.
        num_envs: tasks of a slice at most.
    """
    if num_tasks == 0:
        return []
    rounds = -(-num_tasks // (workers * num_envs))
    count = min(num_tasks, workers * rounds)
    bounds = [num_tasks * number // count for number in range(count + 1)]
    return [range(start, stop) for start, stop in pairwise(bounds)]


class _Slot:
    """A place for an actor: one, or the next where it has died.

    Attributes:
        asked: pending call of the present actor, or None.
        part: the slice that it plays, or None while it is made or idle.
        deaths_in_making: number of actors in a row that died before their first slice.
    """

    def __init__(self, kind: Any, opening: tuple[Any, ...]) -> None:
        self._kind, self._opening = kind, opening
        self.deaths_in_making = 0
        self.asked: Any = None
        self.part: range | None = None
        self._start()

    @property
    def is_idle(self) -> bool:
        return self.asked is None

    def play(self, part: range, *arguments: Any) -> None:
        """Ask the actor to play a slice."""
        self.part, self.asked = part, self._actor.play.remote(*arguments)

    def answer(self) -> bytes | None:
        """Return episodes and the number of replaced environments, or None where the actor was being made; it is idle then.

        Raises:
            BaselinesError: the actor raised it.
            RayError: the actor has died, or the answer with it.
        """
        if self.part is None:
            self.deaths_in_making += 1
        is_right, found = ray.get(self.asked)
        if not is_right:
            raise found
        self.deaths_in_making = 0
        self.asked = self.part = None
        answered: bytes | None = found
        return answered

    def restart(self) -> None:
        """End the actor, whatever it does, and start another one."""
        self._kill()
        self._start()

    def close(self) -> None:
        """Close the environments, and end the actor."""
        if not ray.is_initialized():  # Ray ended before, and the actor with it
            return
        if self.is_idle:
            with suppress(RayError):
                ray.get(self._actor.close.remote(), timeout=5)
        self._kill()

    def _start(self) -> None:
        self._actor = self._kind.remote()
        self.part, self.asked = None, self._actor.open.remote(*self._opening)

    def _kill(self) -> None:
        with suppress(RayError):
            ray.kill(self._actor)


@dataclass
class _Player:
    """The actor: a copy of the policy, and environments."""

    batch: int = 0

    def open(
        self, policy: Policy, kinds: list[tuple[str, EnvKwargs]], max_broken: int, num_threads: int, on_gpu: bool
    ) -> WorkerResult:
        """Make the first environments."""
        silence_transformers()
        torch.set_num_threads(num_threads)
        self.policy = policy
        policy.model.to(device=torch.device("cuda" if on_gpu else "cpu"))

        def opened() -> None:
            self.pool = EnvPool(kinds, max_broken)

        return _attempt(opened)

    def play(
        self,
        batch: int,
        weights: list[Any],
        tasks: list[Task],
        settings: RolloutSettings,
        seed: tuple[int, ...],
        first: int,
    ) -> WorkerResult:
        """Return episodes of the tasks with these weights, and how many environments were replaced.

        Both are pickled: what Ray unpacks by itself is in its store, and cannot be written to.
        """
        if batch != self.batch:
            _load(self.policy, ray.get(weights[0]))
            self.batch = batch
        broken = self.pool.num_broken

        def played() -> bytes:
            episodes = rollout(self.policy, self.pool, tasks, settings, seed, first=first)
            return pickle.dumps((episodes, self.pool.num_broken - broken))

        return _attempt(played)

    def close(self) -> None:
        """Close the environments."""
        self.pool.close()


def _attempt(call: Callable[[], Any]) -> WorkerResult:
    """Return the result of a call, or raise the error that tells the user what to change."""
    try:
        return True, call()
    except BaselinesError as error:
        return False, error


def connect() -> None:
    """Connect to the cluster that runs, unless this process has a connection.

    Raises:
        ConfigError: none runs.
    """
    if ray.is_initialized():
        return
    try:
        ray.init(address="auto", logging_level=logging.WARNING, log_to_driver=False)
    except ConnectionError as error:
        raise ConfigError(
            "expected a Ray cluster that runs (`ray start --head`), or ray.init() before, got none"
        ) from error


def _on_cpu(policy: Policy) -> Policy:
    """Return the policy, or a copy whose weights lie where every machine can read them."""
    if policy.device.type == "cpu":
        return policy
    moved = copy.copy(policy)
    moved.model = copy.deepcopy(policy.model).cpu()
    return moved


def _trained(policy: Policy) -> Weights:
    """Return the weights that training changes, on the CPU."""
    return {name: weight.detach().cpu() for name, weight in policy.model.named_parameters() if weight.requires_grad}


def _load(policy: Policy, weights: Weights) -> None:
    """Give a copy of the policy its present weights."""
    own = dict(policy.model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            own[name].copy_(weight)
