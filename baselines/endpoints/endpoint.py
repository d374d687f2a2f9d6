"""A client for chat completions, the protocol of vLLM, SGLang, llama.cpp, `transformers serve` and hosted APIs.

    with Endpoint("my-model", EndpointSettings(base_url="http://localhost:8000/v1")) as endpoint:
        reply = endpoint.complete([{"role": "user", "content": "You are in a hall."}], max_tokens=32)

The key is read from the environment variable OPENAI_API_KEY; `connection.py` says what becomes of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from threading import Lock
from typing import Any

from baselines.config.settings import JsonObject, check_all_at_least
from baselines.endpoints.connection import Connection, ConnectionSettings, HttpResponse, server_message
from baselines.errors import ConfigError, EndpointError
from baselines.sampling.conversations import with_tool_calls

_CUT = ("length", "max_tokens", "model_length")


@dataclass(frozen=True)
class EndpointSettings(ConnectionSettings):
    """Settings of an endpoint: address, requests and prices."""

    prompt_price: float = 0.0
    """Price of a million prompt tokens, in any currency."""
    completion_price: float = 0.0
    """Price of a million completion tokens."""
    extra_body: JsonObject = field(default_factory=dict)
    """Further fields of each request; null leaves a field out: '{"seed": null}'."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        super().check()
        check_all_at_least(self, 0, "prompt_price", "completion_price")
        fixed = self.extra_body.keys() & {"model", "messages", "stream", "n"}
        if fixed:
            raise ConfigError(f"expected extra_body without {', '.join(sorted(fixed))}, got {self.extra_body}")


@dataclass(frozen=True)
class Usage:
    """Requests, tokens and costs at an endpoint; usages add up.

    Attributes:
        num_requests: HTTP requests sent, retries included.
        num_retries: of these, requests sent again after a failure.
        prompt_tokens: as the endpoint counts them.
        completion_tokens: likewise.
        cost: of these tokens, by the prices of the settings; without discounts for cached prompts.
        num_empty: replies without a visible character.
        num_unknown: replies that did not tell their tokens, which are then missing here.
    """

    num_requests: int = 0
    num_retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    num_empty: int = 0
    num_unknown: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        return (
            f"{self.num_requests} requests, {self.num_retries} of them retries, {self.prompt_tokens} prompt tokens, "
            f"{self.completion_tokens} completion tokens, cost {self.cost:.4f}, {self.num_empty} empty replies, "
            f"{self.num_unknown} replies of unknown length"
        )


@dataclass(frozen=True)
class Reply:
    """One answer of the model.

    Attributes:
        text: the answer of the model, may be "".
        finish_reason: why it stopped, as the endpoint names it, "" if it does not.
        usage: of this reply alone, its retries included.
    """

    text: str
    finish_reason: str
    usage: Usage

    @property
    def cut(self) -> bool:
        """True if the model was stopped at the token limit."""
        return self.finish_reason.lower() in _CUT


class Endpoint:
    """A model behind an address; may be asked by several threads at once.

    Args:
        model: name of the model at the endpoint.
        settings: address, requests and prices.
        clock: seconds, for the rate limit and the time-out.
        sleep: waits for so many seconds.

    Raises:
        ConfigError: an option is out of range, there is no base URL, or OPENAI_API_KEY cannot be a key.
    """

    def __init__(
        self,
        model: str,
        settings: EndpointSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._model, self._settings = model, settings
        self._connection = Connection(settings, "/chat/completions", clock, sleep)
        self._lock = Lock()
        self._used = Usage()
        self._limit_name = "max_tokens"

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def __repr__(self) -> str:
        return f"Endpoint({self._model!r}, {self._connection.url!r})"

    @property
    def has_prices(self) -> bool:
        """True if the settings say what tokens cost."""
        return bool(self._settings.prompt_price or self._settings.completion_price)

    @property
    def usage(self) -> Usage:
        """Of all requests so far, failed ones included."""
        with self._lock:
            return self._used + Usage(self._connection.num_requests, self._connection.num_retries)

    def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> Reply:
        """Ask for the next message of a conversation.

        Args:
            messages: each with its "role" and "content".
            max_tokens: tokens of the reply at most.
            temperature: 0 is greedy.
            seed: of the sampling, where the endpoint has one; not sent if None.

        Raises:
            EndpointError: there is no reply; the message says why.
            ContextLengthError: because the conversation does not fit the model.
        """
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [dict(message) for message in messages],
            self._limit_name: max_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        answer = self._post(body)
        text, finish_reason, used = self._parse(answer.content)
        with self._lock:
            self._used += used
        return Reply(text, finish_reason, used + Usage(1 + answer.num_retries, answer.num_retries))

    def _post(self, body: dict[str, Any]) -> HttpResponse:
        """Send a body with the settings' further fields, once more where the server has another name for the limit."""
        sent = {name: value for name, value in (body | self._settings.extra_body).items() if value is not None}
        try:
            return self._connection.post(sent)
        except EndpointError as error:
            if "max_tokens" not in sent or "max_completion_tokens" not in str(error):
                raise
        self._limit_name = "max_completion_tokens"
        sent["max_completion_tokens"] = sent.pop("max_tokens")
        return self._connection.post(sent)

    def _parse(self, content: bytes) -> tuple[str, str, Usage]:
        """Return the text, reason to stop and tokens of an answer."""
        try:
            answer = json.loads(content)
            choice = answer["choices"][0]
            text, reason = _spoken(choice["message"]), choice.get("finish_reason")
            # Half of a surrogate pair can be written in JSON, and nowhere else.
            text = text.encode("utf-8", "replace").decode()
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            # One sentence for all: what came is in it.
            raise self._connection.error(EndpointError, f"no chat completion but {server_message(content)}") from None
        used = self._tokens(answer.get("usage")) + Usage(num_empty=int(not text.strip()))
        redact = self._connection.redact
        return redact(text), redact(reason) if isinstance(reason, str) else "", used

    def _tokens(self, usage: Any) -> Usage:
        numbers = [usage.get(f"{kind}_tokens") for kind in ("prompt", "completion")] if isinstance(usage, dict) else []
        counts = [count for count in numbers if isinstance(count, int) and count >= 0]
        if len(counts) < 2:
            return Usage(num_unknown=1)
        prompt, completion = counts
        cost = (prompt * self._settings.prompt_price + completion * self._settings.completion_price) / 1e6
        return Usage(prompt_tokens=prompt, completion_tokens=completion, cost=cost)


def _spoken(message: Mapping[str, Any]) -> str:
    """Return the text of a message whose content is a string, null or parts; parts of reasoning are left out.

    Raises:
        LookupError: there is no such content.
        TypeError: likewise.
        ValueError: a tool call is none.
    """
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] in ("text", "output_text"))
    if not isinstance(content, str | None):
        raise TypeError(f"expected text, got {type(content).__name__}")
    return with_tool_calls(content or "", message.get("tool_calls") or [])
