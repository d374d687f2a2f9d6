"""Shell commands as models write them."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from textagent_gym.envs.swe.interfaces.fences import read_command

PAGE = "cat > README.md <<'EOF'\n# Title\n\n```python\nx = 1\n```\n\n```\ny\n```\nEOF"
QUOTED = "printf '%s\n```bash\nls\n```\n' a > b.md"


@pytest.mark.parametrize(
    "action",
    [
        "```bash\nls -la\n```",
        "```sh\nls -la\n```\n",
        "```\nls -la\n```",
        "~~~bash\nls -la\n~~~",
        "````bash\nls -la\n````",
        "  ```bash\n  ls -la\n  ```",
        "```bash \r\nls -la\r\n```\r\n",
        "THOUGHT: I'd list the users' \"files\" first.\n\n```bash\nls -la\n```",
        "I don't know; let's see.\n```bash\nls -la\n```\nThat's it.",
        "The code is\n```python\nx = '''\n```\nso\n```bash\nls -la\n```",
        "```mswea_bash_command\nls -la\n```",
        "```bash\nls -la```",
        "Now:\n```bash\nls -la```",
        "```ls -la```",
        "```bash ls -la```",
        "`ls -la`",
        "# Step 1\n```bash\nls -la\n```",
        "I write it with `cat <<'EOF'`, and look:\n```bash\nls -la\n```",
    ],
)
def test_a_fenced_command_is_read_without_its_fence(action: str) -> None:
    assert read_command(action) == ("ls -la", None)


@pytest.mark.parametrize(
    "command",
    [
        "ls -la",
        "  ls\n",
        "echo `ls`",
        "`which ls` -la `pwd`",
        "printf 'a\\\\nb\\n' > z.txt",
        PAGE,
        QUOTED,
        "python3 - <<EOF\nprint('''\n```\nx\n```\n''')\nEOF\n",
        'git commit -m "say\n```\nls\n```\n"',
        "cat <<'A' > x\n```\n1\n```\nA\ncat <<-\"B\" > y\n\t```\n\t2\n\t```\n\tB",
    ],
)
def test_a_command_without_a_fence_of_its_own_is_read_byte_for_byte(command: str) -> None:
    assert read_command(command) == (command, None)
    for before in ("", "I'll write it.\n\n", "Don't ask: \"why\", (it's the users' wish).\n"):
        for after in ("", "\n\nIt's done, isn't it?\n"):
            assert read_command(f"{before}```bash\n{command}\n```{after}") == (command, None)


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        ("```bash\nls\n```\n```bash\npwd\n```", "got 2 of them"),
        ("```\nls\n```\n\n```\npwd\n```", "got 2 of them"),
        ("```bash\nls", "not closed"),
        ("I see.\n```bash\n", "not closed"),
        ("```", "not closed"),
        ("```python\nprint(1)\n```", "marked python"),
        ("```python\nprint(1)```", "marked python"),
    ],
)
def test_what_is_no_single_command_is_said(action: str, complaint: str) -> None:
    command, answer = read_command(action)
    assert command == ""
    assert answer is not None
    assert complaint in answer


@given(
    st.lists(st.sampled_from(["a", " ", "\n", "'", '"', "`", "\\", "$", "#", "<<E", "E\n", "\t", "~", "é"])).map(
        "".join
    ),
    st.sampled_from(["", "I look.\n", 'It\'s "so".\n']),
)
def test_a_block_gives_its_bytes_back(command: str, before: str) -> None:
    assume("```" not in command and "~~~" not in command)
    assert read_command(f"{before}```bash\n{command}\n```\n") == (command, None)


@given(st.text(alphabet="ab `~'\"\n<E-\\#\t"))
def test_nothing_that_a_model_writes_raises(action: str) -> None:
    command, complaint = read_command(action)
    assert complaint is None or command == ""


@pytest.mark.parametrize(
    "piece",
    ["```\n", "```bash\n", "`", "'", '"', '\\"', "<<E\n", "E\n<<E\n", "<<E'\n", "~~~\n```\n", " ", "\n", "#", "a'"],
)
def test_long_actions_are_answered_at_once(piece: str) -> None:
    read_command(piece * (100_000 // len(piece)))
    read_command("```bash\n" + piece * (99_900 // len(piece)))
