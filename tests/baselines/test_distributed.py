"""Two processes on the CPU (gloo) do together what one does alone, also where each holds a part of the weights."""

from __future__ import annotations

import copy
import json
import math
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, GraniteConfig, LlamaConfig, PretrainedConfig, PreTrainedModel

from baselines import grpo, ppo, sft
from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings, UpdateSettings
from baselines.errors import ConfigError
from baselines.models import tiny
from baselines.models.policy import Policy
from baselines.models.sharded import part_like, whole, whole_weights
from baselines.rl.batch import Batch, empty_row, micro_batches, score_in_chunks
from baselines.rl.critic import Critic
from baselines.rl.logprobs import score_actions
from baselines.rl.losses import loss_weights
from baselines.rl.optimizer import apply_gradients, make_optimiser
from baselines.rl.update import policy_loss
from baselines.runs.distributed import Ranks
from baselines.runs.log import Record, read_metrics
from baselines.runs.run import open_policy
from tests.baselines.test_training import train_as_told
from tests.support.toy_text_env import TOY

ROOT = Path(__file__).parents[2]
ALGORITHMS: dict[str, Any] = {"sft": sft, "grpo": grpo, "ppo": ppo}
WHOLE, SHARDED = "--cpu", "--use_fsdp"  # options of the launcher
LIMITS = RolloutSettings(max_new_tokens=8, max_context_tokens=256)


def free_port() -> str:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def launch(flag: str, *arguments: str) -> None:
    """Run a module in two processes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment |= {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "accelerate.commands.launch", flag, "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", free_port(), "-m"]  # fmt: skip
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture(scope="module")
def start(make_tiny: Callable[[int], Policy], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a policy that has half understood the toy: it earns something, and so has gradients."""
    folder = tmp_path_factory.mktemp("start")
    make_tiny(1).save(folder / "untrained")
    run = RunSettings(out=folder / "run", num_threads=1, progress=False)
    optimiser = OptimiserSettings(learning_rate=3e-3)
    config = sft.Config(
        env_id=TOY,
        model=str(folder / "untrained"),
        num_demos=24,
        num_epochs=6,
        batch_size=8,
        rollout=LIMITS,
        optimiser=optimiser,
        run=run,
    )
    return sft.train(config).model_folder


def options_of(algorithm: str, start: Path) -> list[str]:
    sizes = {
        "sft": "--num-demos 6 --num-epochs 2 --batch-size 3",  # shares of 2 and 1 episodes
        "grpo": "--num-iterations 2 --groups-per-batch 3 --group-size 4 --credit turn --kl-coef 0.01 "
        "--min-group-spread 0.2 --refill 2",
        "ppo": "--num-iterations 2 --episodes-per-batch 6 --num-minibatches 2 --critic separate --kl-coef 0.01",
    }[algorithm]
    options = f"--env-id {TOY} --model {start} {sizes} --max-new-tokens 8 --eval-episodes 2"
    options += " --max-context-tokens 256 --micro-batch-tokens 150 --learning-rate 1e-3 --no-progress --num-threads 1"
    return options.split()


def test_two_processes_train_as_one(start: Path, tmp_path: Path) -> None:
    """All three algorithms in one launch, as each process of a launch has much to import."""
    options = {name: options_of(name, start) for name in ALGORITHMS}
    together = {name: [*options[name], "--out", f"{tmp_path}/{name}-2"] for name in ALGORITHMS}
    launch(WHOLE, "tests.baselines.test_distributed", json.dumps(together))
    for name in ALGORITHMS:
        train_as_told(ALGORITHMS[name], [*options[name], "--out", f"{tmp_path}/{name}-1"])
        assert_same_run(name, tmp_path / f"{name}-1", tmp_path / f"{name}-2")


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_processes_with_parts_of_the_weights_train_as_one(algorithm: str, start: Path, tmp_path: Path) -> None:
    options = options_of(algorithm, start)
    train_as_told(ALGORITHMS[algorithm], [*options, "--out", f"{tmp_path}/1"])
    launch(SHARDED, f"baselines.{algorithm}", *options, "--out", f"{tmp_path}/2")
    assert_same_run(algorithm, tmp_path / "1", tmp_path / "2")


def assert_same_run(algorithm: str, first: Path, second: Path) -> None:
    """Check for equality up to rounding, and that GRPO dropped the same groups, some at least."""
    assert_same_curve(first, second)
    dropped = [[record.get("train/groups_dropped") for record in read_metrics(folder / "metrics.jsonl")]
               for folder in (first, second)]  # fmt: skip
    assert dropped[0] == dropped[1] and (algorithm != "grpo" or any(dropped[0]))


def assert_same_curve(first: Path, second: Path) -> None:
    """Check for equality up to rounding, and that something happened."""
    one, two = (read_metrics(folder / "metrics.jsonl") for folder in (first, second))
    assert [record.keys() for record in one] == [record.keys() for record in two]
    assert "eval/return" in one[-1] and all(record["train/grad_norm"] > 0.1 for record in one)
    for name in ("train/grad_norm", "train/loss"):
        assert one[0][name] == pytest.approx(two[0][name], rel=1e-4, abs=1e-7)
        assert one[-1][name] == pytest.approx(two[-1][name], rel=1e-2, abs=1e-5)
    weights = [Policy.load(folder / "model").model.state_dict() for folder in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=0, atol=1e-3)


@pytest.mark.slow
def test_a_sharded_run_goes_on_sharded_or_whole(start: Path, tmp_path: Path) -> None:
    options = [*options_of("ppo", start), "--num-iterations", "3", "--checkpoint-every", "1", "--keep-checkpoints", "9"]
    run = tmp_path / "whole"
    launch(SHARDED, "baselines.ppo", *options, "--out", str(run))
    for name in ("sharded", "alone"):
        shutil.copytree(run, tmp_path / name)
        for step in (2, 3):
            shutil.rmtree(tmp_path / name / f"checkpoints/step-{step:08d}")
    launch(SHARDED, "baselines.ppo", *options, "--out", f"{tmp_path}/sharded", "--resume")
    assert curve(run) == curve(tmp_path / "sharded")
    one, two = (Policy.load(folder / "model").model.state_dict() for folder in (run, tmp_path / "sharded"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    train_as_told(ppo, [*options, "--out", f"{tmp_path}/alone", "--resume"])
    assert_same_curve(run, tmp_path / "alone")


def curve(folder: Path) -> list[Record]:
    records = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in record.items() if "second" not in name} for record in records]


def test_a_share_of_nothing_changes_nothing(tiny_policy: Policy) -> None:
    """A process without work of its own contributes gradients of zero, and nothing to the log."""
    batch = make_batch(tiny_policy.model.config.vocab_size)
    settings = UpdateSettings(kl_coef=0.1, entropy_coef=0.1)
    policy = Policy(copy.deepcopy(tiny_policy.model), tiny_policy.tokenizer)
    critic = Critic(policy, "head")
    piece = empty_row(batch)
    scores = score_actions(policy, piece, value_head=critic.shared_head, entropy_gradient=True)
    loss, sums = policy_loss(scores, piece, settings)
    assert scores.values is not None
    torch.autograd.backward(loss + scores.values.sum())
    assert set(sums.values()) == {0.0}
    assert all(weight.grad is not None and not weight.grad.any() for weight in policy.model.parameters())
    ranks = Ranks("cpu")
    ranks.rank, ranks.count = 1, 2
    assert ranks.deal([1, 2, 3], spare=0) == [2, 0] and ranks.deal([], spare=0) == []


def test_lora_is_not_sharded() -> None:
    ranks = Ranks("cpu")
    ranks.sharded = True
    config = grpo.Config(env_id=TOY, optimiser=OptimiserSettings(lora_rank=4))
    with pytest.raises(ConfigError, match="expected lora_rank=0 with --use_fsdp, got 4"):
        open_policy(list, config, None, ranks)


def test_sharded_models_step_as_whole_ones(tmp_path: Path) -> None:
    """Tied and untied heads, scaled logits, critics and activation checkpointing, each in one optimiser step."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    processes = [
        multiprocessing.get_context("fork").Process(target=step_together, args=(rank, address, tmp_path))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]


SHAPE = {"vocab_size": 301, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0}  # fmt: skip
MODELS: dict[str, tuple[PretrainedConfig, bool]] = {
    "tied": (LlamaConfig(**SHAPE, tie_word_embeddings=True), False),
    "untied": (LlamaConfig(**SHAPE), True),  # activations are checkpointed
    "scaled": (GraniteConfig(**SHAPE, tie_word_embeddings=True, logits_scaling=4.0), False),  # has no plain head
}


def make_batch(vocab_size: int) -> Batch:
    """Return five rows of 6 to 10 tokens, every second of which is an action."""
    generator = torch.Generator().manual_seed(1)
    shape = 5, 10
    real = torch.arange(10) < torch.tensor([[10], [9], [8], [7], [6]])
    action_mask = real & (torch.arange(10) % 2 == 1)
    old_logprobs = (0.1 * torch.randn(shape, generator=generator) - math.log(vocab_size)) * action_mask
    columns = {
        "advantages": torch.randn(shape, generator=generator) * action_mask,
        "ref_logprobs": old_logprobs - 0.1,
        "weights": loss_weights(action_mask, "token"),
    }
    token_ids = torch.randint(vocab_size, shape, generator=generator)
    zeros = torch.zeros(shape)
    return Batch(token_ids, real.long(), action_mask, old_logprobs, zeros.long(), zeros, columns)


def take_a_step(policy: Policy, critic: Critic, ranks: Ranks, batch: Batch) -> tuple[Any, float]:
    """Take one optimiser step on this process's share of the batch; the optimiser and the norm of the gradient."""
    optimiser = make_optimiser(policy, OptimiserSettings(learning_rate=1e-3), critic, 1e-3)
    every_row = batch.action_mask.any(1)
    for piece in ranks.deal(micro_batches(batch, 20, every_row, packed=True), spare=empty_row(batch)):
        scores = score_actions(policy, piece, value_head=critic.shared_head)
        loss, _ = policy_loss(scores, piece, UpdateSettings(kl_coef=0.1))
        values = scores.values if scores.values is not None else critic.values(policy, piece)
        torch.autograd.backward(loss + 0.5 * ((values - 1) ** 2 * piece["weights"]).sum())
    ranks.add_gradients([weight for group in optimiser.param_groups for weight in group["params"]])
    return optimiser, apply_gradients(optimiser, 1.0, 1.0)


def share_held(weights: dict[str, Tensor]) -> float:
    """Return the part of all numbers that this process holds."""
    assert all(isinstance(weight, DTensor) for weight in weights.values())
    held = sum(weight.to_local().numel() for weight in weights.values() if isinstance(weight, DTensor))
    return held / sum(weight.numel() for weight in weights.values())


def assert_close(sharded: nn.Module, alone: nn.Module) -> None:
    expected = alone.state_dict()
    for name, weight in sharded.state_dict().items():
        assert isinstance(weight, DTensor)
        torch.testing.assert_close(weight.full_tensor(), expected[name], rtol=0, atol=1e-5)


def check_model(name: str, ranks: Ranks, tokenizer: Any, folder: Path) -> None:
    """Train one model whole in this process, and sharded over all, on the same batch."""
    config, recompute = MODELS[name]
    torch.manual_seed(1)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    alone, policy = (Policy(copy.deepcopy(model), tokenizer) for _ in range(2))
    kind: Any = "separate" if name == "tied" else "head"
    critics = Critic(alone, kind), Critic(policy, kind)
    if recompute:
        policy.checkpoint_activations()
    ranks.shard(policy.model)
    critics[1].shard(ranks)
    assert 0.45 < share_held(dict(policy.model.named_parameters())) < 0.55

    batch, whole_ranks = make_batch(config.vocab_size), Ranks("cpu")
    whole_ranks.rank, whole_ranks.count, whole_ranks.sharded = 0, 1, False
    with torch.no_grad():
        expected = score_actions(alone, batch).logprobs
    with ranks.gathered(policy.model), torch.inference_mode():
        for _ in range(1 + ranks.rank):  # as in rollouts, not all run it equally often
            logits = policy.model(input_ids=batch.token_ids).logits
    torch.testing.assert_close(logits, alone.model(input_ids=batch.token_ids).logits, rtol=0, atol=1e-5)
    scores = score_in_chunks(lambda piece: score_actions(policy, piece).logprobs, batch, 20, True, ranks)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)

    _, expected_norm = take_a_step(alone, critics[0], whole_ranks, batch)
    optimiser, norm = take_a_step(policy, critics[1], ranks, batch)
    assert norm == pytest.approx(expected_norm, rel=1e-5) and norm > 0.1
    assert_close(policy.model, alone.model)
    assert_close(critics[1], critics[0])

    moments = {str(place): state["exp_avg"] for place, state in optimiser.state_dict()["state"].items()}
    assert 0.4 < share_held(moments) < 0.6
    for moment, together in zip(moments.values(), whole(list(moments.values())), strict=True):
        if ranks.is_first:
            part = part_like(together, moment)
            assert isinstance(moment, DTensor) and isinstance(part, DTensor)
            assert torch.equal(part.to_local(), moment.to_local())
    weights = whole_weights(policy.model)
    assert weights is not None and (not ranks.is_first or weights.keys() == alone.model.state_dict().keys())
    policy.save(folder)
    if ranks.is_first:
        loaded = AutoModelForCausalLM.from_pretrained(folder).state_dict()
        for key, weight in alone.model.state_dict().items():
            torch.testing.assert_close(loaded[key], weight, rtol=0, atol=1e-5)


def step_together(rank: int, address: dict[str, str], folder: Path) -> None:
    """Run one of the two processes of `test_sharded_models_step_as_whole_ones`, as `accelerate launch` would."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_FSDP": "true",
        **address,
    }
    PartialState._reset_state()  # another test may have made one of a single process
    ranks = Ranks("cpu")
    assert ranks.sharded and ranks.count == 2
    tokenizer = tiny.train_tokenizer(["bring the lamp"])
    for name in MODELS:
        check_model(name, ranks, tokenizer, folder / name)


if __name__ == "__main__":  # one of the processes of a launch: an algorithm and its options, several times
    for algorithm, options in json.loads(sys.argv[1]).items():
        train_as_told(ALGORITHMS[algorithm], options)
