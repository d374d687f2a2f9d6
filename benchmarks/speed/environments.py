"""Speed of the environments and of their references, as a page: `textagent-gym bench --json`, one process per id.

    python -m benchmarks speed --measure     measures on this machine, and renders docs/speed.md
    python -m benchmarks speed               renders what was measured last
    python -m benchmarks speed --check       compares counts of work with the committed ones, without a clock

One process measures steps, resets and memory of the environments alone. Another plays the same games and commands in turn in
an environment and its reference. The measurements are kept in `results/speed.json`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from tqdm import tqdm

from baselines.config.settings import check_at_least
from baselines.errors import BaselinesError
from baselines.runs.files import write_whole
from benchmarks.leaderboard.entries import RESULTS
from benchmarks.speed.work import COUNTS, IDS, count, excess

Row: TypeAlias = dict[str, Any]

TIERS = ("Easy", "Medium", "Hard", "Extreme")

Domain: TypeAlias = Literal["TextWorld", "ALFWorld", "SWEGym"]

REFERENCES: dict[Domain, str] = {"TextWorld": "inform7", "ALFWorld": "alfworld", "SWEGym": "swerex"}
"""Domain -> what it is measured against, where that is installed."""

FALLBACK = {"swerex": "subprocess"}
"""Replacement for a reference that is not installed."""

TITLES = {
    "TextWorld": "TextWorld, against the interpreter of the textworld package",
    "ALFWorld": "ALFWorld, against the alfworld package",
    "SWEGym": "SWEGym, against a plain subprocess and the local runtime of swe-rex",
}

NOTES = {
    "TextWorld": "steps/s: the first 40 steps of games that are new to the process; warm: the same steps again. New games "
    "are in the cache folder. The difference between the two is the search for the number of remaining steps in new states, "
    "which is half of the time of a step in Extreme games.",
    "ALFWorld": "steps/s: the first 12 steps of games that are new to the process; warm: the same steps again. The row of "
    "`ALFWorld-v0` has real games of `valid_unseen`. The planner takes most of the time in Hard and Extreme games.",
    "SWEGym": "Wall-clock times, medians. A graded step has an edit and all that decides on it: the tests by pytest in a "
    "sandbox, with copies that must pass or fail, and those that pass once more by a second runner in a sandbox of its own. "
    "Tests alone: the same test files by plain pytest in a subprocess, with all bugs repaired; pytest alone: with a file "
    "that has no tests. First reset: of a task that this machine has prepared before. To prepare one runs its tests many "
    "times, which takes seconds, and minutes for the largest project.",
}

REAL = "ALFWorld-v0"
"""The id of ALFWorld's real games, which are measured where `ALFWORLD_DATA` names them."""

PLAYED = {
    "id": "env_id",
    "steps/s": "steps_per_s",
    "warm": "warm_steps_per_s",
    "theirs": "reference_steps_per_s",
    "ratio": "ratio",
    "lowest": "ratio_min",
    "highest": "ratio_max",
    "reset, new (ms)": "reset_ms",
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
    "tests alone": "tests_ms",
    "pytest alone": "pytest_ms",
    "verdict remembered": "again_ms",
}


class SpeedError(BaselinesError):
    """Nothing was measured, or a measurement failed."""


@dataclass(frozen=True)
class Config:
    """Options of the page."""

    check: bool = False
    """Compare the states that planners expand with the committed counts; takes no time on a clock into account."""
    count: bool = False
    """Count the states that planners expand, and write the counts down."""
    measure: bool = False
    """Measure on this machine first; some minutes, and run nothing else meanwhile."""
    steps: int = 400
    """Steps to time per id and process."""
    tasks: int = 5
    """Tasks to draw per id where there is no reference of steps."""
    runs: int = 5
    """Processes per id."""
    domains: tuple[Domain, ...] = get_args(Domain)
    """Domains to measure."""
    results: Path | None = None
    """File of the measurements; by default that of this repository."""
    docs: Path = Path("docs/speed.md")
    """The page."""


def measure(domain: Domain, steps: int, tasks: int, runs: int) -> dict[str, Any]:
    """Measure all tiers of a domain, each run in a process of its own.

    Raises:
        SpeedError: a measurement failed; what it said is in the message.
    """
    rows: list[Row] = []
    machine = ""
    for env_id, reference in tqdm(ids(domain), unit="id", disable=None, file=sys.stderr):
        kwargs = {"split": "valid_unseen"} if env_id == REAL else {}
        measured = [bench(env_id, steps, tasks, reference, kwargs) for _ in range(runs)]
        row = summary([run["results"][0] for run in measured])
        if domain != "SWEGym":
            row["memory_mb"] = bench(env_id, steps, tasks, None, kwargs)["results"][0]["memory_mb"]
        rows.append(row)
        machine = measured[0]["machine"]
    command = f"python -m benchmarks speed --measure --domains {domain} --steps {steps} --tasks {tasks} --runs {runs}"
    return {"machine": machine, "command": command, "rows": rows}


def summary(rows: list[Row]) -> Row:
    """Return the median of every figure, and the lowest and highest ratio."""
    row: Row = {
        key: value if isinstance(value, str) else statistics.median(row[key] for row in rows if key in row)
        for key, value in rows[0].items()
    }
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    return row | ({"ratio_min": min(ratios), "ratio_max": max(ratios)} if ratios else {})


def ids(domain: Domain) -> list[tuple[str, str]]:
    """Return every id of a domain that is measured, with its reference."""
    found = [f"{domain}-{tier}-Dense-v0" for tier in TIERS]
    if domain == "ALFWorld" and "ALFWORLD_DATA" in os.environ:
        found.append(REAL)
    return [(env_id, REFERENCES[domain]) for env_id in found]


def bench(
    env_id: str, steps: int, tasks: int, reference: str | None = None, env_kwargs: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the output of `textagent-gym bench --json` for one id; the fallback's if the reference is not installed.

    Raises:
        SpeedError: it failed.
    """
    start = [sys.executable, "-c", "from textagent_gym.cli import main; main()"]
    options = ["--steps", str(steps), "--tasks", str(tasks), *(["--against", reference] if reference else [])]
    options += ["--env-kwargs", json.dumps(env_kwargs)] if env_kwargs else []
    run = subprocess.run([*start, "bench", env_id, "--json", *options], capture_output=True, text=True, check=False)
    if run.returncode:
        if reference in FALLBACK:
            return bench(env_id, steps, tasks, FALLBACK[reference], env_kwargs)
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
        *paragraph(
            "Random play, with rewards and admissible commands here, and with admissible commands only on the other side "
            '("theirs"). A ratio compares two engines that took turns in one process, on the same games and commands, '
            "with the garbage collector on. Times are processor time. Figures are medians over the processes."
        ),
    ]
    for domain, measured in data.items():
        rows = measured["rows"]
        columns = REPAIRED if domain == "SWEGym" else PLAYED
        lines += ["", f"## {TITLES[domain]}", ""]
        lines += [*paragraph(f"Measured with `{measured['command']}` on: {measured['machine']}."), ""]
        lines += [*paragraph(NOTES[domain]), ""] if domain in NOTES else []
        lines += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        lines += [f"| {' | '.join(cell(row, key) for key in columns.values())} |" for row in rows]
    return "\n".join(lines) + "\n"


def paragraph(text: str) -> list[str]:
    """Return the lines of a paragraph of the page."""
    return textwrap.wrap(text, 125, break_long_words=False, break_on_hyphens=False)


def cell(row: Row, key: str) -> str:
    """Return a figure as the page shows it; a dash where nothing was measured."""
    value = row.get(key)
    if value is None:
        return "\u2013"
    if isinstance(value, str):
        return f"`{value}`"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def report_work(found: dict[str, int], write: bool) -> None:
    """Print counts of expanded states; write them down, or compare them with those that were.

    Raises:
        SpeedError: more was done than before.
    """
    sys.stdout.write("".join(f"{number:8,}  {env_id}\n" for env_id, number in found.items()))
    if write:
        write_whole(COUNTS, json.dumps(found, indent=2) + "\n")
    elif lines := excess(found):
        raise SpeedError("; ".join(lines))


def main(config: Config) -> None:
    """Measure if asked to, and render the page."""
    check_at_least("runs", config.runs, 1)
    path = config.results or RESULTS / "speed.json"
    if config.count or config.check:
        report_work(
            {env_id: count(env_id) for env_id in tqdm(IDS, unit="id", disable=None, file=sys.stderr)}, config.count
        )
        return
    data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for domain in config.domains if config.measure else ():
        data[domain] = measure(domain, config.steps, config.tasks, config.runs)
        write_whole(path, json.dumps(data, indent=2) + "\n")
    if not data:
        raise SpeedError("expected something that was measured before, got nothing: measure it with --measure")
    write_whole(config.docs, render(data))
