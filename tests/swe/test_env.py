"""SWEGym episodes over the bundled libraries: nothing is fetched."""

import json
from typing import Any, cast

import gymnasium as gym
import pytest

from textagent_gym.agents import ExpertAgent, RandomAgent
from textagent_gym.envs.swe.env import SWEGymEnv, SweTask
from textagent_gym.envs.swe.repo.tree import is_source
from textagent_gym.testing import play

EASY = "SWEGym-Easy-Dense-v0"


def make(env_id: str = EASY, **options: Any) -> SWEGymEnv:
    return cast(SWEGymEnv, gym.make(env_id, expose_solution=True, **options).unwrapped)


def call(tool: str, **arguments: object) -> str:
    return json.dumps({"tool": tool, **arguments})


@pytest.mark.parametrize("interface", ["tools", "bash", "choice"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_expert_repairs_through_every_interface(interface: str, split: str) -> None:
    env = make(interface=interface, split=split)
    seen = play(env, ExpertAgent(), seed=3)
    assert sum(step[1] for step in seen) == pytest.approx(1, abs=1e-9)
    assert seen[-1][4]["success"]
    assert seen[0][4]["solution"][-1] in ("submit", call("submit"))


@pytest.mark.parametrize(
    ("density", "paid"), [("Sparse", [0, 0, 1]), ("Balanced", [0, 0, 1]), ("Dense", [0.5, 0, 0.5])]
)
def test_the_last_sub_goal_is_paid_at_submit(density: str, paid: list[float]) -> None:
    env = make(f"SWEGym-Easy-{density}-v0", action_space_size=2)
    _, info = env.reset(seed=0)
    rewards = [env.step(action)[1] for action in info["solution"]]
    assert rewards == pytest.approx(paid)


def test_submitting_at_once_is_worth_nothing_and_ends() -> None:
    env = make()
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(call("submit"))
    assert (reward, terminated, truncated, info["success"]) == (0, True, False, False)
    assert observation.startswith("Submitted: 0 of 2 parts are repaired")


def test_half_a_repair_keeps_its_half_when_submitted() -> None:
    env = make(action_space_size=2)
    _, info = env.reset(seed=0)
    total = env.step(info["solution"][0])[1]
    _, reward, terminated, _, info = env.step(call("submit"))
    assert terminated
    assert not info["success"]
    assert total + reward == pytest.approx(0.5)


def test_breaking_and_repairing_earns_nothing() -> None:
    env = make(max_steps=100)
    _, info = env.reset(seed=0)
    edits = [json.loads(action) for action in info["solution"] if '"edit"' in action]
    total = 0.0
    for _ in range(3):
        total += env.step(json.dumps(edits[0]))[1]
        assert total == pytest.approx(0.5)
        back = {**edits[0], "old": edits[0]["new"], "new": edits[0]["old"]}
        total += env.step(json.dumps(back))[1]
        assert total == pytest.approx(0)


def test_breaking_what_worked_takes_credit_away_until_it_works_again() -> None:
    env = make(max_steps=100, action_space_size=9)
    _, info = env.reset(seed=0)
    edit = next(action for action in info["solution"] if '"edit"' in action)
    assert env.step(edit)[1] == pytest.approx(0.5)
    task = cast(SweTask, env.task)
    sources = [path for path in task.base if is_source(path) and not path.endswith("__init__.py")]
    for source in sources:
        env.step(call("create", path=source, content="raise ImportError\n"))
    assert env.steps > 1
    *_, info = env.step(call("list"))
    assert info["subgoals_done"] == 0
    for _ in sources:
        _, reward, *_, info = env.step(call("undo"))
    assert reward == pytest.approx(0.5)
    assert info["subgoals_done"] == 1


def test_deleting_the_tests_changes_nothing() -> None:
    env = make(action_space_size=9)
    env.reset(seed=0)
    env.step(call("bash", command="rm -r tests && mkdir tests && echo 'def test_x(): pass' > tests/test_x.py"))
    *_, info = env.step(call("submit"))
    assert (info["success"], info["subgoals_done"]) == (False, 0)


def test_the_shell_reads_fences_and_a_submission_with_a_diff() -> None:
    env = make(interface="bash", max_steps=20)
    _, info = env.reset(seed=0)
    for action in info["solution"][:-1]:
        *_, step = env.step(f"THOUGHT: I'd edit the users' file.\n\n```bash\n{action}\n```")
        assert step["valid_command"]
    text, *_, step = env.step("```bash\nls\n```\n```bash\nls src\n```")
    assert text.startswith("Nothing was done: expected one command in one fenced block, got 2")
    assert not step["valid_command"]
    text, *_ = env.step("```bash\nprintf 'a\\\\nb\\n' > z.txt\ncat z.txt\n```")
    assert "<output>\na\\nb\n</output>" in text
    command = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git add -A && git diff --cached"
    _, _, terminated, _, step = env.step(f"```bash\n{command}\n```")
    assert terminated
    assert step["success"]


@pytest.mark.parametrize("place", ["<tool_call>%s</tool_call>", "So:\n```json\n%s\n```", "%s"])
def test_the_tools_read_other_formats(place: str) -> None:
    env = make()
    _, info = env.reset(seed=0)
    for action in info["solution"]:
        call = json.loads(action)
        name = call.pop("tool")
        *_, step = env.step(place % json.dumps({"name": name, "parameters": json.dumps(call)}))
    assert step["success"]


def test_densities_play_the_same_tasks() -> None:
    names = [
        make(f"SWEGym-Easy-{density}-v0").reset(seed=5)[1]["task_id"] for density in ("Sparse", "Balanced", "Dense")
    ]
    assert len(set(names)) == 1


@pytest.mark.parametrize("level", range(5))
def test_hints_say_more_from_level_to_level(level: int) -> None:
    env = make(hint_level=level)
    text, _ = env.reset(seed=0)
    instance = cast(SweTask, env.task).prepared.instance
    assert ("Places to look at" in text) == (level >= 1)
    assert all((f"{bug.file}, {bug.function}" in text) == (level >= 2) for bug in instance.bugs)
    assert ("Tests that fail" in text) == (level >= 3)
    assert all((f": {bug.kind}\n" in text + "\n") == (level >= 4) for bug in instance.bugs)


def test_tests_can_be_hidden_and_judge_all_the_same() -> None:
    env = make(tests_visible=False, action_space_size=9)
    env.reset(seed=0)
    task = cast(SweTask, env.task)
    files = {test.partition("::")[0] for test in task.prepared.instance.FAIL_TO_PASS}
    assert files
    assert not files & set(task.base)
    seen = play(env, ExpertAgent(), seed=0)
    assert seen[-1][4]["success"]


def test_the_card_says_what_was_asked_and_what_is() -> None:
    _, info = make().reset(seed=0)
    card = info["task_card"]
    assert card["requested"]["state_space_size"] == card["measured"]["state_space_size"] == 4
    assert card["requested"]["solution_length"] == card["measured"]["solution_length"] == 2
    assert card["requested"]["action_space_size"] == card["measured"]["action_space_size"] == 6
    assert card["details"]["sandbox"] == card["backend"]
    assert isinstance(card["details"]["sandbox_gaps"], list)


def test_splits_share_no_project() -> None:
    projects = []
    for split in ("train", "test"):
        env = make(split=split)
        projects.append({name.rpartition("-")[0] for name in env.task_ids or ()})
    assert projects[0]
    assert projects[1]
    assert not projects[0] & projects[1]


@pytest.mark.parametrize("interface", ["tools", "choice"])
def test_a_snapshot_leads_back(interface: str) -> None:
    env = make(interface=interface)
    _, info = env.reset(seed=1)
    first, *rest = info["solution"]
    env.step(first)
    snapshot = env.snapshot()
    answer = [env.step(action)[:4] for action in rest]
    env.restore(snapshot)
    assert [env.step(action)[:4] for action in rest] == answer


def test_choices_can_be_made_and_taken_back() -> None:
    env = make(interface="choice", action_space_size=8)
    text, info = env.reset(seed=0)
    assert text.count(" => ") == 8
    assert info["admissible_commands"] == ("1", "2", "3", "4", "5", "6", "7", "8", "submit")
    right = info["solution"][0]
    wrong = next(command for command in info["admissible_commands"] if command not in info["solution"])
    assert env.step(right)[1] == pytest.approx(0.5)
    text, reward, *_ = env.step(wrong)
    assert reward == pytest.approx(-0.5)
    assert text.endswith(f"Edits that are made: {', '.join(sorted((right, wrong)))}.")
    text, reward, *_ = env.step(f" {wrong}. ")
    assert reward == pytest.approx(0.5)
    assert "is taken back" in text
    text, *_, info = env.step("9")
    assert not info["valid_command"]
    assert "from 1 to 8, or submit" in text


def test_a_random_agent_scores_what_chance_allows() -> None:
    env = make(interface="choice")
    returns = [sum(step[1] for step in play(env, RandomAgent(), seed)) for seed in range(5)]
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in returns)
    tools = make()
    for seed in range(3):
        assert sum(step[1] for step in play(tools, RandomAgent(action_space=tools.action_space), seed)) == 0


def test_the_shell_submits_as_mini_swe_agent_does() -> None:
    env = make(interface="bash")
    env.reset(seed=0)
    text, _, terminated, *_ = env.step("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat /dev/null")
    assert terminated
    assert text.startswith("Submitted")


def test_a_failing_command_does_not_submit() -> None:
    env = make(interface="bash")
    env.reset(seed=0)
    text, _, terminated, _, info = env.step("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; exit 3")
    assert not terminated
    assert "<returncode>3</returncode>" in text
    assert info["valid_command"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_space_size": 99}, "Feasible: 4 files with 2"),
        ({"solution_length": 7}, "got none"),
        ({"interface": "vim"}, "expected interface"),
        ({"action_space_size": 1}, r"in \[2, 9\]"),
        ({"hint_level": 5}, r"in \[0, 4\]"),
        ({"origin": "dataset"}, "tasks=PATH_OR_HUB_ID"),
        ({"origin": "release", "interface": "choice"}, "whose wrong edits are known"),
        ({"sandbox": "chroot"}, "expected sandbox"),
    ],
)
def test_what_cannot_be_had_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_more_candidates_than_there_are_edits_are_refused() -> None:
    env = make(interface="choice", action_space_size=2)
    with pytest.raises(ValueError, match="expected action_space_size above 2"):
        env.reset(seed=0)


def test_environments_side_by_side_do_not_meet() -> None:
    one, other = make(action_space_size=9), make(action_space_size=9)
    one.reset(seed=0)
    other.reset(seed=0)
    one.step(call("bash", command="echo x > made.txt"))
    text, *_ = other.step(call("bash", command="ls"))
    assert "made.txt" not in text
    assert "made.txt" in one.step(call("bash", command="ls"))[0]


def test_a_person_can_ask_for_issue_files_and_diff() -> None:
    env = make()
    _, info = env.reset(seed=0)
    assert env.query_debug("diff") == "Nothing was changed yet."
    env.step(next(action for action in info["solution"] if '"edit"' in action))
    assert (env.query_debug("diff") or "").startswith("diff --git a/src/")
    assert "src/" in (env.query_debug("files") or "")
    assert "bugs were put into" in (env.query_debug("issue") or "")
    assert env.query_debug("weather") is None
