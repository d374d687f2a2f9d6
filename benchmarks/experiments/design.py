"""Parts of an experiment: arms that are trained, columns of games that they are evaluated on, and a scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baselines.config.settings import RolloutSettings
from baselines.stats import two_level_interval
from benchmarks.leaderboard.scores import Estimate

Algorithm: TypeAlias = Literal["base", "sft", "grpo", "rloo", "reinforce_pp", "ppo", "rft"]
"""A trainer; "base" trains nothing and evaluates the scale's model as it is."""

Results: TypeAlias = Mapping[str, Mapping[str, NDArray[np.bool_]]]
"""Arm -> column -> (S, N) success of S seeds on N games; arms that were not trained yet are missing."""

FIRST_VALIDATION_SEED = 40_000_000
"""First seed of the games on which settings are chosen. They are of the train split and are not trained on."""

FIRST_SEED = {"train": 50_000_000, "test": 60_000_000}
"""Split -> first seed of the games of a column. No seed from here on is trained on, so that the games of the train split
have new names and mostly known structures, and those of the test split have new structures."""


@dataclass(frozen=True)
class Scale:
    """The size of everything; the same experiment at another scale is another run of the same data.

    Attributes:
        model: of `--model`.
        device: of torch.
        dtype: "float32" or "bfloat16".
        options: constructor options of every environment.
        rollout: settings of the sampling.
        num_demos: expert episodes of SFT.
        sft_epochs: passes over them.
        sft_learning_rate: AdamW's for SFT.
        num_iterations: rounds of RL.
        episodes_per_batch: episodes of one round.
        group_size: episodes of one task, for GRPO and RLOO.
        learning_rate: AdamW's of RL, for all algorithms.
        warmup_steps: optimiser steps of RL over which it rises.
        num_minibatches: optimiser steps of one round of RL, in one pass over its episodes.
        gamma: discount from one decision to the next.
        num_test_games: games of a column.
        num_seeds: training seeds, from 1.
    """

    model: str
    device: str
    dtype: Literal["float32", "bfloat16"]
    options: Mapping[str, Any]
    rollout: RolloutSettings
    num_demos: int
    sft_epochs: int
    sft_learning_rate: float
    num_iterations: int
    episodes_per_batch: int
    group_size: int
    learning_rate: float
    warmup_steps: int
    num_minibatches: int
    gamma: float
    num_test_games: int
    num_seeds: int


RL_FIELDS = (
    "num_iterations",
    "episodes_per_batch",
    "group_size",
    "learning_rate",
    "warmup_steps",
    "num_minibatches",
    "gamma",
)
"""Fields of a scale that mean nothing to an arm without RL."""

SCALES: dict[str, Scale] = {
    "laptop": Scale(
        model="tiny-base",
        device="cpu",
        dtype="float32",
        options={"preamble": False},
        rollout=RolloutSettings(decode="listed", max_context_tokens=2048, max_new_tokens=24),
        num_demos=200,
        sft_epochs=3,
        sft_learning_rate=3e-4,
        num_iterations=25,
        episodes_per_batch=64,
        group_size=4,
        learning_rate=3e-4,
        warmup_steps=12,
        num_minibatches=4,
        gamma=0.9,
        num_test_games=200,
        num_seeds=3,
    ),
    "gpu": Scale(
        model="smollm2-135m",
        device="cuda",
        dtype="float32",
        options={"preamble": False},
        rollout=RolloutSettings(decode="listed", max_context_tokens=4096, max_new_tokens=24, num_envs=128),
        num_demos=200,
        sft_epochs=2,
        sft_learning_rate=2e-4,
        num_iterations=60,
        episodes_per_batch=128,
        group_size=8,
        learning_rate=2e-5,
        warmup_steps=12,
        num_minibatches=4,
        gamma=0.9,
        num_test_games=200,
        num_seeds=3,
    ),
}
"""laptop: one run of an arm takes minutes on one core. gpu: one GPU of 80 GB; it has not been run."""


@dataclass(frozen=True)
class Arm:
    """A policy that is trained, or evaluated as it is.

    Attributes:
        name: in the table.
        algorithm: trainer, or "base".
        env_id: environment of the training.
        start: arm whose model it starts from; None starts from the scale's model.
        env_kwargs: further constructor options than those of the scale.
        also: further ids with weights, for mixtures.
        num_demos: for SFT; None takes the scale's.
        num_iterations: for RL; None takes the scale's.
        options: of the trainer, by the names of its command line, such as {"credit": "turn"}; they replace the scale's.
    """

    name: str
    algorithm: Algorithm
    env_id: str
    start: str | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, float] = field(default_factory=dict)
    num_demos: int | None = None
    num_iterations: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """Games on which every arm is evaluated.

    Attributes:
        name: in the table.
        env_id: environment.
        env_kwargs: further constructor options than those of the scale.
        split: of the games.
        sampled: True if actions are sampled at temperature 1; else they are greedy.
        num_games: number of games; None takes the scale's.
        first_seed: of the games; None takes the split's.
    """

    name: str
    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    split: str = "test"
    sampled: bool = False
    num_games: int | None = None
    first_seed: int | None = None


@dataclass(frozen=True)
class Experiment:
    """One question.

    Attributes:
        question: in a sentence.
        arms: in order; an arm stands after the one that it starts from.
        columns: games on which they are evaluated.
        compared: pairs of arms, a later one and an earlier one; the table has the paired difference of each.
        published: figures of the literature, as Markdown with their source; "" if there are none.
        analyse: from results to sentences.
        changes: name of a scale -> fields of it that are others in this experiment.
    """

    question: str
    arms: tuple[Arm, ...]
    columns: tuple[Column, ...]
    compared: tuple[tuple[str, str], ...]
    published: str
    analyse: Callable[[Results], list[str]]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def scale(self, name: str) -> Scale:
        """Return the scale of that name, as this experiment has it."""
        return replace(SCALES[name], **self.changes.get(name, {}))


def rate(successes: NDArray[np.bool_]) -> Estimate:
    """Return the success rate of (S, N) with its interval over seeds and games."""
    values = successes.astype(np.float64)
    return Estimate(float(values.mean()), *two_level_interval(values, bounds=(0.0, 1.0)))


def difference(results: Results, later: str, earlier: str, column: str) -> Estimate | None:
    """Return paired difference in success of two arms on the same seeds and games; None where one was not trained yet."""
    return mean_difference(results, [(later, earlier)], column)


def mean_difference(results: Results, pairs: Sequence[tuple[str, str]], column: str) -> Estimate | None:
    """Return the mean of `difference` over pairs of a later and an earlier arm.

    None where one of them was not trained yet.
    """
    names = [name for pair in pairs for name in pair]
    if any(name not in results for name in names):
        return None
    seeds = min(len(results[name][column]) for name in names)
    of = {name: results[name][column][:seeds].astype(np.float64) for name in names}
    gains = np.mean([of[later] - of[earlier] for later, earlier in pairs], axis=0)
    return Estimate(float(gains.mean()), *two_level_interval(gains, bounds=(-1.0, 1.0)))


def is_clear(estimate: Estimate | None) -> bool:
    """Return whether a difference is known to be none of 0, to the two digits that tables show."""
    return estimate is not None and (round(estimate.low, 2) > 0 or round(estimate.high, 2) < 0)


def textworld(size: str, density: str = "Dense") -> str:
    """Return the id of one of the literature's sizes, such as "w2-o3-q4"."""
    return f"textagent_gym:TextWorld-{size}-{density}-v0"


def both_splits(
    name: str,
    env_id: str,
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    num_games: int | None = None,
    skip: int = 0,
) -> tuple[Column, ...]:
    """Return greedy and sampled columns of one environment, on new seeds of the train split and on the test split.

    Args:
        name: put before the name of each column.
        env_id: environment.
        env_kwargs: further constructor options than those of the scale.
        num_games: games of a column; None takes the scale's.
        skip: number of seeds to leave out at the start of each split.
    """
    return tuple(
        Column(f"{name}{where}{how}", env_id, env_kwargs or {}, split, sampled, num_games, FIRST_SEED[split] + skip)
        for split, where in (("train", "new seeds"), ("test", "test split"))
        for sampled, how in ((False, ""), (True, ", sampled"))
    )
