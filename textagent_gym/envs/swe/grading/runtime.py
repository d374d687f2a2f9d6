"""The tests' own runtime: pytest and its dependencies, copied from this installation, and nothing else of it.

Some projects' tests need more: those wheels are installed, too, each named with its version. Their dependencies are
not, so that nothing gets there by itself, least of all another version of the code under repair.
"""

from __future__ import annotations

import compileall
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path

from gymnasium.error import DependencyNotInstalled

from textagent_gym.cache import cache_folder, in_place_of

_REQUIREMENT = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==[A-Za-z0-9][A-Za-z0-9.+!_]*(?: --hash=sha256:[0-9a-f]{64})*"
)


class WheelError(OSError):
    """A wheel that tests need cannot be installed."""


@functools.cache
def runtime_folder(requirements: tuple[str, ...] = ()) -> Path:
    """Return a folder for `sys.path` that holds pytest, what it needs, and certain wheels: made once per set of versions.

    Args:
        requirements: Wheels, each as "name==version", or all of them as "name==version --hash=sha256:..."; what they need in
            turn has to be among them.

    Raises:
        gymnasium.error.DependencyNotInstalled: pytest is not installed.
        ValueError: A requirement has another form, or is pytest's own.
        WheelError: The package index has no such wheel for this interpreter, or cannot be reached.
    """
    found = pytest_distributions()
    names = sorted(f"{distribution.metadata['Name']}-{distribution.version}" for distribution in found)
    if requirements:
        brought = {distribution_name(distribution.metadata["Name"]) for distribution in found}
        for wanted in requirements:
            if required_name(wanted) in brought:
                raise ValueError(f"expected requirements that do not come with pytest, got {wanted}")
        names += [sysconfig.get_platform(), *sorted(requirements)]
    digest = hashlib.sha256("\n".join([sys.version, *names]).encode()).hexdigest()[:16]
    folder = cache_folder() / "swe" / f"runtime-{digest}"
    if os.path.isdir(folder):
        return folder
    try:
        _make(folder, found, requirements)
    except WheelError:
        raise
    except OSError as error:
        folder = in_place_of(folder, error)
        if not folder.exists():
            _make(folder, found, requirements)
    return folder


def pytest_distributions() -> list[metadata.Distribution]:
    """Return pytest and everything that it needs in this interpreter.

    Raises:
        gymnasium.error.DependencyNotInstalled: pytest is not installed.
    """
    found: dict[str, metadata.Distribution] = {}
    waiting = ["pytest"]
    while waiting:
        wanted = waiting.pop()
        if wanted in found:
            continue
        try:
            found[wanted] = metadata.distribution(wanted)
        except metadata.PackageNotFoundError as error:
            if wanted == "pytest":
                raise DependencyNotInstalled("pytest is not installed: pip install 'textagent-gym[swe]'") from error
            continue  # a requirement of another platform or version
        for requirement in found[wanted].requires or ():
            if "extra ==" not in requirement:
                waiting.append(re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower())
    return [found[key] for key in sorted(found)]


def required_name(requirement: str) -> str:
    """Return the name of the distribution that a requirement "name==version" asks for, in the form that the index compares.

    Raises:
        ValueError: It has another form.
    """
    match = _REQUIREMENT.fullmatch(requirement)
    if match is None:
        raise ValueError(f"expected a requirement 'name==version', got {requirement!r:.120}")
    return distribution_name(match[1])


def distribution_name(name: str) -> str:
    """Return a distribution's name in small letters, with one hyphen for each run of hyphens, points and underscores."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _make(folder: Path, found: list[metadata.Distribution], requirements: tuple[str, ...]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".runtime-"))
    building.chmod(0o755)
    try:
        if requirements:
            _install(requirements, building)
        _fill(building, found)
        _open_up(building)
    except BaseException:
        shutil.rmtree(building)
        raise
    try:
        os.rename(building, folder)
    except OSError:
        shutil.rmtree(building)  # another process was faster
        if not folder.exists():
            raise


def _install(requirements: tuple[str, ...], folder: Path) -> None:
    """Unpack wheels; nothing is built, so that no code of theirs runs."""
    command = [sys.executable, "-m", "pip", "install", "--target", str(folder), "--only-binary", ":all:", "--no-deps"]
    command += ["--no-compile", "--no-input", "--quiet", "--disable-pip-version-check", "--root-user-action", "ignore"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(requirements))
        listed.flush()
        ran = subprocess.run([*command, "--requirement", listed.name], capture_output=True, text=True, check=False)
    if ran.returncode:
        message = ran.stderr.strip().rpartition("\n")[2][-300:]
        names = ", ".join(one.partition(" ")[0] for one in requirements)
        raise WheelError(f"expected pip to install wheels of {names}, got: {message}")
    shutil.rmtree(folder / "bin", ignore_errors=True)  # its programs name the host's interpreter


def _fill(building: Path, found: list[metadata.Distribution]) -> None:
    for distribution in found:
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            # Ray brings packages without all the files that they list.
            if ".." in file.parts or "__pycache__" in file.parts or not source.is_file():
                continue
            target = building / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    compileall.compile_dir(building, quiet=2, workers=1, ddir="/runtime")


def _open_up(folder: Path) -> None:
    """Let everybody read, whatever the umask: a sandbox may run as a user of its own."""
    for place, folders, files in os.walk(folder):
        for name in folders:
            os.chmod(os.path.join(place, name), 0o755)
        for name in files:
            os.chmod(os.path.join(place, name), 0o644)
