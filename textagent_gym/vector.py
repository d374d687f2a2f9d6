"""Many text environments as one: `gym.make_vec(id, num_envs=8)`, in this process or in several.

Observations are a tuple of strings, actions a sequence of strings; rewards, ends and infos are as in every vector
environment of Gymnasium 1.x, with its three ways of starting again (`autoreset_mode`). Nothing goes through shared memory,
which cannot hold text.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from textagent_gym.mechanics.infos import merge_infos
from textagent_gym.mechanics.knobs import check_choice, check_integer
from textagent_gym.registration import DOMAINS, load
from textagent_gym.wrappers import EachTaskOnce

MakeEnv = Callable[[], gym.Env[str, str]]

Observations = tuple[str, ...]
Bools = NDArray[np.bool_]
StepResult = tuple[Observations, NDArray[np.float64], Bools, Bools, dict[str, Any]]


class WorkerError(RuntimeError):
    """A process that plays environments has died, or an environment in it has raised; which is in the message."""


class Seen(NamedTuple):
    """Results of one environment; `infos` are laid one over the other, in order."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool
    infos: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Spaces:
    """Spaces that all environments share."""

    observation_space: gym.Space[str]
    action_space: gym.Space[str]
    metadata: dict[str, Any]
    render_mode: str | None


class Group(Protocol):
    """A consecutive share of the environments, wherever it is played."""

    def spaces(self) -> Spaces:
        """Return the spaces of the first environment, which all share."""

    def send(self, message: tuple[Any, ...]) -> None:
        """Ask for what the message says.

        Messages are ("reset", seeds, options, mask), ("step", actions), ("call", name, ...), ("set_attr", name, values).
        """

    def receive(self) -> list[Any]:
        """Return one answer per environment to what was sent last; waits for them."""

    def close(self) -> None:
        """Close the environments, and end whoever plays them."""


MakeGroup = Callable[[MakeEnv, range, AutoresetMode], Group]


class TextVectorEnv(VectorEnv[Observations, Sequence[str], NDArray[Any]]):
    """Environments that are stepped together.

    - `reset(seed=s)` gives environment i the seed s + i; a sequence gives each its own; without one all go on with their
      draws. `reset(options={"reset_mask": mask})` resets some of them.
    - `autoreset_mode="NextStep"`: the step after an end resets, ignores the action, and pays 0. `"SameStep"`: the step
      that ends an episode returns the first observation of the next, the last one is in `infos["final_obs"]`, its info in
      `infos["final_info"]`. `"Disabled"`: whoever steps on must have reset.
    - With `processes` above 1 each process plays a consecutive share; trajectories are the same for every number.

    Args:
        make_env: Makes one environment; for more than one process it must be picklable.
        num_envs: Environments.
        processes: Processes that play them; 1 plays them here.
        autoreset_mode: "NextStep", "SameStep" or "Disabled".
        make_group: Makes what plays a share, in place of a process: `interop.ray` plays it on another machine.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number is out of its range, or the mode is unknown.
        WorkerError: An environment cannot be made in its process.
    """

    def __init__(
        self,
        make_env: MakeEnv,
        num_envs: int,
        *,
        processes: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        make_group: MakeGroup | None = None,
    ) -> None:
        check_integer("num_envs", num_envs, low=1)
        check_integer("processes", processes, low=1, high=num_envs)
        self.num_envs = num_envs
        self._spec: EnvSpec | None = None
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        bounds = [num_envs * number // processes for number in range(processes + 1)]
        shares = [range(first, last) for first, last in pairwise(bounds)]
        self._groups: list[Group] = []
        self._shares = shares
        self._over = np.zeros(num_envs, dtype=np.bool_)
        kind = make_group or (LocalGroup if processes == 1 else _RemoteGroup)
        try:
            for share in shares:
                self._groups.append(kind(make_env, share, self.autoreset_mode))
            example = self._groups[0].spaces()
        except BaseException:
            self.close_extras()
            raise
        self.metadata = {**example.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = example.observation_space, example.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = example.render_mode

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Reset all environments, or those of `options["reset_mask"]`; the others keep their last observation.

        Raises:
            ValueError: There are not as many seeds as environments, or the mask is of another shape.
            TypeError: The mask is no array of bools.
            WorkerError: A process has died, or an environment has raised.
        """
        rest = dict(options or {})
        mask = self._mask(rest.pop("reset_mask", None))
        seeds = self._seeds(seed)
        seen = self._all(
            [
                ("reset", [seeds[i] for i in share], rest or None, mask[share.start : share.stop])
                for share in self._shares
            ]
        )
        self._over &= ~mask
        return tuple(one.observation for one in seen), self._merged(seen)

    def step(self, actions: Sequence[str]) -> StepResult:
        """Play one action in each environment.

        Raises:
            TypeError: The actions are one string.
            ValueError: There are not as many actions as environments.
            gymnasium.error.ResetNeeded: An episode is over, and `autoreset_mode` is "Disabled".
            WorkerError: A process has died, or an environment has raised.
        """
        self._check_open()
        if isinstance(actions, str):  # as many letters as environments would be as many actions
            raise TypeError(f"expected a sequence of {self.num_envs} actions, got the string {actions!r:.80}")
        if len(actions) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} actions, got {len(actions)}")
        if self.autoreset_mode == AutoresetMode.DISABLED and self._over.any():  # before any of them is stepped
            raise ResetNeeded(
                f"expected environment {int(self._over.argmax())} to be reset after its end: "
                "pass options={'reset_mask': mask} to reset, or choose another autoreset_mode"
            )
        seen = self._all([("step", list(actions[share.start : share.stop])) for share in self._shares])
        self._over = np.array([one.terminated or one.truncated for one in seen], dtype=np.bool_)
        return (
            tuple(one.observation for one in seen),
            np.array([one.reward for one in seen], dtype=np.float64),
            np.array([one.terminated for one in seen], dtype=np.bool_),
            np.array([one.truncated for one in seen], dtype=np.bool_),
            self._merged(seen),
        )

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every environment, or read an attribute where it is none; one result each."""
        return tuple(self._all([("call", name, args, kwargs)] * len(self._shares)))

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of every environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of every environment: each to its own of a list or tuple, or all to one value.

        Raises:
            ValueError: There are not as many values as environments.
        """
        each = list(values) if isinstance(values, list | tuple) else [values] * self.num_envs
        if len(each) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} values, got {len(each)}")
        self._all([("set_attr", name, each[share.start : share.stop]) for share in self._shares])

    def render(self) -> tuple[Any, ...]:
        """Return what each environment renders: its last observation with `render_mode="ansi"`, None without."""
        return self.call("render")

    @property
    def envs(self) -> list[gym.Env[str, str]]:
        """The environments, where this process plays them all.

        Raises:
            AttributeError: Others play them; `call`, `get_attr` and `set_attr` reach them.
        """
        self._check_open()
        if not all(isinstance(group, LocalGroup) for group in self._groups):
            raise AttributeError(
                "expected environments of this process, got some of others: use call, get_attr, set_attr"
            )
        return [env for group in self._groups if isinstance(group, LocalGroup) for env in group.envs]

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """Seed of each environment's generator."""
        return self.get_attr("np_random_seed")

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """Generator of each environment; copies, where other processes have them."""
        return self.get_attr("np_random")

    @property
    def spec(self) -> EnvSpec | None:
        """Arguments of `gym.make_vec`, in values that JSON can hold."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            spec.kwargs = {name: _plain(value) for name, value in spec.kwargs.items()}
        self._spec = spec

    def close_extras(self, **_: Any) -> None:
        """Close every environment, and end their processes."""
        for group in self._groups:
            group.close()
        self._groups = []

    def _check_open(self) -> None:
        if not self._groups:
            raise ClosedEnvironmentError("expected a vector environment that is open, got one that was closed")

    def _all(self, messages: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send each group its message, then collect the answers in order."""
        self._check_open()
        for group, message in zip(self._groups, messages, strict=True):
            group.send(message)
        answers: list[Any] = []
        errors: list[Exception] = []
        for group in self._groups:
            try:
                answers += group.receive()
            except (ResetNeeded, WorkerError) as error:  # the others' answers must not wait for the next message
                errors.append(error)
        if errors:
            raise errors[0]
        return answers

    def _merged(self, seen: Sequence[Seen]) -> dict[str, Any]:
        """Return one info with an array for each key."""
        return merge_infos([one.infos[0] if len(one.infos) == 1 else dict(ChainMap(*one.infos[::-1])) for one in seen])

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + number for number in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, got {len(seed)}")
        return list(seed)

    def _mask(self, mask: Any) -> Bools:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"expected options['reset_mask'] to be an array of bools, got {type(mask).__name__}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"expected options['reset_mask'] of shape ({self.num_envs},) with a True, got {mask}")
        return mask


class LocalGroup:
    """Environments of this process, with consecutive numbers.

    Attributes:
        envs: The environments.
    """

    def __init__(self, make_env: MakeEnv, numbers: range, mode: AutoresetMode) -> None:
        self.envs = [make_env() for _ in numbers]
        self._numbers = numbers
        self._mode = mode
        self._over = [False] * len(numbers)
        self._last = [""] * len(numbers)
        self._answer: list[Any] = []

    def spaces(self) -> Spaces:
        """Return the spaces of the first environment, which all share."""
        env = self.envs[0]
        return Spaces(env.observation_space, env.action_space, env.metadata, env.render_mode)

    def send(self, message: tuple[Any, ...]) -> None:
        """Do what the message asks for; `receive` gives the answers."""
        what, *arguments = message
        self._answer = getattr(self, f"_{what}")(*arguments)

    def receive(self) -> list[Any]:
        """Return one answer per environment."""
        return self._answer

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    def _reset(self, seeds: list[int | None], options: dict[str, Any] | None, mask: Bools) -> list[Seen]:
        return [
            self._begin(place, seed, options) if wanted else Seen(self._last[place], 0.0, False, False, ())
            for place, (seed, wanted) in enumerate(zip(seeds, mask, strict=True))
        ]

    def _begin(self, place: int, seed: int | None = None, options: dict[str, Any] | None = None) -> Seen:
        self._last[place], info = self.envs[place].reset(seed=seed, options=options)
        self._over[place] = False
        return Seen(self._last[place], 0.0, False, False, (info,))

    def _step(self, actions: list[str]) -> list[Seen]:
        return [self._step_one(place, action) for place, action in enumerate(actions)]

    def _step_one(self, place: int, action: str) -> Seen:
        if self._over[place]:
            return self._begin(place)
        observation, reward, terminated, truncated, info = self.envs[place].step(action)
        self._last[place], over = observation, terminated or truncated
        if over and self._mode == AutoresetMode.SAME_STEP:
            final = {"final_obs": observation, "final_info": info}
            first = self._begin(place)
            return first._replace(
                reward=float(reward), terminated=terminated, truncated=truncated, infos=(final, *first.infos)
            )
        self._over[place] = over
        return Seen(observation, float(reward), terminated, truncated, (info,))

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        return [self._call_one(place, name, args, kwargs) for place in range(len(self.envs))]

    def _set_attr(self, name: str, values: list[Any]) -> list[Any]:
        return [self._call_one(place, "set_wrapper_attr", (name, value), {}) for place, value in enumerate(values)]

    def _call_one(self, place: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = self.envs[place].get_wrapper_attr(name)
        return found(*args, **kwargs) if callable(found) else found


class _RemoteGroup:
    """A group in a separate process."""

    def __init__(self, make_env: MakeEnv, numbers: range, mode: AutoresetMode) -> None:
        # A new interpreter: a copy of this one would have its threads and locks, and none of what they wait for.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._numbers = numbers
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, make_env, numbers, mode), daemon=True, name=f"environments {numbers.start}-"
        )
        self._process.start()
        theirs.close()

    def spaces(self) -> Spaces:
        """Return the spaces of the first environment, which all share."""
        self.send(("spaces",))
        return cast(Spaces, self._answer())

    def send(self, message: tuple[Any, ...]) -> None:
        """Ask the process for what the message says."""
        try:
            self._pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def receive(self) -> list[Any]:
        """Return one answer per environment; waits for them."""
        return cast(list[Any], self._answer())

    def close(self) -> None:
        """Close the environments, and end the process."""
        try:
            self._pipe.send(("close",))
            self._process.join(timeout=5)
        except (BrokenPipeError, ConnectionResetError):
            pass
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _answer(self) -> Any:
        try:
            is_right, found = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._death() from None
        return read_answer(is_right, found, f"the process of {named(self._numbers)}")

    def _death(self) -> WorkerError:
        self._process.join(timeout=5)
        return WorkerError(f"the process of {named(self._numbers)} has died with exit code {self._process.exitcode}")


def named(numbers: range) -> str:
    """Return the environments of a share, in words."""
    first, last = numbers[0], numbers[-1]
    return f"environment {first}" if first == last else f"environments {first} to {last}"


def attempt(ask: Callable[[], Any]) -> tuple[bool, Any]:
    """Return the result or the exception of a call in a form for another process; `read_answer` reads it."""
    try:
        return True, ask()
    except ResetNeeded as error:
        return False, error
    except Exception:  # whatever it is, the other process raises it
        return False, traceback.format_exc()


def read_answer(is_right: bool, found: Any, who: str) -> Any:
    """Return the result of `attempt`, or raise its exception.

    Raises:
        gymnasium.error.ResetNeeded: The call raised it.
        WorkerError: The call raised something else; `who` says where.
    """
    if is_right:
        return found
    if isinstance(found, ResetNeeded):
        raise found
    raise WorkerError(f"{who} raised:\n{found}")


def _serve(pipe: Connection, make_env: MakeEnv, numbers: range, mode: AutoresetMode) -> None:
    """Play a group until a message closes it, or the other end is gone."""
    made, group = attempt(partial(LocalGroup, make_env, numbers, mode))
    if not made:
        pipe.send((made, group))
        return
    while True:
        try:
            message = pipe.recv()
        except (EOFError, ConnectionResetError, KeyboardInterrupt):
            message = ("close",)
        if message[0] == "close":
            group.close()
            return
        answer = attempt(partial(_asked, group, message))
        sent, why = attempt(partial(pipe.send, answer))
        if not sent:
            pipe.send((sent, why))


def _asked(group: LocalGroup, message: tuple[Any, ...]) -> Any:
    if message[0] == "spaces":
        return group.spaces()
    group.send(message)
    return group.receive()


def __getattr__(name: str) -> Callable[..., TextVectorEnv]:
    """Return the function that makes the vector environments of a domain: `make_textworld_vector` for TextWorld.

    It takes `num_envs`, `processes`, `autoreset_mode` and the options of the domain's environment.
    """
    for domain in DOMAINS.values():
        if name == domain.vector_maker:
            return partial(_make_vector, domain.entry_point)
    raise AttributeError(f"expected a name of textagent_gym.vector, got {name!r}")


def _make_vector(
    entry_point: str,
    num_envs: int,
    *,
    processes: int = 1,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    each_task_once: bool = False,
    max_episode_steps: int | None = None,
    disable_env_checker: bool | None = None,
    **kwargs: Any,
) -> TextVectorEnv:
    """Make environments of a domain; `max_episode_steps` is as of `gym.make`, whose checker is never used here.

    With `each_task_once`, for evaluation, the environments share a finite list of tasks: see `wrappers.EachTaskOnce`.
    """
    check_choice("each_task_once", each_task_once, (True, False))
    make_env = partial(_make_one, entry_point, kwargs, max_episode_steps, each_task_once)
    envs = TextVectorEnv(make_env, num_envs, processes=processes, autoreset_mode=autoreset_mode)
    if each_task_once:
        num_tasks = len(envs.get_attr("task_ids")[0])
        if num_envs > num_tasks:
            envs.close()
            raise ValueError(f"expected at most {num_tasks} environments, one for each task, got {num_envs}")
        envs.set_attr("num_shares", num_envs)
        envs.set_attr("share", list(range(num_envs)))
    return envs


def _make_one(
    entry_point: str, kwargs: dict[str, Any], max_episode_steps: int | None, each_task_once: bool
) -> gym.Env[str, str]:
    env: gym.Env[str, str] = load(entry_point)(**kwargs)
    env = env if max_episode_steps in (None, -1) else TimeLimit(env, max_episode_steps)
    return EachTaskOnce(env) if each_task_once else env


def _plain(value: Any) -> Any:
    """Return a value in a form that JSON can hold, where it has one."""
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, PurePath) else value
