"""The evaluation of a run: every environment plays all held-out seeds, and several processes share the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from baselines.config.settings import RolloutSettings, RunSettings
from baselines.models.policy import Policy
from baselines.runs.distributed import Ranks
from baselines.runs.run import Evaluator
from tests.support.toy_text_env import TOY

KINDS = [(TOY, {"max_steps": 6}), (TOY, {"max_steps": 2})]


class Share(Ranks):
    """One of three processes, which hands on what it has played itself."""

    def __init__(self, rank: int) -> None:
        super().__init__("cpu")
        self.rank, self.count = rank, 3

    def gather(self, items):  # type: ignore[no-untyped-def]
        """Return the values of this process."""
        return list(items)


@pytest.fixture
def held_out() -> Iterator[Evaluator]:
    settings = RunSettings(eval_episodes=5, eval_every=2, num_eval_envs=4)
    with closing(Evaluator(KINDS, settings, RolloutSettings(max_new_tokens=4, max_context_tokens=256))) as opened:
        yield opened


def test_every_environment_plays_all_seeds(held_out: Evaluator, tiny_policy: Policy) -> None:
    record = held_out.record(tiny_policy, 2, 7, Ranks("cpu"))
    assert held_out.last is not None
    assert held_out.last.seeds.tolist() == [*range(1_000_000, 1_000_005)] * 2
    assert held_out.last.lengths[5:].max() <= 2 < held_out.last.lengths[:5].max()
    assert {name for name in record if name.startswith("eval/success_rate")} == {
        "eval/success_rate",
        f"eval/success_rate/{TOY}",
        f"eval/success_rate/{TOY}@1",
    }
    assert held_out.record(tiny_policy, 3, 7, Ranks("cpu")) == {}


def test_processes_play_together_what_one_plays_alone(held_out: Evaluator, tiny_policy: Policy) -> None:
    alone = held_out.play(tiny_policy, Ranks("cpu"))
    shares = [held_out.play(tiny_policy, Share(rank)) for rank in range(3)]
    assert [len(share.seeds) for share in shares] == [3, 3, 4]
    for name in ("seeds", "successes", "returns", "lengths"):
        assert np.array_equal(np.concatenate([getattr(share, name) for share in shares]), getattr(alone, name))
