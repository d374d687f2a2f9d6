"""A new domain is one folder and one record: everything that works by id works on the guessing game."""

import io
import json
from collections.abc import Iterator

import gymnasium as gym
import pytest

from benchmarks.suites.freeze import make_cell
from benchmarks.suites.suite import parse_suite, render_suite
from tests.support.guessing import GUESSING
from textagent_gym import cli
from textagent_gym.agents import ExpertAgent
from textagent_gym.registration import DOMAINS, domain_of
from textagent_gym.testing import check_text_env, play
from textagent_gym.vector import TextVectorEnv

ENV_ID = "tests.support.guessing:Guessing-Easy-Dense-v0"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Yield what the command line prints."""
    with io.StringIO() as file:
        monkeypatch.setattr(cli.console, "file", file)
        yield file


def test_ids_are_made_of_tiers_and_densities() -> None:
    assert DOMAINS["Guessing"] is GUESSING is domain_of(ENV_ID)
    assert list(GUESSING.ids) == [
        f"Guessing-{tier}-{density}-v0" for tier in ("Easy", "Hard") for density in ("Sparse", "Balanced", "Dense")
    ]


@pytest.mark.parametrize("env_id", GUESSING.ids)
def test_contract(env_id: str) -> None:
    check_text_env(env_id)


def test_bisection_is_paid_step_by_step() -> None:
    seen = play(gym.make(ENV_ID, expose_solution=True), ExpertAgent(), seed=1)
    assert seen[-1][4]["success"]
    assert len({step[1] for step in seen[1:]}) == 1
    assert sum(step[1] for step in seen) == pytest.approx(1)


@pytest.mark.parametrize("processes", [1, 2])
def test_make_vec(processes: int) -> None:
    env = gym.make_vec(ENV_ID, 4, processes=processes)
    assert isinstance(env, TextVectorEnv)
    alone = [gym.make(ENV_ID).reset(seed=seed)[0] for seed in range(4)]
    assert list(env.reset(seed=0)[0]) == alone
    env.close()


def test_command_line(printed: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.list_ids()
    cli.card(ENV_ID)
    assert all(env_id in printed.getvalue() for env_id in GUESSING.ids)
    assert "arithmetic" in printed.getvalue()
    _, info = gym.make(ENV_ID, expose_solution=True).reset(seed=0)
    lines = iter(["undo", "hint", *info["solution"]])
    monkeypatch.setattr(cli.console, "input", lambda _: next(lines))
    cli.play(ENV_ID)
    assert "solved" in printed.getvalue()
    cli.prepare((ENV_ID,), count=3)
    assert f"{ENV_ID}: 3 games of the split 'train' are ready" in printed.getvalue()


def test_bench(printed: io.StringIO) -> None:
    cli.bench((ENV_ID,), steps=5, tasks=1, against="bisection", as_json=True)
    (row,) = json.loads(printed.getvalue())["results"]
    assert row["ratio"] == 0
    with pytest.raises(SystemExit):
        cli.bench((ENV_ID,), steps=5, tasks=1, against="inform7")


def test_frozen_suite() -> None:
    cell = make_cell(ENV_ID, {}, num_tasks=3)
    suite = parse_suite(render_suite("guessing-v0", "Numbers.", [cell]))
    assert suite.cells == (cell,)
    assert len({task.task_id for task in cell.tasks}) == 3
