"""Games: what each depends on, as a name that can be read back, and what is known of it once it is made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from textagent_gym.contract import Split, Task
from textagent_gym.envs.textworld.world.grounding import GroundGame
from textagent_gym.envs.textworld.world.saved_game import SavedGame
from textagent_gym.mechanics.planning import Planner

if TYPE_CHECKING:
    from textworld.generator.game import Game

Instructions = Literal["steps", "goal", "none"]
"""Part of the solution that the objective states: every step, the last action of each quest, or nothing."""

Challenge = Literal["custom", "simple"]
"""Generator of textworld that makes the games."""

SimpleRewards = Literal["sparse", "balanced", "dense"]
"""The reward settings of tw-simple."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Everything that a game depends on; the same specification makes the same game everywhere.

    Attributes:
        challenge: "custom" for `tw-make custom`, "simple" for `tw-make tw-simple`.
        num_rooms: Rooms (custom).
        num_objects: Objects, without doors, player and inventory (custom).
        solution_length: Quest length (custom): of the shortest solution if `exact`, as textworld generates it if not.
        exact: True if games are drawn again until measured equals requested; the literature's ids do not.
        rewards: Reward setting (simple).
        instructions: Part of the solution that the objective states.
        split: "train" or "test"; "literature" (custom, not `exact`) for the game of `tw-make custom --seed SEED` itself,
            whichever of the two splits it belongs to.
        seed: Seed of the draws, in [0, 2**31).
    """

    challenge: Challenge = "custom"
    num_rooms: int = 0
    num_objects: int = 0
    solution_length: int = 0
    exact: bool = True
    rewards: SimpleRewards = "sparse"
    instructions: Instructions = "steps"
    split: Split = "train"
    seed: int = 0

    @property
    def name(self) -> str:
        """A file name that `parse` reads back."""
        if self.challenge == "simple":
            what = f"simple-{self.rewards}"
        else:
            shape = "exact" if self.exact else "drawn"
            what = f"w{self.num_rooms}-o{self.num_objects}-q{self.solution_length}-{shape}"
        return f"{what}-{self.instructions}-{self.split}-{self.seed}"

    @classmethod
    def parse(cls, name: str) -> TaskSpec | None:
        """Return the specification of that name, or None where it names none."""
        end = rf"-({'|'.join(get_args(Instructions))})-(train|test|literature)-(\d{{1,10}})"
        custom = re.fullmatch(r"w(\d{1,3})-o(\d{1,3})-q(\d{1,3})-(exact|drawn)" + end, name)
        simple = re.fullmatch(rf"simple-({'|'.join(get_args(SimpleRewards))})" + end, name)
        if custom:
            rooms, objects, length, shape, instructions, split, seed = custom.groups()
            spec = cls(num_rooms=int(rooms), num_objects=int(objects), solution_length=int(length),
                         exact=shape == "exact", instructions=cast(Instructions, instructions),
                         split=cast(Split, split), seed=int(seed))  # fmt: skip
        elif simple:
            rewards, instructions, split, seed = simple.groups()
            spec = cls(challenge="simple", rewards=cast(SimpleRewards, rewards), seed=int(seed),
                         instructions=cast(Instructions, instructions), split=cast(Split, split))  # fmt: skip
        else:
            return None
        return spec if spec.name == name and spec.seed < 2**31 else None


@dataclass(frozen=True, kw_only=True)
class TextWorldTask(Task):
    """A TextWorld game, grounded.

    Attributes:
        game: textworld's own description of the game, or what is kept of it for play.
        ground: Its facts, commands and quests as a planning problem.
        planner: Counts the steps that remain from any state.
        counts_points: True if the sub-goals are the points of the quests rather than the steps of the solution.
    """

    game: Game | SavedGame
    ground: GroundGame
    planner: Planner
    counts_points: bool = False

    @property
    def whole_game(self) -> Game:
        """Textworld's own description of the game, read by the textworld package where only a part of it was kept."""
        return self.game.load() if isinstance(self.game, SavedGame) else self.game

    def __hash__(self) -> int:
        return hash(self.task_id)
