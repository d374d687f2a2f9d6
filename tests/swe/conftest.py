import pytest

from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    return choose_sandbox()
