"""PPO in one file over `gym.make_vec`: 0.5 above random on training games; where it reads commands, 0.3 on others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor, nn
from torch.distributions import Categorical

from tests.support.eight_games import ENV_ID, MAX_ACTIONS, TRAIN_SEEDS, Act, make_game, report, score
from textagent_gym.interop.numeric import AdmissibleActionIndex, CommandWords, FixedSeeds, HashedBagOfWords

NUM_ENVS = 8
NUM_STEPS = 32  # steps of each environment between updates
UPDATE_EPOCHS = 4
NUM_MINIBATCHES = 2
LEARNING_RATE = 2.5e-3
GAMMA = 0.9
GAE_LAMBDA = 0.9
CLIP_COEF = 0.2
ENTROPY_COEF = 0.01
VALUE_COEF = 0.5
MAX_GRAD_NORM = 0.5


def make_net(num_features: int, num_outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(num_features, 64), nn.Tanh(), nn.Linear(64, num_outputs))


class PlacePolicy(nn.Module):
    """Scores the places of commands by the words of the observation, (B, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = make_net(512, MAX_ACTIONS), make_net(512, 1)

    def forward(self, observations: Tensor, masks: Tensor) -> Categorical:
        return Categorical(logits=self.actor(observations).masked_fill(masks == 0, -1e9))

    def value(self, observations: Tensor) -> Tensor:
        return self.critic(observations).squeeze(-1)


class ReadingPolicy(PlacePolicy):
    """Scores every command by its own words, with the same weights: (B, places, 384)."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.actor, self.critic = make_net(384, 1), make_net(384, 1)

    def forward(self, observations: Tensor, masks: Tensor) -> Categorical:
        return Categorical(logits=self.actor(observations).squeeze(-1).masked_fill(masks == 0, -1e9))

    def value(self, observations: Tensor) -> Tensor:
        return self.critic(observations.sum(-2)).squeeze(-1)


class Batch(NamedTuple):
    """Played steps; every field is (T, B), or (T, B, features)."""

    observations: Tensor
    masks: Tensor
    actions: Tensor
    logprobs: Tensor
    values: Tensor
    rewards: Tensor
    ends: Tensor


def make_games(seeds: Sequence[int], words: Callable[[gym.Env], gym.Env], **options: Any) -> gym.vector.VectorEnv:
    """Return eight environments of numbers; an episode that ends is followed by the next game in the same step."""
    return gym.make_vec(
        ENV_ID,
        num_envs=NUM_ENVS,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        wrappers=[
            lambda env: FixedSeeds(env, seeds),
            lambda env: AdmissibleActionIndex(env, MAX_ACTIONS),
            words,
        ],
        preamble=False,
        **options,
    )


def eight_games() -> gym.vector.VectorEnv:
    return make_games(TRAIN_SEEDS, lambda env: HashedBagOfWords(env, num_features=256), show_admissible=True)


def make_reading_game(seeds: Sequence[int], split: str) -> gym.Env[Any, Any]:
    env = gym.make(ENV_ID, split=split, preamble=False)
    return CommandWords(AdmissibleActionIndex(FixedSeeds(env, seeds), MAX_ACTIONS))


class Player:
    """Plays on where it stopped.

    Args:
        policy: Chooses.
        envs: What it plays.
        num_games: Games in the list of each environment; each begins at another eighth.
    """

    def __init__(self, policy: PlacePolicy, envs: gym.vector.VectorEnv, num_games: int) -> None:
        self.policy = policy
        self.envs = envs
        self.observations, self.infos = envs.reset(seed=[num_games // NUM_ENVS * i for i in range(NUM_ENVS)])

    @torch.no_grad()
    def play(self) -> Batch:
        """Return `NUM_STEPS` steps of each environment."""
        steps = [self.step() for _ in range(NUM_STEPS)]
        return Batch(*(torch.stack(field) for field in zip(*steps, strict=True)))

    def step(self) -> Batch:
        observations = torch.as_tensor(self.observations)
        masks = torch.as_tensor(self.infos["action_mask"])
        chances = self.policy(observations, masks)
        actions = chances.sample()
        self.observations, rewards, terminations, truncations, self.infos = self.envs.step(actions.numpy())
        for i in np.flatnonzero(truncations & ~terminations):  # the game was cut short, and had a value still
            rewards[i] += GAMMA * self.policy.value(torch.as_tensor(self.infos["final_obs"][i])).item()
        return Batch(
            observations,
            masks,
            actions,
            chances.log_prob(actions),
            self.policy.value(observations),
            torch.as_tensor(rewards, dtype=torch.float32),
            torch.as_tensor(terminations | truncations, dtype=torch.float32),
        )


def advantages_of(batch: Batch, last_values: Tensor) -> Tensor:
    """Return generalised advantage estimation (Schulman et al., arXiv 1506.02438, equation 16): (T, B)."""
    advantages = torch.zeros_like(batch.rewards)
    advantage, next_values = torch.zeros(NUM_ENVS), last_values
    for t in reversed(range(NUM_STEPS)):
        alive = 1 - batch.ends[t]
        error = batch.rewards[t] + GAMMA * next_values * alive - batch.values[t]
        advantage = error + GAMMA * GAE_LAMBDA * alive * advantage
        advantages[t], next_values = advantage, batch.values[t]
    return advantages


def loss_of(policy: PlacePolicy, batch: Batch, advantages: Tensor, returns: Tensor) -> Tensor:
    """Return the clipped loss of PPO (Schulman et al., arXiv 1707.06347, equations 7 and 9)."""
    chances = policy(batch.observations, batch.masks)
    ratios = (chances.log_prob(batch.actions) - batch.logprobs).exp()
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    gains = torch.minimum(ratios * advantages, ratios.clamp(1 - CLIP_COEF, 1 + CLIP_COEF) * advantages)
    value_loss = (policy.value(batch.observations) - returns).square().mean()
    return -gains.mean() + VALUE_COEF * value_loss - ENTROPY_COEF * chances.entropy().mean()


def train(
    make_policy: Callable[[], PlacePolicy], envs: gym.vector.VectorEnv, num_games: int, num_updates: int, seed: int = 0
) -> PlacePolicy:
    """Play and improves in turn."""
    torch.manual_seed(seed)
    policy = make_policy()
    player, optimizer = Player(policy, envs, num_games), torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
    for _ in range(num_updates):
        batch = player.play()
        with torch.no_grad():
            advantages = advantages_of(batch, policy.value(torch.as_tensor(player.observations)))
        flat = [field.flatten(0, 1) for field in (*batch, advantages, advantages + batch.values)]
        for _ in range(UPDATE_EPOCHS):
            for rows in torch.randperm(NUM_ENVS * NUM_STEPS).chunk(NUM_MINIBATCHES):
                *played, chosen_advantages, returns = (field[rows] for field in flat)
                optimizer.zero_grad()
                loss_of(policy, Batch(*played), chosen_advantages, returns).backward()
                nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM)
                optimizer.step()
    return policy


def test_a_vector_of_numbers_is_what_its_environments_are() -> None:
    envs = eight_games()
    observations, infos = envs.reset(seed=0)
    for place, row in enumerate(observations):
        alone, info = make_game().reset(seed=place)
        np.testing.assert_array_equal(row, alone)
        np.testing.assert_array_equal(infos["action_mask"][place], info["action_mask"])


def test_advantages_by_hand() -> None:
    zeros = torch.zeros(NUM_STEPS, NUM_ENVS)
    rewards, ends = zeros.clone(), zeros.clone()
    rewards[-1], ends[-3] = 1.0, 1.0
    batch = Batch(zeros, zeros, zeros, zeros, zeros, rewards, ends)
    advantages = advantages_of(batch, last_values=torch.ones(NUM_ENVS))
    assert advantages[-1, 0] == pytest.approx(1 + GAMMA)
    assert advantages[-2, 0] == pytest.approx(GAMMA * GAE_LAMBDA * (1 + GAMMA))
    assert (advantages[:-2] == 0).all()  # nothing comes back over an end


def sampled(policy: PlacePolicy) -> Act:
    def act(observation: Any, mask: Any) -> int:
        with torch.no_grad():
            return int(policy(torch.as_tensor(observation), torch.as_tensor(mask)).sample())

    return act


@pytest.mark.slow
def test_the_loop_learns_its_games() -> None:
    torch.set_num_threads(1)
    started = time.process_time()
    policy = train(PlacePolicy, eight_games(), len(TRAIN_SEEDS), num_updates=48)
    seconds = time.process_time() - started
    scores = score(sampled(policy))
    report("torch", "our loop, 8 games", 48 * NUM_ENVS * NUM_STEPS, seconds, scores)
    assert scores.train > scores.random + 0.5


@pytest.mark.slow
def test_a_policy_that_reads_commands_plays_games_that_it_has_not_met() -> None:
    torch.set_num_threads(1)
    games = range(256)
    started = time.process_time()
    policy = train(ReadingPolicy, make_games(games, CommandWords), len(games), num_updates=100)
    seconds = time.process_time() - started
    scores = score(sampled(policy), make_reading_game, games)
    report("torch", "our loop, 256 games, `CommandWords`", 100 * NUM_ENVS * NUM_STEPS, seconds, scores)
    assert scores.held_out > scores.random_held_out + 0.3
