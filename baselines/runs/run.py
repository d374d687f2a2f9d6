"""A training run: its command line, its folder with configuration, metrics and checkpoints, and its evaluations."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import tyro
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings
from baselines.errors import ConfigError, TrainingError, one_line_errors
from baselines.evaluate import Evaluation, summarise
from baselines.models.lora import add_lora
from baselines.models.policy import Policy, check_device, check_trainable, load_policy, silence_transformers
from baselines.rl.batch import join_sequences
from baselines.runs.checkpoint import Checkpoint, list_checkpoints, save_checkpoint
from baselines.runs.distributed import Ranks
from baselines.runs.files import write_whole
from baselines.runs.log import MetricsLog, Record, Tracker, diagnose, warn
from baselines.runs.metrics import success_rates
from baselines.runs.transcripts import write_page, write_transcripts
from baselines.sampling.environments import EnvKwargs, EnvPool, Task, kind_names
from baselines.sampling.episode import Episode
from baselines.sampling.rollout import rollout
from baselines.sampling.task_lists import check_pool, held_out_tasks


@dataclass(frozen=True)
class TrainResult:
    """Result of a training run, in memory.

    Attributes:
        policy: the trained policy; where it is sharded, it can only be run by all processes together.
        records: every line of metrics.jsonl.
        evaluation: the last evaluation on held-out seeds, played greedily, or None if there was none.
        sampled_evaluation: the same at temperature 1.
        model_folder: folder of the saved policy; it loads as `--model`.
        pushed_to: address of the repository that the policy was uploaded to, "" if it was not.
    """

    policy: Policy
    records: list[Record]
    evaluation: Evaluation | None
    model_folder: Path
    sampled_evaluation: Evaluation | None = None
    pushed_to: str = ""


@dataclass(frozen=True)
class Run:
    """An open run.

    Attributes:
        out: its folder.
        checkpoint: the state to continue from, or None for a new run.
        log: its metrics, or None in a process that writes nothing.
        config: the algorithm's frozen `Config`.
    """

    out: Path
    checkpoint: Checkpoint | None
    log: MetricsLog | None
    config: Any

    @property
    def records(self) -> list[Record]:
        """Every line of metrics.jsonl; none in a process that writes nothing."""
        return [] if self.log is None else self.log.records

    @property
    def first_step(self) -> int:
        """Iterations that are already done."""
        return self.checkpoint.step if self.checkpoint else 0

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.out / "checkpoints"

    def write(self, record: Record, episodes: EpisodeWriter | None = None) -> None:
        """Append an iteration's metrics, and its transcripts where they are due.

        Raises:
            TrainingError: the disk is full, or the folder cannot be written any more.
        """
        if self.log is None:
            return
        every = self.config.run.log_episodes
        with self._writing():
            self.log.write(record)
            if episodes is not None and every and record["step"] % every == 0:
                episodes.write(self.out / "episodes", record["step"])

    def save_if_due(
        self,
        step: int,
        policy: Policy,
        optimiser: torch.optim.Optimizer,
        critic: nn.Module | None = None,
        counters: dict[str, float] | None = None,
    ) -> None:
        """Write a checkpoint after every `checkpoint_every` iterations; `step` counts from 1. All processes call.

        Raises:
            TrainingError: the disk is full; the last good checkpoint is intact.
        """
        every, keep = self.config.run.checkpoint_every, self.config.run.keep_checkpoints
        if every and step % every == 0:
            with self._writing():
                save_checkpoint(self.checkpoints, step, policy, optimiser, critic, counters, keep)

    def close(self) -> None:
        """Close the trackers; a second call does nothing."""
        if self.log is not None:
            self.log.close()

    def finish(self, policy: Policy, held_out: Evaluator, title: str) -> TrainResult:
        """Save the model and the learning curves, and upload the model where it is to be. All processes call.

        Raises:
            TrainingError: the disk is full; the last good checkpoint is intact.
        """
        folder = self.out / "model"
        with self._writing():
            policy.save(folder)
            if self.log is not None:
                from baselines.runs.curves import draw_curves  # matplotlib takes a second to import

                draw_curves(self.log.records, self.out / "curves.png", title)
        self.close()
        pushed_to, repo_id = "", self.config.run.push_to_hub
        if repo_id and self.log is not None:
            from baselines.runs.hub import make_card, push_policy

            card = make_card(self.config, held_out.env_ids, self.records, title.partition(" on ")[0], repo_id)
            pushed_to = push_policy(folder, repo_id, card)
        return TrainResult(policy, self.records, held_out.last, folder, held_out.last_sampled, pushed_to)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError) as error:
            good = list_checkpoints(self.checkpoints)
            kept = f"the last good checkpoint is {good[-1].folder}" if good else "there is no checkpoint yet"
            raise TrainingError(f"expected to write into {self.out}, got {error}; {kept}") from error


@dataclass(frozen=True, eq=False)
class EpisodeWriter:
    """Episodes to be written down with the advantage of every action token.

    Attributes:
        episodes: N of them.
        advantages: (B, T) of the rows of their batch.
        tokenizer: theirs.
        env_id: id of their environment.
    """

    episodes: Sequence[Episode]
    advantages: Tensor
    tokenizer: PreTrainedTokenizerBase
    env_id: str

    def write(self, folder: Path, step: int) -> None:
        """Write the transcripts of iteration `step` and a page that shows them."""
        path, title = folder / f"step-{step:08d}.jsonl", f"{self.env_id}, iteration {step}"
        advantages = join_sequences(self.advantages.float().cpu(), self.episodes).numpy()
        transcripts = write_transcripts(
            path, self.episodes, tokenizer=self.tokenizer, advantages=advantages, env_id=self.env_id, title=title
        )
        write_page(path.with_suffix(".html"), transcripts, title)


def open_run(config: Any, ranks: Ranks | None = None, free: Set[str] = frozenset()) -> Run:
    """Open the run's folder, new or to be resumed.

    Args:
        config: the algorithm's frozen `Config`, kept as config.json.
        ranks: the processes of the run; all but the first only read.
        free: names of options that may differ from those of the run that is resumed.

    Raises:
        ConfigError: the folder holds another run and `resume` is not set, or the configuration has changed since.
    """
    settings, writes = config.run, ranks is None or ranks.is_first
    if writes:
        _check_services(settings)
        if not settings.resume and _holds_run(settings.out):
            raise ConfigError(f"expected --out to be a new folder (or --resume), got {settings.out}, which holds a run")
        write_config(config, settings.out, free, replace=not settings.resume)
    if ranks is not None:
        ranks.wait()
    found = list_checkpoints(settings.out / "checkpoints") if settings.resume else []
    run = Run(settings.out, found[-1] if found else None, None, config)
    if not writes:
        return run
    if settings.resume and not found and _holds_run(settings.out):
        warn(f"there is no checkpoint in {settings.out} to resume from: the run starts again, and its metrics with it")
    trackers = _open_trackers(config, settings, run.first_step)
    return dataclasses.replace(run, log=MetricsLog(settings.out / "metrics.jsonl", run.first_step, trackers))


def _check_services(settings: RunSettings) -> None:
    """Refuse trackers whose packages are missing, and a push that cannot succeed, before a folder is made.

    Raises:
        ConfigError: what is missing.
    """
    if settings.push_to_hub:
        from baselines.runs.hub import check_push

        check_push(settings.push_to_hub)
    if settings.trackers:
        from baselines.runs.trackers import check_installed

        for name in settings.trackers:
            check_installed(name)


def _open_trackers(config: Any, settings: RunSettings, last_step: int) -> list[Tracker]:
    if not settings.trackers:
        return []
    from baselines.runs.trackers import RunTracker

    options = _flat(_described(config))
    return [RunTracker(name, settings.out, last_step, options, settings.device) for name in settings.trackers]


def _holds_run(out: Path) -> bool:
    """Return True if a run has written anything worth keeping; a start that failed has not."""
    metrics = out / "metrics.jsonl"
    is_begun = metrics.is_file() and metrics.stat().st_size > 0
    return is_begun or bool(list_checkpoints(out / "checkpoints")) or (out / "model").exists()


def clear_failed_start(out: Path) -> None:
    """Remove what `open_run` has written into a folder, if no iteration was finished in it."""
    if _holds_run(out):
        return
    names = ("metrics.jsonl", "config.json", "tracker.json")
    for path in (*(out / name for name in names), *out.glob("events.out.tfevents.*")):
        path.unlink(missing_ok=True)
    for folder in (out / "checkpoints", out):
        with suppress(OSError):  # other files are not ours, or there is no folder
            folder.rmdir()


def write_config(config: Any, out: Path, free: Set[str] = frozenset(), replace: bool = False) -> None:
    """Write a configuration into a folder as config.json, or compare it with the one that is there.

    Args:
        config: a frozen `Config`.
        out: made if it does not exist.
        free: names of options that may differ from those of the run that is there.
        replace: do not compare.

    Raises:
        ConfigError: an option has changed, the file is another program's, such as a model's, or the folder cannot be
            written.
    """
    kept, described = out / "config.json", _described(config)
    if kept.is_file():
        try:
            old = json.loads(kept.read_text(encoding="utf-8"))
        except ValueError:
            old = None
        if not isinstance(old, dict) or not isinstance(old.get("run"), dict):
            raise ConfigError(f"expected --out to be a folder of runs, got {out}, whose config.json is not one's")
        if not replace:
            _check_same(old, described, free)
    try:
        write_whole(kept, json.dumps(described, indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"expected --out to be a folder that can be written, got {out}: {error}") from error


class RunConfig(Protocol):
    """Options of a command that trains."""

    @property
    def run(self) -> RunSettings: ...  # noqa: D102


class PolicyConfig(RunConfig, Protocol):
    """Options that describe a policy and its training."""

    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def rollout(self) -> RolloutSettings: ...  # noqa: D102
    @property
    def optimiser(self) -> OptimiserSettings: ...  # noqa: D102


C = TypeVar("C", bound=RunConfig)


def run_command(config_type: type[C], train: Callable[[C], TrainResult], description: str | None) -> None:
    """Read a configuration from the command line, train, and say where the model is.

    A start that fails leaves no file in a new folder, so that the corrected command may name the same one.

    Raises:
        SystemExit: with the reason, where something that a user can mend is wrong, or with status 130 after Ctrl-C.
    """
    silence_transformers()
    with one_line_errors():
        program = f"python -m baselines.{Path(sys.argv[0]).stem}"
        config = tyro.cli(config_type, prog=program, config=(tyro.conf.OmitArgPrefixes,), description=description)
    out = config.run.out
    is_new = not any((out / name).exists() for name in ("config.json", "metrics.jsonl"))
    with one_line_errors(lambda: _how_to_go_on(out)):
        try:
            result = train(config)
        except BaseException:
            if is_new:
                clear_failed_start(out)
            raise
    for sign in diagnose(result.records, result.policy.model.config.get_text_config(decoder=True).vocab_size):
        warn(sign)
    sys.stdout.write(f"model saved in {result.model_folder}\n")
    if result.pushed_to:
        sys.stdout.write(f"model pushed to {result.pushed_to}\n")


def _how_to_go_on(out: Path) -> str:
    """Return a sentence on continuing an interrupted run."""
    found = list_checkpoints(out / "checkpoints")
    if found:
        return f"the same command with --resume continues from {found[-1].folder}"
    return "there is no checkpoint to go on from; --checkpoint-every N writes one every N iterations"


def open_policy(
    texts: Callable[[], Iterable[str]], config: PolicyConfig, checkpoint: Checkpoint | None, ranks: Ranks
) -> Policy:
    """Load the policy of a run, or what its checkpoint left of it, ready to be trained.

    Args:
        texts: collects text of the environment, called for a new `tiny` alone.
        config: model, length of its episodes, weights to train, type of the weights.
        checkpoint: the state to continue from; with LoRA, `restore` puts the exact adapter back, the folder holds it merged.
        ranks: the processes of the run; the policy is whole in each of them until `ranks.shard`.

    Raises:
        ChatTemplateError: the chat template cannot be extended turn by turn.
        ConfigError: an episode may grow beyond the positions that the model was made for, or LoRA is to be sharded.
        ModelError: there is no such model.
    """
    settings, run = config.optimiser, config.run
    if settings.lora_rank and ranks.sharded:
        raise ConfigError(f"expected lora_rank=0 with --use_fsdp, got {settings.lora_rank}: LoRA is not sharded")
    if checkpoint is not None and not settings.lora_rank:
        policy = Policy.load(checkpoint.folder, run.dtype, ranks.load_device)
    else:
        template = config.rollout.chat_template
        policy = load_policy(config.model, texts, run.seed, run.dtype, ranks.load_device, template)
    limit = policy.max_context_tokens
    if limit is not None and config.rollout.max_context_tokens > limit:
        raise ConfigError(
            f"expected max_context_tokens <= {limit} (positions of the model), got {config.rollout.max_context_tokens}"
        )
    check_trainable(policy.model)
    if settings.lora_rank:
        add_lora(policy.model, settings.lora_rank, settings.lora_alpha, run.seed)
    if settings.checkpoint_activations:
        policy.checkpoint_activations()
    return policy


class Evaluator:
    """The evaluation of a run: fixed held-out seeds, played greedily and sampled, in environments that are made once.

    Greedy play hides part of what is learned, since training samples at temperature 1 and greedy play may loop.

    Args:
        kinds: the environments that are trained on, each an id and its constructor options; each plays all seeds.
        settings: seeds or tasks, frequency, and constructor options of the evaluation.
        rollout: limits of an episode.

    Raises:
        ConfigError: the seeds would play a task of a finite list twice, or there are not as many tasks as asked for.

    Attributes:
        last: the last evaluation, played greedily; None before the first.
        last_sampled: the same at temperature 1.
    """

    def __init__(self, kinds: Sequence[tuple[str, EnvKwargs]], settings: RunSettings, rollout: RolloutSettings) -> None:
        self._kinds = [(env_id, {**env_kwargs, **settings.eval_env_kwargs}) for env_id, env_kwargs in kinds]
        self._settings = settings
        self._rollout = dataclasses.replace(rollout, num_envs=settings.num_eval_envs)
        self._pool: EnvPool | None = None
        self._tasks: list[Task] = []
        if settings.eval_episodes or settings.eval_tasks is not None:  # before anything is trained
            self._pool = EnvPool(self._kinds, self._rollout.max_broken_envs)
            for kind in range(len(self._kinds)):
                self._tasks += held_out_tasks(
                    self._pool, settings.eval_tasks, settings.eval_first_seed, settings.eval_episodes, kind
                )
            check_pool(self._pool, self._tasks)
        self.last: Evaluation | None = None
        self.last_sampled: Evaluation | None = None

    @property
    def env_ids(self) -> list[str]:
        """Ids of the environments that are trained on."""
        return [env_id for env_id, _ in self._kinds]

    def record(self, policy: Policy, step: int, num_steps: int, ranks: Ranks) -> Record:
        """Return metrics of an evaluation, if one is due after iteration `step` (from 1) of `num_steps`; else nothing.

        Of several processes all call, and each plays its share.
        """
        every = self._settings.eval_every
        if not self._tasks or not (step == num_steps or (every and step % every == 0)):
            return {}
        self.last, self.last_sampled = self.play(policy, ranks), self.play(policy, ranks, temperature=1.0)
        record: Record = {}
        for prefix, played in (("eval/", self.last), ("eval/sampled_", self.last_sampled)):
            low, high = played.success_interval()
            record[f"{prefix}success_rate"] = played.success_rate
            record |= {f"{prefix}ci_low": low, f"{prefix}ci_high": high}
            record[f"{prefix}return"] = float(played.returns.mean())
            record[f"{prefix}loops"] = played.loop_rate
        successes = self.last.successes.tolist()
        if len(self._kinds) > 1:
            names = kind_names(self._kinds)
            record |= success_rates("eval/success_rate", [names[task.kind] for task in self._tasks], successes)
        types = [episode.task_type for episode in self.last.episodes]
        return record | success_rates("eval/success_rate", types, successes)

    def play(self, policy: Policy, ranks: Ranks, temperature: float = 0.0) -> Evaluation:
        """Play the held-out seeds now, first all of the first environment; every process gets all episodes."""
        settings = dataclasses.replace(self._rollout, temperature=temperature)
        first, last = ranks.bounds(len(self._tasks))
        assert self._pool is not None
        with ranks.gathered(policy.model):
            played = rollout(policy, self._pool, self._tasks[first:last], settings, (0,), first=first)
        return summarise(ranks.gather(played))

    def close(self) -> None:
        """Close the environments."""
        if self._pool is not None:
            self._pool.close()


def prepare_torch(settings: RunSettings) -> None:
    """Check the device, and set the number of threads and how a GPU multiplies, before any model is loaded."""
    check_device(settings.device)
    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    if torch.device(settings.device).type == "cuda":
        torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")


def _described(config: Any) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return described


_FREE = {
    "resume",
    "out",
    "progress",
    "num_threads",
    "checkpoint_every",
    "keep_checkpoints",
    "tensorboard",
    "tracker",
    "push_to_hub",
    "vllm_url",
    "ray_workers",
    "ray_cpus",
    "ray_gpus",
}


def _check_same(old: dict[str, Any], new: dict[str, Any], free: Set[str]) -> None:
    old_flat, new_flat = _flat(old), _flat(new)
    for key in sorted((old_flat.keys() | new_flat.keys()) - _FREE - free):
        if old_flat.get(key) != new_flat.get(key):
            raise ConfigError(f"expected the resumed run's own {key}={old_flat.get(key)!r}, got {new_flat.get(key)!r}")


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    nested = {"tasks", "rollout", "update", "optimiser", "run"}
    flat = {key: value for key, value in config.items() if key not in nested}
    for key in nested & config.keys():
        flat.update(config[key])
    return flat
