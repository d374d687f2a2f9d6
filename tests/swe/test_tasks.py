"""The index fits the sources, and a sample of it is what it claims: the repair resolves, nothing does not."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.archives import make_archive
from textagent_gym.envs.swe import tasks
from textagent_gym.envs.swe.grading.grader import run_grading
from textagent_gym.envs.swe.grading.second_opinion import Challenges
from textagent_gym.envs.swe.repo.patches import num_hunks
from textagent_gym.envs.swe.repo.tree import is_test, tree_digest, with_changes
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sources import sdists
from textagent_gym.envs.swe.sources.index import indexed_instance, load_index
from textagent_gym.envs.swe.sources.projects import INDEX, projects
from textagent_gym.envs.swe.sources.releases import flat
from textagent_gym.envs.swe.synthesis.journal import Journal
from textagent_gym.envs.swe.synthesis.verify import ORIGINS, problem_of, verify
from textagent_gym.envs.swe.tasks import prepare_task
from textagent_gym.envs.swe.types import Origin, Sdist, TaskInstance


def sample(origin: Origin, step: int) -> list[str]:
    return list(load_index(origin))[::step]


@pytest.mark.parametrize("name", sample("bundled", 60))
def test_a_sample_of_the_bundled_tasks_is_sound(name: str, sandbox: Sandbox) -> None:
    assert problem_of(indexed_instance("bundled", name), sandbox) == ""


@pytest.mark.parametrize(("origin", "name"), [("mutation", name) for name in sample("mutation", 120)]
                         + [("release", name) for name in sample("release", 30)])  # fmt: skip
def test_a_sample_of_the_fetched_tasks_is_sound(origin: Origin, name: str, sandbox: Sandbox) -> None:
    try:
        instance = indexed_instance(origin, name)
    except sdists.IndexUnreachableError as error:
        pytest.skip(f"the package index cannot be reached: {error}")
    assert problem_of(instance, sandbox) == ""


@pytest.mark.slow
def test_every_task_of_the_index_is_sound(tmp_path: Path) -> None:
    found = verify(INDEX, 1, Journal(tmp_path / "verified.jsonl", ""))
    assert [(name, problem) for name, problem, _ in found if problem] == []


def test_no_test_that_looks_at_the_clock_decides_a_task() -> None:
    for origin, name in (("mutation", "cachetools-8.0.1.m1"), ("release", "sqlparse-0.6.0.r0.6.1")):
        try:
            instance = indexed_instance(origin, name)
            tree = sdists.sdist_tree(instance.sdist)
        except sdists.IndexUnreachableError as error:
            pytest.skip(f"the package index cannot be reached: {error}")
        timed = {
            path for path in tree if (is_test(path) and b"perf_counter" in tree[path]) or b"threading" in tree[path]
        }
        tests = {*instance.FAIL_TO_PASS, *instance.PASS_TO_PASS, *(test for bug in instance.bugs for test in bug.tests)}
        assert timed
        assert not timed & {test.partition("::")[0] for test in tests}
        assert instance.FAIL_TO_PASS
        assert all(bug.tests for bug in instance.bugs)


def test_the_index_is_as_large_as_promised() -> None:
    assert len(load_index("mutation")) >= 200
    assert len(load_index("release")) >= 40
    assert len({task.project for origin in ORIGINS for task in load_index(origin).values()}) >= 12


def test_no_project_is_in_both_splits() -> None:
    splits: dict[str, set[str]] = {}
    for origin in ORIGINS:
        for task in load_index(origin).values():
            splits.setdefault(task.project, set()).add(task.split)
    assert all(len(found) == 1 for found in splits.values())
    bundled = {task.split for task in load_index("bundled").values()}
    assert bundled == {"train", "test"}


def test_the_bundled_libraries_are_those_that_were_indexed() -> None:
    for name, project in projects().items():
        if project.sdist is None:
            entry = json.loads((INDEX / "mutation" / f"{name.replace('/', '-')}.json").read_text())
            assert entry["tree"] == tree_digest(project.tree), f"{name} has changed: make its index again"


def test_each_bug_has_a_function_and_a_group_of_its_own() -> None:
    for name in sample("bundled", 10):
        instance = indexed_instance("bundled", name)
        places = [(bug.file, bug.function) for bug in instance.bugs]
        assert len(set(places)) == len(places) == num_hunks(instance.patch)
        groups = [set(bug.tests) for bug in instance.bugs]
        assert all(groups)
        assert sum(map(len, groups)) == len(set().union(*groups))
        assert set().union(*groups) <= set(instance.FAIL_TO_PASS)
        assert not set(instance.FAIL_TO_PASS) & set(instance.PASS_TO_PASS)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a task of origin 'bundled'"):
        indexed_instance("bundled", "nothing.m1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"}, "that fit its tree"),
        ({"FAIL_TO_PASS": ("tests/none.py::test_x",)}, "got no tests/none.py"),
        ({"repo": "nobody/nothing"}, "to name an sdist"),
    ],
)
def test_an_unsound_record_is_refused(change: dict[str, object], message: str, sandbox: Sandbox) -> None:
    instance = indexed_instance("bundled", next(iter(load_index("bundled"))))
    with pytest.raises(ValueError, match=message):
        prepare_task(replace(instance, **change), sandbox)  # type: ignore[arg-type]


def test_a_repair_that_does_not_repair_is_refused(sandbox: Sandbox) -> None:
    instance = indexed_instance("bundled", next(iter(load_index("bundled"))))
    ready = prepare_task(instance, sandbox)
    assert with_changes(ready.visible, {}) == ready.visible
    test = instance.PASS_TO_PASS[0].partition("::")[0] + "::test_that_is_not_there"
    with pytest.raises(ValueError, match="test_that_is_not_there, got a failure"):
        prepare_task(replace(instance, FAIL_TO_PASS=(*instance.FAIL_TO_PASS, test)), sandbox)


def test_groups_of_a_release_are_at_most_ten() -> None:
    instance = TaskInstance(
        instance_id="x", repo="x", base_commit="x", problem_statement="", patch="", test_patch="",
        FAIL_TO_PASS=tuple(f"t.py::test_{number:02}" for number in range(23)), PASS_TO_PASS=(),
    )  # fmt: skip
    groups = tasks.groups_of(instance)
    assert len(groups) == 10
    assert sorted(sum(groups, ())) == sorted(instance.FAIL_TO_PASS)
    assert {len(group) for group in groups} == {2, 3}


def test_names_by_file_become_ids() -> None:
    tests = {"b.py": ["test_z"], "a.py": ["test_x", "T::test_y[b::c]"]}
    assert flat(tests) == ("a.py::T::test_y[b::c]", "a.py::test_x", "b.py::test_z")


# Source distributions, against an index of our own.


def archive(files: dict[str, bytes]) -> bytes:
    return make_archive(files, link=("demo-1.0/link", "/etc/passwd"))


def test_an_archive_is_read_without_its_links_and_its_top_folder() -> None:
    content = archive({"demo-1.0/src/x.py": b"x", "demo-1.0/PKG-INFO": b"i"})
    assert sdists.unpack("demo-1.0.tar.gz", content) == {"src/x.py": b"x", "PKG-INFO": b"i"}


@pytest.mark.parametrize("name", ["demo-1.0/../../x", "/etc/x"])
def test_an_archive_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected paths inside"):
        sdists.unpack("demo-1.0.tar.gz", archive({name: b"x"}))


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_a_damaged_archive_is_refused(ending: str) -> None:
    with pytest.raises(ValueError, match="damaged"):
        sdists.unpack(f"demo-1.0.{ending}", b"no archive")
    content = bytearray(archive({"demo-1.0/x.py": bytes(range(256)) * 400}))
    if ending == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as whole:
            whole.writestr("demo-1.0/x.py", bytes(range(256)) * 400)
        content = bytearray(packed.getvalue())
    content[60:160] = b"\xff" * 100
    with pytest.raises(ValueError, match="damaged"):
        sdists.unpack(f"demo-1.0.{ending}", bytes(content))


def test_a_wrong_hash_is_one_sentence_and_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive({"demo-1.0/x.py": b"x"})
    right = Sdist(project="demo", version="1.0", filename="demo-1.0.tar.gz", sha256=hashlib.sha256(content).hexdigest())
    wrong = replace(right, sha256="0" * 64)
    offered = sdists.Release(sdist=right, url="http://127.0.0.1/demo-1.0.tar.gz", uploaded="")
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path))
    monkeypatch.setattr(sdists, "releases", lambda project: (offered,))
    monkeypatch.setattr(sdists, "_get", lambda url: content)
    with pytest.raises(OSError, match=r"expected demo-1\.0\.tar\.gz with sha256 0000"):
        sdists.fetch(wrong)
    assert not list(tmp_path.rglob("*.tar.gz"))
    assert sdists.fetch(right) == content
    monkeypatch.setattr(sdists, "releases", None)
    assert sdists.fetch(right) == content


def test_an_index_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    sdists.releases.cache_clear()
    with pytest.raises(OSError, match="is the package index reachable") as caught:
        sdists.releases("demo")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task_id", ["bundled-ledgerline-1.0.m10", "bundled-gridroute-1.0.m40"])
def test_a_second_opinion_takes_no_part_of_a_repair_away(task_id: str, sandbox: Sandbox) -> None:
    """A test with parameters may fail because of two bugs: the repair of one is paid all the same."""
    found = prepare_task(indexed_instance("bundled", task_id), sandbox)
    without = replace(found.test_spec, challenges=Challenges())
    for edit in found.edits:
        content = found.test_spec.start[edit.path].decode().replace(edit.old, edit.new, 1).encode()
        reports = [run_grading(test_spec, {edit.path: content}, sandbox) for test_spec in (found.test_spec, without)]
        assert any(reports[1].groups_done)
        assert reports[0] == reports[1]
