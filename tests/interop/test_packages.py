"""Packages for hubs: they build offline, OpenEnv's validator and client accept one, verifiers loads the other."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

import textagent_gym
from tests.support.toy_text_env import TOY
from textagent_gym.interop.hubs.openenv_package import export as export_openenv
from textagent_gym.interop.hubs.verifiers_package import export as export_verifiers

ENV_ID, MODULE = "TextWorld-Easy-Dense-v0", "textworld_easy_dense_v0"
OPTIONS = {"split": "test", "max_steps": 9}
ROOT = Path(__file__).parents[2]
HAS = {name: importlib.util.find_spec(name) is not None for name in ("openenv", "verifiers")}


@pytest.fixture
def openenv_package(tmp_path: Path) -> Path:
    assert list(export_openenv(f"textagent_gym:{ENV_ID}", OPTIONS, tmp_path)) == [MODULE]
    return tmp_path / MODULE


@pytest.fixture
def verifiers_package(tmp_path: Path) -> Path:
    assert list(export_verifiers(ENV_ID, OPTIONS, tmp_path, 5)) == [MODULE]
    return tmp_path / MODULE


def built(package: Path, out: Path) -> list[str]:
    """Build a wheel without a network and return its files."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", str(out), str(package)], check=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        requires = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
        assert f"textagent-gym{'[serve]' if 'openenv' in wheel.name else ''}>={textagent_gym.__version__}" in requires
        return archive.namelist()


def test_a_package_for_openenv_builds_offline(openenv_package: Path, tmp_path: Path) -> None:
    names = built(openenv_package, tmp_path / "wheels")
    assert {f"{MODULE}/__init__.py", f"{MODULE}/server/app.py"} <= set(names)
    manifest = (openenv_package / "openenv.yaml").read_text()
    assert f"name: {MODULE}\nversion: {textagent_gym.__version__}\ntype: space\n" in manifest
    assert f'make_app("textagent_gym:{ENV_ID}", {OPTIONS!r}' in (openenv_package / "server" / "app.py").read_text()
    for path in openenv_package.rglob("*.py"):
        ast.parse(path.read_text())


def test_a_package_for_verifiers_builds_offline(verifiers_package: Path, tmp_path: Path) -> None:
    assert f"{MODULE}/__init__.py" in built(verifiers_package, tmp_path / "wheels")
    assert "| `num_tasks` | 5 | tasks |" in (verifiers_package / "README.md").read_text()
    assert "USER" not in (verifiers_package / MODULE / "__init__.py").read_text()


def test_tasks_of_repositories_bring_their_extra(tmp_path: Path) -> None:
    (name,) = export_openenv("SWEGym-Easy-Dense-v0", {}, tmp_path)
    assert '"textagent-gym[serve,swe]>=' in (tmp_path / name / "pyproject.toml").read_text()


def test_what_a_hub_cannot_install_is_refused(openenv_package: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="expected a folder that does not exist yet"):
        next(export_openenv(ENV_ID, {}, tmp_path))
    with pytest.raises(ValueError, match="expected no count with openenv, whose clients choose the seeds, got 3"):
        next(export_openenv(ENV_ID, {}, tmp_path, 3))
    with pytest.raises(ValueError, match="expected an id of "):
        next(export_verifiers(TOY, {}, tmp_path))


@contextlib.contextmanager
def serving(package: Path) -> Iterator[str]:
    """Yield the address of the package's own server, in a separate process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", "-m", "server.app", "--port", str(port)]
    server = subprocess.Popen(command, cwd=package, env={**os.environ, "PYTHONPATH": paths})
    try:
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None and time.monotonic() < deadline
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.skipif(not HAS["openenv"], reason="needs openenv")
def test_openenv_accepts_and_plays_its_package(openenv_package: Path) -> None:
    from openenv import GenericEnvClient

    command = [sys.executable, "-m", "openenv.cli", "validate", ".", "--level", "static"]
    done = subprocess.run(command, cwd=openenv_package, capture_output=True, text=True)
    assert "PASS  static.manifest" in done.stdout and done.returncode == 0, done.stdout
    env = gym.make(ENV_ID, **OPTIONS, expose_solution=True)
    observation, info = env.reset(seed=3)
    with serving(openenv_package) as address, GenericEnvClient(base_url=address).sync() as client:
        assert client.reset(seed=3).observation["text"] == observation
        for command in info["solution"]:
            result, played = client.step({"text": command}), env.step(command)
            assert (result.observation["text"], result.reward, result.done) == (played[0], played[1], played[2])
        assert result.done


@pytest.mark.skipif(not HAS["verifiers"], reason="needs verifiers")
@pytest.mark.filterwarnings("ignore")
def test_verifiers_loads_its_package(verifiers_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import verifiers.v1 as vf

    monkeypatch.syspath_prepend(verifiers_package)
    config = {"taskset": {"id": MODULE}}
    env = vf.load_environment(vf.resolve_env_config(config))
    assert type(env).__name__ == "GymEnv" and env.taskset.bounded
    tasks = [task.data for task in env.taskset]
    assert [data.seed for data in tasks] == [0, 1, 2, 3, 4]
    assert tasks[0].env_id == f"textagent_gym:{ENV_ID}" and tasks[0].env_kwargs == OPTIONS
    env = vf.load_environment(vf.resolve_env_config({"taskset": {"id": MODULE, "num_tasks": 2, "first_seed": 7}}))
    assert [task.data.seed for task in env.taskset] == [7, 8]
