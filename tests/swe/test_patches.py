"""Patches: made, applied, reversed, and compared with the real `git apply` and `git diff`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textagent_gym.envs.swe.repo.patches import (
    PatchError,
    apply_patch,
    make_patch,
    num_hunks,
    parse_patch,
    patched_files,
    reverse_patch,
)

PATHS = ["a", "pkg/b.py", "pkg/sub dir/c d.py", "é.txt", 'q"uote', "tab\tbed", "back\\slash", "z.py"]
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

lines = st.sampled_from(
    ["", "x", "y", "    return 1", "-- dash", "++ plus", "\\ odd", "@@ -1 +1 @@", "cr\r", "form\ffeed", "ü\u2028"]
)
texts = st.builds(lambda parts, end: "\n".join(parts) + end, st.lists(lines, max_size=30), st.sampled_from(["", "\n"]))
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
trees = st.dictionaries(st.sampled_from(PATHS), texts, max_size=4)


def after(files: Mapping[str, str], patch: str) -> dict[str, str]:
    changed = {**files, **apply_patch(files, patch)}
    return {path: text for path, text in changed.items() if text is not None}


@st.composite
def edited(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, str]]:
    """Return two trees that share most of their lines, as trees before and after an edit do."""
    before = draw(trees)
    edits = dict(draw(trees))
    for path, text in before.items():
        kind = draw(st.sampled_from(["same", "edit", "drop"]))
        if kind == "same":
            edits[path] = text
        elif kind == "edit":
            parts = text.split("\n")
            at = draw(st.integers(0, len(parts)))
            end = draw(st.integers(at, min(len(parts), at + 3)))
            edits[path] = "\n".join(parts[:at] + draw(st.lists(lines, max_size=3)) + parts[end:])
    return before, edits


@unhurried
@given(edited())
def test_apply_undoes_make(pair: tuple[dict[str, str], dict[str, str]]) -> None:
    before, edits = pair
    patch = make_patch(before, edits)
    assert after(before, patch) == edits
    assert bool(patch) == (before != edits)
    assert set(apply_patch(before, patch)) == set(patched_files(patch))
    assert list(patched_files(patch)) == sorted(
        path for path in {*before, *edits} if before.get(path) != edits.get(path)
    )


@unhurried
@given(edited())
def test_reverse(pair: tuple[dict[str, str], dict[str, str]]) -> None:
    before, edits = pair
    patch = make_patch(before, edits)
    assert after(edits, reverse_patch(patch)) == before
    assert reverse_patch(reverse_patch(patch)) == patch
    assert num_hunks(reverse_patch(patch)) == num_hunks(patch)


@unhurried
@given(texts, texts, st.lists(st.sampled_from(["p", "q", "r"]), min_size=1, max_size=9))
def test_moved_hunks(text: str, other: str, above: list[str]) -> None:
    """A patch applies to the same lines further down."""
    if not text:
        return
    patch = make_patch({"f": text}, {"f": text + "\nend"})
    shifted = "".join(f"{line}\n" for line in above) + text
    assert after({"f": shifted}, patch) == {"f": shifted + "\nend"}


NUMBERS = [f"line {number}\n" for number in range(40)]


def numbered(change: Mapping[int, str]) -> dict[str, str]:
    return {"f": "".join(change.get(number, line) for number, line in enumerate(NUMBERS))}


def test_hunks_follow_the_hunk_before() -> None:
    """If a line occurs twice, the second hunk goes where the first one's move leads."""
    patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-top\n+TOP\n@@ -17 +17 @@\n-x\n+y\n"
    numbers = [f"{number}\n" for number in range(1, 18)]
    before = ["top\n", *numbers[1:4], "x\n", *numbers[5:16], "x\n"]
    edits = ["TOP\n", *before[1:16], "y\n"]
    above = "new\n" * 12
    assert after({"f": above + "".join(before)}, patch) == {"f": above + "".join(edits)}


def test_the_nearest_place_wins() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -5,1 +5,1 @@\n-x\n+y\n"
    assert apply_patch({"f": "x\n1\n2\n3\n4\n5\nx\n"}, patch) == {"f": "x\n1\n2\n3\n4\n5\ny\n"}
    assert apply_patch({"f": "1\n2\nx\n4\n5\n6\nx\n"}, patch) == {"f": "1\n2\nx\n4\n5\n6\ny\n"}
    far = patch.replace("5,1", "999999999,1")
    assert apply_patch({"f": "x\n1\nx\n2\n"}, far) == {"f": "x\n1\ny\n2\n"}
    assert apply_patch({"f": "1\nx\n2\n3\n4\n5\n6\n7\n8\nx\n"}, patch) == {"f": "1\ny\n2\n3\n4\n5\n6\n7\n8\nx\n"}


def test_counts_and_heads() -> None:
    patch = make_patch({**numbered({}), "gone": "1\n2\n"}, {**numbered({3: "three\n", 30: ""}), "new": "1\n"})
    assert patched_files(patch) == ("f", "gone", "new")
    assert num_hunks(patch) == 4
    assert "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1,2 +0,0 @@\n" in patch
    assert "diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+1\n" in patch
    assert "@@ -1,7 +1,7 @@\n line 0\n" in patch


def test_no_newline() -> None:
    patch = make_patch({"f": "a\nb"}, {"f": "a\nb\n"})
    assert patch.endswith("@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n")
    with pytest.raises(PatchError, match="hunk 1 of 1 for f"):
        apply_patch({"f": "a\nb\n"}, patch)


def test_a_line_without_line_feed_stays_the_last() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n\\ No newline at end of file\n"
    assert apply_patch({"f": "x\nx\n"}, patch) == {"f": "x\ny"}
    assert apply_patch({"f": "1\n"}, "--- a/f\n+++ b/f\n@@ -1,0 +2 @@\n+y\n") == {"f": "1\ny\n"}
    with pytest.raises(PatchError, match="hunk 1 of 1"):
        apply_patch({"f": "1"}, "--- a/f\n+++ b/f\n@@ -1,0 +2 @@\n+y\n")


def test_renames_and_copies() -> None:
    files = {"a": "1\n2\n3\n", "b": "4\n"}
    swap = "".join(
        f"diff --git a/{old} b/{new}\nsimilarity index 100%\nrename from {old}\nrename to {new}\n"
        for old, new in ("ab", "ba")
    )
    assert apply_patch(files, swap) == {"a": "4\n", "b": "1\n2\n3\n"}
    assert apply_patch(apply_patch(files, swap), reverse_patch(swap)) == files  # type: ignore[arg-type]
    edit = "diff --git a/a b/c d\nrename from a\nrename to c d\n--- a/a\n+++ b/c d\t\n@@ -2,2 +2 @@\n 2\n-3\n"
    assert apply_patch(files, edit) == {"a": None, "c d": "1\n2\n"}
    assert after(after(files, edit), reverse_patch(edit)) == files
    assert patched_files(edit) == ("a", "c d")
    copy = "diff --git a/a b/c\ncopy from a\ncopy to c\n"
    assert apply_patch(files, copy) == {"c": "1\n2\n3\n"}
    with pytest.raises(PatchError, match="got a copy: c"):
        reverse_patch(copy)


def test_other_tools_headers() -> None:
    """GNU diff dates its files, and gives what does not exist the year 1970."""
    files = {"x y": "1\n", "gone": "1\n"}
    patch = (
        "Only in a: something\n--- a/x y\t2020-01-01 00:00:00.0 +0000\n+++ b/x y\t2020-01-02 00:00:00.0 +0000\n"
        "@@ -1 +1 @@\n-1\n+2\n"
        "--- a/new\t1970-01-01 00:00:00.000000000 +0000\n+++ b/new\t2020-01-01 00:00:00.0 +0000\n@@ -0,0 +1 @@\n+3\n"
        "--- a/gone\t2020-01-01 00:00:00.0 +0000\n+++ b/gone\t1970-01-01 00:00:00.0 +0000\n@@ -1 +0,0 @@\n-1\n"
    )
    assert apply_patch(files, patch) == {"x y": "2\n", "new": "3\n", "gone": None}
    assert apply_patch({"f.py": "1\n"}, "--- f.py.orig\n+++ f.py\n@@ -1 +1 @@\n-1\n+2\n") == {"f.py": "2\n"}
    assert apply_patch({"f.py": "1\n"}, "--- f.py\r\n+++ f.py\r\n@@ -1 +1 @@\n-1\n+2\n") == {"f.py": "2\n"}


def test_mails_and_repeated_files() -> None:
    one = "diff --git a/f b/f\nindex 123..456 100644\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-1\n+2\n"
    two = one.replace("-1\n+2", "-2\n+3")
    mail = f"From 123 Mon Sep 17\nSubject: [PATCH] x\n\n---\n f | 2 +-\n\n{one}-- \n2.39.5\n\n{two}"
    assert apply_patch({"f": "1\n"}, mail) == {"f": "3\n"}
    assert apply_patch({"f": "3\n"}, reverse_patch(mail)) == {"f": "1\n"}
    assert apply_patch({"f": "2\n"}, "") == apply_patch({"f": "2\n"}, "\n") == {}


def test_modes() -> None:
    patch = "diff --git a/f b/f\nold mode 100644\nnew mode 100755\n"
    assert patched_files(patch) == ("f",)
    assert apply_patch({"f": "1\n"}, patch) == {}
    assert reverse_patch(patch) == "diff --git a/f b/f\nold mode 100755\nnew mode 100644\n"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("hello\n", "expected a unified diff"),
        ("@@ -1 +1 @@\n-1\n+2\n", "expected a file header before the hunk at line 1"),
        ("--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n-1\n+2\n", "hunk 1 for f .* got 'end'"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-1\n-1\n+2\n", "hunk 1 for f .* got '-1' at line 5"),
        ("--- a/f\n+++ b/f\n@@ -x +1 @@\n-1\n+2\n", "expected '@@ -line,count"),
        (f"--- a/f\n+++ b/f\n@@ -{'9' * 5000} +1 @@\n-1\n+2\n", "expected '@@ -line,count"),
        ("--- a/f\n+++ b/f\n@@ -1,2 +0,0 @@\n-1\n\\ No newline at end of file\n-2\n", "all but the last line"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-one\n+2\n", "expected hunk 1 of 1 for f to apply at line 1"),
        ("--- a/g\n+++ b/g\n@@ -1 +1 @@\n-1\n+2\n", "expected g to exist"),
        ("--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+2\n", "expected f not to exist yet"),
        ("diff --git a/g b/f\nrename from g\nrename to f\n", "expected g to exist"),
        ("diff --git a/f b/f\ndeleted file mode 100644\n", "deletion of f to remove all its lines, got 1 that"),
        ("--- /dev/null\n+++ b/../f\n@@ -0,0 +1 @@\n+2\n", "inside the tree, got '../f'"),
        ("--- /dev/null\n+++ b//etc/f\n@@ -0,0 +1 @@\n+2\n", "inside the tree, got '/etc/f'"),
        ("--- /etc/f\n+++ /etc/f\n@@ -1 +1 @@\n-1\n+2\n", "inside the tree, got '/etc/f'"),
        ("diff --git a/f b/f\nrename from f\nrename to x/../../f\n", "inside the tree"),
        ("diff --git a/f b/f\nindex 1..2\nGIT binary patch\nliteral 3\nKcmZQz\n\n", "got a binary patch of f"),
        ("diff --git a/f b/f\nindex 1..2\nBinary files a/f and b/f differ\n", "got a binary patch of f"),
        ("Binary files a/f and b/f differ\n", "got a binary patch of f"),
        (
            "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+f\n",
            "got a link or submodule: l",
        ),
        (
            "diff --git a/l b/l\nindex 1..2 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-f\n+g\n",
            "got a link or submodule: l",
        ),
    ],
)
def test_refusals(patch: str, message: str) -> None:
    with pytest.raises(PatchError, match=message):
        apply_patch({"f": "1\n"}, patch)


def test_a_submodule_that_moves_to_another_commit_is_passed_over_where_text_alone_counts() -> None:
    moved = "diff --git a/m b/m\nindex 1..2 160000\n--- a/m\n+++ b/m\n@@ -1 +1 @@\n-commit 1\n+commit 2\n"
    edit = "diff --git a/f b/f\nindex 1..2 100644\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-1\n+2\n"
    assert apply_patch({"f": "1\n"}, moved + edit, text_only=True) == {"f": "2\n"}


def test_paths_of_trees_are_checked() -> None:
    for path in ("/a", "../a", "a/../b", "a//b", "./a", "a/"):
        with pytest.raises(PatchError, match="inside the tree"):
            make_patch({}, {path: "1\n"})


@unhurried
@given(st.text(alphabet="-+ @\\1a/b\nx,\r", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for patch in (text, f"--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n{text}"):
        with contextlib.suppress(PatchError):
            assert all(section.path for section in parse_patch(patch))


def test_large_files_take_little_time() -> None:
    text = "".join(f"{number % 7}\n\n" for number in range(20_000))
    edits = "new\n" + text.replace("3\n\n4", "three\n\n4", 5) + "last\n"
    assert after({"f": text}, make_patch({"f": text}, {"f": edits})) == {"f": edits}


# git says the same.


def git(folder: Path, *arguments: str, stdin: str = "", codes: tuple[int, ...] = (0,)) -> tuple[int, str]:
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": "/",
    }
    command = ["git", "-c", "core.autocrlf=false", "-c", "core.safecrlf=false", *arguments]
    done = subprocess.run(command, cwd=folder, input=stdin.encode(), capture_output=True, env=environment, check=False)
    assert done.returncode in codes, done.stderr.decode()
    return done.returncode, done.stdout.decode()


def write(folder: Path, files: Mapping[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())


def read(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_bytes().decode()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


few = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@needs_git
@few
@given(pair=edited())
def test_git_apply_accepts_what_we_make(tmp_path: Path, pair: tuple[dict[str, str], dict[str, str]]) -> None:
    before, edits = pair
    patch = make_patch(before, edits)
    if patch:
        write(tmp_path / "tree", before)
        git(tmp_path / "tree", "apply", "--whitespace=nowarn", "-", stdin=patch)
        assert read(tmp_path / "tree") == edits
        git(tmp_path / "tree", "apply", "--whitespace=nowarn", "-", stdin=reverse_patch(patch))
        assert read(tmp_path / "tree") == before


@needs_git
@few
@given(pair=edited(), context=st.integers(1, 4), renames=st.booleans())
def test_we_apply_what_git_makes(
    tmp_path: Path, pair: tuple[dict[str, str], dict[str, str]], context: int, renames: bool
) -> None:
    before, edits = pair
    shutil.rmtree(tmp_path / "git", ignore_errors=True)
    repository = ["--git-dir=../git", "--work-tree=."]
    ids = []
    for files in (before, edits):
        write(tmp_path / "tree", files)
        if not ids:
            git(tmp_path / "tree", *repository, "init", "-q")
        git(tmp_path / "tree", *repository, "add", "-A", ".")
        ids.append(git(tmp_path / "tree", *repository, "write-tree")[1].strip())
    options = ["--text", f"-U{context}", "-M" if renames else "--no-renames"]
    _, patch = git(tmp_path / "tree", *repository, "diff", *options, *ids)
    assert after(before, patch) == edits
    assert after(edits, reverse_patch(patch)) == before


@needs_git
@few
@given(
    change=st.tuples(st.integers(0, 40), st.integers(0, 4), st.lists(lines, max_size=3)),
    other=st.tuples(st.integers(0, 40), st.integers(0, 4), st.lists(lines, max_size=3)),
    moved=st.tuples(st.integers(0, 40), st.integers(0, 4), st.integers(0, 9)),
)
def test_where_git_applies_we_do_the_same(
    tmp_path: Path, change: tuple[int, int, list[str]], other: tuple[int, int, list[str]], moved: tuple[int, int, int]
) -> None:
    """A patch meets a file that changed elsewhere: what git makes of it is what we make of it."""
    edits = list(NUMBERS)
    for at, count, new in sorted((change, other), key=lambda item: item[0], reverse=True):
        edits[at : at + count] = [f"{line}\n" for line in new]
    found = NUMBERS[: moved[0]] + ["elsewhere\n"] * moved[2] + NUMBERS[moved[0] + moved[1] :]
    patch = make_patch({"f": "".join(NUMBERS)}, {"f": "".join(edits)})
    write(tmp_path / "tree", {"f": "".join(found)})
    code, _ = git(tmp_path / "tree", "apply", "--whitespace=nowarn", "-", stdin=patch, codes=(0, 1, 128))
    if code == 0:
        assert after({"f": "".join(found)}, patch) == read(tmp_path / "tree")


# Rows of real data sets.


def rows() -> list[dict[str, Any]]:
    folder = os.environ.get("TEXTAGENT_SWE_ROWS")
    if not folder:
        pytest.skip("TEXTAGENT_SWE_ROWS names no folder with rows of real data sets")
    files = sorted(Path(folder).glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").split("\n") if line]


def test_real_patches() -> None:
    """Real patches apply to the lines that they show, and back."""
    for row in rows():
        for patch in (row["patch"], row["test_patch"]):
            assert num_hunks(patch) >= 1
            before: dict[str, str] = {}
            for section in parse_patch(patch):
                assert section.old is None or section.old == section.new
                text: list[str] = []
                for hunk in section.hunks:
                    text += [f"filler {number}\n" for number in range(len(text) + 1, hunk.old_start)] + hunk.old
                if section.old is not None:
                    before[section.old] = "".join(text)
            edits = after(before, patch)
            assert edits != before
            assert after(edits, reverse_patch(patch)) == before
            assert after(before, make_patch(before, edits)) == edits
