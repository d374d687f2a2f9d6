"""A TextWorld quest for several players: rooms, doors and keys are shared, everyone walks and carries alone.

env = parallel_env(num_agents=2, env_id="TextWorld-Medium-Dense-v0")
observations, infos = env.reset(seed=0)
observations, rewards, terminations, truncations, infos = env.step({"player_1": "go north", "player_2": "say I wait"})

A team of one plays the single-player environment to the letter.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, cast

from textagent_gym.core import TextAgentEnv
from textagent_gym.envs.textworld.engine import Position, compiled_game
from textagent_gym.envs.textworld.env import TextWorldEnv
from textagent_gym.envs.textworld.parser.tokens import Memory
from textagent_gym.envs.textworld.types import TextWorldTask
from textagent_gym.envs.textworld.world.state import PLAYER
from textagent_gym.multi_agent.team import PASS, Hearing, TeamEnv, TurnBased, knobs_of, player_names, turn_by_turn
from textagent_gym.registration import TEXTWORLD


class Own(NamedTuple):
    """Belongings of a player.

    Attributes:
        room: Room of the player.
        carried: Things that it carries, the last arrival first.
        facts: The same as bits of textworld's facts.
        memory: Thing that "it" means to the player.
    """

    room: str
    carried: tuple[str, ...]
    facts: int
    memory: Memory


class TextWorldCoop(TeamEnv[TextWorldTask]):
    """A game of TextWorld for a team. Who is in the same room is seen and heard.

    A quest is done when it is done for any player: an object that has to be held counts in any hand, but several
    conditions of one quest have to hold for one player.

    Progress is that of the player who stands best: sub-goals done are the length of the shortest solution less the length
    of the shortest one that a single player would still need if all others put down what they carry where they are.

    Args:
        num_agents: Players, 1 to 8.
        hearing: Players that hear a message: "near" (in the same room) or "all".
        env_id: A registered id, such as "TextWorld-Easy-Dense-v0", whose numbers are taken; or None.
        **knobs: The arguments of `TextWorldEnv`, which has them described, without those of its other kinds of games.
    """

    metadata: ClassVar[dict[str, Any]] = {**TeamEnv.metadata, "name": "textworld_coop_v0"}

    def __init__(
        self, *, num_agents: int = 2, hearing: Hearing = "near", env_id: str | None = None, **knobs: Any
    ) -> None:
        knobs = knobs_of(env_id, TEXTWORLD.entry_point, knobs, fixed=("challenge", "rewards", "game", "backend"))
        world = cast(TextAgentEnv[TextWorldTask], TextWorldEnv(**knobs))  # without game files, no story files
        super().__init__(world, names=player_names(num_agents), hearing=hearing, knobs=knobs)

    def plan(self) -> dict[str, str]:
        """Return the next step of the player who stands best; whoever carries what that one needs puts it down."""
        actions = dict.fromkeys(self.agents, PASS)
        task = self.task
        plans = {name: task.planner.plan(self._laid_open(name)) for name in self.agents}
        lengths = {name: plan.length for name, plan in plans.items() if plan is not None}
        if not lengths:
            return actions
        leader = min(lengths, key=lambda name: lengths[name])  # the first of equals
        plan = plans[leader]
        assert plan is not None
        names = {thing: task.game.infos[thing].name for player in self._states.values() for thing in player.own.carried}
        taken = [operator.name for operator in plan.operators if operator.name.startswith("take ")]
        wanted = {thing for thing, name in names.items() if f"take {name}" in taken}
        for name, player in self._states.items():
            needed = [thing for thing in player.own.carried if thing in wanted]
            if name != leader and needed:
                actions[name] = self.acting(name, f"drop {names[needed[0]]}")
        command = plan.operators[0].name
        if command in (self._states[leader].point.turn.admissible or ()):
            actions[leader] = self.acting(leader, command)
        return actions

    def _own(self, world: Position) -> Own:
        facts = world.state & self.task.ground.own
        return Own(world.world.room, world.world.inside(PLAYER), facts, world.memory)

    def _newcomer(self, own: Own) -> Own:
        at = self.task.ground.bit("at", PLAYER, own.room)
        return Own(own.room, (), at, Memory())

    def _as_met_by(self, own: Own, world: Position) -> Position:
        task = self.task
        things = world.world.copy()
        for thing in things.inside(PLAYER):
            del things.holder[thing]
        things.contents[PLAYER] = own.carried
        things.holder.update(dict.fromkeys(own.carried, PLAYER))
        if things.room != own.room:
            things.walk(own.room, compiled_game(task).game_map)
        facts = world.state & ~task.ground.own | own.facts
        state = task.ground.problem.evaluate_goals(facts, world.state)
        return replace(world, world=things, state=state, quest_state=state, memory=own.memory)

    def _place(self, own: Own) -> Hashable:
        return own.room

    def _is_over(self, world: Position) -> tuple[bool, bool]:
        problem = self.task.ground.problem
        return problem.is_won(world.state), problem.is_lost(world.state)

    def _num_done(self) -> int:
        task = self.task
        left = [task.planner.remaining(self._laid_open(name)) for name in self._states]
        return max((task.subgoals_total - steps for steps in left if steps is not None), default=0)

    def _laid_open(self, name: str) -> int:
        """Return the facts for one player if all others had put down what they carry."""
        ground = self.task.ground
        state: int = self._world.state & ~ground.own | self._states[name].own.facts
        for other, player in self._states.items():
            if other != name:
                for thing in player.own.carried:
                    state |= ground.bit("at", thing, player.own.room)
        return state

    def _report(self, agent: str, command: str, before: Position, after: Position) -> str | None:
        return None if before.state == after.state else f"{agent}: {command}"


parallel_env = TextWorldCoop
"""The environment in which all act at once."""


def env(**knobs: Any) -> TurnBased:
    """Return the same game turn by turn."""
    return turn_by_turn(TextWorldCoop(**knobs))
