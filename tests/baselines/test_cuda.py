"""A GPU must not change scores, gradients, learning or memory. Skipped without one.

pytest tests/baselines/test_cuda.py
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from baselines import sft
from baselines.config.settings import OptimiserSettings, UpdateSettings
from baselines.models.policy import Policy
from baselines.rl.batch import Batch, collate
from baselines.rl.logprobs import score_actions
from baselines.runs.run import TrainResult
from baselines.sampling.decoding import can_cache
from baselines.sampling.environments import EnvPool, Task
from baselines.sampling.rollout import rollout
from tests.baselines.test_training import ALGORITHMS, ROLLOUT, rl_config, sft_config, small
from tests.support.toy_text_env import TOY

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch sees")

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}
"""Largest difference in nats of a token's log-probability, once with a key-value cache and once without."""


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Return a policy that has half understood the toy, trained on the GPU."""
    config = sft_config(tmp_path_factory.mktemp("sft"))
    return sft.train(replace(config, run=replace(config.run, device="cuda")))


@pytest.fixture
def pool() -> Iterator[EnvPool]:
    with EnvPool([(TOY, {})]) as found:
        yield found


def scored(policy: Policy, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and the gradient of their sum, on the CPU in float64."""
    policy.model.zero_grad()
    logprobs = score_actions(policy, batch).logprobs
    torch.autograd.backward(logprobs.sum())
    gradient = torch.cat([weight.grad.flatten() for weight in policy.model.parameters() if weight.grad is not None])
    return logprobs.detach().double().cpu(), gradient.double().cpu()


@pytest.fixture
def exact_products(cloned: TrainResult) -> Iterator[None]:
    """Switch off TF32, which training has switched on."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_recorded_logprobs_are_those_of_the_update(cloned: TrainResult, pool: EnvPool, dtype: str) -> None:
    policy = Policy.load(cloned.model_folder, dtype, "cuda")
    episodes = rollout(policy, pool, [Task(seed) for seed in range(32)], ROLLOUT, (0,))
    batch = collate(episodes, policy.pad_token_id, policy.device)
    with torch.no_grad():
        found = score_actions(policy, batch).logprobs
    assert batch.action_mask.sum() > 100
    assert (found - batch.old_logprobs).abs()[batch.action_mask].max() < TOLERANCE[dtype]


@pytest.mark.usefixtures("exact_products")
def test_scores_and_gradients_are_those_of_the_cpu(cloned: TrainResult, pool: EnvPool) -> None:
    policy = Policy.load(cloned.model_folder, device="cuda")
    episodes = rollout(policy, pool, [Task(seed) for seed in range(16)], ROLLOUT, (0,))
    twin = copy.copy(policy)
    twin.model = copy.deepcopy(policy.model).cpu()
    there = scored(policy, collate(episodes, policy.pad_token_id, "cuda"))
    here = scored(twin, collate(episodes, policy.pad_token_id, "cpu"))
    for found, expected in zip(there, here, strict=True):
        assert torch.linalg.vector_norm(found - expected) < 1e-4 * torch.linalg.vector_norm(expected)


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_cuda_graphs_sample_what_the_update_scores(cloned: TrainResult, pool: EnvPool, dtype: str) -> None:
    policy = Policy.load(cloned.model_folder, dtype, "cuda")
    assert can_cache(policy.model, policy.pad_token_id, fixed_shapes=True)
    settings = replace(ROLLOUT, cuda_graphs=True)
    episodes = rollout(policy, pool, [Task(seed) for seed in range(32)], settings, (0,))
    batch = collate(episodes, policy.pad_token_id, policy.device)
    with torch.no_grad():
        found = score_actions(policy, batch).logprobs
    assert (found - batch.old_logprobs).abs()[batch.action_mask].max() < TOLERANCE[dtype]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_algorithm_improves_a_policy(name: str, cloned: TrainResult, tmp_path: Path) -> None:
    config = rl_config(name, tmp_path, cloned.model_folder, credit="turn")
    config = replace(config, run=replace(config.run, device="cuda"))
    before, after = cloned.evaluation, ALGORITHMS[name].train(config).evaluation
    assert before is not None
    assert after.returns.mean() > before.returns.mean() + 0.1


@pytest.mark.parametrize(
    "optimiser", [OptimiserSettings(lora_rank=4), OptimiserSettings(checkpoint_activations=True)], ids=["lora", "again"]
)
def test_what_saves_memory_runs(cloned: TrainResult, tmp_path: Path, optimiser: OptimiserSettings) -> None:
    config = rl_config("grpo", tmp_path, cloned.model_folder, num_iterations=2, **small("grpo"))
    config = replace(
        config,
        optimiser=replace(optimiser, learning_rate=1e-3),
        update=UpdateSettings(kl_coef=0.01),
        run=replace(config.run, device="cuda", dtype="bfloat16"),
    )
    records = ALGORITHMS["grpo"].train(config).records
    assert all(record["train/grad_norm"] > 0 for record in records)


def test_a_run_goes_on_from_its_checkpoint(cloned: TrainResult, tmp_path: Path) -> None:
    config = rl_config("ppo", tmp_path, cloned.model_folder, num_iterations=4, **small("ppo"))
    config = replace(config, run=replace(config.run, device="cuda", checkpoint_every=2))
    whole = ALGORITHMS["ppo"].train(config)
    (tmp_path / "checkpoints" / "step-00000004").rename(tmp_path / "later")
    again = ALGORITHMS["ppo"].train(replace(config, run=replace(config.run, resume=True)))
    assert [record["step"] for record in again.records] == [1, 2, 3, 4]
    assert again.records[-1]["train/return"] == pytest.approx(whole.records[-1]["train/return"], abs=0.2)
