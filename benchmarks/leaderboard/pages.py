"""The site: static pages that open from a folder, without a server and without a network.

    index.html                              suites and tracks: tables, plots, comparisons
    suites/SUITE.html                       what a suite is: its cells and tasks, and how it is played
    entries/SUITE/TRACK/NAME.html           one entry: settings, scores, episodes
    episodes/SUITE/TRACK/NAME/run-1.html    its episodes, turn by turn (`baselines.runs.transcripts`)
    repairs/SUITE/TRACK/NAME.html           diffs of its solved repairs of software

Templates are in `site/`. What entries, models and environments say reaches a page as JSON, and its script makes text of it,
never markup. The same entries give the same bytes.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias, cast

from tqdm import tqdm

from baselines.runs.files import write_whole
from baselines.runs.transcripts import (
    Transcript,
    TranscriptTurn,
    read_transcripts,
    save_transcripts,
    script_json,
    write_page,
)
from benchmarks.leaderboard.entries import Entry, entry_digest
from benchmarks.leaderboard.scores import Estimate
from benchmarks.leaderboard.standings import LIMITS, READING, THRESHOLDS, Board, Comparison, Scores, Standing
from benchmarks.runs.records import EpisodeKey, EpisodeRecord, render_config
from benchmarks.runs.verify import Replayer, Step
from benchmarks.suites.suite import TRACKS, Suite

MAX_PAGE = 5 * 2**20
"""Characters of transcripts on one page."""

REPLAY_FORMAT = 1
"""In the name of a kept replay: what is kept at a turn."""

Links: TypeAlias = Mapping[EpisodeKey, tuple[str, int]]
"""Page of each episode, relative to the entry's, and the episode's number on it."""


@dataclass(frozen=True)
class EpisodePage:
    """Episodes that are shown on one page.

    Attributes:
        name: of the page, such as "run-1".
        title: in words.
        transcripts: key and transcript, in the order in which they are shown.
    """

    name: str
    title: str
    transcripts: list[tuple[EpisodeKey, Transcript]]


def write_site(site: Path, boards: Sequence[Board], cache: Path | None) -> None:
    """Write all pages; pages of entries that are gone are removed.

    Args:
        site: the folder.
        boards: tables on it.
        cache: folder of replays; None shows the transcripts as they were handed in.

    Raises:
        BaselinesError: an entry does not replay.
    """
    written = {site / "index.html"}
    write_whole(site / "index.html", fill("index", index_data(boards)))
    for suite in {board.suite.title: board.suite for board in boards}.values():
        page = site / suite_page(suite)
        write_whole(page, fill("suite", suite_data(suite)))
        written.add(page)
    for board in boards:
        for standing in board.standings:
            written |= write_entry(site, board, standing, cache)
    kept = ("entries/*/*/*.html", "episodes/*/*/*/*.html", "repairs/*/*/*.html", "suites/*.html")
    for old in {path for pattern in kept for path in site.glob(pattern)} - written:
        old.unlink()


def suite_page(suite: Suite) -> str:
    """Return the address of a suite's page; that of one split alone is another."""
    return f"suites/{suite.name}{suite.split and '-'}{suite.split}.html"


def suite_data(suite: Suite) -> dict[str, Any]:
    """Return the data of a suite's page: its cells, and of each task what its file holds."""
    cells = [
        {
            "name": cell.name,
            "env_id": cell.env_id,
            "options": _facts(cell.options),
            "by_name": cell.by_name,
            "lists": cell.lists,
            "tasks": [[task.task_id, str(task.seed), task.reference_steps, task.max_steps] for task in cell.tasks],
        }
        for cell in suite.cells
    ]
    about = {
        "name": suite.title,
        "play": f"--suite {suite.name}" + (f" --split {suite.split}" if suite.split else ""),
        "description": suite.description,
        "digest": suite.digest,
        "cells": cells,
    }
    return {"suite": about, "tracks": [asdict(track) for track in TRACKS.values()]}


def write_entry(site: Path, board: Board, standing: Standing, cache: Path | None) -> set[Path]:
    """Write the pages of one entry, and return them."""
    entry = standing.entry
    place = f"{board.suite.name}/{board.track.name}/{entry.slug}"
    page, written, links = site / "entries" / f"{place}.html", set(), dict[EpisodeKey, tuple[str, int]]()
    for episode_page in split(shown_transcripts(entry, cache)):
        path = site / "episodes" / place / f"{episode_page.name}.html"
        title = f"{entry.config.name}: {board.suite.title}, {board.track.name}{episode_page.title}"
        parent = (entry.config.name, f"../../../../entries/{place}.html")
        write_page(path, [transcript for _, transcript in episode_page.transcripts], title, parent)
        written.add(path)
        address = f"../../../episodes/{place}/{episode_page.name}.html"
        links |= {where: (address, number) for number, (where, _) in enumerate(episode_page.transcripts, start=1)}
    write_whole(page, fill("entry", entry_data(board, standing, links)))
    if entry.repairs:
        path = site / "repairs" / f"{place}.html"
        write_whole(path, fill("repairs", repairs_data(board, standing, links)))
        written.add(path)
    return {page, *written}


def fill(name: str, data: Any) -> str:
    """Return a page: the frame of all pages with a title, a body, styles, scripts and data."""
    folder = resources.files("benchmarks.leaderboard").joinpath("site")

    def read(file: str) -> str:
        return folder.joinpath(file).read_text(encoding="utf-8")

    title, _, body = read(f"{name}.html").rstrip("\n").partition("\n")
    page = read("frame.html")
    for marker, part in (
        ("__TITLE__", title),
        ("__BODY__", body),
        ("__STYLE__", read("style.css")),
        ("__SHARED__", read("shared.js")),
        ("__SCRIPT__", read(f"{name}.js")),
    ):
        page = page.replace(marker, part)
    before, _, after = page.partition("__DATA__")
    return before + script_json(data) + after


def index_data(boards: Sequence[Board]) -> dict[str, Any]:
    """Return the data of the first page."""
    return {"boards": [_board(board) for board in boards], "reading": READING, "limits": LIMITS}


def entry_data(board: Board, standing: Standing, links: Links) -> dict[str, Any]:
    """Return the data of an entry's page."""
    entry = standing.entry
    config = json.loads(render_config(entry.config))
    references = [other for other in board.standings if other.spec.is_reference and other is not standing]
    return {
        **_about(board),
        "entry": _standing(standing),
        "ranked": len(board.ranked),
        "settings": _facts({key: value for key, value in config.items() if key not in ("name", "limit", "format")}),
        "sessions": [_facts(session) for session in entry.sessions],
        "totals": _totals(entry),
        "thresholds": THRESHOLDS,
        "profiles": [
            {"name": one.entry.config.name, "profile": [number(point) for point in one.scores.profile]}
            for one in (standing, *references)
        ],
        "episodes": _episodes(board, entry, links),
        "reading": READING,
        "limits": LIMITS,
    }


def repairs_data(board: Board, standing: Standing, links: Links) -> dict[str, Any]:
    """Return the data of the page with an entry's solved repairs: the flagged ones come first."""
    entry, tasks = standing.entry, board.suite.cells
    rows = [
        {
            "episode": f"seed {tasks[cell].tasks[task].seed}, run {run + 1}",
            "cell": tasks[cell].name,
            "link": f"{links[run, cell, task][0]}#episode={links[run, cell, task][1]}",
            "patch": repair.patch,
            "flags": repair.flags,
        }
        for (run, cell, task), repair in sorted(entry.repairs.items(), key=lambda pair: (not pair[1].flags, pair[0]))
    ]
    return {**_about(board), "entry": _standing(standing), "repairs": rows}


def number(estimate: Estimate | None) -> list[float | None] | None:
    """Score, low and high for a page; an infinite high end is null."""
    if estimate is None:
        return None
    return [float(f"{part:.6g}") if math.isfinite(part) else None for part in asdict(estimate).values()]


def shown_transcripts(entry: Entry, cache: Path | None) -> list[tuple[EpisodeKey, Transcript]]:
    """Return the key and transcript of every episode, in the order of the suite.

    Args:
        entry: the entry.
        cache: folder of replays; None gives the transcripts as they were handed in.
    """
    played = sorted(entry.played(), key=lambda episode: episode.key)
    if cache is None:
        transcripts = [episode.transcript for episode in played]
    else:
        kept = cache / f"{entry_digest(entry.folder)}-{REPLAY_FORMAT}.jsonl"
        if not kept.exists():
            save_transcripts(kept, list(replayed(entry, played)))
        transcripts = read_transcripts(kept)
    cells = entry.config.found_suite().cells
    return [
        (episode.key, {**transcript, "title": cells[episode.key[1]].name})
        for episode, transcript in zip(played, transcripts, strict=True)
    ]


def replayed(entry: Entry, played: Sequence[EpisodeRecord]) -> Iterator[Transcript]:
    """Play episodes again: their transcripts with what stood at each turn, and nothing else that was handed in.

    Raises:
        BaselinesError: an episode is not what it was.
    """
    replayer = Replayer(entry.config)
    for episode in tqdm(played, desc=entry.slug, unit="episode", disable=None, file=sys.stderr):
        recorded = episode.transcript
        turns: list[TranscriptTurn] = []
        for turn, step in zip(recorded["turns"], replayer.replay(episode), strict=True):
            paid = {"observation": step.observation, "action": turn["action"], "reward": turn["reward"]}
            turns.append(cast(TranscriptTurn, paid | _beside(step)))
        yield {
            "version": recorded["version"],
            "env_id": recorded["env_id"],
            "seed": recorded["seed"],
            "task_id": recorded["task_id"],
            "success": recorded["success"],
            "return": recorded["return"],
            "outcome": recorded["outcome"],
            "turns": turns,
            "final_observation": replayer.final_observation if not episode.has_text else recorded["final_observation"],
        }


def split(transcripts: Sequence[tuple[EpisodeKey, Transcript]]) -> list[EpisodePage]:
    """Return one page for each run, or several where a run is too large for a page."""
    episode_pages: list[EpisodePage] = []
    run = part = size = -1
    for key, transcript in transcripts:
        length = len(json.dumps(transcript))
        if key[0] != run or size + length > MAX_PAGE:
            run, part, size = key[0], 1 if key[0] != run else part + 1, 0
            more = ("", "") if part == 1 else (f"-{part}", f", part {part}")
            episode_pages.append(EpisodePage(f"run-{run + 1}{more[0]}", f", run {run + 1}{more[1]}", []))
        episode_pages[-1].transcripts.append((key, transcript))
        size += length
    return episode_pages


def _beside(step: Step) -> dict[str, Any]:
    """Return the data shown next to the text at one point of an episode."""
    seen: dict[str, Any] = {}
    commands = step.info.get("admissible_commands")
    if commands is not None:
        seen["admissible_commands"] = list(commands)
    query_debug = getattr(step.env.unwrapped, "query_debug", lambda word: None)
    detail = query_debug("diff") or query_debug("map")
    if detail:
        seen["detail"] = detail
    return seen


def _board(board: Board) -> dict[str, Any]:
    return {**_about(board), "entries": [_standing(standing) for standing in board.standings]}


def _about(board: Board) -> dict[str, Any]:
    suite = board.suite
    cells = [
        {"name": cell.name, "domain": cell.domain, "tasks": len(cell.tasks), "knobs": cell.knobs}
        for cell in suite.cells
    ]
    return {
        "suite": {"name": suite.title, "description": suite.description, "digest": suite.digest, "cells": cells},
        "track": asdict(board.track),
        "k": board.num_runs,
        "citation": board.citation,
        "suite_page": suite_page(suite),
    }


def _standing(standing: Standing) -> dict[str, Any]:
    config, slug = standing.entry.config, standing.entry.slug
    return {
        "slug": slug,
        "name": config.name,
        "agent": config.agent,
        "kind": standing.spec.kind,
        "is_reference": standing.spec.is_reference,
        "page": f"entries/{config.suite}/{config.track}/{slug}.html",
        "rank": standing.rank,
        "repairs": len(standing.entry.repairs),
        "flagged": standing.entry.num_flagged,
        "above": _compared(standing.above),
        "runs": config.num_runs,
        **_scores(standing.scores),
    }


def _compared(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {
        "difference": number(comparison.difference),
        "p": comparison.p_value,
        "is_clear": comparison.is_clear,
    }


def _scores(scores: Scores) -> dict[str, Any]:
    names = ("success", "normalised", "returns", "spl", "steps", "pass_all", "tokens", "cost")
    return {
        **{name: number(getattr(scores, name)) for name in names},
        "cells": [
            {name: number(getattr(cell, name)) for name in ("success", "returns", "spl")} for cell in scores.cells
        ],
        "knobs": [{**asdict(point), "success": number(point.success)} for point in scores.knobs],
        "groups": [{**asdict(group), "success": number(group.success)} for group in scores.groups],
    }


def _facts(recorded: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and texts of whatever somebody has handed in, dictionaries in it opened once."""
    opened: dict[str, Any] = {}
    for name, value in recorded.items():
        opened |= (
            {f"{name}: {key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
        )
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in opened.items()]


def _totals(entry: Entry) -> list[tuple[str, float]]:
    """Name and sums over all episodes of what was counted."""
    columns = {
        "steps": "steps",
        "invalid actions": "invalid_actions",
        "prompt tokens": "prompt_tokens",
        "completion tokens": "completion_tokens",
        "cost": "cost",
        "retried requests": "retries",
        "empty replies": "empty_replies",
        "seconds": "seconds",
    }
    sums = {name: float(entry.table.column(key).sum()) for name, key in columns.items()}
    counts = [("episodes", len(entry.config.episode_keys())), ("starts of the run", len(entry.sessions))]
    counts += [("attempts that came to nothing", len(entry.unplayed))]
    return [*counts, *((name, total) for name, total in sums.items() if total >= 0)]


def _episodes(board: Board, entry: Entry, links: Links) -> list[dict[str, Any]]:
    rows = []
    for run, recorded in enumerate(entry.table.rows):
        for (cell, task), row in zip(board.suite.tasks(), recorded, strict=True):
            page, place = links[run, cell, task]
            asked = board.suite.cells[cell].tasks[task]
            rows.append(
                {
                    "run": run + 1,
                    "cell": cell,
                    "seed": str(asked.seed),
                    "reference": asked.reference_steps,
                    **{key: row[key] for key in ("success", "outcome", "return", "steps", "invalid_actions")},
                    "link": f"{page}#episode={place}",
                }
            )
    return rows
