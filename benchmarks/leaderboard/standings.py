"""Standings: who did how well in one suite and track, every score with its interval over tasks.

Entries are ranked by success rate. References (the random agent, the expert) get more than a track grants: they stand
at the ends, without a rank, and set the scale of the normalised score. Entries with flagged repairs are listed apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.agents.agents import REFERENCES, AgentSpec, Kind, parse_agent
from benchmarks.leaderboard.entries import Entry
from benchmarks.leaderboard.scores import (
    DEFAULT,
    Estimate,
    Resampling,
    bootstrap_over_tasks,
    bootstrap_paired,
    by_group,
    estimate_amount_per_solved,
    estimate_success_rate,
    mean_difference,
    mean_return,
    normalised_score,
    pass_hat_k,
    performance_profile,
    sign_flip_test,
    spl,
)
from benchmarks.leaderboard.table import Table
from benchmarks.suites.suite import DIGESTS, TRACKS, Suite, Track, sha256

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Scale: TypeAlias = tuple[Mapping[str, float], Mapping[str, float]]

KNOBS = ("state_space_size", "action_space_size", "solution_length", "reward_density")

THRESHOLDS = tuple(step / 20 for step in range(20))
"""Returns of the performance profile."""

READING = (
    "0.53 [0.45, 0.61] is a score and its 95 % interval: where it may lie on other tasks of the same cells (bootstrap over "
    "tasks within cells, each with all its runs). A greedy agent's runs may all be equal, and more of them would not narrow "
    "it. Where each run is of a model of its own ({run} in the agent's name), runs are drawn again as well: what another "
    "training would have given; with few runs even that is too narrow.",
    "A success rate or pass^k of 0 or 1 has the exact interval of Clopper and Pearson. Any other interval without width "
    "says that all episodes scored the same, not that the next one would.",
    "Ranks go by success rate. \u2248 marks an entry that is not distinguishable from the one above: the 95 % interval of "
    "their difference on the same tasks contains 0. That two intervals overlap does not tell this.",
    "p-values (flipped signs of the differences between tasks) are not corrected for the number of comparisons: of twenty "
    "between equal entries, one falls below 0.05 by chance. Where runs are of models of their own there is none: they would "
    "have to be many.",
    "Normalised: return between the random agent (0) and the expert (1), mean over cells, both ends taken as exact. SPL: "
    "success, weighted by the steps of the reference solution over those taken. pass^k: share of tasks that k runs all "
    "solve, k the smallest number of runs in the table. Tokens and cost: of all episodes, divided by the solved ones; an "
    "endpoint is sent, and bills, the conversation again in every turn, a local model reads each token once.",
    "References (random, the experts) get more than a track grants. They are there for scale and have no rank.",
    "Flagged: a solved repair of software uses what attacks on the grading use (frames, the modules of the test runner, and "
    "the like), so that a reader should look at it. Such entries are listed apart, without a rank; the diffs of all solved "
    "repairs are on a page of each entry.",
)
"""Explanation of the scores, in paragraphs of plain text."""

LIMITS = (
    "who chose the actions: the named model, another one, a person, or a copy of the solution",
    "that they were chosen with no more than the track grants",
    "that the run, or an episode of it, is not the best of many, or that an agent was not trained on these very tasks",
    "tokens, cost, times, settings and versions, which are as they were handed in",
    "the texts that programs printed (SWEGym), which differ from run to run and are shown as they were handed in",
)
"""Limits of what verification proves, as the end of a sentence each."""


@dataclass(frozen=True)
class CellScores:
    """Scores of an entry in one cell."""

    success: Estimate
    returns: Estimate
    spl: Estimate


@dataclass(frozen=True)
class KnobScore:
    """Success in all cells of a domain that ask for one value of a knob.

    Attributes:
        domain: such as "TextWorld".
        knob: one of `KNOBS`.
        value: value that the cells request.
        num_tasks: of these cells together.
        success: of them together.
    """

    domain: str
    knob: str
    value: float
    num_tasks: int
    success: Estimate


@dataclass(frozen=True)
class GroupScore:
    """Success in all cells of one group.

    Attributes:
        kind: such as "split" or "task type".
        name: such as "valid_seen".
        num_tasks: of these cells together.
        success: of them together.
    """

    kind: str
    name: str
    num_tasks: int
    success: Estimate


@dataclass(frozen=True)
class Scores:
    """Scores of an entry.

    Attributes:
        success: share of episodes solved.
        normalised: return between the random agent (0) and the expert (1), mean over cells; None without references, or
            where a cell does not tell them apart.
        returns: mean return.
        spl: success weighted by the steps of the reference solution over those taken.
        steps: mean steps of an episode.
        pass_all: share of tasks that k runs all solve: pass^k, k the smallest number of runs on the board.
        tokens: per solved episode; None where they were not counted, or nothing was solved.
        cost: in the currency of its prices, likewise.
        cells: of each cell, in the order of the suite.
        knobs: over each knob.
        groups: of each group of cells, where the suite has groups.
        profile: share of episodes that return more than each of `THRESHOLDS`.
    """

    success: Estimate
    normalised: Estimate | None
    returns: Estimate
    spl: Estimate
    steps: Estimate
    pass_all: Estimate
    tokens: Estimate | None
    cost: Estimate | None
    cells: tuple[CellScores, ...]
    knobs: tuple[KnobScore, ...]
    groups: tuple[GroupScore, ...]
    profile: tuple[Estimate, ...]


@dataclass(frozen=True)
class Comparison:
    """The entry above less this one, on the same tasks.

    Attributes:
        difference: of the success rates.
        p_value: of "neither is better"; None where runs are of models of their own.
    """

    difference: Estimate
    p_value: float | None

    @property
    def is_clear(self) -> bool:
        """True if the interval of the difference leaves 0 out."""
        return not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True, eq=False)
class Standing:
    """An entry among others.

    Attributes:
        entry: the entry.
        spec: its agent.
        scores: its scores.
        rank: from 1; the same where success rates are equal; None for references and flagged entries.
        above: compared with the entry that is ranked before it; None for the first and where there is no rank.
    """

    entry: Entry
    spec: AgentSpec
    scores: Scores
    rank: int | None = None
    above: Comparison | None = None


@dataclass(frozen=True, eq=False)
class Board:
    """The entries of one suite and track: the experts, the ranked from the best on, the flagged, the random agents."""

    suite: Suite
    track: Track
    standings: tuple[Standing, ...]

    @property
    def num_runs(self) -> int:
        """The smallest number of runs, k of pass^k."""
        return min(standing.entry.config.num_runs for standing in self.standings)

    @property
    def citation(self) -> str:
        """Name of the table as it stands, with a digest of the suite and of every entry; empty where runs are no entries."""
        entries = [standing.entry for standing in self.standings]
        if not all(entry.digest for entry in entries):
            return ""
        content = [self.suite.digest, self.track.name, sorted([entry.slug, entry.digest] for entry in entries)]
        table = "/".join(filter(None, (self.suite.name, self.suite.split, self.track.name)))
        return f"{table}@{sha256(json.dumps(content))[:16]}"

    @property
    def ranked(self) -> list[Standing]:
        """Standings that have a rank, from the best on."""
        return [standing for standing in self.standings if standing.rank is not None]

    @property
    def flagged(self) -> list[Standing]:
        """Standings of entries with flagged repairs."""
        return [one for one in self.standings if one.entry.is_flagged and not one.spec.is_reference]


def make_boards(entries: Iterable[Entry]) -> list[Board]:
    """Return one board for each suite and track that has entries, in the order in which suites and tracks are declared.

    Entries of one split alone have a board of their own, after that of the whole suite.
    """
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        config = entry.config
        groups.setdefault((config.suite, config.track, config.split or ""), []).append(entry)
    order = [(suite, track) for suite in DIGESTS for track in TRACKS]
    return [make_board(groups[place]) for wanted in order for place in sorted(groups) if place[:2] == wanted]


def make_board(entries: Sequence[Entry]) -> Board:
    """Return the board of entries of one suite, or one split of it, and one track.

    Of several references of a kind the one with most runs sets the scale.
    """
    entries = sorted(entries, key=lambda entry: (-entry.config.num_runs, entry.slug))
    config = entries[0].config
    suite = config.found_suite()
    specs = [parse_agent(entry.config.agent) for entry in entries]
    scale = _scale({spec.kind: entry.table for spec, entry in reversed(list(zip(specs, entries, strict=True)))})
    k = entries[-1].config.num_runs
    standings = [
        Standing(entry, spec, score(entry.table, suite, scale, k)) for spec, entry in zip(specs, entries, strict=True)
    ]
    # Returns are as they were handed in, to within what verification lets pass.
    best_first = sorted(
        standings, key=lambda one: (-one.scores.success.value, -round(one.scores.returns.value, 6), one.entry.slug)
    )
    others = [one for one in best_first if not one.spec.is_reference]
    ranked = _ranked([one for one in others if not one.entry.is_flagged])
    flagged = [one for one in others if one.entry.is_flagged]
    *experts, last = ([one for one in standings if one.spec.kind == kind] for kind in REFERENCES)
    return Board(suite, config.found_track(), (*chain.from_iterable(experts), *ranked, *flagged, *last))


def score(table: Table, suite: Suite, scale: Scale | None, k: int) -> Scores:
    """Return all scores of one entry.

    Args:
        table: its episodes.
        suite: their suite.
        scale: mean return of the random agent and of the expert in each cell; None leaves the normalised score out.
        k: of pass^k.
    """
    strata, options = table.strata, resampling(table)
    successes, returns, steps = _successes(table), _returns(table), table.column("steps")
    reference = np.array([suite.cells[cell].tasks[task].reference_steps for cell, task in suite.tasks()])
    over_tasks = partial(bootstrap_over_tasks, strata=strata, options=options)
    by_cell = partial(by_group, groups=strata, strata=strata)
    rate = partial(estimate_success_rate, options=options)
    cells = {
        "success": by_cell(rate, successes),
        "returns": by_cell(partial(bootstrap_over_tasks, mean_return, options=options), returns),
        "spl": by_cell(partial(bootstrap_over_tasks, spl, options=options), successes, steps, reference),
    }
    return Scores(
        success=rate(successes, strata=strata),
        normalised=scale
        and over_tasks(partial(normalised_score, strata=strata, random=scale[0], expert=scale[1]), returns),
        returns=over_tasks(mean_return, returns),
        spl=over_tasks(spl, successes, steps, reference),
        steps=over_tasks(mean_return, steps),
        pass_all=_pass_all(successes, k, strata),
        tokens=_per_solved(
            table.column("prompt_tokens") + table.column("completion_tokens"), successes, strata, options
        ),
        cost=_per_solved(table.column("cost"), successes, strata, options),
        cells=tuple(CellScores(**{key: of[cell.name] for key, of in cells.items()}) for cell in suite.cells),
        knobs=tuple(_over_knobs(suite, strata, successes, options)),
        groups=tuple(_over_groups(suite, strata, successes, options)),
        profile=tuple(performance_profile(returns, THRESHOLDS, strata=strata, options=options)),
    )


def compare(first: Table, second: Table) -> Comparison:
    """Return the first entry less the second, on the same tasks."""
    pair = _successes(first), _successes(second)
    options = max(resampling(first), resampling(second), key=lambda one: one.resample_runs)
    difference = bootstrap_paired(mean_difference, *pair, strata=first.strata, options=options)
    return Comparison(difference, None if options.resample_runs else sign_flip_test(*pair))


def resampling(table: Table) -> Resampling:
    """Return the bootstrap of an entry's intervals: over its runs, too, if each is of another model."""
    return replace(DEFAULT, resample_runs="{run}" in table.config.agent)


def _pass_all(successes: Bools, k: int, strata: Sequence[str]) -> Estimate:
    if k == len(successes):
        # Of k runs out of k there is one choice; as successes of tasks they have an interval at 0 and 1, too.
        return estimate_success_rate(np.asarray(successes.all(axis=0, keepdims=True)), strata=strata)
    return bootstrap_over_tasks(partial(pass_hat_k, k=k), successes, strata=strata)


def _successes(table: Table) -> Bools:
    return np.asarray(table.column("success") == 1)


def _returns(table: Table) -> Floats:
    """Return sums of rewards, such that 1 comes out neither above nor below 1."""
    return table.column("return").round(9)


def _scale(tables: Mapping[Kind, Table]) -> Scale | None:
    """None unless both references are there, and the expert is the better one in every cell."""
    if "random" not in tables or "expert" not in tables:
        return None
    low, high = (_cell_returns(tables[kind]) for kind in ("random", "expert"))
    return (low, high) if all(high[cell] > low[cell] for cell in low) else None


def _cell_returns(table: Table) -> dict[str, float]:
    names = np.array(table.strata)
    return {name: float(mean_return(_returns(table)[:, names == name])) for name in dict.fromkeys(table.strata)}


def _per_solved(amounts: Floats, successes: Bools, strata: Sequence[str], options: Resampling) -> Estimate | None:
    if np.isnan(amounts).any():
        return None
    return estimate_amount_per_solved(amounts, successes, strata=strata, options=options)


def _over_knobs(suite: Suite, strata: Sequence[str], successes: Bools, options: Resampling) -> Iterable[KnobScore]:
    """Return knobs that have two values or more in a domain."""
    for domain in dict.fromkeys(cell.domain for cell in suite.cells):
        for knob in KNOBS:
            asked = {cell.name: cell.knobs.get(knob) for cell in suite.cells if cell.domain == domain}
            values = sorted({value for value in asked.values() if value is not None})
            for value in values if len(values) > 1 else ():
                names = {name for name, its in asked.items() if its == value}
                yield KnobScore(domain, knob, value, *_together(names, strata, successes, options))


def _over_groups(suite: Suite, strata: Sequence[str], successes: Bools, options: Resampling) -> Iterable[GroupScore]:
    """Return the groups of the suite's cells, kind by kind."""
    for kind, group in dict.fromkeys(named for cell in suite.cells for named in cell.groups.items()):
        names = {cell.name for cell in suite.cells if cell.groups.get(kind) == group}
        yield GroupScore(kind, group, *_together(names, strata, successes, options))


def _together(cells: Set[str], strata: Sequence[str], successes: Bools, options: Resampling) -> tuple[int, Estimate]:
    """Return the number of tasks in some cells, and the success in them."""
    columns = [place for place, name in enumerate(strata) if name in cells]
    labels = [strata[place] for place in columns]
    return len(columns), estimate_success_rate(successes[:, columns], strata=labels, options=options)


def _ranked(best_first: Sequence[Standing]) -> list[Standing]:
    """Return the same with their ranks, each compared with the one before it."""
    rates = [one.scores.success.value for one in best_first]
    comparisons = [None, *(compare(upper.entry.table, lower.entry.table) for upper, lower in pairwise(best_first))]
    return [
        replace(one, rank=rates.index(rate) + 1, above=comparison)
        for one, rate, comparison in zip(best_first, rates, comparisons, strict=False)
    ]
