"""Dynamic sampling: groups without signal are replaced by groups of further tasks, by hand on scripted outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baselines import grpo, rloo
from baselines.config.settings import RolloutSettings, RunSettings, UpdateSettings
from baselines.rl.learner import Collected, Learner
from baselines.rl.update import select_episodes
from tests.support.scripted_text_env import SCRIPTED, ScriptedOutcomes

ALGORITHMS: dict[str, Any] = {"grpo": grpo, "rloo": rloo}
LOST, WON = (0, 4, 9), (1,)


@pytest.fixture(autouse=True)
def _none_played() -> Iterator[None]:
    ScriptedOutcomes.num_played.clear()
    yield
    ScriptedOutcomes.num_played.clear()


def make_config(out: Path, name: str = "grpo", **changes: Any) -> Any:
    config = ALGORITHMS[name].Config(
        env_id=SCRIPTED,
        env_kwargs={"lost": LOST, "won": WON},
        num_iterations=2,
        groups_per_batch=3,
        group_size=2,
        min_group_spread=0.1,
        update=UpdateSettings(num_minibatches=2),
        rollout=RolloutSettings(max_new_tokens=2, max_context_tokens=64),
        run=RunSettings(out=out, num_threads=1, progress=False),
    )
    return replace(config, **changes)


def collect(config: Any, *iterations: int) -> list[Collected]:
    with Learner("GRPO", config) as learner:
        return [
            learner.collect(i, config.groups_per_batch, config.group_size, config.refill, config.min_group_spread)
            for i in iterations
        ]


def seeds_of(collected: Collected) -> list[int]:
    assert len(collected.groups) == len(collected.episodes)
    assert collected.groups.tolist() == [group for group in range(len(collected.groups) // 2) for _ in range(2)]
    assert [episode.seed for episode in collected.episodes[::2]] == [e.seed for e in collected.episodes[1::2]]
    return [episode.seed for episode in collected.episodes[::2]]


def test_groups_without_signal_are_replaced_by_hand(tmp_path: Path) -> None:
    """Seeds 0, 4, 9 are always lost and 1 is always won: these groups have no spread, the others one of 1/2."""
    config = make_config(tmp_path, refill=3)
    first, second = collect(config, 0, 1)
    # 0 and 1 are replaced by 3 and 4, and 4 by 5.
    assert seeds_of(first) == [0, 1, 2, 3, 4, 5]
    kept, record = select_episodes(first, first.batch.with_columns(advantages=first.batch.rewards), config)
    assert [first.episodes[row].seed for row in kept.episodes.tolist()] == [2, 2, 3, 3, 5, 5]
    assert record == {"train/left_out": 0.5}
    assert first.record["train/groups_played"] == 6 and first.record["train/groups_dropped"] == 3
    # All that was played counts: 12 episodes, of which seed 1 has won two and seeds 2, 3, 5 one each.
    assert first.record["train/episodes"] == 12
    assert first.record["train/success_rate"] == pytest.approx(5 / 12)
    assert first.record["train/distinct_tasks"] == 6
    # An iteration has 3 x 3 seeds of its own: the next begins at 9, whose group is replaced by 12.
    assert seeds_of(second) == [9, 10, 11, 12]
    assert second.record["train/groups_played"] == 4 and second.record["train/groups_dropped"] == 1


def test_the_number_of_batches_bounds_what_is_played(tmp_path: Path) -> None:
    """With two batches at most 6 groups are played; one of them has a signal, and it alone is trained on."""
    config = make_config(tmp_path, refill=2, env_kwargs={"lost": [0, 1, 3, 4, 5]})
    (collected,) = collect(config, 0)
    assert seeds_of(collected) == [0, 1, 2, 3, 4, 5]
    kept, _ = select_episodes(collected, collected.batch, config)
    assert kept.episodes.tolist() == [4, 5]
    assert collected.record["train/groups_played"] == 6 and collected.record["train/groups_dropped"] == 5


def test_without_refill_nothing_is_replaced(tmp_path: Path) -> None:
    """The episodes are the first ones of a run with refill, sampled from the same streams."""
    (plain,) = collect(make_config(tmp_path / "plain"), 0)
    ScriptedOutcomes.num_played.clear()
    (filled,) = collect(make_config(tmp_path / "filled", refill=2), 0)
    assert seeds_of(plain) == [0, 1, 2]
    assert "train/groups_played" not in plain.record
    for one, other in zip(plain.episodes, filled.episodes, strict=False):
        assert one.token_ids.tolist() == other.token_ids.tolist() and one.logprobs.tolist() == other.logprobs.tolist()
    streams = [tuple(episode.token_ids[-3:]) for episode in filled.episodes]
    assert len(set(streams)) > len(streams) // 2  # further groups draw from streams of their own


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_batch_without_any_signal_takes_no_step(name: str, tmp_path: Path) -> None:
    config = make_config(tmp_path, name, refill=2, env_kwargs={"lost": list(range(100))}, num_iterations=1)
    (record,) = ALGORITHMS[name].train(config).records
    assert record["train/optimiser_steps"] == 0 and record["train/left_out"] == 1
    assert record["train/episodes"] == 12 and record["train/groups_dropped"] == 6


@pytest.mark.parametrize("name", ALGORITHMS)
def test_training_counts_everything_that_was_played(name: str, tmp_path: Path) -> None:
    records = ALGORITHMS[name].train(make_config(tmp_path, name, refill=3)).records
    assert [record["train/episodes"] for record in records] == [12, 8]
    assert [record["train/groups_dropped"] for record in records] == [3, 1]
    assert [record["train/left_out"] for record in records] == [0.5, 0.25]
    assert all(record["train/optimiser_steps"] == 2 for record in records)
