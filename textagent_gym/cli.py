"""The command `textagent-gym`: list the ids, show a task's card, play by hand, measure speed, make games ahead of time."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, cast, get_args

import gymnasium as gym
import tyro
from gymnasium.error import DependencyNotInstalled, UnregisteredEnv
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from textagent_gym.contract import Snapshot, Split
from textagent_gym.core import TextAgentEnv
from textagent_gym.knobs import check_choice
from textagent_gym.registration import environment_specs, file_specs

app = tyro.extras.SubcommandApp()
console = Console(highlight=False)

EnvId = Annotated[str, tyro.conf.Positional]
KwargsJson = Annotated[str, tyro.conf.arg(metavar="JSON")]


@app.command(name="list")
def list_ids() -> None:
    """List every environment id with the knobs behind its name."""
    names = Column("id", no_wrap=True, min_width=max(map(len, environment_specs())))
    table = Table(names, "state space", "action space", "solution length", "reward density", "instructions")
    for env_id, (_, kwargs) in environment_specs().items():
        knobs = [_asked(kwargs, name) for name in ("state_space_size", "action_space_size", "solution_length")]
        density = kwargs.get("reward_density", kwargs.get("rewards", 0.0))
        instructions = kwargs.get("instructions", "steps" if env_id.startswith("TextWorld") else "goal")
        cells = [*knobs, density, instructions]
        table.add_row(env_id, *("fixed" if cell is None else str(cell) for cell in cells))
    console.print(table)
    console.print(f"[dim]Whose tasks are given: {', '.join(file_specs())}[/dim]")


def _asked(kwargs: dict[str, Any], name: str) -> Any:
    low, high = kwargs.get(f"min_{name}"), kwargs.get(f"max_{name}")
    return kwargs.get(name) if low is None and high is None else f"{low or ''}-{high or ''}"


@app.command
def card(env_id: EnvId, seed: int = 0, env_kwargs: KwargsJson = "{}") -> None:
    """Draw a task and show what was requested and what it really has.

    Args:
        env_id: A registered id, for example TextWorld-Medium-Dense-v0.
        seed: Seed of the draw.
        env_kwargs: Constructor options as JSON, for example '{"solution_length": 12}'.
    """
    env = _make(env_id, env_kwargs)
    _, info = env.reset(seed=seed)
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
    """Play a task in the terminal: `help`, `hint`, `undo` and `quit` are answered here, all else by the world.

    A domain may answer more outside the world: `map` in TextWorld and ALFWorld, `issue`, `files` and `diff` in SWEGym.

    Args:
        env_id: A registered id, for example TextWorld-Easy-Dense-v0.
        seed: Seed of the draw.
        env_kwargs: Constructor options as JSON.
    """
    env = cast(TextAgentEnv, _make(env_id, env_kwargs, preamble=True).unwrapped)
    observation, info = env.reset(seed=seed)
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
        elif (told := env.look_up(command)) is not None:
            console.print(shown(told))
        else:
            past.append((env.snapshot(), observation, info, total))
            observation, reward, terminated, truncated, info = env.step(env.typed(command))
            total += reward
            console.print(shown(observation))
            if terminated or truncated:
                ending = "solved" if info["success"] else "lost" if terminated else "out of steps"
                console.print(f"[bold]{ending}[/bold] after {env.steps} steps, return {total:.3f}")
                break
    env.close()


@app.command
def bench(
    env_ids: Annotated[tuple[str, ...], tyro.conf.Positional] = (
        "TextWorld-Easy-Dense-v0",
        "TextWorld-Medium-Dense-v0",
    ),
    steps: int = 1_000,
    tasks: int = 5,
    against: Literal["inform7", "alfworld", "subprocess", "swerex"] | None = None,
    env_kwargs: KwargsJson = "{}",
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Measure steps per second, reset time and memory per id, on this machine, with random play.

    Args:
        env_ids: Ids to measure.
        steps: Steps to time per id.
        tasks: Tasks to draw per id.
        against: Time a reference as well, on the same games and commands: "inform7" for TextWorld, "alfworld" for ALFWorld;
            for SWEGym "subprocess", a plain one, or "swerex", the local runtime of swe-rex (and a plain subprocess).
        env_kwargs: Constructor options as JSON.
        as_json: Print JSON instead of a table.
    """
    from textagent_gym.bench import compare, compare_repairs, describe_machine, measure

    rows = []
    for env_id in env_ids:
        _make(env_id, env_kwargs).close()
        options = _options(env_kwargs)
        if against == "subprocess" or against == "swerex":
            rows.append(
                compare_repairs(env_id, reference=against, num_steps=steps, num_tasks=tasks, env_kwargs=options)
            )
        elif against is None:
            rows.append(measure(env_id, num_steps=steps, num_tasks=tasks, env_kwargs=options))
        else:
            rows.append(compare(env_id, num_steps=steps, reference=against, env_kwargs=options))
    if as_json:
        console.print_json(data={"machine": describe_machine(), "results": rows})
        return
    console.print(f"[dim]{describe_machine()}[/dim]")
    titles = _REPAIRED if against in ("subprocess", "swerex") else _COMPARED if against else _MEASURED
    table = Table(Column("id", no_wrap=True), *titles.values(), box=SIMPLE, padding=0)
    for row in rows:
        table.add_row(str(row["env_id"]), *(f"{row[key]:,.1f}" if key in row else "-" for key in titles))
    console.print(table)


@app.command
def data(
    domain: Annotated[Literal["textworld", "alfworld", "swe"], tyro.conf.Positional],
    ids: tuple[str, ...],
    count: int = 1_000,
    first_seed: int = 0,
    split: Split = "train",
    workers: int | None = None,
    out: Path | None = None,
    env_kwargs: KwargsJson = "{}",
) -> None:
    """Prepare games ahead of time; a second call does what is still missing.

    TextWorld: games are generated into the cache folder, over processes. ALFWorld: the real games of `ALFWorld-v0` are
    found and measured once; generated ones, which are drawn faster than they could be read, are written to `out` as game
    files, laid out so that `ALFWORLD_DATA=out` serves them to the alfworld package and to `ALFWorld-v0`. SWEGym: new
    combinations of bugs, validated by running the tests, are written to the .jsonl file `out`, which `SWEGym-Custom-v0`
    plays with `tasks=out`.

    Args:
        domain: Whose games.
        ids: Ids of environments.
        count: Games per id: those of the seeds `first_seed`, `first_seed` + 1, ...
        first_seed: The first seed.
        split: Which tasks.
        workers: Processes; as many as there are cores by default.
        out: Folder for the game files of generated ALFWorld tasks, or file for the records of SWEGym tasks.
        env_kwargs: Constructor options as JSON.
    """
    options = {**_options(env_kwargs), "split": split}
    seeds = range(first_seed, first_seed + count)
    for env_id in ids:
        try:
            if domain == "alfworld" and env_id in file_specs():
                console.print(f"{env_id}: {_num_measured(split)} games of the split {split!r} are ready")
                continue
            env = _make(env_id, env_kwargs, split=split)
            if domain == "textworld":
                _generate(env_id, options, seeds, workers or os.cpu_count() or 1)
            elif domain == "swe":
                _make_repairs(env_id, env, seeds, workers or os.cpu_count() or 1, out)
            else:
                _write_games(env_id, cast(TextAgentEnv, env.unwrapped), seeds, out)
            env.close()
        except (ValueError, OSError) as error:
            _fail(str(error))


def _generate(env_id: str, options: dict[str, Any], seeds: range, workers: int) -> None:
    from textagent_gym.envs.textworld.generation.prepare import missing_recipes, prepare

    recipes = missing_recipes(env_id, options, seeds)
    with _progress(env_id) as progress:
        bar = progress.add_task(env_id, total=len(seeds), completed=len(seeds) - len(recipes))
        for _ in prepare(recipes, workers):
            progress.advance(bar)


def _num_measured(split: Split) -> int:
    from textagent_gym.envs.alfworld import dataset

    check_choice("split", split, get_args(dataset.RealSplit))
    return len(dataset.index(cast(dataset.RealSplit, split), anew=True))


def _write_games(env_id: str, env: TextAgentEnv, seeds: range, out: Path | None) -> None:
    from textagent_gym.envs.alfworld.generation.export import write_game

    if out is None:
        raise ValueError(f"expected --out FOLDER for the game files of {env_id}, got none")
    with _progress(env_id) as progress:
        bar = progress.add_task(env_id, total=len(seeds))
        for seed in seeds:
            env.reset(seed=seed)
            write_game(env.task, out)
            progress.advance(bar)


def _make_repairs(env_id: str, env: gym.Env[str, str], seeds: range, workers: int, out: Path | None) -> None:
    from textagent_gym.envs.swe.synthesis.make_tasks import make_records, missing_seeds

    if out is None:
        raise ValueError(f"expected --out FILE.jsonl for the records of {env_id}, got none")
    missing = missing_seeds(env, seeds, out)
    with _progress(env_id) as progress:
        bar = progress.add_task(env_id, total=len(seeds), completed=len(seeds) - len(missing))
        for _ in make_records(env, missing, workers, out):
            progress.advance(bar)


def _progress(name: str) -> Progress:
    return Progress(TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console)


@app.command
def overlap(env_id: EnvId, count: int = 200, env_kwargs: KwargsJson = "{}") -> None:
    """Count the test games whose structure, names and words aside, also occurs among train games.

    Args:
        env_id: An id of TextWorld.
        count: Games to draw of each split.
        env_kwargs: Constructor options as JSON.
    """
    from textagent_gym.envs.textworld.generation.prepare import shared_structures

    _make(env_id, env_kwargs).close()
    found = shared_structures(env_id, _options(env_kwargs), count)
    console.print(
        f"{env_id}: of {count} train games {found['train']} are different, of {count} test games {found['test']}; "
        f"{found['shared']} test games ({100 * found['shared'] / count:.1f} %) occur in train"
    )


_MEASURED = {
    "steps_per_s": "steps/s",
    "step_ms": "step ms (median)",
    "first_reset_ms": "first reset ms",
    "reset_ms": "reset again ms",
    "memory_mb": "memory MB",
}
_COMPARED = {
    "steps_per_s": "steps/s",
    "reference_steps_per_s": "theirs",
    "ratio": "ratio",
    "reset_ms": "reset ms",
    "again_ms": "again",
    "reference_reset_ms": "theirs",
    "reset_ratio": "ratio",
    "num_games": "games",
}


_REPAIRED = {
    "first_reset_ms": "first reset ms",
    "reset_ms": "reset ms",
    "shell_ms": "shell ms",
    "subprocess_ms": "subprocess",
    "swerex_ms": "swerex",
    "graded_ms": "graded step ms",
    "again_ms": "again",
}


def main() -> None:
    """Run the command line; what a user got wrong is one line on standard error, with exit status 2."""
    app.cli(prog="textagent-gym", description="Text environments for agents that are language models.")


def _make(env_id: str, env_kwargs: str, **more: Any) -> gym.Env[str, str]:
    options = _options(env_kwargs)
    try:
        return gym.make(env_id, **{**options, **more})
    except (UnregisteredEnv, DependencyNotInstalled, ValueError, TypeError, OSError) as error:
        _fail(str(error))


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
