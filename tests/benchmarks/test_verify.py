"""Forged, torn and foreign submissions are rejected with the first difference, and never executed."""

from __future__ import annotations

import json
import lzma
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baselines.errors import BaselinesError
from benchmarks.leaderboard.entries import EntryError, entry_digest, load_entries
from benchmarks.leaderboard.submit import submit
from benchmarks.runs import records
from benchmarks.runs import run as run_module
from benchmarks.runs.play import MAX_ACTION
from benchmarks.runs.records import EPISODES, SESSIONS, SETTINGS, TRAJECTORIES, UNPLAYED, is_name, parse_played
from benchmarks.runs.run import Config, run
from benchmarks.runs.verify import MAX_UNVERIFIED, VerificationError, check_length, verify
from benchmarks.suites.freeze import make_cell
from benchmarks.suites.suite import Presentation, parse_suite, render_suite
from textagent_gym.mechanics.disturbances import FAULT_MESSAGE

Line = dict[str, Any]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of the random agent: some episodes end in failure or out of steps."""
    folder = tmp_path_factory.mktemp("honest")
    run(Config(suite="smoke-v0", agent="random", out=folder, seeds=2))
    return folder


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("expert")
    run(Config(suite="smoke-v0", agent="expert", out=folder, seeds=1))
    return folder


def trajectories(folder: Path) -> list[Line]:
    with lzma.open(folder / TRAJECTORIES, "rt") as stream:
        return [json.loads(line) for line in stream]


def forged(folder: Path, target: Path, forge: Callable[[list[Line]], object]) -> Path:
    """Return a copy of a run with other trajectories and the summaries that go with them, as a careful forger would do."""
    shutil.copytree(folder, target)
    played = trajectories(folder)
    forge(played)
    lines = [json.dumps(line).encode() + b"\n" for line in played]
    (target / TRAJECTORIES).write_bytes(lzma.compress(b"".join(lines)))
    summaries = [json.dumps(parse_played(line).summary()) + "\n" for line in lines]
    (target / EPISODES).write_text("".join(summaries))
    return target


def failed(played: list[Line]) -> Line:
    return next(line for line in played if not line["success"])


def claim_success(played: list[Line]) -> None:
    failed(played).update({"success": True, "outcome": "success"})


def claim_reward(played: list[Line]) -> None:
    line = failed(played)
    line["turns"][-1]["reward"] += 0.5
    line["return"] += 0.5


def claim_return(played: list[Line]) -> None:
    failed(played)["return"] += 0.5


def drop_failures(played: list[Line]) -> None:
    played[:] = [line for line in played if line["success"]]


def repeat_a_success(played: list[Line]) -> None:
    best = max(played, key=lambda line: line["return"])
    failed(played).update({key: best[key] for key in ("run", "cell", "task")})


def act_after_the_end(played: list[Line]) -> None:
    turns = played[0]["turns"]
    turns.append({**turns[-1], "reward": 0.0, "observation": played[0]["final_observation"]})


def stop_early(played: list[Line]) -> None:
    line = failed(played)
    line["final_observation"] = line["turns"].pop()["observation"]
    line["return"] = sum(turn["reward"] for turn in line["turns"])


def change_the_seed(played: list[Line]) -> None:
    played[0]["seed"] += 1


def change_the_task(played: list[Line]) -> None:
    played[0]["task_id"] = "easier"


def change_the_environment(played: list[Line]) -> None:
    played[0]["env_id"] = "textagent_gym:TextWorld-Easy-Dense-v0"


def change_an_action(played: list[Line]) -> None:
    line = max(played, key=lambda line: line["return"])
    line["turns"][0]["action"] = "dance"


def change_what_was_seen(played: list[Line]) -> None:
    played[0]["turns"][1]["observation"] += " A door to the vault stands open."


def change_the_end(played: list[Line]) -> None:
    played[0]["final_observation"] = "You win."


def claim_fewer_slips(played: list[Line]) -> None:
    played[0]["invalid_actions"] += 1


def claim_another_outcome(played: list[Line]) -> None:
    failed(played)["outcome"] = "the dog ate it"


def play_one_that_is_not_in_the_suite(played: list[Line]) -> None:
    played[0]["task"] = 5


def smuggle(played: list[Line]) -> None:
    played[0]["turns"][0]["detail"] = "look at this"


def say_too_much(played: list[Line]) -> None:
    played[0]["turns"][0]["action"] = "look" + " " * MAX_ACTION


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (claim_success, "expected success False, got True"),
        (claim_reward, r"step \d+: expected reward 0, got 0.5"),
        (claim_return, r"expected return [\d.]+, got [\d.]+"),
        (drop_failures, r"expected all 20 episodes, got \d+ fewer: run 1, cell \d, task \d"),
        (repeat_a_success, "expected"),
        (act_after_the_end, r"run 1, cell 1, task 1, step \d+: expected no action after the end"),
        (stop_early, "expected outcome 'out of context', got"),
        (change_the_seed, "expected seed 10000000, got 10000001"),
        (change_the_task, "expected task_id .*, got 'easier'"),
        (change_the_environment, "expected env_id"),
        (change_an_action, "step [12]: expected (observation|reward)"),
        (change_what_was_seen, r"step 2: expected observation .*, got .*vault"),
        (change_the_end, "expected final_observation .*, got 'You win"),
        (claim_fewer_slips, "expected invalid_actions 0, got 1"),
        (claim_another_outcome, "expected outcome"),
        (play_one_that_is_not_in_the_suite, "expected each episode of the suite once"),
        (smuggle, "got also 'detail'"),
        (say_too_much, "at most 100000 characters"),
    ],
)
def test_a_forged_run_is_rejected_with_the_first_difference(
    honest: Path, tmp_path: Path, forge: Callable[[list[Line]], object], message: str
) -> None:
    with pytest.raises(BaselinesError, match=message):
        verify(forged(honest, tmp_path / "run", forge))


def test_forging_nothing_is_not_forging(honest: Path, tmp_path: Path) -> None:
    assert len(verify(forged(honest, tmp_path / "run", list)).played) == 20


def nested(depth: int) -> dict[str, Any]:
    return {"inner": nested(depth - 1)} if depth else {}


def settings(folder: Path, **changes: Any) -> None:
    answer = json.loads((folder / SETTINGS).read_text())
    shown = changes.pop("presentation", {})
    answer["presentation"] = {**answer["presentation"], **shown} if isinstance(shown, dict) else shown
    (folder / SETTINGS).write_text(json.dumps({**answer, **changes}, indent=2) + "\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite_digest": "0" * 64}, "expected suite smoke-v0 with digest"),
        ({"suite": "core-v0"}, "expected suite core-v0 with digest"),
        ({"suite": "../../secret"}, "expected one of the suites"),
        ({"track": "open"}, "expected observation"),
        ({"track": "../open"}, "expected one of the tracks"),
        ({"num_runs": 1}, "expected"),
        ({"num_runs": 3}, "expected all 30 episodes"),
        ({"num_runs": True}, "another num_runs"),
        ({"num_runs": 51}, "another num_runs"),
        ({"limit": -1}, "another limit"),
        ({"limit": 1}, "expected at most 4 episodes|expected each episode of the suite once"),
        ({"format": 2}, "another format"),
        ({"format": True}, "another format"),
        ({"agent": "x" * 501}, "another agent"),
        ({"agent_settings": nested(30)}, "another agent_settings"),
        ({"surprise": 1}, "surprise"),
        ({"presentation": {"split": "train"}}, "split"),
        ({"presentation": {"by_number": True}}, "expected observation"),
        ({"presentation": {"history": 10**6}}, "history of 0 to 100"),
        ({"presentation": {"history": None}}, "another history"),
        ({"presentation": {"by_number": []}}, "another by_number"),
        ({"presentation": []}, "expected run.json"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": " "}, "name"),
        ({"agent": "nobody"}, "expected an agent"),
        ({"agent": "expert"}, "actions of the reference"),
    ],
)
def test_settings_of_another_run_are_rejected(
    honest: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(honest, folder)
    settings(folder, **changes)
    with pytest.raises(BaselinesError, match=message):
        verify(folder)


def cut(folder: Path) -> None:
    content = (folder / TRAJECTORIES).read_bytes()
    (folder / TRAJECTORIES).write_bytes(content[:-30])


def append_junk(folder: Path) -> None:
    with (folder / TRAJECTORIES).open("ab") as stream:
        stream.write(b"junk")


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / TRAJECTORIES).read_bytes())
    content[len(content) // 2] ^= 255
    (folder / TRAJECTORIES).write_bytes(content)


def edit_the_summary(folder: Path) -> None:
    text = (folder / EPISODES).read_text()
    (folder / EPISODES).write_text(text.replace('"success": false', '"success": true', 1))


def drop_a_summary(folder: Path) -> None:
    (folder / EPISODES).write_text("".join((folder / EPISODES).read_text().splitlines(keepends=True)[1:]))


def drop_the_trajectories(folder: Path) -> None:
    (folder / TRAJECTORIES).unlink()


def link_the_trajectories(folder: Path) -> None:
    (folder / TRAJECTORIES).rename(folder / "elsewhere")
    (folder / TRAJECTORIES).symlink_to(folder / "elsewhere")


def drop_the_sessions(folder: Path) -> None:
    (folder / SESSIONS).write_text("")


def drop_the_unplayed(folder: Path) -> None:
    (folder / UNPLAYED).unlink()


def say_it_in_other_words(folder: Path) -> None:
    text = lzma.decompress((folder / TRAJECTORIES).read_bytes()).decode()
    hidden = '{"version": 1, "turns": [{"secret": 1}], '
    (folder / TRAJECTORIES).write_bytes(lzma.compress(text.replace('{"version": 1, ', hidden, 1).encode()))


def say_the_settings_in_other_words(folder: Path) -> None:
    text = (folder / SETTINGS).read_text()
    (folder / SETTINGS).write_text(text.replace('"num_runs": 2', '"num_runs": 9, "num_runs": 2'))


def pickle_the_trajectories(folder: Path) -> None:
    (folder / TRAJECTORIES).write_bytes(lzma.compress(pickle.dumps({"a": 1})))


def say_infinity(folder: Path) -> None:
    text = lzma.decompress((folder / TRAJECTORIES).read_bytes()).decode()
    text = text.replace('"reward": 0.0', '"reward": Infinity', 1)
    (folder / TRAJECTORIES).write_bytes(lzma.compress(text.encode()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "torn"),
        (append_junk, "xz streams|torn"),
        (flip_a_byte, "xz streams|damaged"),
        (edit_the_summary, "expected line 1 of episodes.jsonl"),
        (drop_a_summary, "expected 20 whole lines in episodes.jsonl, got 19"),
        (drop_the_trajectories, "expected the file trajectories"),
        (link_the_trajectories, "got a link"),
        (drop_the_sessions, "expected whole lines in sessions.jsonl"),
        (drop_the_unplayed, "expected the file unplayed"),
        (say_it_in_other_words, "line 1 of .* in another spelling"),
        (say_the_settings_in_other_words, "expected run.json as a run writes it"),
        (pickle_the_trajectories, "damaged episode|torn"),
        (say_infinity, "not JSON"),
    ],
)
def test_damaged_files_are_rejected(honest: Path, tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(honest, folder)
    damage(folder)
    with pytest.raises(BaselinesError, match=message):
        verify(folder)


def test_files_are_bounded(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    shutil.copytree(honest, folder)
    (folder / TRAJECTORIES).write_bytes(lzma.compress(b" " * 3_000_000))
    monkeypatch.setattr(records, "MAX_LINE", 100_000)
    with pytest.raises(BaselinesError, match="at most 100000 bytes, got a longer one"):
        verify(folder)
    monkeypatch.setattr(records, "MAX_CONTENT", 50_000)
    with pytest.raises(BaselinesError, match="expected at most 50000 bytes"):
        verify(folder)
    monkeypatch.setattr(records, "MAX_FILE", 100)
    with pytest.raises(BaselinesError, match="of at most 100 bytes"):
        verify(folder)


@pytest.mark.parametrize("name", [SESSIONS, UNPLAYED, EPISODES])
def test_files_of_lines_are_bounded(honest: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(honest, folder)
    with (folder / name).open("a") as stream:
        stream.write("{}\n" * 2_000_000)
    with pytest.raises(BaselinesError, match=rf"expected {name} of at most \d+ bytes"):
        verify(folder)


@pytest.mark.parametrize(
    ("found", "other"),
    [
        ('"reward": 0.0', '"reward": 1' + "0" * 400),
        ('"return": 0.0', '"return": -1' + "0" * 400),
        ('"env_id": "', '"env_id": ' + "[" * 984 + "]" * 984 + ', "x": "'),
        ('"run": 0', '"\\u001b[2K": 0, "run": 0'),
    ],
)
def test_numbers_and_nesting_beyond_measure_are_rejected_in_a_sentence(
    honest: Path, tmp_path: Path, found: str, other: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(honest, folder)
    text = lzma.decompress((folder / TRAJECTORIES).read_bytes()).decode()
    assert found in text
    (folder / TRAJECTORIES).write_bytes(lzma.compress(text.replace(found, other, 1).encode()))
    with pytest.raises(BaselinesError, match=r"^damaged episode: ") as rejected:
        verify(folder)
    assert str(rejected.value).isprintable()


def say_blanks(played: list[Line]) -> None:
    """Return an action that a pattern with two ends to find would read for minutes."""
    for turn in failed(played)["turns"]:
        turn["action"] = "a" + " " * (MAX_ACTION - 2) + "b"


def test_an_action_as_long_as_they_come_is_played_at_once(honest: Path, tmp_path: Path) -> None:
    with pytest.raises(BaselinesError, match=r"step 1|step 2"):
        verify(forged(honest, tmp_path / "run", say_blanks))


def test_infinity_is_no_setting(honest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(honest, folder)
    settings(folder, agent_settings={"temperature": float("inf")})
    with pytest.raises(BaselinesError, match="Infinity is not JSON"):
        verify(folder)


def test_an_agent_of_ones_own_is_never_imported(expert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(expert, folder)
    settings(folder, agent="python:no.such.module:Agent")
    assert verify(folder).config.agent == "python:no.such.module:Agent"


def test_a_verified_run_is_packed_and_listed(honest: Path, expert: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for source, slug in ((honest, "random"), (expert, "expert")):
        folder = submit(source, slug, results)
        assert folder == results / "smoke-v0" / "listed" / slug
        assert (folder / TRAJECTORIES).stat().st_size < (source / TRAJECTORIES).stat().st_size
        assert len(verify(folder).played) == len(verify(source).played)
    entries = load_entries(results)
    assert [entry.slug for entry in entries] == ["expert", "random"]
    assert entries[0].table.column("success").tolist() == [[1.0] * 10]
    assert [len(list(entry.played())) for entry in entries] == [10, 20]
    with pytest.raises(EntryError, match="not taken"):
        submit(honest, "random", results)
    with pytest.raises(EntryError, match="small letters"):
        submit(honest, "Random!", results)


def test_an_entry_that_was_changed_is_verified_again(honest: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    folder = submit(honest, "random", results)
    before = entry_digest(folder)
    edit_the_summary(folder)
    assert entry_digest(folder) != before
    with pytest.raises(BaselinesError, match=r"expected line 1 of episodes\.jsonl"):
        load_entries(results)


def test_other_files_in_an_entry_are_refused(honest: Path, tmp_path: Path) -> None:
    folder = submit(honest, "random", tmp_path / "results")
    (folder / "model.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(EntryError, match=r"model\.pkl"):
        load_entries(tmp_path / "results")


@pytest.mark.parametrize("place", [".smoke/listed/mine", "smoke-v0/listed/.mine", "smoke-v0/listed/a -h b", "other"])
def test_nothing_but_entries_lies_among_entries(honest: Path, tmp_path: Path, place: str) -> None:
    results = tmp_path / "results"
    folder = submit(honest, "random", results)
    (results / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, results / place)
    with pytest.raises(EntryError, match=r"expected (nothing but entries|a name of small letters)"):
        load_entries(results)


def test_a_linked_folder_is_no_entry(honest: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    folder = submit(honest, "random", results)
    (folder.parent / "again").symlink_to(folder)
    with pytest.raises(EntryError, match="nothing but entries"):
        load_entries(results)


def test_what_was_verified_is_remembered_by_content(honest: Path, tmp_path: Path) -> None:
    results, memory = tmp_path / "results", tmp_path / "memory"
    folder = submit(honest, "random", results, memory)
    assert [path.name for path in memory.iterdir()] == [entry_digest(folder)]
    edit_the_summary(folder)
    with pytest.raises(BaselinesError, match=r"expected line 1 of episodes\.jsonl"):
        load_entries(results, memory)
    (memory / entry_digest(folder)).write_text("[]")
    assert len(load_entries(results, memory)) == 1, "expected what is remembered to be believed on one's own machine"
    with pytest.raises(BaselinesError, match=r"expected line 1 of episodes\.jsonl"):
        load_entries(results)


def test_a_memory_that_is_handed_in_is_refused(honest: Path, tmp_path: Path) -> None:
    submit(honest, "random", tmp_path / "results")
    (tmp_path / "results" / "verified.json").write_text("{}")
    with pytest.raises(EntryError, match=r"nothing but entries .* got verified\.json"):
        load_entries(tmp_path / "results")


def test_a_reference_is_told_plainly(tmp_path: Path) -> None:
    by_number = Presentation(by_number=True)
    run(Config(suite="smoke-v0", agent="random", out=tmp_path / "run", seeds=1, presentation=by_number))
    with pytest.raises(EntryError, match="expected the reference random with plain options"):
        submit(tmp_path / "run", "random", tmp_path / "results")


def test_a_name_is_taken_once_and_never_a_references(honest: Path, expert: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with pytest.raises(EntryError, match="expected a name that no reference has, got 'expert' for the agent random"):
        submit(honest, "expert", results)
    named = tmp_path / "named"
    shutil.copytree(expert, named)
    settings(named, name="Random")
    with pytest.raises(EntryError, match="expected a name that no reference has, got 'random' for the agent expert"):
        submit(named, "mine", results)
    settings(named, name="Mine")
    submit(named, "mine", results)
    settings(named, name="mINE")
    submit(named, "again", results)
    with pytest.raises(EntryError, match="expected a name that is not taken in its table, got 'Mine' twice"):
        load_entries(results)


@pytest.mark.parametrize("name", ["expert\ufe0f", "a\u034fb", "\u3164", "\uff41", " a", "a\u115f", "\u2800a", "..."])
def test_a_name_is_what_is_seen_of_it(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("name", ["tiny, SFT + GRPO", "Qwen3-8B (4 bit)", "Żółw", "हिन्दी", "模型"])
def test_names_of_many_scripts_are_names(name: str) -> None:
    assert is_name(name)


def test_a_partial_run_verifies_and_is_never_listed(tmp_path: Path) -> None:
    run(Config(suite="smoke-v0", agent="expert", out=tmp_path / "run", seeds=1, limit=2))
    assert verify(tmp_path / "run").is_partial
    with pytest.raises(EntryError, match="whole suite, got 2 tasks of each cell"):
        submit(tmp_path / "run", "part", tmp_path / "results")


def test_text_that_is_not_compared_is_bounded() -> None:
    check_length("step 1", "x" * MAX_UNVERIFIED, "")
    check_length("step 1", "x" * 30_000, "y" * 30_000)
    with pytest.raises(
        VerificationError, match="step 1: expected an observation of at most 20000 characters, got 30000000"
    ):
        check_length("step 1", "x" * 30_000_000, "y")


@pytest.mark.parametrize("agent", ["expert", "replanner", "random"])
def test_a_run_with_disturbances_is_replayed(agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences and failures are those of the seed; the tasks have the digests that they have without them."""
    options = {"distractors": 2, "fault_rate": 0.3, "max_steps": 60}
    env_id = "TextWorld-w2-o3-q4-Dense-v0"
    cells = [make_cell(env_id, options, 3)]
    plain = make_cell(env_id, {"max_steps": 60}, 3)
    assert cells[0].tasks == plain.tasks and cells[0].options["fault_rate"] == 0.3
    suite = parse_suite(render_suite("noisy-v0", "Three games with disturbances.", cells))
    for module in (records, run_module):
        monkeypatch.setattr(module, "load_suite", lambda name: suite)
    run(Config(suite="noisy-v0", agent=agent, out=tmp_path / "run", seeds=2))
    played = verify(tmp_path / "run").played
    assert sum(episode.invalid_actions for episode in played) > 0
    assert agent == "random" or all(episode.transcript["success"] for episode in played)
    forgery = forged(tmp_path / "run", tmp_path / "forged", claim_no_fault)
    with pytest.raises(VerificationError, match="expected observation"):
        verify(forgery)


def claim_no_fault(played: list[Line]) -> None:
    """Say of a command that failed by chance that it went through."""
    turn = next(turn for line in played for turn in line["turns"] if turn["observation"].startswith(FAULT_MESSAGE))
    turn["observation"] = turn["observation"].replace(FAULT_MESSAGE, "You look around.")
