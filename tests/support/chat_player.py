"""A server for chat completions on localhost whose model plays by heart: its n-th reply is the n-th action."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import gymnasium as gym


def solution(env_id: str, seed: int) -> tuple[str, ...]:
    """Return two idle steps, and then the actions that solve the task of a seed."""
    env = gym.make(env_id, expose_solution=True)
    _, info = env.reset(seed=seed)
    env.close()
    return ("look", "nonsense", *info["solution"])


@contextmanager
def playing(by_heart: dict[str, Sequence[str]]) -> Iterator[str]:
    """Yield the base URL of a server; `by_heart` maps the first words of the user to the actions that follow."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            spoken = [message for message in body["messages"] if message["role"] == "user"]
            found = len([message for message in body["messages"] if message["role"] == "assistant"])
            reply = by_heart[_words(spoken[0]["content"])][found]
            message = {"role": "assistant", "content": reply}
            usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
            answer = {
                "id": "one",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": usage,
            }
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _words(content: Any) -> str:
    """Return the text of a message, whether it is a string or a list of parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
