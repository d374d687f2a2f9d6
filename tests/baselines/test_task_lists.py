"""Environments with a finite list of tasks: an evaluation plays each once, or is refused before it plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines import evaluate
from baselines.config.settings import RolloutSettings, RunSettings
from baselines.errors import ConfigError
from baselines.evaluate import evaluate_agent, evaluate_policy
from baselines.models.policy import Policy
from baselines.runs.distributed import Ranks
from baselines.runs.run import Evaluator
from baselines.sampling.environments import EnvPool, Task, make_env
from baselines.sampling.task_lists import check_each_once, choose_tasks
from tests.baselines.test_evaluate import obedient
from tests.support.toy_text_env import TOY, ToyErrands

FINITE = {"num_tasks": 7}
SETTINGS = RolloutSettings(max_new_tokens=4, max_context_tokens=256)


def names(tasks: list[Task]) -> list[str | None]:
    return [task.task_id for task in tasks]


def test_all_tasks_are_played_once() -> None:
    env = make_env(TOY, FINITE)
    tasks = choose_tasks(env, "all", first_seed=5)
    assert tuple(names(tasks)) == env.unwrapped.task_ids  # type: ignore[attr-defined]
    assert [task.seed for task in tasks] == [*range(5, 12)]
    assert evaluate_agent(obedient, env, tasks).successes.sum() == 7


def test_some_tasks_are_different_mixed_and_nested() -> None:
    env = make_env(TOY, {"num_tasks": 50})
    every = choose_tasks(env, "all")
    few, more = choose_tasks(env, 10), choose_tasks(env, 20)
    assert more[:10] == few and set(more) <= set(every) and len(set(more)) == 20
    assert names(few) != names(every)[:10]  # a list in order begins with one type of task


@pytest.mark.parametrize("wanted", [0, 8, -1])
def test_more_tasks_than_there_are(wanted: int) -> None:
    with pytest.raises(ConfigError, match=r"expected eval_tasks from 1 to 7, .* or all, got"):
        choose_tasks(make_env(TOY, FINITE), wanted)


def test_tasks_without_end_cannot_all_be_played() -> None:
    with pytest.raises(ConfigError, match="finite list of tasks for eval_tasks"):
        choose_tasks(make_env(TOY, {}), "all")
    check_each_once(make_env(TOY, {}), [Task(1), Task(1)])


def test_seeds_that_draw_a_task_twice_are_refused() -> None:
    env = make_env(TOY, FINITE)
    with pytest.raises(
        ConfigError, match=r"expected seeds that play each task of ToyErrands-v0 once, got \d and \d"
    ) as e:
        evaluate_agent(obedient, env, range(7))
    first, second = (int(word) for word in str(e.value).replace(",", "").split() if word.isdigit())
    assert env.reset(seed=first)[1]["task_id"] == env.reset(seed=second)[1]["task_id"]
    with pytest.raises(ConfigError, match="expected at most 7 episodes of ToyErrands-v0, one for each task, got 8"):
        evaluate_agent(obedient, env, range(8))
    assert len(
        evaluate_agent(obedient, env, [first, next(s for s in range(7) if drawn(env, s) != drawn(env, first))]).seeds
    )


def drawn(env: object, seed: int) -> str:
    return str(env.reset(seed=seed)[1]["task_id"])  # type: ignore[attr-defined]


def test_a_policy_and_a_training_run_are_held_to_it(tiny_policy: Policy) -> None:
    with EnvPool([(TOY, FINITE)]) as pool:
        with pytest.raises(ConfigError, match="once"):
            evaluate_policy(tiny_policy, pool, range(7), SETTINGS)
        played = evaluate_policy(tiny_policy, pool, choose_tasks(pool.lease(), "all"), SETTINGS)
    assert len({episode.task_id for episode in played.episodes}) == 7
    with pytest.raises(ConfigError, match="--eval-tasks all"):
        Evaluator([(TOY, FINITE)], RunSettings(eval_episodes=7), SETTINGS)


def test_a_training_run_plays_all_tasks_of_each_environment(tiny_policy: Policy) -> None:
    kinds = [(TOY, FINITE), (TOY, {"num_tasks": 3})]
    held_out = Evaluator(kinds, RunSettings(eval_tasks="all"), SETTINGS)
    assert "eval/success_rate" in held_out.record(tiny_policy, 1, 1, Ranks("cpu"))
    assert held_out.last is not None
    played = [episode.task_id for episode in held_out.last.episodes]
    assert len(played) == 10 and len(set(played[:7])) == 7 and len(set(played[7:])) == 3
    held_out.close()


def test_an_environment_that_breaks_while_it_is_checked_is_replaced(tiny_policy: Policy) -> None:
    ToyErrands.num_made = 0
    with EnvPool([(TOY, {**FINITE, "fail_at": -1, "healthy_after": 1})], max_broken=1) as pool:
        played = evaluate_policy(tiny_policy, pool, [3], SETTINGS)
    assert len(played.seeds) == 1 and pool.num_broken == 1


def test_the_command_plays_a_number_of_tasks(tiny_policy: Policy, tmp_path: Path) -> None:
    tiny_policy.save(tmp_path)
    config = evaluate.Config(env_id=TOY, env_kwargs=FINITE, model=str(tmp_path), rollout=SETTINGS, eval_tasks=4)
    result = evaluate.evaluate(config)
    assert len({episode.task_id for episode in result.episodes}) == 4
