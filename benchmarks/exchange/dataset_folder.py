"""The folder of a data set: files of data, a manifest with their digests, and a card that people read.

    README.md         the card: what it is, digests, licence, the command that made it, how to load it
    manifest.json     the same for programs, with sha256 of every file of data
    suite.json        a suite as it was published, and tasks.jsonl, one task a line
    run.json ...      or the five files of a run (`benchmarks.runs.records`), replayed before they were written
    demonstrations.jsonl    or play of the expert, one episode a line, as `python -m baselines.sft --data` reads it

The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from baselines.config.settings import JsonObject
from baselines.errors import BaselinesError, ConfigError
from baselines.sampling.conversations import read_file
from baselines.sampling.environments import make_env
from benchmarks.agents.agents import IMPORTED
from benchmarks.leaderboard.entries import pack, read_verified
from benchmarks.runs.records import FILES, RunConfig, read_text
from benchmarks.runs.verify import Verified
from benchmarks.suites.suite import DIGESTS, Presentation, load_suite, sha256, suite_text

if TYPE_CHECKING:
    from baselines.sampling.demonstrations import Demonstration

Kind: TypeAlias = Literal["suite", "run", "demonstrations"]

MANIFEST, CARD = "manifest.json", "README.md"

DATA: dict[Kind, tuple[str, ...]] = {
    "suite": ("suite.json", "tasks.jsonl"),
    "run": FILES,
    "demonstrations": ("demonstrations.jsonl",),
}
"""Kind -> its files of data."""

VIEWED: dict[Kind, str] = {
    "suite": "tasks.jsonl",
    "run": "episodes.jsonl",
    "demonstrations": "demonstrations.jsonl",
}
"""Kind -> the file that `datasets.load_dataset` reads, one row a line."""

FORMAT = 1

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")


class DatasetError(BaselinesError):
    """A folder is not a data set of this package, or its files differ from their digests."""


@dataclass(frozen=True)
class Manifest:
    """Statements of a data set about itself.

    Attributes:
        kind: suite, run or demonstrations.
        name: of the suite, of the run, or id of the environment.
        description: what it is, in sentences.
        command: command that makes the same.
        licence: as the hub names it, such as "mit".
        facts: further facts, name -> value.
        files: file of data -> sha256.
        made_with: version of this package.
        format: of this file.
    """

    kind: Kind
    name: str
    description: str
    command: str
    licence: str
    facts: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    made_with: str = ""
    format: int = FORMAT


def write_suite(folder: Path, name: str, licence: str) -> Manifest:
    """Write the data set of a published suite.

    Raises:
        SuiteError: there is no suite of that name.
    """
    suite = load_suite(name)
    rows = [
        {"cell": cell.name, "env_id": cell.env_id, "options": json.dumps(cell.options, sort_keys=True), **asdict(task)}
        for cell in suite.cells
        for task in cell.tasks
    ]
    (folder / "suite.json").write_text(suite_text(name), encoding="utf-8")
    (folder / "tasks.jsonl").write_text(_lines(rows), encoding="utf-8")
    made = Manifest(
        "suite",
        name,
        f"{suite.description} A frozen list of {len(rows)} tasks in {len(suite.cells)} environments, each with a digest of "
        "its content. The environments are those of textagent-gym.",
        f"python -m benchmarks run --suite {name} --agent random --out runs/random",
        licence,
        {"suite": name, "digest of the suite": suite.digest, "tasks": str(len(rows))},
    )
    return _finish(folder, made)


def write_run(folder: Path, found: Verified, licence: str) -> Manifest:
    """Write the data set of a run that was replayed; texts of games that are data of others are left out.

    Raises:
        DatasetError: the run is of less than a whole suite or split.
    """
    config, suite = found.config, found.config.found_suite()
    if found.is_partial:
        raise DatasetError(f"expected a run of a whole suite, got {config.limit} tasks of each cell (--limit)")
    pack(found, folder / "entry")
    for name in FILES:
        (folder / "entry" / name).rename(folder / name)
    (folder / "entry").rmdir()
    wins = sum(episode.transcript["success"] for episode in found.played)
    made = Manifest(
        "run",
        config.name,
        f"Every episode of {config.num_runs} runs of {suite.title}, track {config.track}: {wins} of {len(found.played)} "
        "solved. It was replayed before it was pushed, and anybody can replay it again. A replay does not prove who chose "
        "the actions.",
        command_of(config),
        licence,
        {
            "suite": suite.title,
            "digest of the suite": suite.digest,
            "track": config.track,
            "agent": config.agent,
            "episodes": str(len(found.played)),
            "solved": str(wins),
        },
    )
    return _finish(folder, made)


def command_of(config: RunConfig) -> str:
    """Return the command that makes a run of these settings."""
    shared = ["--suite", config.suite, "--track", config.track, "--name", config.name]
    shared += ["--split", config.split] if config.split else []
    if config.agent == IMPORTED:
        words = ["import", "actions.jsonl", *shared]
    else:
        words = ["run", "--agent", config.agent, *shared]
        if config.agent_settings:
            words += ["--agent-kwargs", json.dumps(config.agent_settings)]
        plain = asdict(Presentation())
        for name, value in asdict(config.presentation).items():
            option = name.replace("_", "-")
            if value != plain[name]:
                words += (
                    [f"--{'' if value else 'no-'}{option}"] if isinstance(value, bool) else [f"--{option}", str(value)]
                )
    return shlex.join(["python", "-m", "benchmarks", *words, "--seeds", str(config.num_runs), "--out", "runs/again"])


def write_demonstrations(folder: Path, env_id: str, env_kwargs: JsonObject, seeds: range, licence: str) -> Manifest:
    """Play the expert on seeds, and write its solved episodes as a data set.

    Raises:
        BaselinesError: the environment does not give its solutions, or none of them succeeds.
    """
    from baselines.sampling.demonstrations import play_expert  # loads torch, which nothing else here needs

    env = make_env(env_id, {**env_kwargs, "expose_solution": True})
    played = [play_expert(env, seed) for seed in seeds]
    env.close()
    solved = [one for one in played if one.success]
    if not solved:
        raise ConfigError(f"expected expert episodes that succeed, got none among {len(played)}")
    shown = json.dumps(env_kwargs, sort_keys=True)
    (folder / "demonstrations.jsonl").write_text(_lines(_row(env_id, shown, one) for one in solved), encoding="utf-8")
    words = ["python", "-m", "benchmarks", "push", "demonstrations", env_id, "USER/NAME", "--count", str(len(seeds))]
    words += ["--first-seed", str(seeds.start), "--env-kwargs", shown]
    made = Manifest(
        "demonstrations",
        env_id,
        f"Solved episodes of the expert of {env_id}, the reference solution played through, as chat messages: an "
        "observation is a message of the user, an action one of the assistant.",
        shlex.join(words),
        licence,
        {
            "environment": env_id,
            "options": shown,
            "seeds": f"{seeds.start} to {seeds.stop - 1}",
            "episodes": str(len(solved)),
            "actions": str(sum(len(one.actions) for one in solved)),
        },
    )
    return _finish(folder, made)


def check_folder(folder: Path, digest: str | None = None) -> Manifest:
    """Return the manifest of a folder once its files are known to be those that it lists.

    Args:
        folder: of the data set.
        digest: sha256 that the manifest must have; None takes any.

    Raises:
        BaselinesError: a file is missing or differs from its digest, the suite is not the published one, or the content is
            not of its kind; one sentence says which.
    """
    manifest = read_manifest(folder, digest)
    for name, wanted in manifest.files.items():
        found = _digest(folder / name)
        if found != wanted:
            raise DatasetError(
                f"expected {name} with sha256 {wanted[:16]}, got {found[:16]}: it is not the file that was pushed"
            )
    if manifest.kind == "suite":
        check_suite(manifest.name, read_text(folder / "suite.json"))
    elif manifest.kind == "run":
        read_verified(folder)
    else:
        for _ in read_file(folder / "demonstrations.jsonl"):
            pass
    return manifest


def check_suite(name: str, text: str) -> None:
    """Raise `DatasetError` unless a text is that of a suite as it was published."""
    if name not in DIGESTS:
        raise DatasetError(f"expected a suite that this version knows ({', '.join(DIGESTS)}), got {name!r:.60}")
    if sha256(text) != DIGESTS[name]:
        raise DatasetError(f"expected {name} as it was published ({DIGESTS[name][:16]}), got {sha256(text)[:16]}")


def read_manifest(folder: Path, digest: str | None = None) -> Manifest:
    """Read a manifest.

    Raises:
        BaselinesError: there is none, it has another digest than `digest`, or it lists other files than its kind has.
    """
    text = read_text(folder / MANIFEST, 2**20)
    if digest is not None and sha256(text) != digest:
        raise DatasetError(f"expected a manifest with sha256 {digest:.16}, got {sha256(text)[:16]}")
    try:
        manifest = Manifest(**json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"expected {MANIFEST} of a data set that `push` made, got another ({error!s:.120})"
        ) from error
    if manifest.format != FORMAT or manifest.kind not in get_args(Kind) or not isinstance(manifest.files, dict):
        raise DatasetError(
            f"expected a suite, run or demonstrations in format {FORMAT}, got {manifest.kind!r:.40} in "
            f"{manifest.format!r:.20}"
        )
    if not isinstance(manifest.name, str) or set(manifest.files) != set(DATA[manifest.kind]):
        raise DatasetError(f"expected the files {', '.join(DATA[manifest.kind])}, got {sorted(manifest.files)!r:.200}")
    return manifest


def write_card(folder: Path, manifest: Manifest, repo: str) -> None:
    """Write the card of a data set, with its address."""
    digest = _digest(folder / MANIFEST)
    front = [
        "---",
        f"license: {manifest.licence}",
        f"pretty_name: {json.dumps(manifest.name)}",
        "tags:\n- textagent-gym\n- text-environments\n- reinforcement-learning",
        f"configs:\n- config_name: default\n  data_files: {VIEWED[manifest.kind]}",
        "---",
    ]
    body = [
        f"# {_plain(manifest.name)}\n",
        f"{_plain(manifest.description)}\n",
        *_table("", manifest.facts),
        "\n## Files\n",
        *_table("sha256", manifest.files),
        f"\n`{MANIFEST}` lists the same, and has the sha256 `{digest}`.\n",
        "## Made by\n",
        f"```\n{manifest.command}\n```\n",
        f"with textagent-gym {manifest.made_with}.\n",
        "## Load\n",
        f"```\npython -m benchmarks load {repo} --out FOLDER --digest {digest}\n```\n",
        "compares every file with its digest and refuses what differs. Or, without a check:\n",
        f'```py\nfrom datasets import load_dataset\n\nrows = load_dataset("{repo}", split="train")\n```\n',
        "## Licence\n",
        f"{manifest.licence}, as the person who pushed it states. Texts of software projects, where there are any, keep the "
        "licence of their project.",
    ]
    (folder / CARD).write_text("\n".join([*front, "", *body]) + "\n", encoding="utf-8")


def _finish(folder: Path, made: Manifest) -> Manifest:
    """Write the manifest, with the digests of the files."""
    if not LICENCE.fullmatch(made.licence):
        raise ConfigError(f"expected a licence as the hub names it, such as mit or cc-by-4.0, got {made.licence!r:.60}")
    files = {name: _digest(folder / name) for name in DATA[made.kind]}
    whole = replace(made, files=files, made_with=version("textagent-gym"))
    (folder / MANIFEST).write_text(json.dumps(asdict(whole), indent=2) + "\n", encoding="utf-8")
    return whole


def _row(env_id: str, env_kwargs: str, played: Demonstration) -> dict[str, Any]:
    said = [
        message
        for observation, action in zip(played.observations, played.actions, strict=False)
        for message in ({"role": "user", "content": observation}, {"role": "assistant", "content": action})
    ]
    return {
        "env_id": env_id,
        "env_kwargs": env_kwargs,
        "seed": played.seed,
        "task_id": played.task_id,
        "return": round(sum(played.rewards), 9),
        "messages": [*said, {"role": "user", "content": played.observations[-1]}],
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _table(title: str, rows: Mapping[str, str]) -> list[str]:
    return [
        f"| | {title} |",
        "| --- | --- |",
        *(f"| {_plain(name)} | {_plain(value)} |" for name, value in rows.items()),
    ]


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~$])", r"\\\1", " ".join(text.split()))
