"""Protection of a server: a token, limits to messages and connections, and the protocol's own messages alone."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


OPEN_ROUTES = {"http": frozenset({"/health", "/schema"}), "websocket": frozenset({"/ws"})}
"""Routes that a client may use; OpenEnv's other routes act outside of sessions and their limits."""

MESSAGES = frozenset({"reset", "step", "state", "close"})
"""Types of the messages of a session; OpenEnv has more, which make further environments."""

HEADER_SECONDS = 10.0
"""Time that a connection may take for the header of its first request."""

MAX_HALF_OPEN = 32
"""Connections that have not sent a whole header yet; one more ends the oldest."""

GOING_AWAY, TOO_BIG = 1001, 1009
"""Codes with which a WebSocket is closed (RFC 6455, section 7.4.1)."""


class Guard:
    """ASGI middleware that lets in those who know the token, and ends sessions that idle or send too much at once.

    Args:
        app: The application behind it.
        token: Token that a request must show, or None; then requests from pages of a browser are refused.
        max_message_bytes: Longest message that a client may send.
        idle_seconds: Time that a client may take for its next message.
    """

    def __init__(self, app: App, *, token: str | None, max_message_bytes: int, idle_seconds: float) -> None:
        self._app = app
        self._token = token
        self._max_bytes = max_message_bytes
        self._idle_seconds = idle_seconds

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
        elif scope["type"] == "websocket":
            await self._guard_session(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        """Return the status and the reason with which a request is refused, or None."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._token is not None:
            shown = _shown_token(headers.get(b"authorization", b""))
            if not hmac.compare_digest(shown, self._token.encode()):
                return 401, "expected the token of this server, got another one or none"
        elif b"origin" in headers:  # any page that is open on this machine could reach a server on localhost
            return 403, "expected a client other than a browser, got a request from a page"
        if scope["path"] not in OPEN_ROUTES[scope["type"]] or scope.get("method", "GET") != "GET":
            return 404, f"expected {', '.join(sorted(OPEN_ROUTES[scope['type']]))}, got {scope['path']}"
        if scope.get("query_string"):  # by one, OpenEnv joins a connection to somebody's session
            return 400, "expected no query after the path, got one"
        return None

    async def _guard_session(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        is_ended = False

        async def receive_within_limits() -> Message:
            while True:
                message = await next_message()
                wrong = None if message["type"] != "websocket.receive" else what_is_wrong(message)
                if wrong is None:
                    return message
                error = {"type": "error", "data": {"message": wrong, "code": "INVALID_JSON"}}
                await send_if_open({"type": "websocket.send", "text": json.dumps(error)})

        async def next_message() -> Message:
            nonlocal is_ended
            try:
                message = await asyncio.wait_for(receive(), self._idle_seconds)
            except asyncio.TimeoutError:
                return await end(GOING_AWAY, f"expected a message within {self._idle_seconds:g} seconds, got none")
            if len(message.get("bytes") or (message.get("text") or "").encode()) > self._max_bytes:
                return await end(TOO_BIG, f"expected a message of at most {self._max_bytes} bytes, got a longer one")
            is_ended = message["type"] == "websocket.disconnect"
            return message

        async def end(code: int, reason: str) -> Message:
            nonlocal is_ended
            is_ended = True
            await send({"type": "websocket.close", "code": code, "reason": reason})
            return {"type": "websocket.disconnect", "code": code, "reason": reason}

        async def send_if_open(message: Message) -> None:
            if not is_ended:
                await send(message)

        await self._app(scope, receive_within_limits, send_if_open)


def what_is_wrong(message: Message) -> str | None:
    """Return why a message is none of the protocol's, in a sentence; None where it is one."""
    if message.get("text") is None:
        return "expected a message of text, got bytes"
    try:
        found = json.loads(message["text"])
    except (ValueError, RecursionError):
        return "expected a JSON object, got no JSON"
    if not isinstance(found, dict):
        return f"expected a JSON object, got {type(found).__name__}"
    kind = found.get("type")
    if not isinstance(kind, str) or kind not in MESSAGES:
        return f"expected a message of type {', '.join(sorted(MESSAGES))}, got {kind!r:.60}"
    if not isinstance(found.get("data", {}), dict):
        return f"expected the data of a message to be an object, got {type(found['data']).__name__}"
    return None


def patient(protocol: Any) -> Any:
    """Return uvicorn's protocol with an end to connections that do not ask for anything.

    A connection without a whole header holds an open file and no token: such are ended after `HEADER_SECONDS`, and the
    oldest at once where there are more than `MAX_HALF_OPEN`.
    """
    half_open: dict[Any, asyncio.TimerHandle] = {}

    class Patient(protocol):  # type: ignore[misc]  # a class of a library that may be absent
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if len(half_open) >= MAX_HALF_OPEN:
                oldest = next(iter(half_open))
                half_open.pop(oldest).cancel()
                oldest.transport.abort()
            half_open[self] = asyncio.get_running_loop().call_later(HEADER_SECONDS, self.give_up)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if getattr(self, "cycle", None) is not None or self.transport.get_protocol() is not self:
                self.settle()

        def connection_lost(self, exc: Exception | None) -> None:
            self.settle()
            super().connection_lost(exc)

        def settle(self) -> None:
            timer = half_open.pop(self, None)
            if timer is not None:
                timer.cancel()

        def give_up(self) -> None:
            half_open.pop(self, None)
            self.transport.abort()

    return Patient


def _shown_token(header: bytes) -> bytes:
    """Return the token in an Authorization header: as a bearer's, or as the password of anybody."""
    scheme, _, value = header.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


async def _refuse(scope: MutableMapping[str, Any], receive: Receive, send: Send, status: int, reason: str) -> None:
    kind = "http"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
            return
        kind = "websocket.http"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(reason.encode())).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": reason.encode()})
