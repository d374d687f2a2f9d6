"""`make demo`: RL turns a language model that reads a text game into one that wins it, while you watch.

The start is `tiny-base`, a model of about a million weights that was pretrained on play of mixed players. RL trains it on
games that it has never met, and the table compares random play, the start and the trained policy on held-out games. The
folder then holds the table, a picture of held-out success during training, and one game before and after.

    python -m benchmarks demo --out demo --seed 1
"""

from __future__ import annotations

import json
import os
import shutil
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from baselines import ppo
from baselines.config.settings import (
    OptimiserSettings,
    RolloutSettings,
    RunSettings,
    TaskSettings,
    UpdateSettings,
    check_at_least,
)
from baselines.errors import ConfigError
from baselines.evaluate import Agent, Evaluation, evaluate_agent, evaluate_policy, paired_difference_interval
from baselines.models.policy import Policy, silence_transformers
from baselines.runs.log import Record
from baselines.sampling.environments import EnvPool
from baselines.sampling.episode import Episode
from textagent_gym.agents import RandomAgent

ENV_ID = "textagent_gym:TextWorld-w2-o3-q4-Dense-v0"
OPTIONS: dict[str, Any] = {"preamble": False}
TRAIN: dict[str, Any] = {**OPTIONS, "split": "train"}
TEST: dict[str, Any] = {**OPTIONS, "split": "test"}
ROLLOUT = RolloutSettings(decode="listed", max_context_tokens=2048, max_new_tokens=24)

SEEDS_PER_SEED = 10_000_000
"""Seeds of games between those of two demo seeds, so that two demos share no game."""
FIRST_VALIDATION, FIRST_TEST = 8_000_000, 9_000_000

START, TRAINED = "tiny-base", "tiny-base + PPO"

PPO_FOLDER, TABLE, CURVES, GAME, TRANSCRIPT = "ppo", "table.json", "curves.png", "game.png", "transcript.txt"
"""Content of a demo's folder."""


@dataclass(frozen=True)
class Config:
    """Options of the demo."""

    out: Path = Path("demo")
    """Folder for the results; what an earlier demo left there is replaced."""
    seed: int = 1
    """Seeds training, the training games and the test games, which no other seed has."""
    num_iterations: int = 40
    """Rounds of rollout and update."""
    episodes_per_batch: int = 64
    """Episodes of one round, each of a new game."""
    num_validation_games: int = 100
    """Games of the validation curve, of the train split."""
    num_test_games: int = 400
    """Games of the table, of the test split."""

    def games(self, first: int, count: int) -> range:
        """Return seeds of games of this demo alone."""
        start = self.seed * SEEDS_PER_SEED + first
        return range(start, start + count)

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range, and for a folder with anything but an earlier demo."""
        check_at_least("seed", self.seed, 0)
        for name in ("num_iterations", "episodes_per_batch", "num_validation_games", "num_test_games"):
            check_at_least(name, getattr(self, name), 1)
        if self.out.exists() and not self.out.is_dir():
            raise ConfigError(f"expected --out to be a folder, got the file {self.out}")
        found = sorted(path.name for path in self.out.iterdir()) if self.out.is_dir() else []
        others = [name for name in found if name not in (PPO_FOLDER, TABLE, CURVES, GAME, TRANSCRIPT)]
        if others:
            raise ConfigError(f"expected --out to be new or an earlier demo's folder, found {others[0]} in {self.out}")


def main(config: Config) -> None:
    """Run the demo on this terminal."""
    silence_transformers()
    run_demo(config, Console(highlight=False))


def run_demo(config: Config, console: Console) -> None:
    """Train, evaluate and write what the folder then holds.

    Raises:
        BaselinesError: an option is outside its range, or the folder holds something else.
    """
    config.check()
    if config.out.exists():
        shutil.rmtree(config.out)
    config.out.mkdir(parents=True)
    started = time.monotonic()

    test_games = config.games(FIRST_TEST, config.num_test_games)
    num_train = config.num_iterations * config.episodes_per_batch
    console.print(f"[bold]1/3[/bold] {num_train} training games and {len(test_games)} test games of {ENV_ID}")
    prepare_games(
        [(TRAIN, seed) for seed in config.games(0, num_train)]
        + [(TRAIN, seed) for seed in config.games(FIRST_VALIDATION, config.num_validation_games)]
        + [(TEST, seed) for seed in test_games]
    )
    start = Policy.load(START)
    before = play(start, test_games)
    validated = play(start, config.games(FIRST_VALIDATION, config.num_validation_games), TRAIN)
    console.print(f"[bold]2/3[/bold] {START} plays new games and learns from its rewards (PPO)")
    trained = ppo.train(ppo_config(config))
    console.print("[bold]3/3[/bold] all play the test games")
    results = {
        "random": evaluate_agent(random_commands(config.seed), gym.make(ENV_ID, **TEST), test_games),
        START: before,
        TRAINED: play(trained.policy, test_games),
    }
    sampled = {
        name: play(policy, test_games, temperature=1.0) for name, policy in ((START, start), (TRAINED, trained.policy))
    }
    report(results, sampled, config, console)
    draw_success(validated, trained.records, results, config.out / CURVES)
    shown = most_telling(before.episodes, results[TRAINED].episodes)
    (config.out / TRANSCRIPT).write_text(side_by_side(*shown), encoding="utf-8")
    draw_game(*shown, config.out / GAME)
    console.print(side_by_side(*shown, width=max(30, (console.width - 3) // 2)), markup=False)
    names = ", ".join(str(config.out / name) for name in (TABLE, CURVES, GAME, TRANSCRIPT))
    console.print(f"{time.monotonic() - started:.0f} seconds. See {names}; metrics are in {config.out / PPO_FOLDER}.")


def random_commands(seed: int) -> Agent:
    """Return a player that draws admissible commands, with one generator for all episodes."""
    agent = RandomAgent()
    agent.reset({}, seed)
    return lambda observation, info: agent.act(observation, dict(info))


def ppo_config(config: Config) -> ppo.Config:
    """Return the settings of training: every episode plays a new game, and the policy is validated as it learns."""
    return ppo.Config(
        env_id=ENV_ID,
        env_kwargs=TRAIN,
        model=START,
        num_iterations=config.num_iterations,
        episodes_per_batch=config.episodes_per_batch,
        credit="turn",
        gamma=0.5,
        tasks=TaskSettings(first_train_seed=config.games(0, 1)[0]),
        rollout=ROLLOUT,
        update=UpdateSettings(num_minibatches=4),
        optimiser=OptimiserSettings(learning_rate=3e-4, warmup_steps=12),
        run=RunSettings(
            out=config.out / PPO_FOLDER,
            seed=config.seed,
            eval_every=4,
            eval_episodes=config.num_validation_games,
            eval_first_seed=config.games(FIRST_VALIDATION, 1)[0],
        ),
    )


def prepare_games(games: list[tuple[dict[str, Any], int]]) -> None:
    """Make the games that are not in the cache folder yet, on all cores."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(tqdm(pool.map(_prepare_game, games, chunksize=16), total=len(games), desc="games", dynamic_ncols=True))


def _prepare_game(game: tuple[dict[str, Any], int]) -> None:
    kwargs, seed = game
    env = gym.make(ENV_ID, **kwargs)
    env.reset(seed=seed)
    env.close()


def play(policy: Policy, seeds: range, env_kwargs: dict[str, Any] = TEST, temperature: float = 0.0) -> Evaluation:
    """Return one episode of each test game, greedy at temperature 0."""
    with EnvPool([(ENV_ID, env_kwargs)], ROLLOUT.max_broken_envs) as pool:
        return evaluate_policy(policy, pool, seeds, replace(ROLLOUT, temperature=temperature))


def report(results: dict[str, Evaluation], sampled: dict[str, Evaluation], config: Config, console: Console) -> None:
    """Print the table and write it to `out`/table.json."""
    title = f"{config.num_test_games} test games of {ENV_ID}, seed {config.seed}"
    table = Table("agent", "success rate", "95 % interval", "sampled", "loops", title=title)
    rows = []
    for agent, result in results.items():
        low, high = result.success_interval()
        row = {"agent": agent, "success_rate": result.success_rate, "ci_low": low, "ci_high": high}
        cells = [agent, f"{result.success_rate:.3f}", f"[{low:.3f}, {high:.3f}]".replace("[", r"\["), "", ""]
        if agent in sampled:
            row |= {"sampled_success_rate": sampled[agent].success_rate, "loops": result.loop_rate}
            cells[3:] = [f"{sampled[agent].success_rate:.3f}", f"{result.loop_rate:.3f}"]
        table.add_row(*cells)
        rows.append(row)
    differences = []
    table.add_section()
    for worse, better in pairwise(results):
        low, high = paired_difference_interval(results[better], results[worse])
        difference = results[better].success_rate - results[worse].success_rate
        name = f"({better}) - ({worse})"
        table.add_row(name, f"{difference:+.3f}", f"[{low:+.3f}, {high:+.3f}]".replace("[", r"\["))
        differences.append({"difference": name, "mean": difference, "ci_low": low, "ci_high": high})
    console.print(table)
    content = {
        "env_id": ENV_ID,
        "seed": config.seed,
        "num_games": config.num_test_games,
        "agents": rows,
        "paired_differences": differences,
    }
    (config.out / TABLE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def draw_success(before: Evaluation, records: list[Record], results: dict[str, Evaluation], path: Path) -> None:
    """Draw success on validation games during training, with its interval, and that of random play and the start."""
    low, high = before.success_interval()
    start: Record = {"step": 0, "eval/success_rate": before.success_rate, "eval/ci_low": low, "eval/ci_high": high}
    points = [start, *(record for record in records if "eval/success_rate" in record)]
    steps = [record["step"] for record in points]
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot(
        [record["step"] for record in records],
        [record["train/success_rate"] for record in records],
        color="C7",
        alpha=0.5,
        linewidth=1,
        label="training games, sampled",
    )
    axis.plot(
        steps, [record["eval/success_rate"] for record in points], "o-", color="C0", label="validation games, greedy"
    )
    lows, highs = ([record[f"eval/ci_{end}"] for record in points] for end in ("low", "high"))
    axis.fill_between(steps, lows, highs, color="C0", alpha=0.2)
    for name, style in (("random", ":"), (START, "--")):
        rate = results[name].success_rate
        axis.axhline(rate, color="C3", linestyle=style, label=f"{name}, test games: {rate:.2f}")
    trained = results[TRAINED]
    low, high = trained.success_interval()
    axis.errorbar(
        records[-1]["step"],
        trained.success_rate,
        [[trained.success_rate - low], [high - trained.success_rate]],
        fmt="s",
        color="C2",
        capsize=4,
        label=f"{TRAINED}, test games: {trained.success_rate:.2f}",
    )
    axis.set(xlabel="iteration", ylabel="success rate", ylim=(-0.02, 1.02), title=ENV_ID)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=120)


def most_telling(before: tuple[Episode, ...], after: tuple[Episode, ...]) -> tuple[Episode, Episode]:
    """Return the first game that was lost before training and is won after it, or the first game if there is none."""
    pairs = list(zip(before, after, strict=True))
    return max(pairs, key=lambda pair: pair[1].success and not pair[0].success)


def side_by_side(before: Episode, after: Episode, width: int = 76) -> str:
    """Return one game before and after training, as two columns of text."""
    columns = [_script(title, episode, width) for title, episode in ((START, before), (TRAINED, after))]
    height = max(map(len, columns))
    padded = [column + [""] * (height - len(column)) for column in columns]
    return "\n".join(f"{left:<{width}} | {right}".rstrip() for left, right in zip(*padded, strict=True)) + "\n"


def _script(title: str, episode: Episode, width: int) -> list[str]:
    """Return an episode as lines of at most `width` characters: the first observation, then each command with its answer."""
    lines = [title, "=" * len(title)]
    for turn in episode.turns:
        lines += [*_wrapped(turn.observation, width), "", f"> {turn.action}    ({turn.reward:+.2f})"]
    return [
        *lines,
        *_wrapped(episode.final_observation, width),
        "",
        f"== {episode.outcome} after {len(episode.turns)} steps",
    ]


def _wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text, none longer than `width`, with no two blank lines in a row."""
    lines = [line for part in text.strip().split("\n") for line in (textwrap.wrap(part, width) or [""])]
    return [line for line, previous in zip(lines, ["", *lines], strict=False) if line or previous]


def draw_game(before: Episode, after: Episode, path: Path) -> None:
    """Draw the same two columns as a picture."""
    text = side_by_side(before, after, width=64)
    figure = Figure(figsize=(12, 1 + 0.16 * text.count("\n")))
    FigureCanvasAgg(figure)
    figure.text(0.02, 0.98, text.replace("$", r"\$"), family="monospace", fontsize=8, va="top")
    figure.savefig(path, dpi=110, bbox_inches="tight")
