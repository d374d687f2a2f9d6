"""A run in which nothing was learned says so, in one sentence for each sign; a sound run says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from baselines.runs.log import diagnose

SOUND: list[dict[str, Any]] = [
    {
        "train/optimiser_steps": 4,
        "train/success_rate": rate,
        "train/approx_kl": 1e-3,
        "train/entropy": 0.8,
        "eval/success_rate": rate,
        "eval/sampled_success_rate": rate,
    }
    for rate in (0.0, 0.3)
]
SFT: list[dict[str, Any]] = [{"demonstrations": 8, "train/loss": loss} for loss in (4.0, 0.4)]


def changed(**changes: Any) -> list[dict[str, Any]]:
    return [{**record, **{name.replace("__", "/"): value for name, value in changes.items()}} for record in SOUND]


def test_a_sound_run_has_no_signs() -> None:
    assert diagnose(SOUND, 2048) == diagnose(SFT, 2048) == diagnose([], 2048) == []


@pytest.mark.parametrize(
    ("records", "sign"),
    [
        (changed(train__optimiser_steps=0), "no optimiser step was taken"),
        (changed(train__success_rate=0.0), "no episode succeeded in any iteration"),
        (changed(train__approx_kl=1e-7), "the policy hardly moved: approx_kl was 1e-07"),
        (changed(train__entropy=1e-4), "the entropy is gone"),
        (changed(train__entropy=7.6), "the entropy is at its maximum"),
        (changed(eval__success_rate=0.0, eval__sampled_success_rate=0.0), "no held-out episode succeeded"),
        ([SFT[0], SFT[0]], "the loss did not fall"),
    ],
)
def test_each_sign_is_told_alone(records: list[dict[str, Any]], sign: str) -> None:
    (found,) = diagnose(records, 2048)
    assert found.startswith(sign)


def test_one_step_an_iteration_has_no_divergence_to_show() -> None:
    assert diagnose(changed(train__optimiser_steps=1, train__approx_kl=0.0), 2048) == []
    assert diagnose(changed(train__success_rate=0.2, eval__success_rate=0.0), 2048) == []  # sampled play succeeds
