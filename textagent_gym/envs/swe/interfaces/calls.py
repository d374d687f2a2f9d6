"""Calls of tools as models write them: the formats that are understood, and what is said of everything else.

A call is a JSON object: `{"tool": NAME, ...arguments}`, or a name with its arguments as OpenAI, Anthropic, Llama, Mistral,
Qwen and Hermes models write it. It may stand alone, in a fenced code block, between `<tool_call>` tags, or in prose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

ARGUMENTS = ("arguments", "parameters", "input", "args")
"""Keys under which formats that name a tool apart keep its arguments."""

_BESIDE = {"id", "type", "call_id", "index"}
"""Keys of such formats that say nothing of the call."""

_READER = json.JSONDecoder(strict=False)  # line feeds within a string are what a model means by them
_MARKED = re.compile(
    r"(?:<tool_call>|<function_call>|<\|python_tag\|>|\[TOOL_CALLS\]|^[ \t]*(?:`{3,}|~{3,})[^\n`~{]*\n)\s*(?=[\[{])",
    re.MULTILINE,
)
_BARE = re.compile(r'(?=\{\s*")')


class CallError(ValueError):
    """An action carries no call, or more than one; the message says what was found."""


def find_call(action: str) -> tuple[object, dict[str, Any]]:
    """Return the tool that an action names, and the arguments; whether there is such a tool is not looked at.

    Raises:
        CallError: The action carries no call, or more than one.
    """
    try:
        values = [part for value in _values(action) for part in _parts(value)]
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise CallError(f"got no JSON ({str(error)[:80]})") from error
    calls = [value for value in values if isinstance(value, dict) and _is_call(value)] or values
    if len(calls) != 1:
        raise CallError(f"got {len(calls) or 'none'} of them")
    (call,) = calls
    if not isinstance(call, dict):
        raise CallError(f"got {type(call).__name__}")
    return _read(call)


def _values(action: str) -> list[Any]:
    """Return the JSON values of an action: the action itself, those that stand in a mark, or those in prose."""
    try:
        return [_READER.decode(action.strip())]
    except (ValueError, RecursionError) as error:
        first = error
    text = action.partition("</think>")[2] or action
    start = _MARKED if _MARKED.search(text) else _BARE
    match = start.search(text)
    if 0 <= text.find("<function=") < (match.end() if match else len(text)):
        return list(_functions(text))
    found: list[Any] = []
    while match:
        # One that cannot be read is not passed over: what looks like a call behind it may be part of it.
        value, at = _READER.raw_decode(text, match.end())
        found.append(value)
        match = start.search(text, at)
    if not found:
        raise first
    return found


def _functions(text: str) -> Iterator[dict[str, Any]]:
    """Yield calls in the form of Qwen3-Coder, whose arguments are text."""
    for name, body in _elements(text, "function"):
        found = _elements(body, "parameter")
        yield {"name": name, "arguments": {key: value.removeprefix("\n").removesuffix("\n") for key, value in found}}


def _elements(text: str, tag: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the content of each `<tag=name>content</tag>`."""
    at = 0
    while (start := text.find(f"<{tag}=", at)) >= 0 and (at := text.find(f"</{tag}>", start)) >= 0:
        name, _, content = text[start + len(tag) + 2 : at].partition(">")
        yield name.strip(), content


def _parts(value: Any) -> list[Any]:
    """Return the calls in a list of calls, or in a message that has one; other values as they are."""
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return value
    return [value]


def _is_call(value: dict[str, Any]) -> bool:
    return "tool" in value or "name" in value or "function" in value


def _read(call: dict[str, Any]) -> tuple[object, dict[str, Any]]:
    if "tool" in call:
        rest = {key: value for key, value in call.items() if key != "tool"}
        if len(rest) != 1 or not set(rest) <= set(ARGUMENTS):
            return call["tool"], rest
        name = call["tool"]
    else:
        inner = call["function"] if isinstance(call.get("function"), dict) else call
        key = "name" if "name" in inner else "function"
        name = inner.get(key)
        rest = {other: value for other, value in inner.items() if other != key and other not in _BESIDE}
        if not _is_call(inner):
            return None, {}
    if len(rest) > 1 or not set(rest) <= set(ARGUMENTS):
        raise CallError("got a name with keys that are none of " + ", ".join(ARGUMENTS))
    return name, _arguments(next(iter(rest.values()), {}))


def _arguments(value: Any) -> dict[str, Any]:
    """Return arguments that are an object, or an object written as text."""
    if isinstance(value, str):
        try:
            value = _READER.decode(value.strip() or "{}")
        except (ValueError, RecursionError) as error:
            raise CallError(f"got arguments that are no JSON ({str(error)[:80]})") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CallError(f"got arguments of type {type(value).__name__}")
    return value
