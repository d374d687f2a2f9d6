"""Plays the native engine and ALFWorld's own path side by side: `python -m tests.alfworld.differential --games 140`.

Three players go through every game: one who follows the walkthrough, one who plays admissible commands at random, and one
who types what language models type, most of it not admissible. After each line text, admissible commands, validity, won
and score are compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import tyro

from textagent_gym.contract import StepResult
from textagent_gym.envs.alfworld import dataset
from textagent_gym.envs.alfworld.engine import NativeEngine
from textagent_gym.envs.alfworld.reference import ReferenceEngine
from textagent_gym.envs.alfworld.tasks import make_task
from textagent_gym.envs.alfworld.types import AlfworldTask, TaskSpec

FIELDS = ("text", "admissible", "valid", "won", "lost", "points")

SIZES = ((6, 6, 4), (12, 18, 8), (18, 30, 16), (24, 40, 30), (4, 3, 3), (9, 12, 6))
"""Receptacles, portable objects and solution lengths of the generated games."""

Player = Callable[[StepResult], "str | None"]
"""Chooses the next command from the last reply, or None to stop."""

TALK = (
    "", "look around", "LOOK", "look ", "inventory.", "go to desk", "take apple", "take apple 1", "open", "open fridge",
    "put apple 1 in/on fridge 1", "move apple 1", "heat apple 1", "clean apple 1 with fridge 1", "use desklamp",
    "examine", "go to  cabinet 1", "go to cabinet 01", "I think I should look", "go to cabinet 1 then open it", "{r}",
    "help me", "slice apple 1 with knife 1", "go to loc 1", "close", "take all", "undo", "wait", "go north", "<look>",
)  # fmt: skip


@dataclass
class Tally:
    """Counts of a comparison.

    Attributes:
        lines: Commands and resets that both engines answered.
        differing: Lines of which a field of `FIELDS` differs.
        examples: Some of the differences, in words.
    """

    lines: int = 0
    differing: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another count to this one."""
        self.lines += other.lines
        self.differing += other.differing
        self.examples = (self.examples + other.examples)[:20]


def compare(task: AlfworldTask, player: Player, num_steps: int, reference: ReferenceEngine | None = None) -> Tally:
    """Return one episode of `player` on both engines; it ends at the first line that is answered differently.

    Args:
        task: The game.
        player: Chooses the commands.
        num_steps: Commands at most.
        reference: An engine that has loaded the game, which takes seconds; None to load it.
    """
    native, tally, command = NativeEngine(), Tally(), "(reset)"
    native.load(task)
    if reference is None:
        reference = ReferenceEngine()
        reference.load(task)
    mine, theirs = native.reset(), reference.reset()
    for _ in range(num_steps + 1):
        tally.lines += 1
        different = [name for name in FIELDS if getattr(mine, name) != getattr(theirs, name)]
        if different:
            tally.differing += 1
            shown = "".join(
                f"\n  {name}: {getattr(theirs, name)!r}\n   not: {getattr(mine, name)!r}" for name in different
            )
            tally.examples.append(f"{task.task_id} > {command}{shown}")
            break
        chosen = None if mine.won else player(mine)
        if chosen is None:
            break
        command = chosen
        mine, theirs = native.step(command), reference.step(command)
    return tally


def walkthrough_player(task: AlfworldTask) -> Player:
    """Follow the walkthrough of the file, or the planner's solution where the game is generated."""
    left = iter(task.data.get("walkthrough") or task.solution)
    return lambda reply: next(left, None)


def random_player(seed: int) -> Player:
    """Draw admissible commands; half of the time one that is more than a walk or a look."""
    rng = np.random.default_rng(seed)

    def play(reply: StepResult) -> str:
        plain = ("go to", "look", "inventory", "help")
        choices = [command for command in reply.admissible if not command.startswith(plain)]
        if not choices or rng.random() < 0.5:
            choices = [*reply.admissible]
        return choices[int(rng.integers(len(choices)))]

    return play


def careless_player(seed: int) -> Player:
    """Type half-right commands, and an admissible one now and then, so that the world moves."""
    rng, walker = np.random.default_rng(seed), random_player(seed + 1)

    def play(reply: StepResult) -> str:
        kind = rng.integers(4)
        if kind == 0:
            return walker(reply)
        if kind == 1:
            return TALK[int(rng.integers(len(TALK)))]
        known = walker(reply)
        return known.title() if kind == 2 else known[: int(rng.integers(len(known) + 1))]

    return play


def tasks_of(source: Source, first: int, num_games: int) -> Iterator[AlfworldTask]:
    """Yield the games to play: of a real split in the order of their names, or generated ones that go round the sizes."""
    if source == "generated":
        for number in range(first, first + num_games):
            receptacles, objects, length = SIZES[number % len(SIZES)]
            spec = TaskSpec(
                num_receptacles=receptacles, num_objects=objects, solution_length=length, seed=number,
                split="test" if number % 5 == 4 else "train",
            )  # fmt: skip
            yield make_task(spec)
        return
    entries = dataset.index(source)
    stride = max(1, (len(entries) - first) // num_games)
    for entry in entries[first::stride][:num_games]:
        yield dataset.load(source, entry)


Source = Literal["train", "valid_seen", "valid_unseen", "generated"]
"""Origin of the games."""


def compare_game(source: Source, first: int, num_games: int, number: int, num_steps: int) -> dict[str, Tally]:
    """Return the three players on one of the games."""
    task = list(tasks_of(source, first, num_games))[number]
    players = {
        "walkthrough": walkthrough_player(task),
        "random": random_player(number),
        "careless": careless_player(number),
    }
    return {name: compare(task, player, num_steps) for name, player in players.items()}


def main(source: Source = "valid_seen", games: int = 140, steps: int = 50, first: int = 0) -> None:
    """Print how often the engines differ.

    Args:
        source: A split of the real games (in `ALFWORLD_DATA`), or "generated".
        games: Games to play, spread evenly over the split.
        steps: Most lines of an episode.
        first: Number of the first game.
    """
    if source != "generated":
        try:
            dataset.index(source)
        except OSError as error:
            raise SystemExit(f"error: {error}") from None
    totals: dict[str, Tally] = {"walkthrough": Tally(), "random": Tally(), "careless": Tally()}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(compare_game, source, first, games, number, steps) for number in range(games)]
        for run in runs:
            for name, tally in run.result().items():
                totals[name].add(tally)
    for name, total in totals.items():
        print(f"{name:11} {total.lines:6} lines, {total.differing} answered differently")
        for example in total.examples:
            print(example)


if __name__ == "__main__":
    tyro.cli(main)
