"""The command line as a user meets it: a real process, typed input, one-line errors."""

import json
import subprocess
import sys

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


def test_card_shows_what_was_asked_and_what_is() -> None:
    done = run("card", "TextWorld-Easy-Dense-v0", "--seed", "0")
    assert done.returncode == 0
    for word in ("requested", "measured", "solution_is_shortest", "native"):
        assert word in done.stdout


def test_a_person_can_win_take_back_and_ask() -> None:
    import gymnasium as gym

    _, info = gym.make("TextWorld-Easy-Dense-v0", expose_solution=True).reset(seed=0)
    first, *rest = info["solution"]
    lines = ["undo", "help", "hint", "", first, "undo", "sing", first, *rest]
    done = run("play", "TextWorld-Easy-Dense-v0", "--seed", "0", typed="\n".join(lines) + "\n")
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
