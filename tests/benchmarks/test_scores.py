"""The leaderboard's statistics against hand-worked cases, brute force, SciPy, rliable and simulations."""

from __future__ import annotations

import doctest
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from benchmarks.leaderboard import scores
from benchmarks.leaderboard.scores import (
    Estimate,
    Resampling,
    bootstrap_over_runs,
    bootstrap_over_tasks,
    bootstrap_paired,
    by_group,
    estimate_amount_per_solved,
    estimate_success_rate,
    fraction_above,
    mean_difference,
    mean_return,
    normalised_score,
    pass_at_k,
    pass_hat_k,
    performance_profile,
    sign_flip_test,
    spl,
    success_rate,
)

FEW = Resampling(num_resamples=499)
FEW_RUNS_TOO = Resampling(num_resamples=499, resample_runs=True)
SUCCESSES = np.array([[True, True, False, False], [True, False, False, False], [True, True, True, False]])
CELLS = ["a", "a", "b", "b"]

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))
bool_tables = shapes.flatmap(lambda shape: arrays(np.bool_, shape))
float_tables = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(-8, 8).map(lambda n: n / 4)))


def width(estimate: Estimate) -> float:
    return estimate.high - estimate.low


def correlated(seed: int, num_runs: int, num_tasks: int) -> NDArray[np.bool_]:
    """Run of tasks of different difficulty."""
    rng = np.random.default_rng(seed)
    return rng.random((num_runs, num_tasks)) < rng.random(num_tasks)


# --- statistics, worked by hand -----------------------------------------------------------------------------------------


def test_success_rate_and_mean_by_hand() -> None:
    assert success_rate(SUCCESSES) == 6 / 12
    assert mean_return(np.array([[1.0, 2.0], [3.0, 6.0]])) == 3.0


def test_pass_at_k_by_hand() -> None:
    # Successes of 3 runs: 3, 2, 1, 0.
    assert pass_at_k(SUCCESSES, 2) == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    assert pass_hat_k(SUCCESSES, 2) == pytest.approx((1 + 1 / 3 + 0 + 0) / 4)


def test_spl_by_hand() -> None:
    successes = np.array([[True, True, False], [True, False, True]])
    steps = np.array([[4, 10, 50], [2, 5, 6]])
    assert spl(successes, steps, np.array([4, 5, 6])) == (1 + 0.5 + 0 + 1 + 0 + 1) / 6


def test_normalised_score_by_hand() -> None:
    table = np.array([[2.0, 4.0, 10.0]])
    assert normalised_score(table, ["a", "a", "b"], {"a": 1, "b": 0}, {"a": 5, "b": 10}) == (0.5 + 1) / 2


def test_sign_flip_by_hand() -> None:
    ahead = np.array([[1.0, 1.0, 1.0, 1.0, 1.0]])
    assert sign_flip_test(ahead, np.zeros((3, 5))) == 2 / 32
    assert sign_flip_test(ahead, ahead) == 1


# --- statistics, by brute force and against other libraries -------------------------------------------------------------


@given(bool_tables, st.data())
def test_pass_at_k_enumerates_subsets(successes: NDArray[np.bool_], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(successes)))
    subsets = [list(subset) for subset in itertools.combinations(range(len(successes)), k)]
    assert pass_at_k(successes, k) == pytest.approx(np.mean([successes[subset].any(0).mean() for subset in subsets]))
    assert pass_hat_k(successes, k) == pytest.approx(np.mean([successes[subset].all(0).mean() for subset in subsets]))


@given(bool_tables)
def test_pass_at_k_grows_and_pass_hat_k_falls_from_the_success_rate(successes: NDArray[np.bool_]) -> None:
    ks = range(1, len(successes) + 1)
    at, hat = [float(pass_at_k(successes, k)) for k in ks], [float(pass_hat_k(successes, k)) for k in ks]
    assert at[0] == pytest.approx(success_rate(successes))
    assert hat[0] == pytest.approx(success_rate(successes))
    assert (np.diff(at) >= -1e-12).all()
    assert (np.diff(hat) <= 1e-12).all()


def test_pass_at_k_of_many_runs_is_scipys_hypergeometric() -> None:
    successes = np.arange(500)[:, None] < np.array([[0, 1, 250, 499, 500]])
    expected = stats.hypergeom.sf(0, 500, [0, 1, 250, 499, 500], 100).mean()
    assert pass_at_k(successes, 100) == pytest.approx(expected)


@settings(max_examples=25)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=7))
def test_sign_flip_enumerates_flips(differences: list[int]) -> None:
    flips = itertools.product((-1, 1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in flips]
    expected = Fraction(sum(value >= abs(sum(differences)) for value in sums), len(sums))
    table = np.array([differences]) / 3.0
    assert sign_flip_test(table, np.zeros_like(table)) == pytest.approx(float(expected))


def test_sign_flip_by_monte_carlo_is_near_the_exact_value_and_never_zero() -> None:
    first = np.random.default_rng(0).normal(0.4, 1, (1, 12))
    exact, sampled = (sign_flip_test(first, np.zeros((1, 12)), num_resamples=n) for n in (4096, 4095))
    assert exact != sampled
    assert sampled == pytest.approx(exact, abs=0.02)
    assert sampled * 4096 == pytest.approx(round(sampled * 4096))
    assert sign_flip_test(np.ones((1, 60)), np.zeros((1, 60)), num_resamples=99) == 0.01


def test_sign_flip_of_distinct_ranks_is_wilcoxons() -> None:
    signed_ranks = np.array([[1.0, 2, 3, -4, 5, 6, 7, -8, 9, 10]])
    expected = stats.wilcoxon(signed_ranks[0], method="exact").pvalue
    assert sign_flip_test(signed_ranks, np.zeros_like(signed_ranks)) == pytest.approx(expected)


@settings(max_examples=50)
@given(float_tables, st.integers(0, 99))
def test_statistics_do_not_depend_on_the_order_of_runs(table: NDArray[np.float64], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(table))
    statistics: list[Callable[..., NDArray[np.float64]]] = [
        mean_return,
        partial(fraction_above, threshold=0),
        lambda table: pass_at_k(table > 0, 1),
    ]
    for statistic in statistics:
        assert statistic(table[order]) == pytest.approx(statistic(table))


@settings(max_examples=25)
@given(arrays(np.float64, (3, 4, 5), elements=st.integers(-8, 8).map(lambda n: n / 4)))
def test_statistics_of_a_batch_are_those_of_its_members(batch: NDArray[np.float64]) -> None:
    strata, zero, one = list("aabbb"), dict.fromkeys("ab", 0.0), dict.fromkeys("ab", 1.0)
    statistics: list[Callable[..., NDArray[np.float64]]] = [
        mean_return,
        partial(fraction_above, threshold=0),
        lambda table: success_rate(table > 0),
        lambda table: pass_at_k(table > 0, 2),
        lambda table: pass_hat_k(table > 0, 3),
        lambda table: spl(table > 0, np.abs(table), np.ones(5)),
        lambda table: normalised_score(table, strata, zero, one),
        lambda table: mean_difference(table, np.ones((2, 5))),
    ]
    for statistic in statistics:
        assert statistic(batch) == pytest.approx(np.array([statistic(member) for member in batch]))


# --- errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_return(np.array([[0.0, np.nan]])), "without NaN, got NaN"),
        (lambda: mean_return(np.zeros(3)), r"got shape \(3,\)"),
        (lambda: mean_return(np.zeros((0, 3))), r"got shape \(0, 3\)"),
        (lambda: success_rate(np.ones((2, 3))), "expected bool successes, got float64"),
        (lambda: pass_at_k(SUCCESSES, 4), r"expected k in 1\.\.3, the number of runs, got 4"),
        (lambda: pass_hat_k(SUCCESSES, 0), "got 0"),
        (lambda: spl(SUCCESSES, np.ones((3, 4)), np.zeros(4)), "at least 1, got 0"),
        (lambda: normalised_score(np.ones((1, 1)), ["hard"], {"hard": 1}, {"hard": 1}), "stratum 'hard', got 1 and 1"),
        (lambda: normalised_score(np.ones((1, 1)), ["hard"], {}, {"hard": 1}), "stratum 'hard', got 1 and nan"),
        (lambda: mean_difference(np.ones((1, 2)), np.ones((1, 1))), "same tasks, got 2 and 1 tasks"),
        (lambda: bootstrap_over_tasks(success_rate, SUCCESSES, strata=["a"]), "each of 4 tasks, got 1"),
        (lambda: by_group(estimate_success_rate, SUCCESSES, groups=["a"], strata=CELLS), "each of 4 tasks, got 1"),
        (lambda: bootstrap_over_runs(success_rate, SUCCESSES[0]), r"\(R, T\), got shape \(4,\)"),
        (lambda: bootstrap_over_runs(np.mean, SUCCESSES), r"expected a statistic .* got \(\) from"),
    ],
)
def test_bad_input_says_what_was_expected(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- estimates and bootstraps -------------------------------------------------------------------------------------------


def test_an_estimate_prints_its_interval() -> None:
    assert str(Estimate(0.42, 0.351, 0.49)) == "0.42 [0.35, 0.49]"
    assert f"{Estimate(1234.5, 1000, math.inf):.0f}" == "1234 [1000, inf]"
    assert f"{Estimate(-0.004, -0.2, -0.001):+.2f}" == "+0.00 [-0.20, +0.00]"
    assert f"{Estimate(-0.4, -10, -0.04):.0%}" == "-40% [-1000%, -4%]"


def test_the_docstrings_example_is_true() -> None:
    results = doctest.testmod(scores)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    "bootstrap",
    [
        partial(bootstrap_over_runs, success_rate),
        partial(bootstrap_over_tasks, success_rate, strata=["a"] * 20 + ["b"] * 20),
        lambda table, options: bootstrap_paired(mean_difference, table, ~table, strata=["a"] * 40, options=options),
    ],
)
def test_equal_seeds_give_equal_intervals_and_touch_no_global_state(bootstrap: Callable[..., Estimate]) -> None:
    table = correlated(0, 5, 40)
    np.random.seed(1)
    before = np.random.get_state()[1]
    assert bootstrap(table, options=FEW) == bootstrap(table, options=FEW)
    assert bootstrap(table, options=FEW) != bootstrap(table, options=Resampling(num_resamples=499, seed=1))
    assert (np.random.get_state()[1] == before).all()


def test_memory_is_bounded_and_every_draw_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def statistic(table: NDArray[np.float64]) -> NDArray[np.float64]:
        sizes.append(len(table))
        return table.mean((-2, -1))

    monkeypatch.setattr(scores, "BATCH_ENTRIES", 100)
    bootstrap_over_runs(statistic, np.ones((2, 5)), options=Resampling(num_resamples=25))
    assert sizes == [10, 10, 5, 2]  # the last is the table itself


def test_over_tasks_keeps_the_size_of_every_stratum() -> None:
    strata = np.array(["b", "a", "b", "a", "a"])
    table = np.where(strata == "a", 1.0, 0.0)[None] + np.array([[0.0], [10.0]])
    drawn: list[NDArray[np.float64]] = []

    def statistic(tables: NDArray[np.float64]) -> NDArray[np.float64]:
        drawn.append(tables)
        return tables.mean((-2, -1))

    bootstrap_over_tasks(statistic, table, strata=strata, options=FEW_RUNS_TOO)
    assert (drawn[0] % 10 == (strata == "a")).all()
    runs = drawn[0] // 10
    assert (runs == runs[:, :, :1]).all()  # drawn as whole rows
    assert set(map(tuple, runs[:, :, 0])) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_arrays_are_drawn_jointly() -> None:
    def unequal(first: NDArray[np.int64], second: NDArray[np.int64], tasks: NDArray[np.int64]) -> NDArray[np.float64]:
        return ((first != second) | (tasks != first % 100)).mean((-2, -1))

    table = np.arange(30) + 100 * np.arange(4)[:, None]
    assert bootstrap_over_runs(unequal, table, table, np.arange(30), options=FEW) == Estimate(0, 0, 0)
    for options in (FEW, FEW_RUNS_TOO):
        estimate = bootstrap_over_tasks(unequal, table, table, np.arange(30), strata=["a"] * 30, options=options)
        assert estimate == Estimate(0, 0, 0)


def test_paired_draws_tasks_jointly_and_runs_alone() -> None:
    tasks = np.arange(30.0)

    def other_tasks(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        return (first[..., 0, :] % 100 != second[..., 0, :] % 100).mean(-1)

    def other_runs(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        return (first[..., :2, :] // 100 != second // 100).mean((-2, -1))

    first, second = tasks + 100 * np.arange(3)[:, None], tasks + 100 * np.arange(2)[:, None]
    paired = partial(bootstrap_paired, first=first, second=second, strata=["a"] * 30)
    assert paired(other_tasks, options=FEW_RUNS_TOO) == Estimate(0, 0, 0)
    assert paired(other_runs, options=FEW_RUNS_TOO).high == 1
    assert paired(other_runs, options=FEW) == Estimate(0, 0, 0)


def test_pairing_is_narrower_than_two_separate_intervals() -> None:
    first = correlated(3, 1, 100)
    second = first & (np.random.default_rng(4).random((1, 100)) < 0.8)
    cells = ["a", "b"] * 50
    paired = bootstrap_paired(mean_difference, first, second, strata=cells, options=FEW)
    assert paired.value == pytest.approx(success_rate(first) - success_rate(second))
    assert 0 < paired.low < paired.value < paired.high
    assert width(paired) < width(bootstrap_over_tasks(success_rate, first, strata=cells, options=FEW)) * 0.7


def test_statistics_of_successes_can_be_paired() -> None:
    first, second = correlated(0, 4, 50), correlated(1, 4, 50)
    gain = bootstrap_paired(lambda x, y: pass_at_k(x, 4) - pass_at_k(y, 4), first, second, strata=["a"] * 50)
    assert gain.value == pytest.approx(pass_at_k(first, 4) - pass_at_k(second, 4))
    assert gain.low < gain.value < gain.high


@given(bool_tables)
@settings(max_examples=30)
def test_intervals_are_ordered_and_within_the_range_of_the_data(successes: NDArray[np.bool_]) -> None:
    strata = ["ab"[column % 2] for column in range(successes.shape[1])]
    few = Resampling(num_resamples=49)
    for estimate in (
        bootstrap_over_runs(success_rate, successes, options=few),
        bootstrap_over_tasks(success_rate, successes, strata=strata, options=few),
        estimate_success_rate(successes, strata=strata, options=few),
    ):
        assert 0 <= estimate.low <= estimate.high <= 1
        assert estimate.value == success_rate(successes)


def test_one_run_and_one_stratum_is_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(size=(1, 60))
    ours = bootstrap_over_tasks(mean_return, values, strata=["a"] * 60)
    rng = np.random.default_rng(2)
    theirs = stats.bootstrap((values[0],), np.mean, n_resamples=9_999, method="percentile", rng=rng).confidence_interval
    assert (ours.low, ours.high) == pytest.approx(theirs, abs=0.03 * width(ours))


def test_one_task_over_runs_is_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(size=(40, 1))
    ours = bootstrap_over_runs(mean_return, values)
    rng = np.random.default_rng(2)
    theirs = stats.bootstrap((values[:, 0],), np.mean, n_resamples=9_999, method="percentile", rng=rng)
    assert (ours.low, ours.high) == pytest.approx(theirs.confidence_interval, abs=0.03 * width(ours))


def test_strata_take_their_differences_out_of_the_interval() -> None:
    table = np.repeat([[0.0, 1.0]], 20, axis=1) + np.random.default_rng(0).normal(0, 0.1, (1, 40))
    within = bootstrap_over_tasks(mean_return, table, strata=["a"] * 20 + ["b"] * 20, options=FEW)
    across = bootstrap_over_tasks(mean_return, table, strata=["a"] * 40, options=FEW)
    assert width(within) < width(across) / 3


def test_a_greedy_agent_has_no_width_over_runs_but_over_tasks() -> None:
    greedy = np.repeat(correlated(0, 1, 40), 3, axis=0)
    assert width(bootstrap_over_runs(success_rate, greedy, options=FEW)) == 0
    assert width(bootstrap_over_tasks(success_rate, greedy, strata=["a"] * 40, options=FEW)) > 0.2


def test_success_rates_of_agreeing_episodes_have_exact_intervals() -> None:
    nothing = estimate_success_rate(np.zeros((5, 20), dtype=np.bool_), strata=["a"] * 20)
    assert nothing.value == nothing.low == 0
    assert nothing.high == pytest.approx(1 - 0.025 ** (1 / 20))
    everything = estimate_success_rate(np.ones((5, 20), dtype=np.bool_), strata=["a"] * 20)
    assert everything.low == pytest.approx(0.025 ** (1 / 20))
    some = correlated(0, 5, 20)
    assert estimate_success_rate(some, strata=["a"] * 20) == bootstrap_over_tasks(success_rate, some, strata=["a"] * 20)


def test_drawn_runs_put_pass_at_k_too_low() -> None:
    successes = np.random.default_rng(0).random((4, 200)) < 0.3
    strata = ["a"] * 200
    statistic = partial(pass_at_k, k=4)
    kept = bootstrap_over_tasks(statistic, successes, strata=strata, options=FEW)
    drawn = bootstrap_over_tasks(statistic, successes, strata=strata, options=FEW_RUNS_TOO)
    assert kept.low < kept.value < kept.high
    assert drawn.low < kept.low - 0.1


# --- coverage -----------------------------------------------------------------------------------------------------------


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


CELLS_OF_20 = [cell for cell in "abcd" for _ in range(20)]
ALPHA = np.repeat([4.0, 3.0, 2.0, 1.0], 20)  # a task's rate is drawn from Beta(ALPHA, 5 - ALPHA)
TRUTH = float(np.mean(ALPHA / 5))
COARSE = Resampling(num_resamples=299)


def test_intervals_over_tasks_cover_the_rate_of_the_strata_and_those_over_runs_do_not() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(200):
        rates = rng.beta(ALPHA, 5 - ALPHA)
        greedy = np.repeat(rng.random((1, 80)) < rates, 3, axis=0)
        sampled = rng.random((5, 80)) < rates
        estimates = [
            bootstrap_over_tasks(success_rate, greedy, strata=CELLS_OF_20, options=COARSE),
            bootstrap_over_tasks(success_rate, sampled, strata=CELLS_OF_20, options=COARSE),
            bootstrap_over_runs(success_rate, sampled, options=COARSE),
        ]
        hits.append([covers(estimate, TRUTH) for estimate in estimates])
    greedy_share, sampled_share, over_runs_share = np.mean(hits, axis=0)
    assert 0.90 <= greedy_share <= 0.99
    assert 0.90 <= sampled_share <= 0.99
    assert over_runs_share < 0.85


def test_runs_that_share_something_need_to_be_drawn() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(200):
        rates = 0.5 + rng.uniform(-0.2, 0.2, 80) + rng.uniform(-0.2, 0.2, (8, 1))
        table = rng.random((8, 80)) < rates
        estimates = [
            bootstrap_over_tasks(success_rate, table, strata=["a"] * 80, options=Resampling(299, resample_runs=runs))
            for runs in (False, True)
        ]
        hits.append([covers(estimate, 0.5) for estimate in estimates])
    kept_share, drawn_share = np.mean(hits, axis=0)
    assert kept_share < 0.85
    assert 0.90 <= drawn_share <= 0.99


def test_paired_intervals_cover_the_difference() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(200):
        difficulty = rng.beta(2, 2, 60)
        first = rng.random((1, 60)) < difficulty
        second = rng.random((1, 60)) < difficulty**2  # E[x] - E[x^2] = 1/2 - 3/10 under Beta(2, 2)
        estimate = bootstrap_paired(mean_difference, first, second, strata=["a"] * 60, options=COARSE)
        hits.append(covers(estimate, 0.2))
    assert 0.90 <= np.mean(hits) <= 0.99


# --- amounts, profiles, groups ------------------------------------------------------------------------------------------


def test_amounts_of_all_episodes_are_paid_by_the_solved_ones() -> None:
    successes = np.array([[True, False, True, False]] * 3)
    tokens = np.array([[10, 30, 20, 40]] * 3)
    estimate = estimate_amount_per_solved(tokens, successes, strata=CELLS, options=FEW)
    assert estimate is not None
    assert estimate.value == 50
    assert estimate.low < 50 < estimate.high


def test_nothing_solved_has_no_amount_per_solved() -> None:
    assert estimate_amount_per_solved(np.ones((2, 4)), np.zeros((2, 4), dtype=np.bool_), strata=CELLS) is None


def test_amounts_per_solved_have_no_upper_bound_where_draws_solve_nothing() -> None:
    one = np.arange(20)[None] == 3
    estimate = estimate_amount_per_solved(np.full((1, 20), 5.0), one, strata=["a"] * 20, options=FEW)
    assert estimate is not None
    assert (estimate.value, estimate.high) == (100, math.inf)
    free = estimate_amount_per_solved(np.zeros((1, 20)), one, strata=["a"] * 20, options=FEW)
    assert free == Estimate(0, 0, math.inf)


def test_ratios_of_several_arrays_get_intervals() -> None:
    rng = np.random.default_rng(0)
    successes, steps = correlated(0, 3, 60), rng.integers(5, 20, (3, 60))
    estimate = bootstrap_over_tasks(spl, successes, steps, np.full(60, 5), strata=["a", "b"] * 30, options=FEW)
    assert estimate.value == spl(successes, steps, np.full(60, 5))
    assert 0 < estimate.low < estimate.value < estimate.high < success_rate(successes)


def test_a_profile_falls_from_one_to_zero_with_its_bands() -> None:
    table = np.random.default_rng(0).random((3, 50))
    taus = [-0.1, 0.25, 0.5, 0.75, 1.0]
    profile = performance_profile(table, taus, strata=["a"] * 50, options=FEW)
    assert [point.value for point in profile] == [np.mean(table > tau) for tau in taus]
    assert (profile[0], profile[-1]) == (Estimate(1, 1, 1), Estimate(0, 0, 0))
    bands = np.array([(point.low, point.value, point.high) for point in profile])
    assert (np.diff(bands, axis=0) <= 0).all()
    assert (np.diff(bands, axis=1) >= 0).all()


def test_groups_are_estimated_alone() -> None:
    steps = np.full((3, 4), 8)
    rates = by_group(partial(estimate_success_rate, options=FEW), SUCCESSES, groups=CELLS, strata=CELLS)
    assert {cell: rate.value for cell, rate in rates.items()} == {"a": 5 / 6, "b": 1 / 6}
    spls = by_group(partial(bootstrap_over_tasks, spl), SUCCESSES, steps, np.full(4, 4), groups=CELLS, strata=CELLS)
    assert spls["a"] == bootstrap_over_tasks(spl, SUCCESSES[:, :2], steps[:, :2], np.full(2, 4), strata=CELLS[:2])
    tiers = by_group(partial(performance_profile, thresholds=[0.5]), SUCCESSES, groups=["all"] * 4, strata=CELLS)
    assert tiers["all"] == performance_profile(SUCCESSES, [0.5], strata=CELLS)


# --- rliable (1.2.0; its bootstrap needs arch < 8 and pandas < 3) -------------------------------------------------------


@pytest.fixture
def table() -> NDArray[np.float64]:
    return np.random.default_rng(0).gamma(2.0, size=(5, 12)) * np.linspace(0.2, 1, 12)


@pytest.mark.filterwarnings("ignore")
def test_statistics_are_rliables(table: NDArray[np.float64]) -> None:
    metrics = pytest.importorskip("rliable.metrics")
    assert mean_return(table) == pytest.approx(metrics.aggregate_mean(table))


@pytest.mark.filterwarnings("ignore")
def test_profiles_are_rliables(table: NDArray[np.float64]) -> None:
    library = pytest.importorskip("rliable.library")
    taus = [0.0, 0.5, 1.0, 2.0]
    profile = performance_profile(table, taus, strata=["a"] * 12, options=FEW)
    assert [point.value for point in profile] == pytest.approx(list(library.score_distributions(table, taus)))


@pytest.mark.filterwarnings("ignore")
def test_over_runs_is_rliables_bootstrap(table: NDArray[np.float64]) -> None:
    library = pytest.importorskip("rliable.library")
    np.random.seed(0)  # which rliable draws from
    try:
        _, intervals = library.get_interval_estimates(
            {"agent": table}, lambda x: np.array([mean_return(x)]), reps=4_000
        )
    except TypeError as error:
        pytest.skip(f"rliable's bootstrap does not run here: {error}")
    ours = bootstrap_over_runs(mean_return, table)
    assert (ours.low, ours.high) == pytest.approx(intervals["agent"][:, 0], abs=0.06 * width(ours))
