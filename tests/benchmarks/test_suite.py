"""Published suites stay as they were published, and an environment that has drifted is noticed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest

from benchmarks.runs.play import TaskCheck
from benchmarks.suites import suite as suites
from benchmarks.suites.freeze import DEFINITIONS, freeze, make_cell, make_cells
from benchmarks.suites.suite import (
    DIGESTS,
    TRACKS,
    Presentation,
    SuiteError,
    find_track,
    load_suite,
    open_env,
    open_plain_env,
    parse_suite,
    read_task,
    render_suite,
)


@pytest.mark.parametrize("name", DIGESTS)
def test_a_published_suite_is_what_its_definition_says(name: str) -> None:
    suite = load_suite(name)
    description, rows = DEFINITIONS[name]
    assert (suite.name, suite.description) == (name, description)
    sizes: Counter[tuple[str, str]] = Counter()
    for cell in suite.cells:
        sizes[cell.env_id.partition(":")[2], json.dumps(cell.options, sort_keys=True)] += len(cell.tasks)
    assert [(env_id, json.loads(options), size) for (env_id, options), size in sizes.items()] == [
        (env_id, {"split": "test", **options}, num_tasks) for env_id, options, num_tasks in rows
    ]
    for cell in suite.cells:
        assert len({task.task_id for task in cell.tasks}) == len(cell.tasks)
        assert all(task.max_steps >= task.reference_steps >= 1 for task in cell.tasks)


def test_freezing_again_gives_the_same_bytes() -> None:
    text = resources.files("benchmarks.suites").joinpath("smoke-v0.json").read_text(encoding="utf-8")
    assert freeze("smoke-v0") == text


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in DIGESTS if name != "smoke-v0"])
def test_freezing_every_suite_again_gives_the_same_tasks(name: str) -> None:
    """SWEGym's tasks by their names, since seeds draw from a list that has grown; all others from their seeds."""
    suite = load_suite(name)
    if missing := suite.missing_games():
        pytest.skip(missing)
    description, rows = DEFINITIONS[name]
    again = [cell for row in rows if not row[0].startswith("SWEGym") for cell in make_cells(*row)]
    drawn = [cell for cell in suite.cells if cell.domain != "SWEGym"]
    assert list(parse_suite(render_suite(name, description, again)).cells) == drawn
    for cell in suite.cells:
        if cell.domain == "SWEGym":
            env = open_plain_env(cell)
            assert [read_task(env, task.seed, cell.exact_text, task.task_id) for task in cell.tasks] == list(cell.tasks)
            env.close()


def test_a_file_that_was_edited_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(suites.DIGESTS, "smoke-v0", "0" * 64)
    load_suite.cache_clear()
    with pytest.raises(SuiteError, match="as it was published"):
        load_suite("smoke-v0")
    load_suite.cache_clear()


def test_an_unknown_suite_or_track_is_named() -> None:
    with pytest.raises(SuiteError, match=r"expected one of the suites .*core-v0.*, got 'core-v9'"):
        load_suite("core-v9")
    with pytest.raises(SuiteError, match=r"expected one of the tracks open, .*, got 'closed'"):
        find_track("closed")


def test_what_is_rendered_is_parsed_again() -> None:
    suite = load_suite("smoke-v0")
    again = parse_suite(render_suite(suite.name, suite.description, list(suite.cells)))
    assert again == suite


@pytest.mark.parametrize(
    "change", [{"digest": "0" * 32}, {"max_steps": 99}, {"reference_steps": 1}, {"seed": 3}, {"task_id": "another"}]
)
def test_a_task_that_has_drifted_is_not_played(change: dict[str, Any]) -> None:
    cell = load_suite("smoke-v0").cells[1]
    TaskCheck().check(cell, cell.tasks[0])
    with pytest.raises(SuiteError, match="the environment has changed"):
        TaskCheck().check(cell, replace(cell.tasks[0], **change))


@pytest.mark.parametrize("domain", ["TextWorld", "ALFWorld", "SWEGym"])
def test_a_published_task_of_each_domain_is_what_it_was(domain: str) -> None:
    cell = next(cell for cell in load_suite("core-v0").cells if cell.domain == domain)
    TaskCheck().check(cell, cell.tasks[0])


def test_a_repair_task_is_found_by_its_name_whatever_its_seed_draws_by_now() -> None:
    cell = next(cell for cell in load_suite("core-v0").cells if cell.domain == "SWEGym")
    TaskCheck().check(cell, replace(cell.tasks[0], seed=cell.tasks[1].seed))
    assert cell.rollout_task(cell.tasks[0]).task_id == cell.tasks[0].task_id


def test_the_digest_knows_the_way_that_a_task_is_paid() -> None:
    sparse = make_cell("ALFWorld-Easy-Sparse-v0", {}, 1)
    dense = make_cell("ALFWorld-Easy-Dense-v0", {}, 1)
    assert sparse.tasks[0].task_id == dense.tasks[0].task_id
    assert sparse.tasks[0].digest != dense.tasks[0].digest


@pytest.mark.parametrize("track", TRACKS.values(), ids=str)
def test_a_track_shows_the_list_or_does_not(track: suites.Track) -> None:
    cell = load_suite("smoke-v0").cells[0]
    observation, _ = open_env(cell, Presentation(), track).reset(seed=cell.tasks[0].seed)
    assert ("Admissible commands:" in observation) == track.lists


def test_a_presentation_cannot_ask_for_more_than_its_track_grants() -> None:
    Presentation(by_number=True, history=3).check(TRACKS["listed"])
    with pytest.raises(SuiteError, match="by_number with show_list"):
        Presentation(by_number=True, show_list=False).check(TRACKS["listed"])
    with pytest.raises(SuiteError, match="by_number in a track that grants the list"):
        Presentation(by_number=True).check(TRACKS["open"])
    with pytest.raises(SuiteError, match="history in a track that grants memory"):
        Presentation(history=1).check(TRACKS["listed-reactive"])
    with pytest.raises(SuiteError, match="history of 0 to 100"):
        Presentation(history=-1).check(TRACKS["listed"])
    with pytest.raises(SuiteError, match="action_format"):
        Presentation(action_format=json.loads('"xml"')).check(TRACKS["listed"])


def test_domains_without_a_list_are_not_asked_for_numbers() -> None:
    cell = next(cell for cell in load_suite("core-v0").cells if cell.domain == "SWEGym")
    options = Presentation(by_number=True).options(cell, TRACKS["listed"])
    assert not cell.lists
    assert not options["by_number"]
    assert not options["show_admissible"]
