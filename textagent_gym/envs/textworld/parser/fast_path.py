"""Commands that need no reading: textworld's own, where no name in the game can be taken for another."""

from __future__ import annotations

from collections.abc import Iterable

from textagent_gym.envs.textworld.parser.grammar import NUMBERS, dictionary_form
from textagent_gym.envs.textworld.parser.tokens import (
    ALL,
    ARTICLES,
    CONNECTIVES,
    LIT,
    MAX_WORDS,
    ME,
    MINE,
    OWNED,
    PRONOUNS,
    THERE,
    Command,
    tokenise,
)
from textagent_gym.envs.textworld.world.state import GameMap


def plain_commands(
    acts: Iterable[tuple[str, ...]], game_map: GameMap
) -> dict[str, tuple[Command, tuple[str, ...] | None]]:
    """Return commands that mean one thing wherever they are admissible, so that they need no reading.

    With each comes what the parser remembers as understood of a longer line once it has read this one, or None.

    These are textworld's own commands whose names no other name in the game can be taken for, and which hold no word that
    the parser has a use of its own for. What each means is what `Parser.read` would find; the tests hold it to that.
    """
    special = ALL | CONNECTIVES | ME | ARTICLES | MINE | THERE | OWNED.keys() | LIT | NUMBERS.keys()
    special |= {"another", "other", "then", "of", "directions", *PRONOUNS} | game_map.grammar.prepositions
    if game_map.kitchen is not None:
        special |= game_map.kitchen.property_words

    vocabulary = {thing: _words_of(game_map, thing) for thing in game_map.things}

    def is_plain(thing: str) -> bool:
        typed = tokenise(game_map.name(thing))
        words = set(map(dictionary_form, typed))
        if " ".join(typed) != game_map.name(thing).lower() or special & words:
            return False
        return not any(words <= theirs for other, theirs in vocabulary.items() if other != thing)

    plain = {thing for thing in game_map.things if is_plain(thing)}
    commands: dict[str, tuple[Command, tuple[str, ...] | None]] = {
        "look": (Command("look", ()), None),
        "inventory": (Command("inventory", ()), None),
    }
    commands |= {f"examine {game_map.name(thing)}": (Command("examine", (thing,)), None) for thing in plain}
    for verb, *nouns in acts:
        form = _PLAIN_FORMS.get((verb, len(nouns)))
        if verb == "go":
            commands[f"go {nouns[0]}"] = Command("go", (nouns[0],)), ()
        elif form is not None and plain.issuperset(nouns):
            action, text = form
            partial = (game_map.the(nouns[0]),) if (verb, len(nouns)) == ("take", 2) else None
            commands[text.format(*map(game_map.name, nouns))] = Command(action, tuple(nouns)), partial
    return {text: plain for text, plain in commands.items() if len(text.split()) <= MAX_WORDS}


_PLAIN_FORMS = {
    ("take", 1): ("remove", "take {}"),
    ("take", 2): ("remove", "take {} from {}"),
    ("drop", 1): ("drop", "drop {}"),
    ("put", 2): ("put", "put {} on {}"),
    ("insert", 2): ("insert", "insert {} into {}"),
    ("open", 1): ("open", "open {}"),
    ("close", 1): ("close", "close {}"),
    ("lock", 2): ("lock", "lock {} with {}"),
    ("unlock", 2): ("unlock", "unlock {} with {}"),
    ("eat", 1): ("eat", "eat {}"),
}
"""Verb and number of nouns of an act of textworld -> the parser's action, and the command as textworld writes it."""


def _words_of(game_map: GameMap, thing: str) -> set[str]:
    phrases, singles = game_map.vocabulary[thing]
    return set(singles).union(*phrases)
