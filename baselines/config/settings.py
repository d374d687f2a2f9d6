"""Options that every trainer shares, nested into each algorithm's own `Config`; the command line shows them flat."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import tyro

from baselines.config.stages import NAMED_CURRICULA, parse_stages, read_curriculum
from baselines.errors import ConfigError
from baselines.rl.advantages import CREDITS, Credit
from baselines.rl.losses import RATIO_LEVELS, Aggregation, RatioLevel

KlPlacement: TypeAlias = Literal["reward", "loss"]
Schedule: TypeAlias = Literal["constant", "linear", "cosine"]
Decode: TypeAlias = Literal["free", "listed"]
EvalTasks: TypeAlias = Literal["all"] | int
KeepThoughts: TypeAlias = Literal["last", "all", "none"]
TrackerName: TypeAlias = Literal["none", "tensorboard", "wandb", "trackio", "mlflow"]

_CONTEXT = re.compile(r"full|turn|window:[1-9][0-9]{0,8}")


def parse_json_object(text: str) -> dict[str, Any]:
    """Read constructor options from a JSON object.

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

Curriculum: TypeAlias = Annotated[
    str | list[dict[str, Any]],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="none|fixed|adaptive|FILE",
        instance_from_str=lambda args: read_curriculum(args[0]),
        is_instance=lambda value: isinstance(value, (str, list)),
        str_from_instance=lambda value: [value if isinstance(value, str) else json.dumps(value)],
    ),
]


def read_chat_template(path: Path) -> str:
    """Return the text of a file that holds a chat template.

    Raises:
        ConfigError: the file cannot be read, or is no Jinja template.
    """
    from jinja2 import TemplateSyntaxError
    from transformers.utils.chat_template_utils import _compile_jinja_template  # knows the tags of chat templates

    try:
        text = path.read_text(encoding="utf-8")
        _compile_jinja_template(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected --chat-template to be a file that can be read, got {path}: {error}") from error
    except TemplateSyntaxError as error:
        raise ConfigError(
            f"expected --chat-template to be a Jinja template, got {path}, line {error.lineno}: {error.message}"
        ) from error
    return text


ChatTemplate: TypeAlias = Annotated[
    str | None,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="FILE",
        instance_from_str=lambda args: read_chat_template(Path(args[0])),
        is_instance=lambda value: value is None or isinstance(value, str),
        str_from_instance=lambda value: ["None" if value is None else "TEMPLATE"],
    ),
]


@dataclass(frozen=True)
class RolloutSettings:
    """Settings of the sampling of episodes."""

    temperature: float = 1.0
    """Divides the logits; recorded log-probabilities include it. 1.0 samples from the model's own distribution."""
    max_new_tokens: int = 32
    """Tokens of one action at most, its end token included. Commands of text games take 3 to 15."""
    max_context_tokens: int = 2048
    """Tokens of a prompt with its action at most, of a whole episode with `context="full"`; a turn that may not fit
    truncates the episode, and is counted."""
    context: str = "full"
    """Turns that a prompt shows. full: the whole history. window:K: the first observation, the last K turns and the
    current observation. turn: the first observation and the current one."""
    chat_template: ChatTemplate = None
    """Jinja template in place of the tokenizer's own, on the command line a file that holds it; saved with the policy."""
    keep_thoughts: KeepThoughts = "all"
    """Thoughts of earlier turns that a prompt shows: all as they were sampled, those of the last turn, or none, as most
    templates of thinking models write them."""
    max_think_tokens: int = 0
    """Tokens of a thought at most; then its end is inserted, which carries no loss. 0: no limit of its own."""
    top_p: float = 1.0
    """Refused unless 1: recorded log-probabilities would no longer be the model's own."""
    top_k: int = 0
    """Refused unless 0, for the same reason."""
    num_envs: int = 64
    """Episodes that a process plays side by side; when one ends, the next takes its place."""
    env_workers: int = 1
    """Threads that step environments; more than one pays where a step takes milliseconds (SWEGym)."""
    max_broken_envs: int = 8
    """Environments that may raise in a process; each is replaced and its episode played again. One more ends the run."""
    decode: Decode = "free"
    """free: any text. listed: only commands of `info["admissible_commands"]`, token by token, with the log-probabilities of
    the distribution restricted to them (`listed.py`)."""
    cuda_graphs: bool = False
    """Replay decoding steps of one token as CUDA graphs, which start all their kernels at once (`fixed_step.py`)."""

    def check(self, training: bool = True) -> None:
        """Raise `ConfigError` for values outside their range; `training` also refuses greedy sampling."""
        if self.top_p != 1.0 or self.top_k != 0:
            raise ConfigError(
                "expected top_p=1 and top_k=0 (log-probabilities are those of the sampling distribution), "
                f"got top_p={self.top_p}, top_k={self.top_k}"
            )
        if training and self.temperature <= 0:
            raise ConfigError(f"expected temperature > 0 for training, got {self.temperature}")
        check_one_of("decode", self.decode, get_args(Decode))
        if not _CONTEXT.fullmatch(self.context):
            raise ConfigError(f"expected context to be full, turn or window:K with K >= 1, got {self.context!r}")
        check_one_of("keep_thoughts", self.keep_thoughts, get_args(KeepThoughts))
        check_at_least("temperature", self.temperature, 0.0)
        check_all_at_least(self, 0, "max_think_tokens", "max_broken_envs")
        check_all_at_least(self, 1, "max_new_tokens", "num_envs", "env_workers")
        check_at_least("max_context_tokens", self.max_context_tokens, self.max_new_tokens + 1)
        if self.max_think_tokens >= self.max_new_tokens:
            raise ConfigError(
                f"expected max_think_tokens < max_new_tokens={self.max_new_tokens}, which is to hold the answer too, got "
                f"{self.max_think_tokens}"
            )

    def check_device(self, device: str) -> None:
        """Raise `ConfigError` for what the device of the model cannot do."""
        if self.cuda_graphs and not device.startswith("cuda"):
            raise ConfigError(f"expected a device cuda with cuda_graphs, got {device}")

    def check_served(self) -> None:
        """Raise `ConfigError` for what a server that samples whole actions cannot do."""
        if self.decode != "free" or self.max_think_tokens:
            raise ConfigError(
                "expected decode=free and max_think_tokens=0 with a vLLM server, which samples whole actions, got "
                f"decode={self.decode}, max_think_tokens={self.max_think_tokens}"
            )

    @property
    def window(self) -> int | None:
        """Number of earlier turns that a prompt shows; None for all."""
        if self.context == "full":
            return None
        return 0 if self.context == "turn" else int(self.context.partition(":")[2])


@dataclass(frozen=True)
class TaskSettings:
    """Settings of the tasks: seeds of one environment, a mixture of several, or one after another as a curriculum."""

    num_train_seeds: int = 0
    """Number of seeds that tasks are drawn from, in a new order after each pass. 0: every task has a new seed."""
    first_train_seed: int = 0
    """First of these seeds. SFT demonstrates seeds from 0 on, so `num_demos` is the first that it leaves out."""
    also: JsonObject = field(default_factory=dict)
    """Further environment ids in addition to `env_id` (weight 1), such as '{"package:Harder-v0": 0.5}'; for a curriculum, in
    the order of the stages. An entry is a weight, or an object of constructor options, laid over `env_kwargs`, with a
    `weight` (1 by default). An id can come more than once with different marks: "Id-v0@long"."""
    curriculum: Curriculum = "none"
    """none: a mixture by weight. fixed: each id for an equal share of the iterations, in order. adaptive: on to the next
    id when the success rate is above the band, back when it is below. A JSON file: its stages, see `stages.parse_stages`."""
    band_low: float = 0.2
    """Success rate of an iteration below which an adaptive curriculum returns to the previous stage."""
    band_high: float = 0.8
    """Success rate of an iteration above which an adaptive curriculum moves to the next stage."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_all_at_least(self, 0, "num_train_seeds", "first_train_seed")
        if not isinstance(self.curriculum, str):
            parse_stages(self.curriculum)
            if self.also:
                raise ConfigError(f"expected no also with a curriculum of stages, got {', '.join(self.also)}")
        else:
            check_one_of("curriculum", self.curriculum, NAMED_CURRICULA)
            if self.curriculum != "none" and not self.also:
                raise ConfigError(f"expected also to name the later stages of a {self.curriculum} curriculum, got none")
        for env_id, entry in self.also.items():
            weight = entry.get("weight", 1) if isinstance(entry, dict) else entry
            if not is_weight(weight):
                raise ConfigError(f"expected also to give each id a weight > 0, got {weight!r} for {env_id!r}")
        if not 0 <= self.band_low < self.band_high <= 1:
            raise ConfigError(f"expected 0 <= band_low < band_high <= 1, got {self.band_low} and {self.band_high}")


@dataclass(frozen=True)
class UpdateSettings:
    """Settings of the update from an iteration's episodes: the parts of the loss that all algorithms share."""

    update_epochs: int = 1
    """Passes over the episodes of an iteration."""
    num_minibatches: int = 4
    """Optimiser steps of one pass; with more than one step an iteration the ratio leaves 1 and the clip acts."""
    loss_aggregation: Aggregation = "token"
    """Mean over all action tokens (arXiv 2503.14476, eq. 8), or within episodes and then over them (arXiv 2402.03300), or
    a sum within episodes over `loss_length` (Dr. GRPO, arXiv 2503.20783)."""
    loss_length: int = 1024
    """Tokens by which `loss_aggregation="constant"` divides an episode's sum."""
    ratio: RatioLevel = "token"
    """Span of the importance ratio that is clipped: token (arXiv 1707.06347), turn (arXiv 2512.17008) or sequence (arXiv
    2507.18071, GSPO). Means of log-ratios stay near 0: clip them more tightly (3e-4 for sequences in GSPO)."""
    mask_truncated: bool = False
    """Leave episodes that a limit of steps or of the context has cut out of the loss (arXiv 2503.14476); they count
    in baselines and metrics."""
    clip_coef: float = 0.2
    """eps of the clipped ratio (arXiv 1707.06347, section 6.1)."""
    clip_coef_high: float | None = None
    """eps of the upper bound alone, "clip-higher" (0.28 in arXiv 2503.14476); None takes `clip_coef`."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus, per nat (arXiv 1707.06347, eq. 9)."""
    kl_coef: float = 0.0
    """beta of the KL divergence from the initial policy, per nat; 0 saves the reference model."""
    kl_placement: KlPlacement = "loss"
    """loss: the k3 estimate is added to the loss. reward: -beta log(pi_old / pi_ref) is paid at every action token."""
    rollout_cap: float = 2.0
    """With `vllm_url`: largest weight of a token by which the update corrects for the server's arithmetic."""
    target_kl: float | None = None
    """Passes end for this iteration once the approximate KL of a minibatch is above 1.5 times this (OpenAI Spinning Up)."""

    def check(self, num_episodes: int) -> None:
        """Raise `ConfigError` for values outside their range; `num_episodes` are those of an iteration."""
        check_all_at_least(self, 1, "update_epochs", "num_minibatches", "loss_length")
        check_all_at_least(self, 0.0, "entropy_coef", "kl_coef")
        check_all_positive(self, "clip_coef", "target_kl")
        if num_episodes % self.num_minibatches:
            raise ConfigError(
                f"expected num_minibatches to divide the {num_episodes} episodes of an iteration, "
                f"got {self.num_minibatches}"
            )
        check_one_of("loss_aggregation", self.loss_aggregation, get_args(Aggregation))
        check_one_of("ratio", self.ratio, RATIO_LEVELS)
        check_all_at_least(self, self.clip_coef, "clip_coef_high")
        check_at_least("rollout_cap", self.rollout_cap, 1.0)
        check_one_of("kl_placement", self.kl_placement, get_args(KlPlacement))

    @property
    def kl_in_reward(self) -> bool:
        """True if the reward holds a KL penalty."""
        return self.kl_coef > 0 and self.kl_placement == "reward"

    @property
    def kl_in_loss(self) -> bool:
        """True if the loss holds a KL penalty."""
        return self.kl_coef > 0 and self.kl_placement == "loss"


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW (arXiv 1711.05101) and how a batch is cut to fit the memory."""

    learning_rate: float = 1e-6
    """Step size of AdamW. 1e-6 suits pretrained models of 0.5 B and more (arXiv 2510.01132, its best)."""
    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW, on weight matrices; norms, biases and (tied) embeddings have none."""
    adam_beta1: float = 0.9
    """Decay of AdamW's mean of the gradients (arXiv 1711.05101, section 4)."""
    adam_beta2: float = 0.999
    """Decay of AdamW's mean of their squares."""
    adam_epsilon: float = 1e-8
    """Added to the root of that mean: an update shrinks where gradients are smaller than this."""
    warmup_steps: int = 0
    """Optimiser steps over which the learning rate rises linearly, from 1 / warmup_steps of itself."""
    schedule: Schedule = "constant"
    """Learning rate over the run: constant, or falling to 0 linearly or along half a cosine (arXiv 1608.03983)."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global L2 norm."""
    micro_batch_tokens: int = 8192
    """Tokens of one forward and backward pass, padding included where the model needs it; gradients accumulate."""
    checkpoint_activations: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, more time."""
    lora_rank: int = 0
    """Rank of LoRA (arXiv 2106.09685) on all linear layers; 0 trains all weights. Needs `peft`."""
    lora_alpha: float = 32.0
    """LoRA's scale: its update is multiplied by lora_alpha / lora_rank."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_all_positive(self, "learning_rate", "adam_epsilon", "max_grad_norm", "lora_alpha")
        check_at_least("weight_decay", self.weight_decay, 0.0)
        check_all_at_least(self, 0, "warmup_steps", "lora_rank")
        check_at_least("micro_batch_tokens", self.micro_batch_tokens, 1)
        check_fraction("adam_beta1", self.adam_beta1)
        check_fraction("adam_beta2", self.adam_beta2)
        check_one_of("schedule", self.schedule, get_args(Schedule))


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run: its folder, seed, evaluations and checkpoints."""

    out: Path = Path("runs/latest")
    """Folder for config.json, metrics.jsonl, curves.png, checkpoints/, episodes/ and model/."""
    seed: int = 1
    """Seed of random weights, of sampling and of the order of data."""
    resume: bool = False
    """Continue the run in `out` from its newest checkpoint, to the same curve."""
    checkpoint_every: int = 0
    """Iterations (SFT: optimiser steps) between checkpoints; 0 writes none."""
    keep_checkpoints: int = 2
    """Number of newest checkpoints that are kept."""
    eval_every: int = 0
    """Iterations (SFT: optimiser steps) between evaluations on held-out seeds; 0 for one at the end."""
    eval_episodes: int = 0
    """Held-out seeds of one evaluation, each played once greedily and once sampled at temperature 1; 0 for none."""
    eval_tasks: EvalTasks | None = None
    """In place of `eval_episodes`, for environments with a finite list of tasks: all of them, or this many, once each."""
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
    tf32: bool = True
    """On a GPU, multiply float32 matrices in TF32: inputs rounded to 10 bits of mantissa (bfloat16: 7), sums in float32."""
    num_threads: int = 0
    """Threads of torch on the CPU; 0 leaves torch's own choice."""
    tracker: TrackerName = "none"
    """Also log the metrics to tensorboard (files in `out`), wandb (offline unless WANDB_MODE is set), trackio or mlflow.
    Needs `accelerate` and the package of that name."""
    tensorboard: bool = False
    """Also write TensorBoard's event files into `out`, whatever `tracker` is."""
    push_to_hub: str = ""
    """Repository of the Hugging Face hub, USER/NAME, that the trained policy is uploaded to at the end, with a model card;
    a new one is private."""
    log_episodes: int = 0
    """Iterations between transcripts with the advantage of every token, in `out`/episodes; 0 writes none."""
    progress: bool = True
    """Show the progress line."""
    vllm_url: str = ""
    """Address of a running vLLM server that samples the actions of training, such as http://localhost:8000; "" for none.
    Needs `trl` and `vllm`."""
    ray_workers: int = 0
    """Actors of a running Ray cluster that play the training episodes, in place of each process; 0 for none. Needs `ray`."""
    ray_cpus: float = 1.0
    """CPUs that Ray reserves for each of them; fractions put several on one core."""
    ray_gpus: float = 0.0
    """GPUs that Ray reserves for each of them; above 0 their copies of the model are on the GPU."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        if str(self.out).startswith("~"):
            raise ConfigError(f"expected --out with the home folder written out, got {self.out}: the shell left the ~")
        check_all_at_least(self, 0, "checkpoint_every", "eval_every", "eval_episodes", "eval_first_seed", "num_threads")
        check_all_at_least(self, 0, "seed", "log_episodes", "ray_workers", "ray_gpus")
        check_all_at_least(self, 1, "keep_checkpoints", "num_eval_envs")
        check_positive("ray_cpus", self.ray_cpus)
        check_one_of("dtype", self.dtype, ("float32", "bfloat16"))
        check_one_of("tracker", self.tracker, get_args(TrackerName))

    def check_unpushed(self) -> None:
        """Raise `ConfigError` where a policy is to be uploaded by a command that does not do that."""
        if self.push_to_hub:
            raise ConfigError(
                f"expected no push_to_hub for this command, which uploads nothing, got {self.push_to_hub!r}"
            )

    @property
    def trackers(self) -> list[str]:
        """Names of the trackers that get the metrics, each once."""
        named = ["tensorboard"] * self.tensorboard + [self.tracker]
        return [name for name in dict.fromkeys(named) if name != "none"]


@dataclass(frozen=True)
class LearnerConfig:
    """Options of every algorithm that plays episodes and learns from them, iteration by iteration."""

    env_id: str
    """Environment; `package:Id-v0` imports the package first."""
    env_kwargs: JsonObject = field(default_factory=dict)
    """Constructor options of the environment."""
    model: str = "tiny"
    """`tiny`, `tiny-base`, `smollm2-135m`, a folder, or a hub name."""
    num_iterations: int = 50
    """Rounds of rollout and update."""
    tasks: TaskSettings = field(default_factory=TaskSettings)
    """Tasks that are played."""
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    """Sampling of the episodes."""
    update: UpdateSettings = field(default_factory=UpdateSettings)
    """Passes, clip, KL and aggregation."""
    optimiser: OptimiserSettings = field(default_factory=lambda: OptimiserSettings(learning_rate=3e-4, warmup_steps=12))
    """AdamW; 3e-4 suits a million weights, 1e-6 a pretrained model."""
    run: RunSettings = field(default_factory=RunSettings)
    """Folder, seed, evaluation, checkpoints."""

    def check_shared(self, num_episodes: int) -> None:
        """Raise `ConfigError` for values outside their range; `num_episodes` are those of an iteration."""
        check_at_least("num_iterations", self.num_iterations, 1)
        self.update.check(num_episodes)
        for settings in (self.tasks, self.rollout, self.optimiser, self.run):
            settings.check()
        self.rollout.check_device(self.run.device)
        if self.run.vllm_url:
            self.rollout.check_served()
            if self.run.ray_workers or self.optimiser.lora_rank:
                raise ConfigError(
                    "expected ray_workers=0 and lora_rank=0 with vllm_url, whose server gets whole models, got "
                    f"ray_workers={self.run.ray_workers}, lora_rank={self.optimiser.lora_rank}"
                )


@dataclass(frozen=True)
class CreditConfig(LearnerConfig):
    """Options of algorithms that weight actions by advantages."""

    credit: Credit = "turn"
    """Unit that gets one advantage: trajectory, turn or token."""
    gamma: float = 0.9
    """Discount from one decision to the next; 1 in the papers."""

    def check_shared(self, num_episodes: int, *further_credits: str) -> None:
        """Raise `ConfigError` for values outside their range.

        Args:
            num_episodes: episodes of an iteration.
            further_credits: kinds of credit that the algorithm has in addition to the common ones.
        """
        needs = {"step": "compares the members of a group: use GRPO or RLOO", "bilevel": "needs a critic: use PPO"}
        known = (*CREDITS, *further_credits)
        if self.credit in needs and self.credit not in known:
            raise ConfigError(
                f"expected credit to be one of {', '.join(known)}, got {self.credit!r}, which {needs[self.credit]}"
            )
        check_one_of("credit", self.credit, known)
        check_fraction("gamma", self.gamma)
        super().check_shared(num_episodes)


@dataclass(frozen=True)
class GroupConfig(CreditConfig):
    """Options of algorithms that play each task several times and compare the episodes."""

    group_size: int = 4
    """Episodes of one task (4 in arXiv 2510.01132)."""
    groups_per_batch: int = 16
    """Tasks of one iteration."""
    credit: Credit = "turn"
    """Unit that gets one advantage: trajectory (the papers'), turn, token, or step (GiGPO)."""
    step_weight: float = 1.0
    """Weight of the comparison within states for `credit="step"`, omega in arXiv 2505.10978 (1 there)."""
    keep_top_groups: float = 1.0
    """Share of the groups that are trained on, those whose returns have the largest standard deviation (RAGEN, arXiv
    2504.20073, keeps 0.25); the others are played and left out of the loss."""
    min_group_spread: float = 0.0
    """Standard deviation of a group's returns below which it is left out of the loss; 0 keeps all."""
    refill: int = 1
    """Groups that `min_group_spread` leaves out are replaced by groups of further tasks until the batch is full, or this
    many batches have been played (dynamic sampling of DAPO, arXiv 2503.14476, section 3.2); 1 replaces none."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_at_least("group_size", self.group_size, 2)
        check_all_at_least(self, 1, "groups_per_batch", "refill")
        check_all_at_least(self, 0.0, "step_weight", "min_group_spread")
        check_fraction("keep_top_groups", self.keep_top_groups)
        check_positive("keep_top_groups", self.keep_top_groups)
        if self.refill > 1 and self.min_group_spread == 0:
            raise ConfigError(
                f"expected min_group_spread > 0 with refill={self.refill}, which replaces the groups below it, got 0"
            )
        if self.refill > 1 and self.keep_top_groups < 1:
            raise ConfigError(
                f"expected keep_top_groups=1 with refill={self.refill}, whose full batch it would cut again, "
                f"got {self.keep_top_groups}"
            )
        self.check_shared(self.group_size * self.groups_per_batch, "step")
        if self.credit == "token" and not self.update.kl_in_reward:
            raise ConfigError(
                "expected kl_coef > 0 and kl_placement=reward for credit=token (without them it is credit=turn), "
                f"got kl_coef={self.update.kl_coef}, kl_placement={self.update.kl_placement}"
            )


def check_at_least(name: str, value: float, minimum: float) -> None:
    """Raise `ConfigError` unless `value >= minimum`."""
    if not value >= minimum:
        raise ConfigError(f"expected {name} >= {minimum}, got {value}")


def check_all_at_least(settings: object, minimum: float, *names: str) -> None:
    """Call `check_at_least` for the fields of these names that are not None."""
    for name in names:
        if getattr(settings, name) is not None:
            check_at_least(name, getattr(settings, name), minimum)


def check_positive(name: str, value: float) -> None:
    """Raise `ConfigError` unless `value > 0`."""
    if not value > 0:
        raise ConfigError(f"expected {name} > 0, got {value}")


def check_all_positive(settings: object, *names: str) -> None:
    """Call `check_positive` for the fields of these names that are not None."""
    for name in names:
        if getattr(settings, name) is not None:
            check_positive(name, getattr(settings, name))


def is_weight(value: object) -> bool:
    """Return whether a value read from JSON is a finite number above 0."""
    return isinstance(value, (int, float)) and 0 < value < math.inf


def check_fraction(name: str, value: float) -> None:
    """Raise `ConfigError` unless `0 <= value <= 1`."""
    if not 0 <= value <= 1:
        raise ConfigError(f"expected {name} in [0, 1], got {value}")


def check_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"expected {name} to be one of {', '.join(choices)}, got {value!r}")
