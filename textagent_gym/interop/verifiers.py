"""verifiers: any environment of strings as a taskset and an environment of `verifiers.v1`, for `eval` and prime-rl.

verifiers imports plugins by the name of a module at the top level, so give it one, say `textworld_easy.py`:

    from textagent_gym.interop.verifiers import GymEnv, GymTaskset
    __all__ = ["GymEnv", "GymTaskset"]

and name it, and the environment, in the run's configuration (TOML):

    [env.taskset]
    id = "textworld_easy"
    env_id = "textagent_gym:TextWorld-Easy-Dense-v0"
    num_tasks = 1000

The task with index i is that of seed `first_seed + i`. The environment speaks as the user, the model's reply is the action,
and the reward is the return of the episode.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

from gymnasium.error import DependencyNotInstalled

from textagent_gym.interop.episode import Episode

try:
    import verifiers.v1 as vf
    from pydantic import Field
except ImportError as error:
    raise DependencyNotInstalled("expected verifiers: pip install 'verifiers>=0.4'") from error


class GymData(vf.TaskData):  # type: ignore[misc]  # untyped where it is absent, here and below
    """Data of an episode.

    Attributes:
        env_id: An id for `gym.make`.
        env_kwargs: Constructor options.
        seed: Chooses the task.
    """

    env_id: str
    env_kwargs: dict[str, Any]
    seed: int


class GymTask(vf.Task[GymData]):  # type: ignore[misc]
    """An episode to play; its reward is recorded by the environment."""


class GymTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Choice of the tasks."""

    env_id: str
    """An id for `gym.make`."""
    env_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Constructor options."""
    first_seed: int = 0
    """The seeds are the numbers from here on."""
    num_tasks: int | None = None
    """Number of tasks; None for an endless list."""
    instructions: str | None = None
    """A system prompt for every task."""


class GymTaskset(vf.Taskset[GymTask, GymTasksetConfig]):  # type: ignore[misc]
    """One task per seed."""

    def __init__(self, config: GymTasksetConfig) -> None:
        super().__init__(config)
        self.INFINITE = config.num_tasks is None

    def load(self) -> Iterator[GymTask]:
        """Yield the tasks in the order of their seeds."""
        config = self.config
        for index in itertools.count() if config.num_tasks is None else range(config.num_tasks):
            seed = config.first_seed + index
            data = GymData(
                name=f"{config.env_id}#{seed}",
                prompt=None,  # the environment opens
                system_prompt=config.instructions,
                env_id=config.env_id,
                env_kwargs=config.env_kwargs,
                seed=seed,
            )
            yield GymTask(data, config.task)


class GymEnvConfig(vf.EnvConfig):  # type: ignore[misc]
    """The only player."""

    player: vf.AgentConfig = vf.AgentConfig(harness={"id": "null"}, runtime=vf.SubprocessConfig())
    """Player; by default the harness without tools, which runs no code and needs no sandbox."""


class GymEnv(vf.Env[GymEnvConfig]):  # type: ignore[misc]
    """Plays an episode: the environment is the run's user."""

    async def run(self, task: GymTask, agents: vf.Agents) -> None:
        """Play one task, and record its return, and as metrics its length and success."""
        episode = await asyncio.to_thread(Episode, task.data.env_id, task.data.env_kwargs)
        try:
            observation = await asyncio.to_thread(episode.start, task.data.seed)
            async with agents.player.interaction(task) as interaction:
                reply = await interaction.turn(observation)
                while not reply.terminated:
                    observation = await asyncio.to_thread(episode.act, reply.last_reply)
                    if episode.over:
                        break
                    reply = await interaction.turn(observation)
        finally:
            await asyncio.to_thread(episode.close)
        metrics = episode.metrics
        interaction.trace.record_reward("episode_return", metrics.pop("episode_return"))
        interaction.trace.record_metrics(metrics)


__all__ = ["GymEnv", "GymTaskset"]
