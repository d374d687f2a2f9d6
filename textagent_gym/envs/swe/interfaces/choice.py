"""Repair by choice: a numbered list of edits, some of which repair the task and some of which break more."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textagent_gym.envs.swe.repo.mutation import Mutation, apply_all
from textagent_gym.envs.swe.repo.tree import Changes, Tree
from textagent_gym.envs.swe.sources.index import bugs_of, distractors
from textagent_gym.envs.swe.sources.projects import INDEX, projects
from textagent_gym.envs.swe.types import TaskInstance

MAX_LINE = 70
"""Characters of a line of source that a candidate shows."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One edit on offer: the repair of a bug, or a bug that is not there yet.

    Attributes:
        mutation: The bug that it takes out or puts in.
        repairs: True if it takes it out.
    """

    mutation: Mutation
    repairs: bool


class Choices:
    """The candidate edits of a task, and the trees that they lead to.

    Args:
        instance: A mutation task of the index.
        count: Number of candidates, the repairs included.
        index: Folder of the index.

    Raises:
        ValueError: The index has not so many edits for this task, or the task has no mutations to choose among.
    """

    def __init__(self, instance: TaskInstance, count: int, index: Path = INDEX) -> None:
        bugs = bugs_of(instance, index)
        if count <= len(bugs):
            raise ValueError(
                f"expected action_space_size above {len(bugs)}, the edits that repair {instance.instance_id}, got {count}"
            )
        offered = [Candidate(mutation=bug, repairs=True) for bug in bugs]
        offered += [Candidate(mutation=bug, repairs=False) for bug in distractors(instance, count - len(bugs), index)]
        seed = int.from_bytes(hashlib.sha256(f"order of {instance.instance_id}".encode()).digest()[:8], "big")
        order = np.random.default_rng(seed).permutation(count)
        self.candidates = [offered[int(place)] for place in order]
        self._gold: Tree = projects(index)[instance.repo].tree
        self.commands = tuple(f"{number:0{len(str(count))}}" for number in range(1, count + 1))

    @property
    def repairs(self) -> tuple[str, ...]:
        """The commands that repair the task, in their order."""
        pairs = zip(self.commands, self.candidates, strict=True)
        return tuple(command for command, candidate in pairs if candidate.repairs)

    def chosen(self, command: str) -> str | None:
        """Return the command that an action means, or None."""
        number = command.strip().rstrip(".)")
        if not number.isascii() or not number.isdigit() or len(number) > 6:
            return None
        return self.commands[int(number) - 1] if 1 <= int(number) <= len(self.commands) else None

    def changes(self, base: Tree, applied: frozenset[str]) -> Changes:
        """Return the changes against `base` once the edits in `applied` are made."""
        active: dict[str, list[Mutation]] = {}
        for command, candidate in zip(self.commands, self.candidates, strict=True):
            mutations = active.setdefault(candidate.mutation.file, [])
            if candidate.repairs != (command in applied):
                mutations.append(candidate.mutation)
        files = {file: apply_all(self._gold[file], mutations) for file, mutations in active.items()}
        return {file: content for file, content in files.items() if base.get(file) != content}

    def listing(self) -> str:
        """Return the candidates, one a line, with the command that makes each."""
        pairs = zip(self.commands, self.candidates, strict=True)
        return "\n".join(f"{command} {self._describe(candidate)}" for command, candidate in pairs)

    def _describe(self, candidate: Candidate) -> str:
        mutation = candidate.mutation
        source = self._gold[mutation.file]
        after, stop = mutation.apply(source), mutation.start + len(mutation.replacement.encode())
        right, wrong = _lines_at(source, mutation.start, mutation.end), _lines_at(after, mutation.start, stop)
        if right == wrong:  # another indentation
            right += f" (indented by {mutation.end - mutation.start})"
            wrong += f" (indented by {stop - mutation.start})"
        old, new = (wrong, right) if candidate.repairs else (right, wrong)
        return f"{mutation.file}:{mutation.line} {mutation.function}: {old} => {new}"


def _lines_at(source: bytes, place: int, end: int) -> str:
    """Return the lines that a span touches, as one; "nothing" for none."""
    start = source.rfind(b"\n", 0, place) + 1
    if start < place or source[end - 1 : end] != b"\n":
        end = source.find(b"\n", end) if source.find(b"\n", end) >= 0 else len(source)
    text = " / ".join(line.decode("utf-8", "replace").strip() for line in source[start:end].split(b"\n")).rstrip(" /")
    if len(text) <= MAX_LINE:
        return text or "nothing"
    middle = len(source[start:place].decode("utf-8", "replace").lstrip())
    first = max(0, min(middle - MAX_LINE // 2, len(text) - MAX_LINE))
    return f"...{text[first : first + MAX_LINE]}..."
