"""Do players who share one policy learn to win together?

Two players of `textworld_coop` are one network: each sees its own view alone, and draws among its own admissible commands
and `pass`. A command is scored by what it has to do with the view (after He et al., arXiv 1511.04636), so that what is
learned on some games carries over to others. Learning is REINFORCE with a learned baseline on the shared reward.

    python -m benchmarks.experiments.coop --out runs/coop

The table gives success, return and rounds with 95 % bootstrap intervals over games, on games of the split that is never
trained on: of a random team, of the shared policy (each player's likeliest command), and of experts who know everything.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import tyro
from rich.console import Console
from torch import Tensor, nn

from baselines.runs.files import write_whole
from baselines.stats import mean_interval
from textagent_gym.multi_agent.team import PASS, TeamEnv
from textagent_gym.multi_agent.teams import ExpertTeam, RandomTeam
from textagent_gym.multi_agent.textworld_coop import parallel_env

NUM_WORDS = 4096
"""Places for hashed words."""


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    out: Path = Path("runs/coop")
    """Folder of the table and the learning curve."""
    env_id: str = "TextWorld-Easy-Dense-v0"
    """Id with the sizes of the games."""
    num_agents: int = 2
    """Players."""
    seed: int = 1
    """Seeds weights and sampling; games are the same for all."""
    num_iterations: int = 120
    """Updates."""
    episodes_per_batch: int = 32
    """Games of an update, each played once."""
    learning_rate: float = 2e-3
    """Of Adam, falling to 0 in a line."""
    entropy_weight: float = 0.01
    """Of the bonus for undecided players."""
    num_test_seeds: int = 200
    """Held-out games."""


class View(NamedTuple):
    """Knowledge of a player when it decides.

    Attributes:
        first: Its first observation, which states the quest.
        now: Its last one.
        commands: Commands that it can choose.
    """

    first: str
    now: str
    commands: tuple[str, ...]


class Decision(NamedTuple):
    """Choice of a player.

    Attributes:
        view: View of the player.
        chosen: Place of the command.
        game: Number of its game in the batch.
        round: When.
    """

    view: View
    chosen: int
    game: int
    round: int


class SharedPolicy(nn.Module):
    """Scores the commands of a view, and says what the team can expect from it.

    Args:
        size: Width of all layers.
    """

    def __init__(self, size: int = 64) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(NUM_WORDS, size, mode="mean")
        self.state = nn.Sequential(nn.Linear(2 * size, size), nn.Tanh())
        self.score = nn.Sequential(nn.Linear(3 * size + 2, size), nn.Tanh(), nn.Linear(size, 1))
        self.value = nn.Linear(size, 1)

    def forward(self, views: Sequence[View]) -> tuple[list[Tensor], Tensor]:
        """Log-probabilities (commands of the view,) for each of B views, and values (B,)."""
        played = self._embed([text for view in views for text in (view.first, view.now)])
        states = self.state(played.view(len(views), -1))
        commands = self._embed([command for view in views for command in view.commands])
        counts = [len(view.commands) for view in views]
        repeated = states.repeat_interleave(torch.tensor(counts), dim=0)
        shared = torch.tensor([overlaps(view, command) for view in views for command in view.commands])
        scores = self.score(torch.cat([repeated, commands, repeated * commands, shared], dim=1)).squeeze(1)
        values: Tensor = self.value(states).squeeze(1)
        return [part.log_softmax(0) for part in scores.split(counts)], values

    def _embed(self, texts: Sequence[str]) -> Tensor:
        bags = [hashed(text) for text in texts]
        offsets = np.cumsum([0, *(len(bag) for bag in bags[:-1])])
        embedded: Tensor = self.words(torch.tensor([word for bag in bags for word in bag]), torch.from_numpy(offsets))
        return embedded


class Team(Protocol):
    """Players of a team."""

    def reset(self, infos: dict[str, dict[str, Any]], seed: int | None = None) -> None:
        """Start a game."""

    def act(self, observations: dict[str, str], infos: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Return one action of each player."""


class SharedTeam:
    """Players of whom each takes the likeliest command of one policy.

    Args:
        policy: Policy that they share.
    """

    def __init__(self, policy: SharedPolicy) -> None:
        self._policy = policy
        self._first: dict[str, str] = {}

    def reset(self, infos: dict[str, dict[str, Any]], seed: int | None = None) -> None:
        """Start a game."""
        self._first = {}

    def act(self, observations: dict[str, str], infos: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Return one action of each player."""
        self._first = self._first or observations
        views = views_of(self._first, observations, infos)
        with torch.no_grad():
            scores, _ = self._policy(list(views.values()))
        return {
            name: view.commands[int(score.argmax())] for (name, view), score in zip(views.items(), scores, strict=True)
        }


@lru_cache(maxsize=100_000)
def hashed(text: str) -> tuple[int, ...]:
    """Return places of the words of a text."""
    return tuple(zlib.crc32(word.encode()) % NUM_WORDS for word in re.findall(r"\w+", text.lower()))


@lru_cache(maxsize=100_000)
def overlaps(view: View, command: str) -> tuple[float, float]:
    """Return the shares of a command's words that occur in the first observation and in the last one."""
    words = hashed(command)
    first, now = set(hashed(view.first)), set(hashed(view.now))
    return sum(word in first for word in words) / len(words), sum(word in now for word in words) / len(words)


def main() -> None:
    """Run the experiment from the command line."""
    config = tyro.cli(Config, description=__doc__)
    console = Console(highlight=False)
    for row in run(config):
        console.print(row)


def run(config: Config) -> list[dict[str, Any]]:
    """Train, play, and write `table.json` and `curve.json`; return the rows of the table."""
    policy, curve = train(config)
    env = make(config, "test")

    teams: dict[str, Team] = {
        "random": RandomTeam(env),
        "shared policy": SharedTeam(policy),
        "experts": ExpertTeam(env),
    }
    rows = []
    for name, team in teams.items():
        played = [evaluate(env, team, seed) for seed in range(config.num_test_seeds)]
        success, returns, rounds = (np.array(column, dtype=np.float64) for column in zip(*played, strict=True))
        rows.append(
            {
                "team": name,
                "num_games": len(played),
                "success_rate": float(success.mean()),
                "success_interval": mean_interval(success, bounds=(0.0, 1.0)),
                "mean_return": float(returns.mean()),
                "return_interval": mean_interval(returns),
                "mean_rounds": float(rounds.mean()),
            }
        )
    write_whole(config.out / "curve.json", json.dumps(curve) + "\n")
    write_whole(config.out / "table.json", json.dumps(rows, indent=2) + "\n")
    return rows


def make(config: Config, split: str) -> TeamEnv:
    """Return a game for the team."""
    return parallel_env(env_id=config.env_id, num_agents=config.num_agents, split=split, preamble=False)


def train(config: Config) -> tuple[SharedPolicy, list[float]]:
    """Return the policy, and the mean return of each batch."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    policy = SharedPolicy()
    optimiser = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=config.num_iterations)
    envs = [make(config, "train") for _ in range(config.episodes_per_batch)]
    curve = []
    for iteration in range(config.num_iterations):
        first_seed = iteration * config.episodes_per_batch
        decisions, rewards = play(policy, envs, range(first_seed, first_seed + len(envs)), rng)
        to_come = rewards[:, ::-1].cumsum(axis=1)[:, ::-1]  # (games, rounds), what the team still gets
        curve.append(float(rewards.sum(axis=1).mean()))
        targets = torch.tensor([to_come[it.game, it.round] for it in decisions], dtype=torch.float32)
        scores, values = policy([it.view for it in decisions])
        chosen = torch.stack([score[it.chosen] for score, it in zip(scores, decisions, strict=True)])
        entropy = torch.stack([-(score.exp() * score).sum() for score in scores]).mean()
        advantages = targets - values.detach()
        loss = -(advantages * chosen).mean() + 0.5 * (targets - values).square().mean()
        optimiser.zero_grad()
        (loss - config.entropy_weight * entropy).backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return policy, curve


def play(
    policy: SharedPolicy, envs: Sequence[TeamEnv], seeds: range, rng: np.random.Generator
) -> tuple[list[Decision], np.ndarray[Any, np.dtype[np.float64]]]:
    """Return a game in each environment, all players drawing from the policy.

    Returns:
        The decisions, and the rewards (games, rounds) of the team.
    """
    played = [env.reset(seed=seed) for env, seed in zip(envs, seeds, strict=True)]
    firsts = [observations for observations, _ in played]
    decisions: list[Decision] = []
    rewards = np.zeros((len(envs), max(env.max_steps for env in envs)))
    number = 0
    while any(env.agents for env in envs):
        alive = [game for game, env in enumerate(envs) if env.agents]
        views = [(game, views_of(firsts[game], *played[game])) for game in alive]
        with torch.no_grad():
            scores, _ = policy([view for _, of_players in views for view in of_players.values()])
        drawn = iter(scores)
        for game, of_players in views:
            actions = {}
            for name, view in of_players.items():
                chosen = int((next(drawn).numpy() + rng.gumbel(size=len(view.commands))).argmax())
                actions[name] = view.commands[chosen]
                decisions.append(Decision(view, chosen, game, number))
            observations, paid, _, _, infos = envs[game].step(actions)
            rewards[game, number] = next(iter(paid.values()))
            played[game] = observations, infos
        number += 1
    return decisions, rewards


def views_of(first: dict[str, str], observations: dict[str, str], infos: dict[str, dict[str, Any]]) -> dict[str, View]:
    """Return the view of each player."""
    return {
        name: View(first[name], now, (*infos[name]["admissible_commands"], PASS)) for name, now in observations.items()
    }


def evaluate(env: TeamEnv, team: Team, seed: int) -> tuple[bool, float, int]:
    """Return the success, return and rounds of one game."""
    observations, infos = env.reset(seed=seed)
    team.reset(infos, seed=seed)
    total, rounds = 0.0, 0
    while env.agents:
        observations, rewards, _, _, infos = env.step(team.act(observations, infos))
        total += next(iter(rewards.values()))
        rounds += 1
    return bool(next(iter(infos.values()))["success"]), total, rounds


if __name__ == "__main__":
    main()
