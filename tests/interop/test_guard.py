"""The server's guard: attacks on sessions and on the number of connections, without OpenEnv and uvicorn."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym.interop import guard
from textagent_gym.interop.guard import Guard, patient, what_is_wrong

pytestmark = pytest.mark.attack

Message = MutableMapping[str, Any]


def talk(texts: list[Any], *, query: bytes = b"", path: str = "/ws") -> tuple[list[Message], list[Message]]:
    """Send messages through a guard; return what the application got, and what the client got."""
    got: list[Message] = []
    sent: list[Message] = []
    waiting = [{"type": "websocket.connect"}]
    waiting += [
        {"type": "websocket.receive", **({"bytes": text} if isinstance(text, bytes) else {"text": text})}
        for text in texts
    ]
    waiting.append({"type": "websocket.disconnect"})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            got.append(await receive())
            if got[-1]["type"] == "websocket.disconnect":
                return

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": path, "query_string": query, "headers": [], "extensions": {}}
    guarded = Guard(app, token=None, max_message_bytes=1_000_000, idle_seconds=5)
    asyncio.run(guarded(scope, receive, send))
    return got, sent


REFUSED = [
    "[]", "null", "1", '"reset"', "", "{", "{}", '{"type": []}', '{"type": {}}', '{"type": "mcp", "data": {}}',
    '{"type": "mcp", "data": {"jsonrpc": "2.0", "id": 1, "method": "openenv/session/create"}}', '{"type": "harness"}',
    '{"type": "reset", "data": []}', '{"type": "step", "data": "x"}', "[" * 100_000, "9" * 10_000, b"\xff", b"{}",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_message_of_the_protocol_is_answered_and_ends_nothing(text: Any) -> None:
    reset = '{"type": "reset", "data": {"seed": 1}}'
    got, sent = talk([text, reset])
    assert [message.get("text") for message in got] == [None, reset, None]
    answer = json.loads(sent[0]["text"])
    assert answer["type"] == "error"
    assert answer["data"]["message"].startswith("expected")
    assert len(answer["data"]["message"]) < 200


def test_nobody_joins_another_session() -> None:
    got, sent = talk([], query=b"session_id=1")
    assert got == []
    assert sent[-1]["type"] == "websocket.close"


@pytest.mark.parametrize("path", ["/mcp", "/ws/mcp", "/reset", "/ws/", "/web"])
def test_other_routes_are_closed(path: str) -> None:
    assert talk([], path=path)[0] == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_is_a_message_or_is_refused_in_a_sentence(value: Any) -> None:
    wrong = what_is_wrong({"type": "websocket.receive", "text": json.dumps(value)})
    assert wrong is None or wrong.startswith("expected")
    assert (wrong is None) == (isinstance(value, dict) and value.get("type") in guard.MESSAGES)


class Transport:
    def __init__(self, protocol: Any) -> None:
        self.protocol, self.is_open = protocol, True

    def get_protocol(self) -> Any:
        return self.protocol

    def abort(self) -> None:
        self.is_open = False


class Http:
    """The part of uvicorn's protocol that matters: `cycle` is set when a header is complete."""

    def connection_made(self, transport: Transport) -> None:
        self.transport, self.cycle = transport, None

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self.cycle = object()

    def connection_lost(self, problem: object) -> None:
        self.transport.is_open = False


def test_connections_that_ask_for_nothing_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "HEADER_SECONDS", 0.05)

    async def attack() -> None:
        kind = patient(Http)

        def connect(data: bytes) -> Transport:
            protocol = kind()
            transport = Transport(protocol)
            protocol.connection_made(transport)
            protocol.data_received(data)
            return transport

        honest = [connect(b"GET /health HTTP/1.1\r\n\r\n") for _ in range(40)]
        half_open = [connect(b"GET /ws HTTP/1.1\r\nAuthor") for _ in range(113)]
        assert sum(one.is_open for one in half_open) == guard.MAX_HALF_OPEN
        assert all(one.is_open for one in half_open[-guard.MAX_HALF_OPEN :]), "the oldest go"
        assert connect(b"GET /health HTTP/1.1\r\n\r\n").is_open
        await asyncio.sleep(0.2)
        assert not any(one.is_open for one in half_open)
        assert all(one.is_open for one in honest)

    asyncio.run(attack())
