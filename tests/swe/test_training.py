"""A policy of a million parameters learns to repair by choice, in minutes, on a CPU."""

from pathlib import Path

import pytest

from benchmarks.experiments.swegym_choice import Config, run


@pytest.mark.slow
def test_grpo_beats_chance_at_choosing_edits(tmp_path: Path) -> None:
    rows = {(row["split"], row["agent"]): row for row in run(Config(out=tmp_path))}
    chance, cloned, trained = (rows["train", agent] for agent in ("random", "SFT", "SFT + GRPO"))
    assert trained["gain_interval"][0] > 0
    assert trained["mean_return"] > chance["mean_return"] + 0.2
    assert trained["mean_return"] > cloned["mean_return"]
    assert (tmp_path / "curves.png").stat().st_size > 1000
