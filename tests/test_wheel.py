"""The built wheel in clean virtual environments: the contract without extras, and one trajectory on every Python."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHONS = [f"python3.{minor}" for minor in (10, 11, 12, 13)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_the_wheel_keeps_the_contract_and_the_golden_trajectories(python: str, wheel: Path, tmp_path: Path) -> None:
    found = shutil.which(python)
    if found is None or subprocess.run([found, "--version"], check=False, capture_output=True).returncode:
        pytest.skip(f"{python} is not on this machine")
    subprocess.run([found, "-m", "venv", str(tmp_path / "venv")], check=True)
    interpreter = tmp_path / "venv" / "bin" / "python"
    subprocess.run([interpreter, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "TEXTAGENT_GYM_CACHE": str(tmp_path / "cache")}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [interpreter, *arguments], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    assert json.loads(run("-m", "tests.golden")) == json.loads((ROOT / "tests" / "golden.json").read_text())
    run("-W", "error", "-c", "from textagent_gym.testing import check_text_env as c; import textagent_gym; "
        "c('TextWorld-Easy-Dense-v0')")  # fmt: skip
