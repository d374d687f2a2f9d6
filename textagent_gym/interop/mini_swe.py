"""mini-swe-agent: a task of SWEGym as an environment of its agents (version 2).

    from minisweagent.agents.default import DefaultAgent

    env = SWEGymEnvironment("textagent_gym:SWEGym-Easy-Dense-v0", seed=0)
    agent = DefaultAgent(model, env, **templates)
    agent.run(env.task)
    env.episode.metrics  # return, steps, success

The agent's commands run in the sandbox of SWEGym, and its way to submit ends the episode.
"""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Mapping
from typing import Any, cast

from gymnasium.error import DependencyNotInstalled

from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.interop.episode import Episode

try:
    from minisweagent.exceptions import LimitsExceeded, Submitted
    from pydantic import BaseModel
except ImportError as error:
    raise DependencyNotInstalled("expected mini-swe-agent: pip install 'mini-swe-agent>=2'") from error

_PRINTED = re.compile(r"<returncode>(-?\d+)</returncode>\n<output>(?:\n(.*)\n)?</output>(.*)", re.DOTALL)


class EnvironmentConfig(BaseModel):  # type: ignore[misc]  # untyped where it is absent
    """Task of a `SWEGymEnvironment`, for its trajectories.

    Attributes:
        env_id: Id for `gym.make`.
        seed: Seed of the task.
        task_id: Name of the task; None for the one of the seed.
        env_kwargs: Further constructor options.
    """

    env_id: str
    seed: int
    task_id: str | None
    env_kwargs: dict[str, Any]


class SWEGymEnvironment:
    """One task of SWEGym that an agent of mini-swe-agent works on.

    Args:
        env_id: Id for `gym.make`; `package:Id-v0` imports the package first.
        seed: Seed of the task.
        task_id: Name of the task; None for the one of the seed.
        **env_kwargs: Further constructor options; the interface is always "bash".

    Attributes:
        config: The arguments.
        episode: The episode, with its return and success.
        task: The task in words, for `agent.run`.

    Raises:
        ValueError: As of `gym.make` and `reset`.
    """

    def __init__(
        self,
        env_id: str = "textagent_gym:SWEGym-Easy-Dense-v0",
        *,
        seed: int = 0,
        task_id: str | None = None,
        **env_kwargs: Any,
    ) -> None:
        self.config = EnvironmentConfig(env_id=env_id, seed=seed, task_id=task_id, env_kwargs=env_kwargs)
        self.episode = Episode(env_id, {**env_kwargs, "interface": "bash"})
        self.task = self.episode.start(seed, None if task_id is None else {"task_id": task_id})

    def execute(self, action: Mapping[str, Any], cwd: str = "") -> dict[str, Any]:
        """Run a command, and return its output, its exit status, and why it was not run if it was not.

        Args:
            action: `{"command": ...}`.
            cwd: Folder in which it runs; the repository by default.

        Raises:
            Submitted: The command submitted; the submission is the diff of all changes.
            LimitsExceeded: It was the last step of the budget.
        """
        command = str(action.get("command", ""))
        text = self.episode.act(f"cd {shlex.quote(cwd)} && {command}" if cwd else command)
        if self.episode.terminated:
            raise Submitted(self._exit("Submitted", self._patch()))
        if self.episode.truncated:
            raise LimitsExceeded(self._exit("LimitsExceeded", ""))
        printed = _PRINTED.fullmatch(text)
        if printed is None:
            return {"output": "", "returncode": -1, "exception_info": text}
        code, output, notes = printed.groups()
        return {"output": output or "", "returncode": int(code), "exception_info": notes.strip()}

    def get_template_vars(self, **kwargs: Any) -> dict[str, Any]:
        """Return the configuration and the system for the agent's templates, and no environment variable of the host."""
        return {**self.config.model_dump(), **platform.uname()._asdict(), **kwargs}

    def serialize(self) -> dict[str, Any]:
        """Return the configuration, the task and its outcome for a trajectory."""
        kind = f"{type(self).__module__}.{type(self).__name__}"
        described = {"environment": self.config.model_dump(mode="json"), "environment_type": kind}
        outcome = {"task_id": self.episode.info.get("task_id"), **self.episode.metrics}
        return {"info": {"config": described, "episode": outcome}}

    def close(self) -> None:
        """End the environment."""
        self.episode.close()

    def _patch(self) -> str:
        return cast(SWEGymEnv, self.episode.unwrapped).patch

    @staticmethod
    def _exit(status: str, submission: str) -> dict[str, Any]:
        return {
            "role": "exit",
            "content": submission or status,
            "extra": {"exit_status": status, "submission": submission},
        }
