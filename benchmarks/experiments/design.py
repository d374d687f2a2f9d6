"""What an experiment is made of: arms that are trained, columns of games that judge them, and a scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baselines.evaluate import two_level_interval
from baselines.settings import RolloutSettings
from benchmarks.scores import Estimate

Algorithm: TypeAlias = Literal["sft", "grpo", "rloo", "reinforce_pp", "ppo"]

Results: TypeAlias = Mapping[str, Mapping[str, NDArray[np.bool_]]]
"""Arm -> column -> (S, N) success of S seeds on N games; arms that were not trained yet are missing."""

FIRST_TEST_SEED = 1_000_000
"""Held-out games are the seeds from here on, of the test split."""


@dataclass(frozen=True)
class Scale:
    """How large everything is; the same experiment at another scale is another run of the same data.

    Attributes:
        model: of `--model`.
        device: of torch.
        dtype: "float32" or "bfloat16".
        options: constructor options of every environment.
        rollout: how episodes are sampled.
        num_demos: episodes that the expert demonstrates.
        sft_epochs: passes over them.
        sft_learning_rate: AdamW's for SFT.
        num_iterations: rounds of practice.
        episodes_per_batch: episodes of one round.
        group_size: episodes of one task, for GRPO and RLOO.
        learning_rate: AdamW's of practice, for all algorithms.
        warmup_steps: optimiser steps of practice over which it rises.
        num_train_games: games that are practised; none of them is demonstrated.
        num_test_games: held-out games of a column.
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
    num_train_games: int
    num_test_games: int
    num_seeds: int


PRACTICE = ("num_iterations", "episodes_per_batch", "group_size", "learning_rate", "warmup_steps")
"""Fields of a scale that mean nothing to an arm that only clones."""

SCALES: dict[str, Scale] = {
    "laptop": Scale(
        model="tiny",
        device="cpu",
        dtype="float32",
        options={"preamble": False, "by_number": True},
        rollout=RolloutSettings(max_context_tokens=2048, max_new_tokens=4),
        num_demos=200,
        sft_epochs=14,
        sft_learning_rate=1e-3,
        num_iterations=12,
        episodes_per_batch=64,
        group_size=8,
        learning_rate=3e-4,
        warmup_steps=12,
        num_train_games=32,
        num_test_games=200,
        num_seeds=3,
    ),
    "gpu": Scale(
        model="smollm2-135m",
        device="cuda",
        dtype="float32",
        options={"show_admissible": True},
        rollout=RolloutSettings(max_context_tokens=4096, max_new_tokens=24, num_envs=128),
        num_demos=200,
        sft_epochs=2,
        sft_learning_rate=2e-4,
        num_iterations=12,
        episodes_per_batch=256,
        group_size=8,
        learning_rate=2e-5,
        warmup_steps=12,
        num_train_games=1000,
        num_test_games=200,
        num_seeds=3,
    ),
}
"""laptop: one run of an arm takes minutes on one core. gpu: one GPU of 80 GB; of it only SFT has been run to its end."""

WITHOUT_WARMUP: Mapping[str, Mapping[str, Any]] = {"laptop": {"warmup_steps": 0}}
"""For experiments that were run before it was seen that AdamW's first steps take a clone apart: an iteration of them moved
`tiny` by .1 to .3 nats a token, and most of the later ones by .01 to .04."""


@dataclass(frozen=True)
class Arm:
    """Something that is trained.

    Attributes:
        name: in the table.
        algorithm: trainer.
        env_id: where it is trained.
        start: arm from which it goes on; None starts from the scale's model.
        env_kwargs: constructor options beside those of the scale.
        also: further ids with weights, for mixtures.
        num_demos: for SFT; None takes the scale's.
        num_iterations: for practice; None takes the scale's.
        num_train_games: for practice; None takes the scale's.
        num_minibatches: optimiser steps of an iteration of practice, in one pass over its episodes; None takes the passes
            and steps that are the algorithm's defaults, which differ.
        options: of the algorithm, such as {"credit": "turn"}.
    """

    name: str
    algorithm: Algorithm
    env_id: str
    start: str | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, float] = field(default_factory=dict)
    num_demos: int | None = None
    num_iterations: int | None = None
    num_train_games: int | None = None
    num_minibatches: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """Games that judge every arm.

    Attributes:
        name: in the table.
        env_id: what is played.
        env_kwargs: constructor options beside those of the scale.
        practised: whether these are the games that are practised, of the train split, instead of held-out ones.
        num_games: how many games; None takes the scale's.
    """

    name: str
    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    practised: bool = False
    num_games: int | None = None


@dataclass(frozen=True)
class Experiment:
    """One question.

    Attributes:
        question: in a sentence.
        arms: in order; an arm stands after the one that it starts from.
        columns: what judges them.
        compared: pairs of arms, a later one and an earlier one; the table tells the difference of each.
        published: what the literature reports, as Markdown with its source; "" where it reports nothing.
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
        """The scale of that name, as this experiment has it."""
        return replace(SCALES[name], **self.changes.get(name, {}))


def rate(successes: NDArray[np.bool_]) -> Estimate:
    """Success rate of (S, N) with its interval over seeds and games."""
    values = successes.astype(np.float64)
    return Estimate(float(values.mean()), *two_level_interval(values))


def difference(results: Results, later: str, earlier: str, column: str) -> Estimate | None:
    """Paired difference in success of two arms on the same seeds and games; None where one was not trained yet."""
    return mean_difference(results, [(later, earlier)], column)


def mean_difference(results: Results, pairs: Sequence[tuple[str, str]], column: str) -> Estimate | None:
    """The mean of `difference` over pairs of a later and an earlier arm; None where one of them was not trained yet."""
    names = [name for pair in pairs for name in pair]
    if any(name not in results for name in names):
        return None
    seeds = min(len(results[name][column]) for name in names)
    of = {name: results[name][column][:seeds].astype(np.float64) for name in names}
    gains = np.mean([of[later] - of[earlier] for later, earlier in pairs], axis=0)
    return Estimate(float(gains.mean()), *two_level_interval(gains))


def is_clear(estimate: Estimate | None) -> bool:
    """Whether a difference is known to be none of 0."""
    return estimate is not None and (estimate.low > 0 or estimate.high < 0)


def textworld(size: str, density: str = "Dense") -> str:
    """The id of one of the literature's sizes, such as "w2-o3-q4"."""
    return f"textagent_gym:TextWorld-{size}-{density}-v0"
