"""Commands that train: failed starts leave nothing, and Ctrl-C says how to go on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from baselines import sft
from baselines.errors import ConfigError, ModelError
from baselines.models.policy import Policy
from baselines.runs.checkpoint import save_checkpoint
from baselines.runs.run import TrainResult, open_run, run_command
from tests.support.toy_text_env import TOY


def run(monkeypatch: pytest.MonkeyPatch, out: Path, train: Callable[[sft.Config], TrainResult], *options: str) -> None:
    monkeypatch.setattr("sys.argv", ["sft", "--env-id", TOY, "--out", str(out), *options])
    run_command(sft.Config, train, None)


def refuse(config: sft.Config) -> NoReturn:
    """Fail as a start with a bad chat template does: the folder is open, and no policy is there."""
    open_run(config)
    raise ModelError("expected another template")


def interrupt(config: sft.Config) -> NoReturn:
    open_run(config)
    raise KeyboardInterrupt


def test_a_start_that_fails_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(SystemExit, match=r"^error: expected another template$"):
        run(monkeypatch, out, refuse)
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(SystemExit):
        run(monkeypatch, out, refuse)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_what_a_killed_start_has_left_does_not_refuse_the_next(tmp_path: Path) -> None:
    config = sft.Config(TOY, run=sft.RunSettings(out=tmp_path))
    for _ in range(2):
        open_run(config)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ConfigError, match="which holds a run"):
        open_run(config)


def test_a_start_that_fails_keeps_the_run_of_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(SystemExit, match="which holds a run"):
        run(monkeypatch, tmp_path, refuse)
    assert (tmp_path / "config.json").read_text() == "{}"
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("text", ['{"model_type": "llama"}', "{", "[]"])
@pytest.mark.parametrize("resume", [True, False])
def test_the_folder_of_a_model_is_not_taken_for_one_of_runs(tmp_path: Path, text: str, resume: bool) -> None:
    """`--out runs/sft/model` would write over the model's own configuration."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"expected --out to be a folder of runs, got .*, whose config\.json"):
        open_run(sft.Config(TOY, run=sft.RunSettings(out=tmp_path, resume=resume)))
    assert (tmp_path / "config.json").read_text() == text


def test_a_run_that_cannot_be_resumed_says_that_it_starts_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = sft.Config(TOY, run=sft.RunSettings(out=tmp_path, resume=True))
    open_run(config)
    assert capsys.readouterr().err == ""
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    open_run(config)
    assert "there is no checkpoint in" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, tmp_path / "run", interrupt)
    assert ended.value.code == 130
    assert "interrupted: there is no checkpoint to go on from; --checkpoint-every N" in capsys.readouterr().err
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer.pt").touch()
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / "run", interrupt, "--resume")
    assert f"interrupted: the same command with --resume continues from {checkpoint}" in capsys.readouterr().err
    assert checkpoint.exists()


def test_checkpoints_have_the_modes_of_other_folders(make_tiny: Callable[[int], Policy], tmp_path: Path) -> None:
    policy = make_tiny(1)
    optimiser = torch.optim.SGD(policy.model.parameters(), 0.1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    made = save_checkpoint(tmp_path / "checkpoints", 1, policy, optimiser).folder
    modes = {path: stat.S_IMODE(os.stat(path).st_mode) for path in (tmp_path / "folder", tmp_path / "file", made)}
    assert modes[made] == modes[tmp_path / "folder"]
    assert stat.S_IMODE(os.stat(made / "trainer.pt").st_mode) == modes[tmp_path / "file"]
