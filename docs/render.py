"""Parts of pages that are made from the code: `python docs/render.py` writes them, `--check` compares them.

They are the docstrings of the environment classes and the tables of ids, each between two marks of a page.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from textagent_gym.contract import Info, TaskCard
from textagent_gym.core import TextAgentEnv
from textagent_gym.envs.alfworld.env import ALFWorldEnv
from textagent_gym.envs.swe.env import SWEGymEnv
from textagent_gym.envs.swe.synthesis.data_card import project_table, release_table
from textagent_gym.envs.textworld.env import TextWorldEnv
from textagent_gym.multi_agent.alfworld_coop import ALFWorldCoop
from textagent_gym.multi_agent.swe_pair import SWEPair
from textagent_gym.multi_agent.team import TeamEnv
from textagent_gym.multi_agent.textworld_coop import TextWorldCoop
from textagent_gym.registration import environment_specs

DOCS = Path(__file__).parent
BEGIN = (
    "<!-- Rendered by docs/render.py from the code, down to the end mark: edit the docstring, then run `make docs`. -->"
)
END = "<!-- End of the rendered part. -->"
DOMAINS: dict[str, type[TextAgentEnv]] = {"TextWorld": TextWorldEnv, "ALFWorld": ALFWorldEnv, "SWEGym": SWEGymEnv}
TEAMS: dict[str, type[TeamEnv]] = {
    "What all teams share": TeamEnv,
    "textworld_coop": TextWorldCoop,
    "alfworld_coop": ALFWorldCoop,
    "swe_pair": SWEPair,
}
KNOBS = ("state_space_size", "action_space_size", "solution_length")


def rendered() -> dict[Path, str]:
    """Return page -> content of its rendered part."""
    parts = {
        "textworld.md": domain_part("TextWorld"),
        "alfworld.md": domain_part("ALFWorld"),
        "swegym.md": domain_part("SWEGym"),
        "environment.md": "\n\n".join([docstring(TextAgentEnv), sections({"info": Info, "The task card": TaskCard})]),
        "multi_agent.md": sections(TEAMS),
        "swe_projects.md": f"## Mutation tasks\n\n{project_table()}\n\n## Release tasks\n\n{release_table()}",
        "ids.md": "\n\n".join(f"## {domain}\n\n{id_table(domain)}" for domain in DOMAINS),
    }
    return {DOCS / name: part for name, part in parts.items()}


def page(path: Path, part: str) -> str:
    """Return the text of a page with `part` between its two marks; all else on it is written by hand."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"expected the marks {BEGIN!r} and {END!r} in {path}")
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def domain_part(domain: str) -> str:
    """Return the docstring of a domain's environment and the table of its ids."""
    return f"{docstring(DOMAINS[domain])}\n\n## Ids\n\n{id_table(domain)}"


def sections(described: Mapping[str, type]) -> str:
    """Return a section for each title, with the docstring of its class."""
    return "\n\n".join(f"## {title}\n\n{docstring(kind)}" for title, kind in described.items())


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
    wrap = textwrap.TextWrapper(125, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrap.fill(line) if line.startswith("- ") else line for line in lines)


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
    pages = {path: page(path, part) for path, part in rendered().items()}
    stale = [path for path, content in pages.items() if path.read_text(encoding="utf-8") != content]
    if check and stale:
        sys.exit(
            f"expected pages as the code renders them, got old ones: {', '.join(map(str, stale))}; run `make docs`"
        )
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")


if __name__ == "__main__":
    main()
