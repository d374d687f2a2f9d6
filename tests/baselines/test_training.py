"""SFT and GRPO on the toy: they learn, they resume to the same curve, and bad options fail early in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TOY

from baselines import evaluate, grpo, sft
from baselines.errors import BaselinesError, ConfigError, TrainingError
from baselines.log import MetricsLog, Record, read_metrics
from baselines.policy import Policy
from baselines.run import TrainResult
from baselines.settings import OptimiserSettings, RolloutSettings, RunSettings

ROLLOUT = RolloutSettings(max_new_tokens=8, max_context_tokens=256)
TIMES = ("tokens_per_second", "seconds")


def sft_config(out: Path, **changes: Any) -> sft.Config:
    config = sft.Config(
        env_id=TOY,
        num_demos=24,
        num_epochs=8,
        batch_size=8,
        rollout=ROLLOUT,
        optimiser=OptimiserSettings(learning_rate=3e-3, warmup_steps=3),
        run=RunSettings(out=out, eval_episodes=64, num_threads=1, progress=False),
    )
    return replace(config, **changes)


def grpo_config(out: Path, model: Path | str, **changes: Any) -> grpo.Config:
    config = grpo.Config(
        env_id=TOY,
        model=str(model),
        num_iterations=20,
        rollout=ROLLOUT,
        optimiser=OptimiserSettings(learning_rate=1e-3),
        run=RunSettings(out=out, eval_episodes=64, num_threads=1, progress=False),
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A policy that has half understood the toy."""
    return sft.train(sft_config(tmp_path_factory.mktemp("sft")))


def curve(records: list[Record]) -> list[Record]:
    return [{key: value for key, value in record.items() if not key.endswith(TIMES)} for record in records]


def test_sft_learns_from_demonstrations(cloned: TrainResult) -> None:
    first, last = cloned.records[0], cloned.records[-1]
    assert last["train/loss"] < 0.2 * first["train/loss"] and last["train/accuracy"] > 0.8
    assert (cloned.model_folder.parent / "curves.png").stat().st_size > 1000


def test_grpo_improves_a_policy(cloned: TrainResult, tmp_path: Path) -> None:
    result = grpo.train(grpo_config(tmp_path, cloned.model_folder))
    before, after = cloned.evaluation, result.evaluation
    assert before is not None and after is not None
    assert after.success_rate > before.success_rate + 0.3
    assert after.returns.mean() > before.returns.mean() + 0.3
    assert max(record.get("train/clip_fraction", 0) for record in result.records) > 0  # the clip is alive
    assert max(record.get("train/approx_kl", 0) for record in result.records) > 0
    assert Policy.load(result.model_folder).model.num_parameters() == result.policy.model.num_parameters()


class Killed(BaseException):
    """What a test raises in the middle of a run; nothing in the run catches it."""


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
    run = RunSettings(checkpoint_every=2, eval_every=4, eval_episodes=8, num_threads=1, progress=False)
    config = sft_config(tmp_path, num_epochs=3)
    whole = sft.train(replace(config, run=replace(run, out=tmp_path / "whole")))
    parts = replace(config, run=replace(run, out=tmp_path / "parts"))
    resumed = train_with_a_kill(sft.train, parts, at_step=5, monkeypatch=monkeypatch)
    assert curve(whole.records) == curve(resumed.records) == curve(read_metrics(tmp_path / "parts/metrics.jsonl"))
    assert same_weights(whole, resumed)
    assert len(list((tmp_path / "parts/checkpoints").iterdir())) == 2  # the newest two, nothing half-written


@pytest.mark.parametrize("kl_coef", [0.0, 0.05])
def test_grpo_resumes_to_the_same_curve(
    cloned: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kl_coef: float
) -> None:
    run = RunSettings(checkpoint_every=2, eval_every=2, eval_episodes=8, num_threads=1, progress=False)
    config = grpo_config(
        tmp_path, cloned.model_folder, num_iterations=5, groups_per_batch=2, group_size=4, kl_coef=kl_coef
    )
    whole = grpo.train(replace(config, run=replace(run, out=tmp_path / "whole")))
    parts = replace(config, run=replace(run, out=tmp_path / "parts"))
    resumed = train_with_a_kill(grpo.train, parts, at_step=3, monkeypatch=monkeypatch)
    assert curve(whole.records) == curve(resumed.records)
    assert same_weights(whole, resumed)
    assert ("train/ref_kl" in whole.records[-1]) == (kl_coef > 0)


def test_a_run_is_not_overwritten_and_a_changed_one_not_resumed(cloned: TrainResult) -> None:
    out = cloned.model_folder.parent
    with pytest.raises(ConfigError, match="expected --out to be a new folder"):
        sft.train(sft_config(out))
    changed = sft_config(out, batch_size=4)
    with pytest.raises(ConfigError, match="expected the resumed run's own batch_size=8, got 4"):
        sft.train(replace(changed, run=replace(changed.run, resume=True)))


def test_gradients_do_not_depend_on_micro_batches(cloned: TrainResult, tmp_path: Path) -> None:
    results = []
    for name, tokens in (("one", 8192), ("many", 100)):
        optimiser = OptimiserSettings(learning_rate=1e-4, micro_batch_tokens=tokens)
        run = RunSettings(out=tmp_path / name, num_threads=1, progress=False)
        config = grpo_config(tmp_path, cloned.model_folder, num_iterations=1, optimiser=optimiser, run=run)
        results.append(grpo.train(config).records[0])
    assert results[0]["train/grad_norm"] == pytest.approx(results[1]["train/grad_norm"], rel=1e-4)
    assert results[0]["train/loss"] == pytest.approx(results[1]["train/loss"], abs=1e-5)


def test_sampling_that_differs_from_training_would_show(cloned: TrainResult, tmp_path: Path) -> None:
    """With one optimiser step an iteration the ratio is 1: KL and clip must vanish, also at another temperature."""
    rollout = replace(ROLLOUT, temperature=0.7)
    run = RunSettings(out=tmp_path, num_threads=1, progress=False)
    config = grpo_config(tmp_path, cloned.model_folder, num_iterations=2, num_minibatches=1, rollout=rollout, run=run)
    records = grpo.train(config).records
    assert all(abs(record["train/approx_kl"]) < 1e-7 and record["train/clip_fraction"] == 0 for record in records)


BAD = [
    ({"group_size": 1}, "expected group_size >= 2, got 1"),
    ({"env_id": "NoSuchGame-v0"}, "expected a registered environment id, got 'NoSuchGame-v0'"),
    ({"env_id": "no_such_package:Game-v0"}, "expected a registered environment id, got 'no_such_package:Game-v0'"),
    ({"env_kwargs": {"colour": "red"}}, "expected options that .* accepts, got {'colour': 'red'}"),
    ({"env_kwargs": {"split": "dev"}}, "expected split 'train' or 'test', got 'dev'"),
    ({"rollout": RolloutSettings(temperature=0.0)}, "expected temperature > 0 for training, got 0.0"),
    ({"rollout": RolloutSettings(top_p=0.9)}, "expected top_p=1 and top_k=0"),
    ({"rollout": RolloutSettings(max_context_tokens=9)}, "expected max_context_tokens >= 33, got 9"),
    ({"num_minibatches": 65}, r"expected num_minibatches <= group_size \* groups_per_batch = 64, got 65"),
    ({"clip_coef": 0.0}, "expected clip_coef > 0, got 0.0"),
    ({"kl_coef": -0.1}, "expected kl_coef >= 0.0, got -0.1"),
    ({"loss_aggregation": "mean"}, "expected loss_aggregation to be one of token, sequence, got 'mean'"),
    ({"optimiser": OptimiserSettings(learning_rate=float("nan"))}, "expected learning_rate > 0, got nan"),
    ({"run": RunSettings(device="cuda:99")}, "expected a torch device that exists here, got 'cuda:99'"),
    ({"run": RunSettings(dtype="int8")}, "expected dtype to be one of float32, bfloat16, got 'int8'"),
    ({"model": "/no/such/model"}, "expected a folder or hub name of a causal language model, or 'tiny', got '/no/su"),
]


@pytest.mark.parametrize(("changes", "reason"), BAD)
def test_bad_options_fail_before_the_model_loads(
    changes: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(grpo, "load_policy", never)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BaselinesError, match=reason):
        grpo.train(replace(grpo_config(tmp_path / "out", "tiny"), **changes))


def test_a_context_longer_than_the_model(tmp_path: Path) -> None:
    rollout = RolloutSettings(max_context_tokens=5000)
    with pytest.raises(ConfigError, match="expected max_context_tokens <= 4096"):
        grpo.train(grpo_config(tmp_path, "tiny", rollout=rollout))


def test_gradients_that_are_not_finite_stop_the_run_and_leave_the_weights(tiny_policy: Policy) -> None:
    from baselines.optimise import apply_gradients, make_optimiser

    optimiser = make_optimiser(tiny_policy, OptimiserSettings())
    before = {name: tensor.clone() for name, tensor in tiny_policy.model.state_dict().items()}
    for parameter in tiny_policy.model.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    with pytest.raises(TrainingError, match="expected finite gradients, got norm nan"):
        apply_gradients(tiny_policy, optimiser, 1.0, 1.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_policy.model.state_dict().items())
    optimiser.zero_grad()


def test_an_environment_without_a_solution(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected options that CartPole-v1 accepts, got {'expose_solution': True}"):
        sft.train(sft_config(tmp_path, env_id="CartPole-v1"))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    options = f"--env-id {TOY} --num-demos 4 --num-epochs 1 --max-context-tokens 256 --max-new-tokens 4".split()
    done = command("baselines.sft", *options, "--out", f"{tmp_path}/run", "--save", f"{tmp_path}/saved")
    assert done.returncode == 0, done.stderr
    assert "model saved in" in done.stdout and "sft: 100%" in done.stderr
    options = f"--env-id {TOY} --model {tmp_path}/saved --num-episodes 4 --max-context-tokens 256".split()
    transcripts = ["--transcripts", f"{tmp_path}/episodes.txt"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *options, *transcripts, "--env-kwargs", '{"split": "test"}'])
    evaluate.main()
    assert capsys.readouterr().out.startswith("success rate 0.000 [0.000, 0.602] over 4 episodes")
    assert (tmp_path / "episodes.txt").read_text().count("Bring the") >= 4


def test_an_error_is_one_line(tmp_path: Path) -> None:
    done = command("baselines.grpo", "--env-id", TOY, "--model", "/no/such/model", "--out", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: expected a folder or hub name") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (f"--env-id {TOY} --env-kwargs [1]", "expected a JSON object"),
        (f"--env-id {TOY} --env-kwargs not-json", "expected a JSON object"),
        (f"--env-id {TOY} --group-size 1", "expected group_size >= 2, got 1"),
        ("--env-id Unknown-v0", "expected a registered environment id, got 'Unknown-v0'"),
    ],
)
def test_main_ends_with_the_reason(options: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["grpo", *options.split(), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        grpo.main()
    assert str(stopped.value).startswith(f"error: {reason}") and "\n" not in str(stopped.value)
