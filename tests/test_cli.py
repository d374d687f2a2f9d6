"""The command line as a user meets it: a real process, typed input, one-line errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from textagent_gym.registration import environment_specs


def run(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    code = "from textagent_gym.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


def test_list_names_every_id() -> None:
    done = run("list")
    assert done.returncode == 0
    assert all(env_id in done.stdout for env_id in environment_specs())


@pytest.mark.parametrize("env_id", ["TextWorld-Easy-Dense-v0", "ALFWorld-Easy-Dense-v0"])
def test_card_shows_what_was_asked_and_what_is(env_id: str) -> None:
    done = run("card", env_id, "--seed", "0")
    assert done.returncode == 0
    for word in ("requested", "measured", "solution_is_shortest", "native"):
        assert word in done.stdout


@pytest.mark.parametrize("env_id", ["TextWorld-Easy-Dense-v0", "ALFWorld-Easy-Dense-v0"])
def test_a_person_can_win_take_back_and_ask(env_id: str) -> None:
    import gymnasium as gym

    _, info = gym.make(env_id, expose_solution=True).reset(seed=0)
    first, *rest = info["solution"]
    lines = ["undo", "help", "hint", "", first, "undo", "sing", first, *rest]
    done = run("play", env_id, "--seed", "0", typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    assert "There is nothing to take back." in done.stdout
    assert first in done.stdout
    assert "step 2/12   sub-goals 1/4   return 0.250" in done.stdout
    assert "solved after 5 steps, return 1.000" in done.stdout


@pytest.mark.parametrize("typed", ["", "quit\n"])
def test_play_ends_where_the_input_ends(typed: str) -> None:
    assert run("play", "TextWorld-Easy-Dense-v0", typed=typed).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("card", "TextWorld-Huge-Dense-v0"), "TextWorld-Huge-Dense"),
        (("card", "TextWorld-Easy-Dense-v0", "--env-kwargs", "{"), "expected --env-kwargs to be JSON"),
        (("card", "TextWorld-Easy-Dense-v0", "--env-kwargs", "[]"), "expected --env-kwargs to be a JSON object"),
        (("card", "TextWorld-Easy-Dense-v0", "--env-kwargs", '{"solution_length": 99}'), r"in [1, 40], got 99"),
        (("play", "TextWorld-Easy-Dense-v0", "--env-kwargs", '{"nonsense": 1}'), "nonsense"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("textagent-gym: ")
    assert done.stderr.count("\n") == 1


def test_bench_measures_and_prints_json() -> None:
    done = run("bench", "TextWorld-Easy-Dense-v0", "--steps", "30", "--tasks", "2", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    (row,) = printed["results"]
    assert row["env_id"] == "TextWorld-Easy-Dense-v0"
    assert all(row[key] > 0 for key in ("steps_per_s", "step_ms", "first_reset_ms", "reset_ms", "memory_mb"))


def test_bench_compares_with_alfworld_itself() -> None:
    done = run("bench", "ALFWorld-Easy-Dense-v0", "--steps", "5", "--against", "alfworld", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["results"]
    assert row["ratio"] == pytest.approx(row["steps_per_s"] / row["reference_steps_per_s"])
    assert row["reset_ratio"] == pytest.approx(row["reference_reset_ms"] / row["reset_ms"])


def test_data_writes_games_that_the_real_games_id_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("data", "alfworld", "--ids", "ALFWorld-Easy-Dense-v0", "--count", "3", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("game.tw-pddl"))) == 3
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    found = run("data", "alfworld", "--ids", "ALFWorld-v0")
    assert "3 games of the split 'train' are ready" in found.stdout
    missing = run("data", "alfworld", "--ids", "ALFWorld-v0", "--split", "valid_seen")
    assert missing.returncode == 2
    assert f"expected ALFWorld's games in {tmp_path}/json_2.1.1/valid_seen" in missing.stderr
    assert "alfworld-download" in missing.stderr
    assert missing.stderr.count("\n") == 1
