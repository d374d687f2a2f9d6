"""Runs a notebook's code cells in one namespace, without Jupyter; as a program, writes the outputs into the notebook.

python tests/meta/notebook.py docs/examples/quickstart.ipynb
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def code_cells(path: Path) -> list[dict[str, Any]]:
    """Return the code cells."""
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def run(cells: list[dict[str, Any]]) -> list[str]:
    """Return what each cell prints."""
    space: dict[str, Any] = {}
    printed = []
    for number, cell in enumerate(cells, 1):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile("".join(cell["source"]), f"<cell {number}>", "exec"), space)
        printed.append(output.getvalue())
    return printed


def stored(cell: dict[str, Any]) -> str:
    """Return the text that a cell has stored as its output."""
    return "".join(line for output in cell["outputs"] for line in output["text"])


def main(path: Path) -> None:
    """Write the outputs into the notebook."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, text) in enumerate(zip(cells, run(cells), strict=True), 1):
        cell["execution_count"] = number
        output = {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}
        cell["outputs"] = [output] if text else []
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
