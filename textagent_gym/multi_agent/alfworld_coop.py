"""A household for several agents: goals that can be divided, one stove.

env = parallel_env(num_agents=2, env_id="ALFWorld-Hard-Dense-v0")
observations, infos = env.reset(seed=0)
actions = {"player_1": "go to fridge 1", "player_2": "say I look for the mug"}
observations, rewards, terminations, truncations, infos = env.step(actions)

A team of one plays the single-player environment to the letter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

from textagent_gym.envs.alfworld.env import ALFWorldEnv
from textagent_gym.envs.alfworld.pddl.state import Facts, Mark
from textagent_gym.envs.alfworld.planning.goals import Goal
from textagent_gym.envs.alfworld.planning.planner import Planner
from textagent_gym.envs.alfworld.planning.stages import stages_done
from textagent_gym.envs.alfworld.types import TASK_TYPES, AlfworldTask, TaskType
from textagent_gym.multi_agent.team import PASS, Hearing, TeamEnv, TurnBased, knobs_of, player_names, turn_by_turn
from textagent_gym.registration import ALFWORLD

AGENT = "agent1"
"""The agent, as the facts of every game name it."""

DIVISIBLE: tuple[TaskType, ...] = tuple(kind for kind in TASK_TYPES if kind != "look_at_obj_in_light")
"""Types of tasks that ask for nothing of one agent's own place or hands at the end."""


class ALFWorldCoop(TeamEnv[AlfworldTask]):
    """Household tasks for a team. All are in one room: who does something is seen by all, what it finds is not.

    Tasks of a dozen steps and more join several goals, which players can divide. Progress is counted in stages (find,
    take, wash or heat or cool, put down, for each object), whoever reaches them.

    Args:
        num_agents: Players, 1 to 8.
        hearing: "near" or "all", which is the same in one room.
        env_id: A registered id, such as "ALFWorld-Hard-Dense-v0", whose numbers are taken; or None.
        **knobs: The arguments of `ALFWorldEnv`, which has them described, without `backend` and `subgoals`. By default the
            task is long enough for several goals (`solution_length=12`), and is of the types that can be divided.
    """

    metadata: ClassVar[dict[str, Any]] = {**TeamEnv.metadata, "name": "alfworld_coop_v0"}

    def __init__(
        self, *, num_agents: int = 2, hearing: Hearing = "near", env_id: str | None = None, **knobs: Any
    ) -> None:
        knobs = knobs_of(env_id, ALFWORLD.entry_point, knobs, fixed=("backend", "subgoals"))
        if knobs.get("games", "generated") == "generated":
            knobs.setdefault("solution_length", 12)
        knobs.setdefault("task_types", DIVISIBLE)
        if "look_at_obj_in_light" in knobs["task_types"]:
            raise ValueError(f"expected task_types among {', '.join(DIVISIBLE)} for a team, got look_at_obj_in_light")
        super().__init__(
            ALFWorldEnv(**knobs, subgoals="stages"), names=player_names(num_agents), hearing=hearing, knobs=knobs
        )

    def plan(self) -> dict[str, str]:
        """Return what each player does of its share of the goals (goal i is of player i mod N); it passes after that."""
        task = self.task
        assert task.planner is not None
        assert task.game is not None
        actions = dict.fromkeys(self.agents, PASS)
        for number, name in enumerate(self.agents):
            share = task.planner.goals[number :: len(self.agents)]
            facts = self._facts(self._as_met_by(self._states[name].own, self._world))
            plan = _planner(task, share).plan(facts) if share else None
            if plan is not None and plan.steps:
                actions[name] = self.acting(name, task.game.command_of(plan.steps[0]))
        return actions

    def _own(self, world: Mark) -> Mark:
        return tuple(frozenset(row for row in rows if AGENT in row) for rows in world)

    def _newcomer(self, own: Mark) -> Mark:
        return own  # the agent of a game starts with empty hands

    def _as_met_by(self, own: Mark, world: Mark) -> Mark:
        return tuple(
            frozenset(row for row in rows if AGENT not in row) | mine for rows, mine in zip(world, own, strict=True)
        )

    def _is_over(self, world: Mark) -> tuple[bool, bool]:
        game = self.task.game
        assert game is not None
        return game.is_won(self._facts(world)), False

    def _num_done(self) -> int:
        planner = self.task.planner
        assert planner is not None
        together = tuple(
            frozenset.union(*rows) for rows in zip(*(player.own for player in self._states.values()), strict=True)
        )
        return stages_done(self._facts(self._as_met_by(together, self._world)), planner.goals)

    def _facts(self, mark: Mark) -> Facts:
        """Return the facts at a mark."""
        game = self.task.game
        assert game is not None
        facts = game.initial.copy()
        facts.go_to(mark)
        return facts


@lru_cache(maxsize=256)
def _planner(task: AlfworldTask, goals: tuple[Goal, ...]) -> Planner:
    assert task.game is not None
    return Planner(task.game.initial, goals)


parallel_env = ALFWorldCoop
"""The environment in which all act at once."""


def env(**knobs: Any) -> TurnBased:
    """Return the same household turn by turn."""
    return turn_by_turn(ALFWorldCoop(**knobs))
