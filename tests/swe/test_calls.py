"""The formats in which models write calls of tools."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym.envs.swe.interfaces.calls import CallError, find_call
from textagent_gym.envs.swe.interfaces.tools import TOOLS, read_call

EDIT = {"path": "a.py", "old": 'x = "{"', "new": "```\n</tool_call>\n"}
AS_TEXT = json.dumps(EDIT)


def function(arguments: object) -> dict[str, object]:
    return {"name": "edit", "arguments": arguments}


FORMATS = {
    "own": {"tool": "edit", **EDIT},
    "own, arguments apart": {"tool": "edit", "arguments": EDIT},
    "hermes": function(EDIT),
    "arguments as text": function(AS_TEXT),
    "llama": {"name": "edit", "parameters": EDIT},
    "llama, typed": {"type": "function", "name": "edit", "parameters": EDIT},
    "openai": {"id": "call_1", "type": "function", "function": function(AS_TEXT)},
    "openai, message": {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "function": function(AS_TEXT)}],
    },
    "openai, responses": {"type": "function_call", "call_id": "1", **function(AS_TEXT)},
    "anthropic": {"type": "tool_use", "id": "toolu_1", "name": "edit", "input": EDIT},
    "mistral": [function(EDIT)],
    "llama, function": {"type": "function", "function": "edit", "parameters": EDIT},
}
PLACES = {
    "alone": "%s",
    "with blanks": "\n  %s \n",
    "fenced": "```json\n%s\n```",
    "fenced without a word": "```\n%s\n```\n",
    "fenced in prose": "I look at it: {this}.\n\n```json\n%s\n```\nThen I test.",
    "tagged": "<tool_call>\n%s\n</tool_call>",
    "tagged in prose": 'The cause is `{"a": 1}`.\n<tool_call>%s</tool_call>',
    "after a thought": '<think>Is it {"tool": "submit"}?</think>\n\n%s',
    "python tag": "<|python_tag|>%s",
    "mistral": "[TOOL_CALLS]%s",
    "carriage returns": "Now:\r\n```json\r\n%s\r\n```\r\n",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("call", FORMATS.values(), ids=FORMATS)
def test_every_format_is_read_in_every_place(call: object, place: str) -> None:
    assert read_call(place % json.dumps(call), TOOLS) == ("edit", EDIT)
    assert read_call(place % json.dumps(call, indent=2), TOOLS) == ("edit", EDIT)


def test_an_object_in_prose_is_read() -> None:
    assert read_call('I view {it} first. {"tool": "view", "path": "a"} That is all.', TOOLS) == ("view", {"path": "a"})


def test_the_form_of_qwen_coder_is_read() -> None:
    call = (
        "<tool_call>\n<function=view>\n<parameter=path>\nsrc/x.py\n</parameter>\n"
        "<parameter=start>\n10\n</parameter>\n</function>\n</tool_call>"
    )
    assert read_call(call, TOOLS) == ("view", {"path": "src/x.py", "start": 10})
    content = '{"tool": "submit"}\n<tool_call>\n[1]\n'
    call = f"<function=create><parameter=path>a</parameter><parameter=content>\n{content}\n</parameter></function>"
    assert read_call(call, TOOLS) == ("create", {"path": "a", "content": content})


def test_no_arguments_may_be_written_in_many_ways() -> None:
    for arguments in ({}, "{}", "", None):
        assert read_call(json.dumps({"name": "undo", "arguments": arguments}), TOOLS) == ("undo", {})
    assert read_call('{"name": "undo"}', TOOLS) == ("undo", {})


def test_line_feeds_within_a_string_are_part_of_it() -> None:
    assert read_call('{"tool": "create", "path": "a", "content": "x\n\ty\n"}', TOOLS) == (
        "create",
        {"path": "a", "content": "x\n\ty\n"},
    )


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        ('<tool_call>{"tool": "undo"}</tool_call><tool_call>{"tool": "list"}</tool_call>', "got 2 of them"),
        ('```json\n{"tool": "undo"}\n```\n```json\n{"tool": "list"}\n```', "got 2 of them"),
        ('[{"name": "undo"}, {"name": "list"}]', "got 2 of them"),
        ('<tool_call>{"tool": "undo"</tool_call>', "got no JSON"),
        ("<tool_call></tool_call>", "got no JSON"),
        ("<function=undo>", "got none of them"),
    ],
)
def test_one_call_is_one_action(action: str, complaint: str) -> None:
    answer = read_call(action, TOOLS)
    assert isinstance(answer, str)
    assert complaint in answer


def test_what_stands_in_a_call_that_cannot_be_read_is_not_a_call() -> None:
    # The quotes of `content` are not escaped: the call of submit is a piece of a file.
    broken = '{"tool": "create", "path": "a", "content": "{"tool": "submit"}"}'
    for action in (broken, f"I write it.\n```json\n{broken}\n```", f"<tool_call>{broken}</tool_call>", f"So: {broken}"):
        answer = read_call(action, TOOLS)
        assert isinstance(answer, str), action
        assert "got no JSON" in answer


@given(
    st.dictionaries(st.text(), st.text() | st.integers() | st.none()), st.sampled_from(sorted(PLACES)), st.booleans()
)
def test_arguments_arrive_as_they_were_written(arguments: dict[str, Any], place: str, plain: bool) -> None:
    call = json.dumps({"name": "edit", "arguments": arguments}, ensure_ascii=not plain)
    assert find_call(PLACES[place] % call) == ("edit", arguments)


@pytest.mark.parametrize(
    "piece",
    ["{", "[", '{"a":', '{"a":[', "<tool_call>", "<tool_call>{", "<function=a>", "</function><function=a>", "```\n", "``` ",
     "``` \n{", '{"', "<parameter=a>", "<function=a><parameter=a>", " ", "\n", "</think>"],
)  # fmt: skip
def test_long_actions_are_answered_at_once(piece: str) -> None:
    with pytest.raises(CallError):
        find_call(piece * (100_000 // len(piece)))
