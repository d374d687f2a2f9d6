"""Metrics files, curves and checkpoints that are whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from baselines.config.settings import OptimiserSettings
from baselines.errors import TrainingError
from baselines.models.policy import Policy
from baselines.rl.optimizer import make_optimiser
from baselines.runs.checkpoint import list_checkpoints, save_checkpoint
from baselines.runs.curves import draw_curves, make_curves, running_mean
from baselines.runs.log import MetricsLog, Record, read_metrics


def test_a_resumed_log_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0)
    for step in (1, 2, 3):
        log.write({"step": step, "train/loss": 1 / step})
    with path.open("a") as file:
        file.write('{"step": 4, "tra')  # a kill in the middle of a line
    log = MetricsLog(path, 2)
    log.write({"step": 3, "train/loss": 9.0})
    assert read_metrics(path) == log.records
    assert [record["train/loss"] for record in log.records] == [1, 0.5, 9]


def test_curves(tmp_path: Path) -> None:
    records = [{"step": n, "train/return": n / 9, "train/success_rate": 0.5, "time/x": n} for n in range(1, 9)]
    records[4] |= {"eval/success_rate": 0.4, "eval/ci_low": 0.3, "eval/ci_high": 0.5}
    draw_curves(records, tmp_path / "curves.png", "title")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    draw_curves([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_held_out_success_stands_with_its_interval_beside_the_smoothed_training_curve() -> None:
    trained = [0.0, 0.3, 0.0, 0.6, 0.3, 0.9, 0.6, 0.9, 0.6, 1.0] * 3
    records: list[Record] = [{"step": n, "train/success_rate": value} for n, value in enumerate(trained, 1)]
    records[-1] |= {"eval/success_rate": 0.7, "eval/ci_low": 0.5, "eval/ci_high": 0.8}
    records[-1] |= {"eval/sampled_success_rate": 0.6, "eval/sampled_ci_low": 0.6, "eval/sampled_ci_high": 0.7}
    figure = make_curves(records)
    assert figure is not None
    (axis,) = (axis for axis in figure.axes if axis.get_title() == "success_rate")
    lines = {line.get_label(): list(line.get_ydata()) for line in axis.get_lines()}
    assert lines["train/success_rate"] == running_mean(trained, 3)
    assert trained in lines.values()
    greedy, sampled = axis.containers
    assert [bar.get_label() for bar in (greedy, sampled)] == ["eval/success_rate", "eval/sampled_success_rate"]
    for bar, low, value, high in ((greedy, 0.5, 0.7, 0.8), (sampled, 0.6, 0.6, 0.7)):
        points, _, (interval,) = bar.lines
        assert list(points.get_ydata()) == [value]
        assert [place[1] for place in interval.get_segments()[0]] == pytest.approx([low, high])


def test_running_mean_by_hand() -> None:
    assert running_mean([0.0, 3.0, 0.0, 6.0], 3) == [1.5, 1.0, 3.0, 3.0]
    assert running_mean([0.0, 3.0, 0.0], 1) == [0.0, 3.0, 0.0] == running_mean([0.0, 3.0, 0.0], 0)


def test_a_checkpoint_that_fails_half_way_leaves_the_last_one(
    make_tiny: Callable[[int], Policy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = make_tiny(1)
    optimiser = make_optimiser(policy, OptimiserSettings())
    good = save_checkpoint(tmp_path, 1, policy, optimiser)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(torch, "save", full)
        save_checkpoint(tmp_path, 2, policy, optimiser)
    assert list_checkpoints(tmp_path) == [good]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_checkpoint_of_another_model(make_tiny: Callable[[int], Policy], tmp_path: Path) -> None:
    policy = make_tiny(1)
    saved = save_checkpoint(tmp_path, 1, policy, make_optimiser(policy, OptimiserSettings()))
    other = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))])
    with pytest.raises(TrainingError, match="expected an optimiser state for this model"):
        saved.restore(policy, other)


def test_a_damaged_checkpoint_is_one_sentence(make_tiny: Callable[[int], Policy], tmp_path: Path) -> None:
    policy = make_tiny(1)
    optimiser = make_optimiser(policy, OptimiserSettings())
    saved = save_checkpoint(tmp_path, 1, policy, optimiser)
    whole = (saved.folder / "trainer.pt").read_bytes()
    for damaged in (b"", b"words", whole[: len(whole) // 2]):
        (saved.folder / "trainer.pt").write_bytes(damaged)
        with pytest.raises(TrainingError, match=f"in {saved.folder}, got: "):
            saved.restore(policy, optimiser)


def test_a_copied_checkpoint_is_not_in_the_way(make_tiny: Callable[[int], Policy], tmp_path: Path) -> None:
    policy = make_tiny(1)
    saved = save_checkpoint(tmp_path, 1, policy, make_optimiser(policy, OptimiserSettings()))
    shutil.copytree(saved.folder, tmp_path / "step-00000001-kept")
    assert list_checkpoints(tmp_path) == [saved]
