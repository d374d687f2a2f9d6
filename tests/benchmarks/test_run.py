"""Runs: what is played is kept, whatever happens, and started again they go on where they stopped."""

from __future__ import annotations

import json
import lzma
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from baselines.errors import BaselinesError, ConfigError
from benchmarks.leaderboard.submit import submit
from benchmarks.leaderboard.table import make_table
from benchmarks.runs.records import (
    EPISODES,
    SESSIONS,
    TRAJECTORIES,
    UNPLAYED,
    RecordError,
    read_config,
    read_trajectories,
)
from benchmarks.runs.run import MAX_FAILURES, Config, RunSummary, git_revision, provenance, run, summary
from benchmarks.runs.run_folder import RunFolder
from benchmarks.runs.verify import verify
from benchmarks.suites.suite import Presentation, SuiteError, load_suite

ROOT = Path(__file__).parents[2]
PLAYERS = "python:tests.support.benchmark_players:"


def play(out: Path, agent: str = "random", **options: Any) -> RunSummary:
    return run(Config(suite="smoke-v0", agent=agent, out=out, **{"seeds": 2, **options}))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / EPISODES).read_text().splitlines()]


def answer(folder: Path) -> list[dict[str, Any]]:
    """Return the played episodes without times and without their order."""
    played = [episode.trajectory() for episode in read_trajectories(folder, most=100)]
    for line in played:
        del line["seconds"], line["session"]
    return sorted(played, key=lambda line: (line["run"], line["cell"], line["task"]))


def test_a_run_is_whole_verified_and_a_table(tmp_path: Path) -> None:
    outcome = play(tmp_path)
    assert (outcome.played, outcome.num_episodes) == (20, 20)
    found = lines(tmp_path)
    assert len(found) == 20
    for line in found:
        assert type(line["success"]) is bool
        assert type(line["return"]) is float
        assert line["task_id"]
        assert line["seed"] >= 10_000_000
    verified = verify(tmp_path)
    table = make_table(verified.config, verified.played)
    assert table.column("success").shape == (2, 10)
    assert table.column("success").mean() == outcome.successes / 20
    assert table.strata == ["TextWorld-w2-o3-q4-Dense-v0"] * 5 + ["ALFWorld-Easy-Dense-v0"] * 5
    session = json.loads((tmp_path / SESSIONS).read_text())
    assert session["packages"]["gymnasium"]


def test_the_expert_solves_everything_in_every_presentation(tmp_path: Path) -> None:
    hidden = Presentation(show_list=False)
    numbers = Presentation(by_number=True, preamble=False, history=2)
    for number, presentation in enumerate((Presentation(), numbers, hidden)):
        folder = tmp_path / str(number)
        outcome = play(folder, "expert", seeds=1, presentation=presentation)
        assert outcome.successes == 10
        suite = load_suite("smoke-v0")
        assert [line["steps"] for line in lines(folder)] == [t.reference_steps for c in suite.cells for t in c.tasks]
        shown = "Admissible commands:" in answer(folder)[0]["turns"][0]["observation"]
        assert shown == (presentation == Presentation())
        verify(folder)


def test_runs_differ_and_the_same_run_does_not(tmp_path: Path) -> None:
    play(tmp_path / "a")
    play(tmp_path / "b", workers=2)
    assert answer(tmp_path / "a") == answer(tmp_path / "b")
    first, second = answer(tmp_path / "a")[:10], answer(tmp_path / "a")[10:]
    assert [line["turns"] for line in first] != [line["turns"] for line in second]


@pytest.mark.parametrize("torn", [1, 60])
def test_a_torn_last_line_is_cut_off_and_played_again(tmp_path: Path, torn: int) -> None:
    play(tmp_path / "whole")
    play(tmp_path / "torn", limit=None)
    trajectories = tmp_path / "torn" / TRAJECTORIES
    os.truncate(trajectories, trajectories.stat().st_size - torn)
    with (tmp_path / "torn" / EPISODES).open("a") as stream:
        stream.write('{"half a li')
    outcome = play(tmp_path / "torn")
    assert (outcome.played, outcome.now) == (20, 1)
    assert answer(tmp_path / "torn") == answer(tmp_path / "whole")
    assert len((tmp_path / "torn" / SESSIONS).read_text().splitlines()) == 2
    verify(tmp_path / "torn")


def test_lines_that_the_summary_lacks_are_made_from_the_trajectories(tmp_path: Path) -> None:
    play(tmp_path)
    before = (tmp_path / EPISODES).read_text()
    (tmp_path / EPISODES).write_text("")
    assert play(tmp_path).now == 0
    assert (tmp_path / EPISODES).read_text() == before


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "run", "--suite", "smoke-v0", "--agent", "random", "--seeds", "40"]
    process = subprocess.Popen([*command, "--out", str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not ((tmp_path / EPISODES).exists() and len(lines(tmp_path)) > 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = len(lines(tmp_path))
    assert 3 < left < 400, "expected the run to be killed in its middle"
    outcome = play(tmp_path, seeds=40)
    assert outcome.played == 400
    assert outcome.now >= 400 - left - 1
    verify(tmp_path)


def test_a_run_notes_the_commit_of_the_checkout_and_of_no_other_folder(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("these files are no checkout")
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert provenance()["revision"].rstrip("+") == git_revision(ROOT).rstrip("+") == head.stdout.strip()
    assert git_revision(ROOT / "benchmarks") == git_revision(tmp_path) == ""


def test_a_folder_of_another_run_or_of_something_else_is_refused(tmp_path: Path) -> None:
    play(tmp_path / "run", limit=1)
    with pytest.raises(RecordError, match="same options, got limit=1 there, 2 asked"):
        play(tmp_path / "run", limit=2)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.tex").write_text("precious")
    with pytest.raises(RecordError, match="other files in it"):
        play(tmp_path / "else")
    assert (tmp_path / "else" / "thesis.tex").read_text() == "precious"


def test_agents_get_what_the_track_grants_and_no_more(tmp_path: Path) -> None:
    play(tmp_path / "last", PLAYERS + "Last", track="listed", seeds=1)
    play(tmp_path / "blind", PLAYERS + "Blind", track="open", seeds=1, agent_kwargs={"word": "wait"})
    assert {turn["action"] for line in answer(tmp_path / "blind") for turn in line["turns"]} == {"wait"}
    assert len(lines(tmp_path / "last")) == len(lines(tmp_path / "blind")) == 10


def test_a_model_that_never_emits_a_command_is_counted_and_survived(tmp_path: Path) -> None:
    outcome = play(tmp_path, PLAYERS + "Silent", seeds=1)
    assert outcome.successes == 0
    assert outcome.invalid_actions == sum(line["steps"] for line in lines(tmp_path)) > 0
    assert f"{outcome.invalid_actions} invalid actions" in summary(outcome)[1]
    verify(tmp_path)


def test_episodes_of_an_agent_that_raises_are_told_and_played_later(tmp_path: Path) -> None:
    outcome = play(tmp_path, PLAYERS + "Moody")
    assert 0 < len(outcome.unplayed) < 20
    assert outcome.played + len(outcome.unplayed) == 20
    assert "RuntimeError: not today" in "\n".join(summary(outcome))
    with pytest.raises(BaselinesError, match=r"expected all 20 episodes, got \d+ fewer"):
        verify(tmp_path)


def test_attempts_that_came_to_nothing_are_noted(tmp_path: Path) -> None:
    outcome = play(tmp_path, PLAYERS + "Moody")
    noted = [json.loads(line) for line in (tmp_path / UNPLAYED).read_text().splitlines()]
    assert len(noted) == len(outcome.unplayed)
    assert {line["reason"] for line in noted} == {"the agent raised RuntimeError: not today"}
    play(tmp_path, PLAYERS + "Moody")
    assert len((tmp_path / UNPLAYED).read_text().splitlines()) == len(noted) + MAX_FAILURES


@pytest.mark.parametrize("workers", [1, 2])
def test_an_agent_that_falls_asleep_is_told_and_played_later(tmp_path: Path, workers: int) -> None:
    before = signal.getsignal(signal.SIGALRM)
    outcome = play(tmp_path, PLAYERS + "Sleeper", seeds=1, workers=workers, answer_timeout=0.2)
    assert 0 < len(outcome.unplayed) < 10
    assert outcome.played + len(outcome.unplayed) == 10
    assert {one.reason for one in outcome.unplayed} == {"expected an answer within 0.2 s, got none"}
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_agent_cannot_end_the_program(tmp_path: Path) -> None:
    for workers in (1, 2):
        outcome = play(tmp_path / str(workers), PLAYERS + "Quitter", seeds=1, workers=workers)
        assert (outcome.played, len(outcome.unplayed)) == (0, 10)


def test_a_line_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"expected a number of at least 0, got 1\.5"):
        play(tmp_path, PLAYERS + "Miscounter", seeds=1)
    assert not (tmp_path / TRAJECTORIES).exists()


def test_damage_in_the_middle_stops_a_run_and_touches_nothing(tmp_path: Path) -> None:
    play(tmp_path)
    path = tmp_path / TRAJECTORIES
    content = bytearray(path.read_bytes())
    content[100] ^= 255
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"after byte 0: .*; nothing was changed"):
        play(tmp_path)
    assert path.read_bytes() == content


def test_an_entry_is_a_run_that_is_done(tmp_path: Path) -> None:
    play(tmp_path / "run")
    folder = submit(tmp_path / "run", "mine", tmp_path / "results")
    before = (folder / TRAJECTORIES).read_bytes()
    assert play(folder).now == 0
    assert (folder / TRAJECTORIES).read_bytes() == before


def test_one_process_writes_a_folder_at_a_time(tmp_path: Path) -> None:
    play(tmp_path, limit=1)
    folder = RunFolder(tmp_path, read_config(tmp_path), {"model_sha256": {}})
    with folder, pytest.raises(RecordError, match="that another run is writing"):
        play(tmp_path, limit=1)
    assert play(tmp_path, limit=1).now == 0


def test_a_run_does_not_go_on_with_other_models(tmp_path: Path) -> None:
    play(tmp_path, limit=1)
    with pytest.raises(RecordError, match="expected the models with which the run was begun"):
        RunFolder(tmp_path, read_config(tmp_path), {"model_sha256": {"0": "abc"}})


def test_a_wrong_first_command_leaves_the_folder_free(tmp_path: Path) -> None:
    with pytest.raises(BaselinesError):
        play(tmp_path, PLAYERS + "Nobody")
    (tmp_path / "run.json.partial").write_text("{")
    assert play(tmp_path, limit=1).played == 4


def test_settings_that_would_publish_a_secret_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no secrets among the settings"):
        play(tmp_path, PLAYERS + "Silent", agent_kwargs={"api_key": "sk-1"})
    with pytest.raises(RecordError, match="settings that JSON can say"):
        play(tmp_path, PLAYERS + "Blind", agent_kwargs={"word": float("inf")})


def test_references_have_no_settings(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"expected no --agent-kwargs for the agent random, which has no settings, got"
    ):
        play(tmp_path, "random", agent_kwargs={"temperature": 0.5})


def test_a_run_whose_agent_always_raises_gives_up_early(tmp_path: Path) -> None:
    outcome = play(tmp_path, PLAYERS + "Blind", track="listed", seeds=5)
    assert (outcome.played, len(outcome.unplayed)) == (0, MAX_FAILURES)


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        ("nobody", "expected an agent random, expert"),
        ("random:x", "expected an agent random, expert"),
        ("hf:", "expected an agent random, expert"),
        ("hf:/no/such/folder", "model"),
        ("python:tests.support.benchmark_players:Nobody", "Nobody"),
        ("python:no.such.module:X", "no.such"),
        ("python:tests.support.benchmark_players:Wordless", "methods reset and act"),
        ("openai:gpt", "base URL"),
    ],
)
def test_an_agent_that_cannot_be_is_refused_in_one_sentence(
    tmp_path: Path, agent: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(BaselinesError, match=message):
        play(tmp_path / "run", agent)


@pytest.mark.parametrize(
    "options",
    [{"seeds": 0}, {"seeds": 51}, {"workers": 0}, {"limit": 0}, {"presentation": Presentation(action_format="tag")}],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        play(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_track_that_does_not_grant_what_is_asked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="by_number"):
        play(tmp_path / "run", track="open", presentation=Presentation(by_number=True))


def test_the_settings_are_read_again_as_they_were(tmp_path: Path) -> None:
    play(tmp_path, limit=1, presentation=Presentation(history=2), name="<b>me</b>")
    config = read_config(tmp_path)
    assert (config.name, config.limit, config.presentation.history) == ("<b>me</b>", 1, 2)


def test_any_tool_reads_the_trajectories(tmp_path: Path) -> None:
    play(tmp_path, limit=1, seeds=1)
    with lzma.open(tmp_path / TRAJECTORIES, "rt") as stream:
        assert [json.loads(line)["turns"][0]["action"] for line in stream]
