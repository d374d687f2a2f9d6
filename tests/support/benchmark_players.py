"""Agents of one's own, as `python:tests.support.benchmark_players:CLASS` names them."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.runs.records import Usage


class Silent:
    """Never emits a command."""

    def reset(self, info: dict[str, Any], seed: int) -> None:
        self.seed = seed

    def act(self, observation: str, info: dict[str, Any]) -> str:
        return ""


class Last:
    """Plays the last command of the list, which it must have been given."""

    def reset(self, info: dict[str, Any], seed: int) -> None:
        assert set(info) == {"admissible_commands"}

    def act(self, observation: str, info: dict[str, Any]) -> str:
        assert set(info) == {"admissible_commands"}
        return str(info["admissible_commands"][-1])


class Blind:
    """Must be given nothing but text."""

    def __init__(self, word: str = "look") -> None:
        self.word = word

    def reset(self, info: dict[str, Any], seed: int) -> None:
        assert info == {}

    def act(self, observation: str, info: dict[str, Any]) -> str:
        assert info == {}
        assert "Admissible commands" not in observation
        return self.word


class Moody:
    """Raises in the episodes whose seed is even, until it is calmed."""

    def __init__(self, calm: bool = False) -> None:
        self.calm = calm

    def reset(self, info: dict[str, Any], seed: int) -> None:
        if seed % 2 == 0 and not self.calm:
            raise RuntimeError("not today")

    def act(self, observation: str, info: dict[str, Any]) -> str:
        return "look"


class Wordless:
    """Has no method `act`."""

    def reset(self, info: dict[str, Any], seed: int) -> None:
        """Nothing to do."""


class Quitter:
    """Wants to end the whole program."""

    def reset(self, info: dict[str, Any], seed: int) -> None:
        raise SystemExit(0)

    def act(self, observation: str, info: dict[str, Any]) -> str:
        return "look"


class Miscounter:
    """Tells tokens that no line can hold."""

    usage = Usage(prompt_tokens=1.5)  # type: ignore[arg-type]

    def reset(self, info: dict[str, Any], seed: int) -> None:
        """Nothing to do."""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        return "look"


class Sleeper:
    """Falls asleep in the episodes whose seed is even, and holds on to its sleep."""

    def reset(self, info: dict[str, Any], seed: int) -> None:
        self.asleep = seed % 2 == 0

    def act(self, observation: str, info: dict[str, Any]) -> str:
        try:
            while self.asleep:
                time.sleep(60)
        except Exception:
            time.sleep(60)
        return "look"
