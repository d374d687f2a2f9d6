"""Export of repair tasks as task folders of Harbor: see `textagent_gym.envs.swe.sources.harbor` for the format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import gymnasium as gym

from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.swe.grading.grader import time_limit
from textagent_gym.envs.swe.grading.runners import harbor_grade
from textagent_gym.envs.swe.repo.tree import STEERING, write_tree
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sources.formats import to_row
from textagent_gym.envs.swe.sources.harbor import CONFIG, INSTRUCTION_END, PLACES, TESTS, digest_of
from textagent_gym.envs.swe.tasks import PreparedTask, prepare_task
from textagent_gym.envs.swe.types import TaskInstance

AGENT_SECONDS = 1_800.0
"""Time limit of an agent in `task.toml`, in seconds."""

_DOCKERFILE = """\
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir {requirements}
COPY repository /app
WORKDIR /app
ENV PYTHONPATH=/app/src:/app:/app/lib PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
RUN git init -q && git add -A -f && git -c user.name=task -c user.email=task@localhost commit -qm start
"""

_TEST = """\
#!/bin/bash
export PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
unset PYTHONPATH
cd "$(dirname "$0")" && python3 -s grade.py
"""

_SOLVE = """\
#!/bin/bash
patch="$(cd "$(dirname "$0")" && pwd)/gold.patch"
cd "${TASK_REPOSITORY:-/app}" && git apply --whitespace=nowarn "$patch"
"""


def export(env_id: str, options: dict[str, Any], out: Path, count: int | None) -> Iterator[str]:
    """Write the tasks of an environment as folders below `out`, and yield the name of each.

    Args:
        env_id: An id of SWEGym.
        options: Constructor options.
        out: Folder of the task folders.
        count: The first of its tasks; None for all.

    Raises:
        ValueError: A task lives in a container image, or is not sound.
        FileExistsError: A task's folder exists.
        OSError: A project cannot be fetched.
    """
    env = cast(SWEGymEnv, gym.make(env_id, **options).unwrapped)
    for name in (env.task_ids or ())[:count]:
        instance, sandbox = env.instance_of(name)
        write_task(instance, sandbox, out)
        yield name
    env.close()


def write_task(instance: TaskInstance, sandbox: Sandbox, out: Path) -> Path:
    """Write one task as a folder below `out` that is named after it, and return the folder; it is whole or not there.

    Raises:
        ValueError: The task lives in a container image, its name cannot be a folder's, or it is not sound.
        FileExistsError: The folder exists.
    """
    name = instance.instance_id
    if instance.image or (instance.sdist is None and instance.origin != "bundled"):
        raise ValueError(f"expected a task that starts from an archive, got {name}, which lives in a container image")
    if not re.fullmatch(r"(?!\.)[\w.+-]{1,200}", name):
        raise ValueError(f"expected a name that can be a folder's, got {name!r}")
    if (out / name).exists():
        raise FileExistsError(f"expected a folder that does not exist yet, got {out / name}")
    prepared = prepare_task(instance, sandbox)
    partial = out / f".{name}.partial"
    for folder in ("environment/repository", "tests/files", "solution"):
        (partial / folder).mkdir(parents=True)
    write_tree(prepared.visible, partial / "environment" / "repository")
    write_tree(prepared.test_spec.tests, partial / "tests" / "files")
    for place, text in _files(prepared).items():
        (partial / place).write_bytes(text.encode("utf-8", "surrogateescape"))
    for script in ("tests/test.sh", "solution/solve.sh"):
        (partial / script).chmod(0o755)
    (partial / CONFIG).write_text(_config(instance, digest_of(partial)), encoding="utf-8")
    partial.rename(out / name)
    return out / name


def _files(prepared: PreparedTask) -> dict[str, str]:
    """Return place -> text of the files that are not the repository's."""
    instance, spec = prepared.instance, prepared.test_spec
    requirements = " ".join([f"pytest=={version('pytest')}", *(one.partition(" ")[0] for one in spec.requirements)])
    tests = {
        "FAIL_TO_PASS": list(instance.FAIL_TO_PASS),
        "PASS_TO_PASS": list(instance.PASS_TO_PASS),
        "steering": sorted(STEERING),
    }
    files = {
        "instruction.md": instance.problem_statement + INSTRUCTION_END,
        "environment/Dockerfile": _DOCKERFILE.format(requirements=requirements),
        "tests/test.sh": _TEST,
        "tests/grade.py": Path(harbor_grade.__file__).read_text(encoding="utf-8"),
        "tests/tests.json": json.dumps(tests, indent=1) + "\n",
        "solution/solve.sh": _SOLVE,
        "solution/gold.patch": instance.patch,
    }
    return {**files, **({PLACES["test_patch"]: instance.test_patch} if instance.test_patch else {})}


def _config(instance: TaskInstance, digest: str) -> str:
    """Return the text of `task.toml`."""
    row = {name: value for name, value in to_row(instance).items() if name not in (*TESTS, *PLACES)}
    return f"""\
version = "1.0"

[metadata]
category = "software repair"
tags = ["python", "repair"]

[metadata.textagent_gym]
version = {_toml(version("textagent-gym"))}
digest = {_toml(digest)}
instance = {_toml(json.dumps(row))}

[verifier]
timeout_sec = {max(120.0, time_limit(instance.seconds or 12.0))}

[agent]
timeout_sec = {AGENT_SECONDS}

[environment]
build_timeout_sec = 600.0
cpus = 1
memory_mb = 2048
storage_mb = 10240
"""


def _toml(text: str) -> str:
    """Return a text of ASCII as a string of TOML, whose escapes are those of JSON."""
    return json.dumps(text).replace("\x7f", "\\u007f")
