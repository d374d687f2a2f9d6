import pytest

from textagent_gym.envs.swe.sandbox import Sandbox
from textagent_gym.envs.swe.sandboxes.protection import choose_sandbox


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    return choose_sandbox()
