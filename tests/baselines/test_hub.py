"""Policies pushed to a stand-in of the hub, with a card made from the run; a push that fails loses nothing."""

from __future__ import annotations

import json
import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tyro
from huggingface_hub import ModelCard

from baselines import grpo, ppo, pretrain, recipe, reinforce_pp, rft, rloo, sft
from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings, TaskSettings
from baselines.errors import ConfigError
from baselines.models.policy import Policy
from baselines.runs.hub import command_line, evaluation_line, make_card
from tests.support.hub import Hub, local_hub
from tests.support.toy_text_env import TOY

FLAT = (tyro.conf.OmitArgPrefixes,)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with local_hub(monkeypatch) as hub:
        yield hub


def config_of(out: Path, **run: Any) -> sft.Config:
    return sft.Config(
        env_id=TOY,
        num_demos=2,
        num_epochs=1,
        batch_size=2,
        rollout=RolloutSettings(max_new_tokens=2, max_context_tokens=128),
        run=RunSettings(out=out, eval_episodes=2, num_threads=1, progress=False, **run),
    )


def test_a_policy_is_pushed_with_its_card(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--env-id", TOY, "--num-demos", "2", "--num-epochs", "1", "--eval-episodes", "2", "--no-progress"]
    args += ["--max-new-tokens", "2", "--num-threads", "1", "--out", str(tmp_path / "run"), "--push-to-hub", "me/toy"]
    monkeypatch.setattr("sys.argv", ["sft", *args])
    sft.main()
    folder = tmp_path / "run" / "model"
    assert f"model saved in {folder}\nmodel pushed to {hub.url}/me/toy\n" in capsys.readouterr().out
    assert hub.models["me/toy"] == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "config.json", "README.md"} <= hub.models["me/toy"].keys()
    assert hub.repos["model", "me/toy"].private
    assert {token for method, _, token in hub.seen if method == "POST"} == {"Bearer hf_secret"}
    assert "hf_secret" not in hub.models["me/toy"]["README.md"].decode()
    (tmp_path / "again").mkdir()
    for name, content in hub.models["me/toy"].items():
        (tmp_path / "again" / name).write_bytes(content)
    Policy.load(tmp_path / "again")  # what was pushed is a policy
    # A finished run is pushed again, or elsewhere, by --resume.
    monkeypatch.setattr("sys.argv", ["sft", *args[:-1], "me/other", "--resume"])
    sft.main()
    assert hub.models["me/other"].keys() == hub.models["me/toy"].keys()


def test_the_card_by_hand() -> None:
    records = [
        {"step": 5, "eval/success_rate": 0.1, "eval/ci_low": 0.0, "eval/ci_high": 0.2},
        {"step": 10, "eval/success_rate": 0.75, "eval/ci_low": 0.6, "eval/ci_high": 0.875}
        | {"eval/sampled_success_rate": 0.5, "eval/sampled_ci_low": 0.4, "eval/sampled_ci_high": 0.6}
        | {"eval/success_rate/Other-v0": 0.25},
        {"step": 12},
    ]
    config = grpo.Config(
        env_id="package:Id-v0",
        model="Some/Model-1B",
        tasks=TaskSettings(also={"Other-v0@x": 1.0}),
        run=RunSettings(seed=7, eval_episodes=40, eval_env_kwargs={"split": "test"}),
    )
    text = make_card(config, ["package:Id-v0", "Other-v0", "Other-v0"], records, "GRPO", "me/policy")
    card = ModelCard(text, ignore_metadata_errors=False)
    assert card.data.base_model == "Some/Model-1B" and card.data.library_name == "transformers"
    assert card.data.tags == ["reinforcement-learning", "textagent-gym", "grpo"]
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == (
        "success_rate",
        0.75,
        "package:Id-v0, Other-v0",
    )
    for line in (
        "# policy",
        "| base model | `Some/Model-1B` |",
        "| environments | `package:Id-v0`, `Other-v0` |",
        "| algorithm | GRPO (`baselines.grpo`) |",
        "| steps | 12 |",
        "| seed | 7 |",
        "After step 10: 40 seeds, of each environment.",
        "| greedy | 0.750 | [0.600, 0.875] |",
        "| sampled at temperature 1 | 0.500 | [0.400, 0.600] |",
        "| greedy, `Other-v0` | 0.250 | |",
        command_line(config),
        evaluation_line(config, "me/policy"),
    ):
        assert f"\n{line}\n" in text
    settings = text.partition("```json\n")[2].partition("\n```")[0]
    assert json.loads(settings)["run"]["seed"] == 7
    none = make_card(replace(config, model="tiny"), ["package:Id-v0"], records[-1:], "GRPO", "policy")
    old = make_card(config, ["package:Id-v0"], records[:1], "GRPO", "policy")  # of a run without sampled play
    assert "| greedy | 0.100 | [0.000, 0.200] |" in old and "sampled at" not in old
    assert "The run had no held-out evaluation." in none and "base_model" not in none and "model-index" not in none


CONFIGS = [
    grpo.Config(
        env_id=TOY,
        env_kwargs={"split": "train", "text": "it's"},
        model="my folder/model",
        tasks=TaskSettings(also={"B-v0": 0.5}),
        rollout=RolloutSettings(context="window:2", decode="listed"),
        optimiser=OptimiserSettings(learning_rate=1e-5, lora_rank=8),
        run=RunSettings(out=Path("runs/x"), seed=3, progress=False, eval_tasks="all", tf32=False),
        scale_by_std=False,
        group_size=8,
    ),
    rloo.Config(env_id=TOY, credit="step"),
    ppo.Config(env_id=TOY, critic="separate", value_clip=0.2, whiten_advantages=False),
    reinforce_pp.Config(env_id=TOY),
    rft.Config(env_id=TOY, keep_shortest=0.5),
    sft.Config(env_id=TOY, num_demos=7, data=Path("a b.jsonl"), run=RunSettings(eval_env_kwargs={"split": "test"})),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__module__)
def test_the_command_of_a_card_makes_the_same_configuration(config: Any) -> None:
    words = shlex.split(command_line(config))
    assert words[:3] == ["python", "-m", type(config).__module__]
    assert tyro.cli(type(config), args=words[3:], config=FLAT) == config


def test_what_a_command_line_cannot_hold_is_named_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [{"env_id": "A-v0", "until": 3}, {}]
    template = "{{ messages }}"
    config = grpo.Config(
        env_id=TOY, tasks=TaskSettings(curriculum=stages), rollout=RolloutSettings(chat_template=template)
    )
    (tmp_path / "curriculum.json").write_text(json.dumps(stages))
    (tmp_path / "chat_template.jinja").write_text(template)
    monkeypatch.chdir(tmp_path)
    assert tyro.cli(grpo.Config, args=shlex.split(command_line(config))[3:], config=FLAT) == config


def test_the_command_that_evaluates_a_card_by_hand() -> None:
    config = replace(CONFIGS[0], run=RunSettings(eval_episodes=9, eval_env_kwargs={"split": "test"}), env_kwargs={})
    assert evaluation_line(config, "me/x") == (
        f'python -m baselines.evaluate --env-id {TOY} --model me/x --env-kwargs \'{{"split": "test"}}\' --num-episodes 9 '
        "--first-seed 1000000 --context window:2 --decode listed"
    )


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/api/repos/create", 403, "403 Forbidden: no rights"),
        ("/api/models/me/toy/commit/main", 403, "403 Forbidden: no rights"),
    ],
)
def test_a_push_that_fails_loses_nothing_and_says_how_to_push_again(
    path: str, status: int, reason: str, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refused[path] = (status, {"error": "no rights"})
    result = sft.train(config_of(tmp_path / "run", push_to_hub="me/toy"))
    assert result.pushed_to == "" and len(result.records) == 1
    Policy.load(result.model_folder)
    (line,) = (line for line in capsys.readouterr().err.split("\n") if line.startswith("warning: the policy was not"))
    assert "403" in line and "hf_secret" not in line
    assert line.endswith(
        f"it is in {result.model_folder}, push it again with: hf upload me/toy {result.model_folder} . --private"
    )
    assert "# toy" in (result.model_folder / "README.md").read_text()  # goes along the next time


def test_a_hub_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with local_hub(monkeypatch):
        pass
    result = sft.train(config_of(tmp_path / "run", push_to_hub="me/toy"))
    assert (result.model_folder / "model.safetensors").is_file()
    assert "push it again with: hf upload me/toy" in capsys.readouterr().err


def test_pushes_that_cannot_succeed_are_refused_before_a_folder_is_made(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="expected push_to_hub to be USER/NAME, got 'a/b/c'"):
        sft.train(config_of(tmp_path / "run", push_to_hub="a/b/c"))
    monkeypatch.setattr("baselines.runs.hub.get_token", lambda: None)
    with pytest.raises(ConfigError, match="expected a token of the hub for push_to_hub"):
        sft.train(config_of(tmp_path / "run", push_to_hub="me/toy"))
    assert not (tmp_path / "run").exists() and not hub.seen
    for config in (recipe.Config(TOY, run=RunSettings(eval_episodes=1, push_to_hub="me/x")),
                   pretrain.Config(run=RunSettings(eval_every=1, push_to_hub="me/x"))):  # fmt: skip
        with pytest.raises(ConfigError, match="expected no push_to_hub for this command"):
            config.check()


@pytest.mark.filterwarnings("ignore:'baselines.sft' found in sys.modules")
def test_the_command_that_is_printed_pushes_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refused["/api/repos/create"] = (500, {"error": "down"})
    config = config_of(tmp_path / "run", push_to_hub="me/toy")
    monkeypatch.setattr("sys.argv", shlex.split(command_line(config))[2:])
    runpy.run_module("baselines.sft", run_name="__main__", alter_sys=True)
    command = capsys.readouterr().err.partition("push it again with: ")[2].partition("\n")[0]
    hub.refused.clear()
    environment = {**os.environ, "HF_ENDPOINT": hub.url}
    tool, *words = shlex.split(command)
    done = subprocess.run(
        [Path(sys.executable).with_name(tool), *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run" / "model"
    assert hub.models["me/toy"] == {path.name: path.read_bytes() for path in folder.iterdir()}
    # `__main__` is named as it was called.
    assert f"\n{command_line(config)}\n" in hub.models["me/toy"]["README.md"].decode()
