"""The page of speeds: every domain and tier, real measurements, and a dash where there is none."""

from __future__ import annotations

import importlib
from pathlib import Path

import gymnasium as gym
import pytest

from benchmarks.speed.environments import REAL, REFERENCES, TIERS, SpeedError, bench, cell, ids, render, summary
from benchmarks.speed.work import count, excess


def test_every_domain_and_tier_is_measured() -> None:
    found = [env_id for domain in REFERENCES for env_id, _ in ids(domain) if env_id != REAL]
    assert len(found) == len(REFERENCES) * len(TIERS) == len(set(found))
    for env_id in found:
        gym.spec(env_id)


def test_a_measurement_is_one_of_both_sides() -> None:
    answer = bench("ALFWorld-Easy-Dense-v0", steps=10, tasks=1, reference="alfworld")
    (row,) = answer["results"]
    assert row["ratio"] == pytest.approx(row["steps_per_s"] / row["reference_steps_per_s"])
    command = "python -m benchmarks speed --measure --steps 10 --tasks 1"
    page = render({"ALFWorld": {"machine": answer["machine"], "command": command, "rows": [row]}})
    assert "| `ALFWorld-Easy-Dense-v0` |" in page
    assert cell(row, "ratio") in page
    assert "--steps 10 --tasks 1" in page


def test_what_was_not_measured_is_a_dash() -> None:
    assert (cell({}, "swerex_ms"), cell({"a": 1234.5}, "a"), cell({"a": 0.123456}, "a")) == ("\u2013", "1,234", "0.123")


def test_a_measurement_that_fails_says_why() -> None:
    with pytest.raises(SpeedError, match=r"expected a measurement of TextWorld-None-v0, got: .*TextWorld-None"):
        bench("TextWorld-None-v0", steps=1, tasks=1)


def test_a_summary_has_medians_and_the_range_of_the_ratio() -> None:
    rows = [{"env_id": "A", "ratio": ratio, "reset_ms": 2 * ratio} for ratio in (3.0, 1.0, 7.0)]
    assert summary(rows) == {"env_id": "A", "ratio": 3.0, "reset_ms": 6.0, "ratio_min": 1.0, "ratio_max": 7.0}


def test_planners_expand_no_more_states_than_before() -> None:
    for domain in ("textworld", "alfworld"):
        importlib.import_module(
            f"textagent_gym.envs.{domain}.tasks"
        ).make_task.cache_clear()  # what was proved is forgotten
    dense = ("TextWorld-Easy-Dense-v0", "TextWorld-Medium-Dense-v0", "ALFWorld-Hard-Dense-v0")
    sparse = ("TextWorld-Medium-Sparse-v0", "ALFWorld-Hard-Sparse-v0")
    found = {env_id: count(env_id) for env_id in (*sparse, *dense)}
    assert all(bool(found[env_id]) == (env_id in dense) for env_id in found)
    assert excess(found) == []


def test_more_work_than_before_is_refused(tmp_path: Path) -> None:
    committed = tmp_path / "work.json"
    committed.write_text('{"a": 100, "b": 100}')
    assert excess({"a": 110, "b": 80}, committed) == []
    assert excess({"a": 111, "b": 100}, committed) == ["expected a to expand at most 100 states, got 111"]
