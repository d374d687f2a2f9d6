r"""Group Relative Policy Optimisation (GRPO, arXiv 2402.03300) over whole multi-turn episodes.

One iteration plays `groups_per_batch` tasks `group_size` times each (the same seed repeated), gives each episode the
advantage

    A_i = (R_i - mean(R_1 .. R_G)) / std(R_1 .. R_G)                    section 4.1.2, outcome supervision

spread over all its action tokens, and maximises, in `update_epochs` passes of `num_minibatches` optimiser steps,

    1/G sum_i 1/|o_i| sum_t { min[r_t A_i, clip(r_t, 1 - eps, 1 + eps) A_i] - beta KL_t }        eq. 3

with `r_t = pi(a_t) / pi_old(a_t)`, `pi_old` as recorded at rollout, and `KL_t` the k3 estimate against the initial
policy (eq. 4), left out at `kl_coef = 0`. Observation tokens carry no loss. `loss_aggregation="token"` takes the mean
over all action tokens instead, as DAPO does (arXiv 2503.14476).

Left out: process supervision (section 4.1.3) and an iteratively renewed reference (section 4.1.4). Episodes of groups
whose returns are all equal have zero advantage; they count in the means but are not run through the model, which
changes no gradient.

How to run:

    python -m baselines.grpo --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --model runs/sft/model --out runs/grpo \
        --group-size 8 --eval-every 10 --eval-episodes 100 --eval-env-kwargs '{"split": "test"}'
"""

from __future__ import annotations

import copy
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro

from baselines.advantages import group_normalised_advantages, spread
from baselines.batch import Batch, collate, split_by_tokens, split_evenly
from baselines.demonstrations import collect_texts
from baselines.environments import close_envs, make_envs
from baselines.episode import Episode
from baselines.errors import BaselinesError, ConfigError
from baselines.log import LiveLine, Record
from baselines.logprobs import score_actions
from baselines.losses import Aggregation, clip_fraction, clipped_policy_loss, k3_kl, loss_weights, weighted_sum
from baselines.optimise import apply_gradients, make_optimiser, warmup_factor
from baselines.policy import Policy, check_model_exists, load_policy, silence_transformers
from baselines.rollout import rollout
from baselines.run import HeldOut, TrainResult, check_context, open_run, prepare_torch
from baselines.sampling import seeded_generator
from baselines.settings import (
    JsonObject,
    OptimiserSettings,
    RolloutSettings,
    RunSettings,
    check_at_least,
    check_one_of,
    check_positive,
)


@dataclass(frozen=True)
class Config:
    """Options of GRPO."""

    env_id: str
    """Environment; `package:Id-v0` imports the package first."""
    env_kwargs: JsonObject = field(default_factory=dict)
    """Constructor options of the environment."""
    model: str = "tiny"
    """`tiny`, a folder, or a hub name."""
    num_iterations: int = 50
    """Rounds of rollout and update."""
    group_size: int = 8
    """Episodes of one task, G in the paper (64 there; 4 in arXiv 2510.01132)."""
    groups_per_batch: int = 8
    """Tasks of one iteration."""
    num_train_seeds: int = 100
    """Tasks are the seeds 0 .. num_train_seeds - 1, in a new order every time they have all been played."""
    update_epochs: int = 1
    """Passes over the episodes of an iteration (1 in the paper)."""
    num_minibatches: int = 2
    """Optimiser steps of one pass; with more than one step an iteration the ratio leaves 1 and the clip acts."""
    clip_coef: float = 0.2
    """eps of the clipped ratio (arXiv 1707.06347, section 6.1)."""
    kl_coef: float = 0.0
    """beta of eq. 3, per nat (0.04 in the paper; 0 saves the reference model, as in arXiv 2503.14476)."""
    loss_aggregation: Aggregation = "sequence"
    """Mean over tokens within an episode, then over episodes (the paper's), or over all tokens at once."""
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    """How episodes are sampled."""
    optimiser: OptimiserSettings = field(default_factory=lambda: OptimiserSettings(learning_rate=1e-4))
    """AdamW; 1e-4 suits `tiny`, 1e-6 a pretrained model (the paper's)."""
    run: RunSettings = field(default_factory=lambda: RunSettings(out=Path("runs/grpo")))
    """Folder, seed, evaluation, checkpoints."""

    def check(self) -> None:
        """Raises `ConfigError` for values outside their range."""
        check_at_least("group_size", self.group_size, 2)
        for name in ("num_iterations", "groups_per_batch", "num_train_seeds", "update_epochs", "num_minibatches"):
            check_at_least(name, getattr(self, name), 1)
        if self.num_minibatches > self.group_size * self.groups_per_batch:
            raise ConfigError(
                f"expected num_minibatches <= group_size * groups_per_batch = "
                f"{self.group_size * self.groups_per_batch}, got {self.num_minibatches}"
            )
        check_positive("clip_coef", self.clip_coef)
        check_at_least("kl_coef", self.kl_coef, 0.0)
        check_one_of("loss_aggregation", self.loss_aggregation, ("token", "sequence"))
        self.rollout.check()
        self.optimiser.check()
        self.run.check()


def train(config: Config) -> TrainResult:
    """Trains by GRPO and returns the trained policy.

    Raises:
        BaselinesError: the configuration, environment or model does not fit; what and where is in its message.
    """
    config.check()
    check_model_exists(config.model)
    prepare_torch(config.run)
    envs = make_envs(config.env_id, config.env_kwargs, config.group_size * config.groups_per_batch)
    run = open_run(config, config.run)

    def initial_policy() -> Policy:
        seeds = range(config.num_train_seeds)
        return load_policy(
            config.model, lambda: collect_texts(envs[0], seeds), config.run.seed, config.run.dtype, config.run.device
        )

    policy = run.checkpoint.load_policy(config.run.dtype, config.run.device) if run.checkpoint else initial_policy()
    check_context(policy, config.rollout)
    reference = None
    if config.kl_coef > 0:
        reference = initial_policy() if run.checkpoint else Policy(copy.deepcopy(policy.model), policy.tokenizer)
        reference.model.requires_grad_(False)
    optimiser = make_optimiser(policy, config.optimiser)
    if run.checkpoint:
        run.checkpoint.restore_optimiser(optimiser)

    held_out = HeldOut(config.env_id, config.env_kwargs, config.run, config.rollout)
    with LiveLine("grpo", config.num_iterations, run.first_step, config.run.progress) as line:
        for iteration in range(run.first_step, config.num_iterations):
            started = time.perf_counter()
            generator = seeded_generator(config.run.seed, iteration)
            seeds = np.repeat(task_seeds(iteration, config), config.group_size).tolist()
            episodes = rollout(policy, envs, seeds, config.rollout, generator)
            collected = time.perf_counter()
            returns = torch.tensor([episode.episode_return for episode in episodes], dtype=torch.float64)
            groups = torch.arange(config.groups_per_batch).repeat_interleave(config.group_size)
            advantages = group_normalised_advantages(returns, groups).float()
            record: Record = {"step": iteration + 1} | describe(episodes, returns.view(-1, config.group_size))
            record |= update(policy, optimiser, reference, episodes, advantages, iteration, config)
            finished = time.perf_counter()
            record["train/tokens_per_second"] = sum(e.num_tokens for e in episodes) / (finished - started)
            record["time/rollout_seconds"] = collected - started
            record["time/update_seconds"] = finished - collected
            record |= held_out.record(policy, iteration + 1, config.num_iterations)
            run.log.write(record)
            run.save_if_due(config.run, iteration + 1, policy, optimiser)
            line.update(record)
    held_out.close()
    close_envs(envs)
    return run.finish(policy, held_out.last, f"GRPO on {config.env_id}")


def task_seeds(iteration: int, config: Config) -> list[int]:
    """The tasks of an iteration: consecutive pieces of one random order of all train seeds after another."""
    seeds: list[int] = []
    first = iteration * config.groups_per_batch
    for number in range(first, first + config.groups_per_batch):
        cycle, position = divmod(number, config.num_train_seeds)
        order = np.random.default_rng([config.run.seed, cycle]).permutation(config.num_train_seeds)
        seeds.append(int(order[position]))
    return seeds


def describe(episodes: list[Episode], returns: torch.Tensor) -> Record:
    """Metrics of the rollout; `returns` is (groups, group_size)."""
    count = len(episodes)
    return {
        "train/success_rate": sum(episode.success for episode in episodes) / count,
        "train/return": float(returns.mean()),
        "train/steps": sum(len(episode.turns) for episode in episodes) / count,
        "train/action_tokens": sum(episode.num_action_tokens for episode in episodes) / count,
        "train/out_of_context": sum(episode.truncated_by_context for episode in episodes) / count,
        "train/cut_turns": sum(turn.cut for episode in episodes for turn in episode.turns) / count,
        "train/groups_without_signal": float((returns.std(dim=1, correction=0) <= 1e-6).double().mean()),
    }


def update(
    policy: Policy,
    optimiser: torch.optim.Optimizer,
    reference: Policy | None,
    episodes: list[Episode],
    advantages: torch.Tensor,
    iteration: int,
    config: Config,
) -> Record:
    """Takes `update_epochs * num_minibatches` optimiser steps on one iteration's episodes.

    Args:
        policy: trained in place.
        optimiser: of its weights.
        reference: frozen policy of the KL term, or None without one.
        episodes: the rollout's N episodes, groups side by side.
        advantages: (N,) one per episode.
        iteration: from 0; seeds the order of the minibatches.
        config: clip, KL, aggregation, sizes.

    Returns:
        Metrics: means over the action tokens that were run through the model, over all optimiser steps.
    """
    totals: Record = {}
    grad_norms = []
    steps_per_iteration = config.update_epochs * config.num_minibatches
    for epoch in range(config.update_epochs):
        order = np.random.default_rng([config.run.seed, iteration, epoch]).permutation(len(episodes)).tolist()
        for part, rows in enumerate(split_evenly(order, config.num_minibatches)):
            chosen = [episodes[row] for row in rows]
            sums = minibatch_gradients(policy, reference, chosen, advantages[rows], config)
            if sums["tokens"] == 0:
                continue
            for key, value in sums.items():
                totals[key] = totals.get(key, 0.0) + value
            step = iteration * steps_per_iteration + epoch * config.num_minibatches + part
            learning_rate = config.optimiser.learning_rate * warmup_factor(step, config.optimiser)
            grad_norms.append(apply_gradients(policy, optimiser, learning_rate, config.optimiser.max_grad_norm))
    if not grad_norms:
        return {"train/optimiser_steps": 0}
    tokens = totals.pop("tokens")
    loss = totals.pop("loss") / len(grad_norms)
    means = {f"train/{key}": value / tokens for key, value in totals.items()}
    return {
        "train/loss": loss,
        **means,
        "train/grad_norm": sum(grad_norms) / len(grad_norms),
        "train/optimiser_steps": len(grad_norms),
    }


def minibatch_gradients(
    policy: Policy, reference: Policy | None, episodes: list[Episode], advantages: torch.Tensor, config: Config
) -> dict[str, float]:
    """Accumulates the gradient of one minibatch, micro-batch by micro-batch.

    Returns:
        The loss of the minibatch, the number of action tokens that were scored, and sums over them.
    """
    batch = collate(episodes, policy.pad_token_id, policy.device)
    weights = loss_weights(batch.action_mask, config.loss_aggregation)
    spread_advantages = spread(advantages.to(policy.device), batch.action_mask)
    scored = [
        row
        for row, episode in enumerate(episodes)
        if episode.num_action_tokens and (reference is not None or advantages[row] != 0)
    ]
    sums = dict.fromkeys(("tokens", "loss", "approx_kl", "clip_fraction", "entropy"), 0.0)
    if reference is not None:
        sums["ref_kl"] = 0.0
    for piece_rows in split_by_tokens(
        [episodes[row].num_tokens for row in scored], config.optimiser.micro_batch_tokens
    ):
        rows = [scored[row] for row in piece_rows]
        piece = batch.select(rows)
        width = piece.token_ids.shape[1]
        piece_sums = piece_gradients(
            policy, reference, piece, spread_advantages[rows, :width], weights[rows, :width], config
        )
        for key, value in piece_sums.items():
            sums[key] += value
    return sums


def piece_gradients(
    policy: Policy,
    reference: Policy | None,
    batch: Batch,
    advantages: torch.Tensor,
    weights: torch.Tensor,
    config: Config,
) -> dict[str, float]:
    """Adds the gradient of eq. 3 on one micro-batch; all tensors are (B, T).

    Returns:
        See `minibatch_gradients`.
    """
    scores = score_actions(policy, batch, config.rollout.temperature)
    per_token = clipped_policy_loss(scores.logprobs, batch.old_logprobs, advantages, config.clip_coef)
    sums: dict[str, float] = {}
    if reference is not None:
        with torch.no_grad():
            ref_logprobs = score_actions(reference, batch, config.rollout.temperature).logprobs
        ref_kl = k3_kl(scores.logprobs, ref_logprobs)
        per_token = per_token + config.kl_coef * ref_kl
        sums["ref_kl"] = float(ref_kl.detach().sum())
    loss = weighted_sum(per_token, weights)
    torch.autograd.backward(loss)
    with torch.no_grad():
        # k3 of (old, new): tokens were drawn from the old policy.
        approx_kl = k3_kl(batch.old_logprobs, scores.logprobs)
        clipped = clip_fraction(scores.logprobs, batch.old_logprobs, advantages, config.clip_coef)
    sums |= {
        "tokens": float(batch.action_mask.sum()),
        "loss": float(loss.detach()),
        "approx_kl": float(approx_kl.sum()),
        "clip_fraction": float(clipped.sum()),
        "entropy": float(scores.entropy.sum()),
    }
    return sums


def main() -> None:
    """Runs GRPO from the command line."""
    silence_transformers()
    try:
        result = train(tyro.cli(Config, config=(tyro.conf.OmitArgPrefixes,), description=__doc__))
    except BaselinesError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"model saved in {result.model_folder}\n")


if __name__ == "__main__":
    main()
