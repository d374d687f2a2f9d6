"""A stand-in for the Hugging Face hub on localhost: the requests with which `huggingface_hub` pushes and loads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


@dataclass
class Repo:
    """One repository.

    Attributes:
        commits: commit -> files by name, in the order in which they were made.
        private: True if it was made so.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    private: bool = False

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]

    def commit(self, changes: dict[str, bytes | None]) -> str:
        """Add a commit; None deletes a file."""
        files = {**self.files, **changes}
        whole = {name: content for name, content in files.items() if content is not None}
        digest = hashlib.sha256(repr((self.head, sorted(whole.items()))).encode()).hexdigest()[:40]
        self.commits[digest] = whole
        return digest

    def at(self, revision: str) -> str | None:
        """Return the commit of a revision."""
        return self.head if revision == "main" else revision if revision in self.commits else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        is_chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = self._chunks() if is_chunked else self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self._seen()
        if path in self.server.refused:
            status, content = self.server.refused[path]
            return self._json(content, status)
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            return self._refuse(401, "Invalid user token.", "")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        found = re.fullmatch(r"/api/(\w+)s/([^/]+/[^/]+)/(preupload|commit)/(.+)", path)
        repo = self.server.repos.get((found[1], found[2])) if found else None
        if found is None or repo is None:
            return self._refuse(404, "Repository not found", "RepoNotFound")
        if found[3] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        changes: dict[str, bytes | None] = {}
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                changes[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                changes[line["value"]["path"]] = None
        with self.server.lock:
            commit = repo.commit(changes)
        return self._json(
            {"success": True, "commitOid": commit, "commitUrl": f"{self.server.url}/{found[2]}/commit/{commit}"}
        )

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._seen()
        if found := re.fullmatch(r"/api/(\w+)s/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            kind, name, what, revision = found.groups()
        elif found := re.fullmatch(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            kind, name, what, revision = (found[1] or "models")[:-1], found[2], "file", found[3]
        else:
            return self._refuse(404, "Not found", "")
        repo = self.server.repos.get((kind, name))
        commit = repo and repo.at(revision or "main")
        if repo is None:
            return self._refuse(404, "Repository not found", "RepoNotFound")
        if commit is None:
            return self._refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        files = repo.commits[commit]
        if what == "tree":
            return self._json(
                [
                    {"type": "file", "path": file, "size": len(content), "oid": _oid(content)}
                    for file, content in files.items()
                ]
            )
        if what == "file":
            content = files.get(found[4])
            return (
                self._refuse(404, "Entry not found", "EntryNotFound")
                if content is None
                else self._file(content, commit)
            )
        siblings = [
            {"rfilename": file, "size": len(content), "blobId": _oid(content)} for file, content in files.items()
        ]
        return self._json({"id": name, "sha": commit, "private": repo.private, "siblings": siblings, "tags": []})

    def _seen(self) -> str:
        """Note the request and return its path."""
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        return unquote(urlsplit(self.path).path)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _create(self, asked: dict[str, Any]) -> None:
        kind, name = asked.get("type", "model"), f"{asked.get('organization') or 'me'}/{asked['name']}"
        url = f"{self.server.url}/{'' if kind == 'model' else f'{kind}s/'}{name}"
        if (kind, name) in self.server.repos:
            return self._json({"error": "You already created this repo", "url": url}, 409)
        self.server.repos[kind, name] = Repo(private=asked.get("visibility") == "private" or bool(asked.get("private")))
        return self._json({"url": url, "name": name})

    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        content = json.dumps(value).encode()
        self._answer(status, content, {"Content-Type": "application/json", **headers})

    def _refuse(self, status: int, message: str, code: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._answer(status, json.dumps({"error": message}).encode(), {"Content-Type": "application/json", **headers})

    def _file(self, content: bytes, commit: str) -> None:
        self._answer(200, content, {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class Hub(ThreadingHTTPServer):
    """A hub in memory.

    Attributes:
        repos: kind ("model", "dataset") and "USER/NAME" -> repository.
        token: the one that may push.
        refused: path -> status and content of an answer in place of the usual one.
        seen: method, path and authorization of every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[tuple[str, str], Repo] = {}
        self.token, self.lock = "hf_secret", Lock()
        self.refused: dict[str, tuple[int, Any]] = {}
        self.seen: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def models(self) -> dict[str, dict[str, bytes]]:
        """Files of each repository of a model, by their names."""
        return {name: repo.files for (kind, name), repo in self.repos.items() if kind == "model"}

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with which another process uses it."""
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": self.token, "HF_HUB_OFFLINE": "0"}

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are part of the tests."""


@contextmanager
def local_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Yield a hub that `huggingface_hub` uses in this process, too."""
    from huggingface_hub import constants

    with Hub() as hub:
        Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        for name, value in hub.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield hub
        hub.shutdown()


def _oid(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:40]
