"""Task specifications, the cache, the split, and what happens to requests that cannot be met."""

import gzip
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym import cache as data
from textagent_gym.envs.textworld import tasks
from textagent_gym.envs.textworld.reference import Inform7Engine, compiled
from textagent_gym.envs.textworld.tasks import find_task, make_task, quest_shape
from textagent_gym.envs.textworld.types import TaskSpec

EASY = TaskSpec(num_rooms=3, num_objects=4, solution_length=4, seed=1)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder of the test's own, and no memory of other ones."""
    monkeypatch.setenv(data.CACHE_VARIABLE, str(tmp_path))
    make_task.cache_clear()
    yield tmp_path
    make_task.cache_clear()


specs = st.one_of(
    st.builds(
        TaskSpec,
        num_rooms=st.integers(1, 30),
        num_objects=st.integers(1, 60),
        solution_length=st.integers(1, 40),
        exact=st.booleans(),
        instructions=st.sampled_from(["steps", "goal", "none"]),
        split=st.sampled_from(["train", "test"]),
        seed=st.integers(0, 2**31 - 1),
    ),
    st.builds(
        TaskSpec,
        challenge=st.just("simple"),
        rewards=st.sampled_from(["sparse", "balanced", "dense"]),
        instructions=st.sampled_from(["steps", "goal", "none"]),
        split=st.sampled_from(["train", "test"]),
        seed=st.integers(0, 2**31 - 1),
    ),
)


@given(specs)
def test_a_recipe_is_read_back_from_its_name(spec: TaskSpec) -> None:
    assert TaskSpec.parse(spec.name) == spec


@given(st.text(max_size=60))
def test_no_other_text_names_a_task(text: str) -> None:
    spec = TaskSpec.parse(text)
    assert spec is None or spec.name == text


@pytest.mark.parametrize("name", ["w2-o3-q4-exact-steps-train-2147483648", "w02-o3-q4-exact-steps-train-1", "../x", ""])
def test_odd_names_are_refused(name: str) -> None:
    assert TaskSpec.parse(name) is None
    with pytest.raises(ValueError, match="expected a task_id such as"):
        find_task(f"{name}.0123456789ab")


def test_a_task_is_found_by_its_id_and_only_by_the_right_one(empty_cache: Path) -> None:
    task = make_task(EASY)
    make_task.cache_clear()
    assert find_task(task.task_id).solution == task.solution
    with pytest.raises(ValueError, match="from this version of the generator"):
        find_task(task.task_id[:-1] + ("0" if task.task_id[-1] != "0" else "1"))


def test_measured_is_requested_and_the_search_closed() -> None:
    for size in ((3, 4, 4), (6, 8, 8), (4, 7, 6)):
        for seed in range(3):
            spec = TaskSpec(num_rooms=size[0], num_objects=size[1], solution_length=size[2], seed=seed)
            task = make_task(spec)
            assert tuple(task.measured.values()) == size
            assert task.solution_is_shortest
            assert tasks.split_of(task.whole_game) == "train"


def test_extreme_needs_thirty_steps_and_the_search_proves_it() -> None:
    task = make_task(TaskSpec(num_rooms=12, num_objects=24, solution_length=30, instructions="goal", seed=5))
    assert task.measured == {"state_space_size": 12, "action_space_size": 24, "solution_length": 30}
    assert task.solution_is_shortest
    assert task.details["num_quests"] == 3


def test_splits_are_disjoint_in_structure() -> None:
    structures = {
        split: {
            make_task(
                TaskSpec(num_rooms=2, num_objects=3, solution_length=4, exact=False, split=split, seed=seed)
            ).details["structure"]
            for seed in range(12)
        }
        for split in ("train", "test")
    }
    assert not structures["train"] & structures["test"]


@pytest.mark.parametrize("damage", ["cut", "text", "foreign", "empty"])
def test_a_damaged_game_file_is_made_again(empty_cache: Path, damage: str) -> None:
    task = make_task(EASY)
    path = Path(task.game_file)
    whole = path.read_bytes()
    content = json.loads(gzip.decompress(whole))
    content["objective"] = "Eat the sofa."
    other = gzip.compress(json.dumps(content).encode())
    path.write_bytes({"cut": whole[:-40], "text": other, "foreign": gzip.compress(b"[1]"), "empty": b""}[damage])
    make_task.cache_clear()
    assert make_task(EASY).task_id == task.task_id
    assert path.read_bytes() == whole


@pytest.mark.parametrize("cut", [100_000, 1])
def test_a_damaged_story_file_is_compiled_again(empty_cache: Path, cut: int) -> None:
    story = compiled(make_task(EASY))
    whole = story.read_bytes()
    story.write_bytes(whole[:-cut])
    assert compiled(make_task(EASY)) == story
    assert len(story.read_bytes()) == len(whole)


def test_nothing_half_written_is_left_or_trusted(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: str, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(data.os, "replace", killed)
        data.write_atomic(empty_cache / "file", b"content")
    assert not list(empty_cache.glob("*writing*"))
    assert not (empty_cache / "file").exists()


def test_processes_may_make_the_same_game_at_once(empty_cache: Path) -> None:
    code = (
        "from textagent_gym.envs.textworld.tasks import *; from textagent_gym.envs.textworld.reference import compiled;"
        f"task = make_task({EASY!r}); compiled(task); print(task.task_id)"
    )

    def run(_: int) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(2) as pool:
        names = set(pool.map(run, range(2)))
    assert names == {make_task(EASY).task_id + "\n"}
    assert sorted(path.suffix for path in empty_cache.rglob("*.*")) == [".gz", ".gz", ".json", ".z8"]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(data.CACHE_VARIABLE, str(tmp_path / "file"))
    make_task.cache_clear()
    with pytest.warns(UserWarning, match="playing without a cache; TEXTAGENT_GYM_CACHE names another folder"):
        task = make_task(EASY)
    assert Path(task.game_file).exists()
    assert not Path(task.game_file).is_relative_to(tmp_path)
    make_task.cache_clear()


def test_a_full_disk_is_done_without(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = data.write_atomic

    def full(path: Path, content: bytes) -> None:
        if path.suffix == ".z8" and path.is_relative_to(empty_cache):
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(data, "write_atomic", full)
    task = make_task(EASY)
    with pytest.warns(UserWarning, match="No space left on device"):
        engine = Inform7Engine()
        engine.load(task)
    assert engine.reset().admissible
    engine.close()


def test_an_infeasible_request_names_what_is_feasible() -> None:
    with pytest.raises(
        ValueError, match=r"expected a feasible combination.*state_space_size=1.*action_space_size \d+ to"
    ):
        tasks.generate(TaskSpec(num_rooms=1, num_objects=1, solution_length=9))


def test_quest_shapes_are_long_enough() -> None:
    assert quest_shape(12) == (1, 12)
    for length in range(13, 41):
        quests, each = quest_shape(length)
        assert quests * each >= length + quests
