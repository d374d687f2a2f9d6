"""The lines for other frameworks on the page "Referee your results", run over stand-ins of what these call."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from benchmarks.runs.imported import read_lines
from tests.support.blocks import blocks

PAGE = (Path(__file__).parents[2] / "docs" / "referee.md").read_text(encoding="utf-8")
TASKS = ["/data/json_2.1.1/valid_seen/a/t/game.tw-pddl", "/data/json_2.1.1/valid_seen/b/t/game.tw-pddl"]


def recorded(base: str, **names: Any) -> tuple[Any, io.StringIO]:
    """Return the class of the block that extends `base`, and what it prints into."""
    (block,) = (block for block in blocks(PAGE, "py") if f"({base})" in block)
    out = io.StringIO()
    space: dict[str, Any] = {"json": json, "out": out, **names}
    exec(compile(block, f"<{base}>", "exec"), space)
    return space["Recorded"], out


def test_verl_agent_in_a_batch_whose_games_end_at_different_steps() -> None:
    class AlfWorldEnvironmentManager:
        gamefile = TASKS
        envs = types.SimpleNamespace(get_admissible_commands=[["look"]] * 2)

        def projection_f(self, texts: list[str], _: Any) -> tuple[list[str], list[int]]:
            for place, text in enumerate(texts):  # as verl-agent does, in place
                texts[place] = text.removeprefix("<action>").removesuffix("</action>")
            return texts, [1] * len(texts)

        def reset(self, kwargs: Any) -> tuple[dict[str, Any], list[Any]]:
            self.steps = 0
            return {}, []

        def step(self, texts: list[str]) -> tuple[Any, ...]:
            assert all(text.startswith("<action>") for text in texts)
            self.steps += 1
            return {}, [0.0] * 2, [self.steps == 1, self.steps == 3], [{}, {}]

    kind, _ = recorded("AlfWorldEnvironmentManager", AlfWorldEnvironmentManager=AlfWorldEnvironmentManager)
    manager = kind()
    manager.reset({})
    for number in range(3):
        manager.step([f"<action>look {number}</action>", f"<action>go {number}</action>"])
    assert manager.lines == [
        {"task": TASKS[0], "actions": ["look 0"]},
        {"task": TASKS[1], "actions": ["go 0", "go 1", "go 2"]},
    ]


class OneGame:
    """Ends after two actions."""

    current_game_file = TASKS[0]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.left = 2
        self._episode = types.SimpleNamespace(over=False)

    def reset(self, *args: Any, **kwargs: Any) -> str:
        return "a room"

    def step(self, action: str) -> Any:
        self.left -= 1
        return ("", 0.0, self.left == 0, {}) if not self.as_dict else {"done": self.left == 0}

    def act(self, action: str) -> str:
        self.left -= 1
        self._episode.over = self.left <= 0
        return "said"

    as_dict = False


def lines_of(out: io.StringIO, tmp_path: Path) -> list[tuple[str, tuple[str, ...]]]:
    (tmp_path / "actions.jsonl").write_text(out.getvalue())
    return [(line.task, line.actions) for line in read_lines(tmp_path / "actions.jsonl")]


def test_ragen(tmp_path: Path) -> None:
    kind, out = recorded("AlfredTXTEnv", AlfredTXTEnv=OneGame)
    env = kind()
    env.reset()
    for action in ("look", "inventory"):
        env.step(action)
    assert lines_of(out, tmp_path) == [(TASKS[0], ("look", "inventory"))]


def test_skyrl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("textagent_gym.interop.skyrl")
    module.GymTextEnv = type("GymTextEnv", (OneGame,), {"as_dict": True})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "textagent_gym.interop.skyrl", module)
    kind, out = recorded("GymTextEnv")
    env = kind(None, {"task_id": "valid_seen/a/t", "seed": 0}, env_id="x")
    for action in ("look", "inventory"):
        env.step(action)
    assert lines_of(out, tmp_path) == [("valid_seen/a/t", ("look", "inventory"))]


def test_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("textagent_gym.interop.trl")
    module.TextEnvironment = OneGame  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "textagent_gym.interop.trl", module)
    env = recorded("TextEnvironment")[0]("x", {})
    env.reset(seed=0, task_id="valid_seen/a/t")
    for action in ("look", "inventory", "look"):
        env.act(action)
    assert env.line == {"task": "valid_seen/a/t", "actions": ["look", "inventory"]}
