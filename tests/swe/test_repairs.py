"""Edits that an agent could make turn one tree into the other, byte for byte."""

import subprocess
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from textagent_gym.envs.swe.interfaces.base import reference_actions
from textagent_gym.envs.swe.interfaces.shell import Shell
from textagent_gym.envs.swe.interfaces.tools import TOOLS, Toolbox, read_call
from textagent_gym.envs.swe.repo.edits import edits_of
from textagent_gym.envs.swe.repo.text import found_once
from textagent_gym.envs.swe.repo.tree import Tree, read_changes, with_changes, write_tree
from textagent_gym.envs.swe.repo.workspace import Workspace

LINES = st.lists(
    st.sampled_from(["a\n", "b\n", "c\n", "a b\n", "\n", "d\r\n", "\x0c\n", "\u2028\n", "é\n"]), max_size=12
)
CONTENTS = (
    LINES.map("".join).map(str.encode)
    | LINES.map("".join).map(lambda text: text.removesuffix("\n").encode())
    | LINES.map("".join).map(lambda text: f"# coding: latin-1\n{text}".replace("\u2028", "").encode("latin-1"))
    | LINES.map("".join).map(lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"))
)
TREES = st.dictionaries(st.sampled_from(["x.py", "y.py", "pkg/z.py"]), CONTENTS)


class NoShell(Shell):
    """Deletes files, and nothing else."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def run(self, command: str) -> object:  # type: ignore[override]
        path = command.removeprefix("rm -- ")
        self.workspace.become({**self.workspace.changes, path: None})
        return type("Ran", (), {"to_observation": ""})()


def played(before: Tree, actions: tuple[str, ...]) -> Tree:
    workspace = Workspace(before)
    box = Toolbox(workspace, NoShell(workspace))
    for action in actions[:-1]:
        call = read_call(action, TOOLS)
        assert not isinstance(call, str), call
        if call[0] != "test":
            assert box.call(*call).valid, (action, box.call(*call))
    return workspace.files


@given(before=TREES, after=TREES)
def test_the_calls_of_tools_make_the_tree(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    edits = edits_of(before, after)
    assert edits is not None
    for edit in edits:
        assert edit.kind != "replace" or found_once(edit.old, edit.old)
    made = played(before, reference_actions(edits, "tools", TOOLS, None))
    # A file that is written again keeps its encoding and its line ends.
    fresh = {edit.path for edit in edits if edit.kind in ("create", "rewrite")}
    assert {path: made[path] for path in made if path not in fresh} == {
        path: content for path, content in after.items() if path not in fresh
    }
    assert set(made) == set(after)


@settings(max_examples=10, deadline=None)
@given(before=TREES, after=TREES)
@example(before={"x.py": b"# coding: latin-1\n\xe9\n"}, after={"x.py": b""})
def test_the_commands_make_the_tree(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    import tempfile

    edits = edits_of(before, after)
    with tempfile.TemporaryDirectory() as name:
        write_tree(before, Path(name))
        for command in reference_actions(edits, "bash", (), None)[:-1]:
            subprocess.run(["bash", "-c", command], cwd=name, check=True)
        changes, _ = read_changes(Path(name), before)
    assert with_changes(before, changes) == after


def test_what_no_tool_can_do_is_no_solution() -> None:
    gone = edits_of({"x.py": b"a\n"}, {})
    assert reference_actions(gone, "tools", TOOLS, None)
    assert reference_actions(gone, "tools", TOOLS[:6], None) == ()
    assert reference_actions(gone, "bash", (), None) == ("rm -- x.py", "submit")
    assert edits_of({}, {"x": b"\0"}) is None
    assert reference_actions(None, "tools", TOOLS, None) == ()
