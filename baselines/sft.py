r"""Supervised fine-tuning (SFT) on expert episodes: behaviour cloning, one token at a time.

The expert's episodes are written as the token sequences that a policy would have produced, and the policy maximises the
likelihood of the action tokens alone (D. Pomerleau, "ALVINN", NIPS 1988; the loss of arXiv 2203.02155, section 3.5,
without a reward model):

    L = - sum_t m_t log pi(a_t | everything before t) / sum_t m_t          m_t = 1 for tokens of the expert's actions

Experts come from the environment: made with `expose_solution=True`, it tells `info["solution"]` at reset, which is
replayed on the seeds 0 .. num_demos - 1.

Left out: a loss on observations (they are not the policy's to say), packing of episodes (rows are padded; their lengths
differ little), and a validation loss (success on held-out seeds is what counts, and is measured).

How to run:

    python -m baselines.sft --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --model tiny --num-demos 100 \
        --out runs/sft --eval-episodes 100 --eval-env-kwargs '{"split": "test"}'
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro

from baselines.batch import collate, split_by_tokens
from baselines.demonstrations import collect_demonstrations, encode_demonstration
from baselines.environments import make_env
from baselines.episode import Episode
from baselines.errors import BaselinesError, ConfigError
from baselines.log import LiveLine, Record
from baselines.logprobs import score_actions
from baselines.losses import cross_entropy, loss_weights, weighted_sum
from baselines.optimise import apply_gradients, cosine_factor, make_optimiser, warmup_factor
from baselines.policy import Policy, check_model_exists, load_policy, silence_transformers
from baselines.run import HeldOut, TrainResult, check_context, open_run, prepare_torch
from baselines.settings import JsonObject, OptimiserSettings, RolloutSettings, RunSettings, check_at_least


@dataclass(frozen=True)
class Config:
    """Options of supervised fine-tuning."""

    env_id: str
    """Environment; `package:Id-v0` imports the package first."""
    env_kwargs: JsonObject = field(default_factory=dict)
    """Constructor options of the environment; `expose_solution` is added."""
    model: str = "tiny"
    """`tiny`, a folder, or a hub name."""
    num_demos: int = 100
    """Expert episodes, seeds 0 .. num_demos - 1. 100 as in the literature's largest budget (arXiv 2510.01132)."""
    num_epochs: int = 10
    """Passes over the demonstrations."""
    batch_size: int = 16
    """Episodes of one optimiser step."""
    save: Path | None = None
    """Also save the trained policy in this folder (it is always in `out`/model)."""
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    """Limits of an episode; the temperature serves nothing here (evaluation is greedy)."""
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(learning_rate=1e-3, weight_decay=0.01, warmup_steps=10)
    )
    """AdamW; 1e-3 suits `tiny`, 1e-5 a pretrained model."""
    run: RunSettings = field(default_factory=lambda: RunSettings(out=Path("runs/sft")))
    """Folder, seed, evaluation, checkpoints."""

    def check(self) -> None:
        """Raises `ConfigError` for values outside their range."""
        for name in ("num_demos", "num_epochs", "batch_size"):
            check_at_least(name, getattr(self, name), 1)
        self.rollout.check(training=False)
        self.optimiser.check()
        self.run.check()
        if self.save is not None and self.save.is_file():
            raise ConfigError(f"expected --save to be a folder, got the file {self.save}")


def train(config: Config) -> TrainResult:
    """Clones the expert and returns the trained policy.

    Raises:
        BaselinesError: the configuration, environment or model does not fit; what and where is in its message.
    """
    config.check()
    check_model_exists(config.model)
    prepare_torch(config.run)
    env = make_env(config.env_id, {**config.env_kwargs, "expose_solution": True})
    run = open_run(config, config.run)
    demonstrations = collect_demonstrations(env, range(config.num_demos))
    env.close()

    if run.checkpoint:
        policy = run.checkpoint.load_policy(config.run.dtype, config.run.device)
    else:
        texts = [text for demonstration in demonstrations for text in demonstration.texts]
        policy = load_policy(config.model, lambda: texts, config.run.seed, config.run.dtype, config.run.device)
    check_context(policy, config.rollout)
    episodes = [encode_demonstration(policy.chat, demonstration) for demonstration in demonstrations]
    optimiser = make_optimiser(policy, config.optimiser)
    if run.checkpoint:
        run.checkpoint.restore_optimiser(optimiser)

    held_out = HeldOut(config.env_id, config.env_kwargs, config.run, config.rollout)
    steps_per_epoch = -(-len(episodes) // config.batch_size)
    num_steps = steps_per_epoch * config.num_epochs
    with LiveLine("sft", num_steps, run.first_step, config.run.progress) as line:
        for step in range(run.first_step, num_steps):
            batch = [episodes[row] for row in batch_rows(len(episodes), step, config)]
            schedule = warmup_factor(step, config.optimiser) * cosine_factor(step, num_steps)
            record: Record = {"step": step + 1, "epoch": (step + 1) / steps_per_epoch}
            record |= update(policy, optimiser, batch, config.optimiser, schedule)
            record |= held_out.record(policy, step + 1, num_steps)
            run.log.write(record)
            run.save_if_due(config.run, step + 1, policy, optimiser)
            line.update(record)
    held_out.close()
    if config.save is not None:
        policy.save(config.save)
    return run.finish(policy, held_out.last, f"SFT on {config.env_id}")


def batch_rows(num_episodes: int, step: int, config: Config) -> list[int]:
    """Which demonstrations optimiser step `step` learns from; every epoch is an order of its own."""
    steps_per_epoch = -(-num_episodes // config.batch_size)
    epoch, position = divmod(step, steps_per_epoch)
    order = np.random.default_rng([config.run.seed, epoch]).permutation(num_episodes)
    rows: list[int] = order[position * config.batch_size : (position + 1) * config.batch_size].tolist()
    return rows


def update(
    policy: Policy,
    optimiser: torch.optim.Optimizer,
    episodes: list[Episode],
    settings: OptimiserSettings,
    schedule: float = 1.0,
) -> Record:
    """Takes one optimiser step on the mean cross-entropy of the episodes' action tokens.

    Args:
        policy: trained in place.
        optimiser: of its weights.
        episodes: demonstrations.
        settings: learning rate, clipping, size of a micro-batch.
        schedule: factor of the learning rate.

    Returns:
        Metrics of the step.
    """
    started = time.perf_counter()
    batch = collate(episodes, policy.pad_token_id, policy.device)
    weights = loss_weights(batch.action_mask, "token")
    loss = accuracy = 0.0
    lengths = [episode.num_tokens for episode in episodes]
    for rows in split_by_tokens(lengths, settings.micro_batch_tokens):
        piece = batch.select(rows)
        piece_weights = weights[rows, : piece.token_ids.shape[1]]
        scores = score_actions(policy, piece)
        piece_loss = weighted_sum(cross_entropy(scores.logprobs), piece_weights)
        torch.autograd.backward(piece_loss)
        loss += float(piece_loss.detach())
        accuracy += float(weighted_sum(scores.correct.float(), piece_weights))
    learning_rate = settings.learning_rate * schedule
    grad_norm = apply_gradients(policy, optimiser, learning_rate, settings.max_grad_norm)
    return {
        "train/loss": loss,
        "train/accuracy": accuracy,
        "train/grad_norm": grad_norm,
        "train/learning_rate": learning_rate,
        "train/tokens_per_second": sum(lengths) / (time.perf_counter() - started),
    }


def main() -> None:
    """Runs SFT from the command line."""
    silence_transformers()
    try:
        result = train(tyro.cli(Config, config=(tyro.conf.OmitArgPrefixes,), description=__doc__))
    except BaselinesError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"model saved in {result.model_folder}\n")


if __name__ == "__main__":
    main()
