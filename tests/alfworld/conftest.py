"""Real games, where there are any: `ALFWORLD_DATA` names the folder that holds json_2.1.1."""

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    named = os.environ.get("ALFWORLD_DATA")
    if not named:
        pytest.skip("ALFWORLD_DATA does not name a folder with ALFWorld's games")
    return Path(named)


@pytest.fixture(scope="session")
def real_game(real_data: Path) -> dict[str, Any]:
    first = min((real_data / "json_2.1.1" / "valid_seen").glob("*/*/game.tw-pddl"))
    game: dict[str, Any] = json.loads(first.read_bytes())
    return game
