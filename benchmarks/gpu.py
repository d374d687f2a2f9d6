"""`make gpu`: what only a GPU can show, in stages that a short loan of one has room for.

1. tests: the tests of the trainers on CUDA.
2. speed: rollouts and updates against other trainers (`benchmarks speed-training`).
3. rl: one seed of PPO with a language model on w2-o3-q4, with its curve.

A call runs stages until `--minutes` are spent, and the next call goes on: stages that are done are left out, and training
continues from its checkpoint. Nothing is fetched where `--model` names a folder. `report.md` in `--out` holds what the
stages printed.

    python -m benchmarks gpu --model FOLDER --out runs/gpu
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import transformers

from baselines.config.settings import check_at_least, check_positive
from baselines.errors import ConfigError
from baselines.runs.files import write_whole

ROOT = Path(__file__).parents[1]
ENV_ID = "textagent_gym:TextWorld-w2-o3-q4-Dense-v0"
SHORTEST = 20.0
"""Seconds left under which a call starts no further stage."""


@dataclass(frozen=True)
class Config:
    """Options of a call."""

    out: Path = Path("runs/gpu")
    """Folder of the results; a call with the same folder goes on where the last one stopped."""
    model: str = "smollm2-135m"
    """Folder of the language model of `speed` and `rl`, or a name that the trainers know."""
    device: str = "cuda"
    """Torch device."""
    minutes: float = 8.0
    """Minutes of this call; what is unfinished then is stopped."""
    trl: str = ""
    """Python interpreter of an environment that has TRL, for `speed`."""
    num_iterations: int = 60
    """Iterations of `rl`."""
    episodes_per_batch: int = 128
    """Episodes of one of them."""
    eval_episodes: int = 100
    """Validation games of one point of the curve of `rl`."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range, or a device that torch does not see."""
        check_positive("minutes", self.minutes)
        check_at_least("num_iterations", self.num_iterations, 1)
        check_at_least("episodes_per_batch", self.episodes_per_batch, 4)
        check_at_least("eval_episodes", self.eval_episodes, 1)
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError("expected a GPU that torch sees, got none; --device cpu runs the stages without one")


@dataclass(frozen=True)
class Stage:
    """A command.

    Attributes:
        name: of its files in the folder.
        command: arguments after the interpreter.
        resumes: True if the same command continues what was stopped; the others start again.
    """

    name: str
    command: tuple[str, ...]
    resumes: bool = False


@dataclass(frozen=True)
class StageResult:
    """Outcome of a stage.

    Attributes:
        state: "done", "failed" (it ended with an error) or "stopped" (the call's time was spent).
        seconds: that it ran, all calls together.
        command: that was run.
    """

    state: Literal["done", "failed", "stopped"]
    seconds: float
    command: str


def make_stages(config: Config) -> list[Stage]:
    """Return the stages in order."""
    device = ("--device", config.device)
    speed = ("-m", "benchmarks", "speed-training", *device, "--model", config.model)
    trl = ("--trl", config.trl) if config.trl else ()
    options = {
        "env-id": ENV_ID,
        "env-kwargs": json.dumps({"preamble": False}),
        "model": config.model,
        "num-iterations": config.num_iterations,
        "episodes-per-batch": config.episodes_per_batch,
        "credit": "turn",
        "gamma": 0.9,
        "decode": "listed",
        "max-context-tokens": 4096,
        "num-envs": 128,
        "num-minibatches": 4,
        "learning-rate": 2e-5,
        "warmup-steps": 12,
        "out": config.out / "rl" / "run",
        "eval-every": max(1, config.num_iterations // 6),
        "eval-episodes": config.eval_episodes,
        "eval-first-seed": 40_000_000,
        "checkpoint-every": max(1, config.num_iterations // 30),
    }
    graphs = ("--cuda-graphs",) if config.device.startswith("cuda") else ()
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [
        Stage("tests", ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/baselines/test_cuda.py")),
        Stage("speed", (*speed, *trl, "--json", str(config.out / "speed.json"))),
        Stage("rl", ("-m", "baselines.ppo", *flags, *graphs, *device, "--resume", "--no-progress"), resumes=True),
    ]


def run_stages(stages: Sequence[Stage], out: Path, minutes: float) -> dict[str, StageResult]:
    """Run what is not done yet, until the minutes are spent, and write the report.

    Args:
        stages: in order.
        out: folder of their results.
        minutes: after which the stage that is running is stopped.

    Returns:
        Name of each stage that was started, in this call or before -> what became of it.
    """
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    results = {}
    for stage in stages:
        path = out / f"{stage.name}.json"
        before = StageResult(**json.loads(path.read_text())) if path.is_file() else None
        left = end - time.monotonic()
        if before is not None:
            results[stage.name] = before
        if (before is None or before.state != "done") and left > SHORTEST:
            spent = before.seconds if before is not None else 0.0
            results[stage.name] = _run(stage, out / f"{stage.name}.txt", left, spent)
            write_whole(path, json.dumps(asdict(results[stage.name]), indent=2) + "\n")
    write_whole(out / "report.md", report(results, out))
    return results


def _run(stage: Stage, output: Path, limit: float, spent: float) -> StageResult:
    """Run one stage for at most `limit` seconds."""
    command = [sys.executable, *stage.command]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = time.monotonic()
    with output.open("ab" if stage.resumes else "wb") as file:
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": path},
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
            state: Literal["done", "failed", "stopped"] = "failed" if done.returncode else "done"
        except subprocess.TimeoutExpired:
            state = "stopped"
    return StageResult(state, spent + time.monotonic() - started, " ".join(["python", *stage.command]))


def report(results: dict[str, StageResult], out: Path) -> str:
    """Return the machine and what each stage printed, as Markdown."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    lines = [f"{device}, torch {torch.__version__}, transformers {transformers.__version__}"]
    for name, result in results.items():
        printed = (out / f"{name}.txt").read_text(encoding="utf-8", errors="replace").strip().split("\n")[-40:]
        lines += ["", f"## {name}: {result.state} after {result.seconds:.0f} s", "", f"    {result.command}", ""]
        lines += ["```", *printed, "```"]
    return "\n".join(lines) + "\n"


def main(config: Config) -> None:
    """Run stages, and end with status 1 if one of them has failed."""
    config.check()
    # The stages run in the project's folder.
    model = str(Path(config.model).resolve()) if Path(config.model).is_dir() else config.model
    config = replace(config, out=config.out.resolve(), model=model)
    stages = make_stages(config)
    results = run_stages(stages, config.out, config.minutes)
    sys.stdout.write((config.out / "report.md").read_text(encoding="utf-8"))
    if any(result.state == "failed" for result in results.values()):
        raise SystemExit(1)
    if len(results) < len(stages) or any(result.state == "stopped" for result in results.values()):
        sys.stdout.write("\nNot all is done yet: the same command goes on.\n")
