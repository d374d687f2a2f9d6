"""Curricula that are written down: environments in order, and for each the condition that ends it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baselines.errors import ConfigError

NAMED_CURRICULA = ("none", "fixed", "adaptive")
"""Curricula of the ids of `also`, which need no file."""

_KEYS = {"env_id", "env_kwargs", "until"}


@dataclass(frozen=True)
class SuccessCondition:
    """Success that ends a stage.

    Attributes:
        success: share of an iteration's training episodes that must succeed, and more, in [0, 1).
        iterations: iterations in a row of which that must hold.
    """

    success: float
    iterations: int


@dataclass(frozen=True)
class Stage:
    """One stage of a curriculum.

    Attributes:
        env_id: environment; None for that of the run.
        env_kwargs: constructor options, laid over those of the run, `max_steps` included.
        until: iterations of the run after which the next stage follows, or the success that it follows; None for the last.
    """

    env_id: str | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    until: int | SuccessCondition | None = None


def read_curriculum(text: str) -> str | list[dict[str, Any]]:
    """Return a named curriculum as it is, and the stages in the file that any other text names.

    Raises:
        ConfigError: there is no such file, or it is not JSON.
    """
    if text in NAMED_CURRICULA:
        return text
    try:
        stages: list[dict[str, Any]] = json.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"expected curriculum to be {', '.join(NAMED_CURRICULA)} or a JSON file of stages, got {text!r}: {error}"
        ) from error
    parse_stages(stages)
    return stages


def parse_stages(entries: object) -> tuple[Stage, ...]:
    """Return the stages of a curriculum.

    Args:
        entries: objects with the keys `env_id`, `env_kwargs`, `until`, each of which may be missing; `until` stands in
            all but the last, as a number of iterations or as `{"success": share, "iterations": count}`.

    Raises:
        ConfigError: they are anything else; the message names the stage.
    """
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"expected a curriculum to be a list of stages, got {entries!r:.80}")
    stages = tuple(_parse_stage(entry, f"stage {number}") for number, entry in enumerate(entries, start=1))
    last_boundary = 0
    for number, stage in enumerate(stages, start=1):
        if (stage.until is None) != (number == len(stages)):
            wanted = "no until in the last stage" if stage.until is not None else f"an until in stage {number}"
            raise ConfigError(f"expected {wanted}, which says when the next one follows, got {stage.until}")
        if isinstance(stage.until, int):
            if stage.until <= last_boundary:
                raise ConfigError(f"expected until > {last_boundary} in stage {number}, got {stage.until}")
            last_boundary = stage.until
    return stages


def _parse_stage(entry: object, where: str) -> Stage:
    if not isinstance(entry, dict) or not entry.keys() <= _KEYS:
        raise ConfigError(
            f"expected {where} to be an object with keys among env_id, env_kwargs, until, got {entry!r:.120}"
        )
    env_id, env_kwargs, until = entry.get("env_id"), entry.get("env_kwargs", {}), entry.get("until")
    if env_id is not None and not isinstance(env_id, str):
        raise ConfigError(f"expected env_id of {where} to be a string, got {env_id!r:.80}")
    if not isinstance(env_kwargs, dict):
        raise ConfigError(f"expected env_kwargs of {where} to be an object, got {env_kwargs!r:.80}")
    if isinstance(until, dict) and until.keys() == {"success", "iterations"}:
        success, iterations = until["success"], until["iterations"]
        if not _is_number(success, (int, float)) or not 0 <= success < 1:
            raise ConfigError(f"expected success of {where} to be a number in [0, 1), got {success!r:.80}")
        if not _is_number(iterations, int) or iterations < 1:
            raise ConfigError(f"expected iterations of {where} to be an integer >= 1, got {iterations!r:.80}")
        return Stage(env_id, env_kwargs, SuccessCondition(float(success), iterations))
    if until is not None and not _is_number(until, int):
        raise ConfigError(
            f'expected until of {where} to be a number of iterations or {{"success": share, "iterations": count}}, '
            f"got {until!r:.80}"
        )
    return Stage(env_id, env_kwargs, until)


def _is_number(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
