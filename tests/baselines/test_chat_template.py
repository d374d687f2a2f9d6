"""Chat templates from a file: read, refused, trained with, saved and evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro

from baselines import evaluate, grpo, ppo, recipe, reinforce_pp, rft, rloo, sft
from baselines.config.settings import RolloutSettings, RunSettings, read_chat_template
from baselines.errors import ChatTemplateError, ConfigError
from baselines.models import policy as policies
from baselines.models.policy import Policy
from tests.support.toy_text_env import TOY

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{% generation %}<|action|>{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}<|observation|>You see: {{ message['content'] }}\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|action|>{% endif %}"
)
REWRITES = TEMPLATE.replace("{{ message['content'] }}<", "{{ message['content'] if loop.last else '' }}<")
ROLLOUT = RolloutSettings(max_new_tokens=4, max_context_tokens=128, chat_template=TEMPLATE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "template.jinja"
    path.write_text(TEMPLATE)
    return path


def config_of(out: Path, **changes: Any) -> sft.Config:
    config = sft.Config(
        env_id=TOY,
        num_demos=8,
        num_epochs=2,
        batch_size=4,
        rollout=ROLLOUT,
        run=RunSettings(out=out, checkpoint_every=1, num_threads=1, progress=False),
    )
    return replace(config, **changes)


@pytest.mark.parametrize("module", [sft, grpo, rloo, ppo, reinforce_pp, rft, recipe, evaluate])
def test_every_command_takes_a_file(module: Any, file: Path) -> None:
    args = ["--env-id", TOY, "--model", "tiny", "--chat-template", str(file)]
    config = tyro.cli(module.Config, args=args, config=(tyro.conf.OmitArgPrefixes,))
    assert config.rollout.chat_template == TEMPLATE
    plain = tyro.cli(module.Config, args=args[:4], config=(tyro.conf.OmitArgPrefixes,))
    assert plain.rollout.chat_template is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "expected --chat-template to be a file that can be read, got .*: .*No such file"),
        (b"\xff\xfe", "expected --chat-template to be a file that can be read, got .*: .*utf-8"),
        (
            b"{% for m in messages %}\n{{ m",
            r"expected --chat-template to be a Jinja template, got .*, line 2: unexpected",
        ),
        (b"{% if %}", r"expected --chat-template to be a Jinja template, got .*, line 1: "),
    ],
)
def test_files_that_are_refused(
    content: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "template.jinja"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        read_chat_template(path)
    out = tmp_path / "run"
    monkeypatch.setattr("sys.argv", ["grpo", "--env-id", TOY, "--chat-template", str(path), "--out", str(out)])
    with pytest.raises(SystemExit, match=f"^error: {reason}"):
        grpo.main()
    assert not out.exists()


def test_a_folder_is_no_template(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected --chat-template to be a file that can be read"):
        read_chat_template(tmp_path)


def test_a_saved_policy_keeps_its_template(tmp_path: Path) -> None:
    result = sft.train(config_of(tmp_path / "run"))
    loaded = Policy.load(result.model_folder)
    assert loaded.tokenizer.chat_template == TEMPLATE
    for policy in (result.policy, loaded, Policy.load(tmp_path / "run" / "checkpoints" / "step-00000004")):
        text = policy.tokenizer.decode(policy.chat.first_turn("a room"))
        assert "You see: a room" in text
    config = evaluate.Config(
        env_id=TOY, model=str(result.model_folder), num_episodes=8, rollout=replace(ROLLOUT, chat_template=None)
    )
    plain, given = evaluate.evaluate(config), evaluate.evaluate(replace(config, rollout=ROLLOUT))
    assert np.array_equal(plain.returns, given.returns)
    assert [episode.token_ids.tolist() for episode in plain.episodes] == [
        episode.token_ids.tolist() for episode in given.episodes
    ]


def test_a_model_is_trained_with_another_template(make_tiny: Callable[[int], Policy], tmp_path: Path) -> None:
    make_tiny(1).save(tmp_path / "model")
    config = grpo.Config(
        env_id=TOY,
        model=str(tmp_path / "model"),
        num_iterations=1,
        rollout=ROLLOUT,
        update=replace(grpo.Config(TOY).update, num_minibatches=1, kl_coef=0.1),
        run=RunSettings(out=tmp_path / "run", checkpoint_every=1, num_threads=1, progress=False),
        group_size=2,
        groups_per_batch=2,
    )
    result = grpo.train(config)
    assert result.policy.tokenizer.chat_template == TEMPLATE
    assert result.records[0]["train/approx_kl"] == pytest.approx(0, abs=1e-5)  # rollout and update read the same
    # The reference of a resumed run is the model with the template of the run.
    longer = replace(config, num_iterations=2, run=replace(config.run, resume=True))
    again = grpo.train(longer)
    assert len(again.records) == 2 and Policy.load(again.model_folder).tokenizer.chat_template == TEMPLATE
    with pytest.raises(ConfigError, match="expected the resumed run's own chat_template="):
        grpo.train(replace(longer, rollout=replace(ROLLOUT, chat_template=None)))


def test_a_template_that_cannot_be_extended_is_refused_before_the_weights_are_read(
    make_tiny: Callable[[int], Policy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("weights were read")

    make_tiny(1).save(tmp_path)
    monkeypatch.setattr(policies.AutoModelForCausalLM, "from_pretrained", never)
    with pytest.raises(ChatTemplateError, match="expected a chat template that writes an action right"):
        Policy.load(tmp_path, chat_template=REWRITES)


def test_an_endpoint_has_its_own_template() -> None:
    config = evaluate.Config(env_id=TOY, endpoint_model="m", rollout=ROLLOUT)
    with pytest.raises(ConfigError, match="expected no chat_template with endpoint_model"):
        config.check()
