"""Trains with TRL's `GRPOTrainer` until a share of validation games is solved; see `benchmarks.speed.learning`.

A script for an interpreter that has TRL and this project's dependencies:

    PYTHONPATH=ROOT python trl_learning.py FOLDER

FOLDER holds `options.json`, and gets `metrics.jsonl` with the keys of our trainers. One iteration is one optimiser step on
one batch of episodes, TRL's default; rewards are the returns of whole episodes, which is what its advantages take.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers
import trl  # lives in a separate environment
from datasets import Dataset

from baselines.config.settings import RolloutSettings
from baselines.models.policy import Policy
from baselines.sampling.environments import EnvPool, Task
from baselines.sampling.rollout import rollout
from benchmarks.speed.learning import VALIDATION_SEED
from benchmarks.speed.peers.generate_rollout import generate_rollout

Record = dict[str, Any]
FREE = RolloutSettings(max_new_tokens=24, max_context_tokens=2048)
LISTED = RolloutSettings(max_new_tokens=24, max_context_tokens=2048, decode="listed", temperature=0.0)


class Session:
    """Environments, clock and metrics of one run.

    Attributes:
        folder: folder of metrics.jsonl.
        options: of the trial.
        pool: environments.
    """

    def __init__(self, folder: Path, options: Record, pool: EnvPool) -> None:
        self.folder, self.options, self.pool = folder, options, pool
        self._step, self._started, self._excluded, self._total = 0, time.monotonic(), 0.0, 0.0

    def play(self, policy: Policy, seeds: list[int]) -> list[Record]:
        """Return one episode for each seed, as `rollout_func` returns them."""
        tasks = [Task(seed) for seed in seeds]
        if self.options["trl_rollouts"] == "ours":
            played = rollout(policy, self.pool, tasks, FREE, (self.options["seed"], self._step))
            episodes = [(e.token_ids.tolist(), e.action_mask.tolist(), e.episode_return) for e in played]
        else:
            loop = generate_rollout(policy, self.pool, tasks, FREE)
            episodes = [(one.token_ids, one.action_mask, one.episode_return) for one in loop]
        found = []
        for token_ids, mask, value in episodes:
            prompt = mask.index(True)
            found.append(
                {
                    "prompt_ids": token_ids[:prompt],
                    "completion_ids": token_ids[prompt:],
                    "env_mask": [int(sampled) for sampled in mask[prompt:]],
                    "earned": value,
                }
            )
        return found

    def close_step(self, policy: Policy) -> bool:
        """Record an iteration, validate if it is due, and return whether the trial is over."""
        now = time.monotonic()
        seconds = now - self._started - self._excluded
        self._step += 1
        self._total += seconds
        record: Record = {"step": self._step, "time/rollout_seconds": seconds, "time/update_seconds": 0.0}
        if self._step % self.options["eval_every"] == 0:
            tasks = [Task(VALIDATION_SEED + number) for number in range(self.options["num_validation_games"])]
            played = rollout(policy, self.pool, tasks, LISTED, (0,))
            record["eval/success_rate"] = sum(episode.success for episode in played) / len(played)
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        self._started, self._excluded = time.monotonic(), 0.0
        reached = bool(record.get("eval/success_rate", 0.0) >= self.options["target"])
        return reached or bool(self._total > 60 * self.options["max_minutes"])


class Watch(transformers.TrainerCallback):  # type: ignore[misc]  # transformers is read without its types
    """Closes the session's step after every optimiser step."""

    def __init__(self, session: Session, policy: Policy) -> None:
        self._session, self._policy = session, policy

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """End the run when the trial is over."""
        control.should_training_stop = self._session.close_step(self._policy)
        return control


def main() -> None:
    """Train and write metrics.jsonl."""
    folder = Path(sys.argv[1])
    options = json.loads((folder / "options.json").read_text())
    torch.set_num_threads(options["num_threads"])
    transformers.utils.logging.set_verbosity_error()
    policy = Policy.load(options["model"])
    group, batch = options["group_size"], options["episodes_per_batch"]
    kinds = [(options["env_id"], {"preamble": False, "split": "train"})]
    with EnvPool(kinds, 8) as pool:
        session = Session(folder, options, pool)
        first = options["seed"] * 1_000_000
        drawn: Counter[str] = Counter()

        def play(prompts: list[str], _: Any) -> Record:
            played = session.play(policy, [int(prompt) for prompt in prompts])
            drawn.update(prompts)
            return {name: [episode[name] for episode in played] for name in played[0]} | {
                "logprobs": [[0.0] * len(episode["completion_ids"]) for episode in played]
            }

        def earned(earned: list[float], **_: Any) -> list[float]:
            return earned

        arguments = trl.GRPOConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=16,
            gradient_accumulation_steps=batch // 16,
            num_generations=group,
            max_steps=100_000,
            max_completion_length=2048,
            beta=0.0,
            learning_rate=options["learning_rate"],
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=12,
            seed=options["seed"],
            shuffle_dataset=False,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = trl.GRPOTrainer(
            model=policy.model,
            processing_class=policy.tokenizer,
            reward_funcs=earned,
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": [str(first + number) for number in range(50_000)]}),
            rollout_func=play,
        )
        trainer.add_callback(Watch(session, policy))
        trainer.train()


if __name__ == "__main__":
    main()
