"""A model behind an OpenAI-compatible endpoint as an agent, with a journal so that no reply is paid for twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np

from baselines.config.settings import check_at_least
from baselines.endpoints.endpoint import Endpoint, EndpointSettings, Reply
from baselines.endpoints.endpoint import Usage as EndpointUsage
from baselines.errors import ConfigError, ContextLengthError, EndpointError
from baselines.runs.files import append_line, write_whole
from benchmarks.agents.agents import AgentError, OutOfContextError
from benchmarks.runs.records import Usage

Message = dict[str, str]


@dataclass(frozen=True)
class ChatSettings:
    """Settings of a conversation; `--agent-kwargs` takes those of `baselines.endpoints.endpoint`, too."""

    temperature: float = 0.0
    """0 is greedy."""
    max_tokens: int = 256
    """Tokens of one reply at most."""
    system: str = ""
    """System message; none if empty."""
    history_turns: int | None = None
    """Earlier turns that are sent along, in tracks that grant memory; None sends all, and the first always goes."""


def chat_settings(given: dict[str, Any]) -> tuple[ChatSettings, EndpointSettings]:
    """Read `--agent-kwargs`.

    Raises:
        ConfigError: a name is unknown, or a value out of its range.
    """
    names = {field.name for field in fields(ChatSettings)}
    try:
        chat = ChatSettings(**{name: value for name, value in given.items() if name in names})
        endpoint = EndpointSettings(**{name: value for name, value in given.items() if name not in names})
        check_at_least("max_tokens", chat.max_tokens, 1)
        check_at_least("temperature", chat.temperature, 0)
        check_at_least("history_turns", chat.history_turns or 0, 0)
        endpoint.check()
    except TypeError as error:
        raise ConfigError(
            f"expected settings of an endpoint and its chat for an agent openai:..., got {given}: {error}"
        ) from error
    return chat, endpoint


class EndpointAgent:
    """Holds one conversation per episode.

    Args:
        endpoint: shared by all agents of a run, with its rate limit.
        settings: of the conversation.
        memory: True if the track grants it; without, a reply sees the first observation and the current one.
        journal: of the run.
        stopped: once it is set, nothing more is asked.

    Attributes:
        usage: of the current episode.
    """

    def __init__(
        self, endpoint: Endpoint, settings: ChatSettings, memory: bool, journal: Journal, stopped: Event | None = None
    ) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._memory = memory
        self._journal = journal
        self._stopped = stopped or Event()
        self._said: list[Message] = []
        self._seed = 0
        self._spent, self.usage = EndpointUsage(), Usage()

    def reset(self, info: dict[str, Any], seed: int) -> None:
        """Forget the episode before."""
        self._said, self._seed = [], seed
        self._spent, self.usage = EndpointUsage(), Usage()

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Return the model's reply to the observation.

        Raises:
            AgentError: the endpoint does not answer.
            OutOfContextError: the conversation has become too long for the model.
        """
        self._said.append({"role": "user", "content": observation})
        messages = self._seen()
        turn_seed = int(np.random.SeedSequence([self._seed, len(self._said)]).generate_state(1)[0])
        reply = self._journal.find(turn_seed, messages) or self._ask(messages, turn_seed)
        self._spent += reply.usage
        self.usage = _counted(self._spent, self._endpoint.has_prices)
        self._said.append({"role": "assistant", "content": reply.text})
        return reply.text

    def _ask(self, messages: Sequence[Message], turn_seed: int) -> Reply:
        settings = self._settings
        seed = turn_seed if settings.temperature > 0 else None
        if self._stopped.is_set():
            raise AgentError("the run was interrupted")
        try:
            reply = self._endpoint.complete(
                messages, max_tokens=settings.max_tokens, temperature=settings.temperature, seed=seed
            )
        except ContextLengthError as error:
            raise OutOfContextError(str(error)) from error
        except EndpointError as error:
            raise AgentError(str(error)) from error
        self._journal.add(turn_seed, messages, reply)
        return reply

    def _seen(self) -> list[Message]:
        """Return the messages that a reply is asked for."""
        system = [{"role": "system", "content": self._settings.system}] if self._settings.system else []
        first, current = self._said[0], self._said[-1]
        if not self._memory:
            task = (
                current if first is current else {**current, "content": f"{first['content']}\n\n{current['content']}"}
            )
            return [*system, task]
        kept = self._settings.history_turns
        turns = self._said[2:-1] if kept is None else self._said[2:-1][-2 * kept :] if kept else []
        return [*system, *self._said[: min(2, len(self._said) - 1)], *turns, current]


class Journal:
    """The replies of episodes that are not done yet; what was paid for is found again after a kill.

    Args:
        path: its file; made when the first reply comes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._replies: dict[str, Reply] = {}
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # a torn or damaged line is a reply that is asked for again
                given = json.loads(line)
                self._replies[given["key"]] = Reply(
                    given["text"], given["finish_reason"], EndpointUsage(**given["usage"])
                )
        if lines:
            text = "".join(_journal_line(key, reply) for key, reply in self._replies.items())
            write_whole(path, text)

    def find(self, seed: int, messages: Sequence[Message]) -> Reply | None:
        """Return the reply to these messages in the episode of that seed, if it was given before the run was interrupted."""
        return self._replies.get(_key(seed, messages))

    def add(self, seed: int, messages: Sequence[Message], reply: Reply) -> None:
        """Write a reply; it is on disk when this returns."""
        line = _journal_line(_key(seed, messages), reply)
        with self._lock:
            append_line(self._path, line.encode())

    def remove(self) -> None:
        """Delete the file, once every episode is in the trajectories."""
        self._path.unlink(missing_ok=True)


def _key(seed: int, messages: Sequence[Message]) -> str:
    return hashlib.sha256(json.dumps([seed, list(messages)]).encode()).hexdigest()


def _journal_line(key: str, reply: Reply) -> str:
    return json.dumps({"key": key, **asdict(reply)}) + "\n"


def _counted(usage: EndpointUsage, has_prices: bool) -> Usage:
    known = usage.num_unknown == 0
    return Usage(
        prompt_tokens=usage.prompt_tokens if known else None,
        completion_tokens=usage.completion_tokens if known else None,
        cost=usage.cost if known and has_prices else None,
        retries=usage.num_retries,
        empty_replies=usage.num_empty,
    )
