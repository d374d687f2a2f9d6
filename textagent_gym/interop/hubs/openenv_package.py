"""A package for OpenEnv's hub, the Spaces of the Hugging Face hub: a manifest, a server with a Dockerfile, and a README.

`textagent-gym export openenv` writes it, `openenv push` publishes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from textagent_gym.interop.hubs.package import write_package

_MODELS = '''\
"""{doc}"""

from textagent_gym.interop.openenv import TextAction, TextObservation

__all__ = ["TextAction", "TextObservation"]
'''

_TEMPLATES = {
    "openenv.yaml": """\
spec_version: 1
name: {module}
version: {version}
type: space
runtime: fastapi
app: server.app:app
port: 8000
validation:
  reward:
    range: [-1.0, 1.0]
    oracle_tolerance: 0.0
    floor_margin: 0.1
  resources:
    cpu: 1.0
    memory_mb: 1024
    disk_mb: 512
    episode_timeout_s: 60.0
  capabilities:
    verifier:
      kind: reward_channel
  types:
    tags: [text, agent]
""",
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "openenv-{name}"
version = "{version}"
description = "{env_id} as an OpenEnv environment"
readme = "README.md"
requires-python = ">=3.10"
dependencies = ["openenv>=0.10", "{requirement}"]

[project.scripts]
server = "{module}.server.app:main"

[tool.setuptools]
packages = ["{module}", "{module}.server"]
package-dir = {{ "{module}" = ".", "{module}.server" = "server" }}
""",
    "README.md": """\
---
title: {title}
colorFrom: indigo
colorTo: gray
sdk: docker
pinned: false
app_port: 8000
tags:
- openenv
---

# {title}

`{env_id}` of textagent-gym with the options `{options}`, behind OpenEnv's server.
An action is a text, and so is an observation. `reset` takes a seed, which chooses the task.

```py
from openenv import GenericEnvClient

with GenericEnvClient(base_url="http://127.0.0.1:8000").sync() as client:
    result = client.reset(seed=3)
    result = client.step({{"text": "look"}})
    print(result.observation["text"], result.reward, result.done)
```

Run it here: `pip install . && server`. {wheels}

Publish it: `openenv push --repo-id USER/{name}` in this folder.
""",
    "__init__.py": _MODELS.format(doc="{env_id} as an OpenEnv environment."),
    "models.py": _MODELS.format(doc="Action and observation of the environment."),
    "client.py": '''\
"""The client: any of OpenEnv's speaks to the server."""

from openenv import GenericEnvClient

__all__ = ["GenericEnvClient"]
''',
    "server/__init__.py": '''\
"""The server."""
''',
    "server/app.py": '''\
"""OpenEnv's application for {env_id}: one environment for each WebSocket session."""

import argparse

import uvicorn

from textagent_gym.interop.openenv import make_app

app = make_app("textagent_gym:{env_id}", {options}, max_sessions=8)


def main() -> None:
    """Serve until it is interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    uvicorn.run(app, host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
''',
    "server/Dockerfile": """\
FROM python:3.11-slim
WORKDIR /app/env
COPY . .
RUN pip install --no-cache-dir --find-links wheels .
EXPOSE 8000
CMD ["uvicorn", "server.app:app", "--host", "0.0.0.0", "--port", "8000"]
""",
    "wheels/README.md": """\
Wheels that the package index lacks, for `pip install --find-links wheels`.
""",
}


def export(env_id: str, options: Mapping[str, Any], out: Path, count: int | None = None) -> Iterator[str]:
    """Write a package for OpenEnv as a folder below `out`, and yield its name.

    Raises:
        ValueError: The id is not one of this package, or a number of tasks is given.
        FileExistsError: The folder exists.
    """
    if count is not None:
        raise ValueError(f"expected no count with openenv, whose clients choose the seeds, got {count}")
    yield write_package(_TEMPLATES, env_id, options, out, extra="serve", num_tasks=None)
