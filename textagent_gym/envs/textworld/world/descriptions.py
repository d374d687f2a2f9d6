"""Descriptions that depend on the world: textworld's texts with their `[if ...]` parts, read once and said often.

Only the forms that textworld's grammars write are known (textworld 1.7, `generator/text_generation.py` and
`data/text_grammars/*.twg`); anything else in brackets is refused, so that such a game is played by the interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from textagent_gym.envs.textworld.world.known import UnknownGameError
from textagent_gym.envs.textworld.world.state import GameMap, World

Condition = Callable[[World], bool]
Renderer = Callable[[World], str]

_STATES = ("open", "closed", "locked")


class UnknownTextError(UnknownGameError):
    """A description holds a substitution that is not known here."""


class Template:
    """A description with its parts in brackets.

    Args:
        source: The text as textworld wrote it, `[if ...]` and all.
        game_map: The game's things.
        about: The thing that is described, which `[if open]` means; None for a room.

    Raises:
        UnknownTextError: The text holds something in brackets that is not known here.
    """

    def __init__(self, source: str, game_map: GameMap, about: str | None = None) -> None:
        self._game_map = game_map
        self._about = about
        # textworld hands the description of a room to Inform in literals that end where an [if] ends.
        said = quoted(source) if about else "[end if]".join(map(literal, source.split("[end if]")))
        pieces = iter(re.split(r"(\[[^\]]*\])", said))
        self._parts, ending = self._read(pieces)
        if ending:
            raise UnknownTextError(f"a description with an [if] too few or too many: {source!r:.200}")

    def say(self, world: World) -> str:
        """Return the description of the world as it is."""
        return _said(self._parts, world)

    def _read(self, pieces: Iterator[str]) -> tuple[list[str | Renderer], str]:
        """Return parts up to the bracket that ends this branch, and that bracket."""
        parts: list[str | Renderer] = []
        for piece in pieces:
            if not piece.startswith("["):
                if piece:
                    parts.append(piece)
            elif piece.startswith("[if "):
                parts.append(self._choice(piece[4:-1], pieces))
            elif piece.startswith("[else if ") or piece in ("[otherwise]", "[else]", "[end if]"):
                return parts, piece
            else:
                parts.append(self._substitution(piece))
        return parts, ""

    def _choice(self, condition: str, pieces: Iterator[str]) -> Renderer:
        branches: list[tuple[Condition, list[str | Renderer]]] = []
        test = self._condition(condition)
        while True:
            parts, ending = self._read(pieces)
            branches.append((test, parts))
            if ending.startswith("[else if "):
                test = self._condition(ending[9:-1])
            elif ending in ("[otherwise]", "[else]"):
                test = _always
            elif ending == "[end if]":
                break
            else:
                raise UnknownTextError("a description with an [if] that does not end")

        def say(world: World) -> str:
            for holds, parts in branches:
                if holds(world):
                    return _said(parts, world)
            return ""

        return say

    def _substitution(self, piece: str) -> Renderer:
        if piece == "[noun]" and self._about is not None:
            noun, named = self._about, self._game_map
            return lambda world: world.adjectives(noun) + named.name(noun)
        found = re.fullmatch(r"\[a list of things (?:in|on) the (\w+)\]", piece)
        if found is None:
            raise UnknownTextError(f"the substitution {piece!r:.200} in a description")
        holder, game_map = found.group(1), self._game_map
        return lambda world: game_map.list_of(world.inside(holder), world)

    def _condition(self, text: str) -> Condition:
        tests = [self._test(part.strip()) for part in text.split(" and ")]
        if len(tests) == 1:
            return tests[0]
        if len(tests) == 2:
            first, second = tests
            return lambda world: first(world) and second(world)
        return lambda world: all(test(world) for test in tests)

    def _test(self, text: str) -> Condition:
        found = re.fullmatch(r"(?:(?:the )?(\w+) is )?(open|closed|locked)", text)
        if found:
            thing, state = found.group(1) or self._about or "", found.group(2)
            if thing in self._game_map.doors | self._game_map.containers:
                # What is locked is closed as well, but textworld asks for "locked" first wherever it matters to it.
                wanted = ("closed", "locked") if state == "closed" else (state,)
                return lambda world: world.status[thing] in wanted
        found = re.fullmatch(r"there is (something|nothing) (?:in|on) (?:the )?(\w+)", text)
        if found:
            some, holder = found.group(1) == "something", found.group(2)
            return lambda world: bool(world.contents.get(holder)) == some
        found = re.fullmatch(r"the (\w+) contains nothing", text)
        if found:
            empty = found.group(1)
            return lambda world: not world.contents.get(empty)
        raise UnknownTextError(f"the condition {text!r:.200} in a description")


def _said(parts: list[str | Renderer], world: World) -> str:
    return "".join([part if isinstance(part, str) else part(world) for part in parts])


def objective_text(objective: str) -> str:
    """Return the objective as the game prints it: textworld hands it to Inform in literals of 200 characters a line."""
    lines = []
    for line in objective.split("\n"):
        lines.append("".join(literal(line[start : start + 200]) for start in range(0, len(line), 200)))
    return "\n".join(lines)


def literal(text: str) -> str:
    """Return a text literal as Inform 7 prints it.

    One line break is a space, more are kept, and spaces around them are not.
    """
    return re.sub(r"[ \t]*((?:\n[ \t]*)+)", lambda found: _breaks(found.group(1)), quoted(text))


def quoted(text: str) -> str:
    """Return a text whose line breaks are all spelt out, as textworld writes those of things.

    A single quotation mark stays an apostrophe between two letters, or where the literal begins with that of an "'s"; it
    is a double one elsewhere.
    """
    kept = 1 if re.match(r"'[^\W\d_](?![^\W\d_])", text) else 0
    return text[:kept] + re.sub(r"(?<![^\W\d_])'|'(?![^\W\d_])", '"', text[kept:])


def _breaks(blank: str) -> str:
    count = blank.count("\n")
    return " " if count == 1 else "\n" * count


def _always(world: World) -> bool:
    return True
