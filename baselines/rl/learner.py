"""Parts of a policy-gradient run, opened and closed in one place; the algorithm's file owns the loop.

`Learner` makes environments, policy, reference, critic and optimiser from a configuration (or takes them up from the
newest checkpoint), plays the episodes of an iteration, takes an optimiser step on request, and logs, evaluates and
saves at an iteration's end. It knows no advantage and no loss.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from gymnasium.error import DependencyNotInstalled
from torch import Tensor

from baselines.config.settings import LearnerConfig
from baselines.errors import ConfigError
from baselines.models.lora import without_lora
from baselines.models.policy import Policy, check_model_exists, load_policy
from baselines.rl.advantages import informative_groups, state_labels
from baselines.rl.batch import Batch, collate, empty_row, micro_batches, score_in_chunks
from baselines.rl.critic import Critic
from baselines.rl.logprobs import can_pack, score_actions
from baselines.rl.losses import truncated_weights
from baselines.rl.optimizer import apply_gradients, make_optimiser, schedule_factor, trained_parameters
from baselines.runs.distributed import Ranks
from baselines.runs.log import LiveLine, Record, warn
from baselines.runs.metrics import describe_actions, describe_advantages, success_rates
from baselines.runs.run import EpisodeWriter, Evaluator, TrainResult, open_policy, open_run, prepare_torch
from baselines.sampling.environments import EnvPool, Task, TaskSchedule, collect_texts, kind_names
from baselines.sampling.episode import Episode
from baselines.sampling.rollout import rollout
from baselines.sampling.vllm import Client, connect_server

if TYPE_CHECKING:  # needs Ray
    from baselines.sampling.ray_rollout import RayWorkers


TARGET_KL_SLACK = 1.5  # as in OpenAI Spinning Up's PPO


@dataclass(frozen=True, eq=False)
class Collected:
    """The episodes of one iteration.

    Attributes:
        episodes: N of them, the members of a group side by side.
        groups: (N,) which task each episode played, from 0.
        batch: the episodes as tensors of B rows, with the column `ref_logprobs` where there is a KL term.
        record: metrics of the rollout.
        started: `time.perf_counter()` at its beginning.
    """

    episodes: list[Episode]
    groups: Tensor
    batch: Batch
    record: Record
    started: float

    def state_labels(self) -> Tensor:
        """Return (N, S) labels of the states that turns were taken in; see `advantages.state_labels`."""
        return state_labels([[turn.state for turn in episode.turns] for episode in self.episodes], self.groups)


class Meter:
    """Adds up what micro-batches report, until an optimiser step and over an iteration.

    Attributes:
        open_sums: sums since the last optimiser step.
    """

    def __init__(self) -> None:
        self.open_sums: Record = {}
        self._sums: Record = {}
        self._norms: list[float] = []
        self._last_kl = 0.0

    def add(self, sums: Record) -> None:
        """Take the sums of one micro-batch."""
        for name, value in sums.items():
            self.open_sums[name] = self.open_sums.get(name, 0.0) + value

    def close_step(self, sums: Record, grad_norm: float) -> None:
        """End an optimiser step: `sums` are those of all processes."""
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._norms.append(grad_norm)
        self._last_kl = sums["approx_kl"] / max(1.0, sums["tokens"])
        self.open_sums = {}

    def is_past(self, target_kl: float | None) -> bool:
        """Return whether the last step's minibatch was further from the policy of the rollout than is wanted."""
        return target_kl is not None and self._last_kl > TARGET_KL_SLACK * target_kl

    def record(self) -> Record:
        """Return means of an iteration: losses over optimiser steps, everything else over the action tokens scored."""
        if not self._norms:
            return {"train/optimiser_steps": 0}
        tokens = self._sums.pop("tokens")
        losses = {name: value / len(self._norms) for name, value in self._sums.items() if name.endswith("loss")}
        means = {name: value / tokens for name, value in self._sums.items() if name not in losses}
        return {
            **{f"train/{name}": value for name, value in (losses | means).items()},
            "train/grad_norm": sum(self._norms) / len(self._norms),
            "train/optimiser_steps": len(self._norms),
        }


class Learner:
    """An open run of a policy-gradient algorithm.

    Args:
        name: of the algorithm, for the live line and the title of the curves.
        config: its configuration, already checked.
        make_critic: makes the critic of a policy, where the algorithm has one.
        critic_learning_rate: of the critic's weights.

    Attributes:
        config: the algorithm's.
        policy: in training.
        critic: or None.
    """

    def __init__(
        self,
        name: str,
        config: LearnerConfig,
        make_critic: Callable[[Policy], Critic] | None = None,
        critic_learning_rate: float = 0.0,
    ) -> None:
        self.config, self._name, self._warned = config, name, False
        self._stack = ExitStack()
        check_model_exists(config.model)
        self.ranks = Ranks(config.run.device)
        make_workers = self._find_cluster()
        self._server = self._find_server()
        prepare_torch(config.run)
        self._tasks = TaskSchedule(
            config.env_id, config.env_kwargs, config.tasks, config.num_iterations, config.run.seed
        )
        self._pool = self._stack.enter_context(EnvPool(self._tasks.kinds, config.rollout.max_broken_envs))
        # Where neither the learning rate nor the tasks depend on how long a run will be, it can be made longer.
        is_open_ended = config.optimiser.schedule == "constant" and config.tasks.curriculum != "fixed"
        self._run = open_run(config, self.ranks, {"num_iterations"} if is_open_ended else frozenset())
        self._stack.callback(self._run.close)
        checkpoint = self._run.checkpoint
        self.policy = open_policy(self._texts, config, checkpoint, self.ranks)
        self._reference = self._make_reference(checkpoint is not None)
        self.critic = make_critic(self.policy) if make_critic is not None else None
        self.ranks.shard(self.policy.model)  # from here on no model can be copied
        if self._reference is not None:
            self.ranks.shard(self._reference.model)
        if self.critic is not None:
            self.critic.shard(self.ranks)
        self._optimiser = make_optimiser(self.policy, config.optimiser, self.critic, critic_learning_rate)
        if checkpoint:
            state = checkpoint.restore(self.policy, self._optimiser, self.critic)
            self._tasks.stage, self._tasks.streak = int(state["stage"]), int(state.get("streak", 0))
        self._workers = None if make_workers is None else self._stack.enter_context(make_workers())
        if self._server is not None:
            self._server.init_communicator(self.policy.device)
        self._held_out = Evaluator(self._tasks.kinds, config.run, config.rollout)
        self._stack.callback(self._held_out.close)
        self._line = self._stack.enter_context(
            LiveLine(name, config.num_iterations, self._run.first_step, config.run.progress and self.ranks.is_first)
        )

    def __enter__(self) -> Learner:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._stack.close()
            return
        with suppress(Exception):  # what closing has to say must not hide what ended the run
            self._stack.close()

    def iterations(self) -> range:
        """Return the iterations that are still to be done, from 0."""
        return range(self._run.first_step, self.config.num_iterations)

    def collect(
        self, iteration: int, num_groups: int, group_size: int, refill: int = 1, min_spread: float = 0.0
    ) -> Collected:
        """Play `num_groups` tasks `group_size` times each, and further tasks in place of groups without signal.

        Every process plays its share, and gets all episodes, those of groups without signal too.

        Args:
            iteration: from 0.
            num_groups: groups of a full batch.
            group_size: episodes of a group.
            refill: batches that are played at most (arXiv 2503.14476, section 3.2); 1 replaces no group.
            min_spread: standard deviation of its returns below which a group is without signal.
        """
        started = time.perf_counter()
        config = self.config
        if self._server is not None:
            self._server.update_model_params(self.policy.model)
            self._server.reset_prefix_cache()
        drawn = self._tasks.draw(iteration, refill * num_groups)
        episodes: list[Episode] = []
        num_played, num_kept = 0, 0
        while num_kept < num_groups and num_played < len(drawn):
            more = drawn[num_played : num_played + num_groups - num_kept]
            episodes += self._play_groups(more, group_size, (config.run.seed, iteration), num_played * group_size)
            num_played += len(more)
            num_kept = count_informative(episodes, group_size, min_spread)
        batch = collate(episodes, self.policy.pad_token_id, self.policy.device)
        record = describe(episodes)
        if self._server is not None:
            batch, served = self._corrected(batch)
            record |= served
        if config.update.kl_coef > 0:
            batch = batch.with_columns(ref_logprobs=self.score(self._reference_logprobs, batch))
        self._warn_of_repetition(record, num_played)
        if refill > 1:
            record |= {"train/groups_played": num_played, "train/groups_dropped": num_played - num_kept}
        if len(self._tasks.kinds) > 1:
            record["train/stage"] = sum(task.kind for task in drawn[:num_played]) / num_played
            names = kind_names(self._tasks.kinds)
            labels = [names[task.kind] for task in drawn[:num_played] for _ in range(group_size)]
            record |= success_rates("train/success_rate", labels, [episode.success for episode in episodes])
        self._tasks.observe(iteration, record["train/success_rate"])
        broken = self._pool.num_broken + (self._workers.num_broken if self._workers is not None else 0)
        record["train/broken_envs"] = self.ranks.add_numbers({"broken": broken})["broken"]
        groups = torch.arange(num_played, device=self.policy.device).repeat_interleave(group_size)
        record["time/rollout_seconds"] = time.perf_counter() - started
        return Collected(episodes, groups, batch, record, started)

    def _warn_of_repetition(self, record: Record, num_groups: int) -> None:
        """Say once that the tasks of an iteration are mostly the same."""
        distinct = record["train/distinct_tasks"]
        if 2 * distinct < num_groups and not self._warned and self.ranks.is_first:
            self._warned = True
            warn(
                f"an iteration drew {num_groups} tasks, of which only {distinct} differ by more than names; the policy may "
                "learn these by heart: widen --env-kwargs, add --also, or lower the tasks of an iteration"
            )

    def score(self, function: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """Return (B, T) of a scoring function over a whole batch without gradients, the work shared among the processes."""
        max_tokens = self.config.optimiser.micro_batch_tokens
        return score_in_chunks(function, batch, max_tokens, can_pack(self.policy.model), self.ranks)

    def micro_batches(self, minibatch: Batch, useful: Tensor) -> Iterator[Batch]:
        """Yield this process's share of a minibatch's micro-batches; see `batch.micro_batches`."""
        max_tokens = self.config.optimiser.micro_batch_tokens
        pieces = micro_batches(minibatch, max_tokens, useful, can_pack(self.policy.model))
        return iter(self.ranks.deal(pieces, spare=empty_row(minibatch)))

    def step(self, meter: Meter, iteration: int, part: int) -> None:
        """Take the optimiser step of minibatch `part` of an iteration (both from 0) with the accumulated gradients.

        Nothing happens where no process has put a token through the model.

        Raises:
            TrainingError: the gradients are not finite.
        """
        sums = self.ranks.add_numbers(meter.open_sums)
        if not sums.get("tokens"):
            return
        self.ranks.add_gradients(trained_parameters(self._optimiser))
        config = self.config
        steps = config.update.update_epochs * config.update.num_minibatches
        factor = schedule_factor(iteration * steps + part, config.num_iterations * steps, config.optimiser)
        meter.close_step(sums, apply_gradients(self._optimiser, factor, config.optimiser.max_grad_norm))

    def close_iteration(self, iteration: int, collected: Collected, advantages: Tensor, update: Record) -> None:
        """Log, evaluate and save the results of an iteration (from 0); `advantages` (B, T) go into transcripts."""
        config, step = self.config, iteration + 1
        seconds = time.perf_counter() - collected.started
        record: Record = {"step": step} | collected.record | update
        record |= describe_actions(collected.episodes)
        record |= describe_advantages(advantages, collected.batch.action_mask)
        tokens = sum(episode.num_tokens for episode in collected.episodes)
        record["train/tokens_per_second"] = tokens / seconds
        record["train/learning_rate"] = self._optimiser.param_groups[0]["lr"]
        record["time/update_seconds"] = seconds - record["time/rollout_seconds"]
        record |= self._held_out.record(self.policy, step, config.num_iterations, self.ranks)
        written = EpisodeWriter(collected.episodes, advantages, self.policy.tokenizer, config.env_id)
        self._run.write(record, written)
        counters = {"stage": float(self._tasks.stage), "streak": float(self._tasks.streak)}
        self._run.save_if_due(step, self.policy, self._optimiser, self.critic, counters)
        self._line.update(record)
        self.ranks.wait()

    def finish(self) -> TrainResult:
        """Save the model and the curves."""
        title = f"{self._name} on {self.config.env_id}"
        return self._run.finish(self.policy, self._held_out, title)

    def _play_groups(self, tasks: Sequence[Task], group_size: int, seed: tuple[int, int], first: int) -> list[Episode]:
        """Return all processes' episodes of each task `group_size` times; `first` is the number of the first episode."""
        repeated = [task for task in tasks for _ in range(group_size)]
        begin, end = self.ranks.bounds(len(repeated))
        mine, settings, first = repeated[begin:end], self.config.rollout, first + begin
        if self._workers is not None:
            return self.ranks.gather(self._workers.rollout(mine, settings, seed, first))
        with self.ranks.gathered(self.policy.model):
            played = rollout(self.policy, self._pool, mine, settings, seed, first=first, server=self._server)
        return self.ranks.gather(played)

    def _corrected(self, batch: Batch) -> tuple[Batch, Record]:
        """Return a batch that a server has sampled, with the trainer's log-probabilities and the weights of its tokens."""
        temperature, cap, mask = self.config.rollout.temperature, self.config.update.rollout_cap, batch.action_mask
        own = self.score(lambda piece: score_actions(self.policy, piece, temperature).logprobs, batch)
        weights = truncated_weights(own, batch.old_logprobs, mask, cap)
        record: Record = {
            "train/rollout_weight": float(weights[mask].mean()),
            "train/rollout_gap": float((own - batch.old_logprobs)[mask].abs().mean()),
        }
        return replace(batch, old_logprobs=own * mask).with_columns(rollout_weights=weights), record

    def _find_server(self) -> Client | None:
        """Connect to the vLLM server that is to sample the actions, before a folder is made or a model is loaded."""
        url = self.config.run.vllm_url
        if not url:
            return None
        if self.ranks.count > 1:
            raise ConfigError(f"expected one process with vllm_url, got {self.ranks.count}")
        return connect_server(url)

    def _find_cluster(self) -> Callable[[], RayWorkers] | None:
        """Connect to the cluster whose actors are to play, before a folder is made or a model is loaded.

        Returns:
            A call that makes them for this process, once there is a policy; None where there are to be none.
        """
        run = self.config.run
        if run.ray_workers == 0:
            return None
        if self.ranks.sharded:
            raise ConfigError(
                f"expected ray_workers=0 with --use_fsdp, got {run.ray_workers}: actors hold whole models"
            )
        try:
            from baselines.sampling.ray_rollout import RayWorkers, connect
        except DependencyNotInstalled as error:
            raise ConfigError(f"{error} for ray_workers={run.ray_workers}") from error
        connect()
        return lambda: RayWorkers(
            self.policy,
            self._tasks.kinds,
            workers=run.ray_workers,
            num_cpus=run.ray_cpus,
            num_gpus=run.ray_gpus,
            max_broken=self.config.rollout.max_broken_envs,
        )

    def _texts(self) -> list[str]:
        env = self._pool.lease()
        texts = collect_texts(env, self._tasks.text_seeds)
        self._pool.give_back(env)
        return texts

    def _make_reference(self, resumed: bool) -> Policy | None:
        """Return the frozen initial policy, where a KL term needs one; LoRA's is the policy itself without it."""
        config = self.config
        if config.update.kl_coef == 0 or config.optimiser.lora_rank:
            return None
        if resumed:
            device = self.ranks.load_device
            template = config.rollout.chat_template
            reference = load_policy(config.model, self._texts, config.run.seed, config.run.dtype, device, template)
        else:
            reference = Policy(copy.deepcopy(self.policy.model), self.policy.tokenizer)
        reference.model.requires_grad_(False)
        return reference

    def _reference_logprobs(self, batch: Batch) -> Tensor:
        if self._reference is not None:
            return score_actions(self._reference, batch, self.config.rollout.temperature).logprobs
        with without_lora(self.policy.model):
            return score_actions(self.policy, batch, self.config.rollout.temperature).logprobs


def count_informative(episodes: Sequence[Episode], group_size: int, min_spread: float) -> int:
    """Return the number of groups whose returns have a standard deviation of at least `min_spread`."""
    returns = torch.tensor([episode.episode_return for episode in episodes])
    groups = torch.arange(len(returns)) // group_size
    return int(informative_groups(returns, groups, 1.0, min_spread).sum()) // group_size


def describe(episodes: list[Episode]) -> Record:
    """Return the metrics of a rollout."""
    count = len(episodes)
    returns = torch.tensor([episode.episode_return for episode in episodes], dtype=torch.float64)
    return {
        "train/episodes": count,
        "train/success_rate": sum(episode.success for episode in episodes) / count,
        "train/return": float(returns.mean()),
        "train/steps": sum(len(episode.turns) for episode in episodes) / count,
        "train/action_tokens": sum(episode.num_action_tokens for episode in episodes) / count,
        "train/out_of_context": sum(episode.truncated_by_context for episode in episodes) / count,
        "train/cut_turns": sum(turn.cut for episode in episodes for turn in episode.turns) / count,
        "train/cut_thoughts": sum(turn.cut_thought for episode in episodes for turn in episode.turns) / count,
        "train/invalid_actions": sum(turn.invalid for episode in episodes for turn in episode.turns) / count,
        "train/distinct_tasks": len({episode.structure or episode.task_id or episode.seed for episode in episodes}),
        "train/sequences": sum(len(episode.starts) for episode in episodes) / count,
        "train/loops": sum(episode.loops for episode in episodes) / count,
    }
