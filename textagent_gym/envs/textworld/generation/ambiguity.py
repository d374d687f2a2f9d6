"""Names that get in each other's way.

textworld allows a "box" and a "type W box" in one game and tells Inform's parser that the thing whose whole name was typed
is meant (textworld 1.7, "Does the player mean" in `generator/inform7/world2inform7.py`). But it compares the name with the
command in lower case, so a name with a capital letter never matches, and `take type O key from box` is answered with
"Which do you mean, ...?" although textworld lists it as admissible. A game whose solution runs into this cannot be won by
typing the solution.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from textagent_gym.envs.textworld.world.grounding import Fact, GroundGame
from textagent_gym.mechanics.planning import Planner

if TYPE_CHECKING:
    from textworld.generator.game import Game

_PREPOSITIONS = ("from", "on", "into", "with")


def is_playable(game: Game) -> bool:
    """Return whether each command of the shortest solution names its things so that the parser knows them."""
    rivals = _rivals(game)
    if not rivals:
        return True
    ground = GroundGame(game)
    plan = Planner(ground.problem).reference
    state = ground.problem.initial
    for operator in plan.operators if plan is not None else ():
        contested = set().union(*(rivals[noun] for noun in _nouns(operator.name)))
        if operator.name != operator.name.lower() and contested & _visible(ground.facts(state)):
            return False
        state = ground.problem.successor(state, operator)
    return plan is not None


def _rivals(game: Game) -> defaultdict[str, set[str]]:
    """Return name -> entities with another name that holds every word of it."""
    words = {key: set(info.name.split()) for key, info in game.infos.items() if info.name and info.type not in "rPI"}
    rivals: defaultdict[str, set[str]] = defaultdict(set)
    for key, own in words.items():
        longer = {other for other, theirs in words.items() if other != key and own <= theirs}
        if longer:
            rivals[game.infos[key].name] |= longer
    return rivals


def _nouns(command: str) -> list[str]:
    """Return the names in a command such as "unlock big door with small key" that may be taken for another's.

    Of "take key from box" the parser looks for keys in the box only, so "key" is safe.
    """
    _, _, objects = command.partition(" ")
    for preposition in _PREPOSITIONS:
        first, found, second = objects.partition(f" {preposition} ")
        if found:
            return [second] if preposition == "from" else [first, second]
    return []


def _visible(facts: list[Fact]) -> set[str]:
    """Return entities in the player's room, on or in something open there, or carried."""
    places = {"I"} | {fact[2] for fact in facts if fact[:2] == ("at", "P")}
    visible = {fact[1] for fact in facts if fact[0] in ("at", "in") and fact[2] in places}
    visible |= {fact[2] for fact in facts if fact[0] == "link" and fact[1] in places}
    shut = {fact[1] for fact in facts if fact[0] in ("closed", "locked")}
    return visible | {fact[1] for fact in facts if fact[0] in ("in", "on") and fact[2] in visible - shut}
