"""A server for chat completions on localhost that behaves as a script says, well or badly."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, TypeAlias

from baselines.models.chat import Message

Respond: TypeAlias = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.seen.append((dict(self.headers), body))
            respond = self.server.script.pop(0) if self.server.script else self.server.respond
        respond(self, body)

    def log_message(self, *_: Any) -> None:
        pass


class ChatServer(ThreadingHTTPServer):
    """Answers each request by the next entry of `script`, then by `respond`.

    Attributes:
        script: what the next requests get.
        respond: what all others get.
        seen: headers and body of every request.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, respond: Respond) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.respond, self.lock = respond, Lock()
        self.script: list[Respond] = []
        self.seen: list[tuple[dict[str, str], dict[str, Any]]] = []

    def __enter__(self) -> ChatServer:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body in self.seen]

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are part of the tests."""


def raw(content: bytes) -> Respond:
    """Send bytes as they are, and hang up."""

    def respond(handler: Handler, _: dict[str, Any]) -> None:
        handler.wfile.write(content)
        handler.close_connection = True

    return respond


def answer(status: int, content: bytes, length: int | None = None, **headers: str) -> Respond:
    """Send an answer that is well formed but for its length."""
    length = len(content) if length is None else length
    found = {
        "Content-Length": str(length),
        "Connection": "close",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in found.items()), "", ""]
    return raw("\r\n".join(lines).encode() + content)


def shaped(value: Any, status: int = 200, **headers: str) -> Respond:
    """Send JSON."""
    return answer(status, json.dumps(value).encode(), **headers)


def completion(text: Any, finish_reason: Any = "stop", usage: Any = (5, 2)) -> dict[str, Any]:
    """Return a chat completion."""
    if isinstance(usage, tuple):
        usage = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}], "usage": usage}


def says(reply: Callable[[list[Message]], dict[str, Any]]) -> Respond:
    """Answer a conversation with the completion that a function makes of it, and keep the connection."""

    def respond(handler: Handler, body: dict[str, Any]) -> None:
        content = json.dumps(reply(body["messages"])).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return respond
