"""The command `textagent-gym`: list the ids, show a task's card, play by hand, measure speed, make games ahead of time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import gymnasium as gym
import tyro
from rich.box import SIMPLE
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from textagent_gym.contract import Snapshot, Split
from textagent_gym.core import TextAgentEnv
from textagent_gym.registration import DOMAINS, EXPORTS, domain_of, load

app = tyro.extras.SubcommandApp()
console = Console(highlight=False)

EnvId = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]
KwargsJson = Annotated[str, tyro.conf.arg(metavar="JSON")]


@app.command(name="list")
def list_ids() -> None:
    """List every environment id with the knobs behind its name."""
    rows = [(domain, env_id, kwargs) for domain in DOMAINS.values() for env_id, kwargs in domain.ids.items()]
    names = Column("id", no_wrap=True, min_width=max(len(env_id) for _, env_id, _ in rows))
    table = Table(names, "state space", "action space", "solution length", "reward density", "instructions")
    for domain, env_id, kwargs in rows:
        knobs = [_asked(kwargs, name) for name in ("state_space_size", "action_space_size", "solution_length")]
        density = kwargs.get("reward_density", kwargs.get("rewards", 0.0))
        cells = [*knobs, density, kwargs.get("instructions", domain.instructions)]
        table.add_row(env_id, *("fixed" if cell is None else str(cell) for cell in cells))
    console.print(table)
    given = ", ".join(env_id for domain in DOMAINS.values() for env_id in domain.given)
    console.print(f"[dim]Whose tasks are given: {given}[/dim]")


def _asked(kwargs: dict[str, Any], name: str) -> Any:
    low, high = kwargs.get(f"min_{name}"), kwargs.get(f"max_{name}")
    return kwargs.get(name) if low is None and high is None else f"{low or ''}-{high or ''}"


@app.command
def card(env_id: EnvId, seed: int = 0, env_kwargs: KwargsJson = "{}") -> None:
    """Draw a task and show its card: requested and measured sizes, step budget, backend.

    Args:
        env_id: A registered id, for example TextWorld-Medium-Dense-v0.
        seed: Seed of the draw.
        env_kwargs: Constructor options as JSON, for example '{"solution_length": 12}'.
    """
    env = _make(env_id, env_kwargs)
    _, info = _reset(env, seed)
    table = Table("", "", title=env_id, show_header=False)
    table.add_row("task_id", info["task_id"])
    for name, value in info["task_card"].items():
        table.add_row(name, escape(json.dumps(value) if isinstance(value, dict) else str(value)))
    console.print(table)
    env.close()


def shown(text: str) -> str:
    """Return a text as a terminal may show it: markup and control characters of the world's are shown, and not obeyed."""
    return escape("".join(one if one.isprintable() or one in "\n\t" else f"\\x{ord(one):02x}" for one in text))


@app.command
def play(env_id: EnvId, seed: int = 0, env_kwargs: KwargsJson = "{}") -> None:
    """Play a task in the terminal; `help`, `hint`, `undo` and `quit` cost no step.

    Further commands without a step: `map` in TextWorld and ALFWorld, `issue`, `files` and `diff` in SWEGym.

    Args:
        env_id: A registered id, for example TextWorld-Easy-Dense-v0.
        seed: Seed of the draw.
        env_kwargs: Constructor options as JSON.
    """
    env = cast(TextAgentEnv, _make(env_id, env_kwargs, preamble=True).unwrapped)
    observation, info = _reset(env, seed)
    past: list[tuple[Snapshot, str, dict[str, Any], float]] = []
    total = 0.0
    console.print(shown(observation))
    while True:
        console.print(
            f"[dim]step {env.steps}/{env.max_steps}   sub-goals {info['subgoals_done']}/{info['subgoals_total']}"
            f"   return {total:.3f}   (help, hint, undo, quit)[/dim]"
        )
        command = _ask()
        if command is None or command == "quit":
            break
        if command == "help":
            console.print(escape(f"{env.rules}\nhint lists what is possible here; undo takes the last step back."))
        elif command == "hint":
            console.print(escape(", ".join(info["admissible_commands"] or ("nothing is known here",))))
        elif command == "undo" and past:
            snapshot, observation, info, total = past.pop()
            env.restore(snapshot)
            console.print(shown(observation))
        elif command == "undo":
            console.print("There is nothing to take back.")
        elif (answer := env.query_debug(command)) is not None:
            console.print(shown(answer))
        else:
            past.append((env.snapshot(), observation, info, total))
            observation, reward, terminated, truncated, info = env.step(env.parse_shorthand(command))
            total += reward
            console.print(shown(observation))
            if terminated or truncated:
                ending = "solved" if info["success"] else "lost" if terminated else "out of steps"
                console.print(f"[bold]{ending}[/bold] after {env.steps} steps, return {total:.3f}")
                break
    env.close()


@app.command
def bench(
    env_ids: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[ID ...]")] = (
        "TextWorld-Easy-Dense-v0",
        "TextWorld-Medium-Dense-v0",
    ),
    steps: int = 1_000,
    tasks: int = 5,
    against: str | None = None,
    env_kwargs: KwargsJson = "{}",
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Measure steps per second, reset time and memory of environments, with random play.

    Args:
        env_ids: Ids to measure.
        steps: Steps to time per id.
        tasks: Tasks to draw per id.
        against: Time a reference as well, on the same games and commands: "inform7" for TextWorld, "alfworld" for ALFWorld;
            for SWEGym "subprocess", a plain one, or "swerex", the local runtime of swe-rex (and a plain subprocess).
        env_kwargs: Constructor options as JSON.
        as_json: Print JSON instead of a table.
    """
    from textagent_gym.bench import describe_machine, measure

    _check_at_least("steps", steps, 1)
    _check_at_least("tasks", tasks, 1)
    options, rows = _options(env_kwargs), list[dict[str, float | str]]()
    for env_id in env_ids:
        _make(env_id, env_kwargs).close()
        with _one_line_errors():
            if against is None:
                rows.append(measure(env_id, num_steps=steps, num_tasks=tasks, env_kwargs=options))
                continue
            domain = domain_of(env_id)
            if domain.compare is None or against not in domain.references:
                known = ", ".join(domain.references) or "no reference"
                raise ValueError(f"expected --against {known} for {env_id}, got {against}")
            compare = load(domain.compare)
            rows.append(compare(env_id, reference=against, num_steps=steps, num_tasks=tasks, env_kwargs=options))
    if as_json:
        console.print_json(data={"machine": describe_machine(), "results": rows})
        return
    console.print(f"[dim]{describe_machine()}[/dim]")
    figures = list(dict.fromkeys(name for row in rows for name in row if name != "env_id"))
    table = Table(Column("id", no_wrap=True), *(name.replace("_", " ") for name in figures), box=SIMPLE, padding=0)
    for row in rows:
        table.add_row(str(row["env_id"]), *(f"{row[name]:,.1f}" if name in row else "-" for name in figures))
    console.print(table)


@app.command
def prepare(
    env_ids: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[ID ...]")],
    count: int | None = None,
    first_seed: int = 0,
    split: Split = "train",
    workers: int | None = None,
    out: Path | None = None,
    env_kwargs: KwargsJson = "{}",
    projects: Path | None = None,
) -> None:
    """Prepare tasks ahead of time; the same command continues after an interruption.

    TextWorld: games are generated into the cache folder, by several processes. ALFWorld: the real games of `ALFWorld-v0`
    are found and measured once; generated games are written to `out` as game files, which `ALFWORLD_DATA=out` gives to the
    alfworld package and to `ALFWorld-v0`. SWEGym: new combinations of bugs, validated by running the tests, are written to
    the .jsonl file `out`, which `SWEGym-Custom-v0` plays with `tasks=out`.

    `textagent-gym prepare swe --projects requirements.txt --out FOLDER` makes tasks from projects of the package index that
    this package does not know: bugs are put into their source distributions and validated by running their tests, in the
    sandbox. `SWEGym-Custom-v0` plays them with `index=FOLDER`.

    Args:
        env_ids: Ids of environments; "swe" with `projects`.
        count: Tasks per id, by default 1,000: those of the seeds `first_seed`, `first_seed` + 1, ...; or per project, by
            default 20.
        first_seed: The first seed.
        split: Split of the tasks.
        workers: Processes, or projects at the same time; as many as there are cores by default.
        out: Folder for the game files of generated ALFWorld tasks or the index of `projects`, or file for the records of
            SWEGym tasks.
        env_kwargs: Constructor options as JSON.
        projects: File with one project a line: "name", "name==version", or "name[extra]" where its tests need the packages
            of an extra.
    """
    _check_at_least("count", count, 1)
    _check_at_least("first-seed", first_seed, 0)
    _check_at_least("workers", workers, 1)
    workers = workers or os.cpu_count() or 1
    if projects is not None or not {name for domain in DOMAINS.values() for name in domain.makers}.isdisjoint(env_ids):
        _prepare_projects(env_ids, projects, out, count or 20, split, workers)
        return
    if not env_ids:
        _fail("expected at least one id, got none")
    count = count or 1_000
    options = {**_options(env_kwargs), "split": split}
    seeds = range(first_seed, first_seed + count)
    for env_id in env_ids:
        with _one_line_errors():
            domain = domain_of(env_id)
            if domain.prepare is None:
                raise ValueError(f"expected an id of a domain that prepares tasks, got {env_id}")
            ready = load(domain.prepare)(env_id, options, seeds, workers, out)
            num_ready = 0
            with Progress(
                TextColumn(env_id), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
            ) as progress:
                bar = progress.add_task(env_id, total=None if env_id in domain.given else count)
                for num_ready, _ in enumerate(ready, start=1):  # noqa: B007  counted for the line below
                    progress.advance(bar)
        console.print(f"{env_id}: {num_ready} games of the split {split!r} are ready", soft_wrap=True)


def _prepare_projects(
    names: tuple[str, ...], projects: Path | None, out: Path | None, count: int, split: Split, workers: int
) -> None:
    """Make tasks of the projects of a file, with a bar for each."""
    makers = {name: maker for domain in DOMAINS.values() for name, maker in domain.makers.items()}
    if len(names) != 1 or names[0] not in makers:
        _fail(f"expected {' or '.join(makers)} in place of ids with --projects, got {' '.join(names) or 'nothing'}")
    if projects is None or out is None:
        _fail(f"expected --projects FILE and --out FOLDER with {names[0]}, got {'no file' if out else 'no folder'}")
    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.fields[project]}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:

        def tell(project: str, text: str, share: float) -> None:
            if project not in bars:
                bars[project] = progress.add_task(text, total=1.0, project=escape(project))
            progress.update(bars[project], completed=share, description=escape(text))

        with _one_line_errors():
            card = load(makers[names[0]])(projects, out, count=count, split=split, workers=workers, tell=tell)
    console.print(Markdown(card))


@app.command
def export(
    form: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FORM")],
    env_id: EnvId,
    out: Path,
    count: int | None = None,
    split: Split = "train",
    env_kwargs: KwargsJson = "{}",
) -> None:
    """Export tasks, or an environment, in the form of another framework.

    `harbor` writes SWEGym's tasks as task folders of Harbor, which `SWEGym-Custom-v0` plays with `tasks=OUT`. `openenv` and
    `verifiers` write a package that publishes the environment in those hubs.

    Args:
        form: harbor, openenv or verifiers.
        env_id: A registered id.
        out: Folder of the folders that are written.
        count: Tasks: the first ones, by default all (harbor); the seeds from 0 on, by default 1,000 (verifiers).
        split: Split of the tasks.
        env_kwargs: Constructor options as JSON.
    """
    _check_at_least("count", count, 1)
    _make(env_id, env_kwargs).close()
    domain = domain_of(env_id)
    forms = {**EXPORTS, **domain.exports}
    if form not in forms:
        _fail(f"expected a form among {', '.join(forms)} for {env_id}, got {form}")
    with _one_line_errors():
        names = list(load(forms[form])(env_id, {**_options(env_kwargs), "split": split}, out, count))
    console.print(f"{env_id}: {len(names)} folders in {out}, the first {names[0]}", soft_wrap=True)


@app.command
def overlap(env_id: EnvId, count: int = 200, env_kwargs: KwargsJson = "{}") -> None:
    """Count the test games that equal a train game except for names and words.

    Args:
        env_id: An id of TextWorld.
        count: Games to draw of each split.
        env_kwargs: Constructor options as JSON.
    """
    from textagent_gym.envs.textworld.generation.prepare import shared_structures

    _check_at_least("count", count, 1)
    _make(env_id, env_kwargs).close()
    with _one_line_errors():
        found = shared_structures(env_id, _options(env_kwargs), count)
    console.print(
        f"{env_id}: of {count} train games {found['train']} are different, of {count} test games {found['test']}; "
        f"{found['shared']} test games ({100 * found['shared'] / count:.1f} %) occur in train"
    )


def main() -> None:
    """Run the command line; what a user got wrong is one line on standard error, with exit status 2."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["data"]:  # the former name: data DOMAIN --ids ID ...
        arguments = ["prepare", *(word for word in arguments[2:] if word != "--ids")]
    about = "Text environments for agents that are language models."
    try:
        app.cli(prog="textagent-gym", description=about, args=arguments)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        sys.exit(130)


def _make(env_id: str, env_kwargs: str, **more: Any) -> gym.Env[str, str]:
    options = {**_options(env_kwargs), **more}
    with _one_line_errors():
        env = gym.make(env_id, **options)
    if not isinstance(env.unwrapped, TextAgentEnv):
        _fail(f"expected an id that `textagent-gym list` shows or another TextAgentEnv, got {env_id}")
    return env


def _reset(env: gym.Env[str, str], seed: int) -> tuple[str, dict[str, Any]]:
    _check_at_least("seed", seed, 0)
    with _one_line_errors():
        return env.reset(seed=seed)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """End the program with one line where something that a user can mend is wrong."""
    try:
        yield
    except (gym.error.Error, ImportError, TypeError, ValueError, OSError, RuntimeError) as error:
        _fail(" ".join(str(error).split()))


def _check_at_least(name: str, value: int | None, low: int) -> None:
    if value is not None and value < low:
        _fail(f"expected --{name} >= {low}, got {value}")


def _options(env_kwargs: str) -> dict[str, Any]:
    try:
        options = json.loads(env_kwargs)
    except json.JSONDecodeError as error:
        _fail(f"expected --env-kwargs to be JSON, got {env_kwargs!r} ({error})")
    if not isinstance(options, dict):
        _fail(f"expected --env-kwargs to be a JSON object, got {env_kwargs!r}")
    return options


def _ask() -> str | None:
    """Return the next line that is not empty, or None at the end of input."""
    try:
        while not (line := console.input("[bold]> [/bold]").strip()):
            pass
    except (EOFError, KeyboardInterrupt):
        return None
    return line


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"textagent-gym: {message}\n")
    sys.exit(2)
