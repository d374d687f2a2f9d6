"""Output of a run: one JSON object per iteration, one live line."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from tqdm import tqdm

from baselines.runs.files import write_whole

Record: TypeAlias = dict[str, Any]

# What the live line shows, under the names of the metrics file.
_SHORT = {
    "train/success_rate": "success",
    "train/return": "return",
    "train/approx_kl": "kl",
    "train/clip_fraction": "clip",
    "train/explained_variance": "ev",
    "train/loss": "loss",
    "eval/success_rate": "eval",
    "train/tokens_per_second": "tok/s",
}


class Tracker(Protocol):
    """Another place for the metrics of a run; see `trackers.RunTracker`."""

    def log(self, record: Record) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class MetricsLog:
    """Appends one JSON object per line; a resumed run forgets what came after its checkpoint.

    Attributes:
        records: everything that the file holds, in order.
    """

    def __init__(self, path: Path, last_step: int, trackers: Sequence[Tracker] = ()) -> None:
        """Open `path`, keeping records whose `step` is at most `last_step` (0 for a new run); `trackers` get new ones."""
        self._path = path
        self._trackers = trackers
        self.records = [record for record in read_metrics(path) if record["step"] <= last_step]
        write_whole(path, "".join(_line(record) for record in self.records))

    def write(self, record: Record) -> None:
        """Append one record; it must carry `step`, the iterations finished."""
        self.records.append(record)
        with self._path.open("a") as file:
            file.write(_line(record))
        for tracker in self._trackers:
            tracker.log(record)

    def close(self) -> None:
        """Close the trackers; a second call does nothing."""
        for tracker in self._trackers:
            tracker.close()


class LiveLine:
    """A progress bar with the numbers that matter: success rate, return, tokens/s, time left."""

    def __init__(self, name: str, num_steps: int, first_step: int, show: bool) -> None:
        self._shown: dict[str, str] = {}
        self._bar = tqdm(
            total=num_steps, initial=first_step, desc=name, disable=not show, dynamic_ncols=True, smoothing=0.1
        )

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, record: Mapping[str, Any]) -> None:
        """Move on by one iteration; a number that this record lacks keeps its last value."""
        for key, name in _SHORT.items():
            if key in record:
                value = record[key]
                self._shown[name] = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update(1)


def warn(text: str) -> None:
    """Write one line of warning to standard error, above a live line if there is one."""
    tqdm.write(f"warning: {text}", file=sys.stderr)


def read_metrics(path: Path) -> list[Record]:
    """Read a metrics file; a last line that was cut off by a kill is left out."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n"):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"


LITTLE_KL = 1e-5
"""Mean approximate KL of an iteration, nats a token, below which a policy has not moved."""

LITTLE_ENTROPY = 0.01
"""Entropy of an action token, in nats, below which nothing else is tried."""

NEAR_MAXIMUM = 0.95
"""Share of the largest possible entropy above which actions are all but random tokens."""


def diagnose(records: Sequence[Record], vocab_size: int) -> list[str]:
    """Return one sentence for each sign that a run has taught nothing; none for a run that looks sound.

    Args:
        records: lines of metrics.jsonl, in order.
        vocab_size: tokens of the policy's vocabulary, whose logarithm bounds the entropy.
    """
    found = []
    if _always_zero(records, "train/optimiser_steps"):
        found.append(
            "no optimiser step was taken, because no episode had an advantage: every member of a group earned the same; "
            "take a denser reward, an easier task or a policy that sometimes succeeds"
        )
    if _always_zero(records, "train/success_rate"):
        found.append(
            "no episode succeeded in any iteration; start with SFT, an easier task (--also, --curriculum) or a denser reward"
        )
    steps, divergence = _values(records, "train/optimiser_steps"), _values(records, "train/approx_kl")
    # With one step an iteration the policy is scored before it has moved: its KL is 0 however far it goes.
    if steps and max(steps) > 1 and divergence and sum(divergence) / len(divergence) < LITTLE_KL:
        found.append(
            f"the policy hardly moved: approx_kl was {sum(divergence) / len(divergence):.1g} nats a token on average; "
            "raise --learning-rate"
        )
    for entropy in _values(records, "train/entropy")[-1:]:
        if entropy < LITTLE_ENTROPY:
            found.append(
                f"the entropy is gone ({entropy:.1g} nats a token), so that nothing new is tried; lower --learning-rate, "
                "or raise --entropy-coef"
            )
        if entropy > NEAR_MAXIMUM * math.log(vocab_size):
            found.append(
                f"the entropy is at its maximum ({entropy:.2f} nats a token): actions are random tokens; start with SFT"
            )
    losses = _values(records, "train/loss")
    if "demonstrations" in (records[0] if records else {}) and losses[-1] > 0.9 * losses[0]:
        found.append(
            f"the loss did not fall ({losses[0]:.2f} to {losses[-1]:.2f}); raise --num-epochs or --learning-rate"
        )
    evaluations = [max(record["eval/success_rate"], record["eval/sampled_success_rate"]) for record in records
                   if "eval/success_rate" in record]  # fmt: skip
    if evaluations and evaluations[-1] == 0:
        found.append("no held-out episode succeeded in the last evaluation, neither greedy nor sampled")
    return found


def _always_zero(records: Sequence[Record], key: str) -> bool:
    values = _values(records, key)
    return bool(values) and not any(values)


def _values(records: Sequence[Record], key: str) -> list[float]:
    return [record[key] for record in records if key in record]
