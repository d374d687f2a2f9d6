"""The record of one episode: what was said, in tokens and in words, and what it earned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

TokenArray: TypeAlias = NDArray[np.int64]
MaskArray: TypeAlias = NDArray[np.bool_]
FloatArray: TypeAlias = NDArray[np.float32]


LOOP_TURNS = 6
"""Last turns of an episode in which a loop is looked for."""


@dataclass(frozen=True)
class Turn:
    """One step of the environment: an observation, the action that answered it, and what the step paid.

    Attributes:
        observation: the text that the policy read.
        action: the text given to `env.step`.
        reward: reward of that step.
        start: index of the turn's first token (the first one of the observation's chat frame).
        action_start: index of the first token sampled in this turn; tokens `start:action_start` are not the policy's.
        end: index after the turn's last token, its end token included.
        cut: True if the action reached `max_new_tokens` and its end token was added, not sampled.
        invalid: True if the environment said that the action was no command (`info["valid_command"]`).
        thinks: True if the action holds a thought; `action` is its answer alone.
        cut_thought: True if the action was cut inside its thought.
        state: digest of the observation and the admissible commands; equal in equal states of one task, "" if unknown.
    """

    observation: str
    action: str
    reward: float
    start: int
    action_start: int
    end: int
    cut: bool = False
    invalid: bool = False
    state: str = ""
    thinks: bool = False
    cut_thought: bool = False

    @property
    def last_sampled(self) -> int:
        """Index of the last token that was sampled in this turn."""
        return self.end - 1 - self.cut


def card_detail(info: Mapping[str, Any], name: str) -> str | None:
    """Return `info["task_card"]["details"][name]` as text, None where the environment has no such entry."""
    details = (info.get("task_card") or {}).get("details") or {}
    found = details.get(name)
    return None if found is None else str(found)


def state_digest(observation: str, info: Mapping[str, Any]) -> str:
    """Return the digest of a state: of its observation and of `info["admissible_commands"]`, in any order."""
    commands = info.get("admissible_commands") or ()
    texts = [observation, *sorted(map(str, commands))]
    return blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(frozen=True, eq=False)
class Episode:
    """One finished episode, token in and token out: nothing in it was ever tokenised a second time.

    Attributes:
        seed: the seed given to `env.reset`.
        task_id: `info["task_id"]` at reset, or None where the environment names no task.
        token_ids: (T,) every token of the episode in order, observations and actions.
        action_mask: (T,) True for a token that the policy sampled.
        logprobs: (T,) log-probability of each sampled token under the distribution that it was sampled from
            (temperature included); 0 where the mask is False.
        turns: one `Turn` per environment step.
        success: `info["success"]` at the end (see `environments.is_success`).
        terminated: the environment reached a terminal state.
        truncated: the episode was cut short, by the environment or because the context was full.
        truncated_by_context: True if the cut came from the policy's context and not from the environment.
        final_observation: observation of the last step (or reset, if no turn fitted); never answered.
        final_prompt: (P,) tokens with which the final observation would have been put to the policy, for the bootstrap
            of a critic; empty where the episode terminated or the model has no positions left for them.
        structure: `info["task_card"]["details"]["structure"]` at reset, which tasks share that differ in names alone, or
            None where the environment has no such entry.
        task_type: `info["task_card"]["details"]["task_type"]` at reset, such as "pick_and_place_simple" of ALFWorld, or None
            where the environment has no such entry.
        starts: index of the first token of each sequence that the policy has read as one. Within a sequence every prompt
            extends the one before; where a prompt shows less than the whole history, it begins a sequence.
        ends_fresh: True if `final_prompt` would have begun a sequence of its own.
        allowed: the tokens that each sampled token was chosen from, one entry for each True of `action_mask`, where the
            decoding was over listed commands; None where it was over the whole vocabulary.
    """

    seed: int
    task_id: str | None
    token_ids: TokenArray
    action_mask: MaskArray
    logprobs: FloatArray
    turns: tuple[Turn, ...]
    success: bool
    terminated: bool
    truncated: bool
    truncated_by_context: bool
    final_observation: str
    final_prompt: TokenArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    structure: str | None = None
    task_type: str | None = None
    starts: tuple[int, ...] = (0,)
    ends_fresh: bool = False
    allowed: tuple[tuple[int, ...], ...] | None = None

    @property
    def rewards(self) -> tuple[float, ...]:
        """Reward of each turn, in order."""
        return tuple(turn.reward for turn in self.turns)

    @property
    def episode_return(self) -> float:
        """The undiscounted sum of the rewards."""
        return float(sum(self.rewards))

    @property
    def num_tokens(self) -> int:
        """Tokens of all sequences of the episode."""
        return len(self.token_ids)

    @property
    def sequences(self) -> list[tuple[int, int]]:
        """First index, and the one after the last, of each sequence of tokens that the policy has read as one."""
        return list(pairwise((*self.starts, self.num_tokens)))

    @property
    def num_action_tokens(self) -> int:
        """Tokens that the policy sampled."""
        return int(self.action_mask.sum())

    @property
    def outcome(self) -> str:
        """End of the episode, in words."""
        if self.success:
            return "success"
        if self.truncated_by_context:
            return "out of context"
        return "out of steps" if self.truncated and not self.terminated else "failure"

    @property
    def loops(self) -> bool:
        """True if the episode failed while it repeated itself: one or two (observation, action) pairs in six turns."""
        last = [(turn.observation, turn.action) for turn in self.turns[-LOOP_TURNS:]]
        return not self.success and len(last) == LOOP_TURNS and len(set(last)) <= 2

    def turn_index(self) -> NDArray[np.int64]:
        """Return (T,) the turn that each token belongs to."""
        index = np.zeros(self.num_tokens, dtype=np.int64)
        for number, turn in enumerate(self.turns):
            index[turn.start : turn.end] = number
        return index

    def token_rewards(self) -> FloatArray:
        """Return (T,) what each turn paid, at the last token that was sampled in it; 0 elsewhere."""
        rewards = np.zeros(self.num_tokens, dtype=np.float32)
        for turn in self.turns:
            rewards[turn.last_sampled] = turn.reward
        return rewards

    def transcript(self) -> str:
        """Return the episode as a person reads it: observations, then `> action`, and the outcome in the last line."""
        lines = [f"seed {self.seed}" + (f", task {self.task_id}" if self.task_id else "")]
        for number, turn in enumerate(self.turns, start=1):
            mark = "  [cut at max_new_tokens]" if turn.cut else ""
            lines += ["", turn.observation.strip(), "", f"[{number}] > {turn.action}{mark}    ({turn.reward:+.3g})"]
        outcome = f"== {self.outcome} after {len(self.turns)} steps, return {self.episode_return:.3g}"
        return "\n".join([*lines, "", self.final_observation.strip(), "", outcome, ""])
