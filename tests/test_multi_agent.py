"""Teams: PettingZoo's own tests, a team of one against the single player, who knows what, and who gets what."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pettingzoo", reason="pip install 'textagent-gym[multiagent]'")
from pettingzoo.test import api_test, parallel_api_test, seed_test

from textagent_gym.interop.numeric import bag_of_words
from textagent_gym.multi_agent import alfworld_coop, swe_pair, textworld_coop
from textagent_gym.multi_agent.numeric import NumericTeam
from textagent_gym.multi_agent.team import TeamEnv, turn_by_turn
from textagent_gym.multi_agent.teams import ExpertTeam, RandomTeam

MODULES = [textworld_coop, alfworld_coop, swe_pair]
EASY = {
    textworld_coop: "TextWorld-Easy-Dense-v0",
    alfworld_coop: "ALFWorld-Easy-Dense-v0",
    swe_pair: "SWEGym-Easy-Dense-v0",
}

modules = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])


@modules
@pytest.mark.filterwarnings("ignore")
def test_pettingzoo_finds_nothing_wrong(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Since 1.25 `api_test` reads `.dtype` of every observation, which no string has; that spaces hold them is tested before.
    monkeypatch.setitem(api_test.__globals__, "_test_observation_space_compatibility", lambda *_, **__: None)
    parallel_api_test(module.parallel_env(), num_cycles=20)
    api_test(module.env(), num_cycles=20)
    seed_test(module.env, num_cycles=10)


@pytest.mark.parametrize("module", [textworld_coop, alfworld_coop])
@pytest.mark.filterwarnings("ignore")
def test_pettingzoo_finds_nothing_wrong_with_numbers(module: Any) -> None:
    parallel_api_test(NumericTeam(module.parallel_env()), num_cycles=20)
    api_test(turn_by_turn(NumericTeam(module.parallel_env())), num_cycles=20)
    seed_test(lambda: turn_by_turn(NumericTeam(module.parallel_env())), num_cycles=10)


def test_numbers_mean_what_the_text_says() -> None:
    team, env = textworld_coop.parallel_env(), NumericTeam(textworld_coop.parallel_env(), num_features=64)
    answer, infos = team.reset(seed=4)
    seen, _ = env.reset(seed=4)
    for number in range(4):
        for name in team.possible_agents:
            np.testing.assert_array_equal(seen[name]["observation"][64:], bag_of_words(answer[name], 64))
            assert seen[name]["action_mask"].sum() == 1 + len(infos[name]["admissible_commands"])
        commands = [infos[name]["admissible_commands"] for name in team.possible_agents]
        places = [number % len(listed) for listed in commands]
        answer, rewards, *_, infos = team.step(
            {name: listed[place] for name, listed, place in zip(team.possible_agents, commands, places, strict=True)}
        )
        seen, paid, *_ = env.step({name: place + 1 for name, place in zip(team.possible_agents, places, strict=True)})
        assert paid == rewards
    with pytest.raises(ValueError, match=r"this world knows no list of commands"):
        NumericTeam(swe_pair.parallel_env()).reset(seed=0)
    with pytest.raises(ValueError, match=r"expected at most 2 commands"):
        NumericTeam(textworld_coop.parallel_env(), max_actions=3).reset(seed=4)


@modules
def test_experts_win_and_are_paid_alike(module: Any) -> None:
    env = module.parallel_env(env_id=EASY[module])
    for seed in range(3):
        returns, infos, _ = play(env, ExpertTeam(env), seed)
        assert all(info["success"] and info["subgoals_done"] == info["subgoals_total"] for info in infos.values())
        assert all(abs(paid - 1) < 1e-9 for paid in returns.values())


@modules
def test_nothing_is_won_by_chance_in_three_rounds(module: Any) -> None:
    env = module.parallel_env(env_id=EASY[module], max_steps=3)
    for seed in range(3):
        returns, infos, rounds = play(env, RandomTeam(env), seed)
        assert rounds == 3 or infos[env.possible_agents[0]]["success"] or module is swe_pair
        assert all(0 <= paid <= 1 for paid in returns.values())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"history": 2, "show_admissible": True, "distractors": 1, "fault_rate": 0.3},
        {"by_number": True, "action_format": "tag"},
    ],
)
@pytest.mark.parametrize("domain", ["TextWorld", "ALFWorld"])
def test_a_team_of_one_plays_as_the_single_player(domain: str, options: dict[str, Any]) -> None:
    module = textworld_coop if domain == "TextWorld" else alfworld_coop
    env_id = f"{domain}-Medium-Dense-v0"
    alone = {"task_types": alfworld_coop.DIVISIBLE, "subgoals": "stages"} if domain == "ALFWorld" else {}
    team = module.parallel_env(env_id=env_id, num_agents=1, invalid_penalty=0.1, **options)
    solo = gym.make(env_id, invalid_penalty=0.1, **alone, **options)
    rng = np.random.default_rng(5)
    for seed in range(4):
        answer, info = solo.reset(seed=seed)
        observations, infos = team.reset(seed=seed)
        over, reward = False, 0.0
        while True:
            assert observations == {"player_1": answer}
            assert infos["player_1"].pop("task_card", {"details": {}})["details"] | {"num_agents": 1} == (
                info.pop("task_card", {"details": {}})["details"] | {"num_agents": 1}
            )
            assert infos == {"player_1": info}
            if over:
                break
            action = acted(info["admissible_commands"], rng, options)
            answer, reward, terminated, truncated, info = solo.step(action)
            observations, rewards, terminations, truncations, infos = team.step({"player_1": action})
            assert rewards["player_1"] == pytest.approx(reward)
            assert (terminations["player_1"], truncations["player_1"]) == (terminated, truncated)
            over = terminated or truncated


def acted(commands: tuple[str, ...], rng: np.random.Generator, options: dict[str, Any]) -> str:
    """Return a random command, or now and then nonsense, in the form of the options."""
    number = int(rng.integers(len(commands) + 1))
    command = "xyzzy" if number == len(commands) else str(number + 1) if options.get("by_number") else commands[number]
    return f"<action>{command}</action>" if options.get("action_format") == "tag" else command


def test_what_one_carries_is_out_of_the_others_reach_until_it_is_put_down() -> None:
    env, taken = on_the_floor()
    observations, *_, infos = env.step({"player_1": f"take {taken}", "player_2": "pass"})
    assert f"player_1: take {taken}" in observations["player_2"]
    assert all(taken not in command.split(" from ")[0] for command in infos["player_2"]["admissible_commands"])
    observations, *_ = env.step({"player_1": "inventory", "player_2": "inventory"})
    assert taken in observations["player_1"]
    assert taken not in observations["player_2"]
    env.step({"player_1": f"drop {taken}", "player_2": "pass"})
    *_, infos = env.step({"player_1": "pass", "player_2": f"take {taken}"})
    assert f"drop {taken}" in infos["player_2"]["admissible_commands"]
    assert f"drop {taken}" not in infos["player_1"]["admissible_commands"]


def test_of_two_who_reach_for_one_thing_the_one_whose_turn_is_first_gets_it() -> None:
    for first, rounds_before in (("player_1", 0), ("player_2", 1)):
        env, taken = on_the_floor()
        for _ in range(rounds_before):
            env.step({"player_1": "pass", "player_2": "pass"})
        *_, infos = env.step({"player_1": f"take {taken}", "player_2": f"take {taken}"})
        assert {name for name, info in infos.items() if info["valid_command"]} == {first}


def on_the_floor() -> tuple[TeamEnv, str]:
    """Return a team of two, next to a thing on the floor, and its name."""
    env = textworld_coop.parallel_env(env_id="TextWorld-Easy-Dense-v0", max_steps=30)
    for seed in itertools.count():
        _, infos = env.reset(seed=seed)
        for command in infos["player_1"]["admissible_commands"]:
            if command.startswith("take ") and " from " not in command:
                return env, command.removeprefix("take ")
    raise AssertionError


@pytest.mark.parametrize(("hearing", "heard"), [("near", False), ("all", True)])
def test_words_reach_those_who_are_near_or_all(hearing: str, heard: bool) -> None:
    env = textworld_coop.parallel_env(env_id="TextWorld-Easy-Dense-v0", num_agents=3, hearing=hearing, max_steps=30)
    _, infos = env.reset(seed=3)
    way = next(command for command in infos["player_3"]["admissible_commands"] if command.startswith("go "))
    observations, *_ = env.step({"player_1": "pass", "player_2": "pass", "player_3": way})
    assert f"player_3: {way}" in observations["player_1"]
    observations, *_, infos = env.step({"player_1": "say  the key\nis here ", "player_2": "pass", "player_3": "pass"})
    assert 'player_1 says: "the key is here"' in observations["player_2"]
    assert ('player_1 says: "the key is here"' in observations["player_3"]) is heard
    assert 'You say: "the key is here"' in observations["player_1"]
    assert infos["player_1"]["valid_command"]


def test_a_command_that_was_chosen_by_its_number_is_told_in_words() -> None:
    env = textworld_coop.parallel_env(env_id="TextWorld-Easy-Dense-v0", by_number=True)
    _, infos = env.reset(seed=3)
    plan = env.plan()["player_1"]
    observations, *_ = env.step({"player_1": plan, "player_2": "pass"})
    assert f"player_1: {infos['player_1']['admissible_commands'][int(plan) - 1]}" in observations["player_2"]


def test_a_player_is_told_nothing_of_what_happens_elsewhere() -> None:
    """Two worlds in which a distant player does different things look the same from here."""
    answer = []
    for rest in (["pass"] * 4, ["look", "inventory", "examine me", "xyzzy"]):
        env = textworld_coop.parallel_env(env_id="TextWorld-Easy-Dense-v0", max_steps=30)
        _, infos = env.reset(seed=3)
        way = next(command for command in infos["player_2"]["admissible_commands"] if command.startswith("go "))
        env.step({"player_1": "pass", "player_2": way})
        answer.append([env.step({"player_1": "look", "player_2": action})[0]["player_1"] for action in rest])
    assert answer[0] == answer[1]


def test_the_nonsense_of_one_leaves_the_others_as_they_were() -> None:
    env, other = (textworld_coop.parallel_env(env_id="TextWorld-Medium-Dense-v0", max_steps=30) for _ in range(2))
    env.reset(seed=0)
    other.reset(seed=0)
    for nonsense in ("", "\0", "x" * 100_000, "quit", "take key then drop key", "say " + "x" * 10_000, "<action>"):
        ours, theirs = env.plan(), other.plan()
        assert ours == theirs
        observed = env.step({**ours, "player_2": nonsense})[0]["player_1"]
        expected = other.step(theirs)[0]["player_1"]
        assert [line for line in observed.splitlines() if "player_2" not in line] == (
            [line for line in expected.splitlines() if "player_2" not in line]
        )


@given(seed=st.integers(0, 30), draws=st.lists(st.integers(0, 10**6), min_size=4, max_size=24))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize(
    "make", [textworld_coop.parallel_env, alfworld_coop.parallel_env], ids=["textworld", "alfworld"]
)
def test_pay_is_a_function_of_where_the_team_stands(make: Callable[..., TeamEnv], seed: int, draws: list[int]) -> None:
    env = make(reward_density=1.0, num_agents=2, max_steps=40)
    _, infos = env.reset(seed=seed)
    paid = 0.0
    for one, two in itertools.pairwise(draws):
        commands = [infos[name]["admissible_commands"] for name in env.agents]
        actions = [given[draw % len(given)] for given, draw in zip(commands, (one, two), strict=True)]
        _, rewards, terminations, _, infos = env.step(dict(zip(env.possible_agents, actions, strict=True)))
        paid += rewards["player_1"]
        info = infos["player_1"]
        assert rewards["player_1"] == rewards["player_2"]
        assert paid == pytest.approx(info["subgoals_done"] / info["subgoals_total"])
        assert info["success"] == (info["subgoals_done"] == info["subgoals_total"]) == terminations["player_1"]
        if not env.agents:
            return


def test_two_need_fewer_rounds_than_one_for_errands_that_can_be_divided() -> None:
    rounds = []
    for num_agents in (1, 2):
        env = alfworld_coop.parallel_env(num_agents=num_agents, solution_length=16, reward_density=1.0)
        played = [play(env, ExpertTeam(env), seed) for seed in range(10)]
        assert all(infos["player_1"]["success"] for _, infos, _ in played)
        rounds.append(sum(num for *_, num in played))
    assert rounds[0] == 160
    assert rounds[1] < 110


def test_the_reviewer_changes_nothing_and_the_developer_does_not_hand_in() -> None:
    env = swe_pair.parallel_env(action_space_size=9, max_steps=30)
    env.reset(seed=0)
    observations, *_, infos = env.step(
        {"developer": '{"tool": "submit"}', "reviewer": '{"tool": "bash", "command": "ls"}'}
    )
    assert "submit is not for the developer" in observations["developer"]
    assert "bash is not for the reviewer" in observations["reviewer"]
    assert not infos["developer"]["valid_command"]
    assert env.agents
    plan = env.plan()
    observations, *_ = env.step({**plan, "reviewer": '{"tool": "say", "text": "go on"}'})
    assert "The developer changed:\ndiff --git" in observations["reviewer"]
    assert 'reviewer says: "go on"' in observations["developer"]
    observations, _, terminations, *_ = env.step({"developer": "pass", "reviewer": '{"tool": "submit"}'})
    assert all(terminations.values())
    assert "parts are repaired" in observations["reviewer"]
    assert not any(info["success"] for info in infos.values())


def test_bad_input_gets_one_sentence_and_nothing_is_lost() -> None:
    env = textworld_coop.parallel_env()
    with pytest.raises(ResetNeeded, match=r"expected reset\(\) before step\(\)"):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected an action of each of player_1, player_2, got player_1"):
        env.step({"player_1": "look"})
    with pytest.raises(TypeError, match=r"expected an action of type str, got int of player_2: 3"):
        env.step({"player_1": "take all", "player_2": 3})
    assert env.plan()["player_1"] != "pass"
    with pytest.raises(ValueError, match=r"expected num_agents"):
        textworld_coop.parallel_env(num_agents=9)
    with pytest.raises(ValueError, match=r"expected hearing to be one of 'near', 'all', got 'far'"):
        textworld_coop.parallel_env(hearing="far")
    with pytest.raises(TypeError, match=r"expected no 'challenge' for a team, got 'simple'"):
        textworld_coop.parallel_env(challenge="simple")
    with pytest.raises(ValueError, match=r"expected an id of this domain by tier, got 'ALFWorld-Easy-Dense-v0'"):
        textworld_coop.parallel_env(env_id="ALFWorld-Easy-Dense-v0")
    by_module = textworld_coop.parallel_env(env_id="textagent_gym:TextWorld-Easy-Dense-v0")
    assert by_module.reset(seed=0)[1]["player_1"]["task_card"]["requested"]["state_space_size"] == 3
    with pytest.raises(ValueError, match=r"for a team, got look_at_obj_in_light"):
        alfworld_coop.parallel_env(task_types=("look_at_obj_in_light",))


def play(
    env: TeamEnv, team: ExpertTeam | RandomTeam, seed: int
) -> tuple[dict[str, float], dict[str, dict[str, Any]], int]:
    """Return of the players, their last infos, and the rounds of an episode."""
    observations, infos = env.reset(seed=seed)
    team.reset(infos, seed=seed)
    returns = dict.fromkeys(env.agents, 0.0)
    rounds = 0
    while env.agents:
        observations, rewards, *_, infos = env.step(team.act(observations, infos))
        returns = {name: returns[name] + reward for name, reward in rewards.items()}
        rounds += 1
    return returns, infos, rounds
