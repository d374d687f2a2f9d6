"""Files that a kill leaves whole, or not there, or with whole lines."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whose folder is made; a run that is killed meanwhile leaves what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def append_line(path: Path, line: bytes) -> None:
    """Append what ends in a line break; it is on disk when this returns. Of a kill meanwhile a torn end may stay."""
    with path.open("ab") as stream:
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())
