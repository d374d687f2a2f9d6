"""TRL: GRPOTrainer takes three optimiser steps with a tiny model on TextWorld; each reward is the return of a replay."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

trl = pytest.importorskip("trl")
torch = pytest.importorskip("torch")
tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

from trl.chat_template_utils import qwen3_instruct_2507_chat_template  # noqa: E402  # needs what may be absent

from tests.support.blocks import run_with_library  # noqa: E402
from textagent_gym.interop.trl import TextEnvironment, environment_factory, make_dataset  # noqa: E402

ENV_ID = "textagent_gym:TextWorld-Easy-Dense-v0"
ENV_KWARGS = {"by_number": True, "preamble": False, "max_steps": 6}
OPEN, CLOSE = '<tool_call>\n{"name": "act", "arguments": {"action": "', '"}}\n</tool_call>'
"""The form of a call; one token each, so that a tiny model learns it in seconds."""


def make_tokenizer(texts: list[str]) -> Any:
    """Return a byte-level BPE trained on the spot, with the marks and the chat template of Qwen3."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1500, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    inner.add_tokens([OPEN, CLOSE])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        chat_template=qwen3_instruct_2507_chat_template,
    )


def make_model(tokenizer: Any) -> Any:
    """Return a Qwen3 of some hundred thousand weights."""
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,
        initializer_range=0.05,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return transformers.Qwen3ForCausalLM(config)


def teach_to_call(model: Any, tokenizer: Any, prompts: list[str], num_steps: int) -> None:
    """Train the form of a tool call, with a number that is drawn; what to choose is left to be learnt."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(num_steps):
        prompt = tokenizer(prompts[step % len(prompts)], add_special_tokens=False)["input_ids"]
        number = int(torch.randint(1, 6, (), generator=generator))
        answer = tokenizer(f"{OPEN}{number}{CLOSE}<|im_end|>", add_special_tokens=False)["input_ids"]
        ids = torch.tensor([prompt + answer])
        labels = ids.clone()
        labels[:, : len(prompt)] = -100
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def prompts_of(tokenizer: Any, seeds: range) -> list[str]:
    """Return prompts as the trainer makes them: after the first observation, and after one answer of the tool."""
    prompts = []
    for row in make_dataset(seeds):
        environment = TextEnvironment(ENV_ID, ENV_KWARGS)
        message = row["prompt"][0]
        messages = [{**message, "content": message["content"] + environment.reset(seed=row["seed"])}]
        call = {"type": "function", "function": {"name": "act", "arguments": {"action": "1"}}}
        later = [
            *messages,
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "name": "act", "content": environment.act("1")},
        ]
        for conversation in (messages, later):
            prompts.append(
                tokenizer.apply_chat_template(
                    conversation, tools=[environment.act], tokenize=False, add_generation_prompt=True
                )
            )
    return prompts


def replay(seed: int, actions: list[str]) -> float:
    """Return the return of the actions without any trainer; what comes after the end is not played."""
    env = gym.make(ENV_ID, **ENV_KWARGS)
    env.reset(seed=seed)
    total, over = 0.0, False
    for action in actions:
        if not over:
            _, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
    return total


class Seen:
    """A reward function that pays nothing and looks at what was played, and at what the environments say."""

    __name__ = "seen"

    def __init__(self) -> None:
        self.rows: list[tuple[int, list[str], float]] = []

    def __call__(self, completions: Any, environments: Any, seed: Any, **_: Any) -> list[float]:
        for messages, environment, number in zip(completions, environments, seed, strict=True):
            calls = [call["function"] for message in messages for call in message.get("tool_calls") or ()]
            actions = [call["arguments"]["action"] for call in calls if call["name"] == "act"]
            answers = [message for message in messages if message["role"] == "tool"]
            self.rows.append((number, actions[: len(answers)], environment.get_reward()))
        return [0.0] * len(completions)


@pytest.mark.filterwarnings("ignore")  # what TRL and transformers say of each other
def test_grpo_takes_steps_and_is_paid_what_the_environment_pays(tmp_path: Path) -> None:
    blank = make_tokenizer([""])
    tokenizer = make_tokenizer(prompts_of(blank, range(100, 110)))
    model = make_model(tokenizer)
    teach_to_call(model, tokenizer, prompts_of(tokenizer, range(100, 110)), num_steps=45)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    seen = Seen()
    trainer = trl.GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=[seen],
        train_dataset=make_dataset([1, 2, 5]),
        environment_factory=environment_factory(ENV_ID, ENV_KWARGS),
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            num_generations=8,
            max_steps=3,
            max_completion_length=2048,
            max_tool_calling_iterations=8,
            learning_rate=1e-3,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
        ),
    )
    trainer.train()

    assert trainer.state.global_step == 3
    logs = [log for log in trainer.state.log_history if "rewards/TextEnvironment/mean" in log]
    assert len(logs) == 3
    assert len(seen.rows) == 24
    for step, log in enumerate(logs):
        rows = seen.rows[8 * step : 8 * step + 8]
        assert len({seed for seed, _, _ in rows}) == 1, "a group plays one task"
        returns = [paid for _, _, paid in rows]
        assert log["rewards/TextEnvironment/mean"] == pytest.approx(sum(returns) / 8)
        assert log["reward"] == pytest.approx(sum(returns) / 8)
        assert log["tools/failure_frequency"] == 0
    for seed, actions, paid in seen.rows:
        assert paid == pytest.approx(replay(seed, actions))
    assert sum(len(actions) for _, actions, _ in seen.rows) >= 48, "the environments were stepped"
    assert len({paid for _, _, paid in seen.rows}) > 1, "some did better than others"
    assert any(not torch.equal(before[name], weight) for name, weight in trainer.model.named_parameters())


@pytest.mark.filterwarnings("ignore")
def test_the_block_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = make_tokenizer(prompts_of(make_tokenizer([""]), range(100, 102)))
    make_model(tokenizer).save_pretrained("model")
    tokenizer.save_pretrained("model")
    smaller = {
        "Qwen/Qwen3-0.6B": "model",
        "num_generations=8, max_completion_length=4096, max_tool_calling_iterations=12": "num_generations=2, "
        "per_device_train_batch_size=2, max_completion_length=32, max_tool_calling_iterations=1, max_steps=1, use_cpu=True, "
        "bf16=False, report_to='none', save_strategy='no'",
        "range(1000)": "range(4)",
    }
    assert run_with_library("llm_libraries.md", "GRPOTrainer", smaller)["trainer"].state.global_step == 1


def test_the_schema_of_the_tool_is_what_the_model_reads() -> None:
    schema = transformers.utils.get_json_schema(TextEnvironment(ENV_ID).act)["function"]
    assert schema["name"] == "act"
    assert schema["parameters"]["required"] == ["action"]
    assert schema["parameters"]["properties"]["action"]["type"] == "string"


def test_a_row_without_a_seed_is_refused() -> None:
    environment = TextEnvironment(ENV_ID)
    with pytest.raises(ValueError, match="expected a column 'seed' in the dataset, got prompt"):
        environment.reset(prompt=[])


def test_the_end_is_told_and_a_number_is_as_good_as_its_digits() -> None:
    environment = TextEnvironment(ENV_ID, ENV_KWARGS)
    environment.reset(seed=0)
    for _ in range(6):
        environment.act(1)  # type: ignore[arg-type]  # what a model may well write
    paid = environment.get_reward()
    assert environment.act("1") == "Nothing was done: the game is over."
    assert environment.get_reward() == paid == pytest.approx(replay(0, ["1"] * 6))
    environment.reset(seed=1)
    assert "expected action to be a string, got dict" in environment.act({})  # type: ignore[arg-type]
    assert environment.get_reward() == 0


def test_a_failure_of_the_environment_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = TextEnvironment(ENV_ID)
    environment.reset(seed=0)
    monkeypatch.setattr(environment._episode, "act", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        environment.act("look")
    with pytest.raises(RuntimeError, match="expected an episode without failures, got ZeroDivisionError"):
        environment.get_reward()


def test_an_environment_that_nobody_holds_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr("textagent_gym.interop.episode.Episode.close", lambda self: closed.append(self.env_id))
    environment = TextEnvironment(ENV_ID)
    del environment
    gc.collect()
    assert closed == [ENV_ID]
