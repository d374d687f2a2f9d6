"""Results that are kept in a file as they come, so that work that was ended goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textagent_gym.cache import write_atomic


class Journal:
    """A file with one result a line, each under a key.

    Args:
        path: The file; it is made with its folders.
        heading: Its first line; a file with another one is begun again.
    """

    def __init__(self, path: Path, heading: str) -> None:
        self.path = path
        first, *lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
        known = [line for line in lines[:-1] if line] if first == json.dumps(heading) else []
        self._results: dict[str, Any] = dict(json.loads(line) for line in known)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The last line of a process that was killed may be a part of one: it is written again.
        write_atomic(path, "".join(f"{line}\n" for line in [json.dumps(heading), *known]).encode())

    def recall(self, key: str, make: Callable[[], Any]) -> Any:
        """Return the result under a key; one that is not there yet is made and written."""
        if key not in self._results:
            result = make()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, result]) + "\n")
            self._results[key] = result
        return self._results[key]
