"""Environments by name: made, checked and read in the one way that every trainer shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium as gym

from baselines.errors import ConfigError, EnvironmentContractError

TextEnv: TypeAlias = gym.Env[str, str]
EnvKwargs: TypeAlias = Mapping[str, Any]


def make_env(env_id: str, env_kwargs: EnvKwargs) -> TextEnv:
    """Makes one environment, or says in one sentence why it cannot be made.

    Args:
        env_id: an id for `gym.make`; `package:Id-v0` imports the package first.
        env_kwargs: constructor options.

    Raises:
        ConfigError: the id is unknown, or the constructor refuses an option.
    """
    try:
        # The passive checker only warns, and costs a check of both spaces on every step.
        return gym.make(env_id, disable_env_checker=True, **env_kwargs)
    except (gym.error.Error, ImportError) as error:
        raise ConfigError(f"expected a registered environment id, got {env_id!r}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"expected options that {env_id} accepts, got {dict(env_kwargs)}: {error}") from error


def make_envs(env_id: str, env_kwargs: EnvKwargs, num_envs: int) -> list[TextEnv]:
    """Makes `num_envs` equal environments as a plain list, so that only the live ones need to be stepped."""
    return [make_env(env_id, env_kwargs) for _ in range(num_envs)]


def close_envs(envs: Sequence[TextEnv]) -> None:
    """Closes every environment of a list."""
    for env in envs:
        env.close()


def reset_env(env: TextEnv, seed: int) -> tuple[str, dict[str, Any]]:
    """Resets with `seed` and holds the environment to text.

    Raises:
        EnvironmentContractError: the observation is not a string.
    """
    observation, info = env.reset(seed=seed)
    return _text(observation, "reset", env), info


def step_env(env: TextEnv, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
    """Steps once and holds the environment to text.

    Raises:
        EnvironmentContractError: the observation is not a string.
    """
    observation, reward, terminated, truncated, info = env.step(action)
    return _text(observation, "step", env), float(reward), bool(terminated), bool(truncated), info


def is_success(info: Mapping[str, Any], terminated: bool, episode_return: float) -> bool:
    """Reads `info["success"]`; where the environment has none, success is an end with a positive return."""
    success = info.get("success")
    if success is None:
        return terminated and episode_return > 0
    return bool(success)


def _text(observation: Any, call: str, env: TextEnv) -> str:
    if isinstance(observation, str):
        return observation
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    raise EnvironmentContractError(
        f"expected a str observation from {call} of {name}, got {type(observation).__name__}"
    )
