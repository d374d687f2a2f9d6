"""A wrapper and the option of the same name give the same episode; the parser finds the command or says so."""

import re
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.toy import CorridorEnv
from textagent_gym.wrappers import (
    ActionForm,
    ActionFormat,
    ByNumber,
    History,
    InvalidPenalty,
    ShowAdmissible,
    parse_action,
)

ACTIONS = [
    "I think so. <action>east</action>",
    "hm",
    "<action>sing</action>",
    "<action>west</action> no <action> east</action>",
    "<action>east",
    "<action></action>",
    "I take 1",
    "1",
    "2.",
    "3",
    "number 0",
    "99999999999999999999",
]


def episode(env: gym.Env[str, str], actions: list[str]) -> list[Any]:
    return [env.reset(seed=3), *(env.step(action) for action in actions)]


@pytest.mark.parametrize(
    ("options", "wrap"),
    [
        ({"show_admissible": True}, ShowAdmissible),
        ({"by_number": True}, ByNumber),
        ({"history": 2}, lambda env: History(env, 2)),
        ({"action_format": "tag"}, lambda env: ActionFormat(env, "tag")),
        ({"action_format": "last_line"}, lambda env: ActionFormat(env, "last_line")),
        ({"invalid_penalty": 0.25}, lambda env: InvalidPenalty(env, 0.25)),
        (
            {"show_admissible": True, "history": 1, "action_format": "tag", "invalid_penalty": 1},
            lambda env: ShowAdmissible(History(InvalidPenalty(ActionFormat(env, "tag"), 1), 1)),
        ),
    ],
)
def test_option_and_wrapper_agree(options: dict[str, Any], wrap: Any) -> None:
    wrapped: gym.Env[str, str] = wrap(CorridorEnv(preamble=False))
    assert episode(CorridorEnv(preamble=False, **options), ACTIONS) == episode(wrapped, ACTIONS)


@pytest.mark.parametrize(
    ("action", "form", "command"),
    [
        (" go north ", "plain", "go north"),
        ("<action>look</action>", "plain", "<action>look</action>"),
        ("a <action>look</action> b <ACTION> go\nnorth </ACTION>", "tag", "go\nnorth"),
        ("look", "tag", None),
        ("<action>look", "tag", None),
        ("<action> </action>", "tag", None),
        ("I see.\n\n go north \n \n", "last_line", "go north"),
        (" \n ", "last_line", None),
    ],
)
def test_parse_action(action: str, form: ActionForm, command: str | None) -> None:
    assert parse_action(action, form) == command


@given(st.text() | st.lists(st.sampled_from(["<action>", "</Action>", "<ACTION>", " ", "\n", "a", "<"])).map("".join))
def test_the_last_tag_is_what_a_pattern_finds(action: str) -> None:
    found = re.findall(r"<action>(.*?)</action>", action, re.DOTALL | re.IGNORECASE)
    assert parse_action(action, "tag") == (found[-1].strip() or None if found else None)


def test_tags_without_end_are_answered_at_once() -> None:
    # A pattern with a lazy middle looks for each end through all of the rest: seconds here, minutes at ten times as many.
    assert parse_action("<action>" * 12_500, "tag") is None


@given(st.text(max_size=40), st.text(alphabet="abc ", min_size=1, max_size=10).filter(str.strip))
def test_a_command_in_a_tag_is_found_behind_any_thought(thought: str, command: str) -> None:
    assert parse_action(f"{thought}<action>{command}</action>", "tag") == command.strip()


def test_numbers_and_history_agree_wherever_a_command_was_chosen() -> None:
    wrapped = ByNumber(History(InvalidPenalty(CorridorEnv(preamble=False), 1), 2))
    env = CorridorEnv(preamble=False, by_number=True, history=2, invalid_penalty=1)
    assert episode(env, ["1", "2", " 1. "]) == episode(wrapped, ["1", "2", " 1. "])


def test_a_number_stands_for_a_command() -> None:
    env = CorridorEnv(by_number=True, preamble=False)
    first, info = env.reset(seed=0)
    assert first == f"Corridor {info['task_id']}.\n\nCommands:\n1 east\n2 west"
    assert env.step("1")[0] == "Door 1.\n\nCommands:\n1 east\n2 west"
    observation, _, _, _, info = env.step("3")
    assert observation.startswith("Nothing was done: expected the number of a command, from 1 to 2.")
    assert not info["valid_command"]


def test_views_read_as_a_person_would_write_them() -> None:
    env = CorridorEnv(show_admissible=True, history=1, preamble=False)
    first, info = env.reset(seed=0)
    assert first == f"Corridor {info['task_id']}.\n\nAdmissible commands:\n- east\n- west"
    assert env.step("east")[0] == (
        f"Corridor {info['task_id']}.\n\n> east\n\nDoor 1.\n\nAdmissible commands:\n- east\n- west"
    )


def test_an_action_without_a_command_is_told_what_was_expected() -> None:
    env = CorridorEnv(action_format="tag")
    observation, _ = env.reset(seed=0)
    assert "between <action> and </action>" in observation
    observation, _, _, _, info = env.step("east")
    assert observation == "Nothing was done: expected one command between <action> and </action>, found none."
    assert not info["valid_command"]


def test_wrappers_refuse_what_makes_no_sense_and_survive_the_spec() -> None:
    with pytest.raises(ValueError, match="expected length at least 1, got 0"):
        History(CorridorEnv(), 0)
    with pytest.raises(ValueError, match="expected form to be one of"):
        ActionFormat(CorridorEnv(), "json")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected penalty at least 0"):
        InvalidPenalty(CorridorEnv(), -1)
