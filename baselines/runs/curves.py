"""The curves of a run: its telling metrics over the steps, as small panels of one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SMOOTHED_SHARE = 10
"""Curves of training are drawn over the points and as their running mean over a tenth of the run."""


def draw_curves(records: Sequence[Mapping[str, Any]], path: Path, title: str = "") -> None:
    """Draw the telling metrics over the steps as small panels of one PNG.

    Metrics of training are drawn faint as they were logged, and as a running mean; held-out ones as points, success rates
    with their 95 % intervals.

    Args:
        records: as written to metrics.jsonl; `train/x` and `eval/x` share the panel `x`.
        path: file of the PNG.
        title: over the whole picture.
    """
    figure = make_curves(records, title)
    if figure is not None:
        figure.savefig(path, dpi=120)


def make_curves(records: Sequence[Mapping[str, Any]], title: str = "") -> Figure | None:
    """Return the picture of `draw_curves`; None where no metric has a panel."""
    panels = _panels(records)
    if not panels:
        return None
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows))  # laid out by hand: matplotlib's own layouts draw it twice
    figure.subplots_adjust(0.06, 0.5 / (2.8 * rows), 0.98, 1 - 0.7 / (2.8 * rows), wspace=0.25, hspace=0.5)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, keys) in zip(axes, panels.items(), strict=False):
        for color, key in enumerate(keys):
            _draw(axis, records, key, f"C{color}")
        if name == "success_rate":
            axis.set_ylim(-0.02, 1.02)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(title)
    return figure


def _draw(axis: Any, records: Sequence[Mapping[str, Any]], key: str, color: str) -> None:
    """Draw one metric: of training with its running mean, of an evaluation with its interval where there is one."""
    found = [record for record in records if key in record]
    steps, values = [record["step"] for record in found], [record[key] for record in found]
    if not key.startswith("eval/"):
        axis.plot(steps, values, color=color, linewidth=0.8, alpha=0.35)
        axis.plot(steps, running_mean(values, len(values) // SMOOTHED_SHARE), color=color, linewidth=1.6, label=key)
        return
    low, high = _INTERVALS.get(key, ("", ""))
    spread = None
    if all(low in record for record in found):
        below = [max(0.0, record[key] - record[low]) for record in found]
        spread = [below, [max(0.0, record[high] - record[key]) for record in found]]
    axis.errorbar(steps, values, spread, color=color, marker="o", markersize=3, linewidth=1.2, capsize=3, label=key)


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Return the mean of each value and of up to `width // 2` on either side of it; fewer at the ends."""
    reach = width // 2
    windows = (values[max(0, place - reach) : place + reach + 1] for place in range(len(values)))
    return [sum(window) / len(window) for window in windows]


_INTERVALS = {
    "eval/success_rate": ("eval/ci_low", "eval/ci_high"),
    "eval/sampled_success_rate": ("eval/sampled_ci_low", "eval/sampled_ci_high"),
}


_PANELS = (
    "success_rate",
    "return",
    "loss",
    "steps",
    "approx_kl",
    "clip_fraction",
    "entropy",
    "ref_kl",
    "explained_variance",
    "value_loss",
    "groups_without_signal",
    "action_information",
    "accuracy",
    "stage",
)


def _panels(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    keys = dict.fromkeys(key for record in records for key in record)
    found = {name: [key for key in keys if key.partition("/")[2].removeprefix("sampled_") == name] for name in _PANELS}
    return {name: names for name, names in found.items() if names}
