"""Games of `tw-make tw-simple`, without parsing its rules and compiling a story file for each.

`textworld.challenges.tw_simple` (textworld 1.7) builds the house. For each game it reads its knowledge base from text and
compiles the game with Inform 7, to play the solution once and note what each event takes. Here the knowledge base is read
once, and the solution is played on textworld's own logic. The games are the same; the tests compare them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.textworld.types import Instructions

if TYPE_CHECKING:
    from textworld.generator.game import Game


def make_simple(*, rewards: str, instructions: Instructions, test: bool, seed: int) -> Game:
    """Return the game of `tw-make tw-simple --rewards REWARDS --goal GOAL [--test] --seed SEED`."""
    from unittest import mock  # it imports asyncio, which no other game needs

    textworld = import_textworld()
    options = textworld.GameOptions()
    options.seeds = seed
    goal = {"steps": "detailed", "goal": "brief", "none": "none"}[instructions]
    challenge = textworld.challenges.tw_simple.simple
    with undisturbed():
        knowledge_base, game_maker = _quick_parts()
        with (
            mock.patch.object(challenge.KnowledgeBase, "load", return_value=knowledge_base),
            mock.patch.object(textworld, "GameMaker", game_maker),
        ):
            game: Game = challenge.make({"rewards": rewards, "goal": goal, "test": test}, options)
    return game


@functools.cache
def _quick_parts() -> tuple[Any, type]:
    """Return the knowledge base of tw-simple, and a `GameMaker` whose walkthroughs need no story file."""
    textworld = import_textworld()
    from textworld.generator.game import GameProgression
    from textworld.generator.inform7 import Inform7Game

    class GameMaker(textworld.GameMaker):  # type: ignore[misc, name-defined]
        """A builder of games that plays a walkthrough on the logic of the game."""

        def set_walkthrough(self, commands: list[str]) -> None:
            """Give each winning event the commands and actions that bring it about.

            Raises:
                ValueError: A command is not possible where it stands.
            """
            game = self.build()
            progression = GameProgression(game)
            command_of = Inform7Game(game).gen_commands_from_actions
            waiting = [event for quest in progression.quest_progressions for event in quest.win_events]
            played, brought_about = [], []
            for number, command in enumerate(commands, 1):
                possible = dict(zip(command_of(progression.valid_actions), progression.valid_actions, strict=True))
                if command not in possible:
                    raise ValueError(f"expected a possible command, got {command!r}")
                progression.update(possible[command])
                played.append(possible[command])
                brought_about += [(one.event, list(played), commands[:number]) for one in waiting if one.triggered]
                waiting = [one for one in waiting if not one.triggered]
            for event, so_far, text in brought_about:
                event.actions, event.commands = so_far, text

    return textworld.generator.data.KnowledgeBase.load(textworld.challenges.tw_simple.simple.KB_PATH), GameMaker
