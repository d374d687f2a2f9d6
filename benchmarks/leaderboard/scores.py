"""The statistics of a leaderboard: every score an array (R, T), every number with an interval.

Entry (r, t) is run r of task t; every run has the same T tasks in the same order. Successes are bool, other scores have
no NaN, else `ValueError`. `strata` holds T labels, the cells that the tasks were drawn from (an environment id, say).

A *statistic* reduces the last two axes, (..., R, T) to (...), so that many resamples are computed at once. It may take
several arrays, each with an entry per episode (successes and steps, say). Three bootstraps give its interval:

    bootstrap_over_runs     What would other runs on these very tasks have given?
    bootstrap_over_tasks    What would other tasks from the same strata, and other runs, have given?
    bootstrap_paired        The second question, of two agents on the same tasks.

The first says nothing of other tasks, and has no width where runs repeat each other, as a greedy agent's do. All
see only the spread in the data: a stratum of one task never varies, n tasks vary by (n-1)/n of their true variance.

    >>> print(bootstrap_over_tasks(success_rate, np.array([[True, True, False, True]]), strata=["w2"] * 4))
    0.75 [0.25, 1.00]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from baselines.stats import agreeing_interval

Array: TypeAlias = NDArray[Any]
Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.intp]
Labels: TypeAlias = Sequence[str] | NDArray[np.str_]
Statistic: TypeAlias = Callable[..., Floats]
Draw: TypeAlias = Callable[[np.random.Generator, int], tuple[Integers, Integers]]
Result = TypeVar("Result")

BATCH_ENTRIES = 2**18  # of the resamples computed at once: bounds the memory


@dataclass(frozen=True)
class Estimate:
    """A score and its percentile interval, which need not contain it: "0.42 [0.35, 0.49]", or any `f"{estimate:.0f}"`."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        value, low, high = (_shown(number, spec or ".2f") for number in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def _shown(number: float, spec: str) -> str:
    """Format a number, without the sign of a 0 that it is rounded to."""
    shown = format(number, spec)
    return format(0.0, spec) if shown.startswith("-") and not shown.strip("-0.%") else shown


@dataclass(frozen=True)
class Resampling:
    """Settings of a bootstrap.

    Attributes:
        num_resamples: draws.
        confidence: coverage in (0, 1).
        seed: of the draws; equal seeds give equal bytes.
        resample_runs: if tasks are drawn, also draw whole runs: for effects that a run's episodes share (a training seed).
            False draws each task with its runs. That is right where episodes are independent, since the tasks' spread
            then holds the runs' (True could be half as wide again), and needed by `pass_at_k`.
    """

    num_resamples: int = 9_999
    confidence: float = 0.95
    seed: int = 0
    resample_runs: bool = False


DEFAULT = Resampling()


def success_rate(successes: Bools) -> Floats:
    """Return the share of episodes that succeeded."""
    return _mean(_successes(successes))


def mean_return(returns: Array) -> Floats:
    """Return the mean over all runs x tasks: a stratum counts by its number of tasks."""
    return _mean(_scores(returns))


def fraction_above(scores: Array, threshold: float) -> Floats:
    """Return the fraction of runs x tasks that score more than `threshold`: a point of the performance profile."""
    return _mean(_scores(scores) > threshold)


def pass_at_k(successes: Bools, k: int) -> Floats:
    """Return the chance that one of k runs of a task succeeds: `1 - C(R-c, k) / C(R, k)` at c successes, mean over tasks.

    Unbiased (Chen et al. 2021, arXiv 2107.03374, eq. 1); `ValueError` unless 1 <= k <= R. Bootstrap it over tasks,
    without `resample_runs`: a run drawn twice is not two attempts, and would put the interval too low.
    """
    return 1 - _mean_of_all_k(~_successes(successes), k)


def pass_hat_k(successes: Bools, k: int) -> Floats:
    """Return the chance that all of k runs of a task succeed, pass^k: `C(c, k) / C(R, k)` at c successes, mean over tasks.

    Yao et al. 2024, arXiv 2406.12045. Errors and bootstrap are as for `pass_at_k`.
    """
    return _mean_of_all_k(_successes(successes), k)


def spl(successes: Bools, steps: Array, reference_steps: Array) -> Floats:
    """Return the success weighted by path length: mean of `reference_steps / max(steps, reference_steps)`, 0 if not solved.

    Anderson et al. 2018, arXiv 1807.06757. An agent shorter than the reference solution gains nothing by it. The
    reference's steps, (T,) or (..., R, T), are at least 1, else `ValueError`.
    """
    reference = np.asarray(reference_steps)
    if not (reference >= 1).all():
        raise ValueError(f"expected reference_steps of at least 1, got {reference.min()}")
    return _mean(_successes(successes) * reference / np.maximum(_scores(steps), reference))


def normalised_score(scores: Array, strata: Labels, random: Mapping[str, float], expert: Mapping[str, float]) -> Floats:
    """Return `(score - random) / (expert - random)` of each stratum's mean score, then the mean over strata.

    Strata count alike, whatever their number of tasks. `random` and `expert` hold each stratum's mean score of a
    random agent (which becomes 0) and of an expert (1), and are taken as exact. `ValueError` where a stratum lacks
    one of the two, or its expert is no better than its random agent.
    """
    scores = _scores(scores)
    normalised = []
    for label, columns in _columns(strata, scores.shape[-1]).items():
        low, high = random.get(label, np.nan), expert.get(label, np.nan)
        if not high > low:
            raise ValueError(f"expected expert > random in stratum {label!r}, got {high} and {low}")
        normalised.append((_mean(scores[..., columns]) - low) / (high - low))
    return np.asarray(np.mean(normalised, axis=0))


def mean_difference(first: Array, second: Array) -> Floats:
    """Return the mean of the first agent, (..., R1, T), less that of the second, (..., R2, T)."""
    first, second = _pair(first, second)
    return _mean(first) - _mean(second)


def sign_flip_test(first: Array, second: Array, num_resamples: int = 9_999, seed: int = 0) -> float:
    """Two-sided p-value of "neither agent is better": flips the sign of each task's difference between mean scores.

    All 2^T flips if `num_resamples` allows as many; else (k+1) / (n+1), where k of n random flips reach what was
    observed (Phipson and Smyth 2010, arXiv 1603.05766). Arrays (R1, T) and (R2, T), T >= 2.
    """
    first, second = _pair(first, second)
    differences = first.mean(axis=0) - second.mean(axis=0)
    differences /= np.abs(differences).max() or 1.0  # one scale, on which sums that differ by rounding are equal
    result = stats.permutation_test(
        (differences,),
        lambda flipped, axis: np.abs(flipped.mean(axis=axis)).round(12),
        permutation_type="samples",
        alternative="greater",
        n_resamples=num_resamples,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def bootstrap_over_runs(statistic: Statistic, *arrays: Array, options: Resampling = DEFAULT) -> Estimate:
    """Return the estimate the result of other runs on the same tasks: draws runs, independently for each task.

    The "stratified" bootstrap of rliable (arXiv 2108.13264, section 4.1), whose strata are the tasks: too narrow for a
    rate on all tasks that could have been drawn. Arrays are (R, T), or (T,) for what all runs share; drawn jointly.
    """
    tables = _tables(arrays)
    R, T = tables[0].shape
    return _interval(statistic, tables, lambda rng, size: (rng.integers(R, size=(size, R, T)), np.arange(T)), options)


def bootstrap_over_tasks(
    statistic: Statistic, *arrays: Array, strata: Labels, options: Resampling = DEFAULT
) -> Estimate:
    """Return the estimate the result of other tasks from the same strata, and other runs: draws tasks within each stratum.

    Arrays are as for `bootstrap_over_runs`. Set `resample_runs` where the episodes of a run are not independent.
    """
    tables = _tables(arrays)
    return _interval(statistic, tables, _two_level(tables[0], strata, len(tables[0]), options), options)


def bootstrap_paired(
    statistic: Statistic, first: Array, second: Array, *, strata: Labels, options: Resampling = DEFAULT
) -> Estimate:
    """Compare two agents, (R1, T) and (R2, T): draws tasks within each stratum, jointly for both.

    The statistic is `mean_difference` or another of two arrays. `resample_runs` draws
    each agent's runs alone.
    """
    tables, split = _tables([np.concatenate([first, second])]), len(first)
    draw = _two_level(tables[0], strata, split, options)
    return _interval(lambda runs: statistic(runs[..., :split, :], runs[..., split:, :]), tables, draw, options)


def estimate_success_rate(successes: Bools, *, strata: Labels, options: Resampling = DEFAULT) -> Estimate:
    """Return the success rate by `bootstrap_over_tasks`.

    Where all episodes agree, by Clopper and Pearson (1934) on the T tasks.
    """
    rate, num_tasks = float(success_rate(successes)), successes.shape[-1]
    if 0 < rate < 1:  # else a bootstrap would have no width
        return bootstrap_over_tasks(success_rate, successes, strata=strata, options=options)
    return Estimate(rate, *agreeing_interval(rate, num_tasks, (0.0, 1.0), options.confidence))


def estimate_amount_per_solved(
    amounts: Array, successes: Bools, *, strata: Labels, options: Resampling = DEFAULT
) -> Estimate | None:
    """Return tokens or cost of each solved episode: the sum over all episodes / how many were solved; None if none was.

    `high` is inf where so few were solved that more than (1 - confidence) / 2 of the draws hold none.
    """
    if not _successes(successes).any():
        return None
    return bootstrap_over_tasks(_amount_per_solved, amounts, successes, strata=strata, options=options)


def performance_profile(
    scores: Array, thresholds: Sequence[float], *, strata: Labels, options: Resampling = DEFAULT
) -> list[Estimate]:
    """Return the fraction of runs x tasks above each threshold, with pointwise intervals (arXiv 2108.13264, section 4.2)."""
    estimate = partial(bootstrap_over_tasks, strata=strata, options=options)
    return [estimate(partial(fraction_above, threshold=tau), scores) for tau in thresholds]


def by_group(estimator: Callable[..., Result], *arrays: Array, groups: Labels, strata: Labels) -> dict[str, Result]:
    """Apply an estimator to the tasks of each group alone: to each stratum, or to tiers of several strata.

    The estimator takes the arrays and `strata`, as `estimate_success_rate` and `partial(bootstrap_over_tasks, spl)` do.
    """
    return {
        group: estimator(*(array[..., columns] for array in arrays), strata=np.asarray(strata)[columns])
        for group, columns in _columns(groups, len(strata)).items()
    }


def _scores(values: Array) -> Floats:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim < 2 or scores.size == 0:
        raise ValueError(f"expected (..., R, T) of at least one run and task, got shape {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError("expected scores without NaN, got NaN")
    return scores


def _successes(values: Bools) -> Bools:
    if values.dtype != np.bool_:
        raise ValueError(f"expected bool successes, got {values.dtype}")
    _scores(values)
    return values


def _pair(first: Array, second: Array) -> tuple[Floats, Floats]:
    first, second = _scores(first), _scores(second)
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(f"expected two agents on the same tasks, got {first.shape[-1]} and {second.shape[-1]} tasks")
    return first, second


def _tables(arrays: Sequence[Array]) -> list[Array]:
    tables = list(np.broadcast_arrays(*arrays))
    if tables[0].ndim != 2:
        raise ValueError(f"expected arrays (R, T), got shape {tables[0].shape}")
    return tables


def _columns(labels: Labels | Array, num_tasks: int) -> dict[str, Integers]:
    if len(labels) != num_tasks:
        raise ValueError(f"expected a label for each of {num_tasks} tasks, got {len(labels)}")
    names, inverse = np.unique(np.asarray(labels), return_inverse=True)
    return {str(name): np.flatnonzero(inverse == number) for number, name in enumerate(names)}


def _mean(values: Array) -> Floats:
    return np.asarray(values.mean(axis=(-2, -1)))


def _mean_of_all_k(events: Bools, k: int) -> Floats:
    """Return the chance that k of a task's R entries, drawn without replacement, are all True; mean over tasks."""
    num_runs = events.shape[-2]
    if not 1 <= k <= num_runs:
        raise ValueError(f"expected k in 1..{num_runs}, the number of runs, got {k}")
    by_count = special.comb(np.arange(num_runs + 1), k) / special.comb(num_runs, k)
    return np.asarray(by_count[events.sum(axis=-2)].mean(axis=-1))


def _amount_per_solved(amounts: Array, successes: Bools) -> Floats:
    total, solved = _scores(amounts).sum(axis=(-2, -1)), successes.sum(axis=(-2, -1))
    return np.where(solved > 0, total / np.maximum(solved, 1), np.inf)


def _two_level(table: Array, strata: Labels, split: int, options: Resampling) -> Draw:
    """Draw tasks (size, 1, T) within strata; rows (size, R, 1), if at all, among those before `split` or those after."""
    runs, tasks = np.arange(len(table)), _columns(strata, table.shape[1])
    rows = _columns(runs < split if options.resample_runs else runs, len(table))
    return lambda rng, size: (_within(rng, rows, size)[:, :, None], _within(rng, tasks, size)[:, None, :])


def _within(rng: np.random.Generator, groups: Mapping[str, Integers], size: int) -> Integers:
    """Return (size, N) positions: each of N is drawn from its own group."""
    drawn = np.empty((size, sum(map(len, groups.values()))), dtype=np.intp)
    for members in groups.values():
        drawn[:, members] = rng.choice(members, size=(size, len(members)))
    return drawn


def _interval(statistic: Statistic, tables: list[Array], draw: Draw, options: Resampling) -> Estimate:
    rng = np.random.default_rng(options.seed)
    batch = max(1, BATCH_ENTRIES // sum(table.size for table in tables))
    values = []
    for start in range(0, options.num_resamples, batch):
        index = draw(rng, min(batch, options.num_resamples - start))
        values.append(np.asarray(statistic(*(table[index] for table in tables))))
    if values[0].ndim != 1:
        raise ValueError(f"expected a statistic (..., R, T) to (...), got {values[0].shape} from {index[0].shape}")
    tails = [(1 - options.confidence) / 2, (1 + options.confidence) / 2]
    low, high = np.quantile(np.concatenate(values), tails, method="inverted_cdf")  # no sums, which inf would spoil
    return Estimate(float(statistic(*tables)), float(low), float(high))
