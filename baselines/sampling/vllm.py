r"""Rollouts on a running vLLM server, which gets the weights before each batch, through TRL's client of such servers.

The server samples whole actions and says how probable their tokens were; the trainer corrects for the difference to its
own arithmetic (`Learner.collect`). Start the server with

    VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config '{"backend": "nccl"}' \
        --logprobs-mode processed_logprobs

so that it takes weights, and so that its log-probabilities include the temperature, as those of the update do.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from baselines.errors import ConfigError, TrainingError
from baselines.sampling.decoding import HistoryDecoder


class Client(Protocol):
    """The part of `trl.generation.vllm_client.VLLMClient` (TRL 1.16) that is used."""

    def init_communicator(self, device: torch.device) -> None:
        """Join the group over which weights are sent."""

    def update_model_params(self, model: nn.Module) -> None:
        """Send all weights of a model."""

    def reset_prefix_cache(self) -> None:
        """Forget keys and values of earlier weights."""

    def generate(self, prompts: list[list[int]], **options: Any) -> dict[str, Any]:
        """Return `completion_ids`, lists of tokens, and `logprobs`, for each token a list that holds its own alone."""


def connect_server(url: str) -> Client:
    """Return a client of the server at `url`.

    Raises:
        ConfigError: TRL or vLLM is missing, or no server answers.
    """
    try:
        from trl.generation.vllm_client import VLLMClient

        return VLLMClient(base_url=url)  # type: ignore[no-any-return]
    except (ImportError, ConnectionError) as error:
        raise ConfigError(f"expected TRL, vLLM and a vLLM server at {url} for vllm_url: {error}") from error


class ServerDecoder(HistoryDecoder):
    """Rows of tokens that a server continues by whole actions; the (N, 0) scores stand for those that stay with it.

    Args:
        client: of the server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.rows = []

    def _logits(self, rows: list[list[int]]) -> Tensor:
        return torch.zeros(len(rows), 0)

    def sample(
        self, *, max_tokens: int, temperature: float, end_token_id: int, rng: np.random.Generator
    ) -> list[tuple[list[int], list[float]]]:
        """Return for each row the tokens of an action, its end included if it came in time, and their log-probabilities.

        Args:
            max_tokens: of an action at most.
            temperature: divides the logits.
            end_token_id: ends an action.
            rng: gives the seed of the request. Which row gets which draw is the server's affair.

        Raises:
            TrainingError: the reply has not one token for each log-probability, or an action is empty.
        """
        seed = int(rng.integers(2**31))
        options = {"stop_token_ids": [end_token_id], "seed": seed, "skip_special_tokens": False}
        reply = self._client.generate(
            self.rows, temperature=temperature, max_tokens=max_tokens, logprobs=0, generation_kwargs=options
        )
        actions = []
        for token_ids, logprobs in zip(reply["completion_ids"], reply["logprobs"], strict=True):
            if not token_ids or len(token_ids) != len(logprobs) or any(one[0] is None for one in logprobs):
                raise TrainingError(
                    f"expected one log-probability for each token of an action from the vLLM server, "
                    f"got {len(logprobs)} for {len(token_ids)} tokens"
                )
            actions.append((list(token_ids), [float(one[0]) for one in logprobs]))
        return actions
