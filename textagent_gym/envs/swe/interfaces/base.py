"""The three interfaces: the description of the actions, their number, and the reference repair as actions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

from textagent_gym.envs.swe.interfaces.choice import Choices
from textagent_gym.envs.swe.interfaces.tools import TOOLS, write_call
from textagent_gym.envs.swe.interfaces.tools import rules as tool_rules
from textagent_gym.envs.swe.repo.edits import Edit
from textagent_gym.mechanics.knobs import check_integer

Interface = Literal["tools", "bash", "choice"]
"""Form of an action: a call of a tool as JSON, a command line, or the number of an edit on offer."""

LOOK_AROUND = 10
"""Lines around an edit that the reference looks at before it makes it."""


def rules_of(interface: Interface, tools: tuple[str, ...]) -> str:
    """Return the description of the actions for the agent."""
    if interface == "tools":
        return tool_rules(tools)
    if interface == "bash":
        return (
            "You repair a software repository with bash: each action is one command, run in the repository's top folder "
            "in a fresh shell without network. Change the source, never the tests: only source counts. The command "
            "submit ends the episode."
        )
    return (
        "You repair a software repository by choosing edits: some repair it, the others break more. The number of an "
        "edit makes it, or takes it back; submit ends the episode. Submit when all tests pass."
    )


def actions_asked(interface: Interface, action_space_size: int | None) -> int:
    """Return the number of actions that an interface offers.

    Raises:
        ValueError: It cannot offer as many as were asked for.
    """
    if interface == "bash":
        return 1
    low, high, default = (2, len(TOOLS), len(TOOLS)) if interface == "tools" else (2, 40, 8)
    if action_space_size is None:
        return default
    check_integer("action_space_size", action_space_size, low, high)
    return action_space_size


def reference_actions(
    edits: Sequence[Edit] | None, interface: Interface, tools: Sequence[str], choices: Choices | None
) -> tuple[str, ...]:
    """Return the actions that make `edits`, as an agent would: look, edit, test, submit, as far as `tools` offers that.

    There are none where the edits are not known, or `tools` cannot make one of them.
    """
    if choices is not None:
        return (*choices.repairs, "submit")
    if edits is None:
        return ()
    if interface == "bash":
        return (*map(_command_of, edits), "submit")
    actions: list[str] = []
    for edit in edits:
        if "view" in tools and edit.kind == "replace":
            first = max(1, edit.line - LOOK_AROUND)
            actions.append(write_call("view", path=edit.path, start=first, end=edit.line + LOOK_AROUND))
        call = call_of(edit, tools)
        if call is None:
            return ()
        actions.append(call)
    if "test" in tools:
        actions.append(write_call("test"))
    return (*actions, write_call("submit"))


def call_of(edit: Edit, tools: Sequence[str]) -> str | None:
    """Return the call of a tool that makes an edit, or None where none of `tools` can."""
    if edit.kind == "delete":
        return write_call("bash", command=_command_of(edit)) if "bash" in tools else None
    if edit.kind == "rewrite":
        return write_call("create", path=edit.path, content=edit.new) if "create" in tools else None
    return write_call("edit", path=edit.path, old=edit.old, new=edit.new)


def _command_of(edit: Edit) -> str:
    """Return a command for bash that makes an edit, byte for byte."""
    if edit.kind == "delete":
        return f"rm -- {shlex.quote(edit.path)}"
    change = (
        f"path.parent.mkdir(parents=True, exist_ok=True)\npath.write_bytes({edit.new!r}.encode({edit.encoding!r}))\n"
    )
    if edit.kind == "replace":
        name = repr(edit.encoding.removesuffix("-sig"))  # a piece of a file has no byte order mark
        change = f"old, new = {edit.old!r}.encode({name}), {edit.new!r}.encode({name})\n"
        change += "path.write_bytes(path.read_bytes().replace(old, new, 1))\n"
    return f"python3 - <<'END_OF_EDIT'\nfrom pathlib import Path\npath = Path({edit.path!r})\n{change}END_OF_EDIT"
