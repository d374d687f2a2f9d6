"""verifiers before 0.4: any environment of strings as a `MultiTurnEnv`.

    def load_environment(**options):  # in the module that verifiers loads by its name
        return GymMultiTurnEnv("textagent_gym:TextWorld-Easy-Dense-v0", seeds=range(1000), **options)

The model's reply is the action, and the reward is the return of the episode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from gymnasium.error import DependencyNotInstalled

from textagent_gym.interop.episode import Episode

try:
    from datasets import Dataset
    from verifiers import Messages, MultiTurnEnv, Rubric, State, UserMessage, cleanup
except ImportError as error:
    raise DependencyNotInstalled("expected verifiers with MultiTurnEnv: pip install 'verifiers<0.4'") from error


class GymMultiTurnEnv(MultiTurnEnv):  # type: ignore[misc]  # untyped where it is absent
    """Plays one episode per rollout.

    Args:
        env_id: An id for `gym.make`.
        env_kwargs: Constructor options.
        seeds: One task of the dataset per seed.
        instructions: A system prompt for every task.
        **options: Of `MultiTurnEnv`.
    """

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any] | None = None,
        *,
        seeds: Iterable[int],
        instructions: str = "Play this game: answer with what you do next.",
        **options: Any,
    ) -> None:
        prompt = [{"role": "system", "content": instructions}]
        rows = [{"prompt": prompt, "answer": "", "info": {"seed": seed}} for seed in seeds]
        rubric = Rubric(funcs=[_episode_return], weights=[1.0])
        super().__init__(dataset=Dataset.from_list(rows), rubric=rubric, **options)
        self._gym_id, self._gym_kwargs = env_id, dict(env_kwargs or {})

    async def setup_state(self, state: State) -> State:
        """Start the task of the row's seed; its first observation ends the prompt."""
        state["episode"] = episode = await asyncio.to_thread(Episode, self._gym_id, self._gym_kwargs)
        observation = await asyncio.to_thread(episode.start, state["info"]["seed"])
        state["prompt"] = [*state["prompt"], UserMessage(content=observation)]
        return state

    async def env_response(self, messages: Messages, state: State, **_: Any) -> Messages:
        """Play the last message."""
        episode: Episode = state["episode"]
        said = messages[-1]["content"] if isinstance(messages[-1], dict) else messages[-1].content
        observation = await asyncio.to_thread(episode.act, said or "")
        response = [UserMessage(content=observation)]
        if episode.over:
            state["final_env_response"] = response
        return response

    @cleanup  # type: ignore[untyped-decorator]
    async def close_episode(self, state: State) -> None:
        """End the environment and keep what it has paid, for the rubric."""
        episode: Episode | None = state.pop("episode", None)
        if episode is not None:
            state["episode_return"] = episode.total_reward
            await asyncio.to_thread(episode.close)


async def _episode_return(state: State) -> float:
    return float(state["episode_return"])
