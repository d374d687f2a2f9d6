"""Times the training part of TRL's `GRPOTrainer` on recorded episodes.

A script for an interpreter that has TRL and need not have this project:

    python trl_update.py FOLDER

FOLDER holds `model/`, `episodes.npz` and `options.json` as `benchmarks.speed.training` writes them, and gets
`result.json`. Generation costs nothing: a `rollout_func` returns the episodes, the tokens up to the first action as
prompt, and the rest as completion with the action mask as `env_mask`. The reward is the recorded advantage, which TRL
centres on the group (it is centred) and does not scale.

Timed are `training_step` without `_prepare_inputs`, which generates, rewards and pads; the passes for old
log-probabilities that `_prepare_inputs` makes where a batch is used for several optimiser steps; the clipping of the
gradients; and the optimiser's step. One round is everything that is done with one batch of episodes; the first does not
count.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import trl  # lives in a separate environment
from datasets import Dataset

Record = dict[str, Any]


class Clock:
    """Seconds of the training part, by optimiser step.

    Attributes:
        steps: seconds of each optimiser step that is done.
        norms: norm of each step's gradients before clipping.
    """

    def __init__(self, options: Record) -> None:
        self.steps: list[float] = []
        self.norms: list[float] = []
        self._open = 0.0
        self._time = time.process_time if options["cpu_seconds"] else time.perf_counter
        on_cuda = options["device"].startswith("cuda")
        self._synchronise: Callable[[], None] = torch.cuda.synchronize if on_cuda else lambda: None

    @contextmanager
    def running(self, sign: int = 1) -> Iterator[None]:
        """Add the seconds of the block, or take them off (`sign` -1)."""
        self._synchronise()
        started = self._time()
        yield
        self._synchronise()
        self._open += sign * (self._time() - started)

    def close_step(self) -> None:
        """End an optimiser step."""
        self.steps.append(self._open)
        self._open = 0.0


class TimedTrainer(trl.GRPOTrainer):  # type: ignore[misc]  # TRL is not installed where types are checked
    """TRL's trainer with a clock at what it does between generation and the next."""

    clock: Clock
    preparing = False

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Forward and backward pass of one micro-batch."""
        with self.clock.running():
            return super().training_step(*args, **kwargs)

    def _prepare_inputs(self, *args: Any, **kwargs: Any) -> Any:
        self.preparing = True
        with self.clock.running(sign=-1):
            inputs = super()._prepare_inputs(*args, **kwargs)
        self.preparing = False
        return inputs

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        if not self.preparing:
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)
        with self.clock.running():
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)


class StepTimer(transformers.TrainerCallback):  # type: ignore[misc]  # transformers is read without its types
    """Adds the optimiser's own step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running = clock.running()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._running = self._clock.running()
        self._running.__enter__()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Stop it."""
        self._running.__exit__(None, None, None)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Close the step."""
        self._clock.close_step()


def read_episodes(folder: Path) -> list[Record]:
    """Return the output of `rollout_func` for each episode, and its reward."""
    data = np.load(folder / "episodes.npz")
    episodes, start = [], 0
    for length, advantage in zip(data["lengths"].tolist(), data["advantages"].tolist(), strict=True):
        part = slice(start, start + length)
        token_ids, mask = data["token_ids"][part].tolist(), data["action_mask"][part].tolist()
        prompt = mask.index(True)
        episodes.append(
            {
                "prompt_ids": token_ids[:prompt],
                "completion_ids": token_ids[prompt:],
                "env_mask": [int(sampled) for sampled in mask[prompt:]],
                "logprobs": data["logprobs"][part].tolist()[prompt:],
                "recorded": advantage,
            }
        )
        start += length
    return episodes


def make_trainer(folder: Path, episodes: list[Record], options: Record, batch_size: int) -> TimedTrainer:
    """Return a trainer that plays back the episodes and takes micro-batches of `batch_size` of them."""
    group_size, num_episodes = options["group_size"], len(episodes)

    def replay(prompts: list[str], _: Any) -> Record:
        seen: Counter[str] = Counter()
        chosen = []
        for prompt in prompts:
            chosen.append(episodes[int(prompt) * group_size + seen[prompt] % group_size])
            seen[prompt] += 1
        return {name: [episode[name] for episode in chosen] for name in chosen[0]}

    def recorded_reward(recorded: list[float], **_: Any) -> list[float]:
        return recorded

    steps_per_round = options["num_minibatches"] * options["update_epochs"]
    arguments = trl.GRPOConfig(
        output_dir=str(folder / f"trl-{batch_size}"),
        model_init_kwargs={"dtype": options["dtype"], "attn_implementation": "sdpa"},
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=num_episodes // (batch_size * options["num_minibatches"]),
        steps_per_generation=num_episodes // batch_size,
        num_generations=group_size,
        num_iterations=options["update_epochs"],
        max_steps=(options["rounds"] + 1) * steps_per_round,
        max_completion_length=max(len(episode["completion_ids"]) for episode in episodes),
        temperature=options["temperature"],
        beta=0.0,
        loss_type="grpo",
        scale_rewards="none",
        learning_rate=options["learning_rate"],
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        gradient_checkpointing=False,
        disable_dropout=True,
        bf16=False,
        fp16=False,
        use_cpu=options["device"] == "cpu",
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = TimedTrainer(
        model=str(folder / "model"),
        reward_funcs=recorded_reward,
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": [str(group) for group in range(num_episodes // group_size)]}),
        rollout_func=replay,
    )
    trainer.clock = Clock(options)
    trainer.add_callback(StepTimer(trainer.clock))
    _time_clipping(trainer)
    return trainer


def time_rounds(trainer: TimedTrainer, options: Record) -> tuple[list[float], float]:
    """Return seconds of each round after the first, and the mean gradient norm of the first."""
    gc.collect()
    gc.disable()
    trainer.train()
    gc.enable()
    clock, size = trainer.clock, options["num_minibatches"] * options["update_epochs"]
    rounds = [sum(clock.steps[start : start + size]) for start in range(0, len(clock.steps), size)]
    return rounds[1:], sum(clock.norms[:size]) / size


def main() -> None:
    """Measure every size of micro-batch and write result.json."""
    folder = Path(sys.argv[1])
    options = json.loads((folder / "options.json").read_text())
    if options["num_threads"]:
        torch.set_num_threads(options["num_threads"])
    transformers.utils.logging.set_verbosity_error()
    episodes = read_episodes(folder)
    seconds, norm = {}, 0.0
    for batch_size in options["batch_sizes"]:
        if len(episodes) % (batch_size * options["num_minibatches"]):
            continue
        trainer = make_trainer(folder, episodes, options, batch_size)
        seconds[f"{batch_size} episodes"], norm = time_rounds(trainer, options)
    tokens = sum(len(episode["prompt_ids"]) + len(episode["completion_ids"]) for episode in episodes)
    name = f"TRL {trl.__version__}"
    (folder / "result.json").write_text(
        json.dumps({"name": name, "tokens": tokens, "seconds": seconds, "grad_norm": norm})
    )


def _time_clipping(trainer: TimedTrainer) -> None:
    clip = trainer.accelerator.clip_grad_norm_

    def timed(*args: Any, **kwargs: Any) -> Any:
        with trainer.clock.running():
            norm = clip(*args, **kwargs)
        trainer.clock.norms.append(float(norm))
        return norm

    trainer.accelerator.clip_grad_norm_ = timed


if __name__ == "__main__":
    main()
