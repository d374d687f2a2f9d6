"""Lines of a requirements file, and the projects of the package index that they mean, dependencies pinned by hash."""

from __future__ import annotations

import email
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from textagent_gym.envs.swe.grading.runtime import distribution_name, pytest_distributions
from textagent_gym.envs.swe.repo.tree import Tree
from textagent_gym.envs.swe.sources.projects import Project, installed_tree
from textagent_gym.envs.swe.sources.sdists import releases
from textagent_gym.envs.swe.types import Sdist


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A project as a line of a requirements file names it.

    Attributes:
        line: The line.
        name: Name on the index, in its compared form.
        requirement: The line, read.
    """

    line: str
    name: str
    requirement: Requirement

    @classmethod
    def of(cls, line: str) -> Wanted:
        """Read a line.

        Raises:
            ValueError: It names no project of the package index.
        """
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise ValueError(f"expected a line 'name', 'name[extra]' or 'name==version', got {line!r:.80}") from error
        if requirement.url:
            raise ValueError(f"expected a project of the package index, got the address {requirement.url:.80}")
        return cls(line=line, name=distribution_name(requirement.name), requirement=requirement)

    def admits(self, version: str) -> bool:
        """Return whether a version is one of those that the line allows."""
        return self.requirement.specifier.contains(version, prereleases=True)


def find_project(wanted: Wanted) -> Project:
    """Return the newest release that a line allows, pre-releases aside unless there are no others, with the wheels it needs.

    Raises:
        OSError: The index cannot be reached, or does not have it; or it has no wheels of what the project needs.
        ValueError: There is no source distribution.
    """
    sdist = _newest(wanted)
    tree = installed_tree(sdist)
    metadata = email.message_from_bytes(tree.get("PKG-INFO", b""))
    return Project(
        name=wanted.name,
        version=sdist.version,
        licence=licence_of(metadata),
        split="train",
        sdist=sdist,
        wheels=_wheels(wanted.name, requirements_of(tree, metadata), wanted.requirement.extras),
    )


def as_entry(project: Project) -> dict[str, Any]:
    """Return the line of a project in an index, see `projects.from_entry`."""
    entry = {name: getattr(project, name) for name in ("name", "version", "licence", "split")}
    if project.sdist is not None:
        entry |= {"filename": project.sdist.filename, "sha256": project.sdist.sha256}
    if project.wheels:
        entry["wheels"] = project.wheels
    return {**entry, "source_files": project.num_files, "tasks": project.tasks}


def licence_of(metadata: Message) -> str:
    """Return the licence that a project's metadata states, in short; "unknown" where they state none."""
    classified = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier", [])
        if text.startswith("License ::") and text != "License :: OSI Approved"
    ]
    stated = [metadata.get("License-Expression", ""), *classified, metadata.get("License", "").partition("\n")[0]]
    return next((text.strip()[:60] for text in stated if text.strip() not in ("", "UNKNOWN")), "unknown")


def _newest(wanted: Wanted) -> Sdist:
    found: dict[Version, Sdist] = {}
    for release in releases(wanted.name):
        try:
            found.setdefault(Version(release.sdist.version), release.sdist)
        except InvalidVersion:
            continue
    allowed = list(wanted.requirement.specifier.filter(found))
    if not allowed:
        versions = f" of {wanted.requirement.specifier}" if wanted.requirement.specifier else ""
        raise ValueError(f"the package index has no source distribution of {wanted.name}{versions}")
    return found[max(allowed)]


def requirements_of(tree: Tree, metadata: Message) -> list[Requirement]:
    """Return the requirements that an archive's metadata state, those of extras with a marker; or else setuptools' list."""
    stated = metadata.get_all("Requires-Dist")
    if stated is None:
        stated, section = [], ""
        listed = next((path for path in sorted(tree) if path.endswith(".egg-info/requires.txt")), None)
        for line in tree[listed].decode().split("\n") if listed else ():
            if line.startswith("["):
                extra, _, marker = line.strip("[] ").partition(":")
                section = " and ".join(
                    [*([f"({marker})"] if marker else []), *([f"extra == {extra!r}"] if extra else [])]
                )
            elif line.strip():
                stated.append(f"{line} ; {section}" if section else line)
    return [Requirement(text) for text in stated]


def _wheels(name: str, requirements: Sequence[Requirement], extras: set[str]) -> tuple[str, ...]:
    """Return the wheels that a project and some of its extras need, each with its hash, but for those that pytest brings.

    pip finds them. It reads the metadata of wheels, and runs no code of theirs.

    Raises:
        OSError: There are no such wheels.
        ValueError: No requirement is that of an extra that is asked for.
    """
    own = {name, *(distribution_name(one.metadata["Name"]) for one in pytest_distributions())}
    wanted, used = [], set()
    for requirement in requirements:
        marker, requirement.marker = requirement.marker, None
        found = {extra for extra in ("", *extras) if marker is None or marker.evaluate({"extra": extra})}
        used |= found
        if found and distribution_name(requirement.name) not in own:
            wanted.append(str(requirement))
    if unknown := sorted(extras - used):
        raise ValueError(f"{name} has no extra {unknown[0]} that needs anything")
    found_wheels = {distribution_name(one["metadata"]["name"]): one for one in _resolved(name, wanted)}
    return tuple(
        f"{other}=={one['metadata']['version']} --hash=sha256:{one['download_info']['archive_info']['hashes']['sha256']}"
        for other, one in sorted(found_wheels.items())
        if other not in own
    )


def _resolved(name: str, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Return pip's report on the wheels that it would install."""
    if not wanted:
        return []
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--root-user-action", "ignore", "--report", "-"]
    ran = subprocess.run([*command, "--", *wanted], capture_output=True, text=True, check=False)
    if ran.returncode:
        message = ran.stderr.strip().rpartition("\n")[2][-200:]
        raise OSError(f"pip finds no wheels of what {name} needs ({', '.join(wanted)}): {message}")
    found: list[dict[str, Any]] = json.loads(ran.stdout)["install"]
    return found
