"""Conditions, effects and text of each action.

The rules are those of Inform 7's `Standard Rules.i7x` (build 6M62) and of textworld 1.7
(`generator/inform7/world2inform7.py`), for a world that holds rooms, doors, containers, supporters and portable things and
one player who never sits on, enters or wears anything. Every change of the world is one action of the game's own rules.
"""

from __future__ import annotations

from textagent_gym.envs.textworld.parser.grammar import DIRECTIONS
from textagent_gym.envs.textworld.rules.context import Action, ActionContext, ActionResult, Perform
from textagent_gym.envs.textworld.world.state import PLAYER

HELP = """Available commands:
  look:                describe the current room
  goal:                print the goal of this game
  inventory:           print player's inventory
  go <dir>:            move the player north, east, south or west
  examine ...:         examine something more closely
  eat ...:             eat edible food
  open ...:            open a door or a container
  close ...:           close a door or a container
  drop ...:            drop an object on the floor
  take ...:            take an object that is on the floor
  put ... on ...:      place an object on a supporter
  take ... from ...:   take an object from a container or a supporter
  insert ... into ...: place an object into a container
  lock ... with ...:   lock a door or a container with a key
  unlock ... with ...: unlock a door or a container with a key"""
"""textworld's own answer to `help`."""


def act(context: ActionContext, name: str, noun: str = "", second: str = "") -> ActionResult:
    """Carry out an action, or say why not."""
    action = context.actions[name]
    early = _before(context, name, noun) if action.before is None else action.before(context, noun, second)
    if early is not None:
        return early
    if (action.touches and noun in DIRECTIONS) or (action.touches == 2 and second in DIRECTIONS):
        return ActionResult("You must name something more substantial.")
    if action.carries:
        for place, wanted in enumerate((noun, second), start=1):
            if action.carries & place and context.world.holder.get(wanted) != PLAYER:
                return _not_held(context, wanted)
    return action.perform(context, noun, second)


def look(context: ActionContext, noun: str = "", second: str = "") -> ActionResult:
    """Return the description of the room and of what lies on its floor."""
    world, game_map = context.world, context.game_map
    room = world.room
    here = world.inside(room)
    if len(here) > 1:
        context.notice(here[-1] if here[-1] != PLAYER else here[-2])
    text = f"{context.heading(room)}\n{context.describe(room)}"
    loose = [
        thing for thing in here if thing != PLAYER and thing not in game_map.fixed
    ]  # doors, containers and supporters are part of the description
    if loose:
        return ActionResult(f"{text}\n\nThere is {game_map.list_of(loose, world)} on the floor.", done=True)
    return ActionResult(text, done=True, gap=4)


def _before(context: ActionContext, name: str, noun: str) -> ActionResult | None:
    """Textworld's rules that come before all others: doors and locks are never opened unasked."""
    world, game_map = context.world, context.game_map
    if name == "go" and noun:
        _, door = game_map.exits[world.room].get(noun, ("", None))
        door = noun if noun in game_map.doors else door
        if door is not None and world.status[door] != "open":
            return ActionResult(f"You have to open the {game_map.name(door)} first.")
    if name == "open" and world.status.get(noun) == "locked":
        key = game_map.key_of.get(noun)
        if key is None:
            return ActionResult(f"The {game_map.name(noun)} is welded shut.")
        return ActionResult(f"You have to unlock the {game_map.name(noun)} with the {game_map.name(key)} first.")
    return None


def _not_held(context: ActionContext, thing: str) -> ActionResult:
    """Textworld takes nothing unasked."""
    if thing in context.game_map.fixed:
        return ActionResult(f"The {context.game_map.name(thing)} is fixed in place.")
    context.notice(thing)
    return ActionResult(f"You need to take the {context.game_map.name(thing)} first.")


def _says(text: str, *, done: bool = False) -> Perform:
    """Return an action that does nothing but talk; `{the}` and `{The}` are its noun."""
    if "{" not in text:
        outcome = ActionResult(text, done)
        return lambda context, noun, second: outcome
    return lambda context, noun, second: ActionResult(
        text.format(the=context.game_map.the(noun), The=context.game_map.The(noun)), done
    )


def _unless_self(text: str, otherwise: str, *, done: tuple[bool, bool] = (False, False)) -> Perform:
    """Return an action that says `text` to the player's own person and `otherwise` to a thing.

    `done` says which is carried out.
    """
    return lambda context, noun, second: (
        ActionResult(text, done[0])
        if noun == PLAYER
        else ActionResult(otherwise.format(the=context.game_map.the(noun)), done[1])
    )


def _inventory(context: ActionContext, noun: str, second: str) -> ActionResult:
    carried = context.world.inside(PLAYER)
    if not carried:
        return ActionResult("You are carrying nothing.", done=True)
    return ActionResult(f"You are carrying: {context.game_map.list_of(carried, context.world)}.", done=True)


def _take(context: ActionContext, noun: str, second: str) -> ActionResult:
    world, game_map = context.world, context.game_map
    if noun == PLAYER:
        return ActionResult("You are always self-possessed.")
    holder = world.holder[noun]
    if holder == PLAYER:
        return ActionResult("You already have that.")
    if noun in game_map.fixed:
        return ActionResult("That's fixed in place.")
    if len(world.inside(PLAYER)) >= game_map.capacity:
        return ActionResult("You're carrying too many things already.")
    if holder == world.room:
        context.do("take", noun)
        return ActionResult(f"You pick up {game_map.the(noun)} from the ground.", done=True)
    context.do("take", noun, holder)
    return ActionResult(f"You take {game_map.the(noun)} from {game_map.the(holder)}.", done=True)


def _remove(context: ActionContext, noun: str, second: str) -> ActionResult:
    holder = context.world.holder[noun]
    if not second:
        second = holder if holder in context.game_map.containers | context.game_map.supporters else ""
        if not second:
            return act(context, "take", noun, "")._replace(gap=4)
    if holder != second:
        return ActionResult("But it isn't there now." if noun != PLAYER else "But you aren't there now.")
    if holder == PLAYER:
        return _take_off(context, noun, "")
    return _take(context, noun, second)._replace(gap=4)


def _drop(context: ActionContext, noun: str, second: str) -> ActionResult:
    if noun == PLAYER:
        return ActionResult("You lack the dexterity.")
    holder = context.world.holder[noun]
    if holder == context.world.room:
        return ActionResult(f"{context.game_map.The(noun)} is already here.")
    if holder != PLAYER:
        return ActionResult("You haven't got that.")
    context.do("drop", noun)
    return ActionResult(f"You drop {context.game_map.the(noun)} on the ground.", done=True)


def _put(context: ActionContext, noun: str, second: str) -> ActionResult:
    game_map = context.game_map
    if noun == second:
        return ActionResult("You can't put something on top of itself.")
    if second not in game_map.supporters:
        return ActionResult(f"Putting things on {game_map.the(second)} would achieve nothing.")
    context.do("put", noun, second)
    return ActionResult(f"You put {game_map.the(noun)} on {game_map.the(second)}.", done=True)


def _insert(context: ActionContext, noun: str, second: str) -> ActionResult:
    game_map = context.game_map
    if noun == second:
        return ActionResult("You can't put something inside itself.")
    if second in game_map.containers and context.world.status[second] != "open":
        return ActionResult(f"{game_map.The(second)} is closed.")
    if second not in game_map.containers:
        return ActionResult("You can't contain things." if second == PLAYER else "That can't contain things.")
    context.do("insert", noun, second)
    return ActionResult(f"You put {game_map.the(noun)} into {game_map.the(second)}.", done=True)


def _eat(context: ActionContext, noun: str, second: str) -> ActionResult:
    if noun not in context.game_map.foods:
        return ActionResult(f"{_they_are(noun)} plainly inedible.")
    if context.world.holder[noun] != PLAYER:
        return _not_held(context, noun)
    context.do("eat", noun)
    return ActionResult(f"You eat {context.game_map.the(noun)}. Not bad.", done=True)


def _go(context: ActionContext, noun: str, second: str) -> ActionResult:
    if not noun:
        return ActionResult("You'll have to say which compass direction to go in.")
    exits = context.game_map.exits[context.world.room]
    if noun in context.game_map.doors:
        noun = next(direction for direction, (_, door) in exits.items() if door == noun)
    if noun not in exits:
        return ActionResult("You can't go that way.")
    context.do("go", noun)
    return look(context)


def _enter(context: ActionContext, noun: str, second: str) -> ActionResult:
    if not noun:
        return ActionResult("You must supply a noun.")
    if noun in context.game_map.doors:
        gone = act(context, "go", noun, "")
        return gone._replace(text=f"\n{gone.text}") if gone.done else gone
    verb = {"stand": "stand on", "sit": "sit down on", "lie": "lie down on"}
    what = next((verb[word] for word in verb if word in context.words), "enter")
    return ActionResult(f"{_they_are(noun)} not something you can {what}.")


def _they_are(noun: str) -> str:
    return "You're" if noun == PLAYER else "That's"


def _examine(context: ActionContext, noun: str, second: str) -> ActionResult:
    world, game_map = context.world, context.game_map
    if noun in DIRECTIONS:
        return ActionResult("You see nothing unexpected in that direction.", done=True)
    if noun == PLAYER:
        return ActionResult("As good-looking as ever.", done=True)
    description = context.describe(noun)
    said = [description] if description else []
    inside = world.inside(noun)
    if world.shows_contents(noun, game_map) and inside:
        said.append(_contents(context, noun, inside))
    elif world.shows_contents(noun, game_map) and noun in game_map.containers and not said:
        said.append(f"{game_map.The(noun)} is empty.")
    return ActionResult("\n\n".join(said) or f"You see nothing special about {game_map.the(noun)}.", done=True)


def _contents(context: ActionContext, holder: str, inside: tuple[str, ...]) -> str:
    where = "In" if holder in context.game_map.containers else "On"
    be = "is" if len(inside) == 1 else "are"
    return f"{where} {context.game_map.the(holder)} {be} {context.game_map.list_of(inside, context.world)}."


def _search(context: ActionContext, noun: str, second: str) -> ActionResult:
    game_map, inside = context.game_map, context.world.inside(noun)
    if noun not in game_map.containers and noun not in game_map.supporters:
        return ActionResult("You find nothing of interest.")
    if noun in game_map.containers and context.world.status[noun] != "open":
        return ActionResult(f"You can't see inside, since {game_map.the(noun)} is closed.")
    if inside:
        return ActionResult(_contents(context, noun, inside), done=True)
    if noun in game_map.containers:
        return ActionResult(f"{game_map.The(noun)} is empty.", done=True)
    return ActionResult(f"There is nothing on {game_map.the(noun)}.", done=True)


def _lock(context: ActionContext, noun: str, second: str) -> ActionResult:
    status = context.world.status.get(noun)
    if status is None:
        return ActionResult(f"{_those(noun)} seem to be something you can lock.")
    if status == "locked":
        return ActionResult("That's locked at the moment.")
    if status == "open":
        return ActionResult(f"First you would have to close {context.game_map.the(noun)}.")
    if context.game_map.key_of.get(noun) != second:
        return ActionResult("That doesn't seem to fit the lock.")
    context.do("lock", noun, second)
    return ActionResult(f"You lock {context.game_map.the(noun)}.", done=True)


def _unlock(context: ActionContext, noun: str, second: str) -> ActionResult:
    status = context.world.status.get(noun)
    if status is None:
        return ActionResult(f"{_those(noun)} seem to be something you can unlock.")
    if status != "locked":
        return ActionResult("That's unlocked at the moment.")
    if context.game_map.key_of.get(noun) != second:
        return ActionResult("That doesn't seem to fit the lock.")
    context.do("unlock", noun, second)
    return ActionResult(f"You unlock {context.game_map.the(noun)}.", done=True)


def _those(noun: str) -> str:
    return "You don't" if noun == PLAYER else "That doesn't"


def _open(context: ActionContext, noun: str, second: str) -> ActionResult:
    status = context.world.status.get(noun)
    if status is None:
        return ActionResult(f"{_they_are_not(noun)} something you can open.")
    if status == "open":
        return ActionResult("That's already open.")
    context.do("open", noun)
    inside = context.world.inside(noun)
    revealing = f", revealing {context.game_map.list_of(inside, context.world)}" if inside else ""
    return ActionResult(f"You open {context.game_map.the(noun)}{revealing}.", done=True)


def _close(context: ActionContext, noun: str, second: str) -> ActionResult:
    status = context.world.status.get(noun)
    if status is None:
        return ActionResult(f"{_they_are_not(noun)} something you can close.")
    if status != "open":
        return ActionResult("That's already closed.")
    context.do("close", noun)
    return ActionResult(f"You close {context.game_map.the(noun)}.", done=True)


def _they_are_not(noun: str) -> str:
    return "You aren't" if noun == PLAYER else "It isn't"


def _take_off(context: ActionContext, noun: str, second: str) -> ActionResult:
    return ActionResult(f"You aren't wearing {context.game_map.the(noun)}.")


def _show(context: ActionContext, noun: str, second: str) -> ActionResult:
    return act(context, "examine", noun, "")


def _throw(context: ActionContext, noun: str, second: str) -> ActionResult:
    if second == PLAYER:
        return ActionResult("You lack the nerve when it comes to the crucial moment.")
    return ActionResult("Futile.")


def _wave(context: ActionContext, noun: str, second: str) -> ActionResult:
    if context.world.holder.get(noun) != PLAYER:
        return ActionResult("But you aren't holding you." if noun == PLAYER else "But you aren't holding that.")
    return ActionResult(f"You wave {context.game_map.the(noun)}.", done=True)


def _shove(context: ActionContext, noun: str, second: str) -> ActionResult:
    if noun in context.game_map.fixed:
        return ActionResult("It is fixed in place.")
    if noun == PLAYER:
        return ActionResult("You might not like that.")
    return ActionResult("Nothing obvious happens.", done=True)


def _ask_for(context: ActionContext, noun: str, second: str) -> ActionResult:
    return act(context, "inventory", "", "")


def _score(context: ActionContext, noun: str, second: str) -> ActionResult:
    return ActionResult(f"You have so far scored {score_text(context)}", done=True)


def score_text(context: ActionContext) -> str:
    """Return the end of the sentences that tell the score."""
    turns = f"{context.turns} turn{'' if context.turns == 1 else 's'}"
    return f"{context.score} out of a possible {context.max_score}, in {turns}."


_SWITCH = _unless_self("You aren't something you can switch.", "It isn't something you can switch.")

ACTIONS: dict[str, Action] = {
    "inventory": Action(_inventory),
    "look": Action(look),
    "take": Action(_take),
    "take all": Action(_says("You have to be more specific!")),
    "remove": Action(_remove, touches=2),
    "drop": Action(_drop),
    "put": Action(_put, touches=2, carries=1),
    "insert": Action(_insert, touches=2, carries=1),
    "eat": Action(_eat),
    "go": Action(_go, touches=0),
    "enter": Action(_enter),
    "exit": Action(_says("But you aren't in anything at the moment.")),
    "get off": Action(_says("But you aren't on {the} at the moment.")),
    "examine": Action(_examine, touches=0),
    "search": Action(_search),
    "look under": Action(_says("You find nothing of interest.", done=True), touches=0),
    "consult": Action(_says("You discover nothing of interest in {the}.", done=True)),
    "lock": Action(_lock, touches=2, carries=2),
    "unlock": Action(_unlock, touches=2, carries=2),
    "open": Action(_open),
    "close": Action(_close),
    "switch on": Action(_SWITCH),
    "switch off": Action(_SWITCH),
    "wear": Action(_unless_self("You can't wear you!", "You can't wear that!"), carries=1),
    "take off": Action(_take_off),
    "give": Action(_says("You can't give {the} to yourself."), touches=2, carries=1),
    "show": Action(_show, carries=1),
    "wake": Action(_says("That seems unnecessary.")),
    "throw": Action(_throw, carries=1),
    "attack": Action(_says("Violence isn't the answer to this one.")),
    "kiss": Action(_says("You don't get much from that.")),
    "answer": Action(_says("There is no reply.", done=True)),
    "tell": Action(_says("You talk to yourself a while.")),
    "ask": Action(_says("There is no reply.", done=True)),
    "ask for": Action(_ask_for, touches=2),
    "wait": Action(_says("Time passes.", done=True)),
    "touch": Action(_unless_self("You achieve nothing by this.", "You feel nothing unexpected.", done=(True, True))),
    "wave": Action(_wave),
    "pull": Action(_shove),
    "push": Action(_shove),
    "turn": Action(_shove),
    "push to": Action(_says("{The} cannot be pushed from place to place.")),
    "squeeze": Action(_unless_self("You might not like that.", "You achieve nothing by this.", done=(False, True))),
    "yes": Action(_says("That was a rhetorical question.")),
    "no": Action(_says("That was a rhetorical question.")),
    "burn": Action(_says("This dangerous act would achieve little.")),
    "wake up": Action(_says("The dreadful truth is, this is not a dream.")),
    "think": Action(_says("What a good idea.")),
    "smell": Action(_says("You smell nothing unexpected.", done=True)),
    "listen": Action(_says("You hear nothing unexpected.", done=True)),
    "taste": Action(_says("You taste nothing unexpected.", done=True)),
    "cut": Action(_unless_self("Cutting you up would achieve little.", "Cutting it up would achieve little.")),
    "jump": Action(_says("You jump on the spot.", done=True)),
    "tie": Action(_says("You would achieve nothing by this."), touches=2),
    "drink": Action(_says("There's nothing suitable to drink here.")),
    "sorry": Action(_says("Oh, don't apologise.")),
    "swing": Action(_says("There's nothing sensible to swing here.")),
    "rub": Action(_says("You rub {the}.", done=True)),
    "set": Action(_unless_self("No, you can't set you to anything.", "No, you can't set that to anything.")),
    "wave hands": Action(_says("You wave.", done=True)),
    "buy": Action(_says("Nothing is on sale.")),
    "climb": Action(_says("Little is to be achieved by that.")),
    "sleep": Action(_says("You aren't feeling especially drowsy.")),
    "goal": Action(lambda context, noun, second: ActionResult(context.objective, done=True)),
    "help": Action(_says(HELP, done=True)),
    "score": Action(_score, happens=False),
}
"""Name -> action."""
