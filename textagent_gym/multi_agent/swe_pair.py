"""Two who repair one repository: a developer who changes it, and a reviewer who reads the changes, tests, and hands in.

env = parallel_env(env_id="SWEGym-Easy-Dense-v0")
observations, infos = env.reset(seed=0)
actions = {"developer": '{"tool": "list"}', "reviewer": '{"tool": "say", "text": "I run the tests."}'}
observations, rewards, terminations, truncations, infos = env.step(actions)

What is repaired, and how it is judged, is as in the single-player environment.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, cast

from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.swe.interfaces.base import call_of
from textagent_gym.envs.swe.interfaces.calls import CallError, find_call
from textagent_gym.envs.swe.interfaces.swe_task import SweTask
from textagent_gym.envs.swe.interfaces.tools import TOOLS, read_call, shortened
from textagent_gym.envs.swe.repo.patches import make_patch
from textagent_gym.envs.swe.repo.tree import Changes, Tree, texts
from textagent_gym.multi_agent.team import PASS, TeamEnv, TurnBased, knobs_of, turn_by_turn
from textagent_gym.registration import SWEGYM

DEVELOPER, REVIEWER = "developer", "reviewer"

TOOLS_OF = {
    DEVELOPER: tuple(tool for tool in TOOLS if tool != "submit"),
    REVIEWER: ("submit", "view", "test", "search", "list"),
}
"""Player -> the tools that it may use."""

World = tuple[tuple[Changes, tuple[Changes, ...], Tree | None], frozenset[str]]
"""Changeable part of a repository, and its history."""


class SWEPair(TeamEnv[SweTask]):
    """A developer and a reviewer over one repository; tests judge both.

    The developer changes files, and cannot submit; the reviewer submits, and cannot change a file (bash is the
    developer's for that reason). Each sees what the other changed as a diff, and hears what it says: `say WORDS`, or
    `{"tool": "say", "text": "..."}`. Both read and test.

    Args:
        env_id: A registered id, such as "SWEGym-Easy-Dense-v0", whose numbers are taken; or None.
        **knobs: The arguments of `SWEGymEnv`, which has them described, without `interface`. By default tasks are
            bundled ones, which need no network.
    """

    metadata: ClassVar[dict[str, Any]] = {**TeamEnv.metadata, "name": "swe_pair_v0"}

    def __init__(self, *, env_id: str | None = None, **knobs: Any) -> None:
        knobs = knobs_of(env_id, SWEGYM.entry_point, knobs, fixed=("interface",))
        if "tasks" not in knobs:
            knobs.setdefault("origin", "bundled")
        self._repository = SWEGymEnv(**knobs)
        offered = self._repository.tools
        self._tools = {name: tuple(tool for tool in tools if tool in offered) for name, tools in TOOLS_OF.items()}
        super().__init__(self._repository, names=(DEVELOPER, REVIEWER), hearing="all", knobs=knobs)

    def plan(self) -> dict[str, str]:
        """Return the developer's next edit of the reference repair; once all are made, the reviewer submits."""
        edits = self.task.prepared.edits or ()
        (_, past, _), _ = cast(World, self._world)
        if len(past) >= len(edits):
            return {DEVELOPER: PASS, REVIEWER: json.dumps({"tool": "submit"})}
        return {DEVELOPER: call_of(edits[len(past)], self._tools[DEVELOPER]) or PASS, REVIEWER: PASS}

    def _own(self, world: World) -> None:
        return None

    def _newcomer(self, own: None) -> None:
        return None

    def _as_met_by(self, own: None, world: World) -> World:
        return world

    def _is_over(self, world: World) -> tuple[bool, bool]:
        return False, False  # a submission alone ends it

    def _num_done(self) -> int:
        return sum(self._repository.grade().groups_done)

    def _refused(self, agent: str, command: str) -> str | None:
        call = read_call(command, TOOLS)
        if isinstance(call, str) or call[0] in TOOLS_OF[agent]:
            return None  # what is wrong with a call is said by the tool
        return f"{call[0]} is not for the {agent}, who has {', '.join(self._tools[agent])}"

    def _said(self, command: str) -> str | None:
        try:
            name, arguments = find_call(command)
        except CallError:
            return super()._said(command)
        said = arguments.get("text") if name == "say" else None
        return said if isinstance(said, str) else None

    def _report(self, agent: str, command: str, before: World, after: World) -> str | None:
        (old, _, _), _ = before
        (new, _, _), _ = after
        if old == new:
            return None
        base = self.task.base
        concerned = {path for path in {*old, *new} if old.get(path, b"") != new.get(path, b"")}

        def files(changes: Changes) -> dict[str, str]:
            contents = {path: changes[path] if path in changes else base.get(path) for path in concerned}
            return texts({path: content for path, content in contents.items() if content is not None})

        return f"The {agent} changed:\n{shortened(make_patch(files(old), files(new)))}"

    def _greeting(self, name: str) -> list[str]:
        return [f"You are the {name}. Your tools: {', '.join(self._tools[name])}."]

    def _team_rules(self) -> str:
        return (
            "You are one of two who work on it at once: the developer, who changes files, and the reviewer, who submits. "
            '{"tool": "say", "text": "..."} tells the other something; ' + f"`{PASS}` does nothing."
        )


parallel_env = SWEPair
"""The environment in which both act at once."""


def env(**knobs: Any) -> TurnBased:
    """Return the same work turn by turn."""
    return turn_by_turn(SWEPair(**knobs))
