"""Views of a text environment: admissible commands shown, history kept, thoughts cut off, slips punished.

Each wrapper works on any `gym.Env` of strings, and each is also a flat option of every environment of this package
(`show_admissible`, `by_number`, `history`, `distractors`, `action_format`, `fault_rate`, `invalid_penalty`), so that
`gym.make` reaches it. The options act in the order of nesting
`ShowAdmissible(History(Distractors(ActionFormat(Faults(InvalidPenalty(env))))))`, with `ByNumber` in the place of
`ShowAdmissible`; both forms call the same functions. `EachTaskOnce` is none of them: it is for evaluation.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import gymnasium as gym
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from textagent_gym.mechanics.disturbances import (
    FAULT_MESSAGE,
    GENERAL_NOUNS,
    MAX_DISTRACTORS,
    EpisodeStream,
    check_fault_rate,
)
from textagent_gym.mechanics.knobs import check_choice, check_integer, check_number

ActionForm = Literal["plain", "tag", "last_line"]
"""Form of an action: the command as it is, in the last `<action>` tag, or on the last line that is not empty."""

ACTION_FORMS: tuple[ActionForm, ...] = get_args(ActionForm)

FORM_RULES: dict[ActionForm, str] = {
    "plain": "Answer with one command and nothing else.",
    "tag": "Think first if you like, then give one command between <action> and </action>.",
    "last_line": "Think first if you like, then give one command alone on the last line.",
}

NUMBER_RULE = "Answer with the number of one of the listed commands."

_TAG = re.compile(r"<(/?)action>", re.IGNORECASE)

Step = tuple[str, float, bool, bool, dict[str, Any]]


def parse_action(action: str, form: ActionForm) -> str | None:
    """Return the command that `action` carries, stripped, or None where it carries none.

    A tag that was opened and never closed carries none: the thought was cut off before the command was complete.
    """
    if form == "plain":
        return action.strip()
    if form == "tag":
        return _last_tagged(action).strip() or None
    lines = [line.strip() for line in action.split("\n") if line.strip()]
    return lines[-1] if lines else None


def _last_tagged(action: str) -> str:
    """Return the content of the last tag, from its opening to the next closing; "" if there is none."""
    content, start = "", None
    for tag in _TAG.finditer(action):
        if not tag[1]:
            start = tag.end() if start is None else start
        elif start is not None:
            content, start = action[start : tag.start()], None
    return content


def as_action(command: str, form: ActionForm) -> str:
    """Return the shortest action that carries `command`."""
    return f"<action>{command}</action>" if form == "tag" else command


def unparsed_message(form: ActionForm) -> str:
    """Return the observation that answers an action without a command."""
    wanted = "one command between <action> and </action>" if form == "tag" else "one command on the last line"
    return f"Nothing was done: expected {wanted}, found none."


def choose_command(action: str, commands: Sequence[str] | None) -> str | None:
    """Return the command whose number, counted from 1, `action` is, or None where it is no such number."""
    number = re.fullmatch(r"\s*0*([0-9]{1,6})[.)]?\s*", action)
    chosen = int(number[1]) if number else 0
    return commands[chosen - 1] if commands and 1 <= chosen <= len(commands) else None


def unchosen_message(commands: Sequence[str] | None) -> str:
    """Return the observation that answers an action without the number of a command."""
    if not commands:
        return "Nothing was done: there is no list of commands to choose from here."
    return f"Nothing was done: expected the number of a command, from 1 to {len(commands)}."


def with_numbers(observation: str, commands: Sequence[str] | None) -> str:
    """Return `observation` followed by the admissible commands, numbered from 1; unchanged where they are not known."""
    if commands is None:
        return observation
    return observation + "\n\nCommands:\n" + "\n".join(f"{i} {command}" for i, command in enumerate(commands, 1))


def with_admissible(observation: str, commands: Iterable[str] | None) -> str:
    """Return `observation` followed by the admissible commands, one a line; unchanged where they are not known."""
    if commands is None:
        return observation
    return observation + "\n\nAdmissible commands:\n" + "\n".join(f"- {command}" for command in commands)


class Memory:
    """The last `length` turns, repeated before the current observation.

    Args:
        length: Turns kept; 0 keeps none and changes nothing.
    """

    def __init__(self, length: int) -> None:
        self._turns: deque[tuple[str, str]] = deque(maxlen=length)
        self._last = ""

    def start(self, observation: str) -> str:
        """Return the first observation of an episode, unchanged."""
        self._turns.clear()
        self._last = observation
        return observation

    def tell(self, action: str, observation: str) -> str:
        """Return `observation`, which answered `action`, after the turns before it."""
        self._turns.append((self._last, action))
        return self.replace(observation)

    def replace(self, observation: str) -> str:
        """Return `observation` in place of the last one, after the turns before it."""
        self._last = observation
        past = "".join(f"{seen}\n\n> {done}\n\n" for seen, done in self._turns)
        return past + observation

    def snapshot(self) -> tuple[tuple[tuple[str, str], ...], str]:
        """Return the state of the history that `restore` takes back."""
        return tuple(self._turns), self._last

    def restore(self, snapshot: tuple[tuple[tuple[str, str], ...], str]) -> None:
        """Go back to a snapshot of this memory."""
        turns, self._last = snapshot
        self._turns.clear()
        self._turns.extend(turns)


class ShowAdmissible(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Lists `info["admissible_commands"]` at the end of each observation."""

    def __init__(self, env: gym.Env[str, str]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset, and list the first commands."""
        observation, info = self.env.reset(seed=seed, options=options)
        return with_admissible(observation, info.get("admissible_commands")), info

    def step(self, action: str) -> Step:
        """Step, and list the commands that are admissible now."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        shown = with_admissible(observation, info.get("admissible_commands"))
        return shown, float(reward), terminated, truncated, info


class ByNumber(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Numbers `info["admissible_commands"]` at the end of each observation; an action is the number of one of them.

    For policies that are too small to write a command, and for models that should choose rather than invent; one that
    thinks first needs `ActionFormat` around it. Around `History`, an action without a command is
    answered without the past; the option tells it.
    """

    def __init__(self, env: gym.Env[str, str]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._commands: tuple[str, ...] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset, and number the first commands."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._commands = info.get("admissible_commands")
        return with_numbers(observation, self._commands), info

    def step(self, action: str) -> Step:
        """Step with the command of that number; without one, nothing is done and the answer says what was expected."""
        command = choose_command(action, self._commands)
        observation, reward, terminated, truncated, info = self.env.step(command or "")
        if command is None:
            observation = unchosen_message(self._commands)
        self._commands = info.get("admissible_commands")
        return with_numbers(observation, self._commands), float(reward), terminated, truncated, info


class History(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Tells the last `length` turns before each observation.

    Args:
        env: Environment of strings.
        length: Turns repeated, at least 1.
    """

    def __init__(self, env: gym.Env[str, str], length: int) -> None:
        check_integer("length", length, low=1)
        RecordConstructorArgs.__init__(self, length=length)
        gym.Wrapper.__init__(self, env)
        self._memory = Memory(length)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset, and forget the episode before."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._memory.start(observation), info

    def step(self, action: str) -> Step:
        """Step, and tell what led here."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._memory.tell(action, observation), float(reward), terminated, truncated, info


class ActionFormat(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Takes the command out of an action that may hold a thought.

    An action without a command becomes the empty command, which every environment of this package answers without
    touching the world, and is answered by an observation that says what was expected.

    Args:
        env: Environment of strings.
        form: "tag" for the last `<action>` tag, "last_line" for the last line that is not empty.
    """

    def __init__(self, env: gym.Env[str, str], form: ActionForm) -> None:
        check_choice("form", form, ACTION_FORMS)
        RecordConstructorArgs.__init__(self, form=form)
        gym.Wrapper.__init__(self, env)
        self.form = form

    def step(self, action: str) -> Step:
        """Step with the command inside `action`."""
        command = parse_action(action, self.form)
        observation, reward, terminated, truncated, info = self.env.step(command or "")
        if command is None:
            observation = unparsed_message(self.form)
        return observation, float(reward), terminated, truncated, info


class InvalidPenalty(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Takes `penalty` from the reward of every step whose `info["valid_command"]` is False.

    Args:
        env: Environment of strings.
        penalty: Reward taken per invalid command, at least 0.
    """

    def __init__(self, env: gym.Env[str, str], penalty: float) -> None:
        check_number("penalty", penalty, low=0)
        RecordConstructorArgs.__init__(self, penalty=penalty)
        gym.Wrapper.__init__(self, env)
        self.penalty = penalty

    def step(self, action: str) -> Step:
        """Step, and take the penalty where the command was invalid."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        penalty = 0.0 if info.get("valid_command", True) else self.penalty
        return observation, float(reward) - penalty, terminated, truncated, info


class _Disturbance(gym.Wrapper[str, str, str, str]):
    """A wrapper that draws by the number of the step, apart from the generator of tasks."""

    def __init__(self, env: gym.Env[str, str]) -> None:
        gym.Wrapper.__init__(self, env)
        self._stream = EpisodeStream()
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset, and start the draws of the episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._stream.start(self.env.unwrapped.np_random_seed, is_new=seed is not None)
        self._steps = 0
        return observation, info


class Distractors(_Disturbance, RecordConstructorArgs):
    """Adds sentences to each observation that are true in every world and of no use for the task (arXiv 2601.18217).

    A snapshot of the environment does not hold the wrapper's step; with the option `distractors` it does.

    Args:
        env: Environment of strings.
        count: Number of sentences, 1 to 100.
    """

    def __init__(self, env: gym.Env[str, str], count: int) -> None:
        check_integer("count", count, 1, MAX_DISTRACTORS)
        RecordConstructorArgs.__init__(self, count=count)
        _Disturbance.__init__(self, env)
        self.count = count

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset, and add the first sentences."""
        observation, info = super().reset(seed=seed, options=options)
        return self._distracted(observation), info

    def step(self, action: str) -> Step:
        """Step, and add the sentences of this step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        return self._distracted(observation), float(reward), terminated, truncated, info

    def _distracted(self, observation: str) -> str:
        nouns = getattr(self.env.unwrapped, "distractor_nouns", GENERAL_NOUNS)
        return self._stream.add_distractors(observation, self._steps, self.count, nouns)


class Faults(_Disturbance, RecordConstructorArgs):
    """Lets commands fail by chance: the answer says so, nothing changes, the step counts and pays 0.

    In place of such a command the environment gets the empty one, which every environment of this package answers without
    touching the world. `info["valid_command"]` is then False. An empty action never fails by chance; the option
    `fault_rate` also knows other actions that are no command of the world. For snapshots see `Distractors`.

    Args:
        env: Environment of strings.
        rate: Probability that a command fails, in [0, 1).
    """

    def __init__(self, env: gym.Env[str, str], rate: float) -> None:
        check_fault_rate(rate)
        RecordConstructorArgs.__init__(self, rate=rate)
        _Disturbance.__init__(self, env)
        self.rate = rate

    def step(self, action: str) -> Step:
        """Step, or say that the command has failed."""
        fails = bool(action.strip()) and self._stream.fails(self._steps, self.rate)
        observation, reward, terminated, truncated, info = self.env.step("" if fails else action)
        self._steps += 1
        if fails:
            observation, reward = FAULT_MESSAGE, 0.0
        return observation, float(reward), terminated, truncated, info


class EachTaskOnce(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Plays each task of a finite list once, in the order of the list, whoever asks for the next episode.

    For evaluation by code that knows of no tasks and resets when an episode ends, such as `RecordEpisodeStatistics`,
    vector environments, and `evaluate_policy` of Stable-Baselines3. Seeds draw from a list with repetition.

    - A reset begins the next task; where no step was taken, it begins the same task again.
    - The reset after the last task, with which a vector environment answers the end of its last episode, is idle: it
      repeats the last observation with `info["idle"]` and no task. A step then raises `ResetNeeded`, so that no task is
      counted twice. With several shares, steps idle while other shares are played, for as long as these can need.
    - A further reset, or one with a seed, begins the list again.

    Args:
        env: Environment with a finite list of tasks (`env.unwrapped.task_ids`).
        share: Number of the share of the list that is played, from 0. Share i has `(num_tasks + i) // num_shares` tasks, as
            many as `evaluate_policy` of Stable-Baselines3 counts of environment i.
        num_shares: Shares into which the list is dealt, one for each environment that is evaluated side by side.

    Attributes:
        share: As above; may be set before the first reset.
        num_shares: As above.

    Raises:
        TypeError: A number is not an integer.
        ValueError: The environment draws its tasks without end, or a number is out of its range.
    """

    def __init__(self, env: gym.Env[str, str], share: int = 0, num_shares: int = 1) -> None:
        check_integer("num_shares", num_shares, low=1)
        check_integer("share", share, low=0, high=num_shares - 1)
        RecordConstructorArgs.__init__(self, share=share, num_shares=num_shares)
        gym.Wrapper.__init__(self, env)
        if getattr(env.unwrapped, "task_ids", None) is None:
            raise ValueError(
                f"expected an environment with a finite list of tasks, got {env}, which draws them without end"
            )
        self.share, self.num_shares = share, num_shares
        self._place = -1
        self._num_steps = 0
        self._num_idle: int | None = None
        self._last = ("", dict[str, Any]())
        self._budget = 0

    @property
    def task_ids(self) -> tuple[str, ...]:
        """Names of the tasks of this share, in the order in which they are played."""
        names: tuple[str, ...] = self.env.unwrapped.task_ids  # type: ignore[attr-defined]
        return names[self.num_shares - 1 - self.share :: self.num_shares]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin the next task; `options` may not choose one.

        Raises:
            ValueError: `options` choose a task.
        """
        if options and "task_id" in options:
            raise ValueError(f"expected options without task_id, since each task is played once, got {options}")
        if seed is not None or self._num_idle is not None:
            self._place = -1
        if self._place < 0 or self._num_steps:
            self._place += 1
        self._num_steps = 0
        if self._place >= len(self.task_ids):
            self._num_idle = 0
            return self._idle()
        self._num_idle = None
        chosen = {**(options or {}), "task_id": self.task_ids[self._place]}
        self._last = self.env.reset(seed=seed, options=chosen)
        self._budget = max(self._budget, getattr(self.env.unwrapped, "max_steps", 0))
        return self._last

    def step(self, action: str) -> Step:
        """Step, or idle.

        Raises:
            gymnasium.error.ResetNeeded: Every task of the list has been played.
        """
        if self._num_idle is None:
            self._num_steps += 1
            observation, reward, terminated, truncated, info = self.env.step(action)
            self._last = observation, info
            return observation, float(reward), terminated, truncated, info
        # Other shares have at most one task more; their budgets of steps may be somewhat larger.
        self._num_idle += 1
        if self.num_shares == 1 or self._num_idle > 2 * self._budget * (len(self.task_ids) + 1):
            raise ResetNeeded(
                f"expected at most {len(self.env.unwrapped.task_ids)} episodes, one for each task, got one more"  # type: ignore[attr-defined]
            )
        observation, info = self._idle()
        return observation, 0.0, False, False, info

    def _idle(self) -> tuple[str, dict[str, Any]]:
        observation, info = self._last
        return observation, {"admissible_commands": info.get("admissible_commands"), "idle": True}
