"""SkyRL: any environment of strings as a `BaseTextEnv` of skyrl-gym.

    register(
        id="textworld-easy",
        entry_point="textagent_gym.interop.skyrl:GymTextEnv",
        kwargs={"env_id": "textagent_gym:TextWorld-Easy-Dense-v0"},
    )

A row of the dataset has `env_class: "textworld-easy"`, a prompt (the rules of the answer, or an empty list) and a `seed`,
in its own column or in `extra_info`. The first observation is added to the prompt as a message of the user, and every
step pays its own reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium.error import DependencyNotInstalled

from textagent_gym.interop.episode import Episode, options_of, seed_of

try:
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput, ConversationType
except ImportError as error:
    raise DependencyNotInstalled("expected SkyRL-gym: pip install 'skyrl-gym>=0.4'") from error


class GymTextEnv(BaseTextEnv):  # type: ignore[misc]  # untyped where it is absent
    """A text environment in which the model's reply is the action.

    Args:
        env_config: SkyRL's configuration of this environment; not read.
        extras: Columns of the row: `seed`, `task_id` to play that task of a finite list, and `max_turns`, after which
            the episode is cut where the environment has not.
        env_id: An id for `gym.make`.
        env_kwargs: Constructor options.

    Raises:
        ValueError: The row has no seed.
    """

    def __init__(
        self,
        env_config: Any = None,
        extras: Mapping[str, Any] | None = None,
        *,
        env_id: str,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        row = extras or {}
        self._seed, self._options = seed_of(row), options_of(row)
        self.max_turns = row.get("max_turns")
        self._episode = Episode(env_id, env_kwargs)

    def init(self, prompt: ConversationType) -> tuple[ConversationType, dict[str, Any]]:
        """Start the task of the row's seed; the prompt, and after it the first observation."""
        self.turns = 0
        observation = self._episode.start(self._seed, self._options)
        return [*prompt, _user(observation)], self._episode.metrics

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Play a reply."""
        self.turns += 1
        observation = self._episode.act(action)
        done = self._episode.over or (self.max_turns is not None and self.turns >= self.max_turns)
        return BaseTextEnvStepOutput(
            observations=[] if done else [_user(observation)],  # nobody answers the last one
            reward=self._episode.last_reward,
            done=done,
            metadata=self._episode.metrics,
        )

    def get_metrics(self) -> dict[str, float]:
        """Return, length and success of the episode."""
        return self._episode.metrics

    def close(self) -> None:
        """End the environment."""
        self._episode.close()


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
