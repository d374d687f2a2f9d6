"""Episodes through an endpoint are played like local ones."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch

from baselines import evaluate, sft
from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings
from baselines.endpoints import rollout as endpoint_rollout
from baselines.endpoints.endpoint import Endpoint, EndpointSettings
from baselines.endpoints.rollout import play_episodes
from baselines.errors import EndpointError, EnvironmentContractError, TrainingError
from baselines.models.chat import Message
from baselines.models.policy import Policy
from baselines.sampling.environments import EnvPool, Task
from baselines.sampling.episode import Episode
from baselines.sampling.rollout import rollout
from tests.support.chat_server import ChatServer, answer, completion, says, shaped
from tests.support.serving import transformers_serve
from tests.support.toy_text_env import TOY, ToyErrands

GREEDY = RolloutSettings(temperature=0.0, max_new_tokens=8, max_context_tokens=256, num_envs=4)
TASKS = [Task(seed) for seed in range(6)]


def obey(messages: list[Message]) -> dict[str, Any]:
    """Do what the last sentence asks for."""
    return completion(" bring the " + messages[-1]["content"].rstrip(".").split()[-1] + "\n")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden-in-tests")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(says(obey)) as running:
        yield running


@contextmanager
def connected(server: ChatServer) -> Iterator[Endpoint]:
    with Endpoint("m", EndpointSettings(base_url=server.base_url, max_retries=0)) as endpoint:
        yield endpoint


def play(server: ChatServer, settings: RolloutSettings = GREEDY, **env_kwargs: Any) -> list[Episode]:
    with connected(server) as endpoint, EnvPool([(TOY, env_kwargs)], settings.max_broken_envs) as pool:
        return play_episodes(endpoint, pool, TASKS, settings, seed=5)


def test_episodes_in_words(server: ChatServer) -> None:
    episodes = play(server)
    assert [episode.seed for episode in episodes] == [task.seed for task in TASKS]
    for episode in episodes:
        assert episode.success and episode.terminated and not episode.truncated
        assert [f"bring the {name}" for name in str(episode.task_id).split("-")] == [t.action for t in episode.turns]
        assert episode.episode_return == pytest.approx(1) and episode.final_observation == "Thank you."
        assert episode.num_tokens == 0 and not any(turn.cut for turn in episode.turns)
        assert "> bring the" in episode.transcript()


def test_the_whole_conversation_is_sent(server: ChatServer) -> None:
    (episode, *_) = play(server)
    said = [text for turn in episode.turns for text in (turn.observation, turn.action)]
    roles = ("user", "assistant")
    expected = [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]
    sent = [body["messages"] for body in server.bodies]
    assert all(expected[:length] in sent for length in (1, 3, 5))
    assert all("seed" not in body and body["temperature"] == 0 and body["max_tokens"] == 8 for body in server.bodies)


def test_a_window_of_the_conversation_is_sent(server: ChatServer) -> None:
    (episode, *_) = play(server, replace(GREEDY, context="window:1"))
    first, second, third = (turn.observation for turn in episode.turns)
    actions = [turn.action for turn in episode.turns]
    sent = [[message["content"] for message in body["messages"]] for body in server.bodies]
    assert [first, actions[0], second] in sent
    assert [f"{first}\n\n{second}", actions[1], third] in sent
    assert max(map(len, sent)) == 3


def test_every_turn_is_sampled_with_a_seed_of_its_own_whoever_plays_beside_it(server: ChatServer) -> None:
    seeds = []
    for num_envs in (1, 6):
        play(server, replace(GREEDY, temperature=0.7, num_envs=num_envs))
        seeds.append(sorted((body["seed"], str(body["messages"])) for body in server.bodies))
        server.seen.clear()
    assert seeds[0] == seeds[1] and len({seed for seed, _ in seeds[0]}) == 3 * len(TASKS)
    assert all(0 <= seed < 2**31 for seed, _ in seeds[0])


def test_a_reply_that_was_cut_or_empty_is_an_action(server: ChatServer) -> None:
    server.respond = shaped(completion("bring", "length"))
    assert all(turn.cut and turn.action == "bring" for episode in play(server) for turn in episode.turns)
    server.respond = shaped(completion(None))
    assert {episode.outcome for episode in play(server)} == {"out of steps"}


def test_a_turn_that_does_not_fit_ends_the_episode_as_it_does_locally(server: ChatServer) -> None:
    def grow(messages: list[Message]) -> dict[str, Any]:
        return completion("no", usage=(20 * len(messages), 1))

    server.respond = says(grow)
    (episode, *_) = play(server, replace(GREEDY, max_context_tokens=69))
    assert episode.truncated_by_context and episode.truncated and len(episode.turns) == 2  # 60 + 8 + 1 fit
    (episode, *_) = play(server, replace(GREEDY, max_context_tokens=68))
    assert len(episode.turns) == 1 and episode.final_observation == episode.turns[0].observation.join(("No. ", ""))
    server.respond = shaped({"error": {"message": "maximum context length is 9 tokens"}}, 400)
    (episode, *_) = play(server)
    assert episode.outcome == "out of context" and episode.turns == ()


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> type[ToyErrands]:
    monkeypatch.setattr(ToyErrands, "num_made", 0)
    return ToyErrands


@pytest.mark.parametrize("fail_at", [-1, 2])
def test_a_broken_environment_is_replaced_and_its_episode_played_anew(
    server: ChatServer, toys: type[ToyErrands], fail_at: int
) -> None:
    expected = play(server)
    toys.num_made = 0
    settings = replace(GREEDY, max_broken_envs=2)
    again = play(server, settings, fail_at=fail_at, healthy_after=2)
    assert [episode.turns for episode in again] == [episode.turns for episode in expected]
    with connected(server) as endpoint, suppress(RuntimeError), EnvPool([(TOY, {"fail_at": fail_at})], 2) as pool:
        with pytest.raises(TrainingError, match=r"raised RuntimeError in (reset|step 2) of seed \d"):
            play_episodes(endpoint, pool, TASKS, settings)
        assert pool.num_broken >= 3


def test_an_endpoint_that_fails_ends_all_episodes(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the thread that waits woke up last: the episodes must have stopped one another.
    monkeypatch.setattr(endpoint_rollout, "wait", lambda plays, **_: futures.wait(plays))
    server.script = [says(obey)] * 7
    server.respond = answer(401, b"no")
    with connected(server) as endpoint, EnvPool([(TOY, {})]) as pool:
        with pytest.raises(EndpointError, match="status 401: no; is OPENAI_API_KEY set"):
            play_episodes(endpoint, pool, TASKS * 10, GREEDY)
        assert len(server.seen) <= 7 + GREEDY.num_envs
        assert sorted(map(id, pool._free[0])) == sorted(map(id, pool._open))  # all were given back


def test_an_environment_of_another_kind(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyErrands, "step", lambda *_: (1, 0.0, False, False, {}))
    with pytest.raises(EnvironmentContractError, match="expected a str observation"):
        play(server)


def test_actions_that_are_no_commands_are_marked(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyErrands, "_info", lambda toy: {"valid_command": toy._steps != 2})
    assert [turn.invalid for turn in play(server)[0].turns] == [False, True, False]


@pytest.mark.parametrize("env_workers", [1, 3])
def test_no_more_environments_step_at_a_time_than_may(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, env_workers: int
) -> None:
    lock, inside, step = Lock(), [0, 0], ToyErrands.step

    def slow(self: ToyErrands, action: str) -> Any:
        with lock:
            inside[0] += 1
            inside[1] = max(inside)
        time.sleep(0.005)
        with lock:
            inside[0] -= 1
        return step(self, action)

    monkeypatch.setattr(ToyErrands, "step", slow)
    assert all(episode.success for episode in play(server, replace(GREEDY, num_envs=6, env_workers=env_workers)))
    assert inside[1] <= env_workers


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a policy that has half understood the toy, and says what is a text."""
    run = RunSettings(out=tmp_path_factory.mktemp("sft"), num_threads=1, progress=False)
    optimiser = OptimiserSettings(learning_rate=3e-3, warmup_steps=3, schedule="cosine")
    config = sft.Config(env_id=TOY, num_demos=24, num_epochs=6, batch_size=8, optimiser=optimiser, run=run)
    return sft.train(config).model_folder


@pytest.fixture(scope="module")
def policy(cloned: Path) -> Policy:
    return Policy.load(cloned)


def local(policy: Policy, settings: RolloutSettings) -> list[Episode]:
    with EnvPool([(TOY, {})]) as pool:
        return rollout(policy, pool, TASKS, settings, (5,))


def in_words(episode: Episode) -> Episode:
    """Return an episode as an endpoint would have recorded it."""
    nothing = np.zeros(0, dtype=np.int64)
    turns = tuple(replace(turn, start=0, action_start=0, end=0) for turn in episode.turns)
    return replace(
        episode,
        token_ids=nothing,
        action_mask=nothing.astype(bool),
        logprobs=nothing.astype(np.float32),
        turns=turns,
        final_prompt=nothing,
    )


def serve(policy: Policy, max_new_tokens: int) -> Callable[[list[Message]], dict[str, Any]]:
    """Return the policy as a server would run it: the whole conversation encoded again, generation by transformers."""
    tokenizer, lock = policy.tokenizer, Lock()

    def reply(messages: list[Message]) -> dict[str, Any]:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
        with lock, torch.inference_mode():
            ids = policy.model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=max_new_tokens)
        said = ids[0, prompt.shape[1] :].tolist()
        reason = "stop" if said[-1] == policy.chat.end_token_id else "length"
        text = tokenizer.decode(said, skip_special_tokens=True)
        return completion(text, reason, (prompt.shape[1], len(said)))

    return reply


def check_against_local(policy: Policy, episodes: list[Episode], settings: RolloutSettings) -> None:
    """Greedy episodes of a server are those of the policy itself, in words."""
    for played, expected in zip(episodes, map(in_words, local(policy, settings)), strict=True):
        for part in fields(Episode):
            ours, theirs = getattr(played, part.name), getattr(expected, part.name)
            assert np.array_equal(ours, theirs) if isinstance(theirs, np.ndarray) else ours == theirs, part.name


@pytest.mark.parametrize(("max_new_tokens", "max_context_tokens"), [(8, 256), (2, 256), (8, 60)])
def test_greedy_play_through_a_server_is_greedy_play(
    policy: Policy, server: ChatServer, max_new_tokens: int, max_context_tokens: int
) -> None:
    server.respond = says(serve(policy, max_new_tokens))
    settings = replace(GREEDY, max_new_tokens=max_new_tokens, max_context_tokens=max_context_tokens)
    check_against_local(policy, play(server, settings), settings)


def run_main(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    command = ["evaluate", "--env-id", TOY, "--num-episodes", "5", "--max-new-tokens", "8", *options]
    monkeypatch.setattr(sys, "argv", command)
    evaluate.main()


def test_the_command_prints_the_table_of_local_evaluation_and_the_usage(
    cloned: Path,
    server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    server.respond = says(serve(Policy.load(cloned), 8))
    server.script = [answer(503, b"")]
    written = tmp_path / "episodes.txt"
    run_main(monkeypatch, "--model", str(cloned), "--no-sampled")
    table = capsys.readouterr().out
    run_main(
        monkeypatch,
        *("--endpoint-model", "cloned", "--base-url", server.base_url, "--transcripts", str(written)),
        *("--prompt-price", "1", "--completion-price", "2", "--extra-body", '{"top_k": 1}'),
    )
    out = capsys.readouterr().out
    assert out.startswith(table) and len(table.splitlines()) == 3
    found = re.fullmatch(
        r"endpoint     (\d+) requests, 1 of them retries, (\d+) prompt tokens, (\d+) completion tokens, cost (.*), "
        r"0 empty replies, 0 replies of unknown length\n",
        out[len(table) :],
    )
    assert found is not None and int(found[1]) == len(server.seen)
    assert float(found[4]) == pytest.approx((int(found[2]) + 2 * int(found[3])) / 1e6, abs=1e-4)
    assert written.read_text().count("seed 1000000") == 1 and {body["top_k"] for body in server.bodies} == {1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "expected either model or endpoint_model, got '' and ''"),
        (("--model", "a", "--endpoint-model", "b"), "expected either model or endpoint_model, got 'a' and 'b'"),
        (("--endpoint-model", "m"), "expected a base URL such as"),
        (("--endpoint-model", "m", "--base-url", "URL", "--max-retries", "-1"), "expected max_retries >= 0"),
        (("--endpoint-model", "m", "--base-url", "URL"), "status 401: [key] is wrong; is OPENAI_API_KEY set"),
    ],
)
def test_what_goes_wrong_is_one_line(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], words: str
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    server.respond = shaped({"error": {"message": "sk-hidden-in-tests is wrong"}}, 401)
    with pytest.raises(SystemExit) as ended:
        run_main(monkeypatch, *(server.base_url if option == "URL" else option for option in options))
    assert str(ended.value).startswith("error: expected") and words in str(ended.value)


@pytest.mark.slow
def test_transformers_serve(cloned: Path, policy: Policy, tmp_path: Path) -> None:
    settings = replace(GREEDY, max_new_tokens=12)
    with (
        transformers_serve(cloned, tmp_path / "log") as base_url,
        Endpoint(str(cloned), EndpointSettings(base_url=base_url)) as endpoint,
        EnvPool([(TOY, {})]) as pool,
    ):
        episodes = play_episodes(endpoint, pool, TASKS, settings)
        assert endpoint.usage.completion_tokens > 0 == endpoint.usage.num_unknown
    check_against_local(policy, episodes, settings)
