"""Two processes on the CPU (gloo) do together what one does alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import TOY

from baselines.log import read_metrics
from baselines.policy import Policy

HERE = Path(__file__).parent


def launch(num_processes: int, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    environment |= {"OMP_NUM_THREADS": "1"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone = [sys.executable, "-m"]
    together = [*alone, "accelerate.commands.launch", "--cpu", "--num_processes", str(num_processes),
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port),
        "-m"]  # fmt: skip
    command = together if num_processes > 1 else alone
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("algorithm", ["sft", "grpo", "ppo"])
def test_two_processes_train_as_one(algorithm: str, make_tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make_tiny(1).save(tmp_path / "start")
    sizes = {
        "sft": "--num-demos 6 --num-epochs 2 --batch-size 3",  # shares of 2 and 1 episodes
        "grpo": "--num-iterations 2 --groups-per-batch 3 --group-size 2 --credit turn --kl-coef 0.01",
        "ppo": "--num-iterations 2 --episodes-per-batch 6 --num-minibatches 2",
    }[algorithm]
    options = f"baselines.{algorithm} --env-id {TOY} --model {tmp_path}/start {sizes} --max-new-tokens 8"
    options += " --max-context-tokens 256 --micro-batch-tokens 150 --learning-rate 1e-3 --no-progress --num-threads 1"
    for num_processes in (1, 2):
        launch(num_processes, *options.split(), "--out", f"{tmp_path}/{num_processes}")
    one, two = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("1", "2"))
    assert len(one) == len(two)
    for name in ("train/grad_norm", "train/loss"):
        assert one[0][name] == pytest.approx(two[0][name], rel=1e-4, abs=1e-7)
        assert one[-1][name] == pytest.approx(two[-1][name], rel=1e-2, abs=1e-5)
    weights = [Policy.load(tmp_path / name / "model").model.state_dict() for name in ("1", "2")]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=0, atol=1e-3)
