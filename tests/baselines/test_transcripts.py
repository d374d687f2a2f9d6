"""Transcripts: what is written is read again, each advantage stands at its token, and a page runs nothing it shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from baselines.models.policy import Policy
from baselines.runs.transcripts import (
    Transcript,
    TranscriptError,
    make_transcript,
    read_transcripts,
    save_transcripts,
    token_texts,
    write_page,
    write_transcripts,
)
from baselines.sampling.episode import Episode, Turn
from tests.support.pages import BROWSER, tags

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--"


def episode_of(policy: Policy, actions: list[str], cut_last: bool = False, **changes: Any) -> Episode:
    """Return an episode that was never played: token i has log-probability -i / 8 where it is an action's."""
    ids: list[int] = []
    mask: list[bool] = []
    turns = []
    for number, action in enumerate(actions):
        observation = f"room {number}"
        start = len(ids)
        prompt = policy.chat.first_turn(observation) if number == 0 else policy.chat.next_turn(observation)
        said = policy.chat.action(action)
        cut = cut_last and number == len(actions) - 1
        ids += prompt + said
        mask += [False] * len(prompt) + [True] * (len(said) - cut) + [False] * cut
        turns.append(Turn(observation, action, 0.25 * number, start, start + len(prompt), len(ids), cut))
    defaults: dict[str, Any] = {
        "seed": 7,
        "task_id": "lamp",
        "token_ids": np.array(ids, dtype=np.int64),
        "action_mask": np.array(mask),
        "logprobs": np.where(mask, -np.arange(len(ids)) / 8, 0).astype(np.float32),
        "turns": tuple(turns),
        "success": False,
        "terminated": True,
        "truncated": False,
        "truncated_by_context": False,
        "final_observation": "the end",
    }
    return Episode(**(defaults | changes))


def plain_transcript(**changes: Any) -> Transcript:
    transcript: dict[str, Any] = {
        "version": 1,
        "env_id": "ToyErrands-v0",
        "seed": None,
        "task_id": None,
        "success": False,
        "return": 0.5,
        "outcome": "failure",
        "turns": [{"observation": "a room", "action": "wait", "reward": 0.5}],
        "final_observation": "the end",
    }
    return cast(Transcript, transcript | changes)


def page_data(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_what_is_written_is_read_again(tiny_policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "new" / "00000010.jsonl"
    episodes = [
        episode_of(tiny_policy, ["bring the lamp", "wait"]),
        episode_of(tiny_policy, [], seed=8, task_id=None, terminated=False, truncated=True, truncated_by_context=True),
    ]
    write_transcripts(path, episodes, env_id="ToyErrands-v0", title="iteration 10")
    first, second = read_transcripts(path)
    assert first == {
        "version": 1,
        "env_id": "ToyErrands-v0",
        "seed": 7,
        "task_id": "lamp",
        "title": "iteration 10",
        "success": False,
        "return": 0.25,
        "outcome": "failure",
        "turns": [
            {"observation": "room 0", "action": "bring the lamp", "reward": 0},
            {"observation": "room 1", "action": "wait", "reward": 0.25},
        ],
        "final_observation": "the end",
    }
    assert (second["seed"], second["task_id"], second["outcome"], second["turns"]) == (8, None, "out of context", [])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_everything_that_a_turn_may_carry_is_read_again(tmp_path: Path) -> None:
    turn = {
        "observation": "line\u2028line\r\n\ud800",  # separators that are not ends of lines, half a surrogate pair
        "action": "ls",
        "reward": -1,
        "cut": True,
        "admissible_commands": ["ls", "cd"],
        "detail": "[a]--[b]",
        "tokens": [["ls", 1.5, None], ["", None, -0.5]],
    }
    transcripts = [plain_transcript(turns=[turn]), plain_transcript()]
    save_transcripts(tmp_path / "x.jsonl", transcripts)
    assert read_transcripts(tmp_path / "x.jsonl") == transcripts


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"success": True}, "success"),
        ({}, "failure"),
        ({"terminated": False, "truncated": True}, "out of steps"),
        ({"terminated": False, "truncated": True, "truncated_by_context": True}, "out of context"),
    ],
)
def test_outcomes(tiny_policy: Policy, changes: dict[str, bool], outcome: str) -> None:
    assert make_transcript(episode_of(tiny_policy, ["wait"], **changes), "Toy-v0")["outcome"] == outcome


def test_advantages_stand_at_their_tokens(tiny_policy: Policy, tmp_path: Path) -> None:
    episodes = [episode_of(tiny_policy, ["bring the lamp", "bring the coin"]), episode_of(tiny_policy, ["wait"])]
    width = max(episode.num_tokens for episode in episodes)
    # Every place has an advantage of its own, off the mask too: one that lands elsewhere is seen.
    advantages = np.arange(2 * width, dtype=np.float32).reshape(2, width) / 4
    write_transcripts(
        tmp_path / "x.jsonl", episodes, env_id="Toy-v0", tokenizer=tiny_policy.tokenizer, advantages=advantages
    )
    for row, (episode, transcript) in enumerate(zip(episodes, read_transcripts(tmp_path / "x.jsonl"), strict=True)):
        for turn, words in zip(episode.turns, transcript["turns"], strict=True):
            places = range(turn.action_start, turn.end)
            texts, given, logprobs = zip(*words["tokens"], strict=True)
            assert given == tuple(float(advantages[row, place]) for place in places)
            assert logprobs == tuple(-place / 8 for place in places)
            assert texts[-1] == "<|end|>"
            assert "".join(texts[:-1]).strip() == turn.action
            assert all(
                tiny_policy.tokenizer.decode([episode.token_ids[place]]) == text
                for place, text in zip(places, texts, strict=True)
            )


def test_the_end_token_of_a_cut_action_is_not_the_policys(tiny_policy: Policy) -> None:
    episode = episode_of(tiny_policy, ["wait", "wait"], cut_last=True)
    advantages = np.full(episode.num_tokens, np.nan)
    first, last = make_transcript(episode, "Toy-v0", tiny_policy.tokenizer, advantages)["turns"]
    assert "cut" not in first
    assert first["tokens"][-1][0] == "<|end|>"
    assert last["cut"]
    assert "".join(str(text) for text, _, _ in last["tokens"]).strip() == "wait"
    assert all(advantage is None for _, advantage, _ in last["tokens"])


@pytest.mark.parametrize("text", ["go to 你好 🙂 now", "🙂", "é\ufffdé", "a \n\n b", " don't  ,  ."])
def test_characters_of_several_tokens_are_joined(tiny_policy: Policy, text: str) -> None:
    ids = tiny_policy.chat.action(text)[:-1]
    texts = token_texts(tiny_policy.tokenizer, ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == tiny_policy.tokenizer.decode(ids)


def test_a_character_belongs_to_the_token_that_completes_it(tiny_policy: Policy) -> None:
    ids = tiny_policy.chat.action("🙂")[:-1]
    assert len(ids) > 2
    assert token_texts(tiny_policy.tokenizer, ids) == [" ", *[""] * (len(ids) - 2), "🙂"]
    # Bytes that never become a character are shown where they end.
    broken = token_texts(tiny_policy.tokenizer, [*ids[:3], *tiny_policy.chat.action("wait")])
    assert broken[1:3] == ["", ""]
    assert "\ufffd" in broken[3]
    assert "".join(broken).endswith("wait<|end|>")
    assert token_texts(tiny_policy.tokenizer, ids[:3])[-1].endswith("\ufffd")
    assert token_texts(tiny_policy.tokenizer, []) == []


def test_advantages_of_another_shape(tiny_policy: Policy, tmp_path: Path) -> None:
    episode = episode_of(tiny_policy, ["wait"])
    for shape, message in (
        ((2, 99), r"expected advantages \(1, T\), got \(2, 99\)"),
        ((99,), r"expected advantages \(1, T\), got \(99,\)"),
        ((1, 2), rf"expected advantages \({episode.num_tokens},\) or longer, got \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            write_transcripts(
                tmp_path / "x", [episode], env_id="T", tokenizer=tiny_policy.tokenizer, advantages=np.zeros(shape)
            )
    with pytest.raises(ValueError, match="expected a tokenizer"):
        write_transcripts(tmp_path / "x", [episode], env_id="T", advantages=np.zeros((1, 99)))
    assert list(tmp_path.iterdir()) == []


def with_turn(**changes: Any) -> str:
    return json.dumps(plain_transcript(turns=[{"observation": "", "action": "", "reward": 0} | changes]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"version": 1, "env', "expected a JSON object, got text that does not parse"),
        (json.dumps(plain_transcript()).replace("0.5", "NaN"), "NaN is not JSON"),
        (json.dumps(plain_transcript()).replace("0.5", "1e999"), "1e999 is not JSON"),
        ("[" * 100_000, "expected a JSON object, got text that does not parse"),
        ("[1]", "expected `object`, got `array`"),
        ('{"turns": []}', "missing required field"),
        (json.dumps(plain_transcript(version=2)), r"enum value 2 - at `\$\.version`"),
        (json.dumps(plain_transcript(seed="x")), r"expected `int \| null`, got `str` - at `\$\.seed`"),
        (json.dumps(plain_transcript(success=1)), r"expected `bool`, got `int` - at `\$\.success`"),
        (json.dumps({k: v for k, v in plain_transcript().items() if k != "return"}), "missing required field `return`"),
        (with_turn(reward=True), r"expected `float`, got `bool` - at `\$\.turns\[0\]\.reward`"),
        (with_turn(detail=None), r"expected `str`, got `null` - at `\$\.turns\[0\]\.detail`"),
        (
            with_turn(admissible_commands=["a", 1]),
            r"got `int` - at `\$\.turns\[0\]\.admissible_commands\[1\]`",
        ),
        (with_turn(tokens=[["a", 1.0]]), r"length 3, got 2 - at `\$\.turns\[0\]\.tokens\[0\]`"),
        (
            with_turn(tokens=[["a", "1", 0]]),
            r"expected `float \| null`, got `str` - at `\$\.turns\[0\]\.tokens\[0\]\[1\]`",
        ),
    ],
)
def test_a_damaged_line_is_named_in_one_sentence(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(plain_transcript()) + "\n\n" + line + "\n")
    with pytest.raises(TranscriptError, match=rf"x\.jsonl, line 3: .*{message}") as caught:
        read_transcripts(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"version": "\xff"}')
    with pytest.raises(TranscriptError, match="line 1: expected a JSON object"):
        read_transcripts(tmp_path / "x.jsonl")


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    turn = dict.fromkeys(("observation", "action", "detail"), ATTACK)
    turns = [turn | {"reward": 0, "admissible_commands": [ATTACK], "tokens": [[ATTACK, 1.0, -1.0]]}]
    texts = dict.fromkeys(("env_id", "task_id", "title", "outcome", "final_observation"), ATTACK)
    write_page(tmp_path / "empty.html", [], "")
    write_page(tmp_path / "page.html", [plain_transcript(turns=turns, seed=2**63 - 1, **texts)], ATTACK)
    page = (tmp_path / "page.html").read_text()
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<img" not in page
    assert tags(page) == tags((tmp_path / "empty.html").read_text())
    data = page_data(page)
    assert data["title"] == data["transcripts"][0]["turns"][0]["observation"] == ATTACK
    assert data["transcripts"][0]["seed"] == str(2**63 - 1)


def test_the_page_needs_nothing_else_and_makes_no_markup_of_data(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [plain_transcript()], "title")
    page = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in page
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "http://",
        "https://",
        "url(",
    ):
        assert word not in page
    assert not re.search(r"<(link|iframe|img)|\bsrc=|\bimport\b|fetch\(", page)


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "baselines.runs.transcripts", *arguments], capture_output=True, text=True, timeout=120
    )


def test_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    save_transcripts(path, [plain_transcript()])
    assert run_command(str(path)).stdout == f"page written to {tmp_path / 'x.html'}\n"
    assert page_data((tmp_path / "x.html").read_text())["title"] == "x.jsonl"
    path.write_text("{\n")
    failed = run_command(str(path), "--out", str(tmp_path / "other.html"))
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"error: {path}, line 1: expected a JSON object")
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "other.html").exists()


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium on the PATH to draw the page")
def test_a_browser_shows_the_turn_in_the_address_and_runs_no_text(tmp_path: Path) -> None:
    attack = f"{ATTACK}<script>document.title = 'attacked'</script>"
    turns = [
        {"observation": attack, "action": "go", "reward": 0.5, "tokens": [[" go", -2.0, -0.5], ["<|end|>", 1.0, None]]},
        {"observation": "a hall", "action": attack, "reward": -0.25, "detail": attack, "admissible_commands": [attack]},
    ]
    write_page(tmp_path / "page.html", [plain_transcript(), plain_transcript(turns=turns)], "Episodes of today")
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    address = (tmp_path / "page.html").as_uri() + "#episode=2&turn=2"
    run = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=120)
    drawn = run.stdout
    assert "<title>2: ToyErrands-v0 · Episodes of today</title>" in drawn
    assert re.search(r'<article class="turn"[^>]*data-turn="1"[^>]*aria-current="true"', drawn)
    assert re.search(r'class="token less-than"[^>]*data-advantage="-2"[^>]*--weight: ?0\.700[^>]*> go<', drawn)
    assert re.search(r'class="token more-than"[^>]*data-advantage="1"[^>]*--weight: ?0\.350', drawn)
    assert "return 0.25" in drawn
    body = drawn.partition("<script")[0]
    assert "&lt;script&gt;alert(1)" in body
    assert "<img" not in body
