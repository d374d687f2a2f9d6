"""Files of an episode: what tools may reach, what undo takes back, and how a tree gets to disk and back."""

import errno
import fcntl
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym.envs.swe.repo import tree as trees
from textagent_gym.envs.swe.repo.tree import (
    MAX_FILE_BYTES,
    is_source,
    is_test,
    read_changes,
    remove,
    scratch_folder,
    with_changes,
    write_tree,
)
from textagent_gym.envs.swe.repo.workspace import MAX_UNDO_BYTES, FileProblemError, Workspace, clean_path

BASE = {"a.py": b"x = 1\n", "pkg/b.py": b"y = 2\n", "data.bin": b"\0\1", "bad.txt": b"\xff\xfe"}
NAMES = st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"])
TREES = st.dictionaries(NAMES, st.binary(max_size=20), max_size=5)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "pkg/../../x", "a/../../b", "x\0y", "x\ny", "", ".", "p" * 301]
)
def test_paths_outside_and_odd_ones_are_refused(path: str) -> None:
    workspace = Workspace(BASE)
    with pytest.raises(FileProblemError):
        workspace.write(path, "text")
    with pytest.raises(FileProblemError):
        workspace.text(path)


def test_the_place_of_the_repository_may_stand_before_a_path() -> None:
    assert clean_path("/testbed/pkg//./b.py") == "pkg/b.py"
    assert clean_path("/testbed", folder=True) == clean_path(".", folder=True) == "."


def test_files_are_read_written_and_taken_back() -> None:
    workspace = Workspace(BASE)
    workspace.write("new/c.py", "z = 3\n")
    workspace.write("a.py", "x = 10\n")
    assert workspace.text("a.py") == "x = 10\n"
    assert list(workspace.below("new")) == ["new/c.py"]
    assert workspace.undo() == ("a.py",)
    assert workspace.text("a.py") == "x = 1\n"
    assert workspace.undo() == ("new/c.py",)
    assert workspace.undo() is None
    assert workspace.files == BASE


def test_writing_what_was_there_is_no_change() -> None:
    workspace = Workspace(BASE)
    workspace.write("a.py", "x = 2\n")
    workspace.write("a.py", "x = 1\n")
    assert workspace.changes == {}


@pytest.mark.parametrize(
    ("path", "message"),
    [("b.py", "did you mean 'pkg/b.py'"), ("data.bin", "binary"), ("pkg", "no file")],
)
def test_what_cannot_be_read_is_said(path: str, message: str) -> None:
    with pytest.raises(FileProblemError, match=message):
        Workspace(BASE).text(path)


@pytest.mark.parametrize("path", ["pkg", "a.py/below"])
def test_a_folder_is_no_file(path: str) -> None:
    with pytest.raises(FileProblemError, match="folder"):
        Workspace(BASE).write(path, "x")


def test_huge_files_are_refused() -> None:
    with pytest.raises(FileProblemError, match="bytes"):
        Workspace(BASE).write("big.txt", "x" * (MAX_FILE_BYTES + 1))


@given(before=TREES, after=TREES)
def test_changes_of_a_folder_are_read_back(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    with scratch_folder() as folder:
        write_tree(after, folder)
        changes, refused = read_changes(folder, before)
    assert with_changes(before, changes) == after
    assert not refused
    assert all(before.get(path) != content for path, content in changes.items())


def test_links_pipes_and_large_files_are_not_read_back(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = tmp_path / "tree"
    folder.mkdir()
    write_tree(BASE, folder)
    (folder / "link").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path)
    (folder / "a.py").unlink()
    (folder / "a.py").symlink_to(secret)
    os.mkfifo(folder / "pipe")
    (folder / "big").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"x")
    changes, refused = read_changes(folder, BASE)
    assert changes == {"a.py": None}
    assert refused == ("big",)


def test_a_scratch_folder_goes_whatever_was_done_to_it() -> None:
    with scratch_folder() as folder:
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "x").write_text("x")
        (folder / "deep" / "er").chmod(0)
        (folder / "deep").chmod(0)
    assert not folder.exists()


def test_folders_of_killed_processes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    code = (
        "import os, signal, textagent_gym.envs.swe.repo.tree as t\n"
        "with t.scratch_folder() as f:\n    print(f, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.exists()
    subprocess.run(
        [sys.executable, "-c", "import textagent_gym.envs.swe.repo.tree as t\nwith t.scratch_folder(): pass"],
        env=environment,
        check=True,
    )
    assert not left.parent.exists()


def test_removing_a_folder_does_not_follow_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    remove(inside)
    assert (outside / "kept").exists()


@pytest.mark.parametrize(
    "path", ["tests/data.json", "test_x.py", "pkg/tests/x.py", "conftest.py", "x/conftest.py", "pytest.ini", "tox.ini",
             "sitecustomize.py", "a_test.py", "lib/x.pth", "x.so", "x.pyc"]
)  # fmt: skip
def test_what_decides_the_tests_is_no_source(path: str) -> None:
    assert is_test(path)
    assert not is_source(path)


@pytest.mark.parametrize("path", ["src/x.py", "x/testify.py", "contest.py", "attest/y.py"])
def test_source_is_source(path: str) -> None:
    assert is_source(path)
    assert not is_test(path)


def test_changes_are_limited_for_the_episode() -> None:
    workspace = Workspace(BASE)
    for number in range(8):
        workspace.write(f"{number}.txt", "x" * 990_000)
    with pytest.raises(FileProblemError, match="all changes together"):
        workspace.write("more.txt", "x" * 100_000)
    workspace.write("0.txt", "less")
    workspace.write("more.txt", "x" * 100_000)


def test_what_undo_keeps_is_limited() -> None:
    workspace = Workspace(BASE)
    for number in range(60):
        workspace.write("a.txt", f"{number}" * 500_000)
    kept = [content for state in workspace._past for content in state.values() if content is not None]
    assert sum(map(len, kept)) <= MAX_UNDO_BYTES
    assert workspace.undo() == ("a.txt",)
    assert workspace.text("a.txt").startswith("5858")


def test_a_process_that_starts_leaves_others_that_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process looks for folders of dead ones just before and just after this one locks its own."""
    base, lock = tmp_path / f"textagent_gym-swe-{os.getuid()}", fcntl.flock

    def flock(handle: int, how: int) -> None:
        if how == fcntl.LOCK_EX:
            trees._sweep(base)
        lock(handle, how)
        if how == fcntl.LOCK_EX:
            trees._sweep(base)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(trees, "_own", None)
    monkeypatch.setattr(trees.fcntl, "flock", flock)
    folder = trees.own_folder()
    trees._sweep(base)
    assert trees.own_folder() == folder
    assert (folder / "lock").exists()
    assert trees._own is not None
    os.close(trees._own[2])  # as the end of the process does
    trees._sweep(base)
    assert not folder.exists()


def test_removing_a_folder_changes_no_mode_beyond_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    (tmp_path / "file").touch()
    trees.remove(tmp_path / "missing")
    trees.remove(tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert tmp_path.stat().st_mode & 0o777 == 0o711


def test_a_file_that_this_process_cannot_open_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(path: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    assert trees.read_regular(str(tmp_path / "none"), 9) is None
    monkeypatch.setattr(trees.os, "open", no_more)
    with pytest.raises(OSError, match="Too many"):
        trees.read_regular(str(tmp_path / "none"), 9)
