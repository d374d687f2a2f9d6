"""The loop that most multi-turn scripts have: every turn encodes the whole history of every episode again.

The yardstick of `benchmarks.speed.training`, on the same policy and the same environments as `baselines.sampling.rollout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from baselines.config.settings import RolloutSettings
from baselines.models.policy import Policy
from baselines.sampling.environments import EnvPool, Task, TextEnv, reset_env, step_env


@dataclass
class Conversation:
    """An episode of the loop around `model.generate`.

    Attributes:
        env: leased for it.
        token_ids: everything said so far.
        action_mask: True for a token that the policy sampled.
        num_turns: steps of the environment so far.
        episode_return: sum of the rewards.
        done: it has ended, or the next turn might not fit.
    """

    env: TextEnv
    token_ids: list[int]
    action_mask: list[bool]
    num_turns: int = 0
    episode_return: float = 0.0
    done: bool = False

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole episode."""
        return len(self.token_ids)

    @property
    def num_action_tokens(self) -> int:
        """Tokens that the policy sampled."""
        return sum(self.action_mask)

    def append(self, token_ids: Sequence[int], sampled: bool) -> None:
        """Add tokens."""
        self.token_ids += token_ids
        self.action_mask += [sampled] * len(token_ids)


@torch.inference_mode()
def generate_rollout(
    policy: Policy, pool: EnvPool, tasks: Sequence[Task], settings: RolloutSettings
) -> list[Conversation]:
    """Play one episode per task, all side by side, by encoding every history again in every turn."""
    chat, conversations = policy.chat, []
    for task in tasks:
        env = pool.lease(task.kind)
        prompt = chat.first_turn(reset_env(env, task.seed)[0])
        conversations.append(Conversation(env, prompt, [False] * len(prompt)))
    live = conversations
    while live:
        actions = generate_actions(policy, [conversation.token_ids for conversation in live], settings)
        for conversation, action in zip(live, actions, strict=True):
            conversation.append(action, sampled=True)
            if action[-1] != chat.end_token_id:
                conversation.append([chat.end_token_id], sampled=False)
            observation, reward, terminated, truncated, _ = step_env(conversation.env, chat.decode_action(action))
            conversation.num_turns += 1
            conversation.episode_return += reward
            prompt = chat.next_turn(observation)
            needed = conversation.num_tokens + len(prompt) + settings.max_new_tokens + 1
            conversation.done = terminated or truncated or needed > settings.max_context_tokens
            if not conversation.done:
                conversation.append(prompt, sampled=False)
        live = [conversation for conversation in live if not conversation.done]
    for conversation, task in zip(conversations, tasks, strict=True):
        pool.give_back(conversation.env, task.kind)
    return conversations


def generate_actions(policy: Policy, histories: Sequence[list[int]], settings: RolloutSettings) -> list[list[int]]:
    """Sample one action per history with one call of `model.generate`; the end token is its last, unless it is cut."""
    end, pad, width = policy.chat.end_token_id, policy.pad_token_id, max(map(len, histories))
    token_ids = [[pad] * (width - len(history)) + history for history in histories]
    mask = [[0] * (width - len(history)) + [1] * len(history) for history in histories]
    sampling: dict[str, Any] = {"do_sample": False}
    if settings.temperature > 0:
        sampling = {"do_sample": True, "temperature": settings.temperature, "top_k": 0, "top_p": 1.0}
    generated = policy.model.generate(
        input_ids=torch.tensor(token_ids, device=policy.device),
        attention_mask=torch.tensor(mask, device=policy.device),
        generation_config=GenerationConfig(
            max_new_tokens=settings.max_new_tokens, eos_token_id=end, pad_token_id=pad, use_cache=True, **sampling
        ),
    )
    rows = generated[:, width:].tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in rows]
