"""The tools of an agent: a JSON object in, an observation out. What is wrong with a call is said, never raised."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from textagent_gym.envs.swe.interfaces.calls import CallError, find_call
from textagent_gym.envs.swe.interfaces.shell import Shell
from textagent_gym.envs.swe.repo.text import lines_of, replace_once, shown_lines, with_line_ends_of
from textagent_gym.envs.swe.repo.tree import UnwritableTreeError, as_text
from textagent_gym.envs.swe.repo.workspace import FileProblemError, Workspace, clean_path

TOOLS = ("edit", "submit", "view", "test", "search", "list", "create", "undo", "bash")
"""All tools, in the order in which `action_space_size` offers them."""

WINDOW = 200
"""Lines that `view` shows at most."""

MAX_FOUND = 50
"""Lines that `search`, and files that `list` shows at most."""

MAX_SHOWN = 10_000
"""Characters of an observation; of a longer one the middle is left out."""


class Answer(NamedTuple):
    """Answer of a tool.

    Attributes:
        text: The observation.
        valid: True if the call was carried out.
    """

    text: str
    valid: bool = True


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Description of a tool.

    Attributes:
        example: A call, as an agent would write it.
        says: What it does, in one sentence.
        needs: Names of the arguments that it must have.
        takes: Argument -> type, of all that it understands.
    """

    example: str
    says: str
    needs: tuple[str, ...]
    takes: dict[str, type]


CATALOGUE: dict[str, Tool] = {
    "edit": Tool(
        example='{"tool": "edit", "path": "src/x.py", "old": "a < b", "new": "a <= b"}',
        says="replaces a piece of text that occurs exactly once in the file; with an empty `old`, writes a new file.",
        needs=("path", "old", "new"),
        takes={"path": str, "old": str, "new": str},
    ),
    "submit": Tool(
        example='{"tool": "submit"}', says="ends the episode; the tests decide what it is worth.", needs=(), takes={}
    ),
    "view": Tool(
        example='{"tool": "view", "path": "src/x.py", "start": 1, "end": 80}',
        says=f"shows lines of a file, at most {WINDOW}.",
        needs=("path",),
        takes={"path": str, "start": int, "end": int},
    ),
    "test": Tool(
        example='{"tool": "test", "target": "tests/test_x.py"}',
        says="runs the tests of a file, one test, or all without a target, and shows how they fail.",
        needs=(),
        takes={"target": str},
    ),
    "search": Tool(
        example='{"tool": "search", "text": "def parse", "path": "src"}',
        says="finds lines that hold a text.",
        needs=("text",),
        takes={"text": str, "path": str},
    ),
    "list": Tool(
        example='{"tool": "list", "path": "."}', says="lists the files of a folder.", needs=(), takes={"path": str}
    ),
    "create": Tool(
        example='{"tool": "create", "path": "src/y.py", "content": "x = 1\\n"}',
        says="writes a whole file.",
        needs=("path", "content"),
        takes={"path": str, "content": str},
    ),
    "undo": Tool(example='{"tool": "undo"}', says="takes the last change of files back.", needs=(), takes={}),
    "bash": Tool(
        example='{"tool": "bash", "command": "grep -n parse src/*.py"}',
        says="runs a shell command in the repository, without network.",
        needs=("command",),
        takes={"command": str},
    ),
}


def rules(tools: tuple[str, ...]) -> str:
    """Return the description of the tools for the agent."""
    lines = [f"- {CATALOGUE[name].example}  {CATALOGUE[name].says}" for name in tools]
    return (
        "You repair a software repository. Each action is one JSON object that calls a tool:\n"
        + "\n".join(lines)
        + "\nChange the source, never the tests: only source counts. The episode ends when you submit."
    )


def read_call(action: str, tools: tuple[str, ...]) -> tuple[str, dict[str, Any]] | str:
    """Return the tool and the arguments that an action names, or what is wrong with it.

    `calls` says which formats are read.
    """
    try:
        name, arguments = find_call(action)
    except CallError as error:
        return f"expected one call as a JSON object such as {CATALOGUE[tools[0]].example}, {error}"
    if not isinstance(name, str) or name not in tools:
        return f"expected one of the tools {', '.join(tools)}, got {name!r:.60}"
    return _checked(name, arguments)


def _checked(name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]] | str:
    tool = CATALOGUE[name]
    if missing := [key for key in tool.needs if key not in arguments]:
        return f"{name}: expected the argument {missing[0]!r}, as in {tool.example}"
    for key, value in arguments.items():
        if key not in tool.takes:
            return f"{name}: expected arguments among {', '.join(tool.takes) or 'none'}, got {key!r:.60}"
        if tool.takes[key] is int and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
            arguments = {**arguments, key: int(value)}  # formats without types have text alone
        elif not isinstance(value, tool.takes[key]) or isinstance(value, bool):
            return f"{name}: expected {key} to be {_TYPE_NAMES[tool.takes[key]]}, got {value!r:.60}"
    return name, arguments


_TYPE_NAMES = {str: "a string", int: "an integer"}


def write_call(tool: str, **arguments: Any) -> str:
    """Return a call as `read_call` reads it."""
    return json.dumps({"tool": tool, **arguments})


def typed_call(line: str, tools: tuple[str, ...]) -> str:
    """Return the call that a person means by a line such as `view src/x.py 10 40`.

    JSON, and what is not understood, as it is.
    """
    name, *words = line.split()
    if name not in tools:
        return line
    keys = [key for key in CATALOGUE[name].takes if key not in ("old", "new", "content")]
    if name in ("bash", "search") and words:
        words = [line.split(maxsplit=1)[1]]
    values = [int(word) if CATALOGUE[name].takes[key] is int and word.isdigit() else word
              for key, word in zip(keys, words, strict=False)]  # fmt: skip
    return write_call(name, **dict(zip(keys, values, strict=False)))


def examples(tools: tuple[str, ...]) -> tuple[str, ...]:
    """Return calls that mean something in any repository, for a random agent; none of them repairs anything."""
    calls = {
        "edit": {"path": "README.md", "old": "no such text", "new": ""},
        "view": {"path": "README.md"},
        "search": {"text": "return"},
        "create": {"path": "notes.txt", "content": "nothing\n"},
        "bash": {"command": "ls"},
    }
    return tuple(write_call(name, **calls.get(name, {})) for name in tools)


class Toolbox:
    """The tools over one workspace.

    Args:
        workspace: The files.
        shell: Runs commands and tests on them.
    """

    def __init__(self, workspace: Workspace, shell: Shell) -> None:
        self._workspace = workspace
        self._shell = shell

    def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        """Use a tool, each of which is a method of its name; `submit` is the environment's."""
        try:
            answer: Answer = getattr(self, name)(**arguments)
        except (FileProblemError, UnwritableTreeError) as problem:
            return Answer(f"{name}: {problem}.", valid=False)
        return answer._replace(text=shortened(answer.text))

    def edit(self, path: str, old: str, new: str) -> Answer:
        """Replace the one place where `old` stands."""
        if not old:
            if self._workspace.exists(path) and self._workspace.text(path):
                return Answer(
                    f"edit: expected `old` to say what is replaced in {path}, got an empty text.", valid=False
                )
            return self.create(path, new)
        text = self._workspace.text(path)
        edited = replace_once(text, old, new)
        if isinstance(edited, int):
            found = f"{max(text.count(old), 2)} times" if edited else "nowhere"
            more = "add lines around it" if edited else "look at the file's exact text"
            return Answer(f"edit: expected `old` exactly once in {path}, found it {found}: {more}.", valid=False)
        if edited.text == text:
            return Answer("edit: expected `new` to differ from `old`, got the same text.", valid=False)
        self._workspace.write(path, edited.text)
        last = edited.line + new.count("\n") + 2
        return Answer(f"Edited {path}:\n{self._lines(path, edited.line - 2, last)}")

    def create(self, path: str, content: str) -> Answer:
        """Write a whole file; one that is there keeps its encoding, if it can, and carriage returns at its line ends."""
        existed = self._workspace.exists(path)
        before = (as_text(self._workspace.files[clean_path(path)]) or "") if existed else ""
        self._workspace.write(path, with_line_ends_of(content, before), whole=True)
        return Answer(f"{'Replaced' if existed else 'Created'} {path} ({len(lines_of(content))} lines).")

    def view(self, path: str, start: int = 1, end: int | None = None) -> Answer:
        """Return lines of a file, with their numbers."""
        count = len(lines_of(self._workspace.text(path)))
        if count == 0:
            return Answer(f"{path} is empty.")
        start = max(start, 1)
        end = min(start + WINDOW - 1 if end is None else end, start + WINDOW - 1, count)
        if start > count or end < start:
            return Answer(f"view: expected lines of {path} from 1 to {count}, got {start} to {end}.", valid=False)
        return Answer(f"{path}, lines {start} to {end} of {count}:\n{self._lines(path, start, end)}")

    def search(self, text: str, path: str = ".") -> Answer:
        """Return lines that hold `text`, capitals counting."""
        if not text or "\n" in text:
            return Answer("search: expected a text of one line.", valid=False)
        files = self._workspace.files
        found = []
        for file in self._workspace.below(path):
            content = as_text(files[file])
            if content is not None and text in content:
                found += [
                    f"{file}:{number}: {line.strip()[:160]}"
                    for number, line in enumerate(shown_lines(content), 1)
                    if text in line
                ]
        if not found:
            return Answer(f"No line below {path} holds {text!r}.")
        more = f"\nand {len(found) - MAX_FOUND} more" if len(found) > MAX_FOUND else ""
        return Answer("\n".join(found[:MAX_FOUND]) + more)

    def list(self, path: str = ".") -> Answer:
        """Return the files of a folder and the folders in it."""
        entries: dict[str, int] = {}
        files = self._workspace.files
        folder = clean_path(path, folder=True)
        for file in self._workspace.below(path):
            name, below, _ = (file if folder in (".", file) else file.removeprefix(f"{folder}/")).partition("/")
            entries[name + below] = entries.get(name + below, 0) + (1 if below else len(files[file]))
        if not entries:
            raise FileProblemError(f"there is no folder {path!r}")
        shown = [f"{name}  {size} {'files' if name.endswith('/') else 'bytes'}" for name, size in entries.items()]
        more = [f"and {len(shown) - MAX_FOUND} more"] if len(shown) > MAX_FOUND else []
        return Answer("\n".join(shown[:MAX_FOUND] + more))

    def undo(self) -> Answer:
        """Take the last change back."""
        paths = self._workspace.undo()
        if paths is None:
            return Answer("undo: there is nothing to take back.", valid=False)
        return Answer(f"Took back the last change of {', '.join(paths)}.")

    def test(self, target: str = "") -> Answer:
        """Run tests."""
        return Answer(self._shell.test(target))

    def bash(self, command: str) -> Answer:
        """Run a command."""
        if not command.strip() or "\0" in command:
            return Answer("bash: expected a command.", valid=False)
        return Answer(self._shell.run(command).to_observation)

    def _lines(self, path: str, start: int, end: int) -> str:
        lines = shown_lines(self._workspace.text(path))
        start, end = max(start, 1), min(end, len(lines))
        return "\n".join(f"{number:>5}  {lines[number - 1]}" for number in range(start, end + 1))


def shortened(text: str) -> str:
    """Return a text with its middle left out where it is longer than `MAX_SHOWN`."""
    if len(text) <= MAX_SHOWN:
        return text
    half = MAX_SHOWN // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
