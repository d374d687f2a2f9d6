"""Files of conversations: every form gives the same turns, no text changes, and nothing that is not text is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.errors import ConfigError
from baselines.sampling.demonstrations import play_expert, read_conversations
from baselines.sampling.environments import make_env

Turns = tuple[tuple[str, ...], tuple[str, ...]]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def call(arguments: Any, name: str = "view") -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def turns(path: Path, *rows: Any) -> Turns:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (read,) = read_conversations(path)
    return read.observations, read.actions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


SAID = [user("a hall"), assistant("go east"), user("a room"), assistant("take lamp")]
FORMS: list[Any] = [
    {"messages": SAID},
    {"messages": json.dumps(SAID)},
    {"messages": [{**message, "content": [part(message["content"])]} for message in SAID]},
    {"messages": [{**message, "content": [message["content"][:3], message["content"][3:]]} for message in SAID]},
    {
        "conversations": [
            {"from": name, "value": m["content"]} for name, m in zip(["human", "gpt"] * 2, SAID, strict=True)
        ]
    },
    {"prompt": SAID[:3], "completion": SAID[3:]},
    {"prompt": SAID[:1], "completion": SAID[1:], "messages": None},
]


@pytest.mark.parametrize("row", FORMS)
def test_every_form_gives_the_same_turns(path: Path, row: Any) -> None:
    assert turns(path, row) == (("a hall", "a room", ""), ("go east", "take lamp"))


def test_prompt_and_completion_as_strings(path: Path) -> None:
    assert turns(path, {"prompt": "a hall", "completion": "go east"}) == (("a hall", ""), ("go east",))


def test_an_array_a_mark_and_windows_line_ends(path: Path) -> None:
    row = {"messages": [user("x"), assistant("y")]}
    for content in (
        json.dumps([row, row], indent=1).encode(),
        b"\xef\xbb\xbf" + json.dumps(row).encode() + b"\r\n\r\n" + json.dumps(row).encode(),
    ):
        path.write_bytes(content)
        assert [read.actions for read in read_conversations(path)] == [("y",), ("y",)]


def test_system_messages_and_observations_in_a_row(path: Path) -> None:
    system = [{"role": "system", "content": "Rules."}, {"role": "developer", "content": "More."}]
    tool = {"role": "tool", "tool_call_id": "1", "content": "ok"}
    said = [*system, user("a"), user("b"), assistant("x"), tool, user("c")]
    assert turns(path, {"messages": said}) == (("Rules.\n\nMore.\n\na\n\nb", "ok\n\nc"), ("x",))


@pytest.mark.parametrize("arguments", ['{"path": "a b"}', {"path": "a b"}])
def test_tool_calls_are_written_as_json(path: Path, arguments: Any) -> None:
    written = '{"name": "view", "arguments": {"path": "a b"}}'
    for message in (
        assistant(None, tool_calls=[call(arguments)]),
        assistant("", tool_calls=[call(arguments)]),
        {"role": "assistant", "tool_calls": [call(arguments)]},
        assistant(None, function_call={"name": "view", "arguments": arguments}),
    ):
        assert turns(path, {"messages": [user("x"), message]})[1] == (written,)
    message = assistant("I look.", tool_calls=[call(arguments)])
    assert turns(path, {"messages": [user("x"), message]})[1] == (f"I look.\n```json\n{written}\n```",)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=5))
def test_no_text_changes(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Separators that Python's `splitlines` knows are not ends of lines in a file."""
    texts = [text + "\x0c\x0b\x1c\x85\u2028\u2029" for text in texts]
    said = [(assistant if number % 2 else user)(text) for number, text in enumerate(texts)]
    observations, actions = turns(tmp_path_factory.mktemp("data") / "data.jsonl", {"messages": said})
    assert [*observations[: len(texts[::2])]] == texts[::2]
    assert [*actions] == texts[1::2]


BAD: list[tuple[Any, str]] = [
    ({"messages": [user("x"), assistant(None)]}, "null as the content of the assistant message"),
    ({"messages": [user("x"), assistant(None, tool_calls=[])]}, "null as the content of the assistant message"),
    ({"messages": [user("x"), {"role": "assistant"}]}, "null as the content"),
    ({"messages": [user(None), assistant("y")]}, "null as the content of the user message"),
    ({"messages": [user("x"), assistant(5)]}, "a number as the content"),
    ({"messages": [user("x"), assistant({"text": "y"})]}, "an object as the content"),
    ({"messages": [user([{"type": "image_url"}]), assistant("y")]}, "a part of type 'image_url'"),
    ({"messages": [user("x"), assistant([{"type": "text", "text": None}])]}, "a part of type 'text'"),
    ({"messages": [user("x"), assistant([{"type": "thinking", "thinking": "y"}])]}, "a part of type 'thinking'"),
    ({"messages": [user("x"), assistant([None])]}, "a part of type None"),
    ({"messages": [user("x"), assistant("y", weight=0)]}, "a message of weight 0"),
    ({"messages": [user("x"), assistant(None, tool_calls=[call("{}")] * 2)]}, "2 tool calls in one message"),
    ({"messages": [user("x"), assistant(None, tool_calls=[call("{")])]}, "Expecting property name"),
    ({"messages": [user("x"), assistant(None, tool_calls=[call("[]")])]}, "a tool call without the name"),
    ({"messages": [user("x"), assistant(None, tool_calls=[{}])]}, "a tool call without the name"),
    ({"messages": [user("x"), assistant("y"), assistant("z")]}, "a message of the assistant that answers nothing"),
    ({"messages": [assistant("y")]}, "a message of the assistant that answers nothing"),
    ({"messages": [user("x"), assistant("y"), {"role": "system", "content": "z"}]}, "a system message after"),
    ({"messages": [user("x"), {"role": "critic", "content": "y"}]}, "a message of role 'critic'"),
    ({"messages": [user("x"), {"role": ["assistant"], "content": "y"}]}, "a message of role"),
    ({"messages": ["x", "y"]}, "a string as a message"),
    ({"messages": {"0": user("x")}}, "an object as 'messages'"),
    ({"messages": "not JSON"}, "Expecting value"),
    ({"prompt": 5, "completion": "y"}, "a number as 'prompt'"),
    ({"prompt": "x", "completion": None}, "null as 'completion'"),
    ({"prompt": "x"}, "none of 'messages', 'conversations', 'prompt' with 'completion'"),
    ([1, 2], "a number instead of an object"),
    ({"messages": [user("x"), assistant("\ud800")]}, "surrogates not allowed"),
]


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_what_is_no_text_is_refused_and_its_line_named(path: Path, row: Any, reason: str) -> None:
    good = {"messages": [user("x"), assistant("y")]}
    path.write_text(json.dumps(good) + "\n\n" + json.dumps(row) if isinstance(row, dict) else json.dumps(row))
    line = 3 if isinstance(row, dict) else 1
    with pytest.raises(ConfigError, match=f"expected a conversation in line {line} of .*, got: .*{reason}"):
        read_conversations(path)


@pytest.mark.parametrize("content", ["x".encode("utf-16"), b"\x1f\x8b\x08\x00", b"[" * 100_000, b'{"messages": ['])
def test_files_that_are_no_text_and_lines_that_are_no_json(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="expected"):
        read_conversations(path)


@pytest.mark.parametrize("solution", ["bring the lamp", [None], (1, 2), [["bring the lamp"]]])
def test_a_solution_that_is_no_sequence_of_strings(solution: Any) -> None:
    env = make_env("tests.support.toy_text_env:ToyErrands-v0", {"expose_solution": True})
    reset = env.reset
    env.reset = lambda **options: (reset(**options)[0], {"solution": solution})  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="expected info\\['solution'\\] to be a sequence of strings"):
        play_expert(env, 0)
