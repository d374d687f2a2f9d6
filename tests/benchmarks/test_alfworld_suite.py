"""A suite of games that are data of others: by name, each once, refused where the data differs, kept without its text."""

from __future__ import annotations

import json
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baselines.errors import BaselinesError
from benchmarks.agents.agents import IMPORTED
from benchmarks.leaderboard import entries, show
from benchmarks.leaderboard.entries import load_entries
from benchmarks.leaderboard.leaderboard import markdown
from benchmarks.leaderboard.pages import index_data, shown_transcripts, write_site
from benchmarks.leaderboard.standings import make_boards
from benchmarks.leaderboard.submit import submit
from benchmarks.runs import imported, records, run
from benchmarks.runs.imported import ImportRunError, import_run
from benchmarks.runs.play import TaskCheck
from benchmarks.runs.records import TRAJECTORIES
from benchmarks.runs.verify import VerificationError, verify
from benchmarks.suites.freeze import ALFWORLD, make_type_cells
from benchmarks.suites.suite import Suite, SuiteError, load_suite, parse_suite, render_suite
from tests.support.rooms import HOT_APPLE, household, write_room
from textagent_gym.envs.alfworld import dataset

ROOMS = {
    "pick_heat_then_place_in_recep": HOT_APPLE,
    "pick_and_place_simple": household("pick_and_place_simple", "Bread", "Fridge"),
    "look_at_obj_in_light": household("look_at_obj_in_light", "Book", "DeskLamp"),
}
Lines = list[dict[str, Any]]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two games of each of three types."""
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path / "cache"))
    for room in ROOMS.values():
        for number in (1, 2):
            write_room(tmp_path / "data", room, split="valid_seen", name=f"X-None-Y-{number}")
    return tmp_path / "data"


def publish(monkeypatch: pytest.MonkeyPatch, **num_games: int) -> Suite:
    """Publish a suite of the games of some splits for the length of a test."""
    cells = [
        cell
        for split, count in num_games.items()
        for cell in make_type_cells("ALFWorld-v0", {**ALFWORLD, "split": split}, count)
    ]
    made = parse_suite(render_suite("house-v0", "A small house.", cells))
    for module in (records, run, imported):
        monkeypatch.setattr(module, "load_suite", lambda name: made)
    monkeypatch.setattr("benchmarks.leaderboard.standings.DIGESTS", {"house-v0": made.digest})
    return made


@pytest.fixture
def suite(data: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return a suite of these games, published for the length of a test."""
    return publish(monkeypatch, valid_seen=6)


@pytest.fixture
def two_splits(data: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return a published suite of these games and one of valid_unseen."""
    write_room(data, HOT_APPLE, split="valid_unseen", name="X-None-Y-1")
    return publish(monkeypatch, valid_seen=6, valid_unseen=1)


@pytest.fixture
def random_run(suite: Suite, tmp_path: Path) -> Path:
    folder = tmp_path / "random"
    run.run(run.Config(suite="house-v0", agent="random", track="open", out=folder, seeds=1))
    return folder


def trajectories(folder: Path) -> Lines:
    with lzma.open(folder / TRAJECTORIES, "rt") as stream:
        return [json.loads(line) for line in stream]


def lines_of(folder: Path) -> Lines:
    return [
        {"task": one["task_id"], "actions": [turn["action"] for turn in one["turns"]]} for one in trajectories(folder)
    ]


def expert_lines(suite: Suite, tmp_path: Path) -> Lines:
    run.run(run.Config(suite="house-v0", agent="expert", track="open", out=tmp_path / "expert", seeds=1))
    return lines_of(tmp_path / "expert")


def config(lines: Lines, tmp_path: Path, **changes: Any) -> imported.Config:
    path = tmp_path / "actions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = {"suite": "house-v0", "track": "open", "name": "theirs", "out": tmp_path / "imported", **changes}
    return imported.Config(path, **options)


def test_cells_are_types_of_task_and_every_game_stands_once(suite: Suite) -> None:
    assert [cell.groups for cell in suite.cells] == [{"split": "valid_seen", "task type": k} for k in sorted(ROOMS)]
    assert all(cell.by_name and len(cell.tasks) == 2 for cell in suite.cells)
    assert len({task.task_id for cell in suite.cells for task in cell.tasks}) == 6
    with pytest.raises(SuiteError, match="expected 5 games of valid_seen, got 6"):
        make_type_cells("ALFWorld-v0", {"split": "valid_seen"}, 5)


def test_a_walkthrough_is_no_part_of_a_game(suite: Suite, data: Path) -> None:
    cell = suite.cells[0]
    path = data / "json_2.1.1" / "valid_seen" / "look_at_obj_in_light-X-None-Y-2" / "trial_1" / "game.tw-pddl"
    TaskCheck().check(cell, cell.tasks[1])
    game = json.loads(path.read_text())
    path.write_text(json.dumps({**game, "walkthrough": ["look"]}))  # not part of the game
    dataset._load.cache_clear()
    TaskCheck().check(cell, cell.tasks[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda path: path.write_text(path.read_text().replace("book", "mug")),
            "with the content .* of another version",
        ),
        (lambda path: path.unlink(), "expected the game valid_seen/look.*-2/trial_1 .*, got none that plays"),
    ],
)
def test_a_game_that_differs_or_is_missing(
    suite: Suite, data: Path, change: Callable[[Path], object], message: str
) -> None:
    cell = suite.cells[0]
    path = data / "json_2.1.1" / "valid_seen" / "look_at_obj_in_light-X-None-Y-2" / "trial_1" / "game.tw-pddl"
    change(path)
    dataset._load.cache_clear()
    TaskCheck().check(cell, cell.tasks[0])
    with pytest.raises(SuiteError, match=message):
        TaskCheck().check(cell, cell.tasks[1])


def test_a_run_is_imported_as_it_was_played(random_run: Path, tmp_path: Path) -> None:
    import_run(config(lines_of(random_run), tmp_path))
    first, second = trajectories(random_run), trajectories(tmp_path / "imported")
    for one in (*first, *second):
        one["seconds"] = 0
    assert second == first
    found = verify(tmp_path / "imported")
    assert found.config.agent == IMPORTED and found.config.agent_settings.keys() == {"actions_sha256"}


def test_success_is_scored_by_split_and_by_type(suite: Suite, tmp_path: Path) -> None:
    lines = expert_lines(suite, tmp_path)
    lines[0]["actions"].pop()
    import_run(config(lines, tmp_path))
    page = show.scores([tmp_path / "imported"])
    assert "| imported: actions only |" in page
    assert page.count("| valid&#95;seen | 6 | 0.83 [") == 1
    assert "| look&#95;at&#95;obj&#95;in&#95;light | 2 | 0.50 [" in page
    assert "| pick&#95;and&#95;place&#95;simple | 2 | 1.00 [0.16, 1.00] |" in page


@pytest.mark.parametrize(
    "form", ["/root/data/json_2.1.1/{}/game.tw-pddl", "{}/traj_data.json", "json_2.1.1/{}", r"C:\a\{}"]
)
def test_tasks_go_by_the_paths_of_alfworld(suite: Suite, tmp_path: Path, form: str) -> None:
    lines = [{**line, "task": form.format(line["task"])} for line in expert_lines(suite, tmp_path)]
    if "\\" in form:
        lines = [{**line, "task": line["task"].replace("/", "\\")} for line in lines]
    assert all(episode.transcript["success"] for episode in import_run(config(lines[::-1], tmp_path)))


def test_games_of_the_study_go_by_their_files() -> None:
    found = imported._names(load_suite("textworld-w4-o6-q8-v0"))
    assert found["w4-o6-q8_10001"] == (0, 0) == found[imported._short_name("instances/w4-o6-q8_10001.z8")]
    assert len(found) == 200


def another_task(lines: Lines) -> None:
    lines[2]["task"] = "valid_seen/pick_and_place_simple-X-None-Y-9/trial_1"


def twice(lines: Lines) -> None:
    lines[3] = lines[1]


def too_few(lines: Lines) -> None:
    del lines[4]


def go_on(lines: Lines) -> None:
    lines[5]["actions"] += ["look", "inventory"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (another_task, r"line 3: expected a task of house-v0, such as 'valid_seen/.*' or .*, got '.*-9/trial_1'"),
        (twice, r"line 4: expected every task once, got 'valid_seen/.*' again \(first in line 2\); --seeds N"),
        (
            too_few,
            r"expected 1 line for each of the 6 tasks of house-v0, got fewer for 1 of them, the first 'valid_seen/",
        ),
        (go_on, r"line 6: expected no action after the end of the episode at step \d+, got 2 more, the first 'look'"),
        (list.clear, "expected episodes in .*, one a line, got none"),
        (lambda lines: lines[0].pop("task"), "line 1: expected the name of a task in 'task', got None"),
        (lambda lines: lines[0].update(actions="look"), "line 1: expected a list of at most 100000 actions"),
        (lambda lines: lines[0].update(actions=[1]), "line 1: expected actions as strings"),
        (lambda lines: lines[0].update(reward=1), r"line 1: expected the keys task, .*, got \['reward'\]"),
        (lambda lines: lines[0].update(cost=-1), "line 1: expected a cost of at least 0, got -1"),
        (lambda lines: lines[0].update(cost=float("nan")), "line 1: expected a cost of at least 0, got nan"),
        (lambda lines: lines[0].update(tokens=1.5), "line 1: expected a whole number of tokens"),
    ],
)
def test_a_fault_is_one_sentence_and_nothing_is_written(
    suite: Suite, tmp_path: Path, fault: Callable[[Lines], object], message: str
) -> None:
    lines = expert_lines(suite, tmp_path)
    fault(lines)
    with pytest.raises(ImportRunError, match=message) as caught:
        import_run(config(lines, tmp_path))
    assert "\n" not in str(caught.value) and not (tmp_path / "imported").exists()


def test_several_runs_in_one_file_with_tokens_and_cost(suite: Suite, tmp_path: Path) -> None:
    lines = expert_lines(suite, tmp_path)
    for line in lines:
        line.update(tokens={"prompt": 90, "completion": 10}, cost=0.5)
    other = [{"task": line["task"], "actions": [], "tokens": 3} for line in lines]
    import_run(config([*lines, *other], tmp_path, seeds=2, details={"framework": "verl-agent"}))
    found = verify(tmp_path / "imported")
    assert [episode.transcript["success"] for episode in found.played] == [True] * 6 + [False] * 6
    usage = [episode.usage for episode in found.played]
    assert (usage[0].prompt_tokens, usage[0].completion_tokens, usage[0].cost) == (90, 10, 0.5)
    assert (usage[6].prompt_tokens, usage[6].completion_tokens, usage[6].cost) == (None, 3, None)
    assert found.config.agent_settings["framework"] == "verl-agent"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"track": "closed"}, "expected one of the tracks"),
        ({"name": ""}, "expected a name"),
        ({"details": {"api_key": "x"}}, "expected no secrets"),
        (
            {"details": {"decode": "listed"}},
            "decode=listed in a track that grants the list of commands, got track open",
        ),
        ({"seeds": 0}, "expected seeds >= 1"),
    ],
)
def test_options_out_of_range(suite: Suite, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BaselinesError, match=message):
        import_run(config([{"task": "x", "actions": []}], tmp_path, **changes))


def test_decoding_over_the_list_is_of_the_track_that_grants_it(suite: Suite, tmp_path: Path) -> None:
    options = {"suite": "house-v0", "agent": "hf:tiny", "out": tmp_path / "out", "agent_kwargs": {"decode": "listed"}}
    with pytest.raises(BaselinesError, match="expected decode=listed in a track that grants the list"):
        run.run(run.Config(track="open", **options))
    with pytest.raises(BaselinesError, match="expected decode to be one of free, listed"):
        run.run(run.Config(track="listed", **{**options, "agent_kwargs": {"decode": "beam"}}))


def test_an_entry_holds_no_text_and_is_verified(random_run: Path, tmp_path: Path) -> None:
    folder = submit(random_run, "random", tmp_path / "results")
    bare = trajectories(folder)
    assert all(turn["observation"] == "" for one in bare for turn in one["turns"])
    assert not any("cabinet" in one["final_observation"] for one in bare)
    (entry,) = load_entries(tmp_path / "results", tmp_path / "memory")
    shown = [transcript for _, transcript in shown_transcripts(entry, tmp_path / "replays")]
    assert [one["turns"][0]["observation"] for one in shown] == [
        one["turns"][0]["observation"] for one in trajectories(random_run)
    ]
    assert [one["final_observation"] for one in shown] == [one["final_observation"] for one in trajectories(random_run)]
    boards = make_boards([entry])
    assert "Success by task type" in markdown(boards)
    (shown_entry,) = index_data(boards)["boards"][0]["entries"]
    assert [(group["kind"], group["name"], group["num_tasks"]) for group in shown_entry["groups"]] == [
        ("split", "valid_seen", 6),
        *(("task type", kind, 2) for kind in sorted(ROOMS)),
    ]


def test_a_run_of_one_split_has_a_table_of_that_split(two_splits: Suite, tmp_path: Path) -> None:
    lines = expert_lines(two_splits, tmp_path)
    seen = [line for line in lines if line["task"].startswith("valid_seen/")]
    seen[0]["actions"].pop()
    import_run(config(seen, tmp_path, split="valid_seen"))
    assert len(verify(tmp_path / "imported").played) == 6
    results = tmp_path / "results"
    submit(tmp_path / "imported", "theirs", results)
    submit(tmp_path / "expert", "expert", results)
    run.run(
        run.Config(suite="house-v0", agent="random", track="open", out=tmp_path / "one", seeds=1, split="valid_unseen")
    )
    submit(tmp_path / "one", "random-unseen", results)
    boards = make_boards(load_entries(results, tmp_path / "memory"))
    assert [board.suite.title for board in boards] == [
        "house-v0",
        "house-v0, valid_seen alone",
        "house-v0, valid_unseen alone",
    ]
    assert [board.citation.partition("@")[0] for board in boards] == [
        "house-v0/open",
        "house-v0/valid_seen/open",
        "house-v0/valid_unseen/open",
    ]
    page = markdown(boards[1:2])
    assert "## house-v0, valid_seen alone, track open\n" in page and " 3 cells, 6 tasks." in page
    assert "| valid&#95;seen | 6 | 0.83 [" in page and "unseen" not in page
    write_site(tmp_path / "site", boards, None)
    pages = {path.name for path in (tmp_path / "site" / "suites").iterdir()}
    assert pages == {"house-v0.html", "house-v0-valid_seen.html", "house-v0-valid_unseen.html"}
    assert "--suite house-v0 --split valid_seen" in (tmp_path / "site/suites/house-v0-valid_seen.html").read_text()
    assert '["split", "valid_seen"]' in (tmp_path / "site/entries/house-v0/open/theirs.html").read_text()


def test_lines_of_one_split_name_the_option_that_takes_them(two_splits: Suite, tmp_path: Path) -> None:
    lines = expert_lines(two_splits, tmp_path)
    unseen = [line for line in lines if line["task"].startswith("valid_unseen/")]
    with pytest.raises(ImportRunError, match=r"fewer for 6 of them, .*; --split valid_unseen takes that split alone$"):
        import_run(config(unseen, tmp_path))
    with pytest.raises(ImportRunError, match="line 1: expected a task of house-v0, valid_unseen alone, such as"):
        import_run(config(lines, tmp_path, split="valid_unseen"))
    with pytest.raises(
        SuiteError, match="expected one of the splits valid_seen, valid_unseen of house-v0, got 'train'"
    ):
        import_run(config(unseen, tmp_path, split="train"))
    with pytest.raises(SuiteError, match="expected no split with core-v0, got 'test'"):
        load_suite("core-v0").of_split("test")
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("key", ["observation", "final_observation"])
def test_a_forged_digest_or_text_is_rejected(random_run: Path, tmp_path: Path, key: str) -> None:
    folder = submit(random_run, "random", tmp_path / "results")
    lines = trajectories(folder)
    if key == "observation":
        lines[0]["turns"][0][key] = "You win."
    else:
        lines[0][key] = lines[1][key]
    (folder / TRAJECTORIES).write_bytes(lzma.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    with pytest.raises(VerificationError, match=f"expected {key}"):
        verify(folder)


def test_entries_are_read_but_not_replayed_where_the_games_are_missing(
    random_run: Path, data: Path, tmp_path: Path
) -> None:
    submit(random_run, "random", tmp_path / "results")
    shutil.rmtree(data)
    said: list[str] = []
    (entry,) = load_entries(tmp_path / "results", tmp_path / "memory", said.append)
    assert len(said) == 1 and said[0].startswith("not replayed, since expected ALFWorld's games in ")
    assert not list((tmp_path / "memory").glob("*")) and len(entry.table.rows[0]) == 6
    with pytest.raises(BaselinesError, match="ALFWorld's games"):
        verify(entry.folder)


def test_the_real_games_are_the_ones_that_were_published() -> None:
    suite = load_suite("alfworld-v0")
    named = [task.task_id for cell in suite.cells for task in cell.tasks]
    assert len(set(named)) == len(named) == 274
    assert sum(name.startswith("valid_seen/") for name in named) == 140
    assert {task.max_steps for cell in suite.cells for task in cell.tasks} == {50}
    data = Path(os.environ.get("ALFWORLD_DATA", "nowhere"), "json_2.1.1")
    if not all((data / split).is_dir() for split in ("valid_seen", "valid_unseen")):
        pytest.skip("ALFWORLD_DATA does not name a folder with both splits of ALFWorld's games")
    check = TaskCheck()
    for cell in suite.cells:
        for task in cell.tasks[::4]:
            check.check(cell, task)


def test_a_published_entry_of_real_games_holds_no_text() -> None:
    for folder in entries.entry_folders(entries.RESULTS):
        if folder.parent.parent.name == "alfworld-v0":
            assert not any(turn["observation"] for one in trajectories(folder) for turn in one["turns"]), folder
