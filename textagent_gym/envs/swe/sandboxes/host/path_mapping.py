"""Paths as commands know them, and the host's paths behind them, for tiers that cannot mount."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


class PathMapping:
    """Replaces paths in text, in both directions.

    Args:
        places: Path that a command knows -> path of the host.
    """

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._outside = {inside: str(outside.absolute()) for inside, outside in places.items()}
        self._inside = {outside: inside for inside, outside in self._outside.items()}
        # An inner path counts where it begins one: not in "/home/testbed", not in "/testbeds".
        self._to_host = re.compile(rf"(?<![\w./-])({_any_of(self._outside)})(?![\w-])")
        self._to_command = re.compile(_any_of(self._inside).encode())

    def to_host(self, text: str) -> str:
        """Return the text for a command: its paths become those of the host."""
        return self._to_host.sub(lambda found: self._outside[found[0]], text)

    def bytes_to_host(self, text: bytes) -> bytes:
        """Return the same for input; bytes that are no text stay as they are."""
        return self.to_host(text.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def to_command(self, text: bytes) -> bytes:
        """Return the output of a command: paths of the host become those that it knows."""
        return self._to_command.sub(lambda found: self._inside[found[0].decode()].encode(), text)


def _any_of(paths: Mapping[str, str]) -> str:
    return "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
