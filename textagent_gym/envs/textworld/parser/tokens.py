"""The records of reading a line: what the parser keeps, finds out, and answers."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from textagent_gym.envs.textworld.parser.grammar import Line, dictionary_form

MAX_WORDS = 15
"""Words of a line that the Z-machine's parse table holds; the rest is not read."""

PRONOUNS = ("it", "him", "her", "them")

ALL = frozenset(map(dictionary_form, ("all", "each", "every", "everything", "both")))
CONNECTIVES = frozenset({"and", "but", "except"})
ME = frozenset({"me", "myself", "self"})
ARTICLES = frozenset({"the", "a", "an", "some"})
MINE = frozenset({"my", "this", "these"})
THERE = frozenset({"that", "those"})
OWNED = {"his": "him", "her": "her", "their": "them", "its": "it"}
LIT = frozenset({"lit", "lighted", "unlit"})
EVERYTHING = 10_000
"""Number of things that "all" asks for."""

SPOKEN = {"i": "take inventory", "inv": "take inventory", "inventory": "take inventory"} | {
    "l": "look", "x": "examine", "z": "wait",
}  # fmt: skip
"""Verbs that the parser's own messages call by another name."""


class Fault(enum.IntEnum):
    """Faults of a line; of several readings the greatest fault is reported."""

    STUCK = 1
    UP_TO = 2
    NOT_ANIMATE = 4
    CANNOT_SEE = 5
    MULTIPLE = 8
    VAGUE = 10
    VERB = 12
    GONE = 14
    TOO_FEW = 16
    NOTHING = 17
    NOT_IN_CONTEXT = 19


@dataclass(frozen=True, slots=True)
class Command:
    """A line that was understood.

    Attributes:
        action: Name of the action.
        nouns: Its nouns; "" stands for the place that `things` fill.
        things: Things that the action is done to one after the other, or None for a single action.
        preface: First words of the parser, about a noun that it guessed; "" for nothing.
    """

    action: str
    nouns: tuple[str, ...]
    things: tuple[str, ...] | None = None
    preface: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the parser that waits for the next line.

    Attributes:
        words: The line that raised it.
        place: Position of the answer, as an index into `words`.
        takes_all: True if "all" is an answer; None where the question is for a missing noun.
        strategy: Weighing of the candidates, also used to read the answer.
        alternatives: Second nouns that were weighed.
    """

    words: tuple[str, ...]
    place: int
    takes_all: bool | None
    strategy: int = 0
    alternatives: tuple[str, ...] = ()


class Memory(NamedTuple):
    """State that a parser keeps from one line to the next.

    Attributes:
        pronouns: Pronoun -> what it means.
        question: A question that waits for an answer, or None.
        partial: Understood part of the last line that was too long.
    """

    pronouns: tuple[tuple[str, str], ...] = ()
    question: Question | None = None
    partial: tuple[str, ...] = ()


class LineFails(Exception):  # noqa: N818  a way through the readings, not an error
    """This reading of the verb does not fit."""


class ParserReply(Exception):  # noqa: N818
    """The parser stops and says something."""

    def __init__(self, text: str, question: Question | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.question = question


@dataclass(slots=True)
class Descriptors:
    """Articles, numbers and the like before a noun (`Descriptors`)."""

    indefinite: bool = False
    plural: bool = False
    wanted: int = 0
    guessed: bool = False
    ambiguous: bool = False
    mine: bool = False
    there: bool = False
    lit: bool = False
    owner: str | None = None
    number_at: int = 0

    def reset(self) -> None:
        """Forget everything, as if the words had not been descriptors."""
        self.indefinite = self.plural = self.guessed = self.ambiguous = self.mine = self.there = self.lit = False
        self.wanted = self.number_at = 0
        self.owner = None


@dataclass(slots=True)
class Reading:
    """State of reading one line of a verb."""

    line: Line
    parameters: list[str | None] = field(default_factory=list)
    pattern: dict[int, str] = field(default_factory=dict)
    inferred_from: int = 0
    things: list[str] = field(default_factory=list)
    context: str = ""
    all_rule: int = 0
    fault: Fault = Fault.STUCK


def tokenise(text: str) -> tuple[str, ...]:
    """Return the words of a typed line; full stops, commas and double quotation marks are words of their own."""
    for mark in '.,"':
        text = text.replace(mark, f" {mark} ")
    return tuple(text.lower().split())[:MAX_WORDS]
