"""Chooses the sandbox: the strongest that works here, tried out once; a weaker one only where the caller allows it."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Literal

from textagent_gym.envs.swe.repo.tree import scratch_folder
from textagent_gym.envs.swe.sandboxes.base import Command, Sandbox, SandboxError

Kind = Literal["local", "bubblewrap", "landlock", "none"]
"""Choice of a sandbox: the strongest that works here, or a certain one."""

# Does what a command may, then tries what it must not. The place outside comes by standard input, as text in arguments and
# variables may be translated.
_TRIAL = """
import pathlib, sys
pathlib.Path("made").write_text("yes")
try:
    pathlib.Path(sys.stdin.buffer.read()[::-1].decode(), "escaped").write_text("yes")
except OSError:
    print("held")
"""


def choose_sandbox(kind: Kind = "local", *, allow_weaker: bool = False, allow_unsafe: bool = False) -> Sandbox:
    """Return a sandbox that has been seen to work, the same one at each call.

    Args:
        kind: "local" for the strongest that works here; or one by name, which is to allow it.
        allow_weaker: True if Landlock will do where bubblewrap does not run.
        allow_unsafe: True if no protection at all will do where neither runs.

    Raises:
        SandboxError: What was allowed does not run here; the message says why and what to do.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxError(f"expected Linux to protect this host from commands, got {sys.platform}: use a container")
    if kind != "local":
        return _ready(kind, os.geteuid())
    try:
        return _ready("bubblewrap", os.geteuid())
    except SandboxError as error:
        problem = str(error)
    if allow_weaker:
        try:
            return _ready("landlock", os.geteuid())
        except SandboxError as error:
            problem = f"{problem}; and {error}"
    if allow_unsafe:
        return _ready("none", os.geteuid())
    advice = "allow_unsafe=True to go without protection" if allow_weaker else "allow_weaker=True for weaker protection"
    raise SandboxError(f"{problem} (or pass {advice})")


@functools.cache
def _ready(kind: Kind, user: int) -> Sandbox:
    """Return the sandbox of a kind, tried out; for each user of this process apart, as a server may change who it is."""
    sandbox = _make(kind)
    if kind != "none":
        _try_out(sandbox)
    return sandbox


def _make(kind: Kind) -> Sandbox:
    if kind == "bubblewrap":
        from textagent_gym.envs.swe.sandboxes.bubblewrap import BubblewrapSandbox

        return BubblewrapSandbox()
    if kind == "landlock":
        from textagent_gym.envs.swe.sandboxes.landlock.landlock import LandlockSandbox

        return LandlockSandbox()
    from textagent_gym.envs.swe.sandboxes.unprotected import UnprotectedSandbox

    return UnprotectedSandbox()


def _try_out(sandbox: Sandbox) -> None:
    """Run a command that may write here and must not write there.

    Raises:
        SandboxError: It could not, or it did.
    """
    name = sandbox.protection.name
    with scratch_folder() as worktree, scratch_folder() as outside:
        outside.chmod(0o777)
        try:
            trial = [sandbox.python, "-I", "-c", _TRIAL]
            result = sandbox.run(Command(trial, worktree=worktree, stdin=str(outside).encode()[::-1]))
        except SandboxError as error:
            raise SandboxError(_explained(name, str(error))) from error
        if result.returncode or not Path(worktree, "made").exists():
            raise SandboxError(_explained(name, result.output.decode("utf-8", "replace").strip()[-300:]))
        if b"held" not in result.output or any(outside.iterdir()):
            raise SandboxError(f"{name} does not hold here: a command could write outside of its work tree")


def _explained(name: str, problem: str) -> str:
    """Return one sentence about why a sandbox does not run, and what to do."""
    if name == "bubblewrap" and any(sign in problem.lower() for sign in ("namespace", "uid map", "user.max")):
        if os.geteuid() == 0:
            return (
                "bubblewrap cannot run here, as this container may not make namespaces: start it with --privileged, or "
                f"with the capability SYS_ADMIN and seccomp unconfined [{problem}]"
            )
        return (
            "bubblewrap cannot run here, as user namespaces are not permitted: allow them (sysctl "
            "kernel.apparmor_restrict_unprivileged_userns=0, or seccomp unconfined for a container) "
            f"[{problem}]"
        )
    return f"{name} cannot run here: {problem}"
