"""ALFWorld's own hand-coded expert (`alfworld.agents.expert`), which reads facts of the state that no agent is shown.

The package gives it the game through `traj_data.json` and an engine of its own; here it is given the same task, facts, texts
and commands by the native engine, which is many times faster. Its random choices come from the seed of the episode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from baselines.errors import ConfigError
from baselines.sampling.environments import TextEnv
from textagent_gym.envs.alfworld.engine import NativeEngine
from textagent_gym.envs.alfworld.env import ALFWorldEnv
from textagent_gym.envs.packages import import_alfworld, undisturbed

MAX_STEPS = 200
"""Steps after which it gives up, as in ALFWorld's `AlfredExpert`."""

PREDICATES = ("holds", "inreceptacle", "ishot", "iscool", "isclean")
"""Facts that it reads."""


class HandCodedExpert:
    """Plays as the `extra.expert_plan` of ALFWorld says: "look" first, and wherever it knows no admissible command.

    Args:
        env: an ALFWorld environment of real games.

    Raises:
        ConfigError: the environment is another one, or the package alfworld is missing.
    """

    def __init__(self, env: TextEnv) -> None:
        unwrapped = env.unwrapped
        if not isinstance(unwrapped, ALFWorldEnv) or unwrapped.task_ids is None:
            raise ConfigError(f"expected real games of ALFWorld for the agent handcoded, got {env}")
        self._env = unwrapped
        self._engine = NativeEngine()
        try:
            self._expert = import_alfworld().HandCodedTWAgent(max_steps=MAX_STEPS)
        except DependencyNotInstalled as error:
            raise ConfigError(f"expected the package alfworld for the agent handcoded: {error}") from error

    def reset(self, info: dict[str, Any], seed: int) -> None:
        """Start the game of the environment; all randomness comes from `seed`."""
        task = self._env.task
        kind, thing, within, target, _ = task.task_id.split("/")[1].rsplit("-", 4)
        targets = {"object_target": thing, "mrecep_target": within, "parent_target": target, "toggle_target": target}
        expert = self._expert
        expert.task_params = {**{name: value.lower() for name, value in targets.items()}, "task_type": kind}
        expert.policy = expert.get_task_policy(expert.task_params)(expert.task_params, max_steps=MAX_STEPS)
        self._engine.load(task)
        self._rng = np.random.default_rng(seed)
        self._last = ""
        expert.observe(self._engine.reset().text)

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Return the expert's command, whatever the agent sees."""
        if not self._last:
            self._last = "look"
            return self._last
        reply = self._engine.step(self._last)
        commands = list(reply.admissible or ())
        state = {"feedback": reply.text, "admissible_commands": commands, "facts": self._facts()}
        try:
            with self._drawing():
                command = self._expert.act(state, 0, False, self._last)
        except (NameError, LookupError):  # its own errors are NameErrors; its heuristics run out of places to look
            command = "look"
        self._last = command if command in commands else "look"
        return self._last

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Let the package draw from this agent's generator instead of Python's global one."""
        module = import_module("alfworld.agents.expert.handcoded_expert")
        with undisturbed():
            before = module.random
            module.random = SimpleNamespace(choice=self._choose)  # type: ignore[attr-defined]
            try:
                yield
            finally:
                module.random = before  # type: ignore[attr-defined]

    def _choose(self, items: Sequence[str]) -> str:
        return items[int(self._rng.integers(len(items)))]

    def _facts(self) -> list[SimpleNamespace]:
        game = self._env.task.game
        assert game is not None
        return [
            SimpleNamespace(name=predicate, names=[game.names.get(thing, "agent") for thing in row])
            for predicate in PREDICATES
            for row in sorted(self._engine.state.rows(predicate))
        ]
