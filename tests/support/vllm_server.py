"""A stand-in for a vLLM server behind TRL's client: a model in this process that samples whole actions."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from baselines.models.policy import Policy
from baselines.sampling.decoding import RaggedDecoder, sample_tokens


class StandInClient:
    """Answers as `trl.generation.vllm_client.VLLMClient` does.

    Args:
        policy: copied; its weights are replaced by those that are sent.
        shift: added to each log-probability that is reported, as if the server computed otherwise.

    Attributes:
        calls: names of the calls but `generate`, in order.
    """

    def __init__(self, policy: Policy, shift: float = 0.0) -> None:
        self.calls: list[str] = []
        self.model = copy.deepcopy(policy.model)
        self._pad, self._shift = policy.pad_token_id, shift

    def init_communicator(self, device: torch.device) -> None:
        assert device == self.model.device
        self.calls.append("init")

    def update_model_params(self, model: nn.Module) -> None:
        assert self.calls[:1] == ["init"]
        self.model.load_state_dict(model.state_dict())
        self.calls.append("weights")

    def reset_prefix_cache(self) -> None:
        self.calls.append("reset")

    @torch.no_grad()
    def generate(
        self,
        prompts: list[list[int]],
        *,
        temperature: float,
        max_tokens: int,
        logprobs: int,
        generation_kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        assert logprobs == 0
        (end,) = generation_kwargs["stop_token_ids"]
        rng = np.random.default_rng(generation_kwargs["seed"])
        answers: list[tuple[list[int], list[list[float]]]] = []
        for prompt in prompts:
            decoder, token_ids, found = RaggedDecoder(self.model, self._pad), list[int](), list[list[float]]()
            scores = decoder.admit([prompt])
            while len(token_ids) < max_tokens and token_ids[-1:] != [end]:
                token, logprob = sample_tokens(scores, temperature, torch.from_numpy(rng.random(1)))
                token_ids.append(int(token))
                found.append([float(logprob) + self._shift])
                scores = decoder.feed([[token_ids[-1]]])
            answers.append((token_ids, found))
        return {"completion_ids": [one for one, _ in answers], "logprobs": [one for _, one in answers]}
