"""Many text environments on the machines of a Ray cluster: each actor plays a share, and one that dies is replaced.

    envs = make_ray_vector("textagent_gym:TextWorld-Easy-Dense-v0", num_envs=64, actors=8, cpus_per_actor=0.5)

The cluster is one that runs already (`ray start --head`, and on other machines `ray start --address ...`), or the one
that this process is connected to. An actor that takes the place of a lost one gets what it had: the generator of each
environment as it was before the present episode began, and the actions since. Environments are deterministic, so the
trajectories are those of one process, whoever dies.

RLlib and verl bring workers of their own: give them the environment's id, not this.
"""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from gymnasium.vector import AutoresetMode

from textagent_gym.mechanics.knobs import check_integer
from textagent_gym.vector import (
    LocalGroup,
    MakeEnv,
    Seen,
    Spaces,
    TextVectorEnv,
    WorkerError,
    attempt,
    named,
    read_answer,
)

try:
    import ray
    from ray.exceptions import GetTimeoutError, RayError, RayTaskError
except ImportError as error:
    raise DependencyNotInstalled("expected Ray: pip install 'textagent-gym[ray]'") from error

R = TypeVar("R")

_log = logging.getLogger(__name__)


def make_ray_vector(
    env: str | Callable[..., gym.Env[str, str]],
    num_envs: int,
    *,
    actors: int = 1,
    cpus_per_actor: float = 1.0,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    max_deaths: int = 3,
    start_timeout: float = 300.0,
    **kwargs: Any,
) -> TextVectorEnv:
    """Make a vector environment that actors of a Ray cluster play, spread over its machines.

    Args:
        env: An id for `gym.make` (`package:Id-v0` imports the package in every actor), or a function that makes one
            environment and can be imported or pickled there.
        num_envs: Environments, dealt to the actors in consecutive shares.
        actors: Processes of the cluster; trajectories are the same for every number.
        cpus_per_actor: CPUs that Ray reserves for each; fractions put several on one core.
        autoreset_mode: "NextStep", "SameStep" or "Disabled".
        max_deaths: Times that an actor may die over one message and be replaced; one more is an error.
        start_timeout: Seconds that an actor may wait for a place in the cluster, at first and when it is replaced.
        **kwargs: Go to every environment.

    Returns:
        The environments. What methods called through `call` have changed is done again in a replaced actor if it was in
        the present episode.

    Raises:
        ConnectionError: No cluster runs.
        TypeError: A number is of another type.
        ValueError: A number is out of its range, or the mode is unknown.
        WorkerError: An environment cannot be made, or no actor finds a place.
    """
    check_integer("actors", actors, low=1, high=num_envs)
    check_integer("max_deaths", max_deaths, low=0)
    for name, number in (("cpus_per_actor", cpus_per_actor), ("start_timeout", start_timeout)):
        if not number > 0:
            raise ValueError(f"expected {name} > 0, got {number}")
    _connect()
    make_env: MakeEnv = (
        partial(gym.make, env, disable_env_checker=True, **kwargs) if isinstance(env, str) else partial(env, **kwargs)
    )
    make_group = partial(_ActorGroup, cpus_per_actor=cpus_per_actor, max_deaths=max_deaths, start_timeout=start_timeout)
    return TextVectorEnv(make_env, num_envs, processes=actors, autoreset_mode=autoreset_mode, make_group=make_group)


def _connect() -> None:
    """Connect to the cluster that runs, unless this process has a connection."""
    if ray.is_initialized():
        return
    try:
        ray.init(address="auto", logging_level=logging.WARNING)
    except ConnectionError as error:
        raise ConnectionError(
            "expected a Ray cluster that runs (`ray start --head`), or ray.init() before, got none"
        ) from error


@dataclass
class _Episode:
    """Reset and actions that lead an environment to its present state.

    Attributes:
        generator: Its generator before the reset.
        seed: Given to the reset.
        options: Likewise.
        done: Actions since, and calls of methods: name, positional and named arguments.
        observation: The last one.
    """

    generator: np.random.Generator
    seed: int | None
    options: dict[str, Any] | None
    done: list[str | tuple[Any, ...]] = field(default_factory=list)
    observation: str = ""


class _Share(LocalGroup):
    """A group that remembers the generators with which its episodes began, and can be led where another one was.

    Attributes:
        begun: Place -> generator before the reset, of the episodes that began with the last message.
    """

    def __init__(self, make_env: MakeEnv, numbers: range, mode: AutoresetMode) -> None:
        super().__init__(make_env, numbers, mode)
        self.begun: dict[int, np.random.Generator] = {}

    def send(self, message: tuple[Any, ...]) -> None:
        """Do what the message asks for."""
        self.begun = {}
        super().send(message)

    def resume(self, place: int, episode: _Episode) -> None:
        """Play an episode again up to where it was.

        Raises:
            WorkerError: It led elsewhere.
        """
        self.envs[place].unwrapped.np_random = episode.generator
        self._begin(place, episode.seed, episode.options)
        for did in episode.done:
            if isinstance(did, str):
                self._step_one(place, did)
            else:
                self._call_one(place, *did)
        if self._last[place] != episode.observation:
            raise WorkerError(
                f"expected environment {self._numbers[place]} to be deterministic, got another observation when its "
                f"{len(episode.done)} steps were played again: {self._last[place]!r} instead of {episode.observation!r}"
            )

    def _begin(self, place: int, seed: int | None = None, options: dict[str, Any] | None = None) -> Seen:
        self.begun[place] = copy.deepcopy(self.envs[place].unwrapped.np_random)
        return super()._begin(place, seed, options)


class _Player:
    """The actor: plays a share, and answers with what `attempt` found."""

    def ready(self) -> None:
        """Return as soon as the actor has found its place."""

    def open(
        self, make_env: MakeEnv, numbers: range, mode: AutoresetMode, episodes: list[_Episode | None]
    ) -> tuple[bool, Any]:
        """Make the environments and resumes their episodes; what they have in common."""

        def opened() -> Spaces:
            self._share = _Share(make_env, numbers, mode)
            for place, episode in enumerate(episodes):
                if episode is not None:
                    self._share.resume(place, episode)
            return self._share.spaces()

        return attempt(opened)

    def ask(self, message: tuple[Any, ...]) -> tuple[bool, Any]:
        """Return the answers to a message, and the generators of the episodes that began with it.

        Both are pickled: arrays that Ray unpacks by itself lie in its store, and cannot be written to.
        """

        def asked() -> bytes:
            self._share.send(message)
            return pickle.dumps((self._share.receive(), self._share.begun))

        return attempt(asked)

    def close(self) -> None:
        """Close the environments."""
        self._share.close()


class _ActorGroup:
    """A group in an actor, replaced where it dies."""

    def __init__(
        self,
        make_env: MakeEnv,
        numbers: range,
        mode: AutoresetMode,
        *,
        cpus_per_actor: float,
        max_deaths: int,
        start_timeout: float,
    ) -> None:
        self._make = make_env, numbers, mode
        self._who = f"the actor of {named(numbers)}"
        self._cpus, self._max_deaths, self._timeout = cpus_per_actor, max_deaths, start_timeout
        self._kind = ray.remote(num_cpus=cpus_per_actor, scheduling_strategy="SPREAD")(_Player)
        self._episodes: list[_Episode | None] = [None] * len(numbers)
        self._message: tuple[Any, ...] | None = None
        self._start()

    def spaces(self) -> Spaces:
        """Return the spaces of the first environment, which all share."""
        return self._outliving(self._opened)

    def send(self, message: tuple[Any, ...]) -> None:
        """Ask the actor for what the message says."""
        self._message = message
        self._asked = self._actor.ask.remote(message)

    def receive(self) -> list[Any]:
        """Return one answer per environment; waits for them, and for a new actor where this one dies."""
        found, begun = self._outliving(self._answered)
        self._record(found, begun)
        return found

    def close(self) -> None:
        """Close the environments, and end the actor."""
        if not ray.is_initialized():  # Ray ended before, and the actor with it
            return
        with suppress(RayError):
            ray.get(self._actor.close.remote(), timeout=5)
        self._kill()

    def _start(self) -> None:
        self._actor: Any = self._kind.remote()
        self._ready = self._actor.ready.remote()
        self._opening = self._actor.open.remote(*self._make, self._episodes)
        self._spaces: Spaces | None = None
        if self._message is not None:
            self._asked = self._actor.ask.remote(self._message)

    def _kill(self) -> None:
        with suppress(RayError):
            ray.kill(self._actor)

    def _outliving(self, get: Callable[[], R]) -> R:
        """Return the result of `get` from an actor that survives the call."""
        why = ""
        for _ in range(self._max_deaths + 1):
            try:
                return get()
            except (WorkerError, ResetNeeded):
                raise
            except RayTaskError as error:  # not the environments', whose errors are answers
                raise WorkerError(f"{self._who} raised:\n{error}") from None
            except RayError as error:
                why = str(error).strip()
                _log.warning("%s has died; its episodes are played again in another one", self._who)
                self._kill()  # what is lost may be the answer alone
                self._start()
        raise WorkerError(f"{self._who} has died {self._max_deaths + 1} times over one message, at last so: {why}")

    def _opened(self) -> Spaces:
        if self._spaces is None:
            try:
                ray.get(self._ready, timeout=self._timeout)
            except GetTimeoutError:
                raise WorkerError(
                    f"expected a place with {self._cpus:g} CPU for {self._who} within {self._timeout:g} s, got none: "
                    f"the cluster has {ray.available_resources().get('CPU', 0):g} free"
                ) from None
            is_right, found = ray.get(self._opening)
            self._spaces = read_answer(is_right, found, self._who)
        return self._spaces

    def _answered(self) -> tuple[list[Any], dict[int, np.random.Generator]]:
        self._opened()
        is_right, found = ray.get(self._asked)
        if not is_right and not isinstance(found, ResetNeeded):
            self._episodes = [None] * len(self._episodes)  # nobody knows how far they came
        answered: tuple[list[Any], dict[int, np.random.Generator]] = pickle.loads(
            read_answer(is_right, found, self._who)
        )
        return answered

    def _record(self, found: list[Any], begun: dict[int, np.random.Generator]) -> None:
        """Keep what the environments would need to come here again."""
        assert self._message is not None
        what, *arguments = self._message
        for place, generator in begun.items():
            seed, options = (arguments[0][place], arguments[1]) if what == "reset" else (None, None)
            self._episodes[place] = _Episode(generator, seed, options)
        for place, episode in enumerate(self._episodes):
            if episode is None:
                continue
            if what == "call":
                episode.done.append(tuple(arguments))
                continue
            if what == "set_attr":
                episode.done.append(("set_wrapper_attr", (arguments[0], arguments[1][place]), {}))
                continue
            if what == "step" and place not in begun:
                episode.done.append(arguments[0][place])
            episode.observation = found[place].observation
