"""A stand-in of the Hugging Face hub on localhost: takes repositories and commits, and keeps the files."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        self._seen()
        self._answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        self._seen()
        hub, path = self.server, self.path.partition("?")[0]
        if path in hub.refused:
            self._answer(*hub.refused[path])
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            hub.validated.append(json.loads(body)["content"])
            self._answer(200, {"errors": [], "warnings": []})
        elif path.startswith("/api/models/") and path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for name in names]
            self._answer(200, {"files": files, "commitOid": "0" * 40})
        elif path.startswith("/api/models/") and path.endswith("/commit/main"):
            self._commit(path.removeprefix("/api/models/").removesuffix("/commit/main"), body)
        else:
            self._answer(404, {"error": "not found"})

    def log_message(self, *_: Any) -> None:
        pass

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization'] or 'me'}/{wanted['name']}"
        exists = name in self.server.files
        self.server.created.append(wanted)
        self.server.files.setdefault(name, {})
        self._answer(409 if exists else 200, {"url": f"{self.server.url}/{name}", "id": name, "name": name})

    def _commit(self, name: str, body: bytes) -> None:
        for line in body.decode("utf-8").strip().split("\n"):
            operation = json.loads(line)
            if operation["key"] == "file":
                value = operation["value"]
                self.server.files[name][value["path"]] = base64.b64decode(value["content"])
        commit = "1" * 40
        self._answer(
            200, {"success": True, "commitOid": commit, "commitUrl": f"{self.server.url}/{name}/commit/{commit}"}
        )

    def _seen(self) -> None:
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization", "")))

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class HubServer(ThreadingHTTPServer):
    """Answers the requests of an upload.

    Attributes:
        files: repository -> path -> content.
        created: what was asked of each repository.
        validated: model cards that were checked.
        refused: path -> status and content of an answer in place of the usual one.
        seen: method, path and authorization of every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.created: list[dict[str, Any]] = []
        self.validated: list[str] = []
        self.refused: dict[str, tuple[int, Any]] = {}
        self.seen: list[tuple[str, str, str]] = []

    def __enter__(self) -> HubServer:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"
