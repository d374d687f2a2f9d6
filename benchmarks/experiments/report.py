"""Reports of an experiment: a table, the differences, the sentences, what was published, and a figure."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from baselines.runs.files import write_whole
from benchmarks.experiments.design import Experiment, Results, difference, is_clear, rate


def write_report(experiment: Experiment, results: Results, out: Path) -> None:
    """Write `table.md`, `table.json` and `figure.png` into a folder."""
    shown = "\n![Success of each arm, with its interval](figure.png)\n" if results else ""
    write_whole(out / "table.md", report(experiment, results) + shown)
    content = {
        arm: {
            column: {**asdict(rate(successes)), "by_seed": successes.mean(1).tolist()}
            for column, successes in found.items()
        }
        for arm, found in results.items()
    }
    write_whole(out / "table.json", json.dumps(content, indent=2) + "\n")
    if results:
        draw(experiment, results, out / "figure.png")


def report(experiment: Experiment, results: Results) -> str:
    """Return the table, the differences, the sentences and what was published, as Markdown."""
    columns = [column.name for column in experiment.columns]
    lines = [experiment.question, "", *_table(["success rate", *columns, "seeds"], _rates(results, columns))]
    rows = [
        [f"{later} - {earlier}", *(_difference(results, later, earlier, column) for column in columns)]
        for later, earlier in experiment.compared
        if later in results and earlier in results
    ]
    if rows:
        lines += ["", *_table(["difference", *columns], rows)]
    lines += ["", *(f"- {sentence}" for sentence in experiment.analyse(results))]
    if experiment.published:
        lines += ["", experiment.published.strip()]
    return "\n".join(lines) + "\n"


def draw(experiment: Experiment, results: Results, path: Path) -> None:
    """Draw a panel for each column: success of each arm, with its interval."""
    columns = experiment.columns
    figure = Figure(figsize=(2.4 + 2.3 * len(columns), 1.2 + 0.32 * len(results)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        rates = [rate(found[column.name]) for found in results.values()]
        centres = np.array([one.value for one in rates])
        spread = np.array([[one.value - one.low for one in rates], [one.high - one.value for one in rates]])
        panel.errorbar(centres, range(len(rates)), xerr=np.abs(spread), fmt="o", capsize=3)
        panel.set(title=column.name, xlim=(0, 1), xlabel="success rate")
        panel.grid(alpha=0.3, axis="x")
    panels[0].set_yticks(range(len(results)), list(results))
    panels[0].invert_yaxis()
    figure.savefig(path, dpi=120)


def _rates(results: Results, columns: list[str]) -> list[list[str]]:
    return [
        [arm, *(str(rate(found[column])) for column in columns), str(len(next(iter(found.values()))))]
        for arm, found in results.items()
    ]


def _difference(results: Results, later: str, earlier: str, column: str) -> str:
    found = difference(results, later, earlier, column)
    return f"**{found:+.2f}**" if is_clear(found) else f"{found:+.2f}"


def _table(titles: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}", *(f"| {' | '.join(row)} |" for row in rows)]
