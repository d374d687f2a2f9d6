"""Trials of learning speed: when they end, and which may be read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from baselines.errors import ConfigError
from baselines.runs.log import MetricsLog
from benchmarks.speed.learning import Config, claim, stopping


def test_trials_of_other_options_are_not_read_as_these(tmp_path: Path) -> None:
    config = Config(out=tmp_path)
    claim(config)
    claim(replace(config, learning_rates=(1e-5,)))
    with pytest.raises(ConfigError, match=r"expected --out without trials of another target, seed, got "):
        claim(replace(config, target=0.5, seed=2))
    claim(config)


@pytest.mark.parametrize("record", [{"eval/success_rate": 0.8}, {"time/update_seconds": 61.0}])
def test_a_trial_ends_at_its_target_or_after_its_minutes(record: dict[str, float], tmp_path: Path) -> None:
    write, written = MetricsLog.write, 0
    log = MetricsLog(tmp_path / "metrics.jsonl", last_step=0)
    with stopping(Config(max_minutes=1.0)):
        for step in range(3):
            log.write(
                {"step": step, "time/rollout_seconds": 0.0, "time/update_seconds": 0.0} | (record if step else {})
            )
            written += 1
    log.close()
    assert written == 1 and MetricsLog.write is write
