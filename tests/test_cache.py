"""Every domain is played where the cache folder cannot be written or read."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import pytest

import textagent_gym  # noqa: F401
from textagent_gym import cache
from textagent_gym.envs.alfworld.tasks import make_task as make_alfworld_task
from textagent_gym.envs.swe import tasks as swe_tasks
from textagent_gym.envs.swe.grading import grader
from textagent_gym.envs.swe.grading.runtime import runtime_folder
from textagent_gym.envs.textworld.tasks import make_task as make_textworld_task

IDS = {
    "TextWorld-Easy-Dense-v0": {},
    "ALFWorld-Easy-Dense-v0": {},
    "SWEGym-Easy-Dense-v0": {"interface": "choice"},
}


@pytest.fixture(params=["a file", "below a file", "no folder can be made"])
def no_cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "file").write_text("not a folder")
    place = {"a file": "file", "below a file": "file/cache", "no folder can be made": "/proc/none/cache"}[request.param]
    folder = tmp_path / place
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(folder))
    for function in (make_textworld_task, make_alfworld_task, runtime_folder):
        function.cache_clear()
    cache._temporary_folder.cache_clear()
    swe_tasks.forget()
    grader.forget(read_cache=True)
    return folder


@pytest.mark.parametrize("env_id", IDS)
def test_play_goes_on_without_a_cache(env_id: str, no_cache: Path) -> None:
    if env_id.startswith("SWE") and no_cache.name == "file":
        pytest.skip("one place that cannot be written will do for a domain that runs tests")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = gym.make(env_id, expose_solution=True, disable_env_checker=True, **IDS[env_id])
        _, info = env.reset(seed=0)
        for action in info["solution"]:
            *_, info = env.step(action)
    assert info["success"]
    said = {str(warning.message) for warning in caught}
    if env_id.startswith("ALFWorld"):
        return
    assert any("cannot be written" in text and "TEXTAGENT_GYM_CACHE names another folder" in text for text in said)
    assert not no_cache.is_dir()
    runtime_folder.cache_clear()  # the next test has a cache again


def test_what_was_kept_elsewhere_is_found_again_and_removed_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = (
        "import pathlib, warnings\nwarnings.simplefilter('ignore')\nfrom textagent_gym import cache\n"
        "path = cache.cache_folder() / 'a' / 'b.bin'\nassert cache.read(path) is None\n"
        "kept = cache.keep(path, b'x')\nassert cache.read(path) == b'x' and cache.find(path) == kept\nprint(kept)\n"
    )
    environment = {**os.environ, cache.CACHE_VARIABLE: str(tmp_path / "file")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    kept = Path(done.stdout.strip())
    assert kept.name == "b.bin"
    assert not kept.parent.exists()


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    path = cache.keep(tmp_path / "folder" / "file.json", b'{"a": 1}')
    assert cache.read_json(path) == {"a": 1}
    for damaged in (b"", b'{"a"', b"\xff"):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"file\.json in the cache is damaged .* made again"):
            assert cache.read_json(path) is None
    assert cache.read_json(tmp_path / "none.json") is None
