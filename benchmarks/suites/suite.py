"""Suites: which tasks a leaderboard plays, as pure data that never changes once it is published.

A suite is a file `suites/NAME.json`: cells (an environment id with its options), and in each cell its tasks, by seed, all of
the test split; or, for a finite list of games, by name, each once. Every task has a digest of its content, the rewards of
its reference solution included, so that an environment that has drifted is noticed and not scored. The digest of the file
stands in `DIGESTS`: a change is a new suite with a new version in its name.

A track says what agents are granted on top of the text: the list of admissible commands or not, memory or not. Within what
is granted an agent chooses the presentation (`Presentation`); none of that changes a task.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias, get_args

from baselines.errors import BaselinesError, ConfigError
from baselines.sampling.environments import ResetResult, Task, TextEnv, make_env, reset_env

DIGESTS: dict[str, str] = {
    "smoke-v0": "92b3d66633fff77719908c4867f4803bf64788538f562cfcb4f85e515a0d6d3c",
    "core-v0": "2acc4e2d2eaa074968594836e2482d5a80dbbc26fc51164ebe7226c62727d14f",
    "size-v0": "3914c200e5b3d0d8744568162a94e27b2102be4a39929ae51f7a097ad5916c87",
    "length-v0": "093f81e3d919ec251eb420e6ac5c24e627cec5e0b57a12233f598b0857496504",
    "density-v0": "75d3e529751ea91c363da54f69eef880db6da6a06efd623f534fea8bb58d5e75",
    "full-v0": "aa8b62d06ca05f1c8aad23f0163bcdf9d6a21d3ef413431b4113dcef688f2a1b",
    "alfworld-v0": "425a66b962ea28da40613b2bf728634ed089a595e557d225feaa8b0315b26834",
    "textworld-w2-o3-q4-v0": "f82b7cf65363337ce405725213e7edf4d14f524b948a57e0aeed242f787a388f",
    "textworld-w8-o3-q4-v0": "8105399822a08c56094fd35a24e6fc26e9bc0e6e08fd8d0faf15f2906f810c70",
    "textworld-w2-o12-q4-v0": "7b4f675f6a2762aca75bfb6faec617a4a31ab2e3ff63745a91f75b92d800ba03",
    "textworld-w8-o12-q4-v0": "11dfae6fc547ac369573f9033b21d81947d60c79e5a232102e44ac28571f4df1",
    "textworld-w4-o6-q8-v0": "38dc333d297b23a0588d31f0a89986c0c9776aebb56c41532572392e29f2c455",
}
"""Suite -> sha256 of its file, as published."""

ActionFormat: TypeAlias = Literal["plain", "tag", "last_line"]

HIDDEN_DETAILS = (
    "sandbox",
    "sandbox_detail",
    "sandbox_gaps",
    "test_seconds",
    "num_challenged",
    "num_second_opinion",
    "num_with_variants",
    "num_kept_second_opinion",
)
"""Details of a task card that say something about this machine or about the grading, and nothing about the task."""

FROZEN_NAMES = {"num_renamed_copies": "num_aliased", "num_must_fail_copies": "num_twinned"}
"""Details of a task card -> the names that they had when the suites were frozen."""


GAME_PARTS = ("grammar", "pddl_domain", "pddl_problem")
"""Parts of ALFWorld's game files that make the game; the others are its walkthrough and whether it is solvable."""


class SuiteError(BaselinesError):
    """A suite, track or presentation is unknown, damaged, or not what it was when it was published."""


@dataclass(frozen=True)
class Track:
    """Help that agents get on top of the text of the world.

    Attributes:
        name: name of the track.
        lists: the admissible commands, where the domain knows them.
        memory: earlier observations and actions of the episode; without it, the first observation and the current one.
    """

    name: str
    lists: bool
    memory: bool


TRACKS: dict[str, Track] = {
    track.name: track
    for track in (
        Track("open", lists=False, memory=True),
        Track("listed", lists=True, memory=True),
        Track("open-reactive", lists=False, memory=False),
        Track("listed-reactive", lists=True, memory=False),
    )
}


@dataclass(frozen=True)
class Presentation:
    """Presentation of an agent's help; each field is an option of the environment."""

    by_number: bool = False
    """Listed commands are numbered, and an action is the number of one (tracks that grant the list)."""
    show_list: bool = True
    """Observations show the list, in tracks that grant it; else only decoding over listed commands uses it."""
    preamble: bool = True
    """The first observation states the rules and the form of an action."""
    history: int = 0
    """Earlier turns repeated before each observation (tracks that grant memory)."""
    action_format: ActionFormat = "plain"
    """Form of an action: plain, tag or last_line."""

    def check(self, track: Track) -> None:
        """Raise `SuiteError` for what the track does not grant, and for values of another type."""
        kinds = {"by_number": bool, "show_list": bool, "preamble": bool, "history": int, "action_format": str}
        wrong = [name for name, kind in kinds.items() if type(getattr(self, name)) is not kind]
        if wrong:
            raise SuiteError(f"expected a presentation with values of its types, got another {', '.join(wrong)}")
        if self.by_number and not track.lists:
            raise SuiteError(f"expected by_number in a track that grants the list of commands, got track {track.name}")
        if self.by_number and not self.show_list:
            raise SuiteError("expected by_number with show_list: an observation shows the numbers")
        if self.history and not track.memory:
            raise SuiteError(f"expected history in a track that grants memory, got track {track.name}")
        if not 0 <= self.history <= 100:
            raise SuiteError(f"expected a history of 0 to 100 turns, got {self.history}")
        if self.action_format not in get_args(ActionFormat):
            raise SuiteError(f"expected action_format plain, tag or last_line, got {self.action_format!r}")

    def options(self, cell: Cell, track: Track) -> dict[str, Any]:
        """Return constructor options of the environment; domains without a list of commands are asked for none."""
        lists = track.lists and cell.lists
        return {
            "preamble": self.preamble,
            "history": self.history,
            "action_format": self.action_format,
            "by_number": self.by_number and lists,
            "show_admissible": lists and self.show_list and not self.by_number,
        }


@dataclass(frozen=True)
class SuiteTask:
    """One task of a cell.

    Attributes:
        seed: given to `env.reset`.
        task_id: `info["task_id"]` at reset.
        reference_steps: steps of the reference solution.
        max_steps: step budget of an episode.
        digest: of the task as it is played, see `read_task`.
        content: digest of the game file, see `content_digest`; empty where tasks are made from their seed.
    """

    seed: int
    task_id: str
    reference_steps: int
    max_steps: int
    digest: str
    content: str = ""


@dataclass(frozen=True)
class Cell:
    """Tasks of one environment id.

    Attributes:
        env_id: `package:Id-v0`.
        options: constructor options.
        lists: True if the domain knows the admissible commands.
        exact_text: True if observations are the same text everywhere; where they are not (programs are run), rewards are.
        knobs: requested knobs and the density, for plots.
        tasks: in the order in which they are played.
        by_name: True if a task is reset by its name, out of a finite list, and not by its seed.
        groups: kind of group -> the group that this cell belongs to, such as "split" -> "valid_seen"; scored together.
    """

    env_id: str
    options: dict[str, Any]
    lists: bool
    exact_text: bool
    knobs: dict[str, float]
    tasks: tuple[SuiteTask, ...]
    by_name: bool = False
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The groups; without any, the id without its package, and the options that tell this cell from others of it."""
        if self.groups:
            return ", ".join(self.groups.values())
        shown = {name: value for name, value in self.options.items() if name != "split"}
        return self.env_id.partition(":")[2] + (f" {json.dumps(shown, sort_keys=True)}" if shown else "")

    @property
    def domain(self) -> str:
        """The id's first word."""
        return self.env_id.partition(":")[2].partition("-")[0]

    @property
    def resets_by_name(self) -> bool:
        """True if a task is reset by its name: with `by_name`, and in SWEGym, whose list of tasks may have grown since."""
        return self.by_name or self.domain == "SWEGym"

    def reset(self, env: TextEnv, task: SuiteTask) -> ResetResult:
        """Reset an environment of this cell to a task."""
        asked = self.rollout_task(task)
        return reset_env(env, asked.seed, asked.task_id)

    def rollout_task(self, task: SuiteTask) -> Task:
        """Return a task as `baselines.sampling.rollout` takes it."""
        return Task(task.seed, task_id=task.task_id if self.resets_by_name else None)


@dataclass(frozen=True)
class Suite:
    """A published list of tasks.

    Attributes:
        name: with its version, such as "core-v0".
        description: its purpose, in a sentence.
        cells: in order.
        digest: sha256 of its file.
        split: the one split whose cells are left, see `of_split`; empty for the whole suite.
    """

    name: str
    description: str
    cells: tuple[Cell, ...]
    digest: str
    split: str = ""

    @property
    def title(self) -> str:
        """The name, and the split where it is one split alone."""
        return f"{self.name}, {self.split} alone" if self.split else self.name

    @property
    def splits(self) -> list[str]:
        """Splits that its cells are grouped by, in order; empty for a suite of one split."""
        return list(dict.fromkeys(cell.groups["split"] for cell in self.cells if "split" in cell.groups))

    def of_split(self, split: str | None) -> Suite:
        """Return the suite with the cells of one split alone; the suite itself for None.

        Raises:
            SuiteError: it has no such split.
        """
        if split is None:
            return self
        if split not in self.splits:
            known = f"one of the splits {', '.join(self.splits)} of" if self.splits else "no split with"
            raise SuiteError(f"expected {known} {self.name}, got {split!r:.60}")
        return replace(self, cells=tuple(cell for cell in self.cells if cell.groups.get("split") == split), split=split)

    def tasks(self, limit: int | None = None) -> list[tuple[int, int]]:
        """Return (cell, task) places, those of the first `limit` tasks of every cell."""
        return [
            (place, number)
            for place, cell in enumerate(self.cells)
            for number in range(len(cell.tasks[: limit or None]))
        ]

    def missing_games(self) -> str:
        """Return why the suite cannot be played on this machine: the data of its games is not here. Empty where it can."""
        for cell in self.cells:
            if cell.by_name:
                try:
                    open_plain_env(cell).close()
                except ConfigError as error:
                    if isinstance(error.__cause__, OSError):
                        return str(error.__cause__).partition(":")[0]
                    raise
        return ""


@cache
def load_suite(name: str) -> Suite:
    """Read a published suite.

    Raises:
        SuiteError: there is none of that name, or its file is not the one that was published.
    """
    suite = parse_suite(suite_text(name))
    if suite.digest != DIGESTS[name]:
        raise SuiteError(
            f"expected suites/{name}.json as it was published ({DIGESTS[name][:12]}), got {suite.digest[:12]}"
        )
    return suite


def suite_text(name: str) -> str:
    """Return the text of a suite's file; raises `SuiteError` if there is no suite of that name."""
    if name not in DIGESTS:
        raise SuiteError(f"expected one of the suites {', '.join(DIGESTS)}, got {name!r}")
    return resources.files("benchmarks.suites").joinpath(f"{name}.json").read_text(encoding="utf-8")


def find_track(name: str) -> Track:
    """Return the track of that name, or `SuiteError`."""
    if name not in TRACKS:
        raise SuiteError(f"expected one of the tracks {', '.join(TRACKS)}, got {name!r}")
    return TRACKS[name]


def parse_suite(text: str) -> Suite:
    """Return a suite from the text of its file."""
    shown = json.loads(text)
    cells = tuple(Cell(**{**cell, "tasks": tuple(SuiteTask(*row) for row in cell["tasks"])}) for cell in shown["cells"])
    return Suite(shown["name"], shown["description"], cells, sha256(text))


def render_suite(name: str, description: str, cells: list[Cell]) -> str:
    """Return the text of a suite's file: one line per task."""
    tasks = [task for cell in cells for task in cell.tasks]
    columns = [one.name for one in fields(SuiteTask) if one.default is MISSING or any(task.content for task in tasks)]
    parts = []
    for cell in cells:
        shown = {one.name: getattr(cell, one.name) for one in fields(cell) if one.name != "tasks"}
        if not cell.by_name:
            del shown["by_name"], shown["groups"]
        rows = ",\n  ".join(json.dumps([getattr(task, column) for column in columns]) for task in cell.tasks)
        parts.append(f'{json.dumps(shown, sort_keys=True)[:-1]}, "tasks": [\n  {rows}\n]}}')
    head = f'"name": {json.dumps(name)}, "description": {json.dumps(description)}, "columns": {json.dumps(columns)}'
    return f'{{{head}, "cells": [\n' + ",\n".join(parts) + "\n]}\n"


def open_env(cell: Cell, presentation: Presentation, track: Track, expose_solution: bool = False) -> TextEnv:
    """Return the environment of a cell as a track grants it."""
    shown = presentation.options(cell, track)
    return make_env(cell.env_id, {**cell.options, **shown, "expose_solution": expose_solution})


def open_plain_env(cell: Cell) -> TextEnv:
    """Return the environment of a cell with its solution and without any presentation: where digests are taken.

    Disturbances, which change no task, are left out too: the solution is played through.
    """
    options = {name: value for name, value in cell.options.items() if name not in ("distractors", "fault_rate")}
    return make_env(cell.env_id, {**options, "expose_solution": True})


def read_task(
    env: TextEnv, seed: int, exact_text: bool, task_id: str | None = None, *, has_game: bool = False
) -> SuiteTask:
    """Return a task and its digest: the first observation, the task card, and the reference solution played through.

    Args:
        env: of `open_plain_env`.
        seed: of the task.
        exact_text: True if the later observations count.
        task_id: its name, where tasks are reset by name.
        has_game: True if the digest of its game file is wanted.
    """
    observation, info = reset_env(env, seed, task_id)
    card = dict(info["task_card"])
    details = {name: value for name, value in card["details"].items() if name not in HIDDEN_DETAILS}
    card["details"] = {FROZEN_NAMES.get(name, name): value for name, value in details.items()}
    del card["backend"], card["game_file"]
    content: list[Any] = [observation, info["task_id"], card, info["admissible_commands"], info["solution"]]
    for action in info["solution"]:
        text, reward, terminated, truncated, shown = env.step(action)
        content += [text if exact_text else "", float(reward), bool(terminated), bool(truncated)]
        content += [shown["success"], shown["subgoals_done"], shown["admissible_commands"]]
    digest = sha256(json.dumps(content, sort_keys=True))
    game = content_digest(env) if has_game else ""
    return SuiteTask(seed, info["task_id"], len(info["solution"]), card["max_steps"], digest[:32], game)


def content_digest(env: TextEnv) -> str:
    """Return the digest of the game file that an environment plays: sha256 of the parts that make the game, as JSON."""
    data = env.unwrapped.task.data  # type: ignore[attr-defined]
    return sha256(json.dumps({part: data[part] for part in GAME_PARTS}, sort_keys=True))[:32]


def sha256(text: str) -> str:
    """Of the UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
