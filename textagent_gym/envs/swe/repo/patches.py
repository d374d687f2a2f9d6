"""Unified diffs as pure functions on text trees: no git, no `patch`, no file is touched.

Texts are cut at line feeds alone, so that carriage returns and form feeds are part of a line, as git has it. The format is
that of `git diff` (git 2, "Generating patch text with -p") and of GNU diff's unified output.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from textagent_gym.envs.swe.repo.text import lines_of, num_equal

NUM_CONTEXT_LINES = 3
"""Unchanged lines around a change that `make_patch` writes."""

_LARGE = 2000
"""Changed region, in lines, from which on frequent lines anchor no match: less tidy, but no longer quadratic."""

_ESCAPES = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_LETTERS = {character: letter for letter, character in _ESCAPES.items()}


class PatchError(ValueError):
    """A patch cannot be read, or does not apply; the message names the file and the hunk."""


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """A run of changed lines with what stands around it.

    Attributes:
        old_start: Number of its first line before the patch, from 1; where it has none, of the line that it comes after.
        new_start: The same after the patch.
        lines: Pairs of " ", "-" or "+" and a line with its line feed, if it has one.
    """

    old_start: int
    new_start: int
    lines: tuple[tuple[str, str], ...]

    @property
    def old(self) -> list[str]:
        """The lines that it replaces."""
        return [line for tag, line in self.lines if tag != "+"]

    @property
    def new(self) -> list[str]:
        """The lines that it leaves."""
        return [line for tag, line in self.lines if tag != "-"]


@dataclass(frozen=True, kw_only=True)
class FilePatch:
    """Changes of a patch to one file.

    Attributes:
        old: Path before the patch, or None where the file is new.
        new: Path after the patch, or None where the file is deleted.
        hunks: The changes, in the order of their lines.
        moved: "rename" or "copy" where the patch says so, else empty.
        modes: File modes before and after in octal digits, empty where the patch does not say.
        binary: True if the file's bytes change without lines to show for it.
    """

    old: str | None
    new: str | None
    hunks: tuple[Hunk, ...] = ()
    moved: str = ""
    modes: tuple[str, str] = ("", "")
    binary: bool = False

    @property
    def path(self) -> str:
        """Path after the patch; the one before it where the file is deleted."""
        return self.new or self.old or ""


def make_patch(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the patch that turns one tree into another, which `git apply` accepts: sorted by path, empty for equal trees.

    Raises:
        PatchError: A path is absolute or leaves the tree.
    """
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    return "".join(_format(_compare(_checked(path), before.get(path), after.get(path))) for path in changed)


def apply_patch(files: Mapping[str, str], patch: str, *, text_only: bool = False) -> dict[str, str | None]:
    """Return path -> new text, None for deleted files, of all files that `patch` changes; `files` stays as it is.

    A hunk is looked for at its line, moved as far as the hunk before it was, and then at the nearest line at which its
    context and removed lines match exactly, be it the start or the end of the file, which git insists on for hunks that
    touch them. As in git, renames and copies read the tree as it was before the patch, and a file that occurs twice is
    changed twice.

    Args:
        files: The tree.
        patch: The patch.
        text_only: True if binary files, links and submodules are left as they are, and not refused.

    Raises:
        PatchError: The patch cannot be read, does not apply, or changes what is no text.
    """
    sections = parse_patch(patch)
    leaving = {section.old for section in sections if section.moved == "rename" or section.new is None}
    changed: dict[str, str | None] = {}
    now = ChainMap[str, str | None](changed, dict(files))
    written: set[str] = set()
    for section in sections:
        if text_only and not _is_text(section):
            continue
        _refuse_other_than_text(section)
        text = _apply_hunks(section, files if section.moved else now)
        if section.new is None and section.old is not None:
            changed[section.old] = None
            continue
        if section.new != section.old and section.new not in leaving and now.get(section.path) is not None:
            raise PatchError(f"expected {section.path} not to exist yet, got a patch that would overwrite it")
        if section.moved == "rename" and section.old is not None and section.old not in written:
            changed[section.old] = None
        changed[section.path] = text
        written.add(section.path)
    return {path: text for path, text in changed.items() if text != files.get(path)}


def reverse_patch(patch: str) -> str:
    """Return the patch that undoes `patch`, sorted by path.

    Raises:
        PatchError: The patch cannot be read, or has binary files or copies.
    """
    sections = [_reversed(section) for section in parse_patch(patch)][::-1]
    return "".join(_format(section) for section in sorted(sections, key=lambda section: section.path))


def patched_files(patch: str) -> tuple[str, ...]:
    """Return paths of the files that a patch changes, sorted, each once: both paths of a rename, and binary files as well.

    Raises:
        PatchError: The patch cannot be read.
    """
    sections = parse_patch(patch)
    sources = {section.old for section in sections if section.moved != "copy"}
    return tuple(sorted({section.path for section in sections} | {path for path in sources if path is not None}))


def num_hunks(patch: str) -> int:
    """Return hunks of all files together.

    Raises:
        PatchError: The patch cannot be read.
    """
    return sum(len(section.hunks) for section in parse_patch(patch))


def parse_patch(patch: str) -> tuple[FilePatch, ...]:
    """Return the files of a patch in its order; words around them, as mails and commits have them, are passed over.

    Raises:
        PatchError: The text is no patch, breaks off, or has a path that is absolute or leaves the tree.
    """
    sections = _sections(patch.removesuffix("\n").split("\n"))
    if not sections and patch.strip():
        raise PatchError("expected a unified diff, got text without a file header ('--- a/...', '+++ b/...')")
    for section in sections:
        for path in (section.old, section.new):
            if path is not None:
                _checked(path)
    return tuple(sections)


def _checked(path: str) -> str:
    if path.startswith("/") or re.search(r"(^|/)\.{0,2}(/|$)", path) or "\0" in path:
        raise PatchError(f"expected a path inside the tree, got {path!r}")
    return path


# Writing.


def _compare(path: str, before: str | None, after: str | None) -> FilePatch:
    hunks = tuple(hunks_between(before or "", after or ""))
    return FilePatch(old=None if before is None else path, new=None if after is None else path, hunks=hunks)


def hunks_between(before: str, after: str) -> Iterator[Hunk]:
    """Yield hunks between two texts; what is equal at both ends never reaches the matcher."""
    old, new = lines_of(before), lines_of(after)
    head = num_equal(old, new)
    tail = num_equal(old[head:][::-1], new[head:][::-1])
    skipped, cut = max(head - NUM_CONTEXT_LINES, 0), max(tail - NUM_CONTEXT_LINES, 0)
    old, new = old[skipped : len(old) - cut], new[skipped : len(new) - cut]
    matcher = SequenceMatcher(None, old, new, autojunk=max(len(old), len(new)) > _LARGE)
    for group in matcher.get_grouped_opcodes(NUM_CONTEXT_LINES):
        lines: list[tuple[str, str]] = []
        for kind, a, b, c, d in group:
            if kind == "equal":
                lines += [(" ", line) for line in old[a:b]]
            else:
                lines += [("-", line) for line in old[a:b]] + [("+", line) for line in new[c:d]]
        (_, a, _, c, _), (_, _, b, _, d) = group[0], group[-1]
        yield Hunk(old_start=skipped + a + (b > a), new_start=skipped + c + (d > c), lines=tuple(lines))


def _format(section: FilePatch) -> str:
    old, new = section.old or section.path, section.path
    lines = [f"diff --git {_quoted(f'a/{old}')} {_quoted(f'b/{new}')}"]
    if section.old is None:
        lines.append(f"new file mode {section.modes[1] or '100644'}")
    elif section.new is None:
        lines.append(f"deleted file mode {section.modes[0] or '100644'}")
    elif section.modes[0] != section.modes[1]:
        lines += [f"old mode {section.modes[0]}", f"new mode {section.modes[1]}"]
    if section.moved:
        lines += [f"{section.moved} from {_quoted(old)}", f"{section.moved} to {_quoted(new)}"]
    if section.hunks:
        # A tab ends a name that holds spaces.
        lines.append("--- /dev/null" if section.old is None else f"--- {_quoted(f'a/{old}')}{chr(9) * (' ' in old)}")
        lines.append("+++ /dev/null" if section.new is None else f"+++ {_quoted(f'b/{new}')}{chr(9) * (' ' in new)}")
    for hunk in section.hunks:
        lines.append(f"@@ -{_range(hunk.old_start, len(hunk.old))} +{_range(hunk.new_start, len(hunk.new))} @@")
        for tag, line in hunk.lines:
            lines += [tag + line[:-1]] if line.endswith("\n") else [tag + line, "\\ No newline at end of file"]
    return "\n".join(lines) + "\n"


def _range(start: int, count: int) -> str:
    return f"{start}" if count == 1 else f"{start},{count}"


def _quoted(path: str) -> str:
    def escape(match: re.Match[str]) -> str:
        return "\\" + (_LETTERS.get(match[0]) or f"{ord(match[0]):03o}")

    escaped = re.sub(r'[\x00-\x1f\x7f"\\]', escape, path)
    return path if escaped == path else f'"{escaped}"'


def _reversed(section: FilePatch) -> FilePatch:
    if section.binary or section.moved == "copy":
        kind = "binary file" if section.binary else "copy"
        raise PatchError(f"expected a patch that can be reversed, got a {kind}: {section.path}")
    hunks = tuple(
        Hunk(old_start=hunk.new_start, new_start=hunk.old_start, lines=tuple(_swapped(hunk.lines)))
        for hunk in section.hunks
    )
    return replace(section, old=section.new, new=section.old, hunks=hunks, modes=section.modes[::-1])


def _swapped(lines: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield lines with `-` and `+` exchanged, what is removed first in each run."""
    added: list[tuple[str, str]] = []
    for tag, line in [*lines, (" ", "")]:
        if tag == "-":
            added.append(("+", line))
            continue
        if tag == " ":
            yield from added
            added = []
        if line:
            yield ("-" if tag == "+" else " "), line


# Applying.


def _is_text(section: FilePatch) -> bool:
    return not section.binary and not any(mode.startswith(("120", "160")) for mode in section.modes)


def _refuse_other_than_text(section: FilePatch) -> None:
    if section.binary:
        raise PatchError(f"expected a patch of text, got a binary patch of {section.path}")
    for mode in section.modes:
        if mode.startswith(("120", "160")):
            raise PatchError(
                f"expected a patch of regular files, got a link or submodule: {section.path} (mode {mode})"
            )


def _apply_hunks(section: FilePatch, files: Mapping[str, str | None]) -> str:
    text = "" if section.old is None else files.get(section.old)
    if text is None:
        raise PatchError(f"expected {section.old} to exist, got a tree without it")
    lines, result = lines_of(text), list[str]()
    done = shift = 0
    for number, hunk in enumerate(section.hunks, 1):
        stated = hunk.old_start - bool(hunk.old)
        at = _find(lines, hunk, stated + shift, done)
        if at is None:
            raise PatchError(
                f"expected hunk {number} of {len(section.hunks)} for {section.path} to apply at line {hunk.old_start},"
                " got a file in which its context and removed lines stand neither there nor elsewhere"
            )
        result += lines[done:at] + hunk.new
        done, shift = at + len(hunk.old), at - stated
    result += lines[done:]
    if section.new is None and result:
        raise PatchError(f"expected the deletion of {section.old} to remove all its lines, got {len(result)} that stay")
    return "".join(result)


def _find(lines: list[str], hunk: Hunk, wanted: int, first: int) -> int | None:
    """Return the place nearest to `wanted`, from `first` on, at which a hunk fits; the later one of two equally near."""
    old, new = hunk.old, hunk.new

    def fits(at: int) -> bool:
        end = at + len(old)
        if not first <= at <= end <= len(lines) or lines[at:end] != old:
            return False
        # A line without line feed can only be the last one.
        return not new or ((end == len(lines) or new[-1].endswith("\n")) and (at == 0 or lines[at - 1].endswith("\n")))

    if fits(wanted) or not old:  # without any line to match, only its own place will do
        return wanted if fits(wanted) else None
    places = range(first, len(lines) - len(old) + 1)
    return next((at for at in sorted(places, key=lambda at: (abs(at - wanted), at < wanted)) if fits(at)), None)


# Reading.


def _sections(lines: list[str]) -> list[FilePatch]:
    sections: list[FilePatch] = []
    in_header = False  # after `diff --git`, before the first hunk or the next file
    at = 0
    while at < len(lines):
        line = lines[at].removesuffix("\r")
        if line.startswith("diff --git "):
            sections.append(_git_section(line.removeprefix("diff --git ")))
            in_header = True
        elif line.startswith("--- ") and lines[at + 1 : at + 2] and lines[at + 1].startswith("+++ "):
            names = _named(line, lines[at + 1].removesuffix("\r"))
            known = sections.pop() if in_header else replace(names, old=names.old and names.path)
            sections.append(replace(known, old=names.old and (known.old or names.old), new=names.new and known.path))
            in_header = False
            at += 1
        elif line.startswith("@@ "):
            hunk, at = _read_hunk(lines, at, sections)
            sections[-1] = replace(sections[-1], hunks=(*sections[-1].hunks, hunk))
            continue
        elif in_header:
            sections[-1] = _extended(sections[-1], line)
        elif match := re.fullmatch("Binary files (.+) and (.+) differ", line):
            sections.append(replace(_pair(match[1], match[2]), binary=True))
        at += 1
    return sections


def _git_section(names: str) -> FilePatch:
    """Return the file of a `diff --git` line.

    Two names that hold spaces without quotes are equal but for their first letter.
    """
    if match := re.fullmatch(r'("(?:[^"\\]|\\.)*"|[^" ]+) ("(?:[^"\\]|\\.)*"|[^" ]+)', names):
        return _pair(_unquoted(match[1]), _unquoted(match[2]))
    return _pair(names[: len(names) // 2], names[len(names) // 2 + 1 :])


def _named(old_line: str, new_line: str) -> FilePatch:
    """Return the file of a `---` and a `+++` line; GNU diff dates what does not exist to 1970."""
    names, missing = [], []
    for line in (old_line[4:], new_line[4:]):
        name, _, date = line.partition("\t")
        names.append(_unquoted(line.rstrip()) if line.startswith('"') else name)
        missing.append(name == "/dev/null" or date.startswith(("1970-01-01 00:00:00", "1969-12-31")))
    section = _pair(*names)
    return replace(section, old=None if missing[0] else section.old, new=None if missing[1] else section.new)


def _pair(old: str, new: str) -> FilePatch:
    """Return a file by both its names, without git's `a/` and `b/` where both have it or are no file."""
    if (old.startswith("a/") or old == "/dev/null") and (new.startswith("b/") or new == "/dev/null"):
        old, new = old.removeprefix("a/"), new.removeprefix("b/")
    return FilePatch(old=new if old == "/dev/null" else old, new=old if new == "/dev/null" else new)


def _extended(section: FilePatch, line: str) -> FilePatch:
    """Return a file with what one line between `diff --git` and its first hunk says."""
    if match := re.fullmatch(r"(new file|deleted file|old|new) mode (\d+)", line):
        before, after = section.modes
        modes = (before, match[2]) if match[1].startswith("new") else (match[2], after)
        created, deleted = match[1] == "new file", match[1] == "deleted file"
        return replace(section, old=None if created else section.old, new=None if deleted else section.new, modes=modes)
    if match := re.fullmatch(r"index \w+\.\.\w+ (\d+)", line):  # the mode before and after, where it stays
        return replace(section, modes=(match[1], match[1]))
    if match := re.fullmatch(r"(rename|copy) (from|to) (.+)", line):
        name = _unquoted(match[3])
        old, new = (name, section.new) if match[2] == "from" else (section.old, name)
        return replace(section, moved=match[1], old=old, new=new)
    if line == "GIT binary patch" or re.fullmatch("Binary files .+ differ", line):
        return replace(section, binary=True)
    return section


def _read_hunk(lines: list[str], at: int, sections: list[FilePatch]) -> tuple[Hunk, int]:
    """Return the hunk that starts at `lines[at]`, and the place after it."""
    if not sections:
        raise PatchError(f"expected a file header before the hunk at line {at + 1} of the patch, got none")
    place = f"hunk {len(sections[-1].hunks) + 1} for {sections[-1].path} (line {at + 1} of the patch)"
    match = re.match(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@", lines[at])
    if match is None:
        raise PatchError(f"expected '@@ -line,count +line,count @@' at {place}, got {lines[at][:60]!r}")
    num_old, num_new = (int(count) if count is not None else 1 for count in (match[2], match[4]))
    found: list[tuple[str, str]] = []
    while num_old or num_new or (found and lines[at + 1 : at + 2] and lines[at + 1].startswith("\\")):
        at += 1
        line = (lines[at] or " ") if at < len(lines) else "end"  # mailers strip the blank of an empty line
        if line[0] == "\\" and found:
            found[-1] = (found[-1][0], found[-1][1].removesuffix("\n"))
            continue
        num_old, num_new = num_old - (line[0] in " -"), num_new - (line[0] in " +")
        if line[0] not in " -+" or min(num_old, num_new) < 0:
            raise PatchError(f"expected as many lines as its '@@' says in {place}, got {line[:60]!r} at line {at + 1}")
        found.append((line[0], f"{line[1:]}\n"))
    hunk = Hunk(old_start=int(match[1]), new_start=int(match[3]), lines=tuple(found))
    if any(not line.endswith("\n") for line in hunk.old[:-1] + hunk.new[:-1]):
        raise PatchError(
            f"expected a line feed after all but the last line of {place}, got a line without one before it"
        )
    return hunk, at + 1


def _unquoted(name: str) -> str:
    """Return a name without git's quotes, octal digits and backslashes."""
    if not (len(name) > 1 and name[0] == name[-1] == '"'):
        return name

    def unescape(match: re.Match[str]) -> str:
        return _ESCAPES.get(match[1]) or chr(int(match[1], 8) & 255)

    escaped = name[1:-1].encode("utf-8", "surrogatepass").decode("latin-1")
    return (
        re.sub(r'\\([abtnvfr"\\]|[0-7]{1,3})', unescape, escaped).encode("latin-1").decode("utf-8", "surrogateescape")
    )
