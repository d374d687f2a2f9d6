"""git in a shell: a repository with one commit, kept from command to command."""

import pickle
import shutil
from pathlib import Path

import pytest

from tests.support import calc
from textagent_gym.envs.swe.interfaces import git
from textagent_gym.envs.swe.interfaces.shell import Shell
from textagent_gym.envs.swe.repo.workspace import Workspace
from textagent_gym.envs.swe.sandboxes.base import Limits, Sandbox, SandboxError
from textagent_gym.envs.swe.sandboxes.landlock.landlock import LandlockSandbox
from textagent_gym.envs.swe.sandboxes.unprotected import UnprotectedSandbox

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

FIX = f"sed -i 's/a - b/a + b/' {calc.SOURCE}"


@pytest.fixture(params=["default", LandlockSandbox, UnprotectedSandbox])
def shell(request: pytest.FixtureRequest, sandbox: Sandbox) -> Shell:
    kind = request.param
    try:
        used = sandbox if kind == "default" else kind()
    except SandboxError as error:
        pytest.skip(str(error))
    return Shell(Workspace(calc.START), used, Limits(seconds=20), 20)


def ask(shell: Shell, command: str) -> str:
    ran = shell.run(command)
    assert ran.returncode == 0, ran
    return ran.output


def test_git_sees_what_was_changed(shell: Shell) -> None:
    assert "nothing to commit, working tree clean" in ask(shell, "git status")
    ask(shell, f"{FIX}; echo new > new.py; rm README.md")
    assert ask(shell, "git status --short") == f" D README.md\n M {calc.SOURCE}\n?? new.py\n"
    diff = ask(shell, f"git diff {calc.SOURCE}")
    assert "-    return a - b\n+    return a + b\n" in diff
    assert ask(shell, "git rev-list --count HEAD") == "1\n"


def test_index_commits_and_stashes_are_kept(shell: Shell) -> None:
    ask(shell, f"{FIX} && git add -A")
    assert "+    return a + b" in ask(shell, "git diff --cached")
    ask(shell, "echo between")
    ask(shell, "git commit -qm fix")
    assert ask(shell, "git diff HEAD~1 --stat | tail -1") == " 1 file changed, 1 insertion(+), 1 deletion(-)\n"
    ask(shell, "echo x > README.md && git stash -q")
    assert ask(shell, "git status --short; cat README.md") == "Calculates.\n"
    ask(shell, "git stash pop -q && git gc -q && git pack-refs --all")
    assert ask(shell, "git status --short") == " M README.md\n"
    ask(shell, f"git checkout -q HEAD~1 -- {calc.SOURCE}")
    assert "a - b" in ask(shell, f"cat {calc.SOURCE}")


def test_equal_commands_make_equal_commits(sandbox: Sandbox) -> None:
    heads = []
    for _ in range(2):
        shell = Shell(Workspace(calc.START), sandbox, Limits(seconds=20), 20)
        heads.append(ask(shell, f"{FIX} && git commit -qam fix && git rev-parse HEAD"))
    assert heads[0] == heads[1]


def test_a_snapshot_has_the_repository(sandbox: Sandbox) -> None:
    workspace = Workspace(calc.START)
    shell = Shell(workspace, sandbox, Limits(seconds=20), 20)
    ask(shell, f"{FIX} && git add -A")
    point = pickle.loads(pickle.dumps(workspace.snapshot()))
    ask(shell, "git reset -q --hard")
    assert ask(shell, "git diff --cached") == ""
    workspace.restore(point)
    assert "a + b" in ask(shell, "git diff --cached")


def test_a_repository_that_was_removed_stays_removed(sandbox: Sandbox) -> None:
    shell = Shell(Workspace(calc.START), sandbox, Limits(seconds=20), 20)
    ask(shell, "rm -rf .git # git")
    assert shell.run("git status").returncode == 128
    ask(shell, "git init -q && git add -A && git commit -qm mine")
    assert ask(shell, "git log --format=%s") == "mine\n"


def test_links_and_files_in_place_of_the_repository_are_not_followed(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".git").symlink_to(tmp_path)
    assert git.read(tmp_path / "tree", {}) == {}
    shell = Shell(Workspace(calc.START), sandbox, Limits(seconds=20), 20)
    ask(shell, "rm -rf .git && ln -s /etc .git # git")
    ask(shell, "rm -rf .git && echo x > .git # git")
    assert ask(shell, "cat .git; echo git") == "x\ngit\n"


def test_a_repository_that_grows_too_much_is_not_kept(sandbox: Sandbox) -> None:
    shell = Shell(Workspace(calc.START), sandbox, Limits(seconds=20), 20)
    ran = shell.run("head -c 9000000 /dev/urandom > .git/big; git add README.md; echo x > x.txt")
    assert ran.notes == ("What git stored is too large and was not kept.",)
    assert ask(shell, "git status --short; ls .git/big 2>/dev/null || true") == "?? x.txt\n"


@pytest.mark.parametrize(
    ("command", "named"),
    [("git diff", True), ("cd src && /usr/bin/git status", True), ("(git log)", True), ("cat .gitignore", False),
     ("digit x", False), ("ls", False), ("pip install gitpython", False), ("cat .git/HEAD", False)],
)  # fmt: skip
def test_which_commands_name_git(command: str, named: bool) -> None:
    assert git.is_named(command) == named
