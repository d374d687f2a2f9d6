"""Pretraining: who plays what, what is learned from, the checkpoint of lowest validation loss, and resuming."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines import pretrain
from baselines.config.settings import OptimiserSettings, RunSettings
from baselines.errors import ConfigError
from baselines.models.policy import Policy
from baselines.pretrain import best_command, make_player
from baselines.rl.batch import collate
from baselines.rl.logprobs import score_actions
from baselines.rl.optimizer import make_optimiser
from baselines.rl.supervised import supervised_step
from baselines.runs.distributed import Ranks
from baselines.runs.log import MetricsLog, Record
from baselines.sampling.demonstrations import Demonstration, encode_demonstration
from tests.support.toy_text_env import TOY, ToyErrands

COMMANDS = ("go east", "go west", "look", "take lamp")


@pytest.fixture(autouse=True)
def plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the toy an expert of the kind that environments of this suite have."""

    def plan(self: ToyErrands) -> tuple[str, ...]:
        return tuple(f"bring the {name}" for name in self._orders[self._done :])

    monkeypatch.setattr(ToyErrands, "plan", plan, raising=False)


@pytest.fixture
def worlds(tmp_path: Path) -> Path:
    path = tmp_path / "worlds.json"
    path.write_text(json.dumps([{"env_id": TOY, "env_kwargs": {"max_steps": [3, 6]}}]))
    return path


def config(worlds: Path, **changes: Any) -> pretrain.Config:
    base = pretrain.Config(
        worlds=worlds,
        num_episodes=60,
        num_epochs=2,
        batch_size=4,
        validation_share=0.1,
        play_workers=1,
        vocab_size=320,
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        intermediate_size=64,
        optimiser=OptimiserSettings(learning_rate=3e-3, adam_beta2=0.98),
        run=RunSettings(out=worlds.parent / "out", eval_every=5, num_threads=1, progress=False),
    )
    return replace(base, **changes)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Play in processes that need not import everything again, and have the toy's expert."""
    monkeypatch.setattr(pretrain, "get_context", lambda _: multiprocessing.get_context("fork"))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Play in this process, where the toy has its expert."""

    class Pool:
        def __init__(self, *_: Any, **__: Any) -> None: ...
        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None: ...

        map = staticmethod(map)

    monkeypatch.setattr(pretrain, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(pretrain, "EPISODES_PER_PART", 25)


def test_players_keep_their_characters() -> None:
    def counts(kind: str, noise: float = 0.0, episodes: int = 200) -> Counter[str]:
        rngs = (np.random.default_rng(seed) for seed in range(episodes))
        return Counter(make_player(kind, noise, rng)(COMMANDS, "take lamp") for rng in rngs)

    assert counts("expert") == {"take lamp": 200}
    assert counts("expert", noise=1.0)["take lamp"] == pytest.approx(50, abs=25)
    assert counts("random")["take lamp"] == pytest.approx(50, abs=25)
    player = make_player("careless", 0.0, np.random.default_rng(3))
    first_words = Counter(player(COMMANDS, None).split()[0] for _ in range(400))
    assert first_words.most_common(1)[0][1] > 220  # its habit
    with pytest.raises(ValueError, match="expected a player among random, careless, expert, got 'lazy'"):
        make_player("lazy", 0.0, np.random.default_rng(0))


def test_the_expert_is_the_environments_own() -> None:
    env = ToyErrands()
    _, info = env.reset(seed=3)
    best = best_command(env, info["admissible_commands"])
    assert env.step(str(best))[1] > 0
    assert best_command(env, ("look",)) is None


@pytest.mark.usefixtures("in_process")
def test_a_base_is_trained_kept_at_its_best_and_described(worlds: Path) -> None:
    result = pretrain.train(config(worlds))
    losses = [record["eval/loss"] for record in result.records if "eval/loss" in record]
    assert len(losses) > 3 and losses[-1] < losses[0]
    loaded = Policy.load(result.model_folder)
    _, validation = pretrain.encode(
        loaded, pretrain.play_all(config(worlds), pretrain.read_worlds(worlds)), config(worlds)
    )
    assert len(validation) == 6
    # Rounding the weights to half precision costs little.
    assert pretrain.validation_loss(loaded, validation, config(worlds)) == pytest.approx(min(losses), rel=0.02)
    assert loaded.model.config.pretrained_on == [TOY]
    card = (result.model_folder / "README.md").read_text()
    assert "| random |" in card and "| expert |" in card and "--num-episodes 60" in card and f"`{TOY}`" in card


@pytest.mark.usefixtures("in_process")
def test_an_interrupted_run_resumes_to_the_same_weights(worlds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pretrain.train(config(worlds))
    run = RunSettings(out=worlds.parent / "parts", eval_every=5, checkpoint_every=4, num_threads=1, progress=False)
    parts = config(worlds, run=run)
    write = MetricsLog.write

    class Killed(BaseException): ...

    def killing(self: MetricsLog, record: Record) -> None:
        write(self, record)
        if record["step"] == 10:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(MetricsLog, "write", killing)
        pretrain.train(parts)
    resumed = pretrain.train(replace(parts, run=replace(run, resume=True)))
    one, two = whole.policy.model.state_dict(), resumed.policy.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.usefixtures("in_process")
def test_the_same_number_is_the_same_episode(worlds: Path) -> None:
    read = pretrain.read_worlds(worlds)
    episodes = [pretrain.play(number, config(worlds), read) for number in range(30)]
    assert episodes == [pretrain.play(number, config(worlds), read) for number in range(30)]
    assert {episode.player for episode in episodes} == {"random", "careless", "expert"}
    assert {len(episode.actions) for episode in episodes} >= {3, 6}  # an option that is a list is drawn from


def test_a_loss_on_observations(tiny_policy: Policy, make_tiny: Any) -> None:
    """The gradient with a coefficient is that of the two means added up."""
    words = [
        Demonstration(
            0, None, ("Bring the lamp.", "No.", ""), ("bring the lamp", "look"), (0.0,) * 2, True, True, False
        )
    ]
    episodes = [encode_demonstration(tiny_policy.chat, one) for one in words]

    def gradient(coef: float) -> torch.Tensor:
        policy = make_tiny(1)
        optimiser = make_optimiser(policy, OptimiserSettings(learning_rate=1e-3))
        seen = []
        optimiser.register_step_pre_hook(
            lambda *_: seen.append(policy.model.get_input_embeddings().weight.grad.clone())
        )
        supervised_step(policy, optimiser, episodes, OptimiserSettings(max_grad_norm=1e9), 1.0, Ranks("cpu"), coef)
        return seen[0]

    policy = make_tiny(1)
    batch = collate(episodes, policy.pad_token_id)
    others = (batch.attention_mask > 0) & ~batch.action_mask
    others[:, 0] = False
    scores = score_actions(policy, replace(batch, action_mask=others))
    (-scores.logprobs[others].mean()).backward()
    expected = gradient(0.0) + 0.5 * policy.model.get_input_embeddings().weight.grad
    torch.testing.assert_close(gradient(0.5), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "expected --worlds to be a JSON list"), ('[{"weight": 1}]', "expected entry 0 of .* to have an env_id"),
     ('[{"env_id": "X-v0", "weight": 0}]', "a weight > 0"), ('[{"env_id": "X-v0", "weight": "1"}]', "a weight > 0"),
     ("3", "expected --worlds to be a JSON list"), ("[]", "expected --worlds to be a JSON list")],
)  # fmt: skip
def test_worlds_that_cannot_be_read(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "worlds.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        pretrain.read_worlds(path)
    with pytest.raises(ConfigError, match="expected --worlds to be a JSON list"):
        pretrain.read_worlds(tmp_path / "missing.json")


def test_text_that_the_base_cannot_read_is_reported_once(
    make_tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = make_tiny(1)
    policy.check_reads("x = {}[()]", 9)  # a model without worlds of its own says nothing
    assert capsys.readouterr().err == ""
    policy.model.config.pretrained_on = ["Toy-v0"]
    policy.save(tmp_path)
    policy = Policy.load(tmp_path)
    policy.check_reads("Bring the lamp to the room.", 6)
    assert capsys.readouterr().err == ""
    for _ in range(2):
        policy.check_reads("x = {}[()]", 9)
    assert (
        capsys.readouterr().err.count("expected text like that of Toy-v0, which this base model was pretrained on") == 1
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_heads": 5}, "expected num_heads to divide hidden_size=32, got 5"),
        ({"players": {"lazy": 1.0}}, "expected players to give shares >= 0, not all 0, to random, careless, expert"),
        ({"players": {"expert": -1}}, "expected players to give shares >= 0"),
        ({"players": {"expert": 0}}, "expected players to give shares >= 0"),
        ({"players": {}}, "expected players to give shares >= 0"),
        ({"expert_noise": (0.5, 0.1)}, "expected expert_noise LOW HIGH with 0 <= LOW <= HIGH <= 1, got 0.5 0.1"),
        ({"first_seed": -1}, "expected first_seed >= 0, got -1"),
    ],
)
def test_options_that_make_no_sense(worlds: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        config(worlds, **changes).check()


@pytest.mark.usefixtures("in_process")
def test_too_few_episodes_for_a_step_are_refused(worlds: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected at least batch_size=4 episodes .* to learn from, got 2"):
        pretrain.train(config(worlds, num_episodes=4, validation_share=0.3))


@pytest.mark.usefixtures("forked")
def test_play_is_shared_by_runs_that_differ_in_the_model_alone(worlds: Path, tmp_path: Path) -> None:
    first = config(worlds, play_folder=tmp_path / "play", num_episodes=20)
    played = pretrain.play_all(first, pretrain.read_worlds(worlds))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "play").iterdir()}
    other = replace(first, num_layers=1)
    assert pretrain.play_all(other, pretrain.read_worlds(worlds)) == played
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "play").iterdir()} == times
    more = pretrain.play_all(replace(first, num_episodes=30), pretrain.read_worlds(worlds))
    assert more[:20] == played
    assert len(more) == 30


@pytest.mark.usefixtures("forked")
def test_play_of_other_settings_is_refused(worlds: Path, tmp_path: Path) -> None:
    first = config(worlds, play_folder=tmp_path / "play", num_episodes=2)
    pretrain.play_all(first, pretrain.read_worlds(worlds))
    with pytest.raises(ConfigError, match="got other expert_noise: name another folder"):
        pretrain.play_all(replace(first, expert_noise=(0.9, 0.9)), pretrain.read_worlds(worlds))
