"""Expert play: the episodes that supervised training imitates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.config.settings import RolloutSettings
from baselines.errors import ChatTemplateError, ConfigError
from baselines.models.chat import ChatFormat, SaidAction, make_prompt
from baselines.sampling.conversations import read_file
from baselines.sampling.environments import TextEnv, is_success, reset_env, step_env
from baselines.sampling.episode import Episode, Turn

MAX_ATTEMPTS = 20
"""Times that an expert gives a command that is not carried out."""


@dataclass(frozen=True)
class Demonstration:
    """One episode in words.

    Attributes:
        seed: the seed given to `env.reset`.
        task_id: `info["task_id"]`, or None.
        observations: one more than there are actions; the last one was not answered.
        actions: the actions.
        rewards: reward of each action.
        success: True if the episode succeeded.
        terminated: the environment reached a terminal state.
        truncated: the environment cut the episode short.
    """

    seed: int
    task_id: str | None
    observations: tuple[str, ...]
    actions: tuple[str, ...]
    rewards: tuple[float, ...]
    success: bool
    terminated: bool
    truncated: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """All that was said, in no particular order."""
        return self.observations + self.actions


def play_expert(env: TextEnv, seed: int) -> Demonstration:
    """Replay `info["solution"]` of one seed.

    A command that the environment did not carry out (`info["valid_command"]` is False), such as one that failed by
    chance, is given again, up to `MAX_ATTEMPTS` times.

    Args:
        env: made with `expose_solution=True`.
        seed: given to `env.reset`.

    Raises:
        ConfigError: the environment does not tell its solution.
    """
    observation, info = reset_env(env, seed)
    solution = info.get("solution")
    if not solution:
        raise ConfigError(
            "expected info['solution'] at reset (a tuple of commands) from an environment made with "
            f"expose_solution=True, got keys {sorted(info)}"
        )
    if isinstance(solution, str) or not all(isinstance(command, str) for command in solution):
        raise ConfigError(f"expected info['solution'] to be a sequence of strings, got {solution!r:.80}")
    task_id = None if info.get("task_id") is None else str(info["task_id"])
    observations, actions, rewards = [observation], [], []
    terminated = truncated = success = False
    left, attempts = list(reversed(solution)), 0
    while left and not (terminated or truncated):
        observation, reward, terminated, truncated, info = step_env(env, left[-1])
        observations.append(observation)
        actions.append(left[-1])
        rewards.append(reward)
        success = is_success(info, terminated, sum(rewards))
        attempts += 1
        if info.get("valid_command") is not False or attempts == MAX_ATTEMPTS:
            left.pop()
            attempts = 0
    return Demonstration(
        seed, task_id, tuple(observations), tuple(actions), tuple(rewards), success, terminated, truncated
    )


def collect_demonstrations(env: TextEnv, seeds: Iterable[int]) -> list[Demonstration]:
    """Replay the expert on every seed and keep the episodes that succeed.

    Raises:
        ConfigError: the environment does not tell its solutions, or none of them succeeds.
    """
    played = [play_expert(env, seed) for seed in seeds]
    solved = [demonstration for demonstration in played if demonstration.success]
    if not solved:
        raise ConfigError(f"expected expert episodes that succeed, got none among {len(played)}")
    return solved


def read_conversations(path: Path) -> list[Demonstration]:
    """Read conversations in any of the forms of `conversations.read_file`; users' messages are observations.

    Raises:
        ConfigError: a line is not such a conversation, or there is none; the message names the line.
    """
    found = []
    for number, observations, actions in read_file(path):
        ending = () if len(observations) > len(actions) else ("",)
        rewards = (0.0,) * len(actions)
        found.append(Demonstration(number, None, (*observations, *ending), actions, rewards, True, True, False))
    if not found:
        raise ConfigError(f"expected conversations in {path}, got none")
    return found


def encode_demonstration(
    chat: ChatFormat, demonstration: Demonstration, settings: RolloutSettings | None = None
) -> Episode:
    """Write a demonstration as the episode that a policy would have produced by sampling it token by token.

    Args:
        chat: the policy's chat format.
        demonstration: what was said and done.
        settings: what a prompt shows of earlier turns; by default everything.

    Raises:
        ChatTemplateError: an action holds a thought that the template leaves out of later prompts and `settings` keep.
    """
    settings = settings or RolloutSettings()
    token_ids: list[int] = []
    action_mask: list[bool] = []
    turns: list[Turn] = []
    starts = [0]
    said: list[SaidAction] = []
    for number, action in enumerate(demonstration.actions):
        observation = demonstration.observations[number]
        thought, answer = chat.split_thought(action)
        if thought and settings.keep_thoughts == "all" and not chat.keeps(action):
            raise ChatTemplateError(
                f"expected an action that the chat template keeps in later turns, got {action!r:.60}, which it rewrites; "
                "train with --keep-thoughts none, or use a template that keeps the thoughts of earlier turns"
            )
        sampled = chat.action(action)
        chat.warn_of_loss(sampled, answer)
        shown = demonstration.observations[: number + 1]
        prompt, continues = make_prompt(chat, shown, said, settings, token_ids[starts[-1] :])
        said.append(SaidAction(sampled, answer, bool(thought)))
        start = len(token_ids)
        if number and not continues:
            starts.append(start)
        token_ids += [*prompt, *sampled]
        action_mask += [False] * len(prompt) + [True] * len(sampled)
        reward = demonstration.rewards[number]
        turns.append(Turn(observation, action, reward, start, start + len(prompt), len(token_ids)))
    return Episode(
        seed=demonstration.seed,
        task_id=demonstration.task_id,
        token_ids=np.array(token_ids, dtype=np.int64),
        action_mask=np.array(action_mask, dtype=np.bool_),
        logprobs=np.zeros(len(token_ids), dtype=np.float32),
        turns=tuple(turns),
        success=demonstration.success,
        terminated=demonstration.terminated,
        truncated=demonstration.truncated,
        truncated_by_context=False,
        final_observation=demonstration.observations[-1],
        starts=tuple(starts),
    )
