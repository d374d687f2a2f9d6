"""`tiny`: a policy of about a million parameters made from nothing, for laptops and tests.

A byte-level BPE of 2,048 tokens is trained on text of the environment, and a four-layer Llama is drawn from a seed.
What matters for text games is that a name is the same token wherever it stands, because the model has to copy names
from the objective into its commands; so every word carries its leading space, also after a line break and where an
action starts.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

OBSERVATION_TOKEN, ACTION_TOKEN, END_TOKEN, PAD_TOKEN = "<|observation|>", "<|action|>", "<|end|>", "<|pad|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}" + ACTION_TOKEN + "{{ message['content'] }}" + END_TOKEN + "{% else %}"
    "" + OBSERVATION_TOKEN + "{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ACTION_TOKEN + "{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int = 2048) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer whose words look the same everywhere.

    Args:
        texts: observations and actions of the environment.
        vocab_size: tokens, 256 bytes and 4 special tokens included; fewer if the text does not yield so many.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD_TOKEN, OBSERVATION_TOKEN, ACTION_TOKEN, END_TOKEN]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        eos_token=END_TOKEN,
        extra_special_tokens=[OBSERVATION_TOKEN, ACTION_TOKEN],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
"""Sizes of `tiny`, under the names of `LlamaConfig`: about 1.1 million parameters."""


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int, **shape: int) -> LlamaForCausalLM:
    """Draw a Llama from `seed`, without touching the global generator; `shape` is laid over `SHAPE`."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        **{**SHAPE, **shape},
        max_position_embeddings=4096,
        initializer_range=0.06,  # transformers' 0.02 is for wide models; at this width logits would start all but equal
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
