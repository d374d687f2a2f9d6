"""A patch told as edits has the effect of the patch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym.envs.swe.repo.edits import edits_of
from textagent_gym.envs.swe.repo.patches import make_patch
from textagent_gym.envs.swe.repo.text import found_once

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "a b\n", "\n"]), max_size=14)


def play(files: dict[str, str], patch: str) -> dict[str, str]:
    files = dict(files)
    for edit in edits_of(files, patch):
        if edit.old == "":
            assert not files.get(edit.path)
            files[edit.path] = edit.new
        else:
            assert found_once(edit.old, files[edit.path])
            files[edit.path] = files[edit.path].replace(edit.old, edit.new)
    return files


@given(before=LINES, after=LINES.filter(bool))
def test_edits_have_the_effect_of_the_patch(before: list[str], after: list[str]) -> None:
    files = {"x.py": "".join(before)} if before else {}
    wanted = {"x.py": "".join(after)}
    assert play(files, make_patch(files, wanted)) == wanted


def test_a_file_that_goes_is_no_edit() -> None:
    with pytest.raises(ValueError, match=r"moves x\.py"):
        edits_of({"x.py": "a\n"}, make_patch({"x.py": "a\n"}, {}))
