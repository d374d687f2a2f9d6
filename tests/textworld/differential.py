"""Plays both backends side by side and counts where they differ: `python -m tests.textworld.differential --games 500`.

Three players go through every game: the expert, one who plays admissible commands at random, and one who types as language
models do. Each line goes to the native engine and to the interpreter, through the textworld package itself; text, score,
validity, won and lost are compared after each. The lists of admissible commands are compared as well. There textworld can be
wrong: it does not ask the interpreter where things are but follows what the game says of itself, and some commands it does
not recognise (`get key` from a chest, `enter door`). From then on its lists are of another world than its texts. Such steps
are counted apart, and the texts that follow show which of the two worlds is the game's.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import tyro

from tests.support.textworld_players import Player, admissible_player, careless_player, expert_player
from textagent_gym.core import refusal
from textagent_gym.envs.textworld.engine import NativeEngine
from textagent_gym.envs.textworld.env import TextWorldEnv
from textagent_gym.envs.textworld.reference import Inform7Engine
from textagent_gym.envs.textworld.tasks import make_task
from textagent_gym.envs.textworld.types import TaskSpec, TextWorldTask

SIZES = (
    (1, 3, 2), (2, 3, 4), (8, 3, 4), (2, 12, 4), (8, 12, 4), (4, 6, 8), (3, 4, 4), (6, 8, 8), (6, 10, 6), (9, 16, 8),
    (5, 20, 5), (12, 24, 10),
)  # fmt: skip
"""Rooms, objects and quest lengths: the id grid and what lies around it."""

FIELDS = ("text", "points", "valid", "won", "lost")


@dataclass
class Tally:
    """Counts of a comparison.

    Attributes:
        steps: Lines that both backends answered.
        differing: Lines of which a field of `FIELDS` differs.
        lists: Lines after which both describe one world, so that their lists must be equal.
        differing_lists: Those of them whose lists of admissible commands differ.
        lost: Lines after which textworld's facts are no longer the game's.
        losers: First words of the commands that it lost the game with.
        examples: Some of the differences, in words.
    """

    steps: int = 0
    differing: int = 0
    lists: int = 0
    differing_lists: int = 0
    lost: int = 0
    losers: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another count to this one."""
        self.steps += other.steps
        self.differing += other.differing
        self.lists += other.lists
        self.differing_lists += other.differing_lists
        self.lost += other.lost
        self.losers += other.losers
        self.examples = (self.examples + other.examples)[:20]


def compare(task: TextWorldTask, player: Player, num_steps: int) -> Tally:
    """Return one episode of `player` on both backends; it ends at the first line that is answered differently."""
    native, reference, tally = NativeEngine(), Inform7Engine(), Tally()
    native.load(task)
    reference.load(task)
    mine, theirs, command, is_lost = native.reset(), reference.reset(), "", False
    for _ in range(num_steps):
        tally.steps += 1
        differences = [name for name in FIELDS if getattr(mine, name) != getattr(theirs, name)]
        if differences:
            tally.differing += 1
            shown = "".join(
                f"\n  {name}: {getattr(theirs, name)!r}\n   not: {getattr(mine, name)!r}" for name in differences
            )
            tally.examples.append(f"{task.task_id} > {command}{shown}")
            break
        if native.state != reference.state and not is_lost:
            tally.losers[command.split()[0].lower()] += 1
        is_lost = is_lost or native.state != reference.state
        if is_lost:
            tally.lost += 1
        else:
            tally.lists += 1
            tally.differing_lists += mine.admissible != theirs.admissible
        if mine.won or mine.lost:
            break
        chosen = next(readable(player, mine), None)
        if chosen is None:
            break
        command = chosen
        mine, theirs = native.step(command), reference.step(command)
    reference.close()
    return tally


def readable(player: Player, reply: object) -> Iterator[str]:
    """Yield the player's lines that the environment passes on to a backend."""
    unreadable = TextWorldEnv._unreadable
    while (command := player(reply)) is not None:  # type: ignore[arg-type]
        if refusal(command, TextWorldEnv.barred_verbs) is None and unreadable(None, command) is None:  # type: ignore[arg-type]
            yield command


def task_spec_of(number: int) -> TaskSpec:
    """Return the game of that number: every thirteenth is tw-simple, the others go round the sizes."""
    if number % 13 == 12:
        rewards = ("sparse", "balanced", "dense")[number % 3]
        return TaskSpec(challenge="simple", rewards=rewards, seed=number)  # type: ignore[arg-type]
    rooms, objects, length = SIZES[number % len(SIZES)]
    return TaskSpec(num_rooms=rooms, num_objects=objects, solution_length=length, exact=False, seed=number)


def compare_game(number: int, num_steps: int) -> dict[str, Tally]:
    """Return the three players on one game."""
    task = make_task(task_spec_of(number))
    players = {
        "expert": expert_player(task),
        "admissible": admissible_player(number),
        "careless": careless_player(task, number),
    }
    return {name: compare(task, player, num_steps) for name, player in players.items()}


def main(games: int = 100, steps: int = 100, first: int = 0) -> None:
    """Print how often the backends differ.

    Args:
        games: Games to play.
        steps: Most lines of an episode.
        first: Number of the first game.
    """
    totals: dict[str, Tally] = {"expert": Tally(), "admissible": Tally(), "careless": Tally()}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for tallies in pool.map(compare_game, range(first, first + games), [steps] * games):
            for name, tally in tallies.items():
                totals[name].add(tally)
    for name, total in totals.items():
        print(
            f"{name:11} {total.steps:7} lines, {total.differing} answered differently "
            f"({100 * (1 - total.differing / total.steps):.3f} % equal); {total.lists} lists, "
            f"{total.differing_lists} differ; after {total.lost} lines textworld had lost the game"
            f"{' by ' + ', '.join(f'{verb} ({n})' for verb, n in total.losers.most_common()) if total.losers else ''}"
        )
        for example in total.examples:
            print(example)


if __name__ == "__main__":
    tyro.cli(main)
