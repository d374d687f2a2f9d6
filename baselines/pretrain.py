r"""Pretraining of a small base model on play of mixed players: it learns to read a game, not to win it.

The models that RL usually starts from know the language before it begins. This program makes such a model for a laptop.
Players of different skill play many worlds, each named by a line of `--worlds`; their episodes are
written as a policy would have produced them, and a new Llama maximises the likelihood of the actions,

    L = - sum_t m_t log pi(a_t | everything before t) / sum_t m_t  -  c mean log pi(o_t | everything before t)

with m_t = 1 for action tokens and c the `observation_coef` of all other tokens. Since random and careless play is among
the episodes, the model assigns such actions their share, and infers from the history whose play it continues. RL then
raises the share of the good ones.

The result is the checkpoint of lowest validation loss on episodes that were held back, in float16, with a data card.

Left out: text that is not play, and weights from elsewhere.

How to run (the model `tiny-base` was made by the command in its data card, `baselines/models/tiny_base/README.md`):

    python -m baselines.pretrain --out runs/base
"""

from __future__ import annotations

import json
import math
import os
import random
import shlex
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import torch
from tqdm import tqdm

from baselines.config.settings import (
    JsonObject,
    OptimiserSettings,
    RunSettings,
    check_all_at_least,
    check_at_least,
    check_fraction,
    is_weight,
)
from baselines.errors import ConfigError
from baselines.models import tiny
from baselines.models.policy import Policy
from baselines.rl.batch import collate, score_in_chunks
from baselines.rl.logprobs import can_pack, score_actions
from baselines.rl.optimizer import make_optimiser, schedule_factor
from baselines.rl.supervised import batch_rows, supervised_step
from baselines.runs.distributed import Ranks, num_processes
from baselines.runs.files import write_whole
from baselines.runs.hub import option_words
from baselines.runs.log import LiveLine, Record
from baselines.runs.run import TrainResult, open_run, prepare_torch, run_command
from baselines.sampling.demonstrations import Demonstration, encode_demonstration
from baselines.sampling.environments import TextEnv, is_success, make_env, reset_env, step_env
from baselines.sampling.episode import Episode

DEFAULT_WORLDS = Path(__file__).parent / "models" / "tiny_base" / "worlds.json"
EPISODES_PER_PART = 500
NUM_TEXT_EPISODES = 2000
"""Episodes whose texts the tokenizer is trained on."""

PLAYERS = ("random", "careless", "expert")

Player: TypeAlias = Callable[[Sequence[str], str | None], str]
"""Chooses one of the admissible commands, given the expert's (None where it knows none)."""

CARELESS_HABIT = 0.5
"""Share of a careless player's commands that follow its habit; half of the others are the expert's."""


@dataclass(frozen=True)
class Config:
    """Options of pretraining."""

    worlds: Path = DEFAULT_WORLDS
    """JSON list of `{"env_id", "weight", "env_kwargs"}`; of an option whose value is a list each episode draws one."""
    players: JsonObject = field(default_factory=lambda: {"random": 0.35, "careless": 0.15, "expert": 0.5})
    """Shares of the episodes by player, see `make_player`."""
    expert_noise: tuple[float, float] = (0.0, 0.5)
    """Smallest and largest share of an expert's commands that are random; each episode draws its own."""
    num_episodes: int = 14_000
    """Episodes played, of which `validation_share` are held back."""
    play_folder: Path | None = None
    """Folder of the played episodes; None for `out`/play. Runs that differ in the model or the loss alone can share one."""
    first_seed: int = 900_000_000
    """The seeds of the games are the `num_episodes` numbers from here on."""
    max_turns: int = 30
    """Turns of an episode at most."""
    play_workers: int = 0
    """Processes that play; 0 for one a core."""
    validation_share: float = 0.02
    """Share of the episodes that the validation loss is measured on, and nothing is learned from."""
    num_epochs: int = 2
    """Passes over the episodes."""
    batch_size: int = 16
    """Episodes of one optimiser step."""
    max_context_tokens: int = 2048
    """Longer episodes are left out."""
    observation_coef: float = 0.0
    """Weight of the loss on observation tokens; that on actions has weight 1."""
    vocab_size: int = 2048
    """Tokens of the byte-level BPE, trained on the episodes."""
    hidden_size: int = 128
    """Width of the Llama."""
    num_layers: int = 4
    """Layers of it."""
    num_heads: int = 2
    """Attention heads of each layer."""
    intermediate_size: int = 384
    """Width of the feed-forward layers."""
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(
            learning_rate=1e-3, weight_decay=0.01, warmup_steps=50, schedule="cosine", adam_beta2=0.98
        )
    )
    """AdamW."""
    run: RunSettings = field(
        default_factory=lambda: RunSettings(out=Path("runs/base"), eval_every=200, checkpoint_every=200)
    )
    """Folder, seed, checkpoints; `eval_every` counts optimiser steps between validation losses."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_all_at_least(self, 1, "num_episodes", "max_turns", "num_epochs", "batch_size", "max_context_tokens")
        check_all_at_least(self, 1, "hidden_size", "num_layers", "num_heads", "intermediate_size")
        check_at_least("vocab_size", self.vocab_size, 300)
        check_at_least("observation_coef", self.observation_coef, 0.0)
        check_all_at_least(self, 0, "first_seed", "play_workers")
        check_at_least("eval_every", self.run.eval_every, 1)
        shares = [share for share in self.players.values() if share != 0]
        if not shares or not self.players.keys() <= set(PLAYERS) or not all(map(is_weight, shares)):
            raise ConfigError(
                f"expected players to give shares >= 0, not all 0, to {', '.join(PLAYERS)}, got {self.players}"
            )
        low, high = self.expert_noise
        if not 0 <= low <= high <= 1:
            raise ConfigError(f"expected expert_noise LOW HIGH with 0 <= LOW <= HIGH <= 1, got {low} {high}")
        check_fraction("validation_share", self.validation_share)
        if self.hidden_size % self.num_heads:
            raise ConfigError(f"expected num_heads to divide hidden_size={self.hidden_size}, got {self.num_heads}")
        self.optimiser.check()
        self.run.check()
        self.run.check_unpushed()
        if num_processes() > 1:
            raise ConfigError(f"expected one process for pretraining, got {num_processes()}")


@dataclass(frozen=True)
class PlayedEpisode:
    """One episode of one player, in words.

    Attributes:
        world: index into the list of worlds.
        player: its kind.
        seed: given to `env.reset`.
        success: True if the episode succeeded.
        observations: one for each action.
        actions: the commands.
    """

    world: int
    player: str
    seed: int
    success: bool
    observations: tuple[str, ...]
    actions: tuple[str, ...]


def train(config: Config) -> TrainResult:
    """Play, train and return the policy of lowest validation loss; a run that was interrupted is resumed by `--resume`.

    Raises:
        BaselinesError: the configuration or an environment does not fit; what and where is in its message.
    """
    config.check()
    worlds = read_worlds(config.worlds)
    prepare_torch(config.run)
    run = open_run(config)
    played = play_all(config, worlds)
    if run.checkpoint is not None:
        policy = Policy.load(run.checkpoint.folder, config.run.dtype, config.run.device)
    else:
        policy = make_policy(config, worlds, played)
    training, validation = encode(policy, played, config)
    optimiser = make_optimiser(policy, config.optimiser)
    if run.checkpoint is not None:
        run.checkpoint.restore(policy, optimiser)
    ranks = Ranks(config.run.device)
    steps_per_epoch = len(training) // config.batch_size
    if not steps_per_epoch:
        raise ConfigError(
            f"expected at least batch_size={config.batch_size} episodes of max_context_tokens={config.max_context_tokens} "
            f"or fewer to learn from, got {len(training)}: raise num_episodes or max_context_tokens"
        )
    num_steps = steps_per_epoch * config.num_epochs
    best, folder = config.run.out / "best", config.run.out / "model"
    losses = [record["eval/loss"] for record in run.records if "eval/loss" in record]
    with closing(run), LiveLine("pretraining", num_steps, run.first_step, config.run.progress) as line:
        for step in range(run.first_step, num_steps):
            rows = batch_rows(len(training), steps_per_epoch, step, config.batch_size, config.run.seed)
            batch = [training[row] for row in rows]
            factor = schedule_factor(step, num_steps, config.optimiser)
            record: Record = {"step": step + 1, "epoch": (step + 1) * config.batch_size / len(training)}
            record |= supervised_step(
                policy, optimiser, batch, config.optimiser, factor, ranks, config.observation_coef
            )
            if (step + 1) % config.run.eval_every == 0 or step + 1 == num_steps:
                record["eval/loss"] = validation_loss(policy, validation, config)
                if record["eval/loss"] < min(losses, default=math.inf):
                    policy.save(best)
                losses.append(record["eval/loss"])
            run.write(record)
            run.save_if_due(step + 1, policy, optimiser)
            line.update(record)
    half = Policy.load(best, device=config.run.device)
    half.model.to(torch.float16)  # half the size; it is read in float32
    half.save(folder)
    write_whole(folder / "README.md", data_card(config, worlds, played, training, run.records, losses))
    return TrainResult(Policy.load(folder, device=config.run.device), run.records, None, folder)


def read_worlds(path: Path) -> list[dict[str, Any]]:
    """Read the list of worlds.

    Raises:
        ConfigError: the file is missing, is no JSON list, or an entry lacks `env_id` or has no weight above 0.
    """
    try:
        worlds = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected --worlds to be a JSON list of environments, got {path}: {error}") from error
    if not isinstance(worlds, list) or not worlds:
        raise ConfigError(f"expected --worlds to be a JSON list of environments, got {worlds!r:.80} in {path}")
    for number, world in enumerate(worlds):
        if not isinstance(world, dict) or "env_id" not in world or not is_weight(world.get("weight", 1)):
            raise ConfigError(f"expected entry {number} of {path} to have an env_id and a weight > 0, got {world!r}")
    return worlds


def play_all(config: Config, worlds: list[dict[str, Any]]) -> list[PlayedEpisode]:
    """Play all episodes in several processes; parts that an interrupted run has left in `out`/play are read again."""
    folder = config.play_folder or config.run.out / "play"
    claim_play(folder, config, worlds)
    parts = [
        range(start, min(start + EPISODES_PER_PART, config.num_episodes))
        for start in range(0, config.num_episodes, EPISODES_PER_PART)
    ]
    missing = [part for part in parts if not _part_file(folder, part).is_file()]
    workers = config.play_workers or os.cpu_count() or 1
    if missing:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            done = pool.map(partial(_play_part, config=config, worlds=worlds, folder=folder), missing)
            list(tqdm(done, total=len(missing), desc="play", unit="part", disable=not config.run.progress))
    decode = msgspec.json.Decoder(PlayedEpisode).decode_lines
    return [played for part in parts for played in decode(_part_file(folder, part).read_bytes())]


def claim_play(folder: Path, config: Config, worlds: list[dict[str, Any]]) -> None:
    """Note in the folder what decides the episodes, or compare it with what is noted.

    Raises:
        ConfigError: the episodes there were played otherwise.
    """
    played = {
        "worlds": worlds,
        "players": config.players,
        "expert_noise": list(config.expert_noise),
        "first_seed": config.first_seed,
        "max_turns": config.max_turns,
        "seed": config.run.seed,
    }
    note = folder / "play.json"
    if not note.is_file():
        write_whole(note, json.dumps(played, indent=2) + "\n")
    elif (noted := json.loads(note.read_text(encoding="utf-8"))) != played:
        different = ", ".join(name for name, value in played.items() if noted.get(name) != value)
        raise ConfigError(
            f"expected {folder} to hold play of these settings, got other {different}: name another folder"
        )


def _part_file(folder: Path, part: range) -> Path:
    return folder / f"{part.start:08d}-{part.stop:08d}.jsonl"


def _play_part(part: range, config: Config, worlds: list[dict[str, Any]], folder: Path) -> None:
    lines = [json.dumps(asdict(play(number, config, worlds))) + "\n" for number in part]
    write_whole(_part_file(folder, part), "".join(lines))


def play(number: int, config: Config, worlds: list[dict[str, Any]]) -> PlayedEpisode:
    """Play episode `number`: its world, options, player and choices are functions of the run's seed and of it.

    Raises:
        ConfigError: the environment cannot be made, or lists no admissible commands.
    """
    rng = np.random.default_rng([config.run.seed, number])
    weights = np.array([float(world.get("weight", 1)) for world in worlds])
    index = int(rng.choice(len(worlds), p=weights / weights.sum()))
    options = {name: _drawn(value, rng) for name, value in worlds[index].get("env_kwargs", {}).items()}
    shares = np.array(list(config.players.values()), dtype=float)
    kind = list(config.players)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    player = make_player(kind, float(rng.uniform(*config.expert_noise)), rng)
    env, seed = make_env(worlds[index]["env_id"], options), config.first_seed + number
    try:
        observation, info = reset_env(env, seed)
        observations, actions, success = [], [], False
        for _ in range(config.max_turns):
            commands = info.get("admissible_commands")
            if not commands:
                raise ConfigError(f"expected admissible commands from {worlds[index]['env_id']}, got {commands!r}")
            action = player(commands, best_command(env, commands) if kind != "random" else None)
            observations.append(observation)
            actions.append(action)
            observation, reward, terminated, truncated, info = step_env(env, action)
            success = is_success(info, terminated, reward)
            if terminated or truncated:
                break
    finally:
        env.close()
    return PlayedEpisode(index, kind, seed, success, tuple(observations), tuple(actions))


def make_player(kind: str, noise: float, rng: np.random.Generator) -> Player:
    """Return a player of one episode.

    Args:
        kind: "random" draws uniformly. "careless" has a favourite first word, which it uses whenever it can for half of its
            commands; the others are the expert's or random, half and half. "expert" follows the expert.
        noise: share of an expert's commands that are drawn uniformly instead.
        rng: all its randomness.

    Raises:
        ValueError: there is no such player.
    """

    def draw(commands: Sequence[str]) -> str:
        return commands[int(rng.integers(len(commands)))]

    def expert(commands: Sequence[str], best: str | None) -> str:
        return draw(commands) if best is None or rng.random() < noise else best

    favourite = rng.random()

    def careless(commands: Sequence[str], best: str | None) -> str:
        if rng.random() < CARELESS_HABIT:
            words = sorted({command.split()[0] for command in commands})
            word = words[int(favourite * len(words))]
            return draw([command for command in commands if command.split()[0] == word])
        return draw(commands) if best is None or rng.random() < 0.5 else best

    players: dict[str, Player] = {"random": lambda commands, _: draw(commands), "careless": careless, "expert": expert}
    if kind not in players:
        raise ValueError(f"expected a player among {', '.join(PLAYERS)}, got {kind!r}")
    return players[kind]


def best_command(env: TextEnv, commands: Sequence[str]) -> str | None:
    """Return the first command of the environment's own plan, or None where it has none that is admissible."""
    plan: Any = getattr(env.unwrapped, "plan", None)
    commands_left = plan() if callable(plan) else None
    return commands_left[0] if commands_left and commands_left[0] in commands else None


def _drawn(value: Any, rng: np.random.Generator) -> Any:
    return value[int(rng.integers(len(value)))] if isinstance(value, list) else value


def make_policy(config: Config, worlds: Sequence[dict[str, Any]], played: Sequence[PlayedEpisode]) -> Policy:
    """Return a new policy whose tokenizer is trained on a sample of the episodes."""
    chosen = random.Random(config.run.seed).sample(range(len(played)), min(NUM_TEXT_EPISODES, len(played)))
    texts = [text for row in chosen for text in (*played[row].observations, *played[row].actions)]
    tokenizer = tiny.train_tokenizer(texts, config.vocab_size)
    model = tiny.make_model(
        tokenizer,
        config.run.seed,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
    )
    model.config.pretrained_on = sorted({world["env_id"] for world in worlds})
    return Policy(model, tokenizer)


def encode(policy: Policy, played: Sequence[PlayedEpisode], config: Config) -> tuple[list[Episode], list[Episode]]:
    """Return the episodes for training and those for validation, without those that are too long."""
    every = max(2, round(1 / config.validation_share)) if config.validation_share else len(played) + 1
    training: list[Episode] = []
    validation: list[Episode] = []
    for number, one in enumerate(played):
        rewards = (0.0,) * len(one.actions)
        words = Demonstration(
            one.seed, None, (*one.observations, ""), one.actions, rewards, one.success, one.success, False
        )
        episode = encode_demonstration(policy.chat, words)
        if episode.num_tokens <= config.max_context_tokens:
            (validation if number % every == 0 else training).append(episode)
    return training, validation


def validation_loss(policy: Policy, episodes: Sequence[Episode], config: Config) -> float:
    """Return the mean negative log-likelihood of an action token, in nats."""
    total, tokens = 0.0, 0
    for first in range(0, len(episodes), 64):
        batch = collate(episodes[first : first + 64], policy.pad_token_id, policy.device)
        logprobs = score_in_chunks(
            lambda piece: score_actions(policy, piece).logprobs,
            batch,
            config.optimiser.micro_batch_tokens,
            can_pack(policy.model),
        )
        total -= float(logprobs[batch.action_mask].double().sum())
        tokens += int(batch.action_mask.sum())
    return total / max(1, tokens)


def data_card(
    config: Config,
    worlds: Sequence[dict[str, Any]],
    played: Sequence[PlayedEpisode],
    training: Sequence[Episode],
    records: Sequence[Record],
    losses: Sequence[float],
) -> str:
    """Return the data card: what was played by whom, how much was learned from, and the command."""
    rows: dict[tuple[int, str], list[PlayedEpisode]] = defaultdict(list)
    for one in played:
        rows[one.world, one.player].append(one)
    table = [
        f"| `{worlds[world]['env_id']}` | `{json.dumps(worlds[world].get('env_kwargs', {}))}` | {player} | {len(ones)} | "
        f"{sum(one.success for one in ones) / len(ones):.2f} | {sum(len(one.actions) for one in ones) / len(ones):.1f} |"
        for (world, player), ones in sorted(rows.items())
    ]
    tokens = sum(episode.num_tokens for episode in training)
    return "\n".join(
        [
            "# A base model that has read play",
            "",
            "A causal language model pretrained on play of mixed players by `python -m baselines.pretrain`. It reads the "
            "worlds of the table and continues play as it was shown: a start for RL, and no good player.",
            "",
            "| environment | options | player | episodes | success | steps |",
            "| --- | --- | --- | --- | --- | --- |",
            *table,
            "",
            f"Learned from {len(training)} episodes ({tokens} tokens), {config.num_epochs} passes, {len(records)} steps of "
            f"{config.batch_size} episodes. Validation loss {min(losses):.4f} nats an action token, the lowest of "
            f"{len(losses)} measured. Weights in float16.",
            "",
            "```",
            shlex.join(["python", "-m", "baselines.pretrain", *option_words(config, Config())]),
            "```",
            "",
        ]
    )


def main() -> None:
    """Run pretraining from the command line."""
    run_command(Config, train, __doc__)


if __name__ == "__main__":
    main()
