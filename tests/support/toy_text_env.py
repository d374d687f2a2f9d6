"""A text environment that no trainer has heard of: errands, each done by naming the object that was asked for.

"Bring the lamp." - `bring the lamp` - "Thank you. Bring the coin." - and so on for three orders in at most six steps;
each order pays a third. Observations and actions are strings and nothing else; importing this module registers
`ToyErrands-v0`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

TOY = "tests.support.toy_text_env:ToyErrands-v0"
"""The id, as a trainer is given it: the package is imported first."""

OBJECTS = ("lamp", "coin", "rope", "book", "bell", "drum", "vase", "boot")


class ToyErrands(gym.Env[str, str]):
    """Fetches three objects in order.

    Args:
        num_orders: objects to fetch, 1 to 8.
        max_steps: steps until truncation.
        expose_solution: put the winning commands into `info["solution"]` at reset.
        fail_at: raise on this step of every episode, counted from 1 (0: never; -1: at reset).
        healthy_after: only instances whose number, counted in `num_made` from 1, is at most this fail (0: all fail).
        num_tasks: tasks of a finite list, named in `task_ids`, from which seeds draw (0: drawn without end).
        name_types: name a type of task, the first object, in the task card at reset.
    """

    num_made = 0
    num_closed = 0

    def __init__(
        self,
        num_orders: int = 3,
        max_steps: int = 6,
        expose_solution: bool = False,
        split: str = "train",
        fail_at: int = 0,
        healthy_after: int = 0,
        num_tasks: int = 0,
        name_types: bool = False,
    ) -> None:
        if split not in ("train", "test"):
            raise ValueError(f"expected split 'train' or 'test', got {split!r}")
        self.observation_space = spaces.Text(10_000)
        self.action_space = spaces.Text(10_000)
        ToyErrands.num_made += 1
        fails = healthy_after == 0 or ToyErrands.num_made <= healthy_after
        self._fail_at = fail_at if fails else 0
        rng = np.random.default_rng(0)
        drawn = ("-".join(OBJECTS[index] for index in rng.permutation(len(OBJECTS))[:num_orders]) for _ in iter(int, 1))
        names: dict[str, None] = {}
        while len(names) < num_tasks:
            names[next(drawn)] = None
        self.task_ids = tuple(names) or None
        self._num_orders, self._max_steps, self._expose = num_orders, max_steps, expose_solution
        self._name_types = name_types

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Draw the orders from `seed`."""
        super().reset(seed=seed)
        if self._fail_at == -1:
            raise RuntimeError("the toy was made to fail")
        if self.task_ids is None:
            chosen = self.np_random.permutation(len(OBJECTS))[: self._num_orders]
            self._orders = [OBJECTS[index] for index in chosen]
        else:
            drawn = self.task_ids[int(self.np_random.integers(len(self.task_ids)))]
            self._orders = (options or {}).get("task_id", drawn).split("-")
        self._done = self._steps = 0
        info = self._info()
        info["task_id"] = "-".join(self._orders)
        if self._name_types:
            info["task_card"] = {"details": {"task_type": self._orders[0]}}
        if self._expose:
            info["solution"] = tuple(f"bring the {name}" for name in self._orders)
        return f"Bring the {self._orders[0]}.", info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Pay 1 / num_orders for the order that is due."""
        if not isinstance(action, str):
            raise TypeError(f"expected a str action, got {type(action).__name__}")
        self._steps += 1
        if self._steps == self._fail_at:
            raise RuntimeError("the toy was made to fail")
        right = action == f"bring the {self._orders[self._done]}"
        self._done += right
        terminated = self._done == len(self._orders)
        truncated = self._steps >= self._max_steps and not terminated
        text = "Thank you." if right else "No."
        if not terminated:
            text += f" Bring the {self._orders[self._done]}."
        return text, float(right) / len(self._orders), terminated, truncated, self._info()

    def close(self) -> None:
        """Count; an instance that fails does so here too."""
        ToyErrands.num_closed += 1
        if self._fail_at:
            raise RuntimeError("the toy was made to fail in close, too")

    def _info(self) -> dict[str, Any]:
        commands = tuple(sorted(f"bring the {name}" for name in OBJECTS))
        return {"success": self._done == len(self._orders), "admissible_commands": commands}


gym.register("ToyErrands-v0", entry_point="tests.support.toy_text_env:ToyErrands", disable_env_checker=True)
