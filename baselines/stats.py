"""95 % intervals of means: bootstraps, and exact ones where a bootstrap sees no spread."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Interval: TypeAlias = tuple[float, float]

CONFIDENCE = 0.95
NUM_RESAMPLES = 9_999


def mean_interval(values: NDArray[np.float64], bounds: Interval | None = None) -> Interval:
    """Return the percentile bootstrap interval of a mean; it is the same each time.

    Where all values are equal a bootstrap sees no spread; `agreeing_interval` takes its place for values with known
    bounds, and the mean itself twice for others.

    Args:
        values: (N,) N >= 1.
        bounds: the least and the greatest value that there can be.
    """
    if np.ptp(values) == 0:
        return agreeing_interval(float(values[0]), len(values), bounds or (float(values[0]),) * 2)
    result = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=CONFIDENCE,
        method="percentile",
        n_resamples=NUM_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return (float(result.confidence_interval.low), float(result.confidence_interval.high))


def agreeing_interval(value: float, count: int, bounds: Interval, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a mean where all draws gave one value.

    The share of draws that would give another one is at most u, the upper end of the exact interval of Clopper and
    Pearson (Biometrika 26, 1934) for 0 of `count`; at worst they lie at a bound. For a rate of 0 or 1 this is the exact
    interval itself.

    Args:
        value: of all draws.
        count: number of values, >= 1.
        bounds: the least and the greatest value that there can be.
        confidence: coverage in (0, 1).
    """
    unseen = float(stats.binomtest(0, count).proportion_ci(confidence, method="exact").high)
    low, high = bounds
    return (value - unseen * (value - low), value + unseen * (high - value))


def two_level_interval(values: NDArray[np.float64], bounds: Interval | None = None) -> Interval:
    """Return the bootstrap interval of a mean over training seeds and tasks: both are drawn again, with replacement.

    The interval of a claim about the method and not about one trained model; with few seeds it is wide, and should be.

    Args:
        values: (S, N) of S training seeds, on the same N tasks.
        bounds: as for `mean_interval`; where all values are equal, N of them count.
    """
    rng = np.random.default_rng(0)
    num_seeds, num_tasks = values.shape
    if np.ptp(values) == 0:
        value = float(values[0, 0])
        return agreeing_interval(value, num_tasks, bounds or (value, value))
    drawn_seeds = rng.integers(num_seeds, size=(NUM_RESAMPLES, num_seeds))
    drawn_tasks = rng.integers(num_tasks, size=(NUM_RESAMPLES, num_tasks))
    weights = (drawn_seeds[..., None] == np.arange(num_seeds)).mean(1)  # (R, S) share of each training seed
    means = np.take_along_axis(weights @ values, drawn_tasks, axis=1).mean(1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return (float(low), float(high))
