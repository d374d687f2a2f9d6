"""Lines that never reach a game: verbs that speak to the program, and characters that its parser cannot read."""

from __future__ import annotations

from textagent_gym.core import refusal

BARRED_VERBS = frozenset(
    {"again", "brief", "full", "g", "long", "normal", "notify", "nouns", "o", "oops", "pronouns", "q", "quit"}
    | {"disable", "enable", "print_state", "recording", "replay", "restart", "restore", "restrict", "save", "script"}
    | {"short", "superbrief", "transcript", "undo", "unscript", "verbose", "verify", "version"}
)
"""First words of lines that are answered by the environment."""


def unreadable(command: str) -> str | None:
    """Return why a game cannot read `command`, or None where it can."""
    # A comma can be the end of a command ("north, north"): two turns of the world for one step.
    if "," in command:
        return "Nothing was done: expected one command at a time and no comma; several things are joined by 'and'."
    # A backslash starts the interpreter's own commands (Frotz: help, trace, typing speed), some of which never end.
    if command.isascii() and "\\" not in command:
        return None
    return "Nothing was done: expected letters, digits and punctuation of the English keyboard, got others."


def is_played(command: str) -> bool:
    """Return whether `command` reaches a game."""
    return refusal(command, BARRED_VERBS) is None and unreadable(command) is None
