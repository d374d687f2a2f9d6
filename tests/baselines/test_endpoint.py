"""The client for chat completions against a real server on localhost, which behaves well and badly."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from baselines.endpoints.endpoint import Endpoint, EndpointSettings, Usage
from baselines.errors import ConfigError, ContextLengthError, EndpointError
from tests.support.chat_server import ChatServer, Respond, answer, completion, raw, says, shaped

KEY = "sk-test/4f9a-secret+key"
HELLO = [{"role": "user", "content": "You are in a hall."}]
FINE = says(lambda _: completion("go east"))


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(FINE) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


def connect(server: ChatServer | str, clock: Clock, **options: Any) -> Endpoint:
    url = server if isinstance(server, str) else server.base_url
    return Endpoint("m", EndpointSettings(base_url=url, **options), clock=clock, sleep=clock.sleep)


def ask(server: ChatServer | str, clock: Clock, **options: Any) -> EndpointError:
    """Ask once and return the error."""
    with connect(server, clock, **options) as endpoint, pytest.raises(EndpointError) as caught:
        endpoint.complete(HELLO, max_tokens=8)
    text = "".join(traceback.format_exception(caught.value))
    assert KEY not in text and "\n" not in str(caught.value)
    return caught.value


def test_a_reply(server: ChatServer, clock: Clock) -> None:
    with connect(server, clock, prompt_price=1.0, completion_price=10.0) as endpoint:
        reply = endpoint.complete(HELLO, max_tokens=8, temperature=0.5, seed=3)
        assert (reply.text, reply.finish_reason, reply.cut) == ("go east", "stop", False)
        assert reply.usage == Usage(1, 0, 5, 2, cost=25e-6)
        endpoint.complete(HELLO, max_tokens=8)
        assert endpoint.usage == reply.usage + reply.usage
    (headers, first), (_, second) = server.seen
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert first == {"model": "m", "messages": HELLO, "max_tokens": 8, "temperature": 0.5, "seed": 3}
    assert second == {"model": "m", "messages": HELLO, "max_tokens": 8, "temperature": 0.0}
    assert clock.slept == []


def test_further_fields_of_the_body(server: ChatServer, clock: Clock) -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 9, "chat_template_kwargs": {"enable_thinking": False}}
    with connect(server, clock, extra_body=extra) as endpoint:
        endpoint.complete(HELLO, max_tokens=8)
    answer = {name: value for name, value in extra.items() if value is not None}
    assert server.bodies == [{"model": "m", "messages": HELLO, "temperature": 0.0, **answer}]


@pytest.mark.parametrize(
    ("choice", "text", "usage"),
    [
        (completion(""), "", Usage(1, 0, 5, 2, num_empty=1)),
        (completion(None), "", Usage(1, 0, 5, 2, num_empty=1)),
        (completion(" \n"), " \n", Usage(1, 0, 5, 2, num_empty=1)),
        (completion("x", usage=None), "x", Usage(1, num_unknown=1)),
        (completion("x", usage={"prompt_tokens": 5}), "x", Usage(1, num_unknown=1)),
        (completion("x", usage=(-1, 2)), "x", Usage(1, num_unknown=1)),
        (completion("x", usage={"prompt_tokens": "5", "completion_tokens": None}), "x", Usage(1, num_unknown=1)),
        (completion("half \ud83d"), "half ?", Usage(1, 0, 5, 2)),
        ({"choices": [{"message": {"role": "assistant"}}]}, "", Usage(1, num_empty=1, num_unknown=1)),
    ],
)
def test_replies_that_are_odd_and_no_errors(
    server: ChatServer, clock: Clock, choice: dict[str, Any], text: str, usage: Usage
) -> None:
    server.script = [shaped(choice)]
    with connect(server, clock) as endpoint:
        reply = endpoint.complete(HELLO, max_tokens=8)
    assert (reply.text, reply.usage) == (text, usage)
    reply.text.encode()


def test_a_reply_that_was_cut(server: ChatServer, clock: Clock) -> None:
    server.script = [shaped(completion("go ea", "length")), shaped(completion("go", None))]
    with connect(server, clock) as endpoint:
        assert endpoint.complete(HELLO, max_tokens=2).cut
        assert endpoint.complete(HELLO, max_tokens=2).finish_reason == ""


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HTML = b"<!doctype html>\n<title>It works!</title>"


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (answer(200, HTML, Content_Type="text/html"), "no chat completion but <!doctype html> <title>It works"),
        (answer(200, b'{"choices": [{"mess'), 'no chat completion but {"choices": [{"mess'),
        (answer(200, b"\xff\xfe\x00{"), "no chat completion but"),
        (answer(200, b"[" * 100_000), "no chat completion but [[["),
        (shaped([1, 2]), "no chat completion but [1, 2]"),
        (shaped(None), "no chat completion but null"),
        (shaped({"choices": []}), 'no chat completion but {"choices": []}'),
        (shaped({"choices": [{"message": None}]}), "no chat completion but"),
        (shaped({"choices": [{"text": "legacy"}]}), "no chat completion but"),
        (shaped(completion(["parts"])), "no chat completion but"),
        (shaped({"error": {"message": "overloaded", "code": 1}}), "no chat completion but overloaded"),
        (shaped({"error": {"message": "bad key", "type": "auth"}}, 401), "status 401: bad key; is OPENAI_API_KEY set"),
        (shaped({"detail": "no"}, 403), "status 403: no; may this OPENAI_API_KEY"),
        (shaped({"error": "no model m"}, 404), "status 404: no model m; is the base URL right"),
        (answer(404, HTML), "status 404: <!doctype html>"),
        (answer(400, b""), "status 400: an empty body"),
        (shaped({"error": None, "why": 1}, 422), 'status 422: {"error": null, "why": 1}'),
        (answer(200, b"x" * 300_000), "got more than 200000 bytes (max_reply_bytes)"),
        (answer(429, b"y" * 300_000), "got more than 200000 bytes (max_reply_bytes)"),
        (answer(307, b"", Location="http://other.example/v1?token=x"), "a redirect to http://other.example/v1; redir"),
    ],
)
def test_answers_that_are_final(server: ChatServer, clock: Clock, respond: Respond, words: str) -> None:
    server.script = [respond]
    error = str(ask(server, clock, max_reply_bytes=200_000))
    assert error.startswith(f"expected an answer from {server.base_url}/chat/completions, got ")
    assert words in error and len(error) < 500
    assert len(server.seen) == 1 and clock.slept == []


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (raw(b""), "RemoteDisconnected"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), "got an empty body"),
        (answer(200, b" "), "got an empty body"),
        (raw(b"nonsense\r\n\r\n"), "nonsense"),
        (answer(200, b'{"choices": ', length=500), "IncompleteRead(12 bytes read, 488 more expected)"),
        (raw(CHUNKED + b'5\r\n{"cho\r\n'), "Response ended prematurely"),
        (raw(CHUNKED + b'what\r\n{"cho\r\n'), "InvalidChunkLength"),
        (answer(200, b"not gzip", Content_Encoding="gzip"), "incorrect header check"),
        (shaped({"error": {"message": "slow down"}}, 429), "status 429: slow down"),
        (answer(500, b"Internal Server Error"), "status 500: Internal Server Error"),
        (answer(502, HTML), "status 502: <!doctype html>"),
        (answer(503, b""), "status 503: an empty body"),
    ],
)
def test_failures_that_are_tried_again(server: ChatServer, clock: Clock, respond: Respond, words: str) -> None:
    server.script = [respond] * 3
    with connect(server, clock, max_retries=3) as endpoint:
        reply = endpoint.complete(HELLO, max_tokens=8)
        assert reply.text == "go east" and reply.usage == endpoint.usage == Usage(4, 3, 5, 2)
    assert clock.slept == [0.0, 1.0, 2.0]
    server.respond = respond
    error = str(ask(server, clock, max_retries=2))
    assert words in error and error.endswith(", after 2 retries")
    assert len(server.seen) == 4 + 3


def test_nobody_is_there(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = str(ask(url, clock, max_retries=1))
    assert error == (
        f"expected an answer from {url}/chat/completions, got ConnectionRefusedError: [Errno 111] Connection refused, "
        "after 1 retries"
    )


def test_an_answer_that_does_not_come(server: ChatServer, clock: Clock) -> None:
    done = Event()
    server.respond = lambda *_: done.wait(10) and None
    assert "timed out" in str(ask(server, clock, request_timeout=0.05, max_retries=1))
    done.set()


def test_an_answer_that_drips(server: ChatServer, clock: Clock) -> None:
    def drip(handler: Any, _: Any) -> None:
        handler.wfile.write(CHUNKED)
        for _ in range(100):
            clock.now += 1  # each byte comes in time, all of them do not
            handler.wfile.write(b"1\r\n \r\n")

    server.respond = drip
    assert "got only a part of it within 5 s" in str(ask(server, clock, request_timeout=5, max_retries=0))


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("This model's maximum context length is 4096 tokens. However, you requested 4100 tokens", 400),
        ("the request exceeds the available context size, try increasing it", 400),
        ("context_length_exceeded", 413),
        ("prompt is too long: 213000 tokens > 200000 maximum", 400),
        ("input length and `max_tokens` exceed context limit: 199000 + 8000 > 200000", 400),
        ("The input token count (40000) exceeds the maximum number of tokens allowed (32768).", 400),
        ("Input is too long for requested model.", 400),
        ("This model's maximum prompt length is 131072 but the request contains 200000 tokens.", 400),
        ("too many tokens: total number of tokens in the prompt cannot exceed 4081", 400),
        ("Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192", 400),
        ("Invalid request: Your request exceeded model token limit: 8192", 400),
        ("Prompt exceeds max length", 400),
        ("Range of input length should be [1, 30720]", 400),
        ("Input validation error: `inputs` must have less than 1024 tokens. Given: 2000", 422),
        ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", 400),
        ("the request exceeds the available context size", 500),
    ],
)
def test_a_conversation_that_is_too_long(server: ChatServer, clock: Clock, message: str, status: int) -> None:
    server.script = [shaped({"error": {"message": message}}, status)]
    assert isinstance(ask(server, clock), ContextLengthError)


def test_a_code_that_says_too_long(server: ChatServer, clock: Clock) -> None:
    server.script = [shaped({"error": {"message": "no", "code": "context_length_exceeded"}}, 400)]
    assert isinstance(ask(server, clock), ContextLengthError)
    server.script = [shaped({"error": {"message": "prompt is too long: 2 > 1", "code": 400}})]  # status 200
    assert isinstance(ask(server, clock), ContextLengthError)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("max_tokens is too large: 5000. This model supports at most 4096 completion tokens", 400),
        ("max_tokens: 200000 > 8192, which is the maximum allowed number of output tokens", 400),
        ("You exceeded your current quota, please check your plan and billing details: input tokens", 400),
        ("The prompt exceeds your rate limit of 1000 tokens per minute", 400),
        ("messages.0.role: Input should be 'user' or 'assistant'", 400),
        ("prompt is too long: maybe, but who are you", 401),
    ],
)
def test_refusals_that_are_not_about_the_length(server: ChatServer, clock: Clock, message: str, status: int) -> None:
    server.script = [shaped({"error": {"message": message}}, status)]
    assert type(ask(server, clock)) is EndpointError


def test_an_error_inside_an_answer_of_status_200(server: ChatServer, clock: Clock) -> None:
    server.script = [shaped({"error": {"message": "model overloaded", "code": 503}})]
    with connect(server, clock) as endpoint:
        assert endpoint.complete(HELLO, max_tokens=8).usage.num_retries == 1
    server.script = [shaped({"error": {"message": "bad key", "code": 401}})]
    assert "status 401: bad key; is OPENAI_API_KEY set" in str(ask(server, clock))


def test_another_name_of_the_token_limit(server: ChatServer, clock: Clock) -> None:
    """The server is asked once more under the name that it wants, and by that name from then on."""
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    )
    server.script = [shaped({"error": {"message": message}}, 400)]
    with connect(server, clock) as endpoint:
        assert [endpoint.complete(HELLO, max_tokens=8).text for _ in range(2)] == ["go east"] * 2
    limits = [{name: body[name] for name in body if "tokens" in name} for body in server.bodies]
    assert limits == [{"max_tokens": 8}, {"max_completion_tokens": 8}, {"max_completion_tokens": 8}]
    assert clock.slept == []


def test_a_field_that_the_server_does_not_take(server: ChatServer, clock: Clock) -> None:
    server.script = [shaped({"detail": "body.seed: Extra inputs are not permitted"}, 422)]
    assert """as in '{"seed": null}'""" in str(ask(server, clock))


CALL = {"id": "1", "type": "function", "function": {"name": "act", "arguments": '{"action": "go east"}'}}
WRITTEN = '{"name": "act", "arguments": {"action": "go east"}}'


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "go "}, {"type": "text", "text": "east"}]}, "go east"),
        ({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "go east"}]}, "go east"),
        ({"content": []}, ""),
        ({"content": None, "reasoning_content": "I should go east"}, ""),
        ({"content": None, "tool_calls": [CALL]}, WRITTEN),
        ({"content": "Well.", "tool_calls": [CALL]}, f"Well.\n```json\n{WRITTEN}\n```"),
    ],
)
def test_content_in_parts_and_calls(server: ChatServer, clock: Clock, message: dict[str, Any], text: str) -> None:
    server.script = [shaped({"choices": [{"message": message}]})]
    with connect(server, clock) as endpoint:
        assert endpoint.complete(HELLO, max_tokens=8).text == text


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
def test_words_for_a_reply_that_was_cut(server: ChatServer, clock: Clock, reason: str) -> None:
    server.script = [shaped(completion("go ea", reason))]
    with connect(server, clock) as endpoint:
        assert endpoint.complete(HELLO, max_tokens=2).cut


def test_retry_after(server: ChatServer, clock: Clock) -> None:
    server.script = [answer(status, b"", Retry_After=value) for status in (429, 503) for value in ("7", "0", "soon")]
    with connect(server, clock) as endpoint:
        assert endpoint.complete(HELLO, max_tokens=8).usage.num_retries == 6
    assert clock.slept == [7.0, 0.0, 2.0, 7.0, 0.0, 16.0]  # where it cannot be read, the back-off of that retry


@pytest.mark.parametrize("value", ["3600", formatdate(4e9, usegmt=True)])
def test_retry_after_that_is_too_long(server: ChatServer, clock: Clock, value: str) -> None:
    server.script = [answer(429, b"quota", Retry_After=value)]
    assert "status 429: quota; it asks to wait" in str(ask(server, clock))
    assert clock.slept == []


def test_the_rate_limit_counts_retries(server: ChatServer, clock: Clock) -> None:
    server.script = [answer(500, b"")]
    with connect(server, clock, requests_per_minute=30) as endpoint:
        for _ in range(3):
            endpoint.complete(HELLO, max_tokens=8)
        assert clock.slept == [0.0, 2.0, 2.0, 2.0]  # four requests, the second of them a retry at once


def test_threads_take_turns(server: ChatServer) -> None:
    slept: list[float] = []
    settings = EndpointSettings(base_url=server.base_url, requests_per_minute=30)
    with Endpoint("m", settings, clock=lambda: 100.0, sleep=slept.append) as endpoint, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: endpoint.complete(HELLO, max_tokens=8), range(4)))
    assert sorted(slept) == [2.0, 4.0, 6.0]


def test_threads_ask_at_the_same_time(server: ChatServer, clock: Clock) -> None:
    together = Barrier(8, timeout=30)

    def meet(messages: list[dict[str, str]]) -> dict[str, Any]:
        together.wait()
        return completion(messages[0]["content"])

    server.respond = says(meet)
    with connect(server, clock, max_retries=0) as endpoint, ThreadPoolExecutor(8) as threads:
        asked = [[{"role": "user", "content": str(number)}] for number in range(24)]
        replies = list(threads.map(lambda messages: endpoint.complete(messages, max_tokens=1), asked))
        assert [reply.text for reply in replies] == [str(number) for number in range(24)]
        assert endpoint.usage == Usage(24, 0, 24 * 5, 24 * 2)


ECHOES = (KEY, KEY.upper(), KEY.replace("/", "\\/"), KEY.replace("/", "%2F").replace("+", "%2B"), "x" * 290 + KEY)


@pytest.mark.parametrize("echo", ECHOES)
def test_the_key_is_in_no_error(server: ChatServer, clock: Clock, echo: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text = echo.encode()
    for respond in (
        shaped({"error": {"message": f"Incorrect API key {echo}"}}, 401),
        answer(400, text),
        answer(200, text),
        answer(500, text),
        raw(text + b"\r\n\r\n"),
        answer(302, b"", Location=f"https://other.example/{echo}"),
    ):
        server.respond = respond
        error = str(ask(server, clock, max_retries=1))
        assert "[key]" in error or len(echo) > 290
        for part in ("secret", "SECRET", "sk-test"):
            assert part not in error and part not in caplog.text


def test_the_key_is_in_no_result(server: ChatServer, clock: Clock) -> None:
    server.script = [shaped(completion(f"your key is {KEY}", KEY))]
    with connect(server, clock) as endpoint:
        reply = endpoint.complete(HELLO, max_tokens=8)
        assert reply.text == "your key is [key]" and reply.finish_reason == "[key]"
        assert KEY not in f"{endpoint!r} {vars(endpoint)} {vars(endpoint._connection)} {reply!r} {endpoint.usage!r}"


def test_the_key_goes_nowhere_else(server: ChatServer, clock: Clock) -> None:
    with ChatServer(FINE) as other:
        for status in (301, 302, 307, 308):
            server.script = [answer(status, b"", Location=f"{other.base_url}/chat/completions")]
            assert f"a redirect to {other.base_url}/chat/completions" in str(ask(server, clock))
        assert other.seen == []


def test_without_a_key_nothing_is_sent(
    server: ChatServer, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password hidden\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("OPENAI_API_KEY")
    with connect(server, clock) as endpoint:
        assert endpoint.complete(HELLO, max_tokens=8).text == "go east"
    assert "Authorization" not in server.seen[0][0]


def test_keys_as_files_and_local_servers_have_them(
    server: ChatServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.respond = says(lambda _: completion("the bottle is EMPTY"))
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY\n")
    with connect(server, clock) as endpoint:
        assert endpoint.complete(HELLO, max_tokens=8).text == "the bottle is EMPTY"
    assert server.seen[0][0]["Authorization"] == "Bearer EMPTY"


@pytest.mark.parametrize("key", ["sk-two\nlines", "sk-\u00e9t\u00e9", '"sk-quoted"', "sk two"])
def test_keys_that_are_none(clock: Clock, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="expected OPENAI_API_KEY in printable ASCII") as caught:
        connect("http://localhost/v1", clock)
    assert "sk" not in str(caught.value)


def test_the_base_url_of_the_environment(server: ChatServer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url + "/")
    with Endpoint("m", EndpointSettings(), clock=clock) as endpoint:
        assert endpoint.complete(HELLO, max_tokens=8).text == "go east"
        assert repr(endpoint) == f"Endpoint('m', '{server.base_url}/chat/completions')"


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://host/v1", "http://", "http://me:hidden@host/v1", "http://h/v1?k=hidden", "http://[x"],
)
def test_base_urls_that_are_none(clock: Clock, url: str) -> None:
    with pytest.raises(ConfigError, match="expected a base URL such as") as caught:
        connect(url, clock)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"request_timeout": 0.0},
        {"max_retries": -1},
        {"backoff": -1.0},
        {"requests_per_minute": -1.0},
        {"max_reply_bytes": 0},
        {"completion_price": -1.0},
        {"extra_body": {"stream": True}},
    ],
)
def test_settings_out_of_range(clock: Clock, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"expected {next(iter(options))}"):
        connect("http://localhost/v1", clock, **options)
