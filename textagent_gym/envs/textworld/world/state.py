"""The things of a TextWorld game and where they are.

A `GameMap` is what never changes in a game: rooms, things, names, exits, keys. A `World` is what does: who holds what, what
is open, where the player stands. The order in which a holder's things are listed is part of a world: what came last comes
first, as in the object tree of the Z-machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textagent_gym.envs.textworld.parser.grammar import COOKING, DIRECTIONS, STANDARD, dictionary_form
from textagent_gym.envs.textworld.world.food import Dish, kitchen_of
from textagent_gym.envs.textworld.world.grounding import Fact, subtypes

if TYPE_CHECKING:
    from textworld.generator.game import Game

PLAYER = "P"
"""The player, as textworld's facts name it."""

_OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}

_VOWELS = frozenset("aeiouAEIOU")


class GameMap:
    """Fixed facts of a game.

    Attributes:
        things: Everything that can be named and is no room, in the order in which textworld declares it.
        rooms: All rooms.
        names: Entity -> printed name.
        vocabulary: Thing -> (whole name as words, single words that name it), in dictionary form.
        doors_of: Room -> its doors, in the order in which textworld declares them.
        exits: Room -> direction -> (room beyond, door between or None).
        key_of: Door or container -> key.
        doors, containers, supporters, foods: Things of that kind.
        kitchen: Facts of cooking games, or None.
        grammar: The verbs that are understood.
        capacity: Number of things that the player can hold.

    Args:
        game: textworld's description of the game.
    """

    def __init__(self, game: Game) -> None:
        self.kitchen = kitchen_of(game)
        self.grammar = STANDARD if self.kitchen is None else COOKING
        self.capacity = 100 if self.kitchen is None else self.kitchen.capacity
        kinds = subtypes(game.kb)
        entities = {entity.id: entity for entity in game.world.entities}
        declared = [entity.id for kind in game.kb.types for entity in game.world.get_entities_per_type(kind)]
        of_kind = {
            kind: frozenset(key for key, entity in entities.items() if entity.type in kinds.get(kind, ()))
            for kind in ("r", "d", "c", "s", "f")
        }
        self.rooms: tuple[str, ...] = tuple(key for key in declared if key in of_kind["r"])
        self.doors, self.containers, self.supporters = of_kind["d"], of_kind["c"], of_kind["s"]
        self.foods = of_kind["f"]
        self.names: dict[str, str] = {key: info.name for key, info in game.infos.items() if info.name}
        self.things: tuple[str, ...] = tuple(
            key for key in declared if key not in of_kind["r"] and key not in (PLAYER, "I") and key in self.names
        )
        self.fixed = self.doors | self.containers | self.supporters
        self.names[PLAYER] = "yourself"
        self._definite = {key: info.definite for key, info in game.infos.items() if info.definite}
        self._indefinite = {key: info.indefinite for key, info in game.infos.items() if info.indefinite}
        self.vocabulary = {key: _vocabulary(self.names[key], game.infos[key].synonyms or ()) for key in self.things}
        self.exits: dict[str, dict[str, tuple[str, str | None]]] = {room: {} for room in self.rooms}
        self.key_of: dict[str, str] = {}
        between: dict[tuple[str, str], str] = {}
        for fact in game.world.facts:
            arguments = [argument.name for argument in fact.arguments]
            if fact.name == "link":
                between[arguments[0], arguments[2]] = arguments[1]
            elif fact.name == "match":
                self.key_of[arguments[1]] = arguments[0]
        for fact in game.world.facts:
            direction, _, rest = fact.name.partition("_of")
            if direction in _OPPOSITE and rest == "":
                there, here = (argument.name for argument in fact.arguments)  # there is north of here
                self.exits[here][direction] = (there, between.get((here, there)))
                self.exits[there][_OPPOSITE[direction]] = (here, between.get((there, here)))
        self.doors_of = {room: self._doors_of(room) for room in self.rooms}

    def name(self, entity: str) -> str:
        """Return the printed name, without article."""
        return self.names.get(entity, entity)

    def the(self, entity: str) -> str:
        """Return the name with its definite article; doors and directions have names of their own, without one."""
        if entity in self._definite:
            return f"{self._definite[entity]} {self.names[entity]}"
        if entity == PLAYER or entity in self.doors:
            return self.name(entity)
        return f"the {self.name(entity)}"

    def The(self, entity: str) -> str:  # noqa: N802  Inform's own name for it
        """Return `the` with a capital at the beginning of a sentence; a name of its own is left as it is."""
        if entity == PLAYER:
            return "You"
        named = self.the(entity)
        return f"The{named[3:]}" if named.startswith("the ") else named

    def a(self, entity: str, adjectives: str = "") -> str:
        """Return the name with its indefinite article, and with what is said between the two."""
        name = adjectives + self.name(entity)
        if entity in self._indefinite:
            return f"{self._indefinite[entity]} {name}"
        if entity in self.doors:
            return name
        return f"an {name}" if name[:1] in _VOWELS else f"a {name}"

    def list_of(self, things: tuple[str, ...] | list[str], world: World) -> str:
        """Return an English list with indefinite articles: "a key, an apple and a sliced carrot"."""
        named = [self.a(thing, world.adjectives(thing)) for thing in things]
        return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)

    def _doors_of(self, room: str) -> tuple[str, ...]:
        here = {door for _, door in self.exits[room].values()}
        return tuple(thing for thing in self.things if thing in here)

    def front_of(self, door: str) -> str:
        """Return the first of the two rooms that a door joins."""
        return next(room for room in self.rooms if any(door == between for _, between in self.exits[room].values()))


class World:
    """State of a game: holders of things, open things, the player's room; cheap to copy.

    Attributes:
        holder: Thing -> room, container, supporter or player that holds it; eaten things are missing.
        contents: Holder -> what it holds, the last arrival first.
        status: Door or container -> "open", "closed" or "locked".
        dishes: Food -> how it was prepared; only in cooking games.
    """

    __slots__ = ("contents", "dishes", "holder", "status")

    def __init__(
        self,
        holder: dict[str, str],
        contents: dict[str, tuple[str, ...]],
        status: dict[str, str],
        dishes: dict[str, Dish],
    ) -> None:
        self.holder = holder
        self.contents = contents
        self.status = status
        self.dishes = dishes

    @classmethod
    def at_start(cls, game: Game, game_map: GameMap) -> World:
        """Return the world as the game describes it."""
        holder: dict[str, str] = {}
        status = dict.fromkeys(game_map.doors | game_map.containers, "closed")
        for fact in game.world.facts:
            first = fact.arguments[0].name
            if fact.name in ("at", "in", "on") and len(fact.arguments) == 2:
                holder[first] = PLAYER if fact.arguments[1].name == "I" else fact.arguments[1].name
            elif fact.name in ("open", "closed", "locked") and first in status:
                status[first] = fact.name
        contents: dict[str, tuple[str, ...]] = {}
        for thing in (PLAYER, *game_map.things):
            if thing in holder:
                contents[holder[thing]] = (*contents.get(holder[thing], ()), thing)
        world = cls(holder, contents, status, {} if game_map.kitchen is None else dict(game_map.kitchen.dishes))
        world._bring_doors(game_map)
        for door in game_map.things:
            if door in game_map.doors and door not in world.holder:
                world.move(door, game_map.front_of(door))
        return world

    def copy(self) -> World:
        """Return a world of its own."""
        return World(dict(self.holder), dict(self.contents), dict(self.status), dict(self.dishes))

    @property
    def room(self) -> str:
        """Room of the player."""
        return self.holder[PLAYER]

    def inside(self, holder: str) -> tuple[str, ...]:
        """Return the things that `holder` holds, the last arrival first."""
        return self.contents.get(holder, ())

    def adjectives(self, thing: str) -> str:
        """Return the words before the name of a thing that is looked at, a space after each; "" for most things."""
        dish = self.dishes.get(thing)
        return "" if dish is None else dish.adjectives

    def property_words(self, thing: str) -> frozenset[str]:
        """Return words that currently name a thing, in addition to its own name."""
        dish = self.dishes.get(thing)
        return frozenset() if dish is None else dish.words

    def holds(self, fact: Fact) -> bool:
        """Return whether a fact that a quest of a cooking game asks for is so."""
        name, thing, *_ = fact
        return self.holder.get(thing) == PLAYER if name == "in" else self.dishes[thing].has(name)

    def shows_contents(self, thing: str, game_map: GameMap) -> bool:
        """Return whether what is in or on `thing` can be seen and reached."""
        return thing in game_map.supporters or (thing in game_map.containers and self.status[thing] == "open")

    def move(self, thing: str, holder: str) -> None:
        """Put `thing` first among what `holder` holds."""
        self.remove(thing)
        self.holder[thing] = holder
        self.contents[holder] = (thing, *self.contents.get(holder, ()))

    def remove(self, thing: str) -> None:
        """Take `thing` out of the world."""
        before = self.holder.pop(thing, None)
        if before is not None:
            self.contents[before] = tuple(other for other in self.contents[before] if other != thing)

    def walk(self, room: str, game_map: GameMap) -> None:
        """Put the player, and the doors that can be seen there, into `room`."""
        self.move(PLAYER, room)
        self._bring_doors(game_map)

    def _bring_doors(self, game_map: GameMap) -> None:
        # A door stays in that room of its two in which the player last met it (Inform 6M62, `WorldModel.i6t`).
        for door in game_map.doors_of[self.room]:
            if self.holder.get(door) != self.room:
                self.move(door, self.room)


def _vocabulary(name: str, synonyms: tuple[str, ...] | list[str]) -> tuple[tuple[tuple[str, ...], ...], frozenset[str]]:
    """Return the phrases and the single words by which a thing can be called (textworld 1.7, `gen_source_for_objects`)."""
    phrases = [tuple(map(dictionary_form, phrase.split())) for phrase in (name, *synonyms)]
    words = {word for phrase in phrases if len(phrase) == 1 for word in phrase}
    if len(phrases[0]) > 1:
        words |= {dictionary_form(word) for word in name.split() if word.lower() not in ("the", "of")}
    return tuple(phrase for phrase in phrases if len(phrase) > 1), frozenset(words)


DIRECTION_WORDS = {name: frozenset(map(dictionary_form, words)) for name, words in DIRECTIONS.items()}
"""Compass direction -> the words that name it, in dictionary form."""
