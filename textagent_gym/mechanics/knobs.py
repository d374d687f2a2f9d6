"""The four knobs that every domain has: what is asked for, and what may be asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """A request for a task's difficulty; what a task really has is measured and stands in its task card.

    Attributes:
        state_space_size: Places: rooms (TextWorld), receptacles (ALFWorld), source files (SWEGym).
        action_space_size: Things to act on: objects (TextWorld), portable objects (ALFWorld), tools (SWEGym).
        solution_length: Steps of the reference solution (SWEGym: edits of the reference fix).
        reward_density: Share of the sub-goals that pay when reached, in [0, 1]; 0 pays success alone.
    """

    state_space_size: int
    action_space_size: int
    solution_length: int
    reward_density: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "reward_density":
                check_number(field.name, value, 0, 1)
            else:
                check_integer(field.name, value, low=1)

    def within(self, **ranges: tuple[int, int]) -> Knobs:
        """Return these knobs, once each one named in `ranges` is known to lie in its (low, high), both inclusive."""
        for name, (low, high) in ranges.items():
            check_integer(name, getattr(self, name), low, high)
        return self


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise TypeError unless `value` is an integer, ValueError unless it is in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected {name} to be an integer, got {value!r}")
    if value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"expected {name} {wanted}, got {value}")


def check_number(name: str, value: Any, low: float, high: float | None = None) -> None:
    """Raise TypeError unless `value` is a number, ValueError unless it is in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected {name} to be a number, got {value!r}")
    if not (value >= low and (high is None or value <= high)):
        wanted = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"expected {name} {wanted}, got {value}")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"expected {name} to be one of {', '.join(map(repr, choices))}, got {value!r}")
