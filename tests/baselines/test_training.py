"""Five trainers on the toy: they learn, they resume to the same curve, and bad options fail early in one line."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro

from baselines import evaluate, grpo, ppo, reinforce_pp, rft, rloo, sft
from baselines.config.settings import (
    OptimiserSettings,
    RolloutSettings,
    RunSettings,
    Schedule,
    TaskSettings,
    UpdateSettings,
)
from baselines.errors import BaselinesError, ConfigError, TrainingError
from baselines.models.policy import Policy
from baselines.rl.advantages import CREDITS
from baselines.rl.learner import Learner
from baselines.rl.losses import RATIO_LEVELS
from baselines.rl.update import update_policy
from baselines.runs import run
from baselines.runs.log import MetricsLog, Record, read_metrics
from baselines.runs.run import TrainResult
from baselines.runs.transcripts import read_transcripts
from tests.support.toy_text_env import TOY

ROLLOUT = RolloutSettings(max_new_tokens=8, max_context_tokens=256)
# `make test-kernels` sets these; a result that hangs on one of them is no result.
SEED = int(os.environ.get("TEXTAGENT_LEARNING_SEED", "1"))
NUM_THREADS = int(os.environ.get("TEXTAGENT_LEARNING_THREADS", "1"))
TIMES = ("tokens_per_second", "seconds")


def sft_config(out: Path, **changes: Any) -> sft.Config:
    config = sft.Config(
        env_id=TOY,
        num_demos=24,
        num_epochs=8,
        batch_size=8,
        rollout=ROLLOUT,
        optimiser=OptimiserSettings(learning_rate=3e-3, warmup_steps=3, schedule="cosine"),
        run=RunSettings(out=out, seed=SEED, eval_episodes=64, num_threads=NUM_THREADS, progress=False),
    )
    return replace(config, **changes)


ALGORITHMS: dict[str, Any] = {"grpo": grpo, "rloo": rloo, "ppo": ppo, "reinforce_pp": reinforce_pp}


def rl_config(name: str, out: Path, model: Path | str, **changes: Any) -> Any:
    """Return a configuration of one of the algorithms, of the same size for all: 64 episodes an iteration."""
    config = ALGORITHMS[name].Config(
        env_id=TOY,
        model=str(model),
        num_iterations=6,
        rollout=ROLLOUT,
        optimiser=OptimiserSettings(learning_rate=1e-3),
        run=RunSettings(out=out, seed=SEED, eval_episodes=64, num_threads=NUM_THREADS, progress=False),
    )
    return replace(config, **changes)


def small(name: str) -> dict[str, int]:
    """Return eight episodes an iteration."""
    return {"groups_per_batch": 2, "group_size": 4} if name in ("grpo", "rloo") else {"episodes_per_batch": 8}


@pytest.fixture(scope="module")
def cloned(make_tiny: Callable[[int], Policy], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Return a policy that has half understood the toy."""
    folder = tmp_path_factory.mktemp("sft")
    make_tiny(SEED).save(folder / "untrained")
    return sft.train(sft_config(folder / "run", model=str(folder / "untrained"), num_epochs=7))


@pytest.fixture(scope="module")
def shallow(make_tiny: Callable[[int], Policy], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Return a smaller policy with less training, for tests that need gradients and no skill."""
    folder = tmp_path_factory.mktemp("shallow")
    make_tiny(1).save(folder / "untrained")
    config = sft_config(folder / "run", model=str(folder / "untrained"), num_epochs=4)
    return sft.train(replace(config, run=replace(config.run, eval_episodes=0)))


def train_as_told(module: Any, options: list[str]) -> TrainResult:
    """Do in this process what the command line would."""
    result: TrainResult = module.train(tyro.cli(module.Config, args=options, config=(tyro.conf.OmitArgPrefixes,)))
    return result


def curve(records: list[Record]) -> list[Record]:
    return [{key: value for key, value in record.items() if not key.endswith(TIMES)} for record in records]


def test_sft_learns_from_demonstrations(cloned: TrainResult) -> None:
    first, last = cloned.records[0], cloned.records[-1]
    assert last["train/loss"] < 0.2 * first["train/loss"] and last["train/accuracy"] > 0.8
    assert (cloned.model_folder.parent / "curves.png").stat().st_size > 1000


def test_a_place_that_cannot_be_written_costs_no_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = RunSettings(out=tmp_path / "run", num_threads=NUM_THREADS, progress=False)
    config = sft_config(tmp_path, num_demos=2, num_epochs=1, save=tmp_path / "file" / "policy", run=run)
    with pytest.raises(TrainingError, match=r"expected to write into .*/file/policy \(--save\), got .*run/model"):
        sft.train(config)
    Policy.load(tmp_path / "run" / "model")


KL_IN_REWARD = UpdateSettings(kl_coef=0.01, kl_placement="reward")
LEARNERS = [
    ("grpo", {"credit": "turn"}),
    ("rloo", {"credit": "turn"}),
    ("ppo", {"credit": "turn"}),
    pytest.param("ppo", {"credit": "turn", "critic": "separate", "critic_learning_rate": 5e-4}, marks=pytest.mark.slow),
    ("reinforce_pp", {"credit": "turn"}),
]


@pytest.mark.parametrize(("name", "changes"), LEARNERS)
def test_each_algorithm_improves_a_policy(
    name: str, changes: dict[str, Any], cloned: TrainResult, tmp_path: Path
) -> None:
    """To nearly all of the return; `make test-kernels` holds it on every kernel, with two threads and three seeds."""
    update = UpdateSettings(update_epochs=2, num_minibatches=4)
    optimiser = OptimiserSettings(learning_rate=5e-4, warmup_steps=8)
    config = rl_config(name, tmp_path, cloned.model_folder, num_iterations=10, gamma=0.5, **changes)
    result = ALGORITHMS[name].train(replace(config, update=update, optimiser=optimiser))
    before, after = cloned.evaluation, result.evaluation
    assert before is not None and after is not None
    assert after.returns.mean() > max(0.9, before.returns.mean() + 0.25)
    assert max(record.get("train/clip_fraction", 0) for record in result.records) > 0  # the clip is alive
    assert max(record.get("train/approx_kl", 0) for record in result.records) > 0
    assert ("train/explained_variance" in result.records[-1]) == (name == "ppo")
    assert Policy.load(result.model_folder).model.num_parameters() == result.policy.model.num_parameters()


def rft_config(out: Path, model: Path, **changes: Any) -> rft.Config:
    config = rft.Config(
        env_id=TOY,
        model=str(model),
        num_iterations=10,
        rollout=ROLLOUT,
        update=UpdateSettings(update_epochs=2, num_minibatches=4),
        optimiser=OptimiserSettings(learning_rate=5e-4, warmup_steps=8),
        run=RunSettings(out=out, seed=SEED, eval_episodes=64, num_threads=NUM_THREADS, progress=False),
    )
    return replace(config, **changes)


def test_expert_iteration_improves_a_policy(cloned: TrainResult, tmp_path: Path) -> None:
    result = rft.train(rft_config(tmp_path, cloned.model_folder))
    before, after = cloned.evaluation, result.evaluation
    assert before is not None and after is not None
    assert after.returns.mean() > before.returns.mean() + 0.2
    assert 0 < result.records[0]["train/kept"] < result.records[-1]["train/kept"]


def test_expert_iteration_keeps_the_shortest_successes(cloned: TrainResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected kl_coef=0, which this algorithm does not use, got 0\.1"):
        rft.train(rft_config(tmp_path, cloned.model_folder, update=UpdateSettings(kl_coef=0.1)))
    config = rft_config(tmp_path, cloned.model_folder, num_iterations=1)
    with Learner("RFT", config) as learner:
        episodes = learner.collect(0, 32, 1).episodes
        solved = [row for row, episode in enumerate(episodes) if episode.success]
        assert rft.kept_rows(episodes, 1.0) == solved
        half = rft.kept_rows(episodes, 0.5)
        assert set(half) < set(solved)
        longest = max(len(episodes[row].turns) for row in half)
        assert all(len(episodes[row].turns) >= longest for row in set(solved) - set(half))
        none = learner.collect(0, 2, 1).batch.select([])
        assert update_policy(learner, none, 0, config, rft.imitation_loss) == {"train/optimiser_steps": 0}


EXTRA_CREDIT = {"grpo": ("step",), "rloo": ("step",), "ppo": ("bilevel",), "reinforce_pp": ()}
CREDITS_OF = [(name, credit) for name, extra in EXTRA_CREDIT.items() for credit in (*CREDITS, *extra)]


@pytest.mark.parametrize(("name", "credit"), CREDITS_OF)
def test_every_credit_with_every_ratio(name: str, credit: str, shallow: TrainResult, tmp_path: Path) -> None:
    losses = set()
    for ratio in RATIO_LEVELS:
        settings = RunSettings(out=tmp_path / ratio, num_threads=1, progress=False)
        update = replace(KL_IN_REWARD, ratio=ratio, num_minibatches=4)
        config = rl_config(name, tmp_path, shallow.model_folder, credit=credit, num_iterations=1, run=settings)
        (record,) = ALGORITHMS[name].train(replace(config, update=update, **small(name))).records
        assert record["train/grad_norm"] > 0
        assert ("train/step_partners" in record) == (credit == "step")
        losses.add(record["train/loss"])
    assert len(losses) == len(RATIO_LEVELS)  # the ratio has left 1, and the levels differ


@pytest.mark.parametrize("name", ALGORITHMS)
def test_episodes_that_are_left_out_do_not_matter(name: str, shallow: TrainResult, tmp_path: Path) -> None:
    """With every episode left out no step is taken; with the truncated ones left out, each that remains has ended."""
    settings = RunSettings(out=tmp_path / "some", num_threads=1, progress=False)
    update = UpdateSettings(mask_truncated=True, num_minibatches=4)
    config = rl_config(
        name, tmp_path, shallow.model_folder, num_iterations=1, run=settings, update=update, **small(name)
    )
    (record,) = ALGORITHMS[name].train(config).records
    assert 0 < record["train/left_out"] < 1 or record["train/success_rate"] in (0, 1)
    never = replace(config, env_kwargs={"max_steps": 2}, run=replace(settings, out=tmp_path / "none"))
    result = ALGORITHMS[name].train(never)
    assert result.records[0]["train/left_out"] == 1 and result.records[0]["train/optimiser_steps"] == 0
    assert same_weights(result, shallow)


def test_step_credit_by_hand(shallow: TrainResult, tmp_path: Path) -> None:
    """Of two groups of four: the trajectory's advantage, and the comparison within equal states and lists of commands."""
    config = rl_config("grpo", tmp_path, shallow.model_folder, credit="step", step_weight=0.5, **small("grpo"))
    with Learner("GRPO", config) as learner:
        collected = learner.collect(0, 2, 4)
    found = grpo.group_advantages(collected, config)
    plain = grpo.group_advantages(collected, replace(config, credit="trajectory"))
    for row, episode in enumerate(collected.episodes):
        group = collected.episodes[row // 4 * 4 : row // 4 * 4 + 4]
        for turn in range(len(episode.turns)):
            peers = [
                sum(config.gamma**k * reward for k, reward in enumerate(other.rewards[step:]))
                for other in group
                for step, met in enumerate(other.turns)
                if met.observation == episode.turns[turn].observation
            ]
            own = sum(config.gamma**k * reward for k, reward in enumerate(episode.rewards[turn:]))
            std = np.std(peers)
            expected = (own - np.mean(peers)) / std if std > 1e-6 else 0.0
            token = episode.turns[turn].action_start
            assert float(found[row, token] - plain[row, token]) == pytest.approx(0.5 * expected, abs=1e-4)


class Killed(BaseException):
    """Exception that a test raises in the middle of a run; nothing in the run catches it."""


def train_with_a_kill(train: Any, config: Any, at_step: int, monkeypatch: pytest.MonkeyPatch) -> TrainResult:
    write = MetricsLog.write

    def killing(self: MetricsLog, record: Record) -> None:
        write(self, record)
        if record["step"] == at_step:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(MetricsLog, "write", killing)
        train(config)
    result: TrainResult = train(replace(config, run=replace(config.run, resume=True)))
    return result


def same_weights(first: TrainResult, second: TrainResult) -> bool:
    one, two = first.policy.model.state_dict(), second.policy.model.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_sft_resumes_to_the_same_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RunSettings(checkpoint_every=2, eval_every=4, eval_episodes=8, num_threads=1, progress=False)
    config = sft_config(tmp_path, num_epochs=3)
    whole = sft.train(replace(config, run=replace(settings, out=tmp_path / "whole")))
    parts = replace(config, run=replace(settings, out=tmp_path / "parts"))
    resumed = train_with_a_kill(sft.train, parts, at_step=5, monkeypatch=monkeypatch)
    assert curve(whole.records) == curve(resumed.records) == curve(read_metrics(tmp_path / "parts/metrics.jsonl"))
    assert same_weights(whole, resumed)
    assert len(list((tmp_path / "parts/checkpoints").iterdir())) == 2  # the newest two, nothing half-written


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("grpo", {}),
        ("grpo", {"update": UpdateSettings(kl_coef=0.05)}),
        ("rloo", {"optimiser": OptimiserSettings(learning_rate=1e-3, lora_rank=4), "update": KL_IN_REWARD}),
        ("ppo", {"tasks": TaskSettings(also={TOY: 1.0}, curriculum="adaptive", band_low=0.0, band_high=0.01)}),
        ("ppo", {"critic": "separate"}),
        ("ppo", {"rollout": replace(ROLLOUT, context="window:1"), "credit": "bilevel"}),
        ("reinforce_pp", {}),
        ("grpo", {"min_group_spread": 0.2, "refill": 3}),
    ],
)
def test_a_run_resumes_to_the_same_curve(
    name: str, changes: dict[str, Any], shallow: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RunSettings(checkpoint_every=2, eval_every=2, eval_episodes=4, num_threads=1, progress=False)
    config = rl_config(name, tmp_path, shallow.model_folder, num_iterations=4, **small(name), **changes)
    train = ALGORITHMS[name].train
    whole = train(replace(config, run=replace(settings, out=tmp_path / "whole")))
    parts = replace(config, run=replace(settings, out=tmp_path / "parts"))
    resumed = train_with_a_kill(train, parts, at_step=3, monkeypatch=monkeypatch)
    assert curve(whole.records) == curve(resumed.records)
    assert same_weights(whole, resumed)
    if "refill" in changes:  # before and after the checkpoint
        assert all(any(row["train/groups_dropped"] for row in rows) for rows in (whole.records[:2], whole.records[2:]))


def test_a_run_is_made_longer_unless_its_schedule_knows_its_end(shallow: TrainResult, tmp_path: Path) -> None:
    def parts(length: int, schedule: Schedule) -> TrainResult:
        run = RunSettings(out=tmp_path / schedule, checkpoint_every=2, num_threads=1, progress=False, resume=True)
        optimiser = OptimiserSettings(learning_rate=1e-3, schedule=schedule)
        config = rl_config("rloo", tmp_path, shallow.model_folder, num_iterations=length, **small("rloo"), run=run)
        return rloo.train(replace(config, optimiser=optimiser))

    parts(2, "constant")
    longer = parts(4, "constant")
    (tmp_path / "constant").rename(tmp_path / "longer")
    whole = parts(4, "constant")
    assert curve(longer.records) == curve(whole.records)
    assert same_weights(longer, whole)
    parts(2, "linear")
    with pytest.raises(ConfigError, match="expected the resumed run's own num_iterations=2, got 4"):
        parts(4, "linear")


def test_sigkill_at_any_moment_resumes_bit_for_bit(shallow: TrainResult, tmp_path: Path) -> None:
    """Killed for real, twice, wherever the run happens to be; another process, with another seed of hashes, ends it."""
    options = f"--env-id {TOY} --model {shallow.model_folder} --num-iterations 4 --groups-per-batch 2 --group-size 4"
    options += " --max-new-tokens 8 --max-context-tokens 256 --checkpoint-every 1 --num-threads 1 --no-progress"
    arguments = [*options.split(), "--learning-rate", "1e-3", "--out"]
    whole, parts = ([*arguments, f"{tmp_path}/{name}"] for name in ("whole", "parts"))
    metrics = tmp_path / "parts/metrics.jsonl"
    train_as_told(rloo, whole)
    for lines in (1, 3):
        killed = multiprocessing.get_context("fork").Process(target=train_as_told, args=(rloo, [*parts, "--resume"]))
        killed.start()
        while killed.is_alive() and (not metrics.exists() or metrics.read_text().count("\n") < lines):
            time.sleep(0.005)
        killed.kill()
        killed.join()
    done = command("baselines.rloo", *parts, "--resume")
    assert done.returncode == 0, done.stderr
    assert curve(read_metrics(tmp_path / "whole/metrics.jsonl")) == curve(read_metrics(metrics))
    one, two = (Policy.load(tmp_path / name / "model").model.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_full_disk_ends_in_one_sentence_and_keeps_the_last_checkpoint(
    shallow: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Policy.save

    def full(self: Policy, folder: Path) -> None:
        if list((tmp_path / "out/checkpoints").glob("step-*")):
            raise OSError(28, "No space left on device")
        save(self, folder)

    monkeypatch.setattr(Policy, "save", full)
    run = RunSettings(out=tmp_path / "out", checkpoint_every=1, num_threads=1, progress=False)
    config = rl_config("rloo", tmp_path, shallow.model_folder, num_iterations=3, run=run, **small("rloo"))
    with pytest.raises(TrainingError, match=r"No space left on device; the last good checkpoint is .*step-00000001"):
        rloo.train(config)
    assert [path.name for path in (tmp_path / "out/checkpoints").iterdir()] == ["step-00000001"]


def test_environments_that_raise_end_the_run_at_the_limit(shallow: TrainResult, tmp_path: Path) -> None:
    changes = {"env_kwargs": {"fail_at": 2}, "rollout": replace(ROLLOUT, max_broken_envs=3)}
    config = rl_config("grpo", tmp_path, shallow.model_folder, **changes, **small("grpo"))
    with pytest.raises(TrainingError, match="the toy was made to fail"):
        grpo.train(config)


def test_transcripts_and_tensorboard(shallow: TrainResult, tmp_path: Path) -> None:
    run = RunSettings(out=tmp_path, log_episodes=2, tensorboard=True, num_threads=1, progress=False)
    config = rl_config("ppo", tmp_path, shallow.model_folder, num_iterations=3, run=run, **small("ppo"))
    ppo.train(config)
    assert [path.name for path in sorted((tmp_path / "episodes").iterdir())] == [
        "step-00000002.html",
        "step-00000002.jsonl",
    ]
    transcripts = read_transcripts(tmp_path / "episodes/step-00000002.jsonl")
    assert len(transcripts) == 8
    assert any(token[1] for transcript in transcripts for turn in transcript["turns"] for token in turn["tokens"])
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_a_mixture_of_environments(shallow: TrainResult, tmp_path: Path) -> None:
    config = rl_config(
        "rloo", tmp_path, shallow.model_folder, num_iterations=2, tasks=TaskSettings(also={TOY: 1.0}), **small("rloo")
    )
    config = replace(config, run=replace(config.run, eval_episodes=0))
    assert all(0 <= record["train/stage"] <= 1 for record in rloo.train(config).records)


def test_a_run_is_not_overwritten_and_a_changed_one_not_resumed(shallow: TrainResult) -> None:
    out = shallow.model_folder.parent
    with pytest.raises(ConfigError, match="expected --out to be a new folder"):
        sft.train(sft_config(out))
    changed = sft_config(out, batch_size=4)
    with pytest.raises(ConfigError, match="expected the resumed run's own batch_size=8, got 4"):
        sft.train(replace(changed, run=replace(changed.run, resume=True)))


def test_sampling_that_differs_from_training_would_show(shallow: TrainResult, tmp_path: Path) -> None:
    """With one optimiser step an iteration the ratio is 1: KL and clip must vanish, also at another temperature."""
    rollout = replace(ROLLOUT, temperature=0.7)
    run = RunSettings(out=tmp_path, num_threads=1, progress=False)
    update = UpdateSettings(num_minibatches=1)
    config = rl_config(
        "grpo", tmp_path, shallow.model_folder, num_iterations=2, update=update, rollout=rollout, run=run
    )
    records = grpo.train(config).records
    assert all(abs(record["train/approx_kl"]) < 1e-7 and record["train/clip_fraction"] == 0 for record in records)


def test_passes_end_early_by_kl(shallow: TrainResult, tmp_path: Path) -> None:
    update = UpdateSettings(update_epochs=4, num_minibatches=2, target_kl=1e-6)
    config = rl_config("rloo", tmp_path, shallow.model_folder, num_iterations=1, update=update, **small("rloo"))
    (record,) = rloo.train(replace(config, run=replace(config.run, eval_episodes=0))).records
    assert 1 <= record["train/optimiser_steps"] < 8


def test_conversations_from_a_file(tmp_path: Path) -> None:
    said = [
        {"role": "system", "content": "You run errands."},
        {"role": "user", "content": "Bring the lamp."},
        {"role": "assistant", "content": "bring the lamp"},
    ]
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"messages": said}) + "\n\n")
    config = sft_config(tmp_path / "out", data=data, num_epochs=2)
    result = sft.train(config)
    assert result.records[-1]["train/loss"] < result.records[0]["train/loss"]
    for line, reason in (
        ("{", "expected a conversation in line 1"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "a message of the assistant that answers nothing"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "no message of the assistant"),
        ('{"text": "x"}', "expected a conversation in line 1"),
        ("", "expected conversations in .*, got none"),
    ):
        data.write_text(line)
        with pytest.raises(ConfigError, match=reason):
            sft.train(replace(config, run=replace(config.run, out=tmp_path / "other")))


TOKEN_CREDIT = "expected kl_coef > 0 and kl_placement=reward"
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("grpo", {"group_size": 1}, "expected group_size >= 2, got 1"),
    ("rloo", {"group_size": 1}, "expected group_size >= 2, got 1"),
    ("grpo", {"env_id": "NoSuchGame-v0"}, "expected a registered environment id, got 'NoSuchGame-v0'"),
    (
        "ppo",
        {"env_id": "no_such_package:Game-v0"},
        "expected a registered environment id, got 'no_such_package:Game-v0'",
    ),
    ("grpo", {"run": RunSettings(out=Path("~/runs"))}, "expected --out with the home folder written out, got ~/runs"),
    ("grpo", {"env_kwargs": {"colour": "red"}}, "expected options that .* accepts, got {'colour': 'red'}"),
    ("grpo", {"env_kwargs": {"split": "dev"}}, "expected split 'train' or 'test', got 'dev'"),
    ("grpo", {"rollout": RolloutSettings(temperature=0.0)}, "expected temperature > 0 for training, got 0.0"),
    ("ppo", {"rollout": RolloutSettings(top_p=0.9)}, "expected top_p=1 and top_k=0"),
    (
        "grpo",
        {"rollout": RolloutSettings(context="window:0")},
        "expected context to be full, turn or window:K with K >= 1",
    ),
    ("grpo", {"rollout": RolloutSettings(max_context_tokens=9)}, "expected max_context_tokens >= 33, got 9"),
    ("grpo", {"update": UpdateSettings(num_minibatches=7)}, "expected num_minibatches to divide the 64 episodes"),
    ("ppo", {"update": UpdateSettings(clip_coef=0.0)}, "expected clip_coef > 0, got 0.0"),
    ("ppo", {"update": UpdateSettings(clip_coef_high=0.1)}, "expected clip_coef_high >= 0.2, got 0.1"),
    ("grpo", {"update": UpdateSettings(kl_coef=-0.1)}, "expected kl_coef >= 0.0, got -0.1"),
    ("grpo", {"update": UpdateSettings(kl_placement="both")}, "expected kl_placement to be one of reward, loss"),  # type: ignore[arg-type]
    ("grpo", {"update": UpdateSettings(loss_aggregation="mean")}, "expected loss_aggregation to be one of"),  # type: ignore[arg-type]
    ("rloo", {"update": UpdateSettings(target_kl=0.0)}, "expected target_kl > 0, got 0.0"),
    ("grpo", {"credit": "token"}, TOKEN_CREDIT),
    ("rloo", {"credit": "token", "update": UpdateSettings(kl_coef=0.1)}, TOKEN_CREDIT),
    ("reinforce_pp", {"credit": "token", "gamma": 1.0}, TOKEN_CREDIT),
    ("ppo", {"credit": "word"}, "expected credit to be one of token, turn, trajectory, bilevel, got 'word'"),
    ("ppo", {"credit": "step"}, "got 'step', which compares the members of a group: use GRPO or RLOO"),
    ("reinforce_pp", {"credit": "bilevel"}, "got 'bilevel', which needs a critic: use PPO"),
    ("grpo", {"keep_top_groups": 0.0}, "expected keep_top_groups > 0, got 0.0"),
    ("rloo", {"min_group_spread": -1.0}, "expected min_group_spread >= 0.0, got -1.0"),
    ("rloo", {"refill": 0}, "expected refill >= 1, got 0"),
    ("grpo", {"refill": 2}, "expected min_group_spread > 0 with refill=2, which replaces the groups below it, got 0"),
    (
        "rloo",
        {"refill": 2, "min_group_spread": 0.1, "keep_top_groups": 0.5},
        "expected keep_top_groups=1 with refill=2, whose full batch it would cut again, got 0.5",
    ),
    ("grpo", {"step_weight": -1.0}, "expected step_weight >= 0.0, got -1.0"),
    ("grpo", {"scale_by_mean": True}, "expected scale_by_std=False with scale_by_mean"),
    ("grpo", {"update": UpdateSettings(ratio="word")}, "expected ratio to be one of token, turn, sequence, got 'word'"),  # type: ignore[arg-type]
    ("ppo", {"update": UpdateSettings(loss_length=0)}, "expected loss_length >= 1, got 0"),
    ("ppo", {"gamma": 1.5}, "expected gamma in \\[0, 1\\], got 1.5"),
    ("reinforce_pp", {"gamma": -0.1}, "expected gamma in \\[0, 1\\], got -0.1"),
    ("ppo", {"gae_lambda": 2.0}, "expected gae_lambda in \\[0, 1\\], got 2.0"),
    ("ppo", {"critic": "none"}, "expected critic to be one of head, separate, got 'none'"),
    ("grpo", {"tasks": TaskSettings(curriculum="fixed")}, "expected also to name the later stages"),
    ("grpo", {"optimiser": OptimiserSettings(learning_rate=float("nan"))}, "expected learning_rate > 0, got nan"),
    ("grpo", {"run": RunSettings(device="cuda:99")}, "expected a torch device that exists here, got 'cuda:99'"),
    ("grpo", {"run": RunSettings(dtype="int8")}, "expected dtype to be one of float32, bfloat16, got 'int8'"),
    ("rloo", {"model": "/no/such/model"}, "expected a folder or hub name of a causal language model, or 'tiny'"),
]


@pytest.mark.parametrize(("name", "changes", "reason"), BAD)
def test_bad_options_fail_before_the_model_loads(
    name: str, changes: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(run, "load_policy", never)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BaselinesError, match=reason):
        ALGORITHMS[name].train(replace(rl_config(name, tmp_path / "out", "tiny"), **changes))


def test_a_context_longer_than_the_model(tmp_path: Path) -> None:
    rollout = RolloutSettings(max_context_tokens=5000)
    with pytest.raises(ConfigError, match="expected max_context_tokens <= 4096"):
        grpo.train(rl_config("grpo", tmp_path, "tiny", rollout=rollout))


def test_gradients_that_are_not_finite_stop_the_run_and_leave_the_weights(tiny_policy: Policy) -> None:
    from baselines.rl.optimizer import apply_gradients, make_optimiser

    optimiser = make_optimiser(tiny_policy, OptimiserSettings())
    before = {name: tensor.clone() for name, tensor in tiny_policy.model.state_dict().items()}
    for parameter in tiny_policy.model.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    with pytest.raises(TrainingError, match="expected finite gradients, got norm nan"):
        apply_gradients(optimiser, 1.0, 1.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_policy.model.state_dict().items())
    optimiser.zero_grad()


def test_an_environment_without_a_solution(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected options that CartPole-v1 accepts, got {'expose_solution': True}"):
        sft.train(sft_config(tmp_path, env_id="CartPole-v1"))


def surroundings() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        env=surroundings(),
        timeout=240,
        check=False,
    )


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    options = f"--env-id {TOY} --num-demos 4 --num-epochs 1 --max-context-tokens 256 --max-new-tokens 4".split()
    done = command("baselines.sft", *options, "--out", f"{tmp_path}/run", "--save", f"{tmp_path}/saved")
    assert done.returncode == 0, done.stderr
    assert "model saved in" in done.stdout and "SFT: 100%" in done.stderr
    options = f"--env-id {TOY} --model {tmp_path}/saved --num-episodes 4 --max-context-tokens 256".split()
    transcripts = ["--transcripts", f"{tmp_path}/episodes.txt"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *options, *transcripts, "--env-kwargs", '{"split": "test"}'])
    evaluate.main()
    assert capsys.readouterr().out.startswith("greedy\nsuccess rate 0.000 [0.000, 0.602] over 4 episodes")
    assert (tmp_path / "episodes.txt").read_text().count("Bring the") >= 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (f"--env-id {TOY} --env-kwargs [1]", "expected a JSON object"),
        (f"--env-id {TOY} --env-kwargs not-json", "expected a JSON object"),
        (f"--env-id {TOY} --group-size 1", "expected group_size >= 2, got 1"),
        (f"--env-id {TOY} --model /no/such/model", "expected a folder or hub name"),
        ("--env-id Unknown-v0", "expected a registered environment id, got 'Unknown-v0'"),
    ],
)
def test_main_ends_with_the_reason(options: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["grpo", *options.split(), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        grpo.main()
    assert str(stopped.value).startswith(f"error: {reason}") and "\n" not in str(stopped.value)
