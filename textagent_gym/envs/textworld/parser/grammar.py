"""The commands that a TextWorld game understands: Inform 7's standard verbs and the few that textworld adds.

A table of facts: words, order of lines and order of words decide which reading of a command wins. Sources: the
"Understand" sentences of `Standard Rules.i7x` (Inform 7 build 6M62) as its compiler orders them, and textworld 1.7,
`generator/inform7/world2inform7.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SLOTS: frozenset[str] = frozenset(
    {"noun", "held", "multi", "multiheld", "multiexcept", "multiinside", "creature", "topic", "direction", "switched"}
)
"""Kinds of words in a slot of a line: something in reach; preferably something held; several things; several held ones;
several things but not the second noun; several things inside the second noun; somebody; any words; a compass direction;
a device that is on (no TextWorld game has one)."""

MULTIPLE: frozenset[str] = frozenset({"multi", "multiheld", "multiexcept", "multiinside"})


@dataclass(frozen=True, slots=True)
class Line:
    """One reading of a verb: the tokens that follow it and the action that they mean.

    Attributes:
        tokens: Slots as strings, and fixed words as tuples of alternatives.
        action: Name of the action.
        is_reversed: True if the nouns come in the other order than the action takes them.
    """

    tokens: tuple[str | tuple[str, ...], ...]
    action: str
    is_reversed: bool = False


_TABLE = """
take carry hold: inventory = inventory; all = take all; each = take all; everything = take all; NOUN = remove;
    MULTI = take; off NOUN = take off; NOUN off = take off; MULTIINSIDE from NOUN = remove; MULTIINSIDE off NOUN = remove
get: out/off/down/up = exit; in/on = enter; all = take all; each = take all; everything = take all; MULTI = take;
    in/into/on/onto NOUN = enter; off/down NOUN = get off; MULTIINSIDE from NOUN = remove
pick: up all = take all; up each = take all; up everything = take all; up MULTI = take; MULTI up = take
stand: = exit; up = exit; on NOUN = enter
remove: HELD = take off; MULTIINSIDE from NOUN = remove
shed doff disrobe: HELD = take off
wear don: HELD = wear
put: on HELD = wear; HELD on = wear; down MULTIHELD = drop; MULTIHELD down = drop;
    MULTIEXCEPT in/inside/into NOUN = insert; MULTIEXCEPT on/onto NOUN = put
insert: MULTIEXCEPT in/into NOUN = insert
drop throw discard: MULTIHELD = drop; HELD at/against NOUN = throw; MULTIEXCEPT in/into/down NOUN = insert;
    MULTIEXCEPT on/onto NOUN = put
give pay offer feed: CREATURE HELD = give reversed; HELD to CREATURE = give
show present display: CREATURE HELD = show reversed; HELD to CREATURE = show
go walk run: = go; DIRECTION = go; NOUN = enter; into/in/inside/through NOUN = enter
inventory i inv: = inventory
look l: = look; NOUN = examine; at NOUN = examine; inside/in/into/through NOUN = search; under NOUN = look under;
    up TOPIC in NOUN = consult reversed
consult: NOUN on/about TOPIC = consult
open unwrap uncover: NOUN = open; NOUN with HELD = unlock
close shut cover: NOUN = close; up NOUN = close; off NOUN = switch off
enter cross: = enter; NOUN = enter
sit: on/in/inside NOUN = enter; on top of NOUN = enter
exit leave out: = exit
examine x watch describe check: NOUN = examine
read: NOUN = examine; about TOPIC in NOUN = consult reversed; TOPIC in NOUN = consult reversed
yes y: = yes
no: = no
sorry: = sorry
search: NOUN = search
wave: = wave hands; NOUN = wave
set adjust: NOUN to TOPIC = set
pull drag: NOUN = pull
push move shift clear press: NOUN = push; NOUN DIRECTION = push to; NOUN to DIRECTION = push to
turn rotate twist unscrew screw: NOUN = turn; NOUN on = switch on; on NOUN = switch on; NOUN off = switch off;
    off NOUN = switch off
switch: SWITCHED = switch off; NOUN = switch on; on NOUN = switch on; NOUN on = switch on; NOUN off = switch off;
    off NOUN = switch off
lock: NOUN with HELD = lock
unlock: NOUN with HELD = unlock
attack break smash hit fight torture wreck crack destroy murder kill punch thump: NOUN = attack
wait z: = wait
answer say shout speak: TOPIC to CREATURE = answer reversed
tell: CREATURE about TOPIC = tell
ask: CREATURE for NOUN = ask for; CREATURE about TOPIC = ask
eat: HELD = eat
sleep nap: = sleep
climb scale: NOUN = climb; up/over NOUN = climb
buy purchase: NOUN = buy
squeeze squash: NOUN = squeeze
swing: NOUN = swing; on NOUN = swing
wake awake awaken: = wake up; up = wake up; CREATURE = wake; CREATURE up = wake; up CREATURE = wake
kiss embrace hug: CREATURE = kiss
think: = think
smell sniff: = smell; NOUN = smell
listen: = listen; to NOUN = listen
hear: NOUN = listen
taste: NOUN = taste
touch feel: NOUN = touch
rub shine polish sweep clean dust wipe scrub: NOUN = rub
tie attach fasten: NOUN to NOUN = tie
burn light: NOUN = burn
drink swallow sip: NOUN = drink
cut slice prune chop: NOUN = cut
jump skip hop: = jump
score: = score
goal: = goal
help: = help
"""


_WORD_LENGTH = 9
"""Z-characters that the Z-machine's dictionary keeps of a word (Z-Machine Standards Document 1.1, section 13.3)."""

_ONE_CHARACTER = frozenset("abcdefghijklmnopqrstuvwxyz")
_TWO_CHARACTERS = frozenset("0123456789.,!?_#'\"/\\-:()")


def dictionary_form(word: str) -> str:
    """Return the part of a word that the Z-machine's dictionary keeps: nine places of characters, in lower case.

    A letter takes one place, a digit or a common sign two, any other character four; a character that is cut in the middle
    still counts.
    """
    places = 0
    for length, character in enumerate(word.lower(), start=1):
        places += 1 if character in _ONE_CHARACTER else 2 if character in _TWO_CHARACTERS else 4
        if places >= _WORD_LENGTH:
            return word[:length].lower()
    return word.lower()


def _read(table: str) -> dict[str, tuple[Line, ...]]:
    verbs: dict[str, tuple[Line, ...]] = {}
    for entry in table.strip().replace("\n    ", " ").split("\n"):
        words, _, meanings = entry.partition(":")
        lines = tuple(_read_line(meaning) for meaning in meanings.split(";"))
        verbs.update(dict.fromkeys(map(dictionary_form, words.split()), lines))
    return verbs


def _read_line(meaning: str) -> Line:
    pattern, _, action = meaning.partition("=")
    tokens = (
        token.lower() if token.isupper() else tuple(map(dictionary_form, token.split("/"))) for token in pattern.split()
    )
    return Line(tuple(tokens), action.removesuffix(" reversed").strip(), action.endswith(" reversed"))


_OWN_WORDS = frozenset(
    {
        "commands", "description", "endofobject", "id", "max_score", "moves", "option", "player", "print", "score",
        "state", "version",
    }
)  # fmt: skip
"""Fixed words of textworld's own commands, which no player types."""


class Grammar:
    """The verbs of a game.

    Args:
        verbs: Verb -> its readings.

    Attributes:
        verbs: Verb -> its readings, in the order in which they are tried.
        prepositions: Every fixed word of any line, textworld's own commands included; the parser looks ahead for them.
    """

    def __init__(self, verbs: Mapping[str, tuple[Line, ...]]) -> None:
        self.verbs = verbs
        lines = (line for lines in verbs.values() for line in lines)
        fixed = (token for line in lines for token in line.tokens if token not in SLOTS)
        self.prepositions: frozenset[str] = _OWN_WORDS.union(*map(frozenset, fixed))

    def with_verbs(self, table: str, without: frozenset[str] = frozenset()) -> Grammar:
        """Return this grammar with the verbs of `table`, which replace those of the same name, and without some others."""
        return Grammar({verb: lines for verb, lines in self.verbs.items() if verb not in without} | _read(table))


STANDARD = Grammar(_read(_TABLE))
"""The verbs of every TextWorld game."""

DIRECTIONS: dict[str, tuple[str, ...]] = {
    "north": ("north", "n", "directions"),
    "northeast": ("northeast", "ne", "directions"),
    "northwest": ("northwest", "nw", "directions"),
    "south": ("south", "s", "directions"),
    "southeast": ("southeast", "se", "directions"),
    "southwest": ("southwest", "sw", "directions"),
    "east": ("east", "e", "directions"),
    "west": ("west", "w", "directions"),
    "up": ("up", "u", "directions"),
    "down": ("down", "d", "directions"),
    "inside": ("inside", "in", "directions"),
    "outside": ("outside", "out", "directions"),
}
"""Compass direction -> the words that name it, in the order in which they are considered."""

_NUMBERS = """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty twenty-one twenty-two twenty-three twenty-four twenty-five twenty-six twenty-seven twenty-eight
    twenty-nine thirty"""

NUMBERS = {word: number for number, word in enumerate(_NUMBERS.split(), start=1)}
"""Numbers that the parser knows as words."""

NUMBER_WORDS = {number: word for word, number in NUMBERS.items()}
"""Numbers as the game says them."""

_COOKING_VERBS = """
drink swallow sip: NOUN = drink
cut: NOUN = cut
prepare: meal = prepare
slice: NOUN with/using NOUN = slice
dice: NOUN with/using NOUN = dice
chop: NOUN with/using NOUN = chop
cook: NOUN with/in/on/using NOUN = cook
"""

COOKING = STANDARD.with_verbs(_COOKING_VERBS, without=frozenset(map(dictionary_form, ("slice", "prune", "chop"))))
"""The grammar of cooking games."""
