"""A package for Prime Intellect's hub: a module with a taskset and an environment of `verifiers.v1`, and a README.

`textagent-gym export verifiers` writes it, `prime env push` publishes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from textagent_gym.interop.hubs.package import write_package

NUM_TASKS = 1_000
"""Tasks of a package, unless their number is given."""

_TEMPLATES = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "{version}"
description = "{env_id} of textagent-gym for verifiers"
readme = "README.md"
requires-python = ">=3.11"
keywords = ["text environment", "train", "eval"]
dependencies = ["verifiers>=0.4", "{requirement}"]

[tool.setuptools]
packages = ["{module}"]
""",
    "README.md": """\
# {title}

`{env_id}` of textagent-gym with the options `{options}`, as a taskset and an environment of `verifiers.v1`.
The task with index i is that of the seed `first_seed + i`. The environment speaks as the user, the model's reply is the
action, and the reward is the return of the episode.

| option of `env.taskset` | default | |
| --- | --- | --- |
| `num_tasks` | {num_tasks} | tasks |
| `first_seed` | 0 | seed of the first |
| `env_kwargs` | `{options}` | constructor options |
| `instructions` | none | a system prompt |

Run it here: `pip install . && vf-eval {name} -n 3`. {wheels}

Publish it: `prime env push` in this folder.
""",
    "{module}/__init__.py": '''\
"""{env_id} of textagent-gym for verifiers: a taskset and an environment."""

from typing import Any

import verifiers.v1 as vf

from textagent_gym.interop.verifiers import GymEnv, GymTask, GymTaskset, GymTasksetConfig


class Config(GymTasksetConfig):
    """Choice of the tasks."""

    env_id: str = "textagent_gym:{env_id}"
    env_kwargs: dict[str, Any] = {options}
    num_tasks: int | None = {num_tasks}


class Tasks(GymTaskset, vf.Taskset[GymTask, Config]):
    """One task per seed."""


__all__ = ["GymEnv", "Tasks"]
''',
}


def export(env_id: str, options: Mapping[str, Any], out: Path, count: int | None = None) -> Iterator[str]:
    """Write a package for verifiers, with `count` tasks, as a folder below `out`, and yield its name.

    Raises:
        ValueError: The id is not one of this package.
        FileExistsError: The folder exists.
    """
    yield write_package(_TEMPLATES, env_id, options, out, extra="", num_tasks=count or NUM_TASKS)
