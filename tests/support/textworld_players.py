"""Players for side-by-side runs of two backends: what a careful, a random and a careless player type."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textagent_gym.contract import StepResult
    from textagent_gym.envs.textworld.types import TextWorldTask

Player = Callable[["StepResult"], str | None]
"""Chooses the next command from the last reply, or None to stop."""

VERBS_ALONE = (
    "look", "l", "inventory", "i", "inv", "wait", "z", "go", "help", "goal", "score", "exit", "out", "enter", "stand",
    "jump", "sleep", "think", "listen", "smell", "yes", "no", "sorry", "wave", "wake", "wake up", "get up", "get out",
    "take", "drop", "open", "close", "examine", "x", "eat", "put", "insert", "unlock", "lock", "take inventory",
    "look around", "look at", "search", "push", "pull", "turn", "read", "give", "throw", "nap", "hop", "leave",
    "pick up", "put down", "put on", "get in", "look under", "look in", "take off", "remove", "sit on", "climb",
)  # fmt: skip

ONE_NOUN = (
    "take", "get", "pick up", "drop", "put down", "open", "close", "shut", "examine", "x", "look at", "look in", "look",
    "search", "look under", "eat", "push", "pull", "turn", "read", "enter", "climb", "touch", "taste", "smell", "rub",
    "clean", "attack", "break", "kiss", "wear", "remove", "take off", "switch on", "turn on", "turn off", "burn",
    "drink", "cut", "squeeze", "swing", "wake", "buy", "wave", "listen to", "carry", "hold", "throw", "discard",
    "unlock", "lock", "give", "sit on", "stand on", "get in", "get off", "go", "go in", "walk", "move", "use", "find",
    "describe", "check", "insert", "put", "get on", "go to", "go through", "unwrap", "close off", "feel", "shed",
)  # fmt: skip

TWO_NOUNS = (
    ("take", "from"), ("get", "from"), ("remove", "from"), ("take", "off"), ("put", "on"), ("put", "in"),
    ("put", "into"), ("put", "onto"), ("put", "inside"), ("insert", "into"), ("insert", "in"), ("drop", "in"),
    ("drop", "on"), ("throw", "at"), ("unlock", "with"), ("lock", "with"), ("open", "with"), ("give", "to"),
    ("show", "to"), ("tie", "to"), ("push", "to"), ("take", "and"), ("examine", "and"), ("drop", "and"),
("place", "on"), ("use", "on"), ("attach", "to"), ("put", "under"), ("close", "with"),
    ("consult", "about"), ("set", "to"), ("ask", "about"), ("tell", "about"), ("discard", "into"), ("take", "but"),
)  # fmt: skip

DIRECTIONS = (
    "north", "south", "east", "west", "n", "s", "e", "w", "up", "down", "u", "d", "northeast", "nw", "se", "in", "out",
    "inside", "outside", "southwest", "ne",
)  # fmt: skip

ODD_NOUNS = (
    "me", "myself", "it", "them", "him", "her", "all", "everything", "both", "one", "two", "floor", "ground", "room",
    "door", "key", "box", "chest", "table", "unicorn", "north", "east", "food", "wall", "the", "a", "my", "this", "that",
    "self", "yourself", "another", "other", "three", "each", "every", "exit", "kitchen", "thing", "player", "them all",
)  # fmt: skip

TALK = (
    "I want to take the key", "use the key", "please open the door", "go to the kitchen", "what is this?", "hello",
    "xyzzy", "look around the room", "take a look", "walk north quickly", "open the door and go north", "who am i",
    "take everything", "get all", "drop all", "drop everything", "take each", "pick up all", "put all in chest",
    "take all from chest", "drop it", "examine it", "open it", "take it", "eat it", "take them", "put it on table",
    "take inventory", "look at me", "examine me", "examine myself", "take me", "eat me", "look up",
    "look north", "examine north", "open north", "push north", "enter north", "take north", "go door", "kick door",
    "none", "nothing", "command: look", "> look", "look!", "'look'", '"look"',
    "stop", "continue", "quit game", "north north", "look look", "inventory please", "check inventory", "x it", "go it",
    "pick it up", "pick up it", "put it down", "drop all but key", "examine all", "open all", "take two", "drop two",
    "take one", "lock it with key", "unlock it", "1", "2", "12 keys", "take 2 keys", "say hello", "answer yes",
)  # fmt: skip


def admissible_player(seed: int) -> Player:
    """Play admissible commands at random."""
    rng = random.Random(seed)
    return lambda reply: rng.choice(reply.admissible) if reply.admissible else None


def expert_player(task: TextWorldTask) -> Player:
    """Play the reference solution."""
    commands = iter(task.solution)
    return lambda reply: next(commands, None)


def careless_player(task: TextWorldTask, seed: int) -> Player:
    """Type what language models type: mostly near misses of real commands, some talk, some nonsense."""
    rng = random.Random(seed)
    names = sorted({info.name for info in task.whole_game.infos.values() if info.name})
    grounded = sorted({operator.name for operator in task.ground.problem.operators})

    def choose(reply: StepResult) -> str:
        kind = rng.random()
        if kind < 0.35:
            return _disguised(rng, rng.choice(reply.admissible or ("look",)))
        if kind < 0.45:
            return _disguised(rng, rng.choice(grounded))
        if kind < 0.62:
            return f"{rng.choice(ONE_NOUN)} {_noun(rng, names)}"
        if kind < 0.82:
            verb, preposition = rng.choice(TWO_NOUNS)
            return f"{verb} {_noun(rng, names)} {preposition} {_noun(rng, names)}"
        if kind < 0.88:
            return rng.choice(VERBS_ALONE)
        if kind < 0.93:
            return rng.choice(("", "go ", "walk ", "go to ", "look ")) + rng.choice(DIRECTIONS)
        if kind < 0.98:
            return rng.choice(TALK)
        return _noun(rng, names)

    return choose


def _noun(rng: random.Random, names: list[str]) -> str:
    name = rng.choice(names) if rng.random() < 0.85 else rng.choice(ODD_NOUNS)
    words = name.split()
    if len(words) > 1 and rng.random() < 0.2:
        name = rng.choice(words)
    return rng.choice(("", "", "", "the ", "a ", "an ", "my ", "some ")) + name


def _disguised(rng: random.Random, command: str) -> str:
    """Return `command` as someone else would type it."""
    words = command.split()
    if rng.random() < 0.2:
        short = {"look": "l", "inventory": "i", "examine": "x", "take": "get"}
        words[0] = short.get(words[0], words[0])
    if rng.random() < 0.2:
        words = words[1:] if words[0] == "go" and len(words) > 1 else words
    if rng.random() < 0.15 and len(words) > 1:
        words.insert(1, rng.choice(("the", "a", "an", "some")))
    if rng.random() < 0.15 and len(words) > 2:
        words.pop(rng.randrange(1, len(words)))
    if rng.random() < 0.05:
        words.append(rng.choice(("please", "now", "quickly", "again")))
    text = " ".join(words)
    if rng.random() < 0.1:
        text = rng.choice((str.upper, str.title, str.capitalize))(text)
    if rng.random() < 0.05:
        text = text.replace(" ", "  ")
    return text
