"""A whole run as arrays of runs x tasks: what scores are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.runs.records import EpisodeRecord, RecordError, RunConfig


@dataclass(frozen=True, eq=False)
class Table:
    """A whole run as arrays of runs x tasks, in the order of the suite.

    Attributes:
        config: settings of the run.
        rows: (R, T) summaries.
        strata: (T,) name of each task's cell.
    """

    config: RunConfig
    rows: list[list[dict[str, Any]]]
    strata: list[str]

    def column(self, key: str) -> NDArray[np.float64]:
        """Return (R, T) values; NaN where nobody counted."""
        return np.array(
            [[np.nan if row[key] is None else row[key] for row in run] for run in self.rows], dtype=np.float64
        )


def make_table(config: RunConfig, played: Sequence[EpisodeRecord]) -> Table:
    """Put episodes in the order of the suite.

    Raises:
        RecordError: one is missing.
    """
    suite = config.found_suite()
    found = {episode.key: episode.summary() for episode in played}
    keys = config.episode_keys()
    missing = [key for key in keys if key not in found]
    if missing:
        raise RecordError(f"expected all {len(keys)} episodes, got {len(missing)} fewer: first {missing[0]} is missing")
    tasks = suite.tasks(config.limit)
    rows = [[found[run, cell, task] for cell, task in tasks] for run in range(config.num_runs)]
    return Table(config, rows, [suite.cells[cell].name for cell, _ in tasks])
