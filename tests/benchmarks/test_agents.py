"""Models as agents: behind an endpoint that may fail at any moment, and on this machine in batches."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines import sft
from baselines.config.settings import RunSettings
from baselines.endpoints.endpoint import Endpoint, EndpointSettings
from baselines.errors import ConfigError
from baselines.models import tiny
from baselines.models.policy import Policy
from benchmarks.agents.endpoint import ChatSettings, EndpointAgent, Journal, chat_settings
from benchmarks.agents.local_models import batches, local_settings
from benchmarks.runs.records import EPISODES, read_trajectories
from benchmarks.runs.run import MAX_FAILURES, Config, RunSummary, run
from benchmarks.runs.verify import verify
from benchmarks.suites.suite import Presentation
from tests.support.serving import transformers_serve

KEY = "sk-a-secret-of-the-user"
QUICK = {"max_retries": 0, "max_tokens": 8}


class Server(ThreadingHTTPServer):
    """Answers with the last command on the list; after `healthy` replies with `sick` instead."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.healthy = 10**9
        self.sick: tuple[int, bytes] = (500, b"out of order")
        self.bodies: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            well = len(self.server.bodies) < self.server.healthy
            if well:
                self.server.bodies.append(body)
        text = body["messages"][-1]["content"].splitlines()[-1].removeprefix("- ")
        message = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 3}}
        status, content = (200, json.dumps({**message, **usage}).encode()) if well else self.server.sick
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def tiny_policy() -> Policy:
    """Return an untrained model of one layer that has seen a few words."""
    torch.set_num_threads(1)
    tokenizer = tiny.train_tokenizer(["You are in a hall. Commands:", "1 look", "2 go east", "3 take the lamp"])
    return Policy(tiny.make_model(tokenizer, seed=1, num_hidden_layers=1), tokenizer)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as found:
        yield found


def play(out: Path, agent: str = "openai:clever", **options: Any) -> RunSummary:
    defaults = {"seeds": 1, "limit": 2, "workers": 3, "agent_kwargs": QUICK}
    return run(Config(suite="smoke-v0", agent=agent, out=out, **{**defaults, **options}))


def test_an_endpoint_plays_and_its_tokens_and_money_are_counted(server: Server, tmp_path: Path) -> None:
    outcome = play(tmp_path, agent_kwargs={**QUICK, "prompt_price": 2.0, "completion_price": 10.0})
    assert outcome.played == 4
    lines = [json.loads(line) for line in (tmp_path / EPISODES).read_text().splitlines()]
    assert [line["prompt_tokens"] for line in lines] == [100 * line["steps"] for line in lines]
    assert [line["completion_tokens"] for line in lines] == [3 * line["steps"] for line in lines]
    assert outcome.cost == pytest.approx(sum(line["steps"] for line in lines) * (100 * 2 + 3 * 10) / 1e6)
    assert verify(tmp_path).is_partial


def test_no_file_of_a_run_holds_the_key(server: Server, tmp_path: Path) -> None:
    server.healthy, server.sick = 5, (500, f"wrong key {KEY}".encode())
    outcome = play(tmp_path)
    assert outcome.unplayed
    assert KEY not in str(outcome)
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize("healthy", [0, 1, 7, 20])
def test_nothing_that_was_paid_for_is_asked_again(
    server: Server, tmp_path: Path, healthy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path / "whole")
    steps = len(server.bodies)
    server.bodies.clear()
    server.healthy = healthy
    outcome = play(tmp_path / "broken")
    assert outcome.unplayed
    server.healthy = 10**9
    outcome = play(tmp_path / "broken")
    assert outcome.played == 4
    assert len(server.bodies) == steps
    assert not (tmp_path / "broken" / "replies.jsonl").exists()

    def turns(name: str) -> list[Any]:
        return sorted((p.key, p.transcript["turns"], p.usage) for p in read_trajectories(tmp_path / name, most=4))

    assert turns("broken") == turns("whole")


@pytest.mark.parametrize(
    ("sick", "message"),
    [
        ((200, b"<html>Welcome to the hotel Wi-Fi</html>"), "<html>Welcome to the hotel"),
        ((200, b""), "an empty body"),
        ((429, b"slow down"), "status 429: slow down"),
        ((404, b'{"error": {"message": "no such model"}}'), "no such model"),
    ],
)
def test_an_endpoint_that_does_not_answer_ends_the_run_and_says_why(
    server: Server, tmp_path: Path, sick: tuple[int, bytes], message: str
) -> None:
    server.healthy, server.sick = 0, sick
    outcome = play(tmp_path, limit=None, seeds=2)
    assert (outcome.played, len(outcome.unplayed)) == (0, MAX_FAILURES)
    assert message in outcome.unplayed[0].reason


def test_a_conversation_that_is_too_long_ends_the_episode(server: Server, tmp_path: Path) -> None:
    server.healthy, server.sick = 2, (400, b'{"error": {"message": "maximum context length is 10"}}')
    outcome = play(tmp_path, workers=1)
    assert (outcome.played, outcome.unplayed) == (4, [])
    lines = [json.loads(line) for line in (tmp_path / EPISODES).read_text().splitlines()]
    assert {line["outcome"] for line in lines[1:]} == {"out of context"}
    assert not any(line["success"] for line in lines)
    verify(tmp_path)


def conversation(server: Server, tmp_path: Path, memory: bool, **settings: Any) -> list[list[dict[str, str]]]:
    with Endpoint("clever", EndpointSettings()) as endpoint:
        agent = EndpointAgent(
            endpoint, replace(ChatSettings(), **settings), memory, Journal(tmp_path / "replies.jsonl")
        )
        agent.reset({}, seed=3)
        for number in range(4):
            agent.act(f"seen {number}", {})
    return [body["messages"] for body in server.bodies]


def words(messages: list[dict[str, str]]) -> list[str]:
    return [message["content"] for message in messages]


def test_with_memory_a_model_sees_the_whole_conversation(server: Server, tmp_path: Path) -> None:
    last = conversation(server, tmp_path, memory=True)[-1]
    assert words(last) == ["seen 0", "seen 0", "seen 1", "seen 1", "seen 2", "seen 2", "seen 3"]
    assert [message["role"] for message in last] == ["user", "assistant"] * 3 + ["user"]


def test_with_a_short_memory_it_sees_the_task_and_the_last_turns(server: Server, tmp_path: Path) -> None:
    seen = conversation(server, tmp_path, memory=True, history_turns=1, system="Play.")
    assert words(seen[0]) == ["Play.", "seen 0"]
    assert words(seen[1]) == ["Play.", "seen 0", "seen 0", "seen 1"]
    assert words(seen[3]) == ["Play.", "seen 0", "seen 0", "seen 2", "seen 2", "seen 3"]


def test_without_memory_it_sees_the_task_and_what_is_there_now(server: Server, tmp_path: Path) -> None:
    seen = conversation(server, tmp_path, memory=False)
    assert words(seen[0]) == ["seen 0"]
    assert words(seen[3]) == ["seen 0\n\nseen 3"]


def test_a_seed_is_sent_where_something_is_sampled(server: Server, tmp_path: Path) -> None:
    conversation(server, tmp_path, memory=True)
    assert "seed" not in server.bodies[0]
    server.bodies.clear()
    (tmp_path / "sampled").mkdir()
    conversation(server, tmp_path / "sampled", memory=False, temperature=0.7)
    assert len({body["seed"] for body in server.bodies}) == 4, "expected another seed in every turn"


def test_a_damaged_journal_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.healthy = 4
    play(tmp_path)
    journal = tmp_path / "replies.jsonl"
    journal.write_text(journal.read_text() + '{"key": 1}\nnot JSON\n{"torn')
    server.healthy = 10**9
    assert play(tmp_path).played == 4


def test_without_prices_there_is_no_cost(server: Server, tmp_path: Path) -> None:
    play(tmp_path)
    assert {json.loads(line)["cost"] for line in (tmp_path / EPISODES).read_text().splitlines()} == {None}


@pytest.mark.parametrize("answer", [{"temprature": 1}, {"max_tokens": 0}, {"history_turns": -1}, {"max_retries": -1}])
def test_settings_that_are_none_are_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        chat_settings(answer)
    with pytest.raises(ConfigError):
        local_settings({"temprature": 1})
    for wrong in (
        {"batch_size": 0},
        {"temperature": "hot"},
        {"temperature": -1},
        {"context": "some"},
        {"decode": "all"},
    ):
        with pytest.raises(ConfigError, match=r"^expected "):
            local_settings(wrong)


def test_batches_have_no_gaps() -> None:
    assert list(batches([0, 1, 2, 5, 6, 9], 2)) == [[0, 1], [2], [5, 6], [9]]
    assert list(batches([], 2)) == []


def test_a_local_model_plays_in_batches_of_any_size_alike(tiny_policy: Policy, tmp_path: Path) -> None:
    for run_number in (1, 2):
        tiny_policy.save(tmp_path / f"model-{run_number}")
    numbers = Presentation(by_number=True, preamble=False)
    settings = {"max_new_tokens": 4, "temperature": 1.0}
    for size in (1, 4):
        outcome = play(
            tmp_path / f"run-{size}",
            f"hf:{tmp_path}/model-{{run}}",
            seeds=2,
            limit=3,
            presentation=numbers,
            agent_kwargs={**settings, "batch_size": size},
        )
        assert outcome.played == 12
        verify(tmp_path / f"run-{size}")
    one, four = (
        [(p.key, [turn["action"] for turn in p.transcript["turns"]]) for p in read_trajectories(tmp_path / name, 12)]
        for name in ("run-1", "run-4")
    )
    assert one == four
    assert len({tuple(actions) for _, actions in one}) > 6


def test_a_local_model_without_memory_sees_the_task_and_what_is_there_now(tiny_policy: Policy, tmp_path: Path) -> None:
    tiny_policy.save(tmp_path / "model")
    settings = {"max_new_tokens": 4, "temperature": 1.0}
    numbers = Presentation(by_number=True, preamble=False)
    options = {"track": "listed-reactive", "agent_kwargs": settings, "presentation": numbers}
    play(tmp_path / "run", f"hf:{tmp_path}/model", **options)
    verify(tmp_path / "run")
    played = list(read_trajectories(tmp_path / "run", 4))
    assert len({turn["action"] for p in played for turn in p.transcript["turns"]}) > 2
    for p in played:
        shown = [turn["observation"] for turn in p.transcript["turns"]]
        prompts = [shown[0], *(f"{shown[0]}\n\n{observation}" for observation in shown[1:])]
        read = sum(len(tiny_policy.chat.first_turn(prompt)) for prompt in prompts)
        assert p.usage.prompt_tokens is not None and 0 <= p.usage.prompt_tokens - read <= len(
            shown
        )  # ends of cut turns
    play(tmp_path / "full", f"hf:{tmp_path}/model", **options | {"track": "listed"})
    window = options | {"track": "listed", "agent_kwargs": settings | {"context": "window:1000"}}
    play(tmp_path / "window", f"hf:{tmp_path}/model", **window)
    full, same = ([p.transcript["turns"] for p in read_trajectories(tmp_path / name, 4)] for name in ("full", "window"))
    assert full == same
    with pytest.raises(ConfigError, match="expected context to be full, turn or window:K with K >= 1, got 'half'"):
        play(tmp_path / "half", f"hf:{tmp_path}/model", **window | {"agent_kwargs": {"context": "half"}})


def test_a_local_model_plays_with_a_template_from_a_file(tiny_policy: Policy, tmp_path: Path) -> None:
    """The run records the text, so that it can be continued and checked without the file."""
    tiny_policy.save(tmp_path / "model")
    file = tmp_path / "template.jinja"
    template = tiny_policy.tokenizer.chat_template.replace("<|observation|>", "<|observation|>Turn:")
    file.write_text(template)
    options: dict[str, Any] = {"presentation": Presentation(by_number=True, preamble=False), "seeds": 1, "limit": 1}
    settings = {"max_new_tokens": 4, "temperature": 0.0}
    play(tmp_path / "plain", f"hf:{tmp_path}/model", agent_kwargs=settings, **options)
    play(tmp_path / "file", f"hf:{tmp_path}/model", agent_kwargs={**settings, "chat_template": str(file)}, **options)
    assert json.loads((tmp_path / "file" / "run.json").read_text())["agent_settings"]["chat_template"] == template
    verify(tmp_path / "file")
    plain, given = (
        sum(p.usage.prompt_tokens or 0 for p in read_trajectories(tmp_path / name, 2)) for name in ("plain", "file")
    )
    assert given > plain
    file.write_text("{% if %}")
    broken = {**settings, "chat_template": str(file)}
    with pytest.raises(ConfigError, match="expected --chat-template to be a Jinja template"):
        play(tmp_path / "broken", f"hf:{tmp_path}/model", agent_kwargs=broken, **options)
    assert not (tmp_path / "broken").exists()


@pytest.mark.slow
def test_a_real_server_plays_as_the_model_does_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"preamble": False, "by_number": True}
    sft.train(
        sft.Config(
            env_id="textagent_gym:TextWorld-w2-o3-q4-Dense-v0",
            env_kwargs=answer,
            num_demos=64,
            num_epochs=12,
            run=RunSettings(out=tmp_path / "sft", num_threads=1),
        )
    )
    model, presentation = tmp_path / "sft" / "model", Presentation(by_number=True, preamble=False)
    with transformers_serve(model, tmp_path / "log") as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        play(tmp_path / "served", f"openai:{model}", presentation=presentation, agent_kwargs={"max_tokens": 4})
    verify(tmp_path / "served")
    play(tmp_path / "here", f"hf:{model}", presentation=presentation, agent_kwargs={"max_new_tokens": 4})
    served, here = (
        {
            p.key: [turn["action"].strip() for turn in p.transcript["turns"]]
            for p in read_trajectories(tmp_path / name, 4)
        }
        for name in ("served", "here")
    )
    assert len({tuple(actions) for actions in served.values()}) > 1
    # Of the world that it has learned: elsewhere it says what has no one spelling in tokens, and text forgets which it was.
    assert {place: served[place] for place in served if place[1] == 0} == {p: here[p] for p in here if p[1] == 0}
