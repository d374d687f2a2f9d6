"""`check_text_env`: the contract of this package's environments as one call, for them and for yours.

It raises AssertionError with a sentence that says what was expected. Run it over every id you register:

    from textagent_gym.testing import check_text_env
    check_text_env("TextWorld-Easy-Dense-v0")
"""

from __future__ import annotations

import pickle
import random
import warnings
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from textagent_gym.agents import ExpertAgent, RandomAgent
from textagent_gym.contract import Info, TaskCard
from textagent_gym.core import TextAgentEnv

STEP_KEYS = {"task_id", "success", "subgoals_done", "subgoals_total", "valid_command", "admissible_commands"}
RESET_KEYS = STEP_KEYS | {"task_card"}

ODD_ACTIONS = ("", " ", "\n", "look\nlook", "look. look", "look then look", "\x00\x1b[31m", "é 你好 🎲", "x" * 100_000,
               "save", "restart", "quit", "undo", "tw-extra-infos score", "<action>look</action>")  # fmt: skip
"""Actions that a model may send; each must be answered by an observation."""


def check_text_env(env_id: str, *, seeds: tuple[int, ...] = (0, 1), **kwargs: Any) -> None:
    """Check that `gym.make(env_id, **kwargs)` keeps the contract of `textagent_gym.core`.

    Args:
        env_id: A registered id.
        seeds: Seeds of the episodes that are played; each is played several times.
        **kwargs: Constructor options.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    _check_gymnasium(env_id, kwargs)
    _check_spec(env_id, kwargs)
    for seed in seeds:
        _check_expert(env_id, seed, kwargs)
        _check_repeatable(env_id, seed, kwargs)
    _check_odd_actions(env_id, seeds[0], kwargs)
    _check_bad_use(env_id, seeds[0], kwargs)


def play(env: gym.Env[str, str], agent: ExpertAgent | RandomAgent, seed: int, max_steps: int = 10_000) -> list[Any]:
    """Play one episode and return all (observation, reward, terminated, truncated, info), that of the reset first."""
    observation, info = env.reset(seed=seed)
    agent.reset(info, seed)
    seen: list[Any] = [(observation, 0.0, False, False, info)]
    for _ in range(max_steps):
        seen.append(env.step(agent.act(observation, info)))
        observation, _, terminated, truncated, info = seen[-1]
        if terminated or truncated:
            break
    return seen


def _check_gymnasium(env_id: str, kwargs: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(env_id, render_mode="ansi", **kwargs)
        check_env(env.unwrapped, skip_render_check=False)
        env.close()


def _check_spec(env_id: str, kwargs: dict[str, Any]) -> None:
    env = gym.make(env_id, **kwargs)
    spec = env.spec
    _expect(spec is not None, "a spec", spec)
    again = EnvSpec.from_json(cast(EnvSpec, spec).to_json())
    _expect(again.kwargs == cast(EnvSpec, spec).kwargs, "kwargs that survive EnvSpec.to_json", again.kwargs)
    _expect(pickle.loads(pickle.dumps(spec)) == spec, "a spec that survives pickling", spec)
    env.close()


def _check_expert(env_id: str, seed: int, kwargs: dict[str, Any]) -> None:
    env = gym.make(env_id, **{**kwargs, "expose_solution": True})
    seen = play(env, ExpertAgent(), seed)
    card = cast(TaskCard, seen[0][4]["task_card"])
    _check_info(seen[0][4], RESET_KEYS | {"solution"})
    for step in seen[1:]:
        _check_info(step[4], STEP_KEYS)
    total = sum(step[1] for step in seen)
    _, _, terminated, truncated, info = seen[-1]
    _expect(terminated and not truncated, "the expert's episode to terminate", (terminated, truncated))
    _expect(info["success"], "the expert to succeed", info)
    if cast(TextAgentEnv, env.unwrapped).reward_scale == "unit":
        _expect(abs(total - 1) < 1e-9, "the expert's return to be 1", total)
    num_played = sum(step[4]["valid_command"] for step in seen[1:])  # others failed by chance (`fault_rate`)
    _expect(num_played == card["solution_length"], "as many commands played as the solution has", num_played)
    _expect(card["max_steps"] >= card["solution_length"], "a budget that the solution fits", card)
    env.close()


def _check_repeatable(env_id: str, seed: int, kwargs: dict[str, Any]) -> None:
    """Check that the same seed gives the same bytes in a second environment and leaves the global generators alone."""
    before = _global_generators()
    first, second = gym.make(env_id, **kwargs), gym.make(env_id, **kwargs)
    one = play(first, RandomAgent(action_space=first.action_space), seed)
    again = play(second, RandomAgent(action_space=second.action_space), seed)
    _expect(one == again, "the same episode from the same seed", env_id)
    again = play(first, RandomAgent(action_space=first.action_space), seed)
    _expect(one == again, "the same episode from a used environment", env_id)
    after = _global_generators()
    _expect(before == after, "the global random generators untouched", env_id)
    task_id = one[0][4]["task_id"]
    _, info = second.reset(options={"task_id": task_id})
    _expect(info["task_id"] == task_id, f"task {task_id!r} from reset options", info["task_id"])
    for env in (first, second):
        env.close()


def _global_generators() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002


def _check_odd_actions(env_id: str, seed: int, kwargs: dict[str, Any]) -> None:
    env = gym.make(env_id, **{**kwargs, "max_steps": len(ODD_ACTIONS) + 1})
    env.reset(seed=seed)
    for action in ODD_ACTIONS:
        observation, reward, terminated, truncated, info = env.step(action)
        _expect(isinstance(observation, str) and observation != "", "an observation", observation)
        _expect(isinstance(reward, float), "a reward of type float", reward)
        _expect(not (terminated or truncated), f"the episode to go on after {action!r:.40}", (terminated, truncated))
        _check_info(info, STEP_KEYS)
    env.close()


def _check_bad_use(env_id: str, seed: int, kwargs: dict[str, Any]) -> None:
    env = gym.make(env_id, **{**kwargs, "max_steps": 1})
    _expect_raises(ResetNeeded, lambda: env.step("look"), "step before reset")
    env.reset(seed=seed)
    _expect_raises(TypeError, lambda: env.step(cast(str, 3)), "an action that is no string")
    env.step("look")
    _expect_raises(ResetNeeded, lambda: env.step("look"), "step after the end")
    _expect_raises(ValueError, lambda: env.reset(options={"task_id": "no such task"}), "an unknown task_id")
    _expect_raises(TypeError, lambda: gym.make(env_id, **{**kwargs, "no_such_option": 1}), "an unknown option")
    env.close()


def _check_info(info: dict[str, Any], keys: set[str]) -> None:
    _expect(set(info) == keys, f"info with the keys {sorted(keys)}", sorted(info))
    known = set(Info.__annotations__)
    _expect(set(info) <= known, f"info keys among {sorted(known)}", sorted(info))
    done, total = info["subgoals_done"], info["subgoals_total"]
    _expect(0 <= done <= total and total >= 1, "subgoals_done in [0, subgoals_total]", (done, total))
    _expect((done == total) == info["success"], "all sub-goals done if and only if success", info)
    commands = info["admissible_commands"]
    _expect(commands is None or list(commands) == sorted(set(commands)), "sorted admissible commands", commands)


def _expect(held: object, expected: str, got: object) -> None:
    if not held:
        raise AssertionError(f"expected {expected}, got {got!r:.400}")


def _expect_raises(error: type[Exception], call: Any, what: str) -> None:
    try:
        call()
    except error:
        return
    raise AssertionError(f"expected {error.__name__} for {what}, got none")
