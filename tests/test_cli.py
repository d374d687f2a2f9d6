"""The command line as a user meets it: a real process, typed input, one-line errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from textagent_gym.cli import main, shown
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


@pytest.mark.parametrize("env_id", ["TextWorld-Easy-Dense-v0", "ALFWorld-Easy-Dense-v0", "SWEGym-Easy-Dense-v0"])
def test_card_shows_what_was_asked_and_what_is(env_id: str) -> None:
    done = run("card", env_id, "--seed", "0")
    assert done.returncode == 0
    for word in ("requested", "measured", "solution_is_shortest", "bubblewrap" if "SWE" in env_id else "native"):
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
        (("card", "nomodule:Env-v0"), "No module named 'nomodule'"),
        (("card", "Text World"), "Malformed environment ID: Text World"),
        (("prepare",), "expected at least one id, got none"),
        (("prepare", "nomodule:Env-v0"), "No module named 'nomodule'"),
        (
            ("bench", "ALFWorld-Easy-Dense-v0", "--env-kwargs", '{"solution_length": 60, "state_space_size": 2}'),
            "expected a feasible task",
        ),
        (("card", "TextWorld-Huge-Dense-v0"), "TextWorld-Huge-Dense"),
        (("card", "TextWorld-Easy-Dense-v0", "--env-kwargs", "{"), "expected --env-kwargs to be JSON"),
        (("card", "TextWorld-Easy-Dense-v0", "--env-kwargs", "[]"), "expected --env-kwargs to be a JSON object"),
        (("card", "TextWorld-Easy-Dense-v0", "--env-kwargs", '{"solution_length": 99}'), r"in [1, 40], got 99"),
        (("play", "TextWorld-Easy-Dense-v0", "--env-kwargs", '{"nonsense": 1}'), "nonsense"),
        (("card", "SWEGym-Custom-v0"), "tasks=PATH_OR_HUB_ID"),
        (("card", "SWEGym-Custom-v0", "--env-kwargs", '{"tasks": "no.jsonl"}'), "no.jsonl"),
        (("card", "TextWorld-Easy-Dense-v0", "--seed", "-1"), "expected --seed >= 0, got -1"),
        (("card", "CartPole-v1"), "another TextAgentEnv, got CartPole-v1"),
        (("bench", "TextWorld-Easy-Dense-v0", "--steps", "0"), "expected --steps >= 1, got 0"),
        (("overlap", "ALFWorld-Easy-Dense-v0", "--count", "1"), "expected an id of generated TextWorld games"),
        (("prepare", "TextWorld-Easy-Dense-v0", "--workers", "0"), "expected --workers >= 1, got 0"),
        (("prepare", "SWEGym-Easy-Dense-v0"), "--out FILE.jsonl"),
        (("prepare", "SWEGym-Easy-Dense-v0", "--out", "x.csv"), "x.csv"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["textagent-gym", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.startswith("textagent-gym: ")
    assert printed.count("\n") == 1


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
    done = run("prepare", "ALFWorld-Easy-Dense-v0", "--count", "3", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("game.tw-pddl"))) == 3
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    found = run("data", "alfworld", "--ids", "ALFWorld-v0")
    assert "3 games of the split 'train' are ready" in found.stdout
    missing = run("prepare", "ALFWorld-v0", "--split", "valid_seen")
    assert missing.returncode == 2
    assert f"expected ALFWorld's games in {tmp_path}/json_2.1.1/valid_seen" in missing.stderr
    assert "alfworld-download" in missing.stderr
    assert missing.stderr.count("\n") == 1


def test_a_person_can_repair_with_words_and_look_at_the_diff() -> None:
    import gymnasium as gym

    _, info = gym.make("SWEGym-Easy-Dense-v0", expose_solution=True).reset(seed=0)
    edits = [action for action in info["solution"] if '"edit"' in action]
    lines = ["issue", "files", "diff", "view README.md 1 3", edits[0], "diff", "undo", *edits, "submit"]
    done = run("play", "SWEGym-Easy-Dense-v0", "--seed", "0", typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    for words in ("bugs were put into", "Nothing was changed yet.", "README.md, lines 1 to 3", "diff --git a/src/"):
        assert words in done.stdout
    assert "solved after 4 steps, return 1.000" in done.stdout


def test_data_makes_repairs_that_can_be_played_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    import gymnasium as gym

    from textagent_gym.agents import ExpertAgent
    from textagent_gym.testing import play

    out = tmp_path / "tasks.jsonl"
    for count in ("1", "2"):
        made = run("prepare", "SWEGym-Easy-Dense-v0", "--count", count, "--out", str(out), "--workers", "1")
        assert made.returncode == 0, made.stderr
        assert len(out.read_text().splitlines()) == int(count)
    env = gym.make("SWEGym-Custom-v0", tasks=str(out), expose_solution=True)
    seen = play(env, ExpertAgent(), seed=0)
    assert seen[-1][4]["success"]
    assert sum(step[1] for step in seen) == pytest.approx(1)


def test_bench_times_a_repair_beside_a_plain_subprocess() -> None:
    done = run("bench", "SWEGym-Easy-Dense-v0", "--against", "subprocess", "--steps", "3", "--tasks", "1", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["results"]
    assert all(
        row[f"{name}_ms"] > 0
        for name in ("first_reset", "reset", "shell", "subprocess", "graded", "tests", "pytest", "again")
    )


def test_control_characters_of_a_world_do_not_reach_the_terminal() -> None:
    text = "plain\n\ttab \x1b]0;title\x07 \x1b[2J\x9b31m [red]\u202e"
    assert shown(text) == "plain\n\ttab \\x1b]0;title\\x07 \\x1b[2J\\x9b31m \\[red]\\x202e"
