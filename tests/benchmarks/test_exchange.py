"""Suites, runs and demonstrations go to the hub and come back as they were; what differs is refused in one sentence."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from baselines.errors import BaselinesError
from baselines.sampling.demonstrations import play_expert, read_conversations
from baselines.sampling.environments import make_env
from benchmarks.exchange import push
from benchmarks.exchange.dataset_folder import MANIFEST, DatasetError, command_of
from benchmarks.exchange.hub import HubError
from benchmarks.exchange.load import load
from benchmarks.runs import run
from benchmarks.runs.records import FILES, read_config
from benchmarks.runs.verify import verify
from benchmarks.suites.suite import DIGESTS, Presentation, load_suite, sha256, suite_text
from tests.support.hub import Hub, Repo, local_hub

EASY = "textagent_gym:TextWorld-Easy-Dense-v0"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with local_hub(monkeypatch) as hub:
        yield hub


def repo_of(hub: Hub, name: str = "me/data") -> Repo:
    return hub.repos["dataset", name]


def test_a_suite_comes_back_as_it_was_published(hub: Hub, tmp_path: Path) -> None:
    push.push_suite("smoke-v0", "me/data")
    manifest, commit = load("me/data", tmp_path / "out")
    assert (manifest.kind, manifest.name, commit) == ("suite", "smoke-v0", repo_of(hub).head)
    assert (tmp_path / "out" / "suite.json").read_text() == suite_text("smoke-v0")
    rows = [json.loads(line) for line in (tmp_path / "out" / "tasks.jsonl").read_text().splitlines()]
    tasks = [(cell.env_id, task.seed, task.digest) for cell in load_suite("smoke-v0").cells for task in cell.tasks]
    assert [(row["env_id"], row["seed"], row["digest"]) for row in rows] == tasks
    card = (tmp_path / "out" / "README.md").read_text()
    for part in ("license: mit\n", "data_files: tasks.jsonl", DIGESTS["smoke-v0"], 'load_dataset("me/data"'):
        assert part in card
    assert f"--digest {sha256((tmp_path / 'out' / MANIFEST).read_text())}\n" in card
    assert not list(tmp_path.glob(".*"))


def test_a_push_of_the_same_makes_no_other_files(hub: Hub) -> None:
    push.push_suite("smoke-v0", "me/data")
    first = repo_of(hub).files
    push.push_suite("smoke-v0", "me/data")
    assert repo_of(hub).files == first


def test_a_run_comes_back_and_is_verified(hub: Hub, tmp_path: Path) -> None:
    options = {"suite": "smoke-v0", "agent": "random", "track": "open", "seeds": 1, "name": "dice | *1*"}
    run.run(run.Config(**options, out=tmp_path / "run", presentation=Presentation(history=2, preamble=False)))
    push.push_run(tmp_path / "run", "me/data", licence="cc-by-4.0", private=True)
    manifest, _ = load("me/data", tmp_path / "out")
    assert set(FILES) < {path.name for path in (tmp_path / "out").iterdir()}
    assert len(verify(tmp_path / "out").played) == 10
    assert manifest.facts["suite"] == "smoke-v0" and manifest.licence == "cc-by-4.0" and repo_of(hub).private
    assert (
        command_of(read_config(tmp_path / "out"))
        == "python -m benchmarks run --agent random --suite smoke-v0 --track open --name 'dice | *1*' --no-preamble "
        "--history 2 --seeds 1 --out runs/again"
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# dice \\| \\*1\\*\n" in card and "0 of 10 solved" in card


def test_demonstrations_come_back_as_conversations(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push.push_demonstrations(EASY, "me/data", count=2, first_seed=5, env_kwargs={"split": "test"})
    digest = capsys.readouterr().out.split()[-1]
    load("me/data", tmp_path / "out", digest=digest)
    read = read_conversations(tmp_path / "out" / "demonstrations.jsonl")
    env = make_env(EASY, {"split": "test", "expose_solution": True})
    for seed, demonstration in zip((5, 6), read, strict=True):
        played = play_expert(env, seed)
        assert (demonstration.observations, demonstration.actions) == (played.observations, played.actions)
    rows = [json.loads(line) for line in (tmp_path / "out" / "demonstrations.jsonl").read_text().splitlines()]
    assert [(row["seed"], row["return"], row["env_kwargs"]) for row in rows] == [
        (5, 1.0, '{"split": "test"}'),
        (6, 1.0, '{"split": "test"}'),
    ]
    with pytest.raises(DatasetError, match=r"expected a manifest with sha256 0{16}, got [0-9a-f]{16}$"):
        load("me/data", tmp_path / "other", digest="0" * 64)


def changed_file(files: dict[str, bytes]) -> dict[str, bytes | None]:
    return {"tasks.jsonl": files["tasks.jsonl"].replace(b'"seed": ', b'"seed": 1', 1)}


def changed_suite(files: dict[str, bytes]) -> dict[str, bytes | None]:
    suite = files["suite.json"].replace(b'"Easy', b'"easy', 1) + b" "
    manifest = json.loads(files[MANIFEST])
    manifest["files"]["suite.json"] = sha256(suite.decode())
    return {"suite.json": suite, MANIFEST: json.dumps(manifest).encode()}


def unknown_suite(files: dict[str, bytes]) -> dict[str, bytes | None]:
    return {MANIFEST: files[MANIFEST].replace(b'"smoke-v0"', b'"smoke-v9"')}


def other_kind(files: dict[str, bytes]) -> dict[str, bytes | None]:
    return {MANIFEST: files[MANIFEST].replace(b'"kind": "suite"', b'"kind": "model"')}


def path_outside(files: dict[str, bytes]) -> dict[str, bytes | None]:
    return {MANIFEST: files[MANIFEST].replace(b'"tasks.jsonl"', b'"../tasks.jsonl"')}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed_file,
            r"expected tasks.jsonl with sha256 [0-9a-f]{16}, got [0-9a-f]{16}: it is not the file that was pushed",
        ),
        (changed_suite, r"expected smoke-v0 as it was published \([0-9a-f]{16}\), got [0-9a-f]{16}"),
        (unknown_suite, r"expected a suite that this version knows \(smoke-v0, .*\), got 'smoke-v9'"),
        (other_kind, r"expected a suite, run or demonstrations in format 1, got 'model' in 1"),
        (path_outside, r"expected the files suite.json, tasks.jsonl, got \['../tasks.jsonl', 'suite.json'\]"),
        (lambda files: {MANIFEST: b"[]"}, r"expected manifest.json of a data set that `push` made, got another"),
        (lambda files: {MANIFEST: None}, r"expected the files manifest.json of the data set me/data, got: "),
        (lambda files: {"suite.json": None}, r"expected the files suite.json, .* of the data set me/data, got: "),
    ],
)
def test_what_differs_is_refused_and_nothing_is_written(hub: Hub, tmp_path: Path, change, message: str) -> None:
    push.push_suite("smoke-v0", "me/data")
    repo_of(hub).commit(change(repo_of(hub).files))
    with pytest.raises(BaselinesError, match=message) as caught:
        load("me/data", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists() and not list(tmp_path.glob(".partial*"))


def test_a_run_whose_episodes_were_changed_is_refused_by_its_replay(hub: Hub, tmp_path: Path) -> None:
    run.run(run.Config(suite="smoke-v0", agent="random", track="open", seeds=1, out=tmp_path / "run"))
    path = tmp_path / "run" / "trajectories.jsonl.xz"
    lines = lzma.decompress(path.read_bytes()).replace(b'"success": false', b'"success": true', 1)
    path.write_bytes(lzma.compress(lines))
    with pytest.raises(BaselinesError, match="expected success False, got True"):
        push.push_run(tmp_path / "run", "me/data")
    assert not hub.repos


def test_an_older_commit_loads_by_its_name(hub: Hub, tmp_path: Path) -> None:
    push.push_suite("smoke-v0", "me/data")
    first = repo_of(hub).head
    push.push_demonstrations(EASY, "me/data", count=1)
    assert load("me/data", tmp_path / "old", revision=first)[0].kind == "suite"
    assert load("me/data", tmp_path / "new")[0].kind == "demonstrations"
    with pytest.raises(HubError, match=r"expected the data set me/data, got: .*nowhere"):
        load("me/data", tmp_path / "none", revision="nowhere")
    with pytest.raises(DatasetError, match="expected a folder that does not exist yet"):
        load("me/data", tmp_path / "new")


@pytest.mark.parametrize("fault", ["token", "name", "licence", "down"])
def test_a_push_that_fails_says_why_in_one_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    if fault == "token":
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    elif fault == "down":
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(BaselinesError, match=r"^expected .*, got") as caught:
        push.push_suite(
            "smoke-v0", "me/a b" if fault == "name" else "me/data", "no licence" if fault == "licence" else "mit"
        )
    assert "\n" not in str(caught.value) and "hf_wrong" not in str(caught.value) and not hub.repos


def test_the_command_in_another_process(hub: Hub, tmp_path: Path) -> None:
    push.push_suite("smoke-v0", "me/data")
    repo_of(hub).commit({"tasks.jsonl": b"{}\n"})
    words = ["-m", "benchmarks", "load", "me/data", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, *words], env={**os.environ, **hub.variables}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: expected tasks.jsonl with sha256") and done.stderr.count("\n") == 1
