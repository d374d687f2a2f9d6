"""The projects whose code is repaired: three libraries of our own, and pinned sdists of others."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textagent_gym.cache import write_atomic
from textagent_gym.contract import Split
from textagent_gym.envs.swe.repo.tree import Tree
from textagent_gym.envs.swe.sources.sdists import sdist_tree
from textagent_gym.envs.swe.types import Sdist

FOLDER = Path(__file__).parent.parent
BUNDLED = FOLDER / "bundled"
INDEX = FOLDER / "index"
PROJECTS = "projects.json"


@dataclass(frozen=True, kw_only=True)
class Project:
    """Code whose tests are known to pass.

    Attributes:
        name: "bundled/NAME", or the name on the package index.
        version: Release.
        licence: Licence of the code.
        split: "train" or "test"; all tasks of a project are in one split.
        sdist: The archive, or None for a bundled library.
        wheels: Wheels that its tests need besides pytest, each as "name==version --hash=sha256:...".
        num_files: Source files.
        tasks: For each of its mutation tasks the number of bugs.
        folder: The index that lists it.
    """

    name: str
    version: str
    licence: str
    split: Split
    sdist: Sdist | None
    wheels: tuple[str, ...] = ()
    num_files: int = 0
    tasks: tuple[int, ...] = ()
    folder: Path = INDEX

    @property
    def index_file(self) -> str:
        """Place in the index of its bugs and tasks."""
        return f"mutation/{self.name.replace('/', '-')}.json"

    @functools.cached_property
    def tree(self) -> Tree:
        """Its files, with the metadata that an installation would have; not to be changed.

        Raises:
            OSError: The archive cannot be fetched.
        """
        if self.sdist is not None:
            return installed_tree(self.sdist)
        folder = BUNDLED / self.name.removeprefix("bundled/")
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
        }


@functools.lru_cache(maxsize=128)
def installed_tree(sdist: Sdist) -> Tree:
    """Return the tree of an archive with a `.dist-info` folder next to its code, so that it can ask for its own version."""
    tree = dict(sdist_tree(sdist))
    if "PKG-INFO" in tree:
        tree[f"{sdist.project.replace('-', '_')}-{sdist.version}.dist-info/METADATA"] = tree["PKG-INFO"]
    return tree


@functools.cache
def projects(folder: Path = INDEX) -> dict[str, Project]:
    """Return every project of an index, by name.

    Raises:
        ValueError: The folder holds no index.
    """
    if not (folder / PROJECTS).is_file():
        raise ValueError(f"expected index=FOLDER that `textagent-gym prepare swe` has made, got no {folder / PROJECTS}")
    return {entry["name"]: from_entry(entry, folder) for entry in read_index(PROJECTS, folder)}


def from_entry(entry: dict[str, Any], folder: Path) -> Project:
    """Return a project from its line in an index."""
    name, version = entry["name"], entry["version"]
    archive = {column: entry[column] for column in ("filename", "sha256") if column in entry}
    return Project(
        name=name,
        version=version,
        licence=entry["licence"],
        split=entry["split"],
        sdist=Sdist(project=name, version=version, **archive) if archive else None,
        wheels=tuple(entry.get("wheels", ())),
        num_files=entry["source_files"],
        tasks=tuple(entry["tasks"]),
        folder=folder,
    )


def read_index(name: str, folder: Path = INDEX) -> Any:
    """Return a file of an index."""
    return json.loads((folder / name).read_bytes())


def write_index(name: str, folder: Path, content: Any) -> None:
    """Write a file of an index: JSON with one line for each item of a list, of the file itself or of one of its entries."""

    def listed(items: list[Any]) -> str:
        return "[\n" + ",\n".join(json.dumps(item, separators=(",", ":")) for item in items) + "\n]"

    if isinstance(content, list):
        text = "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in content) + "\n]\n"
    else:
        rows = [
            f"{json.dumps(name)}: {listed(value) if isinstance(value, list) else json.dumps(value)}"
            for name, value in content.items()
        ]
        text = "{\n" + ",\n".join(rows) + "\n}\n"
    write_atomic(folder / name, text.encode())
