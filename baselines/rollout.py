"""Multi-turn rollouts: a plain list of environments, one policy, tokens kept exactly as they were sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from baselines.chat import ChatFormat
from baselines.decoding import HistoryDecoder, RaggedDecoder, make_decoder
from baselines.environments import TextEnv, is_success, reset_env, step_env
from baselines.episode import Episode, Turn
from baselines.policy import Policy
from baselines.sampling import sample_tokens
from baselines.settings import RolloutSettings


@dataclass
class _Action:
    """Tokens sampled in one turn, with their log-probabilities."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


@dataclass
class _Row:
    """An episode while it is played.

    `prompt` are the tokens of the observation to be answered; `unfed` those at the end of `token_ids` that the model
    has not been fed yet: the last one of every action is sampled but never read while the action lasts.
    """

    env: TextEnv
    chat: ChatFormat
    seed: int
    task_id: str | None
    observation: str
    prompt: list[int]
    unfed: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    action_mask: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    episode_return: float = 0.0
    success: bool = False
    terminated: bool = False
    truncated: bool = False
    truncated_by_context: bool = False

    @property
    def done(self) -> bool:
        return self.terminated or self.truncated

    def fit(self, settings: RolloutSettings) -> None:
        """Truncates the episode if the coming turn might not fit into the context."""
        needed = len(self.token_ids) + len(self.prompt) + settings.max_new_tokens + 1  # 1: the end of a cut turn
        if not self.done and needed > settings.max_context_tokens:
            self.truncated = self.truncated_by_context = True

    def play(self, action: _Action) -> None:
        """Records the sampled tokens, steps the environment and prepares the tokens of the next observation."""
        start = len(self.token_ids)
        self._append(self.prompt, [0.0] * len(self.prompt), sampled=False)
        action_start = len(self.token_ids)
        self._append(action.token_ids, action.logprobs, sampled=True)
        end_token = self.chat.end_token_id
        self.unfed = action.token_ids[-1:]
        cut = self.unfed != [end_token]
        if cut:
            self._append([end_token], [0.0], sampled=False)
            self.unfed.append(end_token)
        text = self.chat.decode_action(action.token_ids)
        observation, reward, self.terminated, self.truncated, info = step_env(self.env, text)
        self.turns.append(Turn(self.observation, text, reward, start, action_start, len(self.token_ids), cut))
        self.episode_return += reward
        self.success = is_success(info, self.terminated, self.episode_return)
        self.observation = observation
        if not self.done:
            self.prompt = self.chat.next_turn(observation)

    def episode(self) -> Episode:
        return Episode(
            seed=self.seed,
            task_id=self.task_id,
            token_ids=np.array(self.token_ids, dtype=np.int64),
            action_mask=np.array(self.action_mask, dtype=np.bool_),
            logprobs=np.array(self.logprobs, dtype=np.float32),
            turns=tuple(self.turns),
            success=self.success,
            terminated=self.terminated,
            truncated=self.truncated,
            truncated_by_context=self.truncated_by_context,
            final_observation=self.observation,
        )

    def _append(self, token_ids: Sequence[int], logprobs: Sequence[float], sampled: bool) -> None:
        self.token_ids.extend(token_ids)
        self.logprobs.extend(logprobs)
        self.action_mask.extend([sampled] * len(token_ids))


def rollout(
    policy: Policy,
    envs: Sequence[TextEnv],
    seeds: Sequence[int],
    settings: RolloutSettings,
    generator: torch.Generator,
    use_cache: bool = True,
) -> list[Episode]:
    """Plays one episode per seed, `len(envs)` of them side by side.

    Args:
        policy: samples the actions.
        envs: environments of the same kind; only those with a live episode are stepped.
        seeds: given to `env.reset`; a repeated seed makes a group (equal prompts are encoded once).
        settings: temperature and limits.
        generator: source of the sampling's randomness, on the CPU.
        use_cache: False encodes the whole history anew for every token (slow; for tests and as a yardstick).

    Returns:
        Episodes in the order of `seeds`.

    Raises:
        ConfigError: the settings are out of range.
        EnvironmentContractError: an observation is not a string.
    """
    settings.check(training=False)
    episodes: list[Episode] = []
    with torch.inference_mode():
        for first in range(0, len(seeds), len(envs)):
            batch = seeds[first : first + len(envs)]
            rows = [_open_row(env, seed, policy.chat) for env, seed in zip(envs, batch, strict=False)]
            _play_rows(policy, rows, settings, generator, use_cache)
            episodes += [row.episode() for row in rows]
    return episodes


def _open_row(env: TextEnv, seed: int, chat: ChatFormat) -> _Row:
    observation, info = reset_env(env, seed)
    task_id = info.get("task_id")
    return _Row(env, chat, seed, None if task_id is None else str(task_id), observation, chat.first_turn(observation))


def _play_rows(
    policy: Policy, rows: list[_Row], settings: RolloutSettings, generator: torch.Generator, use_cache: bool
) -> None:
    for row in rows:
        row.fit(settings)
    live = [row for row in rows if not row.done]
    decoder = make_decoder(policy.model, policy.pad_token_id, use_cache)
    logits = decoder.open([row.prompt for row in live]) if live else None
    while logits is not None:
        actions = _sample_actions(decoder, logits, policy.chat.end_token_id, settings, generator)
        for row, action in zip(live, actions, strict=True):
            row.play(action)
            row.fit(settings)
        kept = [number for number, row in enumerate(live) if not row.done]
        live = [live[number] for number in kept]
        if not live:
            return
        decoder.keep(kept)
        logits = decoder.feed([row.unfed + row.prompt for row in live])


def _sample_actions(
    decoder: RaggedDecoder | HistoryDecoder,
    logits: torch.Tensor,
    end_token_id: int,
    settings: RolloutSettings,
    generator: torch.Generator,
) -> list[_Action]:
    """Samples one action per row, all rows in step; rows that have ended their turn wait, masked.

    An action's last token is not fed here: it goes in with the next observation, or never.
    """
    actions = [_Action() for _ in range(len(logits))]
    active = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    for count in range(1, settings.max_new_tokens + 1):
        token_ids, logprobs = sample_tokens(logits, settings.temperature, generator)
        for action, token_id, logprob, is_active in zip(
            actions, token_ids.tolist(), logprobs.tolist(), active.tolist(), strict=True
        ):
            if is_active:
                action.token_ids.append(token_id)
                action.logprobs.append(logprob)
        active = active & (token_ids != end_token_id)
        if count == settings.max_new_tokens or not bool(active.any()):
            break
        logits = decoder.feed_tokens(token_ids, active)
    return actions
