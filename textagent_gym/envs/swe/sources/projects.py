"""The projects whose code is repaired: three libraries of our own, and pinned sdists of others."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textagent_gym.contract import Split
from textagent_gym.envs.swe.repo.tree import Tree
from textagent_gym.envs.swe.sources.sdists import sdist_tree
from textagent_gym.envs.swe.types import Sdist

FOLDER = Path(__file__).parent.parent
BUNDLED = FOLDER / "bundled"
INDEX = FOLDER / "index"


UNSTEADY: dict[str, tuple[str, ...]] = {
    "boltons": ("tests/test_gcutils.py", "tests/test_setutils.py", "tests/test_socketutils.py"),
    "cachetools": ("tests/test_threading.py",),
    "sqlparse": ("tests/test_dos_prevention.py",),
}
"""Project -> test files that look at the clock, and so fail on a busy machine; they are not used."""


CHANCY_BUGS: dict[str, tuple[str, ...]] = {"cachetools": ("RRCache.__delitem__", "RRCache.popitem")}
"""Project -> functions of random replacement: which tests a bug in them breaks depends on the draw, so no task has one."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """Code whose tests are known to pass.

    Attributes:
        name: "bundled/NAME", or the name on the package index.
        version: Release.
        licence: Licence of the code.
        split: "train" or "test"; all tasks of a project are in one split.
        sdist: The archive, or None for a bundled library.
    """

    name: str
    version: str
    licence: str
    split: Split
    sdist: Sdist | None

    @property
    def tree(self) -> Tree:
        """Its files, with the metadata that an installation would have; not to be changed.

        Raises:
            OSError: The archive cannot be fetched.
        """
        return project_tree(self)


def steady(project: str, tests: Iterable[str]) -> frozenset[str]:
    """Return the tests of a project whose outcome does not depend on the time that they take."""
    unsteady = UNSTEADY.get(project, ())
    return frozenset(test for test in tests if test.partition("::")[0] not in unsteady)


@functools.lru_cache(maxsize=64)
def project_tree(project: Project) -> Tree:
    """Return the files of a project by their path."""
    if project.sdist is not None:
        return installed_tree(project.sdist)
    folder = BUNDLED / project.name.removeprefix("bundled/")
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
def projects() -> dict[str, Project]:
    """Return every project of the index, by name."""
    return {
        entry["name"]: Project(
            name=entry["name"],
            version=entry["version"],
            licence=entry["licence"],
            split=entry["split"],
            sdist=None
            if "filename" not in entry
            else Sdist(
                project=entry["name"], version=entry["version"], filename=entry["filename"], sha256=entry["sha256"]
            ),
        )
        for entry in read_index("projects.json")
    }


def read_index(name: str) -> Any:
    """Return a file of the index."""
    return json.loads((INDEX / name).read_bytes())
