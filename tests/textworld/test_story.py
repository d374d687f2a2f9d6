"""Z-machine story files without a description: played by jericho, scored by their own account, without a plan."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import jericho
import pytest

import textagent_gym  # noqa: F401
from textagent_gym.agents import ExpertAgent, RandomAgent, ReplanningAgent
from textagent_gym.envs.textworld.reference import compiled
from textagent_gym.envs.textworld.story import _END, _SCORE
from textagent_gym.envs.textworld.tasks import make_task
from textagent_gym.envs.textworld.types import TaskSpec
from textagent_gym.testing import ODD_ACTIONS, play

TASK = make_task(TaskSpec(num_rooms=3, num_objects=4, solution_length=4, seed=1))


@pytest.fixture
def story(tmp_path: Path) -> Path:
    return shutil.copy(compiled(TASK), tmp_path / "house.z8")


def make(story: Path, **options: Any) -> gym.Env[str, str]:
    return gym.make("TextWorld-Custom-v0", game=str(story), **options)


def test_a_story_is_played_with_what_its_text_tells(story: Path) -> None:
    env = make(story, preamble=False)
    observation, info = env.reset(seed=0)
    assert observation.startswith("Hey, thanks for coming over to the TextWorld today") or "-= Study =-" in observation
    card = info["task_card"]
    assert (card["backend"], card["measured"], card["game_file"]) == ("jericho", {}, str(story))
    details = {"generator": "story", "max_score": 1, "plan": "none", "walkthrough": "none", "known_to_jericho": False}
    assert card["details"] == details and card["max_steps"] == 102
    assert info["admissible_commands"] is None and info["subgoals_total"] == 1
    steps = [env.step(action) for action in TASK.solution]
    assert [step[1] for step in steps] == [0, 0, 0, 1] and [step[2] for step in steps] == [False] * 3 + [True]
    assert steps[-1][4]["success"] and steps[-1][0].endswith("You scored 1 out of a possible 1, in 5 turns.")
    assert env.unwrapped.query_debug("score") == "1 of 1 points, 5 moves"  # type: ignore[attr-defined]
    assert env.unwrapped.query_debug("map") is None  # type: ignore[attr-defined]


def test_its_words_are_those_of_the_game_with_a_description(story: Path, tmp_path: Path) -> None:
    described = tmp_path / "described.json"
    described.write_text(json.dumps(TASK.whole_game.serialize()))
    by_story, by_description = make(story), make(described, backend="inform7")
    assert by_story.reset()[0] == by_description.reset()[0]
    for action in ("inventory", "xyzzy", "take unicorn", *TASK.solution):
        one, other = by_story.step(action), by_description.step(action)
        assert (one[0].split(), one[2]) == (
            other[0].split(),
            other[2],
        )  # textworld asks for a trace, which leaves a blank line
        assert one[4]["valid_command"] == (action not in ("xyzzy", "take unicorn"))


def test_points_pay_on_the_native_scale_and_a_lost_game_does_not(tmp_path: Path) -> None:
    task = make_task(TaskSpec(challenge="simple", rewards="dense", seed=3))
    path = shutil.copy(compiled(task), tmp_path / "dinner.z8")
    env = make(path, reward_scale="native")
    _, info = env.reset()
    assert info["task_card"]["details"]["max_score"] == info["subgoals_total"] > 1
    rewards = [env.step(action)[1] for action in task.solution]
    assert sum(rewards) == info["subgoals_total"] and rewards[0] in (0, 1)
    env = make(path, reward_density=1.0)
    env.reset()
    food = task.solution[-1].removeprefix("put ").removesuffix(" on stove")
    steps = [env.step(action) for action in (*task.solution[:-1], f"eat {food}")]
    assert sum(step[1] for step in steps[:-1]) > 0.5
    assert steps[-1][2] and not steps[-1][4]["success"] and sum(step[1] for step in steps) == pytest.approx(0)


def test_there_is_no_plan_and_no_expert(story: Path) -> None:
    env = make(story, expose_solution=True)
    _, info = env.reset()
    sentence = r"^expected a game with a description to plan in, got the story file .*house.z8, which has none$"
    with pytest.raises(ValueError, match=sentence):
        env.unwrapped.plan()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=sentence):
        ReplanningAgent(env).act("", info)
    with pytest.raises(ValueError, match=r"got none: .* a task whose solution is known"):
        ExpertAgent().reset(info)


def test_episodes_repeat_and_copies_play_on(story: Path) -> None:
    env, other = make(story), make(story)
    agent = RandomAgent(action_space=env.action_space)
    assert play(env, agent, 3, max_steps=8) == play(other, agent, 3, max_steps=8)
    first = env.reset()[0]
    env.step(TASK.solution[0])
    snapshot, copied = env.unwrapped.snapshot(), pickle.loads(pickle.dumps(env.unwrapped))  # type: ignore[attr-defined]
    ends = [env.step(action) for action in TASK.solution[1:]]
    assert [copied.step(action) for action in TASK.solution[1:]] == ends
    env.reset()
    env.unwrapped.restore(snapshot)  # type: ignore[attr-defined]
    assert [env.unwrapped.step(action) for action in TASK.solution[1:]] == ends
    assert env.reset(options={"task_id": ends[0][4]["task_id"]})[0] == first


def test_odd_actions_are_answered(story: Path) -> None:
    env = make(story)
    env.reset()
    for action in ODD_ACTIONS:
        observation, _, terminated, _, info = env.step(action)
        assert observation and not terminated and not info["success"]


def test_a_list_gives_each_game_its_engine(story: Path, tmp_path: Path) -> None:
    other = make_task(TaskSpec(num_rooms=3, num_objects=4, solution_length=4, seed=2))
    (tmp_path / "other.json").write_text(json.dumps(other.whole_game.serialize()))
    env = make(tmp_path)
    names = env.unwrapped.task_ids  # type: ignore[attr-defined]
    assert [name.partition(".")[0] for name in names] == ["file-house", "file-other"]
    backends = [env.reset(options={"task_id": name})[1]["task_card"]["backend"] for name in (*names, *names)]
    assert backends == ["jericho", "native"] * 2
    assert env.unwrapped.plan() == other.solution  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda story: story[:-5000], "expected a whole story file, got .*house.z8, which is cut short or damaged"),
        (lambda story: story[:5000] + b"\0" + story[5001:], "which is cut short or damaged"),
        (lambda story: b"", "expected a story file for the Z-machine of version 3, 4, 5 or 8, got .*house.z8"),
        (lambda story: b"\x07" + story[1:], "of version 3, 4, 5 or 8"),
    ],
)
def test_a_damaged_story_is_refused_before_an_interpreter_reads_it(story: Path, change: Any, message: str) -> None:
    story.write_bytes(change(story.read_bytes()))
    with pytest.raises(ValueError, match=message):
        make(story)


class KnownGame(jericho.FrotzEnv):
    """The story as if jericho knew it, with a walkthrough that goes on after the end."""

    printed = ""

    def load(self, story_file: str, seed: int | None = None) -> None:
        super().load(story_file, seed or 1)
        self.is_fully_supported = True

    def step(self, action: str) -> Any:
        result = super().step(action)
        self.printed = result[0]
        return result

    def get_walkthrough(self) -> list[str]:
        return [*TASK.solution, "look"]

    def get_max_score(self) -> int:
        return 10

    def victory(self) -> bool:
        return "*** The End ***" in self.printed


def test_a_walkthrough_that_jericho_knows_is_the_expert(story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jericho, "FrotzEnv", KnownGame)
    env = make(story, expose_solution=True)
    seen = play(env, ExpertAgent(), 0)
    card = seen[0][4]["task_card"]
    assert seen[0][4]["solution"] == TASK.solution and card["details"]["walkthrough"] == "4 steps"
    assert card["max_steps"] == 12 and card["measured"] == {"solution_length": 4}
    assert seen[-1][4]["success"] and seen[-1][4]["subgoals_total"] == 10
    assert sum(step[1] for step in seen) == 1
    monkeypatch.setattr(KnownGame, "get_walkthrough", lambda self: ["again", *TASK.solution])
    _, info = make(story, expose_solution=True).reset()
    assert "solution" not in info and info["task_card"]["details"]["walkthrough"] == "none"


@pytest.mark.parametrize(
    ("printed", "account"),
    [
        ("You have so far scored 2 out of a possible 5, in 1 turn.", ("2", "5", "1")),
        ("Your score is -10 (total of 350 points), in 12 moves.", ("-10", "350", "12")),
        ("Your score is 3 of a possible 100, in 7 moves.", ("3", "100", "7")),
        ("In 3 days you will score 5 goals.", None),
    ],
)
def test_accounts_of_inform_and_infocom_are_read(printed: str, account: tuple[str, ...] | None) -> None:
    found = _SCORE.search(printed)
    assert (found and found.groups()) == account


def test_an_end_is_its_last_words_and_the_question() -> None:
    question = "\n\nWould you like to restart the game from the beginning, restore a saved game, or quit?\n>"
    assert _END.search(f"Boom.\n\n    ****  You have died  ****\n\nYour score is 5.{question}")[1] == "You have died"  # type: ignore[index]
    assert _END.search("Boom.\n\n    ****  You have died  ****\n\nNow, let's take a look here...") is None
