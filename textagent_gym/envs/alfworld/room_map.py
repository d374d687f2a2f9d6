"""A map of the whole room in words: for people who play or look on, never for an agent."""

from __future__ import annotations

from collections.abc import Mapping

from textagent_gym.envs.alfworld.pddl.state import Facts

_STATES = {"isclean": "clean", "ishot": "hot", "iscool": "cool", "istoggled": "switched on"}


def draw_map(facts: Facts, names: Mapping[str, str]) -> str:
    """Return receptacles with what is in them, what the agent carries, and where it stands.

    Args:
        facts: of the game as it stands.
        names: Object -> name.
    """

    def described(thing: str) -> str:
        """Return an object with its states and its content."""
        states = [word for predicate, word in _STATES.items() if facts.holds(predicate, thing)]
        held = ", ".join(sorted(map(described, inside.get(thing, []))))
        return " ".join([*states, names.get(thing, thing)]) + (f" [{held}]" if held else "")

    inside: dict[str, list[str]] = {}
    for thing, receptacle in facts.rows("inreceptacle") | facts.rows("inreceptacleobject"):
        inside.setdefault(receptacle, []).append(thing)
    place = next((location for _, location in facts.rows("atlocation")), "")
    lines = []
    for receptacle, location in facts.rows("receptacleatlocation"):
        door = ""
        if facts.holds("openable", receptacle):
            door = "open " if facts.holds("opened", receptacle) else "closed "
        mark = " (you are here)" if location == place else ""
        held = ", ".join(sorted(map(described, inside.get(receptacle, []))))
        lines.append(f"{door}{names.get(receptacle, receptacle)}{mark}: {held or 'nothing'}")
    carried = ", ".join(sorted(described(thing) for _, thing in facts.rows("holds")))
    return "\n".join([*sorted(lines, key=lambda line: line.removeprefix("open ").removeprefix("closed ")),
                      f"carried: {carried or 'nothing'}"])  # fmt: skip
