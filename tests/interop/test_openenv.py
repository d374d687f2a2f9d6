"""OpenEnv: its server, in a separate process, plays two sessions at once as in process, and keeps its limits and token."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import textagent_gym  # noqa: F401  # registers the ids
from tests.interop.test_episode import Parrot
from tests.support.blocks import run_with_library

openenv = pytest.importorskip("openenv.core", exc_type=ImportError)
sync_client = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")

from textagent_gym.interop.openenv import TextAction, TextEnvironment  # noqa: E402  # needs what may be absent
from textagent_gym.interop.serve import Config, main  # noqa: E402  # needs what may be absent

ENV_ID, TOKEN = "TextWorld-Easy-Dense-v0", "a-long-and-secret-token"
BEARER = {"additional_headers": {"Authorization": f"Bearer {TOKEN}"}}
ROOT = Path(__file__).parents[2]


class Session:
    """A client that knows the protocol and nothing of OpenEnv."""

    def __init__(self, port: int, **options: Any) -> None:
        self._stack = contextlib.ExitStack()
        self.socket = self._stack.enter_context(sync_client.connect(f"ws://127.0.0.1:{port}/ws", proxy=None, **options))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def ask(self, kind: str, **data: Any) -> dict[str, Any]:
        self.socket.send(json.dumps({"type": kind, "data": data} if kind != "state" else {"type": kind}))
        return json.loads(self.socket.recv(timeout=60))

    def play(self, kind: str, **data: Any) -> tuple[Any, ...]:
        answer = self.ask(kind, **data)
        assert answer["type"] == "observation", answer
        found = answer["data"]["observation"]
        assert answer["data"]["done"] == (found["terminated"] or found["truncated"])
        return found["text"], answer["data"]["reward"], found["terminated"], found["truncated"], found["info"]


@contextlib.contextmanager
def serving(*options: str, **variables: str) -> Iterator[int]:
    """Yield the port of a server in a separate process, which must still be alive at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "textagent_gym.interop.serve",
        "--env-id",
        f"textagent_gym:{ENV_ID}",
    ]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    server = subprocess.Popen([*command, "--port", str(port), *options], cwd=ROOT, env=environ)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None and time.monotonic() < deadline
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.2)
        yield port
        assert server.poll() is None
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving("--max-sessions", "2", "--max-message-bytes", "20000", "--idle-seconds", "60") as port:
        yield port


@pytest.fixture(scope="module")
def impatient() -> Iterator[int]:
    with serving("--max-sessions", "1", "--idle-seconds", "1.5") as port:
        yield port


@pytest.fixture(scope="module")
def secret() -> Iterator[int]:
    with serving("--max-sessions", "1", TEXTAGENT_TOKEN=TOKEN) as port:
        yield port


def test_the_block_of_the_page_runs(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_with_library("llm_libraries.md", "GenericEnvClient", {":8000": f":{port}"})["result"]
    assert (result.observation["text"], result.reward) == in_process(3, ["go east"])[1][:2]
    assert result.observation["text"] in capsys.readouterr().out


def status(port: int, path: str, **headers: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def in_process(seed: int, actions: list[str]) -> list[tuple[Any, ...]]:
    """Return the trajectory without a server, with infos as JSON holds them."""
    env = gym.make(ENV_ID)
    observation, info = env.reset(seed=seed)
    answer: list[tuple[Any, ...]] = [(observation, None, False, False, json.loads(json.dumps(info)))]
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        answer.append((observation, reward, terminated, truncated, json.loads(json.dumps(info))))
    return answer


def solution(seed: int) -> list[str]:
    _, info = gym.make(ENV_ID, expose_solution=True).reset(seed=seed)
    return ["look", "nonsense", *info["solution"]]


def eventually(port: int, **options: Any) -> Session:
    """Return a session on a server that may still be about to free a place."""
    deadline = time.monotonic() + 20
    while True:
        session = Session(port, **options)
        answer = session.ask("reset", seed=0)
        if answer["type"] == "observation":
            return session
        session.close()
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)


def test_two_sessions_at_once_play_as_in_process(port: int) -> None:
    answer: dict[int, list[tuple[Any, ...]]] = {}
    barrier = threading.Barrier(2)

    def play(seed: int) -> None:
        with Session(port) as session:
            barrier.wait(timeout=60)
            answer[seed] = [session.play("reset", seed=seed)]
            for action in solution(seed):
                barrier.wait(timeout=60)
                answer[seed].append(session.play("step", text=action))

    seeds = [3, 4]
    assert len(solution(3)) == len(solution(4))
    threads = [threading.Thread(target=play, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    for seed in seeds:
        assert answer[seed] == in_process(seed, solution(seed))
        assert answer[seed][-1][2] and answer[seed][-1][4]["success"]
        assert sum(step[1] for step in answer[seed][1:]) == pytest.approx(1)
    assert answer[3] != answer[4]


def test_its_own_client_plays_and_shows_the_token_as_a_password(secret: int) -> None:
    async def play() -> list[tuple[str, Any, bool]]:
        async with openenv.GenericEnvClient(base_url=f"http://trainer:{TOKEN}@127.0.0.1:{secret}") as client:
            results = [await client.reset(seed=5)]
            results += [await client.step({"text": action}) for action in solution(5)]
        return [(result.observation["text"], result.reward, result.done) for result in results]

    expected = [(text, reward, ended or cut) for text, reward, ended, cut, _ in in_process(5, solution(5))]
    assert asyncio.run(play()) == expected
    eventually(secret, **BEARER).close()


def test_one_session_too_many_is_refused_and_gets_a_place_when_one_is_left(port: int) -> None:
    with eventually(port) as first, eventually(port) as second:
        with Session(port) as third:
            refused = json.loads(third.socket.recv(timeout=30))
            assert (refused["type"], refused["data"]["code"]) == ("error", "CAPACITY_REACHED")
            with pytest.raises(exceptions.ConnectionClosed):
                third.socket.recv(timeout=30)
        first.play("step", text="look")
        second.play("step", text="look")
    eventually(port).close()


def test_an_oversized_message_is_refused_and_the_server_lives_on(port: int) -> None:
    with eventually(port) as big, eventually(port) as other:
        big.play("step", text="x" * 19_000)
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            big.ask("step", text="x" * 20_001)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
        other.play("step", text="look")


@pytest.mark.parametrize("junk", ["{", "[]", '{"type": "sing"}', '{"type": "step", "data": {"words": "look"}}'])
def test_junk_is_an_error_and_the_server_lives_on(port: int, junk: str) -> None:
    with eventually(port) as session:
        session.socket.send(junk)
        assert json.loads(session.socket.recv(timeout=30))["type"] == "error"
    eventually(port).close()


def test_mistakes_are_told_and_the_session_goes_on(port: int) -> None:
    with eventually(port) as session:
        assert "expected seed, episode_id and options, got sead" in session.ask("reset", sead=1)["data"]["message"]
        session.play("reset", seed=1, episode_id="one")
        assert session.ask("state")["data"] == {"episode_id": "one", "step_count": 0}
        for action in solution(1):
            last = session.play("step", text=action)
        assert last[2]
        assert "no episode is running" in session.ask("step", text="look")["data"]["message"]
        assert session.play("reset", options={"task_id": last[4]["task_id"]})[4]["task_id"] == last[4]["task_id"]


def test_an_idle_session_ends_and_a_busy_one_does_not(impatient: int) -> None:
    with Session(impatient) as session:
        for _ in range(5):
            session.play("reset", seed=0)
            time.sleep(0.5)
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            session.socket.recv(timeout=30)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001
        assert "expected a message within 1.5 seconds" in closed.value.rcvd.reason
    eventually(impatient).close()


def test_a_client_that_dies_frees_its_place(secret: int) -> None:
    program = (
        "import json, sys, time; from websockets.sync.client import connect;"
        f"it = connect('ws://127.0.0.1:{secret}/ws', proxy=None, **{BEARER!r}).__enter__();"
        "it.send(json.dumps({'type': 'reset', 'data': {'seed': 1}})); print(it.recv()[:20], flush=True); time.sleep(600)"
    )
    client = subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert "observation" in client.stdout.readline()
    with Session(secret, **BEARER) as late:
        assert json.loads(late.socket.recv(timeout=30))["data"]["code"] == "CAPACITY_REACHED"
    client.kill()
    client.wait()
    client.stdout.close()
    eventually(secret, **BEARER).close()


@pytest.mark.parametrize(
    "shown", [None, "Bearer wrong", "Bearer ", "Basic !", "Basic d3Jvbmc=", TOKEN, f"Digest {TOKEN}"]
)
def test_a_wrong_token_is_refused(secret: int, shown: str | None) -> None:
    headers = {} if shown is None else {"Authorization": shown}
    with pytest.raises(exceptions.InvalidStatus) as refused:
        Session(secret, additional_headers=headers)
    assert refused.value.response.status_code == 401
    for path in ("/health", "/schema", "/ws", "/docs", "/metadata"):
        assert status(secret, path, **headers) == 401


def test_the_token_opens_what_is_open(secret: int) -> None:
    assert status(secret, "/health", Authorization=f"Bearer {TOKEN}") == 200


def test_a_page_in_a_browser_cannot_reach_a_server_without_a_token(port: int) -> None:
    with pytest.raises(exceptions.InvalidStatus) as refused:
        Session(port, origin="http://a.page")
    assert refused.value.response.status_code == 403


def test_routes_outside_of_sessions_are_closed(port: int) -> None:
    assert [status(port, path) for path in ("/health", "/schema")] == [200, 200]
    for path in ("/reset", "/step", "/state", "/metadata", "/mcp", "/docs", "/ws", "/web"):
        assert status(port, path) == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "a.name"])
def test_without_a_token_it_serves_this_machine_alone(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEXTAGENT_TOKEN", raising=False)
    with pytest.raises(
        ValueError, match=f"expected a token .* to serve at {host}, which other machines can reach, got none"
    ):
        Config(ENV_ID, host=host).check()
    Config(ENV_ID, host=host, token=TOKEN).check()
    for local in ("127.0.0.1", "::1", "localhost", "127.1.2.3"):
        Config(ENV_ID, host=local).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_sessions": 0}, "expected max_sessions at least 1, got 0"),
        ({"max_message_bytes": 0}, "expected max_message_bytes at least 1, got 0"),
        ({"idle_seconds": 0.0}, "expected idle_seconds at least 0.1, got 0"),
        ({"port": 70_000}, "expected port in"),
        ({"env_kwargs": "[]"}, "expected a JSON object as env_kwargs, got"),
        ({"env_kwargs": "{"}, "expected a JSON object as env_kwargs, got"),
        ({"env_kwargs": '{"split": "tset"}'}, "expected split"),
    ],
)
def test_mistakes_are_found_before_anything_is_served(options: dict[str, Any], message: str) -> None:
    config = Config(ENV_ID, **options)
    with pytest.raises(ValueError, match=message):
        config.check()
        config.app()


def test_a_mistake_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["serve", "--env-id", "textagent_gym:No-v0"])
    with pytest.raises(SystemExit, match=r"^error: .*No.*$"):
        main()


def test_an_environment_of_others_is_served_with_what_json_can_hold_of_its_info() -> None:
    environment = TextEnvironment("Parrot-v0")
    answer = environment.reset(seed=7)
    assert answer.info == {"count": 0, "mask": [1, 0], "self": str(Parrot)}
    assert (answer.reward, answer.done) == (None, False)
    for done in (False, True):
        answer = environment.step(TextAction(text=answer.text))
        assert (answer.reward, answer.done, answer.truncated, answer.terminated) == (0.5, done, done, False)
    assert environment.state.step_count == 2
    environment.close()
