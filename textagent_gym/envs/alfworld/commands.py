"""Interpretation of commands: other dialects of ALFWorld, slips of articles and spaces, and reasons for failure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from textagent_gym.envs.alfworld.pddl.game import Game
from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.planning.goals import TREATMENTS

_PUT = re.compile(r"(?:put|place|insert|move) (.+?) (?:in/on|into|onto|in|on|to) (.+)")
_ARTICLES = re.compile(r"\b(?:the|an?) ")

_FORMS = {
    "go": re.compile(r"go ?to (.+)"),
    "open": re.compile(r"open (.+)"),
    "close": re.compile(r"close (.+)"),
    "take": re.compile(r"take (.+?) from (.+)"),
    "put": re.compile(r"move (.+?) to (.+)"),
    "clean": re.compile(r"clean (.+?) with (.+)"),
    "heat": re.compile(r"heat (.+?) with (.+)"),
    "cool": re.compile(r"cool (.+?) with (.+)"),
    "slice": re.compile(r"slice (.+?) with (.+)"),
    "use": re.compile(r"use (.+)"),
    "examine": re.compile(r"examine (.+)"),
}

_TREATED = {"clean": ("isclean", "cleaned"), "heat": ("ishot", "heated"), "cool": ("iscool", "cooled")}
"""Form of a command -> the state that it gives, and its participle."""


def meant(command: str, admissible: Iterable[str]) -> str:
    """Return the admissible command that `command` says in other words, or `command` itself where there is none.

    "put X in/on Y" of older games and "move X to Y" of newer ones are one command; capitals, articles and spaces are free.
    """
    key = _key(command)
    return next((known for known in admissible if _key(known) == key), command)


def _key(command: str) -> str:
    """Return a key that commands with the same meaning share."""
    return re.sub(r"\s+", "", _plain(command))


def _plain(command: str) -> str:
    words = _ARTICLES.sub("", " ".join(command.lower().split()))
    put = _PUT.fullmatch(words)
    return f"move {put[1]} to {put[2]}" if put else words


def why_nothing(command: str, game: Game, facts: Facts) -> str:
    """Return why a command that is not admissible did nothing, in a sentence about what the player can see."""
    plain = _plain(command)
    for form, pattern in _FORMS.items():
        found = pattern.fullmatch(plain)
        if found is None:
            continue
        things = {re.sub(r"\s+", "", name): thing for thing, name in game.names.items()}
        named = [things.get(re.sub(r"\s+", "", words)) for words in found.groups()]
        for words, thing in zip(found.groups(), named, strict=True):
            if thing is None:
                return f"nothing in this room is called {words!r}."
        return _Reasons(game, facts).of(form, [thing for thing in named if thing is not None])
    return "that is not one of the commands; help lists them."


class _Reasons:
    """Looks for the first thing that stands in the way."""

    def __init__(self, game: Game, facts: Facts) -> None:
        self._names, self._facts = game.names, facts
        ((self._agent, self._location),) = facts.rows("atlocation")

    def of(self, form: str, things: list[str]) -> str:
        first, last = things[0], things[-1]
        if form == "use":
            return self._here(first) or f"the {self._names[first]} has no switch."
        if form == "examine":
            return (
                self._not_at(first)
                if self._is_place(first)
                else "you can only examine what you hold, or a place you are at."
            )
        if form == "slice":
            return self._not_held(last) or self._here(first) or "that cannot be sliced with this."
        if not self._is_place(last):
            return f"the {self._names[last]} is not a place for things."
        if form == "go":
            return f"you are already at the {self._names[last]}."
        return self._not_at(last) or self._at_place(form, first, last)

    def _at_place(self, form: str, thing: str, place: str) -> str:
        """Return why something cannot be done at the place where the player is."""
        name, where = self._names[thing], self._names[place]
        is_open = self._facts.holds("opened", place)
        can_close = self._facts.holds("openable", place)
        if form in ("open", "close"):
            state = "open" if is_open else "closed"
            return f"the {where} is already {state}." if can_close else f"the {where} cannot be opened or closed."
        if form in _TREATED:
            state, done = _TREATED[form]
            stations = TREATMENTS[state].stations
            if not any(self._facts.holds("receptacletype", place, kind) for kind in stations):
                return f"nothing can be {done} with the {where}."
            return self._not_held(thing) or f"the {name} cannot be {done}."
        if form == "put":
            return self._not_held(thing) or self._closed(place) or f"the {where} is no place for the {name}."
        return self._closed(place) or self._untakeable(thing, place)

    def _untakeable(self, thing: str, place: str) -> str:
        if not self._facts.holds("inreceptacle", thing, place):
            return f"the {self._names[thing]} is not in or on the {self._names[place]}."
        if not self._facts.holds("pickupable", thing):
            return f"the {self._names[thing]} cannot be taken."
        held = next((other for _, other in self._facts.rows("holds")), None)
        assert held is not None  # or it could be taken
        return f"your hands are full: you are carrying the {self._names[held]}."

    def _is_place(self, thing: str) -> bool:
        return thing in self._facts.index("receptacleatlocation", (0,))

    def _not_at(self, place: str) -> str:
        here = self._facts.holds("receptacleatlocation", place, self._location)
        return "" if here else f"you are not at the {self._names[place]}; go there first."

    def _closed(self, place: str) -> str:
        closed = self._facts.holds("openable", place) and not self._facts.holds("opened", place)
        return f"the {self._names[place]} is closed." if closed else ""

    def _not_held(self, thing: str) -> str:
        return (
            "" if self._facts.holds("holds", self._agent, thing) else f"you are not carrying the {self._names[thing]}."
        )

    def _here(self, thing: str) -> str:
        places = [place for _, place in self._facts.index("inreceptacle", (0,)).get(thing, ())]
        in_sight = any(not self._not_at(place) and not self._closed(place) for place in places)
        return "" if in_sight else f"there is no {self._names[thing]} where you are."
