r"""Supervised fine-tuning (SFT) on expert episodes: behaviour cloning, one token at a time.

The expert's episodes are written as the token sequences that a policy would have produced, and the policy maximises the
likelihood of the action tokens alone (D. Pomerleau, "ALVINN", NIPS 1988; the loss of arXiv 2203.02155, section 3.5,
without a reward model):

    L = - sum_t m_t log pi(a_t | everything before t) / sum_t m_t          m_t = 1 for tokens of the expert's actions

Experts come from the environment: made with `expose_solution=True`, it returns `info["solution"]` at reset, which is
replayed on the seeds 0 .. num_demos - 1. Or they come from a file: `--data conversations.jsonl`, one
`{"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}, ...]}` a line.

Left out: a loss on observations (they are not the policy's to say), and a validation loss (success on held-out seeds is
what counts, and is measured).

How to run:

    python -m baselines.sft --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --model tiny --num-demos 100 \
        --out runs/sft --eval-episodes 100 --eval-env-kwargs '{"split": "test"}'
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError

from baselines.config.settings import JsonObject, OptimiserSettings, RolloutSettings, RunSettings, check_all_at_least
from baselines.errors import ConfigError, TrainingError
from baselines.models.policy import check_model_exists
from baselines.rl.optimizer import make_optimiser, schedule_factor
from baselines.rl.supervised import batch_rows, supervised_step
from baselines.runs.distributed import Ranks
from baselines.runs.log import LiveLine, Record
from baselines.runs.run import Evaluator, TrainResult, open_policy, open_run, prepare_torch, run_command
from baselines.sampling.demonstrations import (
    Demonstration,
    collect_demonstrations,
    encode_demonstration,
    read_conversations,
)
from baselines.sampling.environments import make_env


@dataclass(frozen=True)
class Config:
    """Options of supervised fine-tuning."""

    env_id: str
    """Environment; `package:Id-v0` imports the package first."""
    env_kwargs: JsonObject = field(default_factory=dict)
    """Constructor options of the environment; `expose_solution` is added."""
    model: str = "tiny"
    """`tiny`, `smollm2-135m`, a folder, or a hub name."""
    data: Path | None = None
    """JSONL of conversations to learn from instead of the environment's expert."""
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
        default_factory=lambda: OptimiserSettings(
            learning_rate=1e-3, weight_decay=0.01, warmup_steps=10, schedule="cosine"
        )
    )
    """AdamW; 1e-3 suits `tiny`, 1e-5 a pretrained model."""
    run: RunSettings = field(default_factory=lambda: RunSettings(out=Path("runs/sft")))
    """Folder, seed, evaluation, checkpoints."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_all_at_least(self, 1, "num_demos", "num_epochs", "batch_size")
        self.rollout.check(training=False)
        self.optimiser.check()
        self.run.check()
        if self.save is not None and self.save.is_file():
            raise ConfigError(f"expected --save to be a folder, got the file {self.save}")
        if self.data is not None and not self.data.is_file():
            raise ConfigError(f"expected --data to be a JSONL file of conversations, got {self.data}")


def train(config: Config) -> TrainResult:
    """Train on the demonstrations and return the trained policy.

    Raises:
        BaselinesError: the configuration, environment or model does not fit; what and where is in its message.
    """
    config.check()
    check_model_exists(config.model)
    ranks = Ranks(config.run.device)
    prepare_torch(config.run)
    demonstrations = load_demonstrations(config)
    run = open_run(config, ranks)
    texts = [text for demonstration in demonstrations for text in demonstration.texts]
    policy = open_policy(lambda: texts, config, run.checkpoint, ranks)
    ranks.shard(policy.model)
    episodes = [encode_demonstration(policy.chat, demonstration, config.rollout) for demonstration in demonstrations]
    longest, limit = (
        max(end - start for one in episodes for start, end in one.sequences),
        config.rollout.max_context_tokens,
    )
    if longest > limit:  # than the policy will be allowed to play
        raise ConfigError(f"expected max_context_tokens >= {longest}, the longest demonstration, got {limit}")
    optimiser = make_optimiser(policy, config.optimiser)
    if run.checkpoint:
        run.checkpoint.restore(policy, optimiser)

    held_out = Evaluator([(config.env_id, config.env_kwargs)], config.run, config.rollout)
    steps_per_epoch = -(-len(episodes) // config.batch_size)
    num_steps = steps_per_epoch * config.num_epochs
    with closing(run), LiveLine("SFT", num_steps, run.first_step, config.run.progress and ranks.is_first) as line:
        for step in range(run.first_step, num_steps):
            rows = batch_rows(len(episodes), steps_per_epoch, step, config.batch_size, config.run.seed)
            batch = [episodes[row] for row in rows]
            factor = schedule_factor(step, num_steps, config.optimiser)
            record: Record = {"step": step + 1, "epoch": (step + 1) / steps_per_epoch, "demonstrations": len(episodes)}
            record |= supervised_step(policy, optimiser, batch, config.optimiser, factor, ranks)
            record |= held_out.record(policy, step + 1, num_steps, ranks)
            run.write(record)
            run.save_if_due(step + 1, policy, optimiser)
            line.update(record)
            ranks.wait()
    held_out.close()
    result = run.finish(policy, held_out, f"SFT on {config.env_id}")
    if config.save is not None:
        try:
            policy.save(config.save)
        except (OSError, SafetensorError) as error:
            kept = f"the policy is in {result.model_folder}"
            raise TrainingError(f"expected to write into {config.save} (--save), got {error}; {kept}") from error
    return result


def load_demonstrations(config: Config) -> list[Demonstration]:
    """Return the expert's episodes, from the environment or from a file."""
    if config.data is not None:
        return read_conversations(config.data)
    env = make_env(config.env_id, {**config.env_kwargs, "expose_solution": True})
    demonstrations = collect_demonstrations(env, range(config.num_demos))
    env.close()
    return demonstrations


def main() -> None:
    """Run SFT from the command line."""
    run_command(Config, train, __doc__)


if __name__ == "__main__":
    main()
