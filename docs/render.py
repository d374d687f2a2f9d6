"""Renders the pages that are made from the code: `python docs/render.py` writes them, `--check` compares them.

The page of a domain is the docstring of its environment class and the table of its ids; the page of all ids comes from the
same registry.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from textagent_gym.contract import Info, TaskCard
from textagent_gym.core import TextAgentEnv
from textagent_gym.envs.alfworld.env import ALFWorldEnv
from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.textworld.env import TextWorldEnv
from textagent_gym.multi_agent.alfworld_coop import ALFWorldCoop
from textagent_gym.multi_agent.swe_pair import SWEPair
from textagent_gym.multi_agent.team import TeamEnv
from textagent_gym.multi_agent.textworld_coop import TextWorldCoop
from textagent_gym.registration import environment_specs, file_specs

DOCS = Path(__file__).parent
NOTE = "<!-- Made by docs/render.py from the code; edit the docstring, then run `make docs`. -->"
DOMAINS: dict[str, type[TextAgentEnv]] = {"TextWorld": TextWorldEnv, "ALFWorld": ALFWorldEnv, "SWEGym": SWEGymEnv}
TEAMS: dict[str, type[TeamEnv]] = {
    "What all teams share": TeamEnv,
    "textworld_coop": TextWorldCoop,
    "alfworld_coop": ALFWorldCoop,
    "swe_pair": SWEPair,
}
KNOBS = ("state_space_size", "action_space_size", "solution_length")

IDS = """`{Domain}-{Tier}-{Density}-v{N}`: a tier is a name for numbers, and a density is the share of the steps of the
solution that pay when reached (Sparse 0, Balanced 0.5, Dense 1). Settings of the literature have ids that are named as the
literature names them. Everything else is an option: `gym.make("TextWorld-Medium-Dense-v0", solution_length=12)`.

`textagent-gym list` prints the ids, and `textagent-gym card ID` shows the sizes of a task as measured. Import the package
first, or write it in front of the id: `textagent_gym:TextWorld-Easy-Dense-v0`."""
GIVEN = """`TextWorld-Custom-v0` with `game="path.json"` plays a game file made by `tw-make`. `ALFWorld-v0` with
`split="train"`, `"valid_seen"` or `"valid_unseen"` plays ALFWorld's real games after `alfworld-download`; the other ALFWorld
ids need no data. `SWEGym-Release-v0` plays releases of real projects, and `SWEGym-Custom-v0` with `tasks="path.jsonl"` plays
rows of SWE-Gym, SWE-bench or your own. SWEGym needs Linux and `pip install 'textagent-gym[swe]'`."""


def pages() -> dict[Path, str]:
    """Return path -> content of every page that is made from the code."""
    return {
        DOCS / "textworld.md": page("TextWorld"),
        DOCS / "alfworld.md": page("ALFWorld"),
        DOCS / "swegym.md": page("SWEGym"),
        DOCS / "environment.md": environment_page(),
        DOCS / "multi_agent.md": teams_page(),
        DOCS / "ids.md": ids_page(),
    }


def page(domain: str) -> str:
    """Return the page of one domain; `docs/<domain>_notes.md` follows the docstring where it exists."""
    notes = DOCS / f"{domain.lower()}_notes.md"
    more = f"\n{notes.read_text()}" if notes.exists() else ""
    return f"{NOTE}\n\n# {domain}\n\n{docstring(DOMAINS[domain])}\n\n## Ids\n\n{id_table(domain)}\n{more}"


def environment_page() -> str:
    """Return the contract that all environments share: the base class, info, and the task card."""
    parts = [f"{NOTE}\n\n# What every environment keeps\n\n{docstring(TextAgentEnv)}"]
    parts += [f"## {title}\n\n{docstring(kind)}" for title, kind in (("info", Info), ("The task card", TaskCard))]
    return "\n\n".join(parts) + "\n"


def teams_page() -> str:
    """Return the page of the teams: what all share, each team, and `docs/multi_agent_notes.md`."""
    parts = [f"{NOTE}\n\n# Teams\n\n{(DOCS / 'multi_agent_notes.md').read_text().rstrip()}"]
    parts += [f"## {title}\n\n{docstring(kind)}" for title, kind in TEAMS.items()]
    return "\n\n".join(parts) + "\n"


def ids_page() -> str:
    """Return the page of all ids."""
    tables = [f"## {domain}\n\n{id_table(domain)}" for domain in DOMAINS]
    given = ", ".join(f"`{env_id}`" for env_id in file_specs())
    return "\n\n".join([f"{NOTE}\n\n# Ids\n\n{IDS}", *tables, f"## Given tasks\n\n{given}\n\n{GIVEN}"]) + "\n"


def docstring(described: type) -> str:
    """Return a Google docstring as Markdown: sections in bold, entries as list items."""
    lines: list[str] = []
    in_section = False
    for line in inspect.cleandoc(described.__doc__ or "").split("\n"):
        if line in ("Args:", "Attributes:", "Raises:"):
            lines += [f"**{line}**", ""]
            in_section = True
        elif in_section and line.startswith("    ") and not line.startswith("     "):
            name, _, text = line.strip().partition(": ")
            lines.append(f"- `{name}`: {text}")
        elif in_section and line.startswith("     "):
            lines[-1] += f" {line.strip()}"
        else:
            in_section = in_section and not line.strip()
            lines.append(line)
    return "\n".join(lines)


def id_table(domain: str) -> str:
    """Return a Markdown table of the ids of one domain, densities joined."""
    rows: dict[str, tuple[list[str], dict[str, object]]] = {}
    for env_id, (_, kwargs) in environment_specs().items():
        name, density, version = env_id.rsplit("-", 2)
        if env_id.startswith(domain):
            rows.setdefault(f"{name}-{{}}-{version}", ([], kwargs))[0].append(density)
    units = [DOMAINS[domain].units[knob] for knob in KNOBS[:2]]
    # What a game gives away of its solution is a choice in TextWorld alone.
    instructions = "instructions" in inspect.signature(DOMAINS[domain]).parameters
    titles = ["id", *units, "solution length", *(["instructions"] if instructions else [])]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for pattern, (densities, kwargs) in rows.items():
        cells = [f"`{pattern.format('{' + ','.join(densities) + '}')}`"]
        cells += [size(knob, kwargs) for knob in KNOBS]
        cells += [str(kwargs.get("instructions", "steps"))] if instructions else []
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def size(knob: str, kwargs: dict[str, object]) -> str:
    """Return an id's value of a knob: a number, a range, or none."""
    low, high = kwargs.get(f"min_{knob}"), kwargs.get(f"max_{knob}")
    if low is None and high is None:
        return str(kwargs.get(knob, "fixed"))
    return f"{low} to {high}" if high is not None else f"{low} and more"


def main() -> None:
    """Write the pages, or exit with status 1 where `--check` finds one that differs."""
    check = sys.argv[1:] == ["--check"]
    stale = [path for path, content in pages().items() if not path.exists() or path.read_text() != content]
    if check and stale:
        sys.exit(
            f"expected pages as the code renders them, got old ones: {', '.join(map(str, stale))}; run `make docs`"
        )
    for path in stale:
        path.write_text(pages()[path])


if __name__ == "__main__":
    main()
