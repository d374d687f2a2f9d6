"""The page on benchmarks names what there is, and nothing else."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

from benchmarks.agents.endpoint import ChatSettings
from benchmarks.exchange import load
from benchmarks.exchange.push import push_demonstrations
from benchmarks.experiments import experiment
from benchmarks.experiments.experiment import Name, find_experiment
from benchmarks.runs.run import Config
from benchmarks.suites.freeze import DEFINITIONS
from benchmarks.suites.suite import DIGESTS, TRACKS, Presentation, load_suite

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "benchmarks.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """Return the words in backticks in the first cells of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    ]


def test_every_suite_is_told_with_its_size() -> None:
    assert sorted(first_cells("Suites")) == sorted(DIGESTS)
    for name in DIGESTS:
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}`"))
        assert f"| {len(load_suite(name).tasks())} |" in row


def test_a_published_suite_has_a_definition() -> None:
    assert DIGESTS.keys() <= DEFINITIONS.keys()


def test_every_track_and_experiment_is_told() -> None:
    assert first_cells("Tracks") == ["listed", "open", "listed-reactive", "open-reactive"]
    assert set(first_cells("Tracks")) == set(TRACKS)
    assert first_cells("Experiments") == sorted(get_args(Name))
    for name in get_args(Name):
        assert find_experiment(name).question


def test_options_that_are_named_exist() -> None:
    known = {field.name for kind in (Config, Presentation, ChatSettings, experiment.Config) for field in fields(kind)}
    known |= {f"no_{name}" for name in known} | {"slug", "check", "site"}
    known |= {name for take in (push_demonstrations, load.main) for name in inspect.signature(take).parameters}
    named = {name.replace("-", "_") for name in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", PAGE)}
    assert named <= known, named - known
    assert {"suite", "agent", "out", "seeds", "workers", "limit", "agent_kwargs"} <= named


def test_files_of_a_run_are_those_that_are_told() -> None:
    from benchmarks.leaderboard.entries import FILES

    assert set(first_cells("What a run keeps")) == set(FILES)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (DOCS / link).is_file(), link
