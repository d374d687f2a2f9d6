"""Fixtures of the trainers' tests: the toy environment, and tiny policies that are made once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

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
    """Make an untrained tiny policy from a seed."""
    return lambda seed: Policy.tiny(texts, seed)


@pytest.fixture(scope="session")
def tiny_policy(make_tiny: Callable[[int], Policy]) -> Policy:
    """Return an untrained tiny policy that no test may train."""
    return make_tiny(1)


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no curves at the end of runs; a fixture of a module, which is made before, draws them."""
    monkeypatch.setattr("baselines.runs.run.draw_curves", lambda *_: None)
