"""Games that the native engine models: whatever else a game holds, the interpreter plays it.

What textworld lets a game's maker change is looked at: the knowledge base (types, rules, commands, Inform code), the flags
and rewards of quests, the conditions of events, and text that Inform would not print as it stands.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from textagent_gym.envs.textworld.world.grounding import as_fact, subtypes

if TYPE_CHECKING:
    from textworld.generator.game import Game

KNOWLEDGE = {
    "1e72fa5058cdeb51": "textworld, tw-simple, tw-treasure_hunter",
    "64741049a635b323": "tw-coin_collector",
    "f74956132b0edd87": "tw-cooking",
    "7f3a706efee87717": "tw-cooking with a limited inventory",
}
"""Digest of each knowledge base whose rules and words are modelled (those of textworld 1.7) -> the games that have it."""

_STANDARD = frozenset({"at", "in", "on", "open", "closed", "locked", "eaten"})
_FIXED = frozenset({"match", "edible", "north_of", "south_of", "east_of", "west_of"})
_NOT_OF_INFORM = frozenset({"free", "link"})  # conditions that the interpreter leaves out
_COOKING = frozenset({"consumed", "burned", "cooked", "raw", "grilled", "roasted", "fried", "uncut", "sliced", "diced",
                      "chopped"})  # fmt: skip
_MAX_REWARD = 30_000
"""Points beyond which the interpreter's score overflows."""

_MEANS_MORE = frozenset('"[]{}\\')
"""Characters that mean something else to Inform."""


class UnknownGameError(ValueError):
    """A game holds something that the native engine does not model; the message says what."""


def check_known(game: Game) -> None:
    """Check that all of a game is modelled, but for its descriptions.

    Raises:
        UnknownGameError: Something is not.
    """
    if digest_of(game.kb.logic.serialize()) not in KNOWLEDGE:
        raise UnknownGameError("types, rules, commands or code of its own")
    for reason in (*_in_quests(game), *_in_words(game)):
        raise UnknownGameError(reason)


@functools.lru_cache(maxsize=64)
def digest_of(logic: str) -> str:
    """Return a digest of a knowledge base's source that comments and the order of files do not change."""
    lines = [line.rstrip() for line in logic.split("\n") if line.strip() and not line.startswith("#")]
    blocks = re.split(r"^(?=type )", "\n".join(lines), flags=re.MULTILINE)
    return hashlib.sha256("\n".join(sorted(block.strip() for block in blocks)).encode()).hexdigest()[:16]


def _in_quests(game: Game) -> Iterator[str]:
    cooks = "RECIPE" in subtypes(game.kb)
    for quest in game.quests:
        if quest.optional or quest.repeatable:
            yield f"{'a repeatable' if quest.repeatable else 'an optional'} quest"
        if not 0 <= quest.reward <= _MAX_REWARD:
            yield f"a quest that pays {quest.reward} points"
        for event in (*quest.win_events, *quest.fail_events):
            facts = [as_fact(fact) for fact in event.condition.preconditions]
            if not facts:
                yield "an event without a condition"
            # The generator asks for all that its last action leaves, which includes ways that the player has just gone.
            known = _STANDARD | _FIXED | (_NOT_OF_INFORM if event.actions else frozenset())
            for name, *things in facts:
                if not (_is_cooked(name, things) if cooks else name in known):
                    yield f"an event that asks for {name}({', '.join(things)})"


def _is_cooked(name: str, things: list[str]) -> bool:
    """Return whether a fact is one that `World.holds` knows."""
    return name in _COOKING or (name == "in" and things[1:] == ["I"])


def _in_words(game: Game) -> Iterator[str]:
    texts = [(f"the name of {key}", text) for key, info in game.infos.items()
             for text in (info.name, info.definite, info.indefinite, *(info.synonyms or ()))]  # fmt: skip
    for what, text in (*texts, ("the objective", game.objective.replace("\n", " "))):
        odd = next((letter for letter in text or "" if letter in _MEANS_MORE or not letter.isprintable()), None)
        if odd is not None:
            yield f"{odd!r} in {what}"
