"""Environments by name, lent for one episode at a time, and the tasks that are played in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np

from baselines.config.settings import TaskSettings
from baselines.config.stages import SuccessCondition, parse_stages
from baselines.errors import ConfigError, EnvironmentContractError, TrainingError

TextEnv: TypeAlias = gym.Env[str, str]
EnvKwargs: TypeAlias = Mapping[str, Any]
ResetResult: TypeAlias = tuple[str, dict[str, Any]]
StepResult: TypeAlias = tuple[str, float, bool, bool, dict[str, Any]]


class Task(NamedTuple):
    """An episode to play.

    Attributes:
        seed: given to `env.reset`.
        kind: index of the pool's environments that play it.
        task_id: name of the task, for an environment with a list of them; None lets the seed draw one.
    """

    seed: int
    kind: int = 0
    task_id: str | None = None


def kind_names(kinds: Sequence[tuple[str, EnvKwargs]]) -> list[str]:
    """Return a name of each kind: its id, and for an id that comes again `ID@N` with its place N in the list."""
    ids = [env_id for env_id, _ in kinds]
    return [env_id if env_id not in ids[:kind] else f"{env_id}@{kind}" for kind, env_id in enumerate(ids)]


class EnvPool:
    """Environments of one or more kinds, made on demand, lent for one episode at a time, replaced when they break.

    Args:
        kinds: id and constructor options of each kind; the first environment of each is made at once, so that a
            mistake is found before anything else is loaded.
        max_broken: environments that may raise in the life of the pool; one more ends the run.

    Attributes:
        num_broken: environments that have raised so far.

    Raises:
        ConfigError: there is no kind, an id is unknown, or a constructor refuses its options.
    """

    def __init__(self, kinds: Sequence[tuple[str, EnvKwargs]], max_broken: int = 0) -> None:
        if not kinds:
            raise ConfigError("expected at least one kind of environment, got none")
        self._kinds = list(kinds)
        self._max_broken = max_broken
        self.num_broken = 0
        self._open: list[TextEnv] = []
        self._free: list[list[TextEnv]] = [[] for _ in kinds]
        try:
            for kind in range(len(kinds)):
                self._free[kind].append(self._make(kind))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> EnvPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lease(self, kind: int = 0) -> TextEnv:
        """Return an environment of `kind` that nobody else holds until it is given back.

        Raises:
            ConfigError: the pool has no such kind.
        """
        if not 0 <= kind < len(self._kinds):
            raise ConfigError(f"expected a kind of environment from 0 to {len(self._kinds) - 1}, got {kind}")
        return self._free[kind].pop() if self._free[kind] else self._make(kind)

    def give_back(self, env: TextEnv, kind: int = 0) -> None:
        """Take a leased environment back, in whatever state; the next episode resets it."""
        self._free[kind].append(env)

    def discard(self, env: TextEnv, task: Task, where: str, error: Exception) -> None:
        """Close a leased environment that raised; the next lease makes a fresh one in its place.

        Args:
            env: the environment.
            task: its task.
            where: the call that raised, such as "step 3".
            error: the error that it raised.

        Raises:
            TrainingError: more than `max_broken` environments have raised.
        """
        self._open.remove(env)
        with suppress(Exception):  # broken already: whatever its close has to say must not hide the first error
            env.close()
        self.num_broken += 1
        if self.num_broken > self._max_broken:
            env_id, _ = self._kinds[task.kind]
            reason = str(error).strip().split("\n")[0]
            raise TrainingError(
                f"expected at most {self._max_broken} broken environments (max_broken_envs), got one more: {env_id} "
                f"raised {type(error).__name__} in {where} of seed {task.seed} ({reason}), after "
                f"{self.num_broken - 1} had been replaced"
            ) from error

    def close(self) -> None:
        """Close every environment, leased ones too."""
        with ExitStack() as stack:  # the others are closed even if one of them raises
            for env in self._open:
                stack.callback(env.close)
            self._open = []
            self._free = [[] for _ in self._kinds]

    def _make(self, kind: int) -> TextEnv:
        env = make_env(*self._kinds[kind])
        self._open.append(env)
        return env


NUM_TEXT_SEEDS = 100
"""Seeds whose texts a new tokenizer is trained on, where the seeds are without end."""

NUM_TEXT_STEPS = 10
"""Steps of each of these episodes at most."""


class TaskSchedule:
    """Draws the tasks of every iteration: seeds of one environment, a weighted mixture of several, or a curriculum.

    Everything but the stage of a curriculum by success is a function of the run's seed and the iteration, so that a resumed
    run plays what it would have played.

    Attributes:
        kinds: the environments, each an id and its constructor options; `Task.kind` counts in this order.
        stage: stage of an adaptive curriculum or of one with stages of its own, an index into `kinds`.
        streak: iterations in a row, the last one included, whose success was above what ends the stage.
    """

    def __init__(
        self, env_id: str, env_kwargs: EnvKwargs, settings: TaskSettings, num_iterations: int, seed: int
    ) -> None:
        entries = {
            name: dict(entry) if isinstance(entry, dict) else {"weight": entry} for name, entry in settings.also.items()
        }
        weights = np.array([1.0, *(entry.pop("weight", 1.0) for entry in entries.values())])
        further = [(name.partition("@")[0], {**env_kwargs, **options}) for name, options in entries.items()]
        self._stages = () if isinstance(settings.curriculum, str) else parse_stages(settings.curriculum)
        self.kinds: list[tuple[str, EnvKwargs]] = [(env_id, env_kwargs), *further]
        if self._stages:
            self.kinds = [(stage.env_id or env_id, {**env_kwargs, **stage.env_kwargs}) for stage in self._stages]
        self.stage = self.streak = 0
        self._settings = settings
        self._num_iterations = num_iterations
        self._seed = seed
        self._shares = weights / weights.sum()

    def draw(self, iteration: int, count: int) -> list[Task]:
        """Return the `count` tasks of an iteration (from 0).

        Seeds are consecutive numbers that no iteration has had before, or, of a limited number of seeds, consecutive
        pieces of one random order of them after another.
        """
        kinds = self._draw_kinds(iteration, count)
        numbers = range(iteration * count, (iteration + 1) * count)
        return [Task(self._seed_of(number), kind) for number, kind in zip(numbers, kinds, strict=True)]

    def observe(self, iteration: int, success_rate: float) -> None:
        """Move a curriculum by the success, in [0, 1], of an iteration (from 0)."""
        if self._stages:
            self._observe_stage(iteration, success_rate)
            return
        if self._settings.curriculum != "adaptive":
            return
        if success_rate > self._settings.band_high:
            self.stage = min(self.stage + 1, len(self.kinds) - 1)
        elif success_rate < self._settings.band_low:
            self.stage = max(self.stage - 1, 0)

    @property
    def text_seeds(self) -> range:
        """Seeds whose texts a new tokenizer is trained on."""
        first = self._settings.first_train_seed
        return range(first, first + (self._settings.num_train_seeds or NUM_TEXT_SEEDS))

    def _observe_stage(self, iteration: int, success_rate: float) -> None:
        until = self._stages[self.stage].until
        if isinstance(until, SuccessCondition):
            self.streak = self.streak + 1 if success_rate > until.success else 0
            if self.streak == until.iterations:
                self.stage, self.streak = self.stage + 1, 0
        # Of stages that end at an iteration, those whose end has passed are left out.
        while isinstance(end := self._stages[self.stage].until, int) and iteration + 1 >= end:
            self.stage, self.streak = self.stage + 1, 0

    def _draw_kinds(self, iteration: int, count: int) -> list[int]:
        if self._stages or self._settings.curriculum == "adaptive":
            return [self.stage] * count
        if self._settings.curriculum == "fixed":
            return [min(iteration * len(self.kinds) // self._num_iterations, len(self.kinds) - 1)] * count
        rng = np.random.default_rng([self._seed, iteration, len(self.kinds)])
        kinds: list[int] = rng.choice(len(self.kinds), size=count, p=self._shares).tolist()
        return kinds

    def _seed_of(self, number: int) -> int:
        first, count = self._settings.first_train_seed, self._settings.num_train_seeds
        if count == 0:
            return first + number
        cycle, position = divmod(number, count)
        order = np.random.default_rng([self._seed, cycle]).permutation(count)
        return first + int(order[position])


def make_env(env_id: str, env_kwargs: EnvKwargs) -> TextEnv:
    """Make one environment, or say in one sentence why it cannot be made.

    Args:
        env_id: an id for `gym.make`; `package:Id-v0` imports the package first.
        env_kwargs: constructor options.

    Raises:
        ConfigError: the id is unknown, the constructor refuses an option, or lacks what it needs on this machine.
    """
    try:
        # The passive checker only warns, and costs a check of both spaces on every step.
        return gym.make(env_id, disable_env_checker=True, **env_kwargs)
    except (gym.error.Error, ImportError) as error:
        raise ConfigError(f"expected a registered environment id, got {env_id!r}: {error}") from error
    except (TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
        raise ConfigError(f"expected options that {env_id} accepts, got {dict(env_kwargs)}: {error}") from error
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"expected an environment that can be made on this machine, got {env_id!r}: {error}"
        ) from error


def reset_env(env: TextEnv, seed: int, task_id: str | None = None) -> ResetResult:
    """Reset with `seed`, to the task of that name if there is one, and hold the environment to text.

    Raises:
        EnvironmentContractError: the observation is not a string.
    """
    observation, info = env.reset(seed=seed, options=None if task_id is None else {"task_id": task_id})
    return _text(observation, "reset", env), info


def step_env(env: TextEnv, action: str) -> StepResult:
    """Step once and hold the environment to text.

    Raises:
        EnvironmentContractError: the observation is not a string.
    """
    observation, reward, terminated, truncated, info = env.step(action)
    return _text(observation, "step", env), float(reward), bool(terminated), bool(truncated), info


def collect_texts(env: TextEnv, seeds: Iterable[int]) -> list[str]:
    """Play at random where the environment names admissible commands, and return all text that was seen.

    Args:
        env: any environment of strings; without `info["admissible_commands"]` only first observations are collected.
        seeds: one episode each; each also seeds its own random choices.
    """
    texts: list[str] = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        observation, info = reset_env(env, seed)
        texts.append(observation)
        for _ in range(NUM_TEXT_STEPS):
            commands = info.get("admissible_commands")
            if not commands:
                break
            texts += commands
            observation, _, terminated, truncated, info = step_env(env, str(rng.choice(list(commands))))
            texts.append(observation)
            if terminated or truncated:
                break
    return texts


def is_success(info: Mapping[str, Any], terminated: bool, episode_return: float) -> bool:
    """Read `info["success"]`; where the environment has none, success is an end with a positive return."""
    success = info.get("success")
    if success is None:
        return terminated and episode_return > 0
    return bool(success)


def env_name(env: TextEnv) -> str:
    """Return the id of an environment, or the name of its class where it has none."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def _text(observation: Any, call: str, env: TextEnv) -> str:
    if isinstance(observation, str):
        return observation
    raise EnvironmentContractError(
        f"expected a str observation from {call} of {env_name(env)}, got {type(observation).__name__}"
    )
