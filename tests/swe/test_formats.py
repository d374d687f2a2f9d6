"""Formats: what is written is what is read, and what cannot be read is named."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import MISSING, fields, replace
from datetime import datetime
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import DependencyNotInstalled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textagent_gym.envs.swe.repo.patches import parse_patch
from textagent_gym.envs.swe.sources import formats
from textagent_gym.envs.swe.sources.formats import from_row, read_instances, to_row, write_instances
from textagent_gym.envs.swe.types import Bug, Sdist, TaskInstance

ROW: dict[str, Any] = {
    "instance_id": "owner__name-1",
    "repo": "owner/name",
    "base_commit": "0123abcd",
    "problem_statement": "It is wrong.\r\nVery.\n",
    "patch": "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-1\n+2\n",
    "test_patch": "",
    "FAIL_TO_PASS": ["tests/test_x.py::test_a[1-b c]"],
    "PASS_TO_PASS": [],
}
SUFFIXES = [
    ".jsonl",
    ".json",
    "",
    pytest.param(
        ".parquet",
        marks=pytest.mark.skipif(
            util.find_spec("pyarrow") is None, reason="pyarrow is not installed: pip install 'textagent-gym[swebench]'"
        ),
    ),
]

ids = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True).filter(lambda name: set(name) != {"."})
tests = st.lists(st.text(max_size=12), max_size=3).map(tuple)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
reserved = {f.name for f in fields(TaskInstance)} | {"filled_in", "Dockerfile", "image_name"}
columns = st.sampled_from(["difficulty", "split", "datasets", "eval_type", "null", "1"]) | st.text(max_size=6)
extras = st.dictionaries(columns.filter(lambda name: name not in reserved), values | st.text(max_size=5), max_size=3)
instances = st.builds(
    TaskInstance,
    **{f.name: st.text(max_size=40) for f in fields(TaskInstance) if f.type == "str" and f.name != "instance_id"},
    instance_id=ids,
    FAIL_TO_PASS=tests,
    PASS_TO_PASS=tests,
    origin=st.sampled_from(["bundled", "mutation", "release", "dataset", "rebased"]),
    sdist=st.none() | st.builds(Sdist, **{f.name: st.text(max_size=8) for f in fields(Sdist)}),
    bugs=st.lists(
        st.builds(Bug, file=st.text(max_size=8), function=st.text(max_size=8), kind=st.text(max_size=8), tests=tests),
        max_size=2,
    ).map(tuple),
    seconds=st.floats(0, 1e9),
    extra=extras,
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(written=st.lists(instances, max_size=3, unique_by=lambda instance: instance.instance_id))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, suffix: str, written: list[TaskInstance]) -> None:
    path = tmp_path_factory.mktemp("tasks") / f"tasks{suffix}"
    write_instances(written, path)
    expected = written if suffix else sorted(written, key=lambda instance: instance.instance_id)
    read = read_instances(path)
    assert read == expected
    texts = [[json.dumps(to_row(instance), sort_keys=True) for instance in found] for found in (read, expected)]
    assert texts[0] == texts[1]  # other than for `==`, True is not 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_field_makes_the_trip(tmp_path: Path, suffix: str) -> None:
    """An instance without a single default, so that a field that a form forgets cannot hide."""
    instance = replace(
        from_row(ROW),
        **{f.name: f"some {f.name}\n" for f in fields(TaskInstance) if f.default == ""},  # type: ignore[arg-type]
        FAIL_TO_PASS=("a", "b c"),
        PASS_TO_PASS=("c",),
        origin="mutation",
        sdist=Sdist(project="p", version="1.0", filename="p-1.0.tar.gz", sha256="00"),
        bugs=(Bug(file="x.py", function="f", kind="comparison", tests=("a",)),),
        seconds=1.5,
        extra={"difficulty": "hard", "Dockerfile": "FROM scratch\n", "numbers": [1, None, 2.5], "split": "dev"},
    )
    for f in fields(TaskInstance):
        assert f.default is MISSING or getattr(instance, f.name) != f.default
    write_instances([instance], tmp_path / f"tasks{suffix}")
    assert read_instances(tmp_path / f"tasks{suffix}") == [instance]
    assert read_instances(str(tmp_path / f"tasks{suffix}")) == [instance]


def test_rows_differ_in_their_extra(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pip install 'textagent-gym[swebench]'")
    extras = [{"a": "text", "b": 1}, {"a": "more"}, {"b": "text", "c": None}]
    written = [replace(from_row(ROW), instance_id=f"t-{number}", extra=extra) for number, extra in enumerate(extras)]
    write_instances(written, tmp_path / "tasks.parquet")
    assert read_instances(tmp_path / "tasks.parquet") == written


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pip install 'textagent-gym[swebench]'")
    (tmp_path / "tasks.parquet").write_text("hello")
    with pytest.raises(ValueError, match=r"tasks.parquet: expected a Parquet file, got"):
        read_instances(tmp_path / "tasks.parquet")


def test_columns_of_data_sets() -> None:
    """Tests as JSON in a string, nothing for a default, a date that is no string, columns without a field."""
    row = {
        **ROW,
        "FAIL_TO_PASS": '["a", "b"]',
        "hints_text": None,
        "created_at": datetime(2024, 3, 28, 17, 38),
        "environment_setup_commit": "ff",
        "difficulty": None,
    }
    instance = from_row(row)
    assert instance.FAIL_TO_PASS == ("a", "b")
    assert (instance.hints_text, instance.created_at) == ("", "2024-03-28T17:38:00")
    assert instance.extra == {"environment_setup_commit": "ff", "difficulty": None}
    assert instance.origin == "dataset"
    assert from_row({**ROW, "extra": '{"x": 1}'}).extra == {"x": 1}
    smith = {name: value for name, value in ROW.items() if name not in {"base_commit", "test_patch"}}
    assert from_row({**smith, "image_name": "i"}).extra == {"image_name": "i"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({name: None}, f"row: expected a field {name}, got none") for name in ROW),
        ({"patch": 1}, "row: patch: expected a string, got 1"),
        ({"hints_text": ["a"]}, r"row: hints_text: expected a string, got \['a'\]"),
        ({"FAIL_TO_PASS": "a"}, "row: FAIL_TO_PASS: expected a list of strings, or such a list in JSON, got 'a'"),
        ({"FAIL_TO_PASS": '{"a": 1}'}, "row: FAIL_TO_PASS: expected a list of strings"),
        ({"PASS_TO_PASS": [1]}, "row: PASS_TO_PASS: expected a list of strings"),
        ({"origin": "moon"}, "row: origin: expected one of bundled, mutation, release, dataset, rebased, got 'moon'"),
        ({"sdist": {"project": "p"}}, "row: sdist: expected an object with project, version, filename, sha256, got"),
        ({"bugs": "b"}, "row: bugs: expected a list of bugs, got 'b'"),
        ({"bugs": [{"file": "f"}]}, "row: bugs, bug 1: expected an object with file, function, kind, tests"),
        ({"bugs": [{"file": 1, "function": "", "kind": "", "tests": []}]}, "row: bugs, bug 1: file: expected a string"),
        ({"seconds": True}, "row: seconds: expected a number, got True"),
        ({"extra": "[1]"}, "row: extra: expected an object, or JSON of one"),
    ],
)
def test_wrong_rows(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_row({**ROW, **change})


def test_rows_of_swe_bench_pro() -> None:
    """Its columns have other names, lists as Python prints them, and NaN and numbers where pandas has been at work."""
    row = {name: value for name, value in ROW.items() if not name.endswith("_TO_PASS")}
    row |= {
        "fail_to_pass": "['tests/test_a.py::test[it\\'s]', \"b\"]",
        "pass_to_pass": "[]",
        "repo_language": "python",
        "tag": math.nan,
    }
    found = from_row(row | {"version": 1.0, "hints_text": math.nan, "created_at": None, "licence": math.nan})
    assert found.FAIL_TO_PASS == ("tests/test_a.py::test[it's]", "b")
    assert found.PASS_TO_PASS == ()
    assert (found.version, found.hints_text, found.created_at, found.licence) == ("1.0", "", "", "")
    assert found.extra == {"repo_language": "python", "tag": None}
    assert from_row(to_row(found)) == found
    assert from_row(row | {"version": 3}).version == "3"


@pytest.mark.parametrize("text", ["[1, 2]", "['a'", "{'a': 1}", "'a'", "__import__('os')", "(" * 5000])
def test_a_text_that_is_no_list_of_strings(text: str) -> None:
    with pytest.raises(ValueError, match="row: FAIL_TO_PASS: expected a list of strings, or such a list in JSON"):
        from_row(ROW | {"FAIL_TO_PASS": text})


def test_a_row_of_r2e_gym_is_refused_by_name() -> None:
    row = {"repo_name": "pillow", "commit_hash": "0" * 40, "parsed_commit_content": "{}", "docker_image": "x"}
    with pytest.raises(ValueError, match=r"row: expected a patch and names of tests, got a row of R2E-Gym"):
        from_row(row)


def test_wrong_files(tmp_path: Path) -> None:
    def message(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match="expected") as caught:
            read_instances(tmp_path / name)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{tmp_path}{os.sep}", "")

    good = json.dumps(ROW)
    assert message("a.jsonl", f"{good}\n\n{{no\n").startswith(
        "a.jsonl, line 3: expected JSON, got Expecting property name"
    )
    assert message("b.jsonl", f"{good}\n[1]\n") == "b.jsonl, line 2: expected an object, got [1]"
    assert message("c.jsonl", f"{good}\n{good}\n") == (
        f"c.jsonl, line 2: expected each instance_id once, got 'owner__name-1' as in {tmp_path}{os.sep}c.jsonl, line 1"
    ).replace(f"{tmp_path}{os.sep}", "")
    assert message("d.json", good).startswith("d.json: expected a list of rows, got {'instance_id'")
    assert message("e.json", "[") == "e.json: expected JSON, got Expecting value (line 1, column 2)"
    assert message("f.json", f'[{good}, {{"repo": "r"}}]') == "f.json, row 2: expected a field instance_id, got none"
    (tmp_path / "g.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"g.jsonl: expected UTF-8, got invalid start byte at byte 0"):
        read_instances(tmp_path / "g.jsonl")


def test_wrong_sources(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="got nothing at"):
        read_instances(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match=r"expected a .jsonl, .json or .parquet file, a folder, or a data set"):
        read_instances(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="expected a task repository with a folder tasks, got none"):
        read_instances(tmp_path)


def test_wrong_task_folders(tmp_path: Path) -> None:
    write_instances([from_row(ROW)], tmp_path / "repo")
    task = tmp_path / "repo" / "tasks" / "owner__name-1"

    def message(name: str, text: str | None) -> str:
        before = (task / name).read_text()
        if text is None:
            (task / name).unlink()
        else:
            (task / name).write_text(text)
        with pytest.raises(ValueError, match="expected") as caught:
            read_instances(tmp_path / "repo")
        (task / name).write_text(before)
        return str(caught.value)

    assert message("gold.patch", None).endswith("owner__name-1: expected a file gold.patch, got none")
    assert message("tests.json", None).endswith("owner__name-1: expected a file tests.json, got none")
    assert "tests.json: expected JSON, got" in message("tests.json", "{")
    assert "task.yaml: expected YAML, got" in message("task.yaml", "a: [")
    assert "task.yaml: expected an object, got 'text'" in message("task.yaml", "text")
    assert "expected instance_id to be the folder's name 'owner__name-1', got 'x'" in message(
        "task.yaml", "instance_id: x"
    )
    assert len(read_instances(tmp_path / "repo")) == 1


def test_a_folder_of_another_hand(tmp_path: Path) -> None:
    """Files of swebench's own tools: no hints, a Dockerfile, columns that this project does not know."""
    task = tmp_path / "tasks" / "a__b-1"
    task.mkdir(parents=True)
    (task / "task.yaml").write_text(
        "base_commit: ff\ndatasets:\n- x/y\neval_type: pass_and_fail\nimage: i\ninstance_id: a__b-1\n"
        "log_parser: parse_log_pytest\n"
        "repo: a/b\nsplit: test\nversion: '1.0'\ncreated_at: 2020-01-01T00:00:00Z\n"
    )
    (task / "tests.json").write_text('{"FAIL_TO_PASS": ["t"], "PASS_TO_PASS": []}')
    for name in ("problem_statement.md", "gold.patch", "test.patch", "eval.sh", "Dockerfile"):
        (task / name).write_text(f"{name}\r\n", newline="")
    (tmp_path / "tasks" / "notes").mkdir()
    (instance,) = read_instances(tmp_path)
    assert instance.extra == {
        "Dockerfile": "Dockerfile\r\n",
        "datasets": ["x/y"],
        "eval_type": "pass_and_fail",
        "split": "test",
    }
    assert (instance.patch, instance.hints_text, instance.created_at[:10]) == ("gold.patch\r\n", "", "2020-01-01")


def test_wrong_records(tmp_path: Path) -> None:
    instance = from_row(ROW)
    for suffix in (".jsonl", ""):
        with pytest.raises(
            ValueError, match="record 2: expected each instance_id once, got 'owner__name-1' as in record 1"
        ):
            write_instances([instance, instance], tmp_path / f"tasks{suffix}")
    for extra in ({"patch": "x"}, {"extra": {}}):
        with pytest.raises(ValueError, match="owner__name-1: expected extra to have columns that are no fields, got"):
            to_row(replace(instance, extra=extra))
    for value in ({1, 2}, (1, 2), float("nan"), {1: 2}):
        with pytest.raises(ValueError, match="owner__name-1: expected extra to hold what JSON can hold, got"):
            to_row(replace(instance, extra={"x": value}))
    for name in ("a/b", "..", "", "."):
        with pytest.raises(ValueError, match="expected an instance_id that can be a folder's name"):
            write_instances([replace(instance, instance_id=name)], tmp_path / "folder")
    with pytest.raises(ValueError, match="expected extra without 'filled_in'"):
        write_instances([replace(instance, extra={"filled_in": []})], tmp_path / "folder")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(FileExistsError, match="to be new or empty"):
            write_instances([instance], path)


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(formats, "import_module", missing)
    advice = re.escape("pip install 'textagent-gym[swebench]'")
    with pytest.raises(DependencyNotInstalled, match=f"swebench is not installed: {advice}"):
        read_instances("owner/name")
    with pytest.raises(DependencyNotInstalled, match=f"pyarrow is not installed: {advice}"):
        write_instances([from_row(ROW)], tmp_path / "tasks.parquet")


def test_the_hub_goes_through_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Loader:
        @staticmethod
        def load_swebench_dataset(name: str, split: str) -> list[dict[str, Any]]:
            asked.append((name, split))
            if split == "test":
                raise ValueError('Unknown split "test"')
            return [{**ROW, "hints_text": None, "other": None}]

    monkeypatch.setattr(formats, "_module", lambda name: Loader)
    assert read_instances("owner/name") == [from_row(ROW)] == read_instances("owner/name:dev")
    assert asked == [("owner/name", "test"), ("owner/name", "train"), ("owner/name", "dev")]
    with pytest.raises(ValueError, match="Unknown split"):
        read_instances("owner/name:test")


def test_real_rows(tmp_path: Path) -> None:
    folder = os.environ.get("TEXTAGENT_SWE_ROWS")
    if not folder:
        pytest.skip("TEXTAGENT_SWE_ROWS names no folder with rows of real data sets")
    found = [instance for file in sorted(Path(folder).glob("*.jsonl")) for instance in read_instances(file)]
    assert len(found) >= 8
    for instance in found:
        assert instance.FAIL_TO_PASS
        assert parse_patch(instance.patch)
        assert parse_patch(instance.test_patch)
    for name in ("tasks.jsonl", "tasks.json", "tasks"):
        write_instances(found, tmp_path / name)
        assert sorted(read_instances(tmp_path / name), key=str) == sorted(found, key=str)


@pytest.mark.slow
def test_swebench_reads_what_we_write(tmp_path: Path) -> None:
    pytest.importorskip("swebench", reason="pip install 'textagent-gym[swebench]'")
    from swebench.harness.utils import load_swebench_dataset
    from swebench.task.checks import check_task_repo
    from swebench.task.publish import compile_datasets
    from swebench.task.repo import load_task_repo

    script = "#!/bin/bash\n: '>>>>> Start Test Output'\npytest\n: '>>>>> End Test Output'\n"
    written = [
        replace(
            from_row(ROW),
            instance_id=f"owner__name-{number}",
            image=f"swebench/sweb.eval.x86_64.owner_1776_name-{number}:latest",
            eval_script=script,
            log_parser="parse_log_pytest",
            version="1.0",
            bugs=(Bug(file="x.py", function="f", kind="k", tests=("a",)),) * number,
            extra={"difficulty": "1 hour"} if number else {},
        )
        for number in range(2)
    ]
    write_instances(written, tmp_path / "repo")
    assert [str(problem) for problem in check_task_repo(tmp_path / "repo")] == []
    loaded = load_task_repo(tmp_path / "repo")
    for row, instance in zip(loaded, written, strict=True):
        assert row.items() >= to_row(instance).items()
    assert set(compile_datasets(tmp_path / "repo")) == {"local/repo"}
    bare = [from_row(ROW)]
    write_instances(bare, tmp_path / "bare")
    problems = [str(problem) for problem in check_task_repo(tmp_path / "bare")]
    assert len(problems) == 4, problems  # Dockerfile, image, and two marks of the script
    for name in ("tasks.jsonl", "tasks.json", "tasks.parquet"):
        write_instances(written, tmp_path / name)
        rows = load_swebench_dataset(str(tmp_path / name))
        assert [row["FAIL_TO_PASS"] for row in rows] == [list(instance.FAIL_TO_PASS) for instance in written]
        assert [from_row(row, name).patch for row in rows] == [instance.patch for instance in written]
    assert read_instances(tmp_path / "tasks.parquet") == written
