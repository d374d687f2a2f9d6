"""git as a shell sees it: a repository with one commit, the files at the start, for the commands that name git.

It is made in the sandbox when a command first names git, and kept from one such command to the next, index, commits and
stashes included. git never runs outside of the sandbox. What counts are the files: neither the index nor a commit is graded.
"""

from __future__ import annotations

import re
from pathlib import Path

from textagent_gym.envs.swe.repo.tree import IGNORED, MAX_CHANGED_BYTES, Tree, read_folder, scratch_folder, write_tree
from textagent_gym.envs.swe.sandboxes.base import Command, Limits, Sandbox

FOLDER = ".git"

_DATE = "2000-01-01T00:00:00Z"
VARIABLES = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "GIT_EXEC_PATH": "/usr/bin",  # its folder of scripts is not among what a command sees
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "agent"), ("EMAIL", "agent@localhost"), ("DATE", _DATE))
    },
}
"""Variables of a command: who commits, and when, so that the same commands make the same commits."""

# What is not kept from one command to the next is hidden from git. No hook could run: file modes are not kept.
_NEW = f"""set -e
git -c init.defaultBranch=main init -q
rm -rf .git/hooks .git/description .git/branches
git add --all --force
git commit -q --allow-empty -m "The files at the start"
git repack -a -d -q
rm -f .git/COMMIT_EDITMSG
printf '%s\\n' {" ".join(sorted(IGNORED - {FOLDER}))} '*.py[co]' > .git/info/exclude
"""


def is_named(command: str) -> bool:
    """Return whether a command names the program git."""
    return re.search(r"(?<![\w.-])git(?![\w])", command) is not None


def new_repository(base: Tree, sandbox: Sandbox) -> Tree | None:
    """Return the files in `.git` of a repository whose only commit is `base`, or None where git is not to be had."""
    with scratch_folder() as folder:
        write_tree(base, folder)
        make = ["bash", "-c", _NEW]
        outcome = sandbox.run(Command(make, worktree=folder, environment=VARIABLES, limits=Limits(seconds=120)))
        return read_folder(folder / FOLDER, 1 << 30) if outcome.returncode == 0 else None


def write(repository: Tree, folder: Path) -> None:
    """Write a repository below a folder."""
    for needed in ("objects", "refs"):  # git knows a repository by them, be they empty or not
        (folder / FOLDER / needed).mkdir(parents=True, exist_ok=True)
    write_tree({f"{FOLDER}/{path}": content for path, content in repository.items()}, folder)


def read(folder: Path, known: Tree) -> Tree | None:
    """Return the repository below a folder, or None where it has grown by too much against the one that was `known`."""
    found = read_folder(folder / FOLDER, sum(map(len, known.values())) + MAX_CHANGED_BYTES)
    if found is None:
        return None
    # What is as it was shares its bytes with the snapshots before.
    return {path: known[path] if known.get(path) == content else content for path, content in found.items()}
