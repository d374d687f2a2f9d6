"""Speed of the trainers and of their alternatives, on this machine.

Two tables:

1. Rollouts, in episodes per second. Against them stands the loop that most multi-turn scripts have: each turn, the whole
   history of every live episode is padded on the left and given to transformers' `model.generate`, which uses a
   key-value cache within the call and forgets it afterwards. Both play the same tasks in the same environments side by
   side, with the same weights, temperature, tokens per action and budget of turns; resets and steps of the environments
   and the tokenizer are timed on both sides. The other loop keeps its history as token ids and need not say how
   probable its tokens were; ours records that too. The two take turns, and the median time of each counts.
2. GRPO's update, in tokens per second: all tokens of the episodes (prompt, observations, actions) over the seconds of
   one round of optimiser steps. Against it stands `GRPOTrainer` of TRL (see `peers/trl_update.py`), in an interpreter of
   its own, on the same episodes, weights and advantages, with AdamW and without KL term, dropout, checkpointing, logs
   or files. Timed are, on our side, all of GRPO's update: shuffling, cutting into micro-batches, forward and backward
   passes, clipping, AdamW's steps. On TRL's side: forward and backward passes, clipping, AdamW's steps, and the pass for
   old log-probabilities where its configuration needs one; not its data loading, rewards, padding or bookkeeping. Each
   side is shown at the size of micro-batch that it is fastest with. Every advantage differs from 0, because our update
   would leave out the other episodes. The gradient's norm before the first step says whether both computed the same.

How to run (TRL lives in a separate environment, `python -m venv trl; trl/bin/pip install trl==1.16.0`):

    python -m benchmarks speed-training --trl trl/bin/python
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from baselines import grpo
from baselines.config.settings import (
    JsonObject,
    OptimiserSettings,
    RolloutSettings,
    RunSettings,
    TaskSettings,
    UpdateSettings,
    check_at_least,
)
from baselines.errors import ConfigError
from baselines.models.policy import Policy, load_policy, silence_transformers
from baselines.rl.batch import collate
from baselines.rl.learner import Learner
from baselines.rl.update import update_policy
from baselines.sampling.environments import EnvPool, Task, collect_texts
from baselines.sampling.episode import Episode
from baselines.sampling.rollout import rollout
from benchmarks.speed.peers.generate_rollout import generate_rollout
from textagent_gym.bench import Stopwatch

TRL_SCRIPT = Path(__file__).parent / "peers" / "trl_update.py"

Counts: TypeAlias = tuple[int, int, int]
"""Turns, tokens and sampled tokens of an episode."""


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    model: str = "tiny"
    """`tiny` (new, untrained), a folder or a hub name."""
    device: str = "cpu"
    """Torch device."""
    dtype: str = "float32"
    """Type of the weights: float32 or bfloat16."""
    num_threads: int = 0
    """Threads of torch on the CPU, on all sides; 0 leaves torch's own choice."""
    env_id: str = "textagent_gym:TextWorld-Medium-Dense-v0"
    """Environment."""
    env_kwargs: JsonObject = field(default_factory=lambda: {"max_steps": 16})
    """Constructor options of the environment."""
    num_episodes: int = 32
    """Episodes, all played side by side; the update's batch."""
    group_size: int = 8
    """Episodes of one task."""
    max_new_tokens: int = 16
    """Tokens of one action at most."""
    temperature: float = 1.0
    """Of the sampling and the update."""
    num_minibatches: int = 1
    """Optimiser steps of one pass. With 1, the default of TRL, it needs no old log-probabilities."""
    update_epochs: int = 1
    """Passes over the episodes."""
    micro_batch_tokens: tuple[int, ...] = (1024, 2048, 4096, 8192)
    """Sizes of micro-batches to try on our side."""
    trl_batch_sizes: tuple[int, ...] = (1, 2, 4, 8)
    """Sizes of TRL's `per_device_train_batch_size` to try, in episodes."""
    cpu_seconds: bool = False
    """Count the process's CPU seconds in place of the clock's; with one thread, for a machine that others use too."""
    rounds: int = 3
    """Measurements of each side, after one that does not count; the median is shown."""
    rollouts: bool = True
    """Measure rollouts."""
    updates: bool = True
    """Measure updates."""
    trl: str = ""
    """Python interpreter of an environment that has TRL."""
    json: Path | None = None
    """File for the figures."""

    def check(self) -> None:
        """Raise `ConfigError` where episodes cannot be cut into groups, or groups into minibatches."""
        check_at_least("group_size", self.group_size, 2)
        check_at_least("rounds", self.rounds, 1)
        if self.cpu_seconds and (self.num_threads != 1 or self.device != "cpu"):
            raise ConfigError("expected --num-threads 1 --device cpu with --cpu-seconds, got other threads or devices")
        for name in ("group_size", "num_minibatches"):
            if self.num_episodes % getattr(self, name):
                raise ConfigError(
                    f"expected {name} to divide the {self.num_episodes} episodes, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class RolloutSpeed:
    """One side of the first table; numbers of turns and tokens are means per episode."""

    name: str
    seconds: float
    episodes_per_s: float
    turns: float
    tokens: float
    action_tokens: float


@dataclass(frozen=True)
class UpdateSpeed:
    """One side of the second table.

    Attributes:
        name: of the side.
        micro_batch: the size it was fastest with, in words.
        seconds: of one round of optimiser steps.
        tokens_per_s: all tokens of the episodes over that.
        grad_norm: before clipping, mean over the steps of the first round.
        by_size: tokens per second with each size that was tried.
    """

    name: str
    micro_batch: str
    seconds: float
    tokens_per_s: float
    grad_norm: float
    by_size: dict[str, float]


def stopwatch(config: Config) -> Stopwatch:
    """Return one that measures as the configuration says, and waits for a GPU."""
    clock = time.process_time if config.cpu_seconds else time.perf_counter
    return Stopwatch(clock, torch.cuda.synchronize if config.device.startswith("cuda") else lambda: None)


def measure_rollouts(
    policy: Policy, pool: EnvPool, tasks: Sequence[Task], settings: RolloutSettings, config: Config
) -> list[RolloutSpeed]:
    """Play the tasks with each loop in turn, `config.rounds` times each after one that does not count.

    On a GPU the rollout is measured with CUDA graphs too.
    """
    torch.manual_seed(0)

    def ours(number: int, cuda_graphs: bool) -> list[Counts]:
        played = rollout(policy, pool, tasks, replace(settings, cuda_graphs=cuda_graphs), (0, number))
        return [(len(one.turns), one.num_tokens, one.num_action_tokens) for one in played]

    def theirs(_: int) -> list[Counts]:
        played = generate_rollout(policy, pool, tasks, settings)
        return [(one.num_turns, one.num_tokens, one.num_action_tokens) for one in played]

    sides: dict[str, Callable[[int], list[Counts]]] = {"this project": partial(ours, cuda_graphs=False)}
    if policy.device.type == "cuda":
        sides["this project, CUDA graphs"] = partial(ours, cuda_graphs=True)
    sides["model.generate"] = theirs
    watches = {name: stopwatch(config) for name in sides}
    played: dict[str, list[Counts]] = {name: [] for name in sides}
    for number in range(config.rounds + 1):
        for name, play in sides.items():
            with watches[name]:
                counts = play(number)
            if number:
                played[name] += counts
    speeds = []
    for name in sides:
        seconds = statistics.median(watches[name].seconds[1:])
        means = map(statistics.mean, zip(*played[name], strict=True))
        speeds.append(RolloutSpeed(name, seconds, len(tasks) / seconds, *means))
    return speeds


def record_update(policy: Policy, episodes: Sequence[Episode], config: Config, folder: Path) -> NDArray[np.float32]:
    """Write model, episodes and options for both sides of the second table; returns the (N,) advantages.

    Advantages are drawn, and centred in each group: an untrained policy's returns are all alike.
    """
    drawn = np.random.default_rng(0).standard_normal((len(episodes) // config.group_size, config.group_size))
    advantages: NDArray[np.float32] = (drawn - drawn.mean(1, keepdims=True)).reshape(-1).astype(np.float32)
    policy.save(folder / "model")
    np.savez(
        folder / "episodes.npz",
        lengths=np.array([episode.num_tokens for episode in episodes]),
        token_ids=np.concatenate([episode.token_ids for episode in episodes]),
        action_mask=np.concatenate([episode.action_mask for episode in episodes]),
        logprobs=np.concatenate([episode.logprobs for episode in episodes]),
        advantages=advantages,
    )
    options = {
        "device": config.device,
        "dtype": config.dtype,
        "num_threads": config.num_threads,
        "cpu_seconds": config.cpu_seconds,
        "group_size": config.group_size,
        "temperature": config.temperature,
        "num_minibatches": config.num_minibatches,
        "update_epochs": config.update_epochs,
        "batch_sizes": config.trl_batch_sizes,
        "rounds": config.rounds,
        "learning_rate": 1e-6,
    }
    (folder / "options.json").write_text(json.dumps(options))
    return advantages


def measure_our_update(
    episodes: Sequence[Episode], advantages: NDArray[np.float32], config: Config, folder: Path
) -> UpdateSpeed:
    """Time GRPO's update with each size of micro-batch."""
    tokens = sum(episode.num_tokens for episode in episodes)
    seconds: dict[str, float] = {}
    grad_norm = 0.0
    for size in config.micro_batch_tokens:
        trained = _grpo_config(config, folder, size)
        with Learner("GRPO", trained) as learner:
            batch = collate(episodes, learner.policy.pad_token_id, learner.policy.device)
            values = torch.from_numpy(advantages).to(learner.policy.device)
            batch = batch.with_columns(advantages=values[:, None] * batch.action_mask)
            watch, norms = stopwatch(config), []
            for number in learner.iterations():
                with watch:
                    norms.append(update_policy(learner, batch, number, trained)["train/grad_norm"])
        grad_norm = norms[0]
        seconds[f"{size} tokens"] = statistics.median(watch.seconds[1:])
    return _update_speed("this project", tokens, seconds, grad_norm)


def measure_trl_update(python: str, folder: Path) -> UpdateSpeed | str:
    """Run TRL on what `record_update` wrote; where there is no TRL, says so in a sentence."""
    if not python:
        return "TRL was not measured: --trl names the Python interpreter of an environment that has it."
    environment = {**os.environ, "TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}
    try:
        done = subprocess.run(
            [python, str(TRL_SCRIPT), str(folder)], capture_output=True, text=True, check=False, env=environment
        )
    except OSError as error:
        return f"TRL was not measured: {python} cannot be run ({error.strerror})."
    if done.returncode:
        last = (done.stderr.strip() or "it said nothing").split("\n")[-1]
        return f"TRL was not measured: {python} {TRL_SCRIPT.name} ended with {done.returncode} ({last})."
    result = json.loads((folder / "result.json").read_text())
    seconds = {name: statistics.median(values) for name, values in result["seconds"].items()}
    return _update_speed(result["name"], result["tokens"], seconds, result["grad_norm"])


def rollout_table(speeds: Sequence[RolloutSpeed]) -> Table:
    """Return the first table."""
    table = Table("rollouts", "episodes/s", "seconds", "turns", "tokens", "sampled tokens")
    for speed in speeds:
        numbers = (f"{value:.1f}" for value in (speed.turns, speed.tokens, speed.action_tokens))
        table.add_row(speed.name, f"{speed.episodes_per_s:.2f}", f"{speed.seconds:.2f}", *numbers)
    table.add_section()
    table.add_row("ratio", f"{speeds[0].episodes_per_s / speeds[1].episodes_per_s:.2f}")
    return table


def update_table(ours: UpdateSpeed, theirs: UpdateSpeed | str) -> Table:
    """Return the second table; a sentence may take the place of the other side."""
    caption = theirs if isinstance(theirs, str) else None
    table = Table("GRPO update", "tokens/s", "seconds", "micro-batch", "gradient norm", caption=caption)
    for speed in (ours, theirs):
        if isinstance(speed, UpdateSpeed):
            cells = f"{speed.tokens_per_s:,.0f}", f"{speed.seconds:.2f}", speed.micro_batch, f"{speed.grad_norm:.5f}"
            table.add_row(speed.name, *cells)
    if isinstance(theirs, UpdateSpeed):
        table.add_section()
        table.add_row("ratio", f"{ours.tokens_per_s / theirs.tokens_per_s:.2f}")
    return table


def measure(config: Config, console: Console) -> dict[str, Any]:
    """Measure what the configuration asks for, print the tables and return their figures.

    Raises:
        BaselinesError: the configuration, environment or model does not fit.
    """
    config.check()
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    tasks = [Task(number // config.group_size) for number in range(config.num_episodes)]
    figures: dict[str, Any] = {"config": asdict(config), "threads": torch.get_num_threads()}
    with EnvPool([(config.env_id, config.env_kwargs)]) as pool, tempfile.TemporaryDirectory() as name:
        policy = load_policy(config.model, lambda: _texts(pool, tasks), 1, config.dtype, config.device)
        context = policy.max_context_tokens or RolloutSettings.max_context_tokens
        settings = RolloutSettings(config.temperature, config.max_new_tokens, context, num_envs=config.num_episodes)
        console.print(
            f"{config.num_episodes} episodes of {config.env_id}, model {config.model}, {config.dtype} on {config.device}, "
            f"{torch.get_num_threads()} thread(s)" + (", CPU seconds" if config.cpu_seconds else "")
        )
        if config.rollouts:
            speeds = measure_rollouts(policy, pool, tasks, settings, config)
            figures["rollouts"] = [asdict(speed) for speed in speeds]
            console.print(rollout_table(speeds))
        if config.updates:
            folder = Path(name)
            episodes = rollout(policy, pool, tasks, settings, (0,))
            advantages = record_update(policy, episodes, config, folder)
            ours = measure_our_update(episodes, advantages, config, folder)
            theirs = measure_trl_update(config.trl, folder)
            figures["updates"] = [side if isinstance(side, str) else asdict(side) for side in (ours, theirs)]
            console.print(update_table(ours, theirs))
    return figures


def main(config: Config) -> None:
    """Measure, print the tables and write their figures where asked for."""
    silence_transformers()
    figures = measure(config, Console(highlight=False))
    if config.json is not None:
        config.json.write_text(json.dumps(figures, indent=2, default=str) + "\n")


def _update_speed(name: str, tokens: int, seconds: dict[str, float], grad_norm: float) -> UpdateSpeed:
    best = min(seconds, key=lambda size: seconds[size])
    by_size = {size: tokens / value for size, value in seconds.items()}
    return UpdateSpeed(name, best, seconds[best], by_size[best], grad_norm, by_size)


def _grpo_config(config: Config, folder: Path, micro_batch_tokens: int) -> grpo.Config:
    num_groups = config.num_episodes // config.group_size
    run = RunSettings(
        out=folder / f"run-{micro_batch_tokens}",
        device=config.device,
        dtype=config.dtype,
        num_threads=config.num_threads,
        progress=False,
    )
    return grpo.Config(
        env_id=config.env_id,
        env_kwargs=config.env_kwargs,
        model=str(folder / "model"),
        num_iterations=config.rounds + 1,
        group_size=config.group_size,
        groups_per_batch=num_groups,
        tasks=TaskSettings(num_train_seeds=num_groups),
        rollout=RolloutSettings(temperature=config.temperature),
        update=UpdateSettings(config.update_epochs, config.num_minibatches, loss_aggregation="sequence"),
        optimiser=OptimiserSettings(learning_rate=1e-6, micro_batch_tokens=micro_batch_tokens),
        run=run,
    )


def _texts(pool: EnvPool, tasks: Sequence[Task]) -> list[str]:
    env = pool.lease()
    texts = collect_texts(env, sorted({task.seed for task in tasks} | set(range(20))))
    pool.give_back(env)
    return texts
