"""HTTP to one address of a model server: retries, a rate limit, bounds, and a key that stays secret.

The key is that of the environment variable OPENAI_API_KEY. It is sent to the base URL and nowhere else, and cut out of
whatever the server says, should it say it back.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from threading import Lock
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from baselines.config.settings import check_all_at_least, check_all_positive
from baselines.errors import ConfigError, ContextLengthError, EndpointError

_TRANSIENT = (408, 429, 500, 502, 503, 504)
_HOPELESS = (requests.exceptions.SSLError, requests.exceptions.InvalidURL, requests.exceptions.InvalidJSONError)
_HINTS = {
    401: "; is OPENAI_API_KEY set, and right?",
    403: "; may this OPENAI_API_KEY use the model?",
    404: "; is the base URL right (most end in /v1), and does the server know the model?",
}
_TOO_LONG = re.compile(
    # The words of OpenAI, vLLM, llama.cpp, Anthropic, Gemini, Bedrock, Mistral, Cohere, Moonshot, Zhipu, DashScope, TGI.
    r"context[ _-](length|size|window|limit)"
    r"|\b(prompt|input|inputs|messages?|request|conversation)\b[^.]{0,40}\btoo (long|many|large)\b"
    r"|\b(prompt|input|inputs|messages)\b[^.]{0,60}\b(exceeds?|must have less than|must be <=|is longer than)\b"
    r"|\btoo many (input |prompt )?tokens\b|\b(model|input|prompt) token limit\b|\bmaximum prompt length\b"
    r"|\breduce the length of\b|\brange of input length\b",
    re.IGNORECASE,
)
_NOT_TOO_LONG = re.compile(r"\b(quota|billing|credits?|rate limit|per (minute|hour|day|second))\b", re.IGNORECASE)
_NOT_TAKEN = re.compile(
    r"unsupported|not support|not permitted|extra (fields|inputs)|extra_forbidden|unknown (name|field|parameter)"
    r"|unrecognized|unexpected keyword",
    re.IGNORECASE,
)
_MIN_SECRET = 8  # characters; what is shorter is a word such as EMPTY, given to a server that wants no key

E = TypeVar("E", bound=EndpointError)


@dataclass(frozen=True)
class ConnectionSettings:
    """Settings of a server: address, time limits, retries and rate limit."""

    base_url: str | None = None
    """Address such as http://localhost:8000/v1; None takes the environment variable OPENAI_BASE_URL."""
    request_timeout: float = 120.0
    """Seconds until an answer must be complete."""
    max_retries: int = 6
    """Times that a request is sent again when the connection fails, an answer is late or breaks off, or its status is
    408, 429, 500, 502, 503 or 504."""
    backoff: float = 0.5
    """The first retry follows at once, the n-th after backoff * 2^(n-1) seconds; `Retry-After` takes precedence."""
    max_retry_after: float = 120.0
    """Seconds; a server that asks to be left alone for longer ends the run."""
    requests_per_minute: float = 0.0
    """Requests, retries included, are spread so that no more than this many begin in a minute; 0 for no limit."""
    max_reply_bytes: int = 1_000_000
    """Bytes of one answer at most."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        check_all_positive(self, "request_timeout", "max_reply_bytes")
        check_all_at_least(self, 0, "max_retries", "backoff", "max_retry_after", "requests_per_minute")


class HttpResponse(NamedTuple):
    """The body of an answer of status 200, and the number of retries that it took."""

    content: bytes
    num_retries: int


class Connection:
    """Posts JSON to one address; may be used by several threads at once.

    Args:
        settings: the base URL, and how it is asked.
        path: part of the address after the base URL, such as "/chat/completions".
        clock: seconds, for the rate limit and the time-out.
        sleep: waits for so many seconds.

    Attributes:
        url: the address.
        num_requests: requests sent, retries included.
        num_retries: of these, requests sent again after a failure.

    Raises:
        ConfigError: an option is out of range, there is no base URL, or OPENAI_API_KEY cannot be a key.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        path: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        settings.check()
        self.url = _checked(settings.base_url or os.environ.get("OPENAI_BASE_URL", "")).rstrip("/") + path
        self.num_requests = self.num_retries = 0
        self._settings = settings
        self._key = _Key(os.environ.get("OPENAI_API_KEY", "").strip())
        self._clock, self._sleep = clock, sleep
        self._retries = Retry(total=settings.max_retries, backoff_factor=settings.backoff)
        self._lock = Lock()
        self._next_start = clock()
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # no state that threads would share
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=1024))

    def close(self) -> None:
        """Close the connections that are kept open between requests."""
        self._session.close()

    def redact(self, text: str) -> str:
        """Return the text without the key."""
        return self._key.redact(text)

    def error(self, kind: type[E], got: str, hint: str = "") -> E:
        """Return an error in one sentence: "expected an answer from ..., got ...", shortened, and without the key."""
        got = " ".join(self.redact(got).split())  # redacted before it is shortened: half a key is a secret too
        shown = got if len(got) <= 300 else got[:300] + " ..."
        return kind(self.redact(f"expected an answer from {self.url}, got ") + shown + hint)

    def post(self, body: Mapping[str, Any]) -> HttpResponse:
        """Send a request until it is answered.

        Raises:
            EndpointError: it is not; the message says why.
            ContextLengthError: because the model's context is too short.
        """
        retries = self._retries
        while True:
            self._take_turn()
            with self._lock:
                self.num_requests += 1
                self.num_retries += bool(retries.history)
            try:
                return HttpResponse(self._attempt(body), len(retries.history))
            except _TransientError as error:
                if not retries.total:
                    raise EndpointError(f"{error}, after {len(retries.history)} retries") from None
                retries = retries.increment("POST", self.url)
                pause = retries.get_backoff_time() if error.retry_after is None else error.retry_after
            self._sleep(pause)

    def _take_turn(self) -> None:
        """Wait until the rate limit lets a request begin."""
        if not self._settings.requests_per_minute:
            return
        with self._lock:
            now = self._clock()
            start = max(now, self._next_start)
            self._next_start = start + 60 / self._settings.requests_per_minute
        if start > now:
            self._sleep(start - now)

    def _attempt(self, body: Mapping[str, Any]) -> bytes:
        deadline = self._clock() + self._settings.request_timeout
        options = {"stream": True, "allow_redirects": False, "timeout": self._settings.request_timeout}
        try:
            # `auth` also keeps the passwords of a .netrc file at home.
            with self._session.post(self.url, json=body, auth=self._key.sign, **options) as answer:
                content = self._read(answer, deadline)
        except _HOPELESS as error:
            raise self.error(EndpointError, _innermost(error)) from None
        except requests.RequestException as error:
            raise self.error(_TransientError, _innermost(error)) from None
        if answer.status_code != 200:
            raise self._refusal(answer, answer.status_code, content)
        if not content.strip():
            raise self.error(_TransientError, "an empty body")
        # An error may come as an answer of status 200, as from OpenRouter.
        code = None if b'"choices"' in content else _error(content).get("code")
        if isinstance(code, int) and 400 <= code < 600:
            raise self._refusal(answer, code, content)
        return content

    def _read(self, answer: requests.Response, deadline: float) -> bytes:
        content = bytearray()
        for chunk in answer.iter_content(1024):
            content += chunk
            if len(content) > self._settings.max_reply_bytes:
                raise self.error(EndpointError, f"more than {self._settings.max_reply_bytes} bytes (max_reply_bytes)")
            if self._clock() > deadline:
                raise self.error(_TransientError, f"only a part of it within {self._settings.request_timeout:g} s")
        return bytes(content)

    def _refusal(self, answer: requests.Response, status: int, content: bytes) -> EndpointError:
        if answer.is_redirect:
            target = answer.headers["Location"].split("?")[0]
            hint = "; redirects are not followed: give the final address as the base URL"
            return self.error(EndpointError, f"status {status}, a redirect to {target}", hint)
        said = f"status {status}: {server_message(content)}"
        error = _error(content)  # what it repeats of the request is in none of these fields
        names = [error[name] for name in ("code", "type", "status") if isinstance(error.get(name), str)]
        shown = " ".join([said, *names])
        if status not in (401, 403, 404, 429) and _TOO_LONG.search(shown) and not _NOT_TOO_LONG.search(shown):
            return self.error(ContextLengthError, said)
        if status in (400, 422) and _NOT_TAKEN.search(said):
            hint = """; extra_body leaves a field out that the server does not take, as in '{"seed": null}'"""
            return self.error(EndpointError, said, hint)
        if status not in _TRANSIENT:
            return self.error(EndpointError, said, _HINTS.get(status, ""))
        refusal = self.error(_TransientError, said)
        with suppress(InvalidHeader):
            refusal.retry_after = self._retries.get_retry_after(answer.raw)
        limit = self._settings.max_retry_after
        if (refusal.retry_after or 0) > limit:
            hint = f"; it asks to wait {refusal.retry_after:.0f} s, more than max_retry_after={limit:g}"
            return self.error(EndpointError, said, hint)
        return refusal


def server_message(content: bytes) -> str:
    """Return a server's message in an unexpected answer: the error's own message, or all of it."""
    text = content.decode("utf-8", "replace").strip()
    with suppress(ValueError, RecursionError):
        answer = json.loads(content)
        for name in ("error", "message", "detail"):
            if isinstance(answer, dict):
                answer = answer.get(name) or answer
        text = answer if isinstance(answer, str) else json.dumps(answer)
    return text or "an empty body"


def _error(content: bytes) -> dict[str, Any]:
    """Return the error object of an answer, with its fields; empty if there is none."""
    with suppress(ValueError, RecursionError):
        answer = json.loads(content)
        error = answer.get("error") if isinstance(answer, dict) and "choices" not in answer else None
        return error if isinstance(error, dict) else {}
    return {}


class _TransientError(EndpointError):
    """A failure that may not happen again; `retry_after` are the seconds that the server asks for."""

    retry_after: float | None = None


class _Key:
    """A secret that signs requests and shows itself nowhere.

    Raises:
        ConfigError: the value holds characters that are in no key.
    """

    def __init__(self, value: str) -> None:
        if not re.fullmatch(r"[!#-&(-\[\]-~]*", value):
            raise ConfigError(
                "expected OPENAI_API_KEY in printable ASCII without spaces, quotes and backslashes, got something else"
            )
        self._value = value
        forms = {value, value.replace("/", "\\/"), quote(value, safe="")} if len(value) >= _MIN_SECRET else set()
        self._forms = [re.compile(re.escape(form), re.IGNORECASE) for form in forms]

    def __repr__(self) -> str:
        return "_Key(hidden)"

    def sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key to a request, if there is one."""
        if self._value:
            request.headers["Authorization"] = f"Bearer {self._value}"
        return request

    def redact(self, text: str) -> str:
        """Return the text without the key."""
        for form in self._forms:
            text = form.sub("[key]", text)
        return text


def _checked(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        plain = not (parts.query or parts.fragment or "@" in parts.netloc) and parts.port != 0
    except ValueError:
        plain = False
    if not (plain and parts.scheme in ("http", "https") and parts.hostname):
        # It is not shown: it may hold a password.
        got = "an address of another form" if base_url else "none"
        raise ConfigError(
            "expected a base URL such as http://localhost:8000/v1, without user and query (--base-url or "
            f"OPENAI_BASE_URL), got {got}"
        )
    return base_url


def _innermost(error: BaseException) -> str:
    while inner := error.__cause__ or next((part for part in error.args if isinstance(part, BaseException)), None):
        error = inner
    return f"{type(error).__name__}: {error}"
