"""Options that every trainer shares, nested into each algorithm's own `Config`; the command line shows them flat."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import tyro

from baselines.errors import ConfigError


def parse_json_object(text: str) -> dict[str, Any]:
    """Reads constructor options from a JSON object.

    Raises:
        ConfigError: the text is not JSON, or not an object.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f'expected a JSON object such as \'{{"split": "train"}}\', got {text!r}: {error}') from error
    if not isinstance(value, dict):
        raise ConfigError(f'expected a JSON object such as \'{{"split": "train"}}\', got {text!r}')
    return value


JsonObject: TypeAlias = Annotated[
    dict[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=lambda args: parse_json_object(args[0]),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [json.dumps(value)],
    ),
]


@dataclass(frozen=True)
class RolloutSettings:
    """How episodes are sampled."""

    temperature: float = 1.0
    """Divides the logits; recorded log-probabilities include it. 1.0 trains the distribution that is evaluated."""
    max_new_tokens: int = 32
    """Tokens of one action at most, its end token included. Commands of text games take 3 to 15."""
    max_context_tokens: int = 2048
    """Tokens of one episode at most; a turn that may not fit truncates the episode, and is counted."""
    top_p: float = 1.0
    """Refused unless 1: recorded log-probabilities would no longer be the model's own."""
    top_k: int = 0
    """Refused unless 0, for the same reason."""

    def check(self, training: bool = True) -> None:
        """Raises `ConfigError` for values outside their range; `training` also refuses greedy sampling."""
        if self.top_p != 1.0 or self.top_k != 0:
            raise ConfigError(
                "expected top_p=1 and top_k=0 (log-probabilities are those of the sampling distribution), "
                f"got top_p={self.top_p}, top_k={self.top_k}"
            )
        if training and self.temperature <= 0:
            raise ConfigError(f"expected temperature > 0 for training, got {self.temperature}")
        check_at_least("temperature", self.temperature, 0.0)
        check_at_least("max_new_tokens", self.max_new_tokens, 1)
        check_at_least("max_context_tokens", self.max_context_tokens, self.max_new_tokens + 1)


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW (arXiv 1711.05101) and how a batch is cut to fit the memory."""

    learning_rate: float = 1e-6
    """Step size of AdamW. 1e-6 suits pretrained models of 0.5 B and more (arXiv 2510.01132, its best)."""
    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW."""
    warmup_steps: int = 0
    """Optimiser steps over which the learning rate rises linearly from 0."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global L2 norm."""
    micro_batch_tokens: int = 8192
    """Tokens, padding included, of one forward and backward pass; gradients accumulate over a minibatch."""

    def check(self) -> None:
        """Raises `ConfigError` for values outside their range."""
        check_positive("learning_rate", self.learning_rate)
        check_at_least("weight_decay", self.weight_decay, 0.0)
        check_at_least("warmup_steps", self.warmup_steps, 0)
        check_positive("max_grad_norm", self.max_grad_norm)
        check_at_least("micro_batch_tokens", self.micro_batch_tokens, 1)


@dataclass(frozen=True)
class RunSettings:
    """Where a run lives, how it is seeded, when it is evaluated and saved."""

    out: Path = Path("runs/latest")
    """Folder for metrics.jsonl, curves.png, checkpoints/ and model/."""
    seed: int = 1
    """Seeds weights drawn from nothing, sampling and the order of data."""
    resume: bool = False
    """Continue the run in `out` from its newest checkpoint, to the same curve."""
    checkpoint_every: int = 0
    """Iterations between checkpoints; 0 writes none."""
    keep_checkpoints: int = 2
    """The newest checkpoints that are kept."""
    eval_every: int = 0
    """Iterations between evaluations on held-out seeds; 0 evaluates only at the end, if `eval_episodes` > 0."""
    eval_episodes: int = 0
    """Held-out episodes of one evaluation, played greedily; 0 for none."""
    eval_first_seed: int = 1_000_000
    """Held-out seeds are the `eval_episodes` seeds from here on."""
    eval_env_kwargs: JsonObject = field(default_factory=dict)
    """Constructor options of the evaluation's environments, laid over `env_kwargs`, such as '{"split": "test"}'."""
    num_eval_envs: int = 64
    """Episodes that an evaluation plays side by side."""
    device: str = "cpu"
    """Torch device of the model."""
    dtype: str = "float32"
    """Type of the weights: float32 or bfloat16."""
    num_threads: int = 0
    """Threads of torch on the CPU; 0 leaves torch's own choice."""
    progress: bool = True
    """Show the live bar."""

    def check(self) -> None:
        """Raises `ConfigError` for values outside their range."""
        for name in ("checkpoint_every", "eval_every", "eval_episodes", "eval_first_seed", "num_threads", "seed"):
            check_at_least(name, getattr(self, name), 0)
        check_at_least("keep_checkpoints", self.keep_checkpoints, 1)
        check_at_least("num_eval_envs", self.num_eval_envs, 1)
        check_one_of("dtype", self.dtype, ("float32", "bfloat16"))

    @property
    def eval_seeds(self) -> range:
        """The held-out seeds of every evaluation."""
        return range(self.eval_first_seed, self.eval_first_seed + self.eval_episodes)


def check_at_least(name: str, value: float, minimum: float) -> None:
    """Raises `ConfigError` unless `value >= minimum`."""
    if not value >= minimum:
        raise ConfigError(f"expected {name} >= {minimum}, got {value}")


def check_positive(name: str, value: float) -> None:
    """Raises `ConfigError` unless `value > 0`."""
    if not value > 0:
        raise ConfigError(f"expected {name} > 0, got {value}")


def check_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises `ConfigError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"expected {name} to be one of {', '.join(choices)}, got {value!r}")
