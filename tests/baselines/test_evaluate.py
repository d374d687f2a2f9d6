"""Evaluation and its intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from baselines import evaluate
from baselines.config.settings import RolloutSettings
from baselines.evaluate import (
    Evaluation,
    evaluate_agent,
    evaluate_policy,
    paired_difference_interval,
    success_interval,
)
from baselines.models.policy import Policy
from baselines.sampling.environments import EnvPool, make_env
from baselines.stats import agreeing_interval, mean_interval, two_level_interval
from tests.support.toy_text_env import TOY


def obedient(observation: str, info: Mapping[str, Any]) -> str:
    """Do what the last sentence asks for."""
    return "bring the " + observation.rstrip(".").split()[-1]


def outcome(successes: list[bool], first_seed: int = 0) -> Evaluation:
    flags = np.array(successes)
    seeds = np.arange(first_seed, first_seed + len(flags))
    return Evaluation(seeds, flags, flags.astype(float), np.ones(len(flags), dtype=np.int64))


def test_an_agent_that_obeys() -> None:
    result = evaluate_agent(obedient, make_env(TOY, {}), range(5))
    assert result.successes.all() and result.returns == pytest.approx(np.ones(5)) and (result.lengths == 3).all()


def test_a_policy_that_knows_nothing(tiny_policy: Policy) -> None:
    settings = RolloutSettings(temperature=0.0, max_new_tokens=4, max_context_tokens=256, num_envs=3)
    with EnvPool([(TOY, {})]) as pool:
        result = evaluate_policy(tiny_policy, pool, range(5), settings)
    assert result.success_rate == 0 and (result.lengths == 6).all() and len(result.episodes) == 5


def test_success_is_read_where_the_environment_tells_it_and_inferred_where_not() -> None:
    from baselines.sampling.environments import is_success

    assert is_success({"success": True}, terminated=False, episode_return=0)
    assert not is_success({"success": False}, terminated=True, episode_return=1)
    assert is_success({}, terminated=True, episode_return=0.5)
    assert not is_success({}, terminated=True, episode_return=0.0)
    assert not is_success({}, terminated=False, episode_return=0.5)


def test_bootstrap_of_a_rate_is_close_to_the_normal_interval() -> None:
    successes = np.arange(200) < 60
    low, high = success_interval(successes)
    half = 1.96 * (0.3 * 0.7 / 200) ** 0.5
    assert low == pytest.approx(0.3 - half, abs=0.012) and high == pytest.approx(0.3 + half, abs=0.012)
    assert success_interval(successes) == (low, high)  # seeded


def test_all_equal_outcomes_have_the_exact_interval() -> None:
    low, high = success_interval(np.ones(100, dtype=bool))
    assert low == pytest.approx(0.025 ** (1 / 100)) and high == 1.0
    assert success_interval(np.zeros(100, dtype=bool)) == pytest.approx((0.0, 1 - low))
    assert success_interval(np.zeros(0, dtype=bool)) == (0.0, 1.0)


def test_constant_values_have_no_spread() -> None:
    assert mean_interval(np.full(7, 0.25)) == (0.25, 0.25)


@pytest.mark.parametrize("count", [1, 40, 300])
def test_agreement_is_no_certainty(count: int) -> None:
    unseen = 1 - 0.025 ** (1 / count)
    lost, won = outcome([False] * count), outcome([True] * count)
    assert success_interval(lost.successes) == pytest.approx((0, unseen))
    assert paired_difference_interval(lost, lost) == pytest.approx((-unseen, unseen))
    assert paired_difference_interval(won, lost) == pytest.approx((1 - 2 * unseen, 1))
    assert two_level_interval(np.zeros((3, count)), bounds=(0, 1)) == pytest.approx((0, unseen))
    assert two_level_interval(np.ones((3, count)), bounds=(-1, 1)) == pytest.approx((1 - 2 * unseen, 1))


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_interval_of_agreement_is_the_exact_one(rate: float) -> None:
    for count in range(1, 200, 7):
        exact = stats.binomtest(int(rate) * count, count).proportion_ci(0.9, method="exact")
        assert agreeing_interval(rate, count, (0, 1), 0.9) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_pairing_is_by_seed_and_narrows_the_interval() -> None:
    hard = np.arange(100) % 2 == 0
    first, second = outcome((hard | (np.arange(100) < 10)).tolist()), outcome(hard.tolist())
    low, high = paired_difference_interval(first, second)
    assert 0 < low < 0.05 < high < 0.11
    with pytest.raises(ValueError, match="expected two evaluations on the same seeds"):
        paired_difference_interval(first, outcome(hard.tolist(), first_seed=1))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--model", "tiny"), "expected the folder or hub name of a trained model, got tiny"),
        (("--model", "RUN"), "expected the folder of a model, got '.*', which is a run's: give '.*/run/model'"),
        (("--model", "FOLDER", "--device", "nonsense"), "expected a torch device that exists here, got 'nonsense'"),
        (("--model", "FOLDER", "--first-seed", "-1"), "expected first_seed >= 0, got -1"),
        (("--model", "FOLDER", "--seed", "-1"), "expected seed >= 0, got -1"),
        (("--model", "FOLDER", "--transcripts", "FOLDER"), "expected --transcripts to be a file, got the folder"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(
    options: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").touch()
    folders = {"FOLDER": str(tmp_path), "RUN": str(tmp_path / "run")}
    given = [folders.get(word, word) for word in options]
    monkeypatch.setattr("sys.argv", ["evaluate", "--env-id", TOY, *given])
    with pytest.raises(SystemExit, match=f"^error: {reason}"):
        evaluate.main()


def test_transcripts_go_into_a_folder_that_is_made(
    tiny_policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_policy.save(tmp_path / "model")
    words = ["--model", str(tmp_path / "model"), "--num-episodes", "2", "--max-new-tokens", "2", "--no-sampled"]
    for place in ("new/folder/play.txt", "model/config.json/play.txt"):
        argv = ["evaluate", "--env-id", TOY, *words, "--transcripts", str(tmp_path / place)]
        monkeypatch.setattr("sys.argv", argv)
        if place.startswith("new"):
            evaluate.main()
            assert (tmp_path / place).read_text().count("== out of steps") == 2
        else:
            with pytest.raises(SystemExit, match="error: expected --transcripts to be a file that can be written"):
                evaluate.main()
        assert "success rate 0.000" in capsys.readouterr().out
