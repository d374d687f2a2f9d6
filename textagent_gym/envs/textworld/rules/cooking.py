"""Rules of the cooking games: dishes that are cut and cooked, a recipe, hands that hold a few things.

The rules are those of textworld 1.7 (`challenges/tw_cooking/textworld_data/logic*/{food,meal,oven,stove,thing}.twl`). The
game itself is looser than textworld's own facts about it: it slices milk and counts hands in its own way. So a quest is
judged by what happened in the world, and the facts follow where they can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textagent_gym.envs.textworld.parser.grammar import STANDARD, dictionary_form
from textagent_gym.envs.textworld.rules.context import Action, Outcome, Perform, Scene
from textagent_gym.envs.textworld.rules.standard import ACTIONS
from textagent_gym.envs.textworld.world.grounding import Fact, as_fact, subtypes
from textagent_gym.envs.textworld.world.state import PLAYER, World

if TYPE_CHECKING:
    from textworld.generator.game import Game

_COOKINGS = ("raw", "grilled", "roasted", "fried")
_CUTTINGS = ("uncut", "sliced", "diced", "chopped")
_HEAT = {"stove": "fried", "oven": "roasted", "toaster": "grilled"}
"""Kind of appliance -> what becomes of food on it."""

_VERBS = """
drink swallow sip: NOUN = drink
cut: NOUN = cut
prepare: meal = prepare
slice: NOUN with/using NOUN = slice
dice: NOUN with/using NOUN = dice
chop: NOUN with/using NOUN = chop
cook: NOUN with/in/on/using NOUN = cook
"""

_PAST = {"slice": "sliced", "dice": "diced", "chop": "chopped"}


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
        """Words that name it beside its own name."""
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
        actions: Name -> action, those of every game included.
        grammar: The verbs that are understood.
        property_words: Words that name food beside its own name.
        capacity: How many things the player can hold.
        dishes: Food -> how it is at the start.
        sharp: What cuts.
        drinkable: What can be drunk.
        heat: Appliance -> what becomes of food on it.
        recipe: Ingredient, how it must be cooked, and how it must be cut; in the order in which they are looked for.
        meal: What comes out of it.
        place: Where the meal is prepared.
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

        self.actions = _ACTIONS
        self.grammar = _GRAMMAR
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

    def is_unlikely(self, action: str, noun: str, second: str, world: World) -> bool:
        """Return whether nobody means to cut with something blunt, or to cook on something, that he holds."""
        if not noun or not second or world.holder.get(second) != PLAYER:
            return False
        return action == "cook" or (action in _PAST and second not in self.sharp)

    def holds(self, fact: Fact, world: World) -> bool:
        """Return whether what a quest asks for is so."""
        name, thing, *_ = fact
        return world.holder.get(thing) == PLAYER if name == "in" else world.dishes[thing].has(name)


def kitchen_of(game: Game) -> Kitchen | None:
    """Return the kitchen of a cooking game; None for another game."""
    return Kitchen(game) if "RECIPE" in subtypes(game.kb) else None


def _kitchen(scene: Scene) -> Kitchen:
    kitchen = scene.setting.kitchen
    if kitchen is None:
        raise ValueError("expected a cooking game, got another game")
    return kitchen


def _before_cutting(scene: Scene, noun: str, second: str) -> Outcome | None:
    dish = scene.world.dishes.get(noun)
    if dish is None:
        return Outcome("Can only cut cuttable food.")
    if dish.cutting != "uncut":
        return Outcome(f"{scene.setting.The(noun)} is already {dish.cutting}.")
    if second not in _kitchen(scene).sharp:
        return Outcome("Cutting something requires a knife.")
    return None


def _cutting(verb: str) -> Perform:
    def perform(scene: Scene, noun: str, second: str) -> Outcome:
        scene.record(verb, noun, second)
        scene.world.dishes[noun] = replace(scene.world.dishes[noun], cutting=_PAST[verb])
        return Outcome(f"You {verb} the {scene.setting.name(noun)}.", done=True, gap=4)

    return perform


def _cut(scene: Scene, noun: str, second: str) -> Outcome:
    named = scene.setting.the(noun)
    return Outcome(f"You need to specify how you want to cut {named}. Either slice, dice, or chop it.")


def _cook(scene: Scene, noun: str, second: str) -> Outcome:
    dish, heat = scene.world.dishes.get(noun), _kitchen(scene).heat.get(second)
    if dish is None:
        return Outcome("Can only cook food.")
    if heat is None:
        return Outcome("Cooking requires a source of heat.")
    name = scene.setting.name(noun)
    scene.record("cook", noun, second)
    if dish.is_cooked:
        scene.world.dishes[noun] = replace(dish, is_burned=True, is_edible=False)
        return Outcome(f"You burned the {name}!", done=True, gap=4)
    scene.world.dishes[noun] = replace(
        dish, cooking=heat, is_cooked=True, needs_cooking=False, is_edible=dish.is_edible or dish.needs_cooking
    )
    return Outcome(f"You {heat} the {name}.", done=True, gap=4)


def _prepare(scene: Scene, noun: str, second: str) -> Outcome:
    kitchen, world = _kitchen(scene), scene.world
    if world.room != kitchen.place:
        return Outcome(f"Can only prepare meal in the -= {scene.setting.name(kitchen.place).title()} =-.")
    for food, cooking, cutting in kitchen.recipe:
        if world.holder.get(food) != PLAYER:
            return Outcome("You still miss something.")
        if world.dishes[food].cooking != cooking:
            return Outcome("Something still needs to be cooked.")
        if world.dishes[food].cutting != cutting:
            return Outcome("Something still needs to be cut.")
    scene.record("prepare", "meal")
    for food, _, _ in kitchen.recipe:
        world.remove(food)
    world.move(kitchen.meal, PLAYER)
    scene.notice(kitchen.meal)
    return Outcome("Adding the meal to your inventory.", done=True, gap=4)


def _eat(scene: Scene, noun: str, second: str) -> Outcome:
    dish = scene.world.dishes.get(noun)
    if dish is not None and not dish.is_edible:
        if dish.needs_cooking:
            return Outcome(f"You should cook {scene.setting.the(noun)} first.")
        return Outcome("That's plainly inedible.")
    outcome = ACTIONS["eat"].perform(scene, noun, second)
    if outcome.done and dish is not None:
        scene.world.dishes[noun] = replace(dish, is_consumed=True)
    return outcome


def _drink(scene: Scene, noun: str, second: str) -> Outcome:
    named = scene.setting.the(noun)
    if noun not in _kitchen(scene).drinkable:
        return Outcome(f"You cannot drink {named}.")
    scene.record("drinking carried thing", noun)  # the game's name for it, of which textworld knows nothing
    scene.world.remove(noun)
    if noun in scene.world.dishes:
        scene.world.dishes[noun] = replace(scene.world.dishes[noun], is_consumed=True)
    return Outcome(f"You drink {named}. Not bad.", done=True)


_ACTIONS: Mapping[str, Action] = {
    **ACTIONS,
    **{verb: Action(_cutting(verb), touches=2, carries=3, before=_before_cutting) for verb in _PAST},
    "cut": Action(_cut),
    "cook": Action(_cook, touches=2, carries=1),
    "prepare": Action(_prepare),
    "eat": Action(_eat),
    "drink": Action(_drink, carries=1),
}

_GRAMMAR = STANDARD.with_verbs(_VERBS, without=frozenset(map(dictionary_form, ("slice", "prune", "chop"))))
