"""Every state of a small household, and how far each is from being solved: the yardstick of the planner.

`python -m tests.alfworld.exhaustive --games 60` compares the planner with it over generated households.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque

import numpy as np
import tyro

from textagent_gym.envs.alfworld.generation.game_file import game_data
from textagent_gym.envs.alfworld.generation.generator import draw
from textagent_gym.envs.alfworld.pddl.game import Game, read_game
from textagent_gym.envs.alfworld.pddl.state import Mark
from textagent_gym.envs.alfworld.planning.goals import read_goals
from textagent_gym.envs.alfworld.planning.planner import Planner
from textagent_gym.envs.alfworld.types import TaskSpec

IDLE = ("look", "help", "inventory", "examine", "slice", "close")
"""Commands that no shortest plan needs."""

IGNORED = ("checked", "ison", "issliced", "not_inreceptacle", "not_istoggled", "objectatlocation")
"""Predicates that no condition of the other commands and no goal looks at."""


def distances(game: Game, max_states: int) -> dict[Mark, int | None] | None:
    """Return state -> steps to the nearest solved one (None: there is none), of all states that can be reached.

    Breadth-first over single commands, then backwards from the solved states. None where there are more than `max_states`.
    """
    explored = _explored(game, max_states)
    if explored is None:
        return None
    marks, before, solved = explored
    found = dict.fromkeys(solved, 0)
    queue = deque(solved)
    while queue:
        after = queue.popleft()
        for state in before[after]:
            if state not in found:
                found[state] = found[after] + 1
                queue.append(state)
    return {mark: found.get(state) for state, mark in enumerate(marks)}


def _explored(game: Game, max_states: int) -> tuple[list[Mark], dict[int, list[int]], list[int]] | None:
    """Return all states, for each those from which one command leads to it, and those that are solved."""
    facts = game.initial.copy()
    kept = [place for place, name in enumerate(game.logic.fluents) if name not in IGNORED]
    numbers: dict[Mark, int] = {}
    marks: list[Mark] = []

    def number_of(mark: Mark) -> int:
        key = tuple(mark[place] for place in kept)
        if key not in numbers:
            numbers[key] = len(marks)
            marks.append(mark)
        return numbers[key]

    number_of(facts.mark())
    before: dict[int, list[int]] = defaultdict(list)
    solved: list[int] = []
    for state in itertools.count():
        if state == len(marks):
            return marks, before, solved
        if state > max_states:
            return None
        facts.go_to(marks[state])
        if game.is_won(facts):
            solved.append(state)
        for command, (rule, row) in game.commands(facts).items():
            if not command.startswith(IDLE):
                rule.apply(facts, game.types, row)
                before[number_of(facts.mark())].append(state)
                facts.go_to(marks[state])
    return None


def small_game(seed: int) -> Game | None:
    """Return a household of a few receptacles and objects with one or two goals, or None if the draw fails."""
    rng = np.random.default_rng(seed)
    spec = TaskSpec(
        num_receptacles=int(rng.integers(2, 7)),
        num_objects=int(rng.integers(1, 4)),
        solution_length=int(rng.integers(3, 13)),
    )
    households = (draw(spec, rng) for _ in range(20))
    household = next(filter(None, households), None)
    return None if household is None else read_game(game_data(household))


def disagreements(game: Game, max_states: int) -> tuple[int, list[str]] | None:
    """Return the number of states, and where the planner's count of remaining steps is another than the exhaustive one."""
    known = distances(game, max_states)
    goals = read_goals(game.problem.goal)
    assert goals is not None
    if known is None:
        return None
    planner, facts, wrong = Planner(game.initial, goals), game.initial.copy(), []
    for mark, distance in known.items():
        facts.go_to(mark)
        remaining = planner.remaining(facts)
        if remaining != distance:
            wrong.append(f"{game.task} expected {distance} steps, got {remaining} from {sorted(facts.rows('holds'))}")
    return len(known), wrong


def main(games: int = 60, first: int = 0, max_states: int = 60_000) -> None:
    """Print how often the planner and the exhaustive search differ.

    Args:
        games: Seeds to try; those whose draw comes to nothing, or that are too large, are left out.
        first: The first seed.
        max_states: States beyond which a household is left out.
    """
    num_games = num_states = 0
    for seed in range(first, first + games):
        game = small_game(seed)
        found = disagreements(game, max_states) if game is not None else None
        if found is None:
            continue
        num_games, num_states = num_games + 1, num_states + found[0]
        print("\n".join(found[1][:3]), end="\n" if found[1] else "")
    print(f"{num_games} households, {num_states} states: the planner was compared with an exhaustive search in each")


if __name__ == "__main__":
    tyro.cli(main)
