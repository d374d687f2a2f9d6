"""A game as it is kept for play: all that the native engine reads of one, without the textworld package."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.textworld.world.grounding import Fact, as_fact

if TYPE_CHECKING:
    from textworld.generator.game import Event, Game

_INFO = ("name", "type", "desc", "definite", "indefinite", "synonyms")


class SavedGame:
    """A game in the shape of `textworld.generator.Game`, as far as the native engine looks at it.

    Attributes:
        infos: Entity -> its names, type and description.
        world: Facts and entities.
        kb: Types.
        quests: Rewards, flags, and events with their conditions.
        objective: The game's objective.
        metadata: textworld's own notes.

    Args:
        data: As `described` returns it.
        path: File of the whole game.
    """

    def __init__(self, data: dict[str, Any], path: Path) -> None:
        self._path = path
        self.infos = {
            key: SimpleNamespace(**dict(zip(_INFO, info, strict=True))) for key, info in data["infos"].items()
        }
        entities = {key: SimpleNamespace(id=key, type=kind) for key, kind in data["entities"]}
        self.world = _World(
            facts=[_proposition(fact) for fact in data["facts"]],
            entities=list(entities.values()),
            objects=[entities[key] for key in data["objects"]],
            of_kind={kind: [entities[key] for key in keys] for kind, keys in data["of_kind"].items()},
        )
        self.kb = SimpleNamespace(types=_Types(data["kinds"]))
        self.quests = [
            SimpleNamespace(
                reward=reward,
                optional=optional,
                repeatable=repeatable,
                win_events=[_event(facts) for facts in wins],
                fail_events=[_event(facts) for facts in fails],
            )
            for reward, optional, repeatable, wins, fails in data["quests"]
        ]
        self.objective: str = data["objective"]
        self.metadata: dict[str, Any] = data["metadata"]

    def load(self) -> Game:
        """Return the whole game, read by the textworld package."""
        textworld = import_textworld()
        with undisturbed():  # its parser knows one text at a time
            game: Game = textworld.Game.deserialize(json.loads(gzip.decompress(self._path.read_bytes())))
        return game


@dataclass(frozen=True)
class _World:
    """Facts and entities of a game; entities have `id` and `type`, facts `name` and `arguments`."""

    facts: list[Any]
    entities: list[Any]
    objects: list[Any]
    of_kind: dict[str, list[Any]]

    def get_entities_per_type(self, kind: str) -> list[Any]:
        """Return the entities of a type."""
        return self.of_kind.get(kind, [])


class _Types(dict[str, list[str]]):
    """Type -> the types below it, in textworld's order."""

    @property
    def types(self) -> _Types:
        """The types themselves."""
        return self

    def descendants(self, kind: str) -> list[str]:
        """Return the types below one."""
        return self[kind]


def described(game: Game) -> dict[str, Any]:
    """Return what `SavedGame` is made of, in the types of JSON."""
    kinds = {kind: list(game.kb.types.descendants(kind)) for kind in game.kb.types}
    of_kind = {kind: [entity.id for entity in game.world.get_entities_per_type(kind)] for kind in kinds}
    return {
        "infos": {key: [getattr(info, name) for name in _INFO] for key, info in game.infos.items()},
        "facts": [as_fact(fact) for fact in game.world.facts],
        "entities": [[entity.id, entity.type] for entity in game.world.entities],
        "objects": [entity.id for entity in game.world.objects],
        "kinds": kinds,
        "of_kind": {kind: keys for kind, keys in of_kind.items() if keys},
        "quests": [
            [
                quest.reward,
                quest.optional,
                quest.repeatable,
                _conditions(quest.win_events),
                _conditions(quest.fail_events),
            ]
            for quest in game.quests
        ],
        "objective": game.objective,
        "metadata": game.metadata,
    }


def _conditions(events: Iterable[Event]) -> list[list[Fact]]:
    return [[as_fact(fact) for fact in event.condition.preconditions] for event in events]


def _event(facts: list[list[str]]) -> SimpleNamespace:
    return SimpleNamespace(condition=SimpleNamespace(preconditions=[_proposition(fact) for fact in facts]))


def _proposition(fact: list[str]) -> SimpleNamespace:
    name, *arguments = fact
    return SimpleNamespace(name=name, arguments=[SimpleNamespace(name=argument) for argument in arguments])
