"""Metrics of episodes, worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines import grpo
from baselines.config.settings import RolloutSettings, RunSettings, TaskSettings, UpdateSettings
from baselines.evaluate import report, summarise
from baselines.models.policy import Policy
from baselines.runs.metrics import action_information, describe_actions, describe_advantages, success_rates
from baselines.sampling.environments import EnvPool, Task, kind_names
from baselines.sampling.episode import Episode, Turn
from baselines.sampling.rollout import rollout
from tests.support.toy_text_env import OBJECTS, TOY

OBSERVATION, END = 7, 1


def play(
    *actions: tuple[list[int], float], invalid: int = 0, success: bool = False, kind: str | None = None
) -> Episode:
    """Return an episode of actions, each with its tokens and its probability; the first `invalid` ones are no commands."""
    token_ids: list[int] = []
    mask: list[bool] = []
    logprobs: list[float] = []
    turns = []
    for number, (said, probability) in enumerate(actions):
        start = len(token_ids)
        token_ids += [OBSERVATION, *said, END]
        mask += [False] + [True] * (len(said) + 1)
        logprobs += [0.0, math.log(probability)] + [0.0] * len(said)
        turns.append(Turn("look", "go", 0.0, start, start + 1, len(token_ids), invalid=number < invalid))
    return Episode(
        seed=0,
        task_id=None,
        token_ids=np.array(token_ids, dtype=np.int64),
        action_mask=np.array(mask, dtype=np.bool_),
        logprobs=np.array(logprobs, dtype=np.float32),
        turns=tuple(turns),
        success=success,
        terminated=True,
        truncated=False,
        truncated_by_context=False,
        final_observation="",
        task_type=kind,
    )


A, B, C = [2], [3], [2, 3]


def test_an_action_that_depends_on_the_prompt_alone_tells_all_about_it() -> None:
    assert action_information([play((action, 1.0)) for action in (A, B, C, [4])]) == pytest.approx(math.log(4))


def test_template_collapse_has_no_information_whatever_the_entropy() -> None:
    assert action_information([play((A, 1.0))] * 6) == 0
    coin = [play((action, 0.5)) for action in (A, B, A, B, B, A)]
    assert action_information(coin) == pytest.approx(0, abs=1e-7)


def test_action_information_by_hand() -> None:
    """A prompt whose action is A or B evenly, and one whose action is A, twice each: f(A) = 3/4 and f(B) = 1/4."""
    episodes = [play((A, 0.5), (C, 0.1)), play((B, 0.5)), play((A, 1.0)), play((A, 1.0), (B, 0.2))]
    expected = (math.log(0.5 / 0.75) + math.log(0.5 / 0.25) + 2 * math.log(1 / 0.75)) / 4
    assert action_information(episodes) == pytest.approx(expected)
    # The mutual information of the two prompts' distributions is H(3/4, 1/4) - log(2) / 2: here the batch is exact.
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert expected == pytest.approx(entropy - math.log(2) / 2)
    nothing = replace(play(), turns=())
    assert action_information([*episodes, nothing]) == action_information(episodes)
    assert action_information([nothing]) == 0


def test_action_information_never_exceeds_the_truth_in_expectation() -> None:
    """Means over many batches: below the mutual information, and the nearer the larger the batch."""
    rng = np.random.default_rng(0)
    policy = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.2, 0.6, 0.2], [0.25, 0.5, 0.25]])
    marginal = policy.mean(0)
    truth = float((policy * np.log(policy / marginal)).sum(1).mean())

    def estimate(group_size: int) -> float:
        episodes = [
            play(([10 + int(action)], float(row[action])))
            for row in policy
            for action in rng.choice(3, size=group_size, p=row)
        ]
        return action_information(episodes)

    few, many = (float(np.mean([estimate(size) for _ in range(200)])) for size in (2, 16))
    assert few < many < truth + 0.01 and truth - many < 0.03


def test_rates_of_actions_by_hand() -> None:
    """Three turns with actions of 2, 3 and 2 tokens, ends included; one of them is no command."""
    episodes = [play((A, 1.0), (C, 1.0), invalid=1, success=True, kind="put"), play((B, 1.0), kind="heat")]
    record = describe_actions([*episodes, play((B, 1.0), kind="heat", success=True)])
    assert record["train/invalid_action_rate"] == 1 / 4
    assert record["train/tokens_per_turn"] == (2 + 3 + 2 + 2) / 4
    assert (record["train/success_rate/put"], record["train/success_rate/heat"]) == (1.0, 0.5)
    assert describe_actions([replace(play(), turns=())]) == {}


def test_success_rates_leave_out_what_has_no_label() -> None:
    assert success_rates("x", ["b", None, "a", "b"], [True, True, False, False]) == {"x/a": 0.0, "x/b": 0.5}


def test_quantiles_of_advantages_are_those_of_action_tokens() -> None:
    advantages = torch.arange(22.0).reshape(2, 11)
    mask = torch.ones(2, 11, dtype=torch.bool)
    mask[1, -1] = False
    record = describe_advantages(advantages, mask)  # of 0, 1, .., 20
    assert record == {"train/advantage_p05": 1.0, "train/advantage_p50": 10.0, "train/advantage_p95": 19.0}
    assert describe_advantages(advantages, torch.zeros_like(mask)) == {}


def test_names_of_kinds() -> None:
    assert kind_names([("A-v0", {}), ("B-v0", {}), ("A-v0", {"x": 1})]) == ["A-v0", "B-v0", "A-v0@2"]


def test_a_run_logs_success_of_types_and_of_environments(tmp_path: Path) -> None:
    config = grpo.Config(
        env_id=TOY,
        env_kwargs={"name_types": True, "num_orders": 1},
        num_iterations=1,
        tasks=TaskSettings(also={TOY: 1.0}),
        rollout=RolloutSettings(max_new_tokens=2, max_context_tokens=128),
        update=UpdateSettings(num_minibatches=1),
        run=RunSettings(out=tmp_path, eval_episodes=2, num_threads=1, progress=False),
        group_size=2,
        groups_per_batch=8,
    )
    (record,) = grpo.train(config).records
    ids = {f"train/success_rate/{name}" for name in (TOY, f"{TOY}@1")}
    assert ids <= record.keys() and {key.replace("train", "eval") for key in ids} <= record.keys()
    types = {key.rpartition("/")[2] for key in record.keys() - ids if key.startswith("train/success_rate/")}
    assert types and types <= set(OBJECTS)
    assert record["train/invalid_action_rate"] == 0 and 1 <= record["train/tokens_per_turn"] <= 2
    assert record["train/advantage_p05"] <= record["train/advantage_p50"] <= record["train/advantage_p95"]
    assert record["train/action_information"] <= math.log(16)


def test_an_evaluation_reports_types_of_tasks(make_tiny: Callable[[int], Policy]) -> None:
    settings = RolloutSettings(max_new_tokens=2, max_context_tokens=128)
    with EnvPool([(TOY, {"name_types": True, "num_tasks": 3, "max_steps": 1})]) as pool:
        episodes = rollout(make_tiny(1), pool, [Task(seed) for seed in range(6)], settings, (1,))
    types = [episode.task_type for episode in episodes]
    lines = report(summarise(episodes)).split("\n")[3:-1]
    assert [line.split()[0] for line in lines] == sorted(set(map(str, types)))
    assert all(line.endswith(f"over {types.count(line.split()[0])} episodes") for line in lines)
