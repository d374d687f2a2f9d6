"""Choice of tasks: in every cycle each seed once, mixtures by weight, curricula by share or by success."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from baselines.config.settings import TaskSettings
from baselines.errors import ConfigError
from baselines.sampling.environments import TaskSchedule


def schedule(settings: TaskSettings, num_iterations: int = 10, seed: int = 1) -> TaskSchedule:
    return TaskSchedule("A-v0", {"split": "train"}, settings, num_iterations, seed)


def test_every_seed_once_a_cycle_in_a_new_order() -> None:
    tasks = schedule(TaskSettings(num_train_seeds=12))
    seeds = [task.seed for iteration in range(6) for task in tasks.draw(iteration, 4)]
    assert sorted(seeds[:12]) == sorted(seeds[12:]) == list(range(12))
    assert seeds[:12] != seeds[12:]
    assert tasks.draw(3, 4) == schedule(TaskSettings(num_train_seeds=12)).draw(3, 4)  # no memory
    assert tasks.draw(0, 12) != schedule(TaskSettings(num_train_seeds=12), seed=2).draw(0, 12)
    later = schedule(TaskSettings(num_train_seeds=12, first_train_seed=100)).draw(3, 4)
    assert [task.seed - 100 for task in later] == [task.seed for task in tasks.draw(3, 4)]


def test_a_mixture_by_weight() -> None:
    tasks = schedule(TaskSettings(also={"B-v0": 3.0}))
    assert tasks.kinds == [("A-v0", {"split": "train"}), ("B-v0", {"split": "train"})]
    counts = Counter(task.kind for iteration in range(100) for task in tasks.draw(iteration, 40))
    assert counts[1] / 4000 == pytest.approx(0.75, abs=0.03)


def test_entries_with_options_of_their_own() -> None:
    also = {"B-v0": {"max_steps": 9}, "A-v0@long": {"max_steps": 50, "split": "test", "weight": 2}, "C-v0": 1}
    settings = TaskSettings(also=also)
    settings.check()
    tasks = schedule(settings)
    assert tasks.kinds == [
        ("A-v0", {"split": "train"}),
        ("B-v0", {"split": "train", "max_steps": 9}),
        ("A-v0", {"split": "test", "max_steps": 50}),
        ("C-v0", {"split": "train"}),
    ]
    counts = Counter(task.kind for iteration in range(100) for task in tasks.draw(iteration, 40))
    assert counts[2] / 4000 == pytest.approx(0.4, abs=0.03)
    assert also["A-v0@long"] == {"max_steps": 50, "split": "test", "weight": 2}  # the settings are saved with the run


def test_a_fixed_curriculum_shares_the_iterations() -> None:
    tasks = schedule(TaskSettings(also={"B-v0": 1, "C-v0": 1}, curriculum="fixed"), num_iterations=7)
    assert [tasks.draw(iteration, 2)[1].kind for iteration in range(7)] == [0, 0, 0, 1, 1, 2, 2]


def test_an_adaptive_curriculum_holds_success_in_its_band() -> None:
    tasks = schedule(TaskSettings(also={"B-v0": 1, "C-v0": 1}, curriculum="adaptive", band_low=0.2, band_high=0.6))
    stages = []
    for success in (0.6, 0.7, 0.5, 0.9, 1.0, 0.2, 0.1, 0.0, 0.0):
        tasks.observe(len(stages), success)
        stages.append(tasks.stage)
    assert stages == [0, 1, 1, 2, 2, 2, 1, 0, 0]
    assert {task.kind for task in tasks.draw(0, 5)} == {0}
    mixture = schedule(TaskSettings(also={"B-v0": 1}))
    mixture.observe(0, 1.0)
    assert mixture.stage == 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (TaskSettings(also={"B-v0": 0}), "expected also to give each id a weight > 0, got 0 for 'B-v0'"),
        (TaskSettings(also={"B-v0": {"weight": -1}}), "expected also to give each id a weight > 0, got -1 for 'B-v0'"),
        (TaskSettings(also={"B-v0": "much"}), "expected also to give each id a weight > 0, got 'much' for 'B-v0'"),
        (TaskSettings(also={"B-v0": math.inf}), "expected also to give each id a weight > 0, got inf for 'B-v0'"),
        (TaskSettings(curriculum="fixed"), "expected also to name the later stages of a fixed curriculum, got none"),
        (TaskSettings(band_low=0.9), "expected 0 <= band_low < band_high <= 1, got 0.9 and 0.8"),
        (TaskSettings(num_train_seeds=-1), "expected num_train_seeds >= 0, got -1"),
        (TaskSettings(first_train_seed=-1), "expected first_train_seed >= 0, got -1"),
    ],
)
def test_settings_that_make_no_sense(settings: TaskSettings, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        settings.check()
