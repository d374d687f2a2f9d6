"""Rules of the cooking games: dishes that are cut and cooked, a recipe, hands that hold a few things.

The rules are those of textworld 1.7 (`challenges/tw_cooking/textworld_data/logic*/{food,meal,oven,stove,thing}.twl`). The
game itself is looser than textworld's own facts about it: it slices milk and counts hands in its own way. So a quest is
decided by the events of the world, and the facts follow where they can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from textagent_gym.envs.textworld.rules.context import Action, ActionContext, ActionResult, Perform
from textagent_gym.envs.textworld.rules.standard import ACTIONS
from textagent_gym.envs.textworld.world.food import CUTS, Kitchen
from textagent_gym.envs.textworld.world.state import PLAYER


def _kitchen(context: ActionContext) -> Kitchen:
    kitchen = context.game_map.kitchen
    if kitchen is None:
        raise ValueError("expected a cooking game, got another game")
    return kitchen


def _before_cutting(context: ActionContext, noun: str, second: str) -> ActionResult | None:
    dish = context.world.dishes.get(noun)
    if dish is None:
        return ActionResult("Can only cut cuttable food.")
    if dish.cutting != "uncut":
        return ActionResult(f"{context.game_map.The(noun)} is already {dish.cutting}.")
    if second not in _kitchen(context).sharp:
        return ActionResult("Cutting something requires a knife.")
    return None


def _cutting(verb: str) -> Perform:
    def perform(context: ActionContext, noun: str, second: str) -> ActionResult:
        context.record(verb, noun, second)
        context.world.dishes[noun] = replace(context.world.dishes[noun], cutting=CUTS[verb])
        return ActionResult(f"You {verb} the {context.game_map.name(noun)}.", done=True, gap=4)

    return perform


def _cut(context: ActionContext, noun: str, second: str) -> ActionResult:
    named = context.game_map.the(noun)
    return ActionResult(f"You need to specify how you want to cut {named}. Either slice, dice, or chop it.")


def _cook(context: ActionContext, noun: str, second: str) -> ActionResult:
    dish, heat = context.world.dishes.get(noun), _kitchen(context).heat.get(second)
    if dish is None:
        return ActionResult("Can only cook food.")
    if heat is None:
        return ActionResult("Cooking requires a source of heat.")
    name = context.game_map.name(noun)
    context.record("cook", noun, second)
    if dish.is_cooked:
        context.world.dishes[noun] = replace(dish, is_burned=True, is_edible=False)
        return ActionResult(f"You burned the {name}!", done=True, gap=4)
    context.world.dishes[noun] = replace(
        dish, cooking=heat, is_cooked=True, needs_cooking=False, is_edible=dish.is_edible or dish.needs_cooking
    )
    return ActionResult(f"You {heat} the {name}.", done=True, gap=4)


def _prepare(context: ActionContext, noun: str, second: str) -> ActionResult:
    kitchen, world = _kitchen(context), context.world
    if world.room != kitchen.place:
        return ActionResult(f"Can only prepare meal in the -= {context.game_map.name(kitchen.place).title()} =-.")
    for food, cooking, cutting in kitchen.recipe:
        if world.holder.get(food) != PLAYER:
            return ActionResult("You still miss something.")
        if world.dishes[food].cooking != cooking:
            return ActionResult("Something still needs to be cooked.")
        if world.dishes[food].cutting != cutting:
            return ActionResult("Something still needs to be cut.")
    context.record("prepare", "meal")
    for food, _, _ in kitchen.recipe:
        world.remove(food)
    world.move(kitchen.meal, PLAYER)
    context.notice(kitchen.meal)
    return ActionResult("Adding the meal to your inventory.", done=True, gap=4)


def _eat(context: ActionContext, noun: str, second: str) -> ActionResult:
    dish = context.world.dishes.get(noun)
    if dish is not None and not dish.is_edible:
        if dish.needs_cooking:
            return ActionResult(f"You should cook {context.game_map.the(noun)} first.")
        return ActionResult("That's plainly inedible.")
    outcome = ACTIONS["eat"].perform(context, noun, second)
    if outcome.done and dish is not None:
        context.world.dishes[noun] = replace(dish, is_consumed=True)
    return outcome


def _drink(context: ActionContext, noun: str, second: str) -> ActionResult:
    named = context.game_map.the(noun)
    if noun not in _kitchen(context).drinkable:
        return ActionResult(f"You cannot drink {named}.")
    context.record("drinking carried thing", noun)  # the game's name for it, of which textworld knows nothing
    context.world.remove(noun)
    if noun in context.world.dishes:
        context.world.dishes[noun] = replace(context.world.dishes[noun], is_consumed=True)
    return ActionResult(f"You drink {named}. Not bad.", done=True)


COOKING_ACTIONS: Mapping[str, Action] = {
    **ACTIONS,
    **{verb: Action(_cutting(verb), touches=2, carries=3, before=_before_cutting) for verb in CUTS},
    "cut": Action(_cut),
    "cook": Action(_cook, touches=2, carries=1),
    "prepare": Action(_prepare),
    "eat": Action(_eat),
    "drink": Action(_drink, carries=1),
}
"""Name -> action, those of every game included."""
