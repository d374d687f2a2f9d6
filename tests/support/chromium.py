"""A small driver for headless Chromium: the DevTools protocol over descriptors 3 and 4, messages ended by NUL."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any

from tests.support.pages import BROWSER

KEYS = {"Enter": ("Enter", 13, "\r"), " ": ("Space", 32, " "), "Tab": ("Tab", 9, ""), "j": ("KeyJ", 74, "j")}
"""Key -> code, virtual key code and text."""


class Chromium:
    """One page of a headless browser.

    Args:
        profile: folder for the browser's own files.

    Attributes:
        problems: exceptions and messages of errors on the pages so far.
        requests: addresses that pages have asked for.
    """

    def __init__(self, profile: Path) -> None:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
        # A shell moves the pipes to the descriptors that the protocol asks for.
        moved = 'exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null'
        self._process = subprocess.Popen(
            ["sh", "-c", moved, str(BROWSER), *flags, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._out, self._in = self._process.stdin, self._process.stdout
        self._buffer, self._number, self._session = b"", 0, ""
        self._events: list[str] = []
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, AssertionError):
            self._session = ""
            self.send("Browser.close")
        self._out.close()
        self._in.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        session = {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(command | session).encode() + b"\0")
        self._out.flush()
        while (message := self._receive()).get("id") != self._number:
            pass
        assert "error" not in message, f"{method}: {message['error']}"
        result: dict[str, Any] = message["result"]
        return result

    def open(self, address: str) -> None:
        """Go to an address and wait until the page is loaded; another place on the same page loads nothing."""
        self._events.clear()
        if "loaderId" in self.send("Page.navigate", url=address):
            self.wait_for_load()
            return
        while self.read("location.href") != address:
            time.sleep(0.01)
        self.read("new Promise(done => setTimeout(done))")  # what listens for the new place has been called

    def wait_for_load(self) -> None:
        """Wait until the page that was asked for last is loaded."""
        while "Page.loadEventFired" not in self._events:
            self._receive()
        self._events.clear()

    def read(self, script: str) -> Any:
        """Return the value of an expression on the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and releases a key."""
        code, number, text = KEYS[key]
        answer = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **answer)
        self.send("Input.dispatchKeyEvent", type="keyUp", **answer)

    def click(self, selector: str) -> None:
        """Click in the middle of the first element that a selector finds."""
        box = f"document.querySelector({json.dumps(selector)})"
        self.read(f"{box}.scrollIntoView({{block: 'center', inline: 'center'}})")
        x, y = self.read(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])({box}.getClientRects()[0])",
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def resize(self, width: int, height: int = 900) -> None:
        """Give the page another size, in CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def colours(self, scheme: str) -> None:
        """Ask for "light" or "dark"."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def shoot(self, path: Path, whole: bool = False) -> None:
        """Write a picture of what is seen, or of the whole page."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _receive(self, seconds: float = 60) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select([self._in], [], [], max(0, until - time.monotonic()))
            piece = os.read(self._in.fileno(), 2**20) if ready else b""
            assert piece, "expected an answer of Chromium, got none"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, answer: dict[str, Any]) -> None:
        self._events.append(event)
        if event == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(answer["exceptionDetails"]))
        elif event == "Log.entryAdded" and answer["entry"]["level"] in ("error", "warning"):
            self.problems.append(json.dumps(answer["entry"]))
        elif event == "Runtime.consoleAPICalled" and answer["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(answer["args"]))
        elif event == "Page.javascriptDialogOpening":
            self.problems.append(f"dialog: {answer['message']}")
        elif event == "Network.requestWillBeSent":
            self.requests.append(answer["request"]["url"])
