import pytest
from textagent_gym.envs.swe.protection import choose_sandbox

from textagent_gym.envs.swe.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    return choose_sandbox()
