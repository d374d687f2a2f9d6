"""A server of text environments for trainers in other languages or on other machines, over OpenEnv's WebSocket protocol.

How to run:

    python -m textagent_gym.interop.serve --env-id textagent_gym:TextWorld-Easy-Dense-v0 --max-sessions 32

A session is a WebSocket connection to `/ws` and has its own environment; for the messages, see `openenv`. OpenEnv's
server plays them and limits their number; added here is what it lacks: a token, a limit to the size of a message, an end
to sessions that say nothing and to requests that are never made, and messages that leave a session as it is where they are
none of the protocol's. Its other routes and messages make environments outside of any session, and are closed.

Without a token it serves this machine alone, and no browser. With one (`--token`, or better the variable TEXTAGENT_TOKEN,
which no list of processes shows) every request needs the header `Authorization: Bearer TOKEN`, or the token as the password
in the address: `ws://trainer:TOKEN@host:8000/ws`. Nothing is encrypted here: between machines, use a proxy with TLS or a
tunnel.
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium as gym
import tyro
from gymnasium.error import DependencyNotInstalled

from textagent_gym.interop.guard import Guard, patient
from textagent_gym.mechanics.knobs import check_integer, check_number

try:
    import uvicorn
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

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

TOKEN_VARIABLE = "TEXTAGENT_TOKEN"


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
    """Token that clients must show; empty for that in the variable TEXTAGENT_TOKEN, if any."""
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
    except (gym.error.Error, ImportError, OSError, TypeError, ValueError) as error:
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
        http=patient(AutoHTTPProtocol),
        ws_max_size=config.max_message_bytes,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
    )


if __name__ == "__main__":
    main()
