"""A map of the whole world in words: for people who play or look on, never for an agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textagent_gym.envs.textworld.world.grounding import Fact
from textagent_gym.envs.textworld.world.state import PLAYER

_BACKPACK = "I"
_STATES = ("open", "closed", "locked")


def draw_map(facts: Iterable[Fact], names: Mapping[str, str]) -> str:
    """Return rooms with their exits, what is in them, and what the player carries; the player's room is marked.

    Args:
        facts: textworld's facts, such as ("north_of", "r_1", "r_0"): r_1 is north of r_0.
        names: Entity -> printed name; one without a name is printed as itself.
    """
    known = set(facts)
    exits: dict[str, list[str]] = {}
    inside: dict[str, list[str]] = {}
    states = {fact[1]: fact[0] for fact in known if fact[0] in _STATES}
    doors = {(fact[1], fact[3]): fact[2] for fact in known if fact[0] == "link"}
    name = {entity: names.get(entity) or entity for fact in known for entity in fact[1:]}
    for fact in sorted(known):
        direction, _, rest = fact[0].partition("_of")
        if direction in ("north", "south", "east", "west") and not rest:
            there, here = fact[1:]
            door = doors.get((here, there))
            through = f" through the {states.get(door, 'open')} {name[door]}" if door else ""
            exits.setdefault(here, []).append(f"{direction}: {name[there]}{through}")
            exits.setdefault(there, [])
        elif fact[0] in ("at", "in", "on"):
            inside.setdefault(fact[2], []).append(fact[1])

    def described(thing: str) -> str:
        """Return a thing with its state and what it holds."""
        words = f"{states[thing]} {name[thing]}" if thing in states else name[thing]
        held = ", ".join(map(described, inside.get(thing, [])))
        return f"{words} [{held}]" if held else words

    lines = []
    rooms: dict[str, list[str]] = exits or {fact[2]: [] for fact in known if fact[:2] == ("at", PLAYER)}
    for room in sorted(rooms, key=lambda room: (name[room], room)):
        things = [thing for thing in inside.get(room, []) if thing != PLAYER]
        mark = " (you are here)" if PLAYER in inside.get(room, []) else ""
        lines += [f"{name[room]}{mark}", *(f"    {way}" for way in sorted(rooms[room]))]
        lines += [f"    here: {', '.join(map(described, things))}"] if things else []
    carried = ", ".join(map(described, inside.get(_BACKPACK, [])))
    return "\n".join([*lines, f"carried: {carried or 'nothing'}"])
