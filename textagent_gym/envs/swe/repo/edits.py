"""A reference patch as edits that an agent could make: a piece of text that stands once in a file, replaced by another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textagent_gym.envs.swe.repo.patches import Hunk, parse_patch
from textagent_gym.envs.swe.repo.text import found_once, lines_of


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One replacement.

    Attributes:
        path: The file.
        old: What stands there, once; empty for a file that does not exist yet.
        new: What shall stand there.
        line: First line that changes, from 1, in the file as it was before the patch.
    """

    path: str
    old: str
    new: str
    line: int


def edits_of(files: Mapping[str, str], patch: str) -> tuple[Edit, ...]:
    """Return the edits that have the effect of a patch, in its order.

    Raises:
        ValueError: The patch deletes or renames a file, or does not fit `files`.
    """
    edits: list[Edit] = []
    for section in parse_patch(patch):
        if section.new is None or (section.old is not None and section.old != section.new):
            raise ValueError(f"expected a patch that changes and adds files alone, got one that moves {section.path}")
        text = files.get(section.new, "") if section.old is not None else ""
        if section.old is None:
            new = "".join(line for hunk in section.hunks for tag, line in hunk.lines if tag == "+")
            edits.append(Edit(path=section.new, old="", new=new, line=1))
            continue
        shift = 0
        for hunk in section.hunks:
            edit = _edit(section.new, text, hunk, shift)
            text = text.replace(edit.old, edit.new, 1)
            shift += sum({"+": 1, "-": -1}.get(tag, 0) for tag, _ in hunk.lines)
            edits.append(edit)
    return tuple(edits)


def _edit(path: str, text: str, hunk: Hunk, shift: int) -> Edit:
    """Return the smallest piece of whole lines around a hunk that is found once."""
    old, new = hunk.old, hunk.new
    first = max(hunk.old_start - 1 + shift, 0)
    lines = lines_of(text)
    if lines[first : first + len(old)] != old:
        raise ValueError(f"expected a patch of {path} that fits its line {first + 1}, got another text there")
    same_before = _common(old, new)
    same_after = _common(old[same_before:][::-1], new[same_before:][::-1])
    low, high = first + same_before, first + len(old) - same_after
    middle = new[same_before : len(new) - same_after]
    while low == high or not found_once("".join(lines[low:high]), text):
        if low == 0 and high == len(lines):
            break
        if low > 0:
            low -= 1
            middle = [lines[low], *middle]
        if high < len(lines) and not found_once("".join(lines[low:high]), text):
            middle = [*middle, lines[high]]
            high += 1
    return Edit(path=path, old="".join(lines[low:high]), new="".join(middle), line=first + same_before + 1 - shift)


def _common(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
