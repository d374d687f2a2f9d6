"""verl: its AgentLoopWorker runs the loop with a model that plays by heart; the training on GPUs is not run here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.support.chat_player import solution

verl = pytest.importorskip("verl")
agent_loop = pytest.importorskip("verl.experimental.agent_loop.agent_loop", exc_type=ImportError)
hydra = pytest.importorskip("hydra")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

ENV_ID = "textagent_gym:TextWorld-Easy-Dense-v0"
LOOPS = f"""
- name: textworld-easy
  _target_: textagent_gym.interop.verl.GymAgentLoop
  env_id: {ENV_ID}
  env_kwargs: {{max_steps: 8}}
"""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROMPT = [{"role": "system", "content": "Answer with one command."}]


def first_words(seed: int) -> str:
    return str(gym.make(ENV_ID).reset(seed=seed)[0])


def replay(seed: int, actions: Any) -> list[float]:
    env = gym.make(ENV_ID, max_steps=8)
    env.reset(seed=seed)
    rewards = []
    for action in actions:
        _, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        if terminated or truncated:
            break
    return rewards


def save_model(folder: Path) -> None:
    """Return a tokenizer of bytes and the configuration of a model, without weights."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator([first_words(seed) for seed in range(20, 30)], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<|endoftext|>", eos_token="<|im_end|>", chat_template=TEMPLATE
    )
    tokenizer.save_pretrained(str(folder))
    config = transformers.Qwen3Config(vocab_size=len(tokenizer), architectures=["Qwen3ForCausalLM"])
    config.save_pretrained(str(folder))


class ByHeart:
    """Fake of `LLMServerClient`: tokens in, tokens out; the n-th reply of a request is the n-th action."""

    def __init__(self, by_heart: dict[str, Any]) -> None:
        self.by_heart, self.answer = by_heart, dict[str, int]()
        self.tokenizer: Any = None

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> Any:
        from verl.workers.rollout.replica import TokenOutput

        text = self.tokenizer.decode(prompt_ids)
        (actions,) = [actions for words, actions in self.by_heart.items() if f"user\n{words}<|im_end|>" in text]
        place = self.answer.get(request_id, 0)
        self.answer[request_id] = place + 1
        ids = self.tokenizer(actions[place] + "<|im_end|>", add_special_tokens=False)["input_ids"]
        return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), extra_fields={"max_global_steps": place + 1})


@pytest.fixture
def worker(tmp_path: Path) -> Any:
    save_model(tmp_path)
    (tmp_path / "loops.yaml").write_text(LOOPS)
    folder = Path(verl.__file__).parent / "trainer" / "config"
    with hydra.initialize_config_dir(str(folder), version_base=None):
        config = hydra.compose(
            "ppo_trainer",
            overrides=[
                f"actor_rollout_ref.model.path={tmp_path}",
                f"actor_rollout_ref.rollout.agent.agent_loop_config_path={tmp_path / 'loops.yaml'}",
                "actor_rollout_ref.rollout.name=vllm",
                "actor_rollout_ref.rollout.prompt_length=1024",
                "actor_rollout_ref.rollout.response_length=1024",
                "actor_rollout_ref.rollout.calculate_log_probs=True",
                "data.max_prompt_length=1024",
                "data.max_response_length=1024",
            ],
        )
    by_heart = {first_words(seed): solution(ENV_ID, seed) for seed in (3, 5)}
    by_heart[first_words(4)] = solution(ENV_ID, 4)[:3] + ("look",) * 50  # one that runs out of its steps
    player = ByHeart(by_heart)
    worker = agent_loop.AgentLoopWorker(config, player)
    player.tokenizer = worker.tokenizer
    return SimpleNamespace(worker=worker, by_heart=by_heart, tokenizer=worker.tokenizer)


def rows(seeds: list[Any], **columns: Any) -> Any:
    """Return a batch as verl's dataset makes it."""

    def column(values: list[Any]) -> Any:
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array

    answer = {"raw_prompt": [PROMPT] * len(seeds), "agent_name": ["textworld-easy"] * len(seeds), **columns}
    return verl.DataProto(non_tensor_batch={name: column(values) for name, values in answer.items()})


@pytest.mark.filterwarnings("ignore")  # what the libraries say of each other
def test_trajectories_and_rewards_are_those_of_the_environment(worker: Any) -> None:
    seeds = [3, 3, 4, 5]
    batch = rows(seeds, seed=[np.int64(seed) for seed in seeds])
    output = asyncio.run(worker.worker.generate_sequences(batch))
    for row, seed in enumerate(seeds):
        rewards = replay(seed, worker.by_heart[first_words(seed)])
        assert output.batch["rm_scores"][row].sum().item() == pytest.approx(sum(rewards))
        assert output.non_tensor_batch["turn_scores"][row] == pytest.approx(rewards)
        mask = output.batch["response_mask"][row].bool()
        spoken = worker.tokenizer.decode(output.batch["responses"][row][mask])
        actions = worker.by_heart[first_words(seed)][: len(rewards)]
        assert spoken == "".join(f"{action}<|im_end|>" for action in actions)
        logprobs = output.batch["rollout_log_probs"][row]
        assert (logprobs[mask] == -0.5).all() and (logprobs[~mask] == 0).all()
    assert output.batch["rm_scores"].sum(-1).tolist()[:2] == pytest.approx([1, 1])
    assert 0 < output.batch["rm_scores"][2].sum() < 1


@pytest.mark.filterwarnings("ignore")
def test_the_seed_may_stand_in_extra_info_and_must_stand_somewhere(worker: Any) -> None:
    output = asyncio.run(worker.worker.generate_sequences(rows([3], extra_info=[{"seed": 3}])))
    assert output.batch["rm_scores"].sum().item() == pytest.approx(1)
    with pytest.raises(ValueError, match="expected a seed in the row, got"):
        asyncio.run(worker.worker.generate_sequences(rows([3], extra_info=[{}])))


@pytest.mark.filterwarnings("ignore")
def test_a_reply_that_is_cut_by_the_length_is_not_played(worker: Any) -> None:
    worker.worker.rollout_config.response_length = 1024
    output = asyncio.run(worker.worker.generate_sequences(rows([3], seed=[3])))
    full = int(output.batch["attention_mask"][0, 1024:].sum())
    assert full < 1024
    conf = worker.worker.config.actor_rollout_ref.rollout
    conf.response_length = full - 1
    worker.worker.rollout_config.response_length = full - 1
    output = asyncio.run(worker.worker.generate_sequences(rows([3], seed=[3])))
    assert output.batch["responses"].shape[1] == full - 1
    assert output.batch["rm_scores"].sum().item() == pytest.approx(sum(replay(3, solution(ENV_ID, 3)[:-1])))
