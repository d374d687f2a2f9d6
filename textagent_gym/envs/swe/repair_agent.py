"""A scripted agent for SWEGym that knows nothing of the task: it tests, searches, views, edits, and keeps what helps.

Its repairs are small changes of one place, tried in the functions that failing tests call. It is a floor for tables: what
looking at the tests and trying can do without understanding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from textagent_gym.envs.swe.interfaces.tools import WINDOW, write_call
from textagent_gym.envs.swe.repo.mutation import mutations
from textagent_gym.envs.swe.repo.operators import KINDS
from textagent_gym.envs.swe.repo.text import num_equal
from textagent_gym.envs.swe.repo.tree import is_test

_MOST_AROUND = 4

_FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
_PASSED = re.compile(r"\d+ passed")
_FRAME = re.compile(r"^(\S+\.py):(\d+): in (\w+)$", re.MULTILINE)
_CALL = re.compile(r"\b([A-Za-z_]\w*)\(")
_DEFINITION = re.compile(r"^(\S+\.py):(\d+): (?:async )?def (\w+)", re.MULTILINE)
_LAST_LINE = re.compile(r", lines \d+ to (\d+) of (\d+):")
_SHOWN = re.compile(r"^ *\d+  ?(.*)$")

Script = Generator[str, str, None]
"""Yields commands, and is sent observations."""


@dataclass(frozen=True)
class Edit:
    """A piece of text that occurs once in a file, and what replaces it."""

    path: str
    old: str
    new: str

    @property
    def command(self) -> str:
        """The call that carries it out."""
        return write_call("edit", path=self.path, old=self.old, new=self.new)

    @property
    def undo(self) -> str:
        """The call that takes it back."""
        return write_call("edit", path=self.path, old=self.new, new=self.old)


class RepairAgent:
    """Agent that tries small changes in functions that failing tests call, and submits when none helps or all tests pass.

    Its observations are those of the interface "tools", with visible tests.
    """

    def __init__(self) -> None:
        self._script: Script | None = None

    def reset(self, info: dict[str, Any], seed: int | None = None) -> None:
        """Start an episode; `info` and `seed` are not looked at."""
        self._script = None

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """Return the next call of a tool; only the observations are read."""
        if self._script is None:
            self._script = _repair()
            return next(self._script)
        return self._script.send(observation)


def _repair() -> Script:
    report = yield write_call("test")
    failing = set(_FAILED.findall(report))
    tried: set[Edit] = set()
    while failing:
        edits = [edit for edit in (yield from _edits(report)) if edit not in tried]
        made: Edit | None = None
        for edit in edits:
            tried.add(edit)
            if made is not None and (made.path, made.old) != (edit.path, edit.old):
                yield made.undo
                made = None
            change = edit if made is None else Edit(edit.path, made.new, edit.new)
            if not (yield change.command).startswith("Edited"):
                continue
            made, after = edit, (yield write_call("test"))
            left = set(_FAILED.findall(after))
            if left < failing and _PASSED.match(after):
                report, failing = after, left
                break
        else:
            if made is not None:
                yield made.undo
            break
    while True:
        yield write_call("submit")


def _edits(report: str) -> Generator[str, str, list[Edit]]:
    """Return the edits to try, the likeliest first."""
    found: list[Edit] = []
    sources: dict[str, str] = {}
    for path, function in (yield from _suspects(report)):
        if path not in sources:
            sources[path] = yield from _read(path)
        source = sources[path]
        inside = [one for one in mutations(path, source.encode()) if one.function.rpartition(".")[2] == function]
        for mutation in sorted(inside, key=lambda one: (one.line, KINDS.index(one.kind))):
            found += _as_edit(path, source, mutation.apply(source.encode()).decode())
    return found


def _suspects(report: str) -> Generator[str, str, list[tuple[str, str]]]:
    """Return files with functions that the failing tests pass through or call by name, the most frequent first."""
    counted: Counter[tuple[str, str]] = Counter()
    for path, _, function in _FRAME.findall(report):
        if not is_test(path):
            counted[path, function] += 1
    for name, count in Counter(_CALL.findall(report)).most_common():
        answer = yield write_call("search", text=f"def {name}")
        for path, _, function in _DEFINITION.findall(answer):
            if function == name and not is_test(path):
                counted[path, function] += count
    return [suspect for suspect, _ in counted.most_common()]


def _read(path: str) -> Generator[str, str, str]:
    """Return the text of a file, page by page."""
    lines: list[str] = []
    last, total = 0, 1
    while last < total:
        shown = yield write_call("view", path=path, start=last + 1, end=last + WINDOW)
        head, _, body = shown.partition("\n")
        match = _LAST_LINE.search(head)
        if match is None:
            return ""
        last, total = int(match[1]), int(match[2])
        lines += [line[1] for line in map(_SHOWN.match, body.split("\n")) if line]
    return "\n".join(lines) + "\n"


def _as_edit(path: str, before: str, after: str) -> Iterator[Edit]:
    """Yield the edit that makes one text of another: the lines that differ, with as many around as make them unique."""
    old, new = before.split("\n"), after.split("\n")
    first = num_equal(old, new)
    last = num_equal(old[:first:-1], new[:first:-1])
    for more in range(_MOST_AROUND):
        start, end = max(0, first - more), max(0, last - more)
        pieces = [lines[start : len(lines) - end] for lines in (old, new)]
        if all(pieces) and before.count("\n".join(pieces[0])) == 1:
            yield Edit(path, *("\n".join(lines) for lines in pieces))
            return
