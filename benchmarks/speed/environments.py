"""Speed of the environments and of their references, as a page: `textagent-gym bench --json`, one process per id.

    python -m benchmarks speed --measure     measures on this machine, and renders docs/speed.md
    python -m benchmarks speed               renders what was measured last

One process measures steps, resets and memory of the environments alone. Another plays the same games and commands in turn in
an environment and its reference. The measurements are kept in `results/speed.json`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import tyro
from tqdm import tqdm

from baselines.errors import BaselinesError
from baselines.runs.files import write_whole
from benchmarks.leaderboard.entries import RESULTS

Row: TypeAlias = dict[str, Any]

TIERS = ("Easy", "Medium", "Hard", "Extreme")

REFERENCES = {"TextWorld": "inform7", "ALFWorld": "alfworld", "SWEGym": "swerex"}
"""Domain -> what it is measured against, where that is installed."""

FALLBACK = {"swerex": "subprocess"}
"""Replacement for a reference that is not installed."""

TITLES = {
    "TextWorld": "TextWorld, against the interpreter of the textworld package",
    "ALFWorld": "ALFWorld, against the alfworld package",
    "SWEGym": "SWEGym, against a plain subprocess and the local runtime of swe-rex",
}

NOTES = {
    "TextWorld": "A state that is met for the first time costs a search for the steps that remain; in Hard and Extreme "
    "worlds that takes most of the time of a short measurement ([TextWorld](textworld.md)).",
}

PLAYED = {
    "id": "env_id",
    "steps/s": "steps_per_s",
    "theirs": "reference_steps_per_s",
    "ratio": "ratio",
    "reset, drawn (ms)": "reset_ms",
    "cached": "again_ms",
    "theirs (ms)": "reference_reset_ms",
    "memory (MB)": "memory_mb",
}

REPAIRED = {
    "id": "env_id",
    "first reset (ms)": "first_reset_ms",
    "reset": "reset_ms",
    "shell command (ms)": "shell_ms",
    "plain subprocess": "subprocess_ms",
    "swe-rex": "swerex_ms",
    "graded step (ms)": "graded_ms",
    "verdict remembered": "again_ms",
}


class SpeedError(BaselinesError):
    """Nothing was measured, or a measurement failed."""


@dataclass(frozen=True)
class Config:
    """Options of the page."""

    measure: bool = False
    """Measure on this machine first; some minutes, and run nothing else meanwhile."""
    steps: int = 1_000
    """Steps to time per id."""
    tasks: int = 5
    """Tasks to draw per id."""
    results: Path | None = None
    """File of the measurements; by default that of this repository."""
    docs: Path = Path("docs/speed.md")
    """The page."""


def measure(steps: int, tasks: int) -> dict[str, Any]:
    """Measure all domains and tiers, each in a separate process.

    Raises:
        SpeedError: a measurement failed; what it said is in the message.
    """
    machine = ""
    domains: dict[str, list[Row]] = {domain: [] for domain in REFERENCES}
    for env_id, reference in tqdm(ids(), unit="id", disable=None, file=sys.stderr):
        domain = env_id.partition("-")[0]
        row: Row = {}
        if domain != "SWEGym":
            row |= bench(env_id, steps, tasks)["results"][0]
        measured = bench(env_id, steps, tasks, reference)
        domains[domain].append(row | measured["results"][0])
        machine = measured["machine"]
    return {"machine": machine, "steps": steps, "tasks": tasks, "domains": domains}


def ids() -> list[tuple[str, str]]:
    """Return every id that is measured, with its reference."""
    return [(f"{domain}-{tier}-Dense-v0", reference) for domain, reference in REFERENCES.items() for tier in TIERS]


def bench(env_id: str, steps: int, tasks: int, reference: str | None = None) -> dict[str, Any]:
    """Return the output of `textagent-gym bench --json` for one id; the fallback's if the reference is not installed.

    Raises:
        SpeedError: it failed.
    """
    start = [sys.executable, "-c", "from textagent_gym.cli import main; main()"]
    options = ["--steps", str(steps), "--tasks", str(tasks), *(["--against", reference] if reference else [])]
    run = subprocess.run([*start, "bench", env_id, "--json", *options], capture_output=True, text=True, check=False)
    if run.returncode:
        if reference in FALLBACK:
            return bench(env_id, steps, tasks, FALLBACK[reference])
        reason = run.stderr.strip().split("\n")[-1]
        raise SpeedError(f"expected a measurement of {env_id}, got: {reason}")
    measured: dict[str, Any] = json.loads(run.stdout)
    return measured


def render(data: dict[str, Any]) -> str:
    """Return the page, from what was measured."""
    lines = [
        "# Speed",
        "",
        "<!-- Made by `python -m benchmarks speed` from what was measured; edit the code, not this page. -->",
        "",
        f"Measured in one go with `python -m benchmarks speed --measure --steps {data['steps']} --tasks {data['tasks']}` "
        f"on: {data['machine']}. Random play; rewards and admissible commands included on this side, commands only on the "
        "other. A ratio compares two engines that took turns in one process, on the same games and the same commands.",
    ]
    for domain, rows in data["domains"].items():
        columns = REPAIRED if domain == "SWEGym" else PLAYED
        lines += ["", f"## {TITLES[domain]}", ""]
        lines += [NOTES[domain], ""] if domain in NOTES else []
        lines += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        lines += [f"| {' | '.join(cell(row, key) for key in columns.values())} |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(row: Row, key: str) -> str:
    """Return a figure as the page shows it; a dash where nothing was measured."""
    value = row.get(key)
    if value is None:
        return "\u2013"
    if isinstance(value, str):
        return f"`{value}`"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Measure if asked to, and renders the page."""
    config = tyro.cli(Config, description=__doc__)
    path = config.results or RESULTS / "speed.json"
    try:
        if config.measure:
            write_whole(path, json.dumps(measure(config.steps, config.tasks), indent=2) + "\n")
        if not path.exists():
            raise SpeedError("expected something that was measured before, got nothing: measure it with --measure")
        write_whole(config.docs, render(json.loads(path.read_text(encoding="utf-8"))))
    except BaselinesError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
