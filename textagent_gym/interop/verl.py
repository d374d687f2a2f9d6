"""verl: any environment of strings as an agent loop, in which the model's reply is the action.

The file that `actor_rollout_ref.rollout.agent.agent_loop_config_path` names:

    - name: textworld-easy
      _target_: textagent_gym.interop.verl.GymAgentLoop
      env_id: textagent_gym:TextWorld-Easy-Dense-v0
      env_kwargs: {split: train}

A row of the dataset has `agent_name: textworld-easy`, a prompt (the rules of the answer) and a `seed`, in a column of its
own or in `extra_info`. The first observation is a message of the user after the prompt. The reward of the trajectory is the
return of the episode, and no reward function is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from gymnasium.error import DependencyNotInstalled

from textagent_gym.interop.episode import Episode, options_of, seed_of

try:
    from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput
    from verl.utils.profiler import simple_timer
except ImportError as error:
    raise DependencyNotInstalled("expected verl: pip install 'verl>=0.9.1'") from error


class GymAgentLoop(AgentLoopBase):  # type: ignore[misc]  # untyped where it is absent
    """An agent loop that plays one episode per trajectory, token in, token out.

    Args:
        *args: Arguments that verl gives to every agent loop.
        env_id: An id for `gym.make`.
        env_kwargs: Constructor options.
        **kwargs: Arguments that verl gives to every agent loop.
    """

    def __init__(self, *args: Any, env_id: str, env_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._env_id, self._env_kwargs = env_id, dict(env_kwargs or {})

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **row: Any) -> AgentLoopOutput:
        """Play the task of the row's seed until it ends, or until the response is as long as the configuration allows.

        A column `task_id` chooses a task of a finite list. A reply that is cut by that length is not played.

        Raises:
            ValueError: The row has no seed.
        """
        seed = seed_of(row)
        episode = await asyncio.to_thread(Episode, self._env_id, self._env_kwargs)
        try:
            observation = await asyncio.to_thread(episode.start, seed, options_of(row))
            messages = [*row["raw_prompt"], {"role": "user", "content": observation}]
            return await self._play(episode, messages, sampling_params, priority)
        finally:
            await asyncio.to_thread(episode.close)

    async def _play(
        self, episode: Episode, messages: list[dict[str, Any]], sampling_params: dict[str, Any], priority: int
    ) -> AgentLoopOutput:
        limit = self.rollout_config.response_length
        is_fixed = getattr(self.rollout_config, "full_determinism", False)
        request_id = f"det-{int(priority)}" if is_fixed else uuid4().hex
        tokens = await self.ct_build_initial_tokens(messages)
        mask: list[int] = []  # 1 where the model wrote, 0 where the environment did
        logprobs: list[float] | None = None
        rewards: list[float] = []
        timings: dict[str, float] = {}
        extra: dict[str, Any] = {}
        num_replies = 0
        while True:
            with simple_timer("generate_sequences", timings):
                reply = await self.server_manager.generate(
                    request_id=request_id, prompt_ids=tokens, sampling_params=sampling_params
                )
            num_replies += 1
            extra = {**reply.extra_fields, **extra}
            if reply.extra_fields.get("max_global_steps"):  # the weights that sampled last
                extra["max_global_steps"] = reply.extra_fields["max_global_steps"]
            before = [] if logprobs is None and reply.log_probs else logprobs
            merged, mask, logprobs = await self.ct_merge_assistant_token(
                tokens, reply.token_ids, mask, before, assistant_logprobs=reply.log_probs or None
            )
            tokens = merged.token_ids
            if len(mask) >= limit:
                break
            action = self.tokenizer.decode(
                reply.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            with simple_timer("tool_calls", timings):
                observation = await asyncio.to_thread(episode.act, action)
            rewards.append(episode.last_reward)
            if episode.over:
                break
            said = [*messages, {"role": "assistant", "content": action}]
            messages = [*said, {"role": "user", "content": observation}]
            merged, reply_mask, reply_logprobs = await self.ct_merge_context_msg(said, messages, tokens, mask, logprobs)
            if len(reply_mask) >= limit:
                break
            tokens, mask, logprobs = merged.token_ids, reply_mask, reply_logprobs
        start = len(tokens) - len(mask)
        return AgentLoopOutput(
            prompt_ids=tokens[:start],
            response_ids=tokens[start:][:limit],
            response_mask=mask[:limit],
            response_logprobs=None if logprobs is None else logprobs[:limit],
            reward_score=episode.total_reward,
            num_turns=2 * num_replies,
            metrics=AgentLoopMetrics(**timings),
            extra_fields={**extra, "turn_scores": rewards, "tool_rewards": []},
        )
