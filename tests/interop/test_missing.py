"""Every adapter for trainers of language models says how to install what it lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ADAPTERS = {
    "trl": ("trl", "pip install 'trl>=1.8'"),
    "verl": ("verl", "pip install 'verl>=0.9.1'"),
    "skyrl": ("skyrl_gym", "pip install 'skyrl-gym>=0.4'"),
    "verifiers": ("verifiers", "pip install 'verifiers>=0.4'"),
    "mini_swe": ("minisweagent", "pip install 'mini-swe-agent>=2'"),
    "openenv": ("openenv", "pip install 'textagent-gym[serve]'"),
    "serve": ("openenv", "pip install 'textagent-gym[serve]'"),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_missing_library_is_named_with_the_command_that_brings_it(adapter: str) -> None:
    library, command = ADAPTERS[adapter]
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from gymnasium.error import DependencyNotInstalled\n"
        f"try:\n    import textagent_gym.interop.{adapter}\n"
        "except DependencyNotInstalled as error:\n    print(error)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("expected ") and command in done.stdout
