"""The base model that the package ships: its size, its card, and play that it has a use for."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open

from baselines.config.settings import RolloutSettings
from baselines.evaluate import evaluate_policy
from baselines.models.policy import Policy
from baselines.sampling.environments import EnvPool

FOLDER = Path(__file__).parents[2] / "baselines" / "models" / "tiny_base"
ENV_ID = "textagent_gym:TextWorld-w2-o3-q4-Dense-v0"


def test_it_is_small_and_half_precision() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8_000_000
    with safe_open(FOLDER / "model.safetensors", "pt") as weights:
        tensors = [weights.get_tensor(name) for name in weights.keys()]  # noqa: SIM118  # not a dict
    assert {str(tensor.dtype) for tensor in tensors} == {"torch.float16"}
    assert sum(tensor.numel() for tensor in tensors) < 4_000_000


def test_its_card_has_the_command() -> None:
    assert "\npython -m baselines.pretrain" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_it_loads_by_name_in_float32_and_says_what_it_has_read() -> None:
    policy = Policy.load("tiny-base")
    assert {str(weight.dtype) for weight in policy.model.parameters()} == {"torch.float32"}
    assert ENV_ID in policy.model.config.pretrained_on


@pytest.mark.slow
def test_it_solves_a_few_games_when_it_is_sampled() -> None:
    settings = RolloutSettings(decode="listed", max_new_tokens=24, temperature=1.0)
    with EnvPool([(ENV_ID, {"preamble": False, "split": "train"})]) as pool:
        rate = evaluate_policy(Policy.load("tiny-base"), pool, range(50_000_000, 50_000_200), settings).success_rate
    assert 0.05 < rate < 0.4
