"""The data card of an index: its projects, how their tasks were found, and what was left out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from textagent_gym.envs.swe.sources.projects import INDEX, Project, projects, read_index

CARD = "README.md"
LEFT_OUT = "left_out.json"

_HEAD = """\
# Repair tasks

{num_tasks} tasks of {num_projects} projects: bugs put into unmodified source distributions, made by
`textagent-gym prepare swe` (textagent-gym {version}, Python {python}). Each task was validated by running its tests: they
fail at the start, and the original code passes them.

```python
import gymnasium as gym

env = gym.make("textagent_gym:SWEGym-Custom-v0", index="{folder}", split="train")
```

The folder holds names, hashes, ids of tests and places of changes, and no line of the projects' code; that is fetched from
the package index by hash, under the licence in the table. The bugs are small mutations: scores say how well an agent repairs
planted bugs with the tests available. A model may know the projects' code.

## Projects

{projects}

## Bugs by kind

Changes whose tests were run. A bug is used if it breaks 1 to 12 tests, and not the same as another.

{kinds}

## Tasks

Combinations of bugs that were tried as tasks.

{combined}
"""


def data_card(folder: Path) -> str:
    """Return the data card of an index, as Markdown."""
    found = _projects(folder)
    contents = [read_index(project.index_file, folder) for project in found]
    combined: Counter[str] = Counter()
    for content in contents:
        combined.update(content.get("combined", {}))
    text = _HEAD.format(
        num_tasks=sum(len(project.tasks) for project in found),
        num_projects=len(found),
        version=version("textagent-gym"),
        python=sys.version.partition(" ")[0],
        folder=folder.name,
        projects=project_table(folder),
        kinds=_kinds(contents),
        combined=table(("result", "combinations"), combined.most_common()),
    )
    left_out = read_index(LEFT_OUT, folder) if (folder / LEFT_OUT).exists() else {}
    if left_out:
        text += f"\n## Left out\n\n{table(('project', 'reason'), left_out.items())}\n"
    return text


def project_table(folder: Path = INDEX) -> str:
    """Return a table of the projects of an index: their sizes, the seconds of a run of their tests, and their tasks."""
    rows = []
    for project in _projects(folder):
        content = read_index(project.index_file, folder)
        tried = content.get("tried", ())
        rows.append(
            (
                project.name,
                project.version,
                project.licence,
                project.split,
                project.num_files,
                len(content["tests"]),
                content["seconds"],
                len(project.wheels),
                sum(row[2] for row in tried) or "-",
                len(content["bugs"]),
                len(project.tasks),
            )
        )
    columns = (
        "project",
        "version",
        "licence",
        "split",
        "files",
        "tests",
        "seconds",
        "wheels",
        "tried",
        "bugs",
        "tasks",
    )
    return table(columns, rows)


def release_table() -> str:
    """Return a table of the projects with release tasks in the index of this package."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_index("releases.json"):
        rows.setdefault(row["project"], []).append(row)
    return table(
        ("project", "licence", "split", "files", "seconds", "tasks"),
        (
            (
                name,
                found[-1]["licence"],
                found[-1]["split"],
                found[-1]["source_files"],
                found[-1]["seconds"],
                len(found),
            )
            for name, found in sorted(rows.items())
        ),
    )


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---" for _ in columns], *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)


def _projects(folder: Path) -> list[Project]:
    projects.cache_clear()  # the folder may have grown
    return list(projects(folder).values())


def _kinds(contents: list[dict[str, Any]]) -> str:
    counts: dict[str, Counter[str]] = {}
    for content in contents:
        for kind, outcome, count in content.get("tried", ()):
            counts.setdefault(kind, Counter())[outcome] += count
    reasons = sorted({outcome for count in counts.values() for outcome in count} - {"sound"})
    rows = [
        (kind, count.total(), count["sound"], *(count[reason] for reason in reasons))
        for kind, count in sorted(counts.items())
    ]
    return table(("kind", "tried", "sound", *reasons), rows)
