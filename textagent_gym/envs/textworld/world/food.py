"""Food and kitchens of the cooking games: how food was prepared, what cuts and heats, and the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textagent_gym.envs.textworld.world.grounding import as_fact, subtypes

if TYPE_CHECKING:
    from textworld.generator.game import Game

_COOKINGS = ("raw", "grilled", "roasted", "fried")
_CUTTINGS = ("uncut", "sliced", "diced", "chopped")
_HEAT = {"stove": "fried", "oven": "roasted", "toaster": "grilled"}
"""Kind of appliance -> what becomes of food on it."""

CUTS = {"slice": "sliced", "dice": "diced", "chop": "chopped"}
"""Verb -> how food is cut after it."""


@dataclass(frozen=True, slots=True)
class Dish:
    """Preparation of a piece of food."""

    cooking: str = "raw"
    cutting: str = "uncut"
    is_cooked: bool = False
    is_burned: bool = False
    needs_cooking: bool = False
    is_edible: bool = True
    is_consumed: bool = False

    @classmethod
    def of(cls, properties: frozenset[str]) -> Dish:
        """Return the dish that textworld's facts describe."""
        return cls(
            cooking=next((cooking for cooking in _COOKINGS[1:] if cooking in properties), "raw"),
            cutting=next((cutting for cutting in _CUTTINGS[1:] if cutting in properties), "uncut"),
            is_cooked="cooked" in properties,
            is_burned="burned" in properties,
            needs_cooking="needs_cooking" in properties,
            is_edible="inedible" not in properties,
            is_consumed="consumed" in properties,
        )

    @property
    def words(self) -> frozenset[str]:
        """Words that name it in addition to its own name."""
        return frozenset((self.cooking, self.cutting))

    @property
    def adjectives(self) -> str:
        """Words printed before its name where it is looked at, a space after each."""
        cut = "" if self.cutting == "uncut" else f"{self.cutting} "
        if self.needs_cooking:
            return f"{cut}raw "
        if self.is_burned:
            return f"{cut}burned "
        return cut if self.cooking == "raw" else f"{cut}{self.cooking} "

    def has(self, name: str) -> bool:
        """Return whether it has the property that a quest asks for."""
        if name in ("consumed", "burned", "cooked"):
            return {"consumed": self.is_consumed, "burned": self.is_burned, "cooked": self.is_cooked}[name]
        return name in (self.cooking, self.cutting)


class Kitchen:
    """Fixed facts of a cooking game.

    Attributes:
        property_words: Words that name food in addition to its own name.
        capacity: Number of things that the player can hold.
        dishes: Food -> how it is at the start.
        sharp: Things that cut.
        drinkable: Things that can be drunk.
        heat: Appliance -> what becomes of food on it.
        recipe: Ingredient, how it must be cooked, and how it must be cut; in the order in which they are looked for.
        meal: The finished meal.
        place: Room in which the meal is prepared.
    """

    def __init__(self, game: Game) -> None:
        kinds = subtypes(game.kb)
        entities = {entity.id: entity.type for entity in game.world.entities}
        facts = [as_fact(fact) for fact in game.world.facts]
        properties: dict[str, set[str]] = {key: set() for key in entities}
        for name, *arguments in facts:
            if len(arguments) == 1 and arguments[0] in properties:
                properties[arguments[0]].add(name)
        known = {key: frozenset(names) for key, names in properties.items()}

        self.property_words = frozenset((*_COOKINGS, *_CUTTINGS))
        self.capacity = list(entities.values()).count("slot") if "slot" in kinds else 100
        self.dishes = {key: Dish.of(known[key]) for key, kind in entities.items() if kind in kinds["f"]}
        self.sharp = frozenset(key for key, names in known.items() if "sharp" in names)
        self.drinkable = frozenset(key for key, names in known.items() if "drinkable" in names)
        self.heat = {
            key: way for key, kind in entities.items() for appliance, way in _HEAT.items() if kind in kinds[appliance]
        }
        base = {fact[2]: fact[1] for fact in facts if fact[0] == "base"}
        required = [entity.id for entity in game.world.objects if entity.id in base]
        dishes = {ingredient: Dish.of(known[ingredient]) for ingredient in required}
        self.recipe = tuple(
            (base[ingredient], dishes[ingredient].cooking, dishes[ingredient].cutting) for ingredient in required
        )
        self.meal = next(fact[1] for fact in facts if fact[0] == "out")
        self.place = next(fact[1] for fact in facts if fact[0] == "cooking_location")

    def is_unlikely(self, action: str, held: str) -> bool:
        """Return whether nobody means `action` with `held`: to cut with something blunt, or to cook on it."""
        return action == "cook" or (action in CUTS and held not in self.sharp)


def kitchen_of(game: Game) -> Kitchen | None:
    """Return the kitchen of a cooking game; None for another game."""
    return Kitchen(game) if "RECIPE" in subtypes(game.kb) else None
