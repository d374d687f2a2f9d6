"""A server of text environments for trainers in other languages or on other machines, over OpenEnv's WebSocket protocol.

How to run:

    python -m textagent_gym.interop.serve --env-id textagent_gym:TextWorld-Easy-Dense-v0 --max-sessions 32

A session is a WebSocket connection to `/ws` and has an environment of its own; for the messages, see `openenv`. OpenEnv's
server plays them and limits their number; added here is what it lacks: a token, a limit to the size of a message, and an end
to sessions that say nothing. Its other routes make environments outside of any session, and are closed.

Without a token it serves this machine alone, and no browser. With one (`--token`, or better the variable TEXTAGENT_TOKEN,
which no list of processes shows) every request needs the header `Authorization: Bearer TOKEN`, or the token as the password
in the address: `ws://trainer:TOKEN@host:8000/ws`. Nothing is encrypted here: between machines, use a proxy with TLS or a
tunnel.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium as gym
import tyro
from gymnasium.error import DependencyNotInstalled

from textagent_gym.knobs import check_integer, check_number

try:
    import uvicorn

    from textagent_gym.interop.openenv import make_app
except (ImportError, DependencyNotInstalled) as error:
    reason = (
        str(error)
        if isinstance(error, DependencyNotInstalled)
        else "expected uvicorn: pip install 'textagent-gym[serve]'"
    )
    if __name__ == "__main__":
        raise SystemExit(f"error: {reason}") from None
    raise DependencyNotInstalled(reason) from error

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

TOKEN_VARIABLE = "TEXTAGENT_TOKEN"

OPEN_ROUTES = {"http": frozenset({"/health", "/schema"}), "websocket": frozenset({"/ws"})}
"""What a client may ask for; OpenEnv's other routes act outside of sessions and their limits."""

GOING_AWAY, TOO_BIG = 1001, 1009
"""Codes with which a WebSocket is closed (RFC 6455, section 7.4.1)."""


class Guard:
    """ASGI middleware that lets in those who know the token, and ends sessions that idle or send too much at once.

    Args:
        app: The application behind it.
        token: What a request must show, or None for none; then requests from pages of a browser are refused.
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
            return 403, "expected a client that is no browser, got a request from a page"
        if scope["path"] not in OPEN_ROUTES[scope["type"]] or scope.get("method", "GET") != "GET":
            return 404, f"expected {', '.join(sorted(OPEN_ROUTES[scope['type']]))}, got {scope['path']}"
        return None

    async def _guard_session(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        is_ended = False

        async def receive_within_limits() -> Message:
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


@dataclass(frozen=True)
class Config:
    """Options of the server."""

    env_id: str
    """Environment; `package:Id-v0` imports the package first."""
    env_kwargs: Annotated[str, tyro.conf.arg(metavar="JSON")] = "{}"
    """Constructor options of the environment, as JSON."""
    host: str = "127.0.0.1"
    """Address to serve at; one that other machines can reach needs a token."""
    port: int = 8000
    """Port to serve at."""
    token: str = ""
    """What clients must show; empty for that in the variable TEXTAGENT_TOKEN, if any."""
    max_sessions: int = 8
    """Sessions at a time."""
    max_message_bytes: int = 1_000_000
    """Longest message of a client, in bytes."""
    idle_seconds: float = 600.0
    """Time that a client may take for its next message, in seconds."""

    def check(self) -> None:
        """Raise `ValueError` for values outside their range."""
        check_integer("port", self.port, low=1, high=65_535)
        check_integer("max_sessions", self.max_sessions, low=1)
        check_integer("max_message_bytes", self.max_message_bytes, low=1)
        check_number("idle_seconds", self.idle_seconds, low=0.1)
        if not self._token and not _is_loopback(self.host):
            raise ValueError(
                f"expected a token (--token or {TOKEN_VARIABLE}) to serve at {self.host}, which other machines can "
                "reach, got none"
            )

    @property
    def _token(self) -> str | None:
        return self.token or os.environ.get(TOKEN_VARIABLE) or None

    def app(self) -> Guard:
        """Return the application, guarded."""
        return Guard(
            make_app(self.env_id, _json_object(self.env_kwargs), self.max_sessions),
            token=self._token,
            max_message_bytes=self.max_message_bytes,
            idle_seconds=self.idle_seconds,
        )


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object as env_kwargs, got {text}")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> None:
    """Serve until it is interrupted."""
    config = tyro.cli(Config, description=__doc__)
    try:
        config.check()
        app = config.app()
    except (gym.error.Error, ImportError, TypeError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(
        f"{config.env_id} at ws://{config.host}:{config.port}/ws, {config.max_sessions} sessions at most\n"
    )
    sys.stdout.flush()
    # A client that has vanished without a word answers no ping, and loses its session after at most 40 seconds.
    uvicorn.run(
        app,
        host=config.host,
        port=config.port,
        log_level="warning",
        ws_max_size=config.max_message_bytes,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
    )


if __name__ == "__main__":
    main()
