"""Files of conversations as others write them: chat messages, ShareGPT, prompt and completion; each as turns of text.

Nothing is guessed. A message that is not text (an image, a number, null) is refused and its line named, because what is
made of it would be trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from baselines.errors import ConfigError

_SYSTEM, _USER, _ASSISTANT = "system", "user", "assistant"
_ROLES = {
    "system": _SYSTEM,
    "developer": _SYSTEM,
    "user": _USER,
    "human": _USER,
    "tool": _USER,
    "function": _USER,
    "observation": _USER,
    "function_response": _USER,
    "assistant": _ASSISTANT,
    "gpt": _ASSISTANT,
    "model": _ASSISTANT,
    "function_call": _ASSISTANT,
}
_TEXT_PARTS = ("text", "input_text", "output_text")


class Conversation(NamedTuple):
    """Turns of text.

    Attributes:
        line: number of its line in the file, from 1.
        observations: as many as there are actions, or one more.
        actions: `actions[i]` answers `observations[i]`.
    """

    line: int
    observations: tuple[str, ...]
    actions: tuple[str, ...]


def read_file(path: Path) -> Iterator[Conversation]:
    """Read one conversation per line, or per element where the file is one JSON array.

    Understood are `{"messages": [{"role", "content"}, ...]}` (also with the list as a JSON string), with content as a
    string or as parts of text and with OpenAI's tool calls; ShareGPT's `{"conversations": [{"from", "value"}, ...]}`;
    `{"prompt": ..., "completion": ...}` of strings or messages. System messages go before the first observation.
    Results of tools are observations; observations in a row are joined by an empty line. A tool call is written as
    `{"name": ..., "arguments": {...}}`, in a fenced block where the message has text besides. Lines end at line feeds
    alone.

    Raises:
        ConfigError: the file is not UTF-8, or a line is no such conversation; the message names the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected {path} to be a text file in UTF-8, got: {error}") from error
    for number, row in _rows(path, text):
        try:
            yield _conversation(number, json.loads(row) if isinstance(row, str) else row)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"expected a conversation in line {number} of {path}, got: {error}") from error


def _rows(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Yield rows by number: lines that are still JSON, or the elements of the one array that the file is."""
    if text.lstrip().startswith("["):
        try:
            yield from enumerate(json.loads(text), start=1)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"expected one JSON array or an object per line in {path}, got: {error}") from error
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _conversation(number: int, row: Any) -> Conversation:
    """Read a row, or raise a `ValueError` that says what is wrong with it."""
    observations: list[str] = []
    actions: list[str] = []
    preamble: list[str] = []
    for message in _messages(row):
        role, text = _read_message(message)
        if role == _SYSTEM:
            if observations:
                raise ValueError("a system message after the first observation")
            preamble.append(text)
        elif role == _USER and len(observations) > len(actions):
            observations[-1] += f"\n\n{text}"
        elif role == _USER:
            observations.append("\n\n".join([*preamble, text]) if not observations else text)
        elif len(observations) == len(actions):
            raise ValueError(f"a message of the assistant that answers nothing (answer {len(actions) + 1})")
        else:
            actions.append(text)
    if not actions:
        raise ValueError("no message of the assistant")
    return Conversation(number, tuple(observations), tuple(actions))


def _messages(row: Any) -> list[Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{_name(row)} instead of an object")
    if "prompt" in row and "completion" in row:
        return [*_said(row["prompt"], _USER, "prompt"), *_said(row["completion"], _ASSISTANT, "completion")]
    for key in ("messages", "conversations", "conversation"):
        if key in row:
            found = row[key]
            found = json.loads(found) if isinstance(found, str) else found
            if not isinstance(found, list):
                raise ValueError(f"{_name(found)} as {key!r} instead of a list")
            return found
    raise ValueError(f"none of 'messages', 'conversations', 'prompt' with 'completion' among the keys {sorted(row)}")


def _said(value: Any, role: str, key: str) -> list[Any]:
    """Return the messages of a prompt or a completion, which may be a string."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list):
        raise ValueError(f"{_name(value)} as {key!r} instead of a string or a list of messages")
    return value


def _read_message(message: Any) -> tuple[str, str]:
    """Return the role (system, user or assistant) and the text of a message."""
    if not isinstance(message, dict):
        raise ValueError(f"{_name(message)} as a message instead of an object")
    said = message.get("role", message.get("from"))
    role = _ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        raise ValueError(f"a message of role {said!r:.60}, not one of {', '.join(_ROLES)}")
    if role == _ASSISTANT and message.get("weight", 1) != 1:
        raise ValueError(f"a message of weight {message['weight']!r:.60}: all answers are trained on alike")
    calls = _tool_calls(message) if role == _ASSISTANT else []
    content = message.get("content", message.get("value"))
    text = "" if content is None and calls else _text(content, f"the {said} message")
    text = with_tool_calls(text, calls)
    text.encode()  # half of a surrogate pair can be written in JSON, and is no text
    return role, text


def _text(content: Any, where: str) -> str:
    """Return a string, or the joined text of a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError(f"{_name(content)} as the content of {where} instead of text")
    return "".join(_part(part, where) for part in content)


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
        return str(part["text"])
    raise ValueError(f"a part of type {kind!r:.60} in the content of {where} instead of text")


def _tool_calls(message: Mapping[str, Any]) -> list[Any]:
    """Return the calls of a message of the assistant, at most one."""
    calls = message.get("tool_calls") or []
    if message.get("function_call") is not None:  # OpenAI's older form
        calls = [{"function": message["function_call"]}]
    if not isinstance(calls, list):
        raise ValueError(f"{_name(calls)} as tool_calls instead of a list")
    if len(calls) > 1:
        raise ValueError(f"{len(calls)} tool calls in one message, where an action is one")
    return calls


def with_tool_calls(text: str, calls: Sequence[Any]) -> str:
    """Write OpenAI's tool calls as text, `{"name": ..., "arguments": {...}}`; behind other text in a fenced block.

    Raises:
        ValueError: a call lacks the name of a function or an object of arguments.
    """
    for call in calls:
        function = call.get("function", call) if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        arguments = function.get("arguments", {}) if isinstance(function, dict) else None
        if isinstance(arguments, str):
            arguments = json.loads(arguments or "{}")
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise ValueError("a tool call without the name of a function and an object of arguments")
        written = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
        text = f"{text}\n```json\n{written}\n```" if text.strip() else written
    return text


def _name(value: Any) -> str:
    """Return a JSON value's type in JSON's words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
