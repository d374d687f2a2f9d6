"""Definition of an action: its view of the world, its conditions on nouns, and its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from textagent_gym.envs.textworld.world.state import GameMap, World


class ActionContext(Protocol):
    """View of the world for an action, which may change it; `max_score` are the points of all quests."""

    game_map: GameMap
    world: World
    actions: Mapping[str, Action]
    objective: str
    score: int
    max_score: int
    turns: int

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the line that is being carried out."""

    def do(self, *act: str) -> None:
        """Carry out one action of the game's rules, such as ("take", thing, container), in world and facts."""

    def record(self, *act: str) -> None:
        """Carry out one action of the game's rules in the facts alone; nothing where they do not allow it."""

    def notice(self, thing: str) -> None:
        """Make `thing` what "it" means."""

    def heading(self, room: str) -> str:
        """Return the name of a room as it stands above its description."""

    def describe(self, entity: str) -> str:
        """Return the description of a thing or room as it is now; "" where it has none."""


class ActionResult(NamedTuple):
    """Text and result of an action.

    Attributes:
        text: Its words.
        done: True if it was carried out.
        gap: Line breaks before whatever is said next in the same turn.
    """

    text: str
    done: bool = False
    gap: int = 3


Perform = Callable[[ActionContext, str, str], ActionResult]
"""An action on its noun and second noun; "" where there is none."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action and what it asks of its nouns before its own rules are heard.

    Attributes:
        perform: Its own rules.
        touches: Number of its nouns that must be things within reach, not directions.
        carries: Noun, 1 or 2, that the player must hold; 0 for neither, 3 for both.
        happens: True if a turn passes.
        before: Check before its nouns are looked at, or None.
    """

    perform: Perform
    touches: int = 1
    carries: int = 0
    happens: bool = True
    before: Callable[[ActionContext, str, str], ActionResult | None] | None = None
