"""Several players in one world: a single-player environment whose player is another one from turn to turn.

What a player owns (where it is, what it carries, what it has read) is taken out of the world after its turn, and what the
next one owns is put in. So every rule, text and option of the single-player environment holds for a team, and a team of one
plays it to the letter.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, TypeAlias

from gymnasium.error import DependencyNotInstalled, ResetNeeded

from textagent_gym.contract import Snapshot, TaskT
from textagent_gym.core import MAX_ACTION, MAX_OBSERVATION, TextAgentEnv
from textagent_gym.mechanics.knobs import check_choice, check_integer
from textagent_gym.mechanics.rewards import MilestoneReward
from textagent_gym.mechanics.spaces import AnyText
from textagent_gym.registration import spec_of
from textagent_gym.wrappers import ActionForm, as_action, choose_command, parse_action

try:
    from pettingzoo import AECEnv, ParallelEnv
    from pettingzoo.utils.conversions import parallel_to_aec
except ImportError as error:
    raise DependencyNotInstalled("expected PettingZoo: pip install 'textagent-gym[multiagent]'") from error

MAX_PLAYERS = 8

MAX_SAID = 500
"""Characters that are heard of what a player says."""

PASS = "pass"
"""The action of a player that lets the others act."""

Hearing = Literal["near", "all"]
"""Players that hear a message: those in the same place, or all."""

TurnBased: TypeAlias = "AECEnv[str, str, str]"
"""An environment in PettingZoo's turn-based form."""

Step = tuple[dict[str, str], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]


@dataclass(slots=True)
class PlayerState:
    """A player of the current episode.

    Attributes:
        own: This player's part of the world, as the domain keeps it.
        point: Its own point of the episode: its last observation, its number of steps.
        info: Its last `info`.
        news: Actions of the others that it has noticed since its last observation.
        has_played: True if its action of this round was carried out.
    """

    own: Any
    point: Snapshot[Any]
    info: dict[str, Any]
    news: list[str]
    has_played: bool = False

    @property
    def was_invalid(self) -> bool:
        """True if its last action was no command of the world; a command that failed by chance was one."""
        return not (self.point.turn.valid or self.point.turn.faulted)


class TeamEnv(ParallelEnv[str, str, str], Generic[TaskT]):  # type: ignore[misc]
    """A world with several players who win or lose together.

    - **A round.** All players act at once; their actions are carried out one after the other, beginning with the first
      player in the first round, with the second one in the second, and so on. So of two players who reach for the same
      thing the one whose turn is first gets it, and the other gets the world's answer for a thing that is not there.
      A game that ends in the middle of a round carries out no further action.
    - **Views.** A player reads the answer to its own action, what others did in its sight, what it heard, and who is
      there. `say WORDS` is heard by those who are near (or by all), takes the player's turn, and touches nothing;
      `pass` lets the others act.
    - **Reward.** The reward of the domain, for the progress of the whole team, is given to each player alike;
      `invalid_penalty` is taken from the player who was invalid. With `fault_rate` commands fail for each player
      apart; `say` and `pass` never do.
    - **Ends.** For all at once: when the game is won, lost or handed in; truncated after `max_steps` rounds.

    Subclasses say what a player owns in their domain.

    Args:
        solo: The single-player environment; it is this team's alone from now on.
        names: The players.
        hearing: Players that hear a message: "near" or "all".
        knobs: The arguments of `solo`, which has checked them.

    Raises:
        ValueError: `hearing` is neither.
    """

    render_mode = None
    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "is_parallelizable": True}

    def __init__(
        self,
        solo: TextAgentEnv[TaskT],
        *,
        names: tuple[str, ...],
        hearing: Hearing,
        knobs: dict[str, Any],
    ) -> None:
        check_choice("hearing", hearing, ("near", "all"))
        self.possible_agents = list(names)
        self.agents: list[str] = []
        self._solo = solo
        self._hearing: Hearing = hearing
        self._density: float = knobs.get("reward_density", 0.0)
        self._by_number: bool = knobs.get("by_number", False)
        self._form: ActionForm = knobs.get("action_format", "plain")
        self._penalty: float = knobs.get("invalid_penalty", 0.0)
        self._states: dict[str, PlayerState] = {}
        self._spaces = {name: (AnyText(MAX_OBSERVATION), AnyText(MAX_ACTION)) for name in self.possible_agents}
        if len(names) > 1:
            solo.rules = f"{solo.rules} {self._team_rules()}"

    # What a domain says of a player.

    @abstractmethod
    def _own(self, world: Any) -> Any:
        """Return the belongings of the player who is in `world`, a backend's snapshot."""

    @abstractmethod
    def _newcomer(self, own: Any) -> Any:
        """Return the belongings, at the start, of a further player than the one that owns `own`."""

    @abstractmethod
    def _as_met_by(self, own: Any, world: Any) -> Any:
        """Return `world` with the owner of `own` for its player, goals evaluated for that player."""

    def _place(self, own: Any) -> Hashable:
        """Return the place of a player; None if all are in one place all the time."""
        return None

    @abstractmethod
    def _is_over(self, world: Any) -> tuple[bool, bool]:
        """Return whether the game is won, and whether it is lost, for the player who is in `world`."""

    @abstractmethod
    def _num_done(self) -> int:
        """Sub-goals that the team has completed; need not be clamped."""

    @abstractmethod
    def plan(self) -> dict[str, str]:
        """Return each player's next action if all know everything; for experts. Players with nothing to do pass."""

    def _report(self, agent: str, command: str, before: Any, after: Any) -> str | None:
        """Return the text that others see of an action, or None if it changed nothing visible."""
        return None if before == after else f"{agent}: {command}"

    def _refused(self, agent: str, command: str) -> str | None:
        """Return why a player may not do that, or None where it may."""
        return None

    def _said(self, command: str) -> str | None:
        """Return the message in a player's command, or None if there is none."""
        words = re.match(r"(?i)\s*say\s+(.*)", command, re.DOTALL)
        return words[1] if words else None

    def _greeting(self, name: str) -> list[str]:
        """Return the lines that introduce a player to itself."""
        return [f"You are {name}."] if len(self.possible_agents) > 1 else []

    def _team_rules(self) -> str:
        """Return the rules of the team for its players."""
        names = f"{', '.join(self.possible_agents[:-1])} and {self.possible_agents[-1]}"
        heard = "those who are near" if self._hearing == "near" else "all"
        return (
            f"You are one of a team, {names}, who win or lose together and all act at once. `say WORDS` is heard "
            f"by {heard}; `{PASS}` does nothing."
        )

    # What all teams share.

    @property
    def task(self) -> TaskT:
        """The task of the current episode."""
        return self._solo.task

    @property
    def max_steps(self) -> int:
        """Rounds of an episode."""
        return self._solo.max_steps

    def observation_space(self, agent: str) -> AnyText:
        """Return strings."""
        return self._spaces[agent][0]

    def action_space(self, agent: str) -> AnyText:
        """Return strings; each player has its own space, so that samples are seeded apart."""
        return self._spaces[agent][1]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
        """Start an episode; all stand where the task puts its player, and the first one has what that one carries.

        Args:
            seed: Seeds the draws from here on.
            options: `{"task_id": name}` plays that task. Other keys are ignored, as PettingZoo's own test demands.

        Raises:
            ValueError: No task has that name.
        """
        known = {key: value for key, value in (options or {}).items() if key == "task_id"}
        _, info = self._solo.reset(seed=seed, options=known)
        start = self._solo.snapshot()
        own = self._own(start.backend)
        self._world = start.backend
        self._reward = MilestoneReward(start.task.subgoals_total, self._density)
        self._num_rounds, self._done, self._over, self._won = 0, 0, False, False
        info["task_card"]["details"]["num_agents"] = len(self.possible_agents)
        self.agents = list(self.possible_agents)
        self._states = {
            name: PlayerState(
                self._newcomer(own) if number else own,
                replace(start, stream=(*start.stream, number)) if number else start,  # commands fail for each apart
                info,
                self._greeting(name),
            )
            for number, name in enumerate(self.agents)
        }
        return {name: self._tell(name) for name in self.agents}, self._infos()

    def step(self, actions: dict[str, str]) -> Step:
        """Play a round: one action of each player.

        Raises:
            gymnasium.error.ResetNeeded: The episode is over, or none was started.
            ValueError: A player's action is missing, or one is of somebody who does not play.
            TypeError: An action is not a string.
        """
        if not self.agents:
            raise ResetNeeded("expected reset() before step(): no episode is running")
        if set(actions) != set(self.agents):
            raise ValueError(f"expected an action of each of {', '.join(self.agents)}, got {', '.join(actions)}")
        for name, action in actions.items():
            if not isinstance(action, str):
                raise TypeError(
                    f"expected an action of type str, got {type(action).__name__} of {name}: {action!r:.80}"
                )
        for player in self._states.values():
            player.news, player.has_played = [], False
        begins = self._num_rounds % len(self.agents)
        self._num_rounds += 1
        for name in (*self.agents[begins:], *self.agents[:begins]):
            if not self._over:
                self._play(name, actions[name])
        self._done = self._progress()
        reward = self._reward.pay(self._done)
        truncated = not self._over and self._num_rounds >= self.max_steps
        observations = {name: self._tell(name) for name in self.agents}
        infos = self._infos()
        rewards = {
            name: reward - (self._penalty if player.has_played and player.was_invalid else 0.0)
            for name, player in self._states.items()
        }
        terminations = dict.fromkeys(self.agents, self._over)
        truncations = dict.fromkeys(self.agents, truncated)
        if self._over or truncated:
            self.agents = []
        return observations, rewards, terminations, truncations, infos

    def close(self) -> None:
        """End the engine."""
        self._solo.close()

    def _play(self, name: str, action: str) -> None:
        """Carry out one player's action."""
        player = self._states[name]
        self._enter(player)
        before, place, offered = self._world, self._place(player.own), player.point.turn.admissible
        command = parse_action(action, self._form) or ""
        said, refused = self._said(command), self._refused(name, command)
        if said is not None:
            said = " ".join(said.split())[:MAX_SAID]
            *_, player.info = self._solo.skip_turn(action, f'You say: "{said}"')
        elif refused is not None:
            *_, player.info = self._solo.skip_turn(action, f"Nothing was done: {refused}.", valid=False)
        elif command.strip().lower() == PASS:
            *_, player.info = self._solo.skip_turn(action, "You let the others act.")
        else:
            *_, self._over, _, player.info = self._solo.step(action)
            self._won = player.info["success"]
        player.point, player.has_played = self._solo.snapshot(), True
        self._world = player.point.backend
        player.own = self._own(self._world)
        if self._by_number:
            command = choose_command(command, offered) or command
        report = self._report(name, command, before, self._world)
        for other, witness in self._states.items():
            if other != name:
                self._notice(witness, name, said, report, place, player)
        for witness in self._states.values():
            if not self._over:  # what one has done may complete what another one stands for
                self._world = self._as_met_by(witness.own, self._world)
                self._won, lost = self._is_over(self._world)
                self._over = self._won or lost

    def _notice(
        self,
        witness: PlayerState,
        name: str,
        said: str | None,
        report: str | None,
        place: Hashable,
        player: PlayerState,
    ) -> None:
        """Add to a player's news what it sees and hears of another one's action."""
        where = self._place(witness.own)
        if said is not None:
            if where == place or self._hearing == "all":
                witness.news.append(f'{name} says: "{said}"')
        elif report is not None and where == place:
            witness.news.append(report)
        elif report is not None and where == self._place(player.own):
            witness.news.append(f"{name} arrives.")

    def _enter(self, player: PlayerState) -> None:
        """Make a player the one whom the single-player environment plays."""
        self._world = self._as_met_by(player.own, self._world)
        self._solo.restore(replace(player.point, backend=self._world, over=False))

    def _tell(self, name: str) -> str:
        """Return a player's observation at the end of a round."""
        player = self._states[name]
        self._enter(player)
        if self._num_rounds == 0:
            text = self._solo.initial_text()
        else:
            text = player.point.turn.text if player.has_played else "The game ended before your turn."
        place = self._place(player.own)
        near = [other for other, it in self._states.items() if other != name and self._place(it.own) == place]
        news = list(player.news)
        if place is not None and near and not self._over:
            news.append(f"{' and '.join(near)} {'is' if len(near) == 1 else 'are'} here.")
        if self._over and len(self._states) > 1:
            news.append("Your team has won." if self._won else "The game is over, and not won.")
        observation = self._solo.replace_observation("\n\n".join([text, "\n".join(news)]) if news else text)
        player.point = self._solo.snapshot()
        return observation

    def _progress(self) -> int:
        total = self._reward.total
        if self._won:
            return total
        return min(max(self._num_done(), 0), total - 1)

    def _infos(self) -> dict[str, dict[str, Any]]:
        return {name: self._info(player) for name, player in self._states.items()}

    def _info(self, player: PlayerState) -> dict[str, Any]:
        return {
            **player.info,
            "success": self._won,
            "subgoals_done": self._done,
            "subgoals_total": self._reward.total,
            "admissible_commands": player.point.turn.admissible,
        }

    def acting(self, name: str, command: str) -> str:
        """Return the action by which a player gives a command that is admissible for it."""
        commands = self._states[name].point.turn.admissible or ()
        if self._by_number and command in commands:
            command = str(commands.index(command) + 1)
        return as_action(command, self._form)


def turn_by_turn(team: ParallelEnv[str, Any, Any]) -> TurnBased:
    """Return the same game in PettingZoo's other form: players are asked one after the other, then the round is played."""
    turns: TurnBased = parallel_to_aec(team)
    return turns


def player_names(num_agents: int) -> tuple[str, ...]:
    """Return `player_1`, `player_2` and so on.

    Raises:
        TypeError: The number is not an integer.
        ValueError: It is out of its range.
    """
    check_integer("num_agents", num_agents, 1, MAX_PLAYERS)
    return tuple(f"player_{number}" for number in range(1, num_agents + 1))


def knobs_of(env_id: str | None, entry_point: str, knobs: dict[str, Any], fixed: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments of a single-player environment: those of a registered id, if any, updated with `knobs`.

    Args:
        env_id: A registered id of the domain, or None.
        entry_point: The domain's.
        knobs: Requested sizes.
        fixed: Arguments that a team does not leave open.

    Raises:
        TypeError: A fixed argument was given.
        ValueError: The id is of another domain, or needs a fixed argument.
    """
    fixed = (*fixed, "reward_scale", "render_mode")
    given = [name for name in fixed if name in knobs]
    if given:
        raise TypeError(f"expected no {given[0]!r} for a team, got {knobs[given[0]]!r}")
    if env_id is None:
        return knobs
    spec = spec_of(env_id)
    needed = [name for name in fixed if name in spec.kwargs]
    if spec.entry_point != entry_point or needed:
        raise ValueError(f"expected an id of this domain by tier, got {env_id!r}")
    return {**spec.kwargs, **knobs}
