"""Stages of `make gpu`: what is done is not run again, what was stopped goes on, what failed is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import tyro

from baselines import ppo
from baselines.errors import ConfigError
from benchmarks import gpu
from benchmarks.gpu import Config, Stage, make_stages, run_stages
from benchmarks.speed import training

PRINTS = Stage("prints", ("-c", "print('a table')"))
FAILS = Stage("fails", ("-c", "raise SystemExit('no such thing')"))
COUNT = """
import pathlib, time
path = pathlib.Path({path!r})
count = int(path.read_text()) if path.exists() else 0
path.write_text(str(count + 1))
if count == 0:
    time.sleep(60)
print("continued")
"""


def test_each_stage_runs_until_it_is_done(tmp_path: Path) -> None:
    results = run_stages([PRINTS, FAILS], tmp_path, minutes=1)
    assert [result.state for result in results.values()] == ["done", "failed"]
    report = (tmp_path / "report.md").read_text()
    assert "a table" in report
    assert "no such thing" in report
    (tmp_path / "prints.txt").write_text("printed before")
    again = run_stages([PRINTS, FAILS], tmp_path, minutes=1)
    assert (tmp_path / "prints.txt").read_text() == "printed before"
    assert again["fails"].seconds > results["fails"].seconds > 0


def test_a_stage_that_is_stopped_resumes_in_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SHORTEST", 0.5)
    stage = Stage("counts", ("-c", COUNT.format(path=str(tmp_path / "count"))), resumes=True)
    first = run_stages([stage, PRINTS], tmp_path, minutes=2 / 60)
    assert {name: result.state for name, result in first.items()} == {"counts": "stopped"}
    second = run_stages([stage, PRINTS], tmp_path, minutes=1)
    assert {name: result.state for name, result in second.items()} == {"counts": "done", "prints": "done"}
    assert (tmp_path / "counts.txt").read_text() == "continued\n"


def test_every_stage_is_a_command_that_its_program_understands(tmp_path: Path) -> None:
    stages = {stage.name: stage for stage in make_stages(Config(out=tmp_path, model="tiny-base", device="cpu"))}
    trained = tyro.cli(ppo.Config, args=stages["rl"].command[2:], config=(tyro.conf.OmitArgPrefixes,))
    trained.check()
    assert (trained.model, trained.run.resume, trained.rollout.decode) == ("tiny-base", True, "listed")
    measured = tyro.cli(training.Config, args=stages["speed"].command[3:])
    measured.check()
    assert (measured.model, measured.device) == ("tiny-base", "cpu")
    assert Path(stages["tests"].command[-1]).is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a GPU that torch sees"):
        Config(out=tmp_path).check()


@pytest.mark.slow
def test_all_stages_run_on_a_processor(tmp_path: Path) -> None:
    options = ["--device", "cpu", "--model", "tiny-base", "--num-iterations", "2", "--episodes-per-batch", "8"]
    command = [sys.executable, "-m", "benchmarks", "gpu", *options, "--eval-episodes", "4", "--minutes", "20"]
    subprocess.run([*command, "--out", str(tmp_path)], check=True)
    assert {json.loads((tmp_path / f"{name}.json").read_text())["state"] for name in ("tests", "speed", "rl")} == {
        "done"
    }
    records = (tmp_path / "rl" / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(records) == 2
    assert "eval/success_rate" in json.loads(records[-1])
    assert (tmp_path / "rl" / "run" / "curves.png").is_file()
