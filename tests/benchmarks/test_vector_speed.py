"""The throughput table of vector environments."""

from __future__ import annotations

import pytest

from baselines.errors import ConfigError
from benchmarks.speed.vector import Config, markdown, measure


def test_every_way_of_playing_is_measured_with_every_wait() -> None:
    config = Config(num_envs=2, steps=3, rounds=1, wait_ms=(0.0, 20.0), processes=(1,), actors=())
    table = measure(config)
    ((quick, slow),) = table.values()
    assert list(table) == ["1 (this one)"]
    assert quick > slow
    assert 0 < slow <= 1 / 0.02
    assert markdown({"1 (this one)": [1234.5, 50.0]}, config.wait_ms) == (
        "| played in | steps/s | steps wait 20 ms |\n| --- | ---: | ---: |\n| 1 (this one) | 1,234 | 50 |\n"
    )


def test_more_processes_than_environments_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected num_envs"):
        measure(Config(num_envs=1, processes=(2,), actors=()))
