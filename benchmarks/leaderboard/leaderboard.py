"""Renders the leaderboards: one page of Markdown, and a site of static pages that works from a folder.

    python -m benchmarks leaderboard --site site
    python -m benchmarks leaderboard --check      what a pull request has to pass

Entries that were not verified yet are re-simulated first. The site's transcripts are replayed once for each entry, to show
further data of each turn: admissible commands, a map, a diff. `--no-replay` shows them as they were handed in.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import fill
from typing import TypeAlias

from baselines.runs.files import write_whole
from benchmarks.leaderboard.entries import CACHE, RESULTS, EntryError, load_entries
from benchmarks.leaderboard.pages import write_site
from benchmarks.leaderboard.scores import Estimate
from benchmarks.leaderboard.standings import LIMITS, READING, Board, Comparison, Standing, make_boards

MAX_NAME = 60
"""Characters of a name that a table shows."""

Column: TypeAlias = tuple[str, Callable[[Standing], str]]

_NONE = "\u2013"

_INTRO = """\
# Leaderboards

<!-- Made by `python -m benchmarks leaderboard` from the entries; edit the code, not this page. -->

A suite is a fixed list of tasks; a track says what agents are granted on top of the text. Suites never change once they are
published: scores in one table are scores on the same tasks.

The same as pages to sort, filter and plot, with every episode turn by turn (no server and no network needed):

```
python -m benchmarks leaderboard --site site
```

Open `site/index.html`. [How an entry gets listed](benchmarks.md#submitting).
"""


@dataclass(frozen=True)
class Config:
    """Options of the pages."""

    results: Path | None = None
    """Folder of the entries; by default that of this repository."""
    site: Path = Path("site")
    """Folder of the static pages; pages of entries that are gone are removed from it."""
    docs: Path = Path("docs/leaderboard.md")
    """The page of Markdown."""
    cache: Path | None = None
    """Folder in which it is kept what was verified, and replays; by default one in the user's cache."""
    replay: bool = True
    """Replay the episodes to show admissible commands, maps and diffs; else show them as they were handed in."""
    check: bool = False
    """Write nothing: verify every entry again, whatever was verified before, and hold the page to them."""


def render(config: Config) -> list[Board]:
    """Write the page and the site, and return what stands on them.

    Raises:
        BaselinesError: an entry is not what it says, or cannot be replayed.
    """
    cache = config.cache or CACHE
    boards = make_boards(load_entries(config.results or RESULTS, cache / "verified", _say))
    write_whole(config.docs, markdown(boards))
    _say(f"writing the pages of {sum(len(board.standings) for board in boards)} entries")
    write_site(config.site, boards, cache / "replays" if config.replay else None)
    return boards


def check(config: Config) -> list[Board]:
    """Verify every entry again, and return the boards.

    Raises:
        BaselinesError: an entry is not what it says, something else lies among the entries, or the page is an old one.
    """
    boards = make_boards(load_entries(config.results or RESULTS, say=_say))
    if not config.docs.is_file() or config.docs.read_text(encoding="utf-8") != markdown(boards):
        raise EntryError(
            f"expected {config.docs} as it is made from the entries, got another: run the command without --check"
        )
    return boards


def _say(line: str) -> None:
    """Write a line of progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def markdown(boards: Sequence[Board]) -> str:
    """Return the page of Markdown; the same for the same entries."""
    parts = [_INTRO, *map(board_markdown, boards)] if boards else [_INTRO, "There are no entries yet.\n"]
    limits = ";\n".join(map(_point, LIMITS))
    return "\n".join(
        [
            *parts,
            "## How to read the scores\n",
            *map(_point, READING),
            "\n## What verification does not prove\n",
            "Every entry was played again from its seeds and actions, and earned the same rewards. That does not prove\n",
            f"{limits}.\n",
        ]
    )


def plain(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no links, no line breaks, nothing that turns the reading direction."""
    visible = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)
    # Entities are text wherever they stand; a dot or colon is one where it could begin a link, and behind an @ nothing may
    # stand that could end an address: entities are read before addresses are looked for.
    escaped = re.sub(r"[!-~](?<![\w\-.:,;+=%/()'^])|_|:(?=/)|(?<=www)\.", lambda found: f"&#{ord(found[0])};", visible)
    return escaped.replace("&#64;", "&#64;<!-- -->").strip()


def shown(estimate: Estimate | None, spec: str = ".2f") -> str:
    """Return a score with its interval, or a dash."""
    return _NONE if estimate is None else format(estimate, spec).replace("inf", "\u221e").replace("-0.00", "0.00")


def board_markdown(board: Board) -> str:
    """Return the tables of one board."""
    flagged = board.flagged
    granted = [
        "the list of admissible commands" if board.track.lists else "no list of commands",
        "memory" if board.track.memory else "no memory",
    ]
    lines = [
        f"## {board.suite.title}, track {board.track.name}\n",
        f"{board.suite.description} {len(board.suite.cells)} cells, {len(board.suite.tasks())} tasks.\n"
        f"The track grants: {', '.join(granted)}.\n",
        *_table(_filled(_columns(board), board.standings), [one for one in board.standings if one not in flagged]),
        *(_flagged(flagged) if flagged else ()),
        *(line for kind in _group_kinds(board) for line in (f"\n### Success by {kind}\n", *_groups(board, kind))),
        "\n### Success in each cell\n",
        *_cells(board),
    ]
    if board.citation:
        lines[1] += f"To cite this table as it stands: `{board.citation}`.\n"
    if len(board.ranked) > 1:
        lines += ["\n### Neighbours in the ranking\n", *_neighbours(board)]
    return "\n".join(lines) + "\n"


def _flagged(standings: Sequence[Standing]) -> list[str]:
    return [
        "\n### Flagged entries\n",
        "Some of their solved repairs use what attacks on the grading use; the page of an entry shows the diffs.\n",
        *_table(
            [
                ("name", lambda one: _short(one.entry.config.name)),
                ("agent", lambda one: _short(one.entry.config.agent)),
                ("success rate", lambda one: shown(one.scores.success)),
                ("flagged repairs", lambda one: str(one.entry.num_flagged)),
            ],
            standings,
        ),
    ]


def _point(text: str) -> str:
    return fill(text, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def _columns(board: Board) -> list[Column]:
    return [
        ("rank", _rank),
        ("name", lambda one: _short(one.entry.config.name)),
        ("agent", lambda one: "reference" if one.spec.is_reference else _short(one.entry.config.agent)),
        ("success rate", lambda one: shown(one.scores.success)),
        ("normalised", lambda one: shown(one.scores.normalised)),
        ("return", lambda one: shown(one.scores.returns)),
        ("SPL", lambda one: shown(one.scores.spl)),
        (f"pass^{board.num_runs}", lambda one: shown(one.scores.pass_all)),
        ("thousand tokens per solved task", lambda one: shown(_thousands(one.scores.tokens), ".1f")),
        ("cost per solved task", lambda one: shown(one.scores.cost, ".2g")),
        ("runs", lambda one: str(one.entry.config.num_runs)),
    ]


def _filled(columns: Sequence[Column], standings: Sequence[Standing]) -> list[Column]:
    """Return columns in which any entry has something."""
    return [(title, shown) for title, shown in columns if any(shown(one) != _NONE for one in standings)]


def _table(columns: Sequence[Column], standings: Sequence[Standing]) -> list[str]:
    return _rows([title for title, _ in columns], [[shown(one) for _, shown in columns] for one in standings])


def _rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(titles), f"|{' --- |' * len(titles)}", *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(board: Board) -> list[str]:
    rows = [
        [plain(cell.name), str(len(cell.tasks)), *(shown(one.scores.cells[place].success) for one in board.standings)]
        for place, cell in enumerate(board.suite.cells)
    ]
    return _rows(["cell", "tasks", *(plain(one.entry.slug) for one in board.standings)], rows)


def _group_kinds(board: Board) -> list[str]:
    return list(dict.fromkeys(kind for cell in board.suite.cells for kind in cell.groups))


def _groups(board: Board, kind: str) -> list[str]:
    columns = [[group for group in one.scores.groups if group.kind == kind] for one in board.standings]
    rows = [
        [plain(row[0].name), str(row[0].num_tasks), *(shown(group.success) for group in row)]
        for row in zip(*columns, strict=True)
    ]
    return _rows([kind, "tasks", *(plain(one.entry.slug) for one in board.standings)], rows)


def _neighbours(board: Board) -> list[str]:
    rows = [
        [plain(upper.entry.slug), plain(lower.entry.slug), *_compared(lower.above)]
        for upper, lower in pairwise(board.ranked)
        if lower.above
    ]
    return _rows(["above", "below", "difference in success rate", "p", ""], rows)


def _compared(comparison: Comparison) -> list[str]:
    verdict = "" if comparison.is_clear else "not distinguishable"
    p_value = _NONE if comparison.p_value is None else f"{comparison.p_value:.4f}"
    return [shown(comparison.difference), p_value, verdict]


def _rank(standing: Standing) -> str:
    if standing.rank is None:
        return ""
    return str(standing.rank) if standing.above is None or standing.above.is_clear else f"{standing.rank} \u2248"


def _short(name: str) -> str:
    return plain(name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}\u2026")


def _thousands(tokens: Estimate | None) -> Estimate | None:
    return tokens and Estimate(tokens.value / 1000, tokens.low / 1000, tokens.high / 1000)


def main(config: Config) -> None:
    """Render the leaderboards, or check them."""
    boards = check(config) if config.check else render(config)
    entries = sum(len(board.standings) for board in boards)
    if config.check:
        sys.stdout.write(f"{entries} entries verified, and {config.docs} is theirs\n")
        return
    sys.stdout.write(f"{entries} entries on {config.docs} and {config.site / 'index.html'}\n")
