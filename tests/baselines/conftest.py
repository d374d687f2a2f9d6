"""Fixtures of the trainers' tests: the toy environment, and tiny policies that are made once."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from baselines.models import tiny
from baselines.models.policy import Policy
from baselines.sampling.demonstrations import Demonstration, collect_demonstrations
from baselines.sampling.environments import make_env
from tests.support.toy_text_env import TOY

# Two threads that wait for each other on a busy machine are many times slower than one.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demonstrations() -> list[Demonstration]:
    """Return expert episodes of the toy."""
    return collect_demonstrations(make_env(TOY, {"expose_solution": True}), range(24))


@pytest.fixture(scope="session")
def texts(demonstrations: list[Demonstration]) -> list[str]:
    """Return all text of the expert episodes."""
    return [text for demonstration in demonstrations for text in demonstration.texts]


@pytest.fixture(scope="session")
def make_tiny(texts: list[str]) -> Callable[[int], Policy]:
    """Make an untrained policy like `tiny`, of two layers, from a seed."""
    tokenizer = tiny.train_tokenizer(texts)
    return lambda seed: Policy(tiny.make_model(tokenizer, seed, num_hidden_layers=2), copy.deepcopy(tokenizer))


@pytest.fixture(scope="session")
def tiny_policy(make_tiny: Callable[[int], Policy]) -> Policy:
    """Return an untrained tiny policy that no test may train."""
    return make_tiny(1)


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no curves at the end of runs; a fixture of a module, which is made before, draws them."""
    monkeypatch.setattr("baselines.runs.curves.draw_curves", lambda *_: None)
