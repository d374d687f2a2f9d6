"""TorchRL's GymWrapper and ClipPPOLoss train on eight games of TextWorld-Easy, with the mask: 0.5 above random."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("torchrl")

import torch
from tensordict import TensorDict
from tensordict.nn import InteractionType, ProbabilisticTensorDictSequential, TensorDictModule
from torch import Tensor, nn
from torch.distributions import Categorical
from torchrl.data import Binary
from torchrl.envs import ActionMask, GymWrapper, SerialEnv, TransformedEnv, default_info_dict_reader
from torchrl.envs.utils import check_env_specs
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from tests.support.blocks import run_with_library
from tests.support.eight_games import MAX_ACTIONS, make_game, report, score

NUM_ENVS = 8
NUM_STEPS = 32


def wrapped_game() -> GymWrapper:
    """Return a game as TorchRL sees it; the mask comes out of info."""
    env = GymWrapper(make_game(), categorical_action_encoding=True)
    mask = default_info_dict_reader(["action_mask"], spec=[Binary(MAX_ACTIONS, dtype=torch.int8)])
    return env.set_info_dict_reader(mask)


class Logits(nn.Module):
    """Scores the places of commands; one without a command is never chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(512, 64), nn.Tanh(), nn.Linear(64, MAX_ACTIONS))

    def forward(self, observation: Tensor, mask: Tensor) -> Tensor:
        return self.net(observation).masked_fill(mask == 0, -1e9)


def make_actor(env: Any) -> ProbabilisticTensorDictSequential:
    logits = TensorDictModule(Logits(), in_keys=["observation", "action_mask"], out_keys=["logits"])
    return ProbabilisticActor(
        logits,
        in_keys=["logits"],
        spec=env.action_spec,
        distribution_class=Categorical,
        return_log_prob=True,
        default_interaction_type=InteractionType.RANDOM,
    )


def train(num_updates: int, seed: int = 0) -> ProbabilisticTensorDictSequential:
    """Play and improves in turn; the environments go on where they stopped."""
    torch.manual_seed(seed)
    env = SerialEnv(NUM_ENVS, wrapped_game)
    env.set_seed(0)
    actor = make_actor(wrapped_game())
    critic = ValueOperator(nn.Sequential(nn.Linear(512, 64), nn.Tanh(), nn.Linear(64, 1)), in_keys=["observation"])
    advantage = GAE(gamma=0.9, lmbda=0.9, value_network=critic, average_gae=False)
    loss = ClipPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.01, critic_coeff=0.5, normalize_advantage=True)
    optimizer = torch.optim.Adam(loss.parameters(), lr=2.5e-3)
    now = env.reset()
    for _ in range(num_updates):
        with torch.no_grad():
            played = env.rollout(NUM_STEPS, actor, tensordict=now, auto_reset=False, break_when_any_done=False)
            now = env.step_mdp(played[:, -1])
            now = env.maybe_reset(now)
            advantage(played)
        flat = played.reshape(-1)
        for _ in range(4):
            for rows in torch.randperm(len(flat)).chunk(2):
                losses = loss(flat[rows])
                optimizer.zero_grad()
                (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
                nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimizer.step()
    return actor


def test_the_checker_of_torchrl_accepts_it() -> None:
    check_env_specs(GymWrapper(make_game()))
    check_env_specs(wrapped_game())


def test_random_actions_respect_the_mask() -> None:
    env = TransformedEnv(wrapped_game(), ActionMask())
    played = env.rollout(50, break_when_any_done=False)
    assert played["action_mask"].gather(1, played["action"].unsqueeze(1)).all()


def test_the_block_on_the_page_runs() -> None:
    env = run_with_library("libraries.md", "TransformedEnv(env, ActionMask())")["env"]
    assert env.rollout(3)["action_mask"].shape[-1] == 24


@pytest.mark.slow
def test_ppo_learns_its_games() -> None:
    torch.set_num_threads(1)
    started = time.process_time()
    actor = train(num_updates=48)
    seconds = time.process_time() - started

    def act(observation: Any, mask: Any) -> int:
        seen = {"observation": torch.as_tensor(observation), "action_mask": torch.as_tensor(mask)}
        with torch.no_grad():
            return int(actor(TensorDict(seen))["action"])

    scores = score(act)
    report("torchrl", "ClipPPOLoss", 48 * NUM_ENVS * NUM_STEPS, seconds, scores)
    assert scores.train > scores.random + 0.5
