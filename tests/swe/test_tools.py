"""Calls of tools: what is understood, and one sentence for what is not."""

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import calc
from textagent_gym.envs.swe.interfaces.shell import Shell
from textagent_gym.envs.swe.interfaces.tools import (
    CATALOGUE,
    MAX_SHOWN,
    TOOLS,
    Answer,
    Toolbox,
    read_call,
    shortened,
    typed_call,
)
from textagent_gym.envs.swe.repo.workspace import Workspace
from textagent_gym.envs.swe.sandboxes.base import Limits, Sandbox


@pytest.fixture
def box(sandbox: Sandbox) -> Toolbox:
    workspace = Workspace({**calc.START, "blob": b"\0\1", "long.txt": b"line\n" * 500, "empty.txt": b""})
    return Toolbox(workspace, Shell(workspace, sandbox, Limits(seconds=10), 20))


def ask(box: Toolbox, line: str) -> Answer:
    call = read_call(line, TOOLS)
    assert isinstance(call, tuple), call
    return box.call(*call)


def test_the_examples_of_the_rules_are_calls() -> None:
    assert tuple(CATALOGUE) == TOOLS
    for name, tool in CATALOGUE.items():
        call = read_call(tool.example, TOOLS)
        assert isinstance(call, tuple)
        assert call[0] == name


def test_a_fence_around_blank_lines_is_answered_at_once() -> None:
    assert "got no JSON" in read_call("```" + "\n" * 99_990 + "x", TOOLS)


def test_a_number_of_thousands_of_digits_is_answered() -> None:
    answer = read_call('{"tool": "view", "path": "a", "start": ' + "9" * 5000 + "}", TOOLS)
    assert isinstance(answer, str)
    assert "expected one call as a JSON object" in answer


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        ("fix it", "got no JSON"),
        ("[1]", "got list"),
        ('{"tool": "rm"}', "expected one of the tools edit, submit"),
        ('{"tool": 3}', "expected one of the tools"),
        ('{"tool": "view"}', "expected the argument 'path'"),
        ('{"tool": "view", "path": 3}', "expected path to be a string, got 3"),
        ('{"tool": "view", "path": "x", "start": true}', "expected start to be an integer"),
        ('{"tool": "undo", "path": "x"}', "expected arguments among none, got 'path'"),
        ('{"name": "undo", "arguments": []}', "got arguments of type list"),
        ('{"name": "undo", "arguments": "[]"}', "got arguments of type list"),
        ('{"name": "undo", "arguments": "{"}', "got arguments that are no JSON"),
        ('{"name": "view", "path": "x"}', "keys that are none of arguments"),
        ("[" * 100_000, "got no JSON"),
        ('{"tool": "undo"} {"tool": "undo"}', "got 2 of them"),
    ],
)
def test_what_is_wrong_with_a_call_is_said(action: str, complaint: str) -> None:
    call = read_call(action, TOOLS)
    assert isinstance(call, str)
    assert complaint in call


@given(st.text() | st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_nothing_that_a_model_says_raises(said: object) -> None:
    read_call(said if isinstance(said, str) else json.dumps(said), TOOLS)


def test_a_tool_that_is_not_on_offer_is_unknown() -> None:
    assert "expected one of the tools edit, submit" in read_call('{"tool": "bash", "command": "ls"}', TOOLS[:2])


def test_an_edit_replaces_the_one_place(box: Toolbox) -> None:
    answer = ask(box, json.dumps({"tool": "edit", "path": calc.SOURCE, "old": "a - b", "new": "a + b"}))
    assert answer.valid
    assert "return a + b" in answer.text


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ({"tool": "edit", "path": calc.SOURCE, "old": "nowhere", "new": "x"}, "found it nowhere"),
        ({"tool": "edit", "path": calc.SOURCE, "old": "def", "new": "x"}, "found it 3 times"),
        ({"tool": "edit", "path": calc.SOURCE, "old": "a - b", "new": "a - b"}, "differ"),
        ({"tool": "edit", "path": calc.SOURCE, "old": "", "new": "x"}, "got an empty text"),
        ({"tool": "edit", "path": "no.py", "old": "a", "new": "b"}, "there is no file 'no.py'"),
        ({"tool": "edit", "path": "blob", "old": "a", "new": "b"}, "binary"),
        ({"tool": "view", "path": "../../etc/passwd"}, "outside the repository"),
        ({"tool": "view", "path": "/etc/passwd"}, "outside the repository"),
        ({"tool": "view", "path": "blob"}, "binary"),
        ({"tool": "view", "path": calc.SOURCE, "start": 100}, "expected lines"),
        ({"tool": "view", "path": calc.SOURCE, "start": 5, "end": 2}, "expected lines"),
        ({"tool": "create", "path": "src", "content": ""}, "folder"),
        ({"tool": "create", "path": "a/../../b", "content": ""}, "outside"),
        ({"tool": "list", "path": "nothing"}, "no folder"),
        ({"tool": "list", "path": ".."}, "outside"),
        ({"tool": "search", "text": ""}, "one line"),
        ({"tool": "search", "text": "x", "path": "../"}, "outside"),
        ({"tool": "undo"}, "nothing to take back"),
        ({"tool": "bash", "command": " "}, "expected a command"),
        ({"tool": "test", "target": "tests/nothing.py"}, "no test file"),
        ({"tool": "test", "target": "../tests"}, "outside"),
    ],
)
def test_what_cannot_be_done_is_said(box: Toolbox, call: dict[str, object], complaint: str) -> None:
    answer = ask(box, json.dumps(call))
    assert not answer.valid
    assert complaint in answer.text


def test_view_shows_a_window_with_numbers(box: Toolbox) -> None:
    answer = ask(box, '{"tool": "view", "path": "long.txt", "start": 10, "end": 900}')
    assert answer.text.startswith("long.txt, lines 10 to 209 of 500:\n   10  line")
    assert ask(box, '{"tool": "view", "path": "empty.txt"}').text == "empty.txt is empty."


def test_search_and_list(box: Toolbox) -> None:
    assert ask(box, '{"tool": "search", "text": "a - b"}').text == f"{calc.SOURCE}:2: return a - b"
    assert "No line" in ask(box, '{"tool": "search", "text": "zebra"}').text
    assert "src/  1 files" in ask(box, '{"tool": "list"}').text
    for path in ("src/calc", "./src//calc/", "/testbed/src/calc"):
        assert ask(box, json.dumps({"tool": "list", "path": path})).text == "__init__.py  114 bytes"
    assert ask(box, '{"tool": "search", "text": "line", "path": "long.txt"}').text.endswith("and 450 more")


def test_an_edit_without_old_writes_a_new_file(box: Toolbox) -> None:
    assert (
        ask(box, '{"tool": "edit", "path": "new.py", "old": "", "new": "x = 1\\n"}').text == "Created new.py (1 lines)."
    )
    assert "Took back the last change of new.py" in ask(box, '{"tool": "undo"}').text
    assert not ask(box, '{"tool": "view", "path": "new.py"}').valid


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("final", [True, False])
def test_what_view_shows_edit_finds_and_the_rest_of_the_file_stays(encoding: str, line_end: str, final: bool) -> None:
    lines = [f"# coding: {encoding}", "NAME = 'caf\u00e9'", "\x0c", "def f(x):", "    y = x", "    return y - 1"]
    before = (line_end.join(lines) + line_end * final).encode(encoding)
    box = Toolbox(workspace := Workspace({"a.py": before}), cast(Shell, None))
    shown = ask(box, '{"tool": "view", "path": "a.py"}').text.split("\n")[1:]
    assert shown == [f"{number:>5}  {line}" for number, line in enumerate(lines, 1)]
    old = "\n".join(line[7:] for line in shown[3:6])
    new = old.replace("- 1", "+ 1").replace("    y = x", "    # caf\u00e9\n    y = x")
    for end in ("", "\n"):
        assert ask(box, json.dumps({"tool": "edit", "path": "a.py", "old": old + end, "new": new + end})).valid
        lines[3:] = new.split("\n")
        assert workspace.files["a.py"] == (line_end.join(lines) + line_end * final).encode(encoding)
        old, new = new, new.replace("+ 1", "+ 2\n")
    whole = f"# coding: {encoding}\nX = 'caf\u00e9'\n"
    assert ask(box, json.dumps({"tool": "create", "path": "a.py", "content": whole})).text == "Replaced a.py (2 lines)."
    assert workspace.files["a.py"] == whole.replace("\n", line_end).encode(encoding)


def test_a_character_that_a_file_cannot_hold_is_refused() -> None:
    box = Toolbox(Workspace({"a.py": "# coding: latin-1\nX = 'caf\u00e9'\n".encode("latin-1")}), cast(Shell, None))
    answer = ask(box, '{"tool": "edit", "path": "a.py", "old": "X", "new": "\u20ac"}')
    assert answer == Answer("edit: 'a.py' is a file in latin-1, which has no '\u20ac'.", valid=False)


def test_a_file_that_is_written_whole_takes_utf_8_where_its_encoding_lacks_a_character() -> None:
    workspace = Workspace({"a.py": "# coding: latin-1\nX = 'caf\u00e9'\n".encode("latin-1")})
    box = Toolbox(workspace, cast(Shell, None))
    assert ask(box, json.dumps({"tool": "create", "path": "a.py", "content": "X = '\u20ac'\n"})).valid
    assert workspace.files["a.py"] == "X = '\u20ac'\n".encode()
    declared = json.dumps({"tool": "create", "path": "a.py", "content": "# coding: latin-1\nX = '\u20ac'\n"})
    assert ask(box, declared) == Answer("create: 'a.py' is a file in latin-1, which has no '\u20ac'.", valid=False)


def test_lines_are_numbered_as_grep_numbers_them(box: Toolbox) -> None:
    content = "a\x0cb\nc\x0bd\u2028e\x85f\rg\n\x1chere\n"
    ask(box, json.dumps({"tool": "create", "path": "odd.txt", "content": content}))
    assert ask(box, '{"tool": "search", "text": "here", "path": "odd.txt"}').text.startswith("odd.txt:3: ")
    assert "\n3:" in ask(box, '{"tool": "bash", "command": "grep -n here odd.txt"}').text
    assert ask(box, '{"tool": "view", "path": "odd.txt", "start": 3}').text.startswith("odd.txt, lines 3 to 3 of 3:")


def test_tests_tell_how_they_fail(box: Toolbox) -> None:
    answer = ask(box, '{"tool": "test"}')
    assert answer.text.startswith("1 passed, 3 failed\nFAILED tests/test_calc.py::TestMore::test_add_zero")
    assert "assert -1 == 5" in answer.text
    one = ask(box, json.dumps({"tool": "test", "target": calc.MUL}))
    assert one.text == "1 passed"


def test_a_shell_changes_files_and_cannot_leave_anything_else(box: Toolbox) -> None:
    answer = ask(
        box, '{"tool": "bash", "command": "echo hello; echo x = 1 > made.py; rm README.md; ln -s /etc/passwd link"}'
    )
    assert "<returncode>0</returncode>\n<output>\nhello\n</output>" in answer.text
    assert ask(box, '{"tool": "view", "path": "made.py"}').text.endswith("1  x = 1")
    assert not ask(box, '{"tool": "view", "path": "README.md"}').valid
    assert not ask(box, '{"tool": "view", "path": "link"}').valid
    assert "exit" not in ask(box, '{"tool": "bash", "command": "ls"}').text
    assert "Took back the last change of README.md, made.py" in ask(box, '{"tool": "undo"}').text


def test_pytest_runs_in_the_shell(box: Toolbox) -> None:
    answer = ask(box, '{"tool": "bash", "command": "python3 -m pytest -q tests 2>&1 | tail -1"}')
    assert "3 failed, 1 passed" in answer.text


def test_long_answers_lose_their_middle() -> None:
    text = shortened("a" * MAX_SHOWN + "b" * MAX_SHOWN)
    assert len(text) < MAX_SHOWN + 100
    assert "10000 characters left out" in text
    assert text.startswith("aaa")
    assert text.endswith("bbb")


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("view src/x.py 3 9", {"tool": "view", "path": "src/x.py", "start": 3, "end": 9}),
        ("bash ls -la | wc", {"tool": "bash", "command": "ls -la | wc"}),
        ("search def parse", {"tool": "search", "text": "def parse"}),
        ("submit", {"tool": "submit"}),
    ],
)
def test_a_person_may_type_words(line: str, call: dict[str, object]) -> None:
    assert json.loads(typed_call(line, TOOLS)) == call


def test_a_line_that_is_no_call_stays_as_it_is() -> None:
    assert typed_call('{"tool": "undo"}', TOOLS) == '{"tool": "undo"}'
