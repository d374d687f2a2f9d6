"""Runs every library's test, slow ones too, and writes the compatibility page: `make interop`.

    python -m benchmarks interop            # all libraries that are installed in the three environments that `make` makes
    python -m benchmarks interop --only trl

A library that is not installed is reported as such; one that fails makes the command fail, after all have been run.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from baselines.errors import ConfigError
from baselines.runs.files import write_whole

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compatibility.md"

TOGETHER, WITH_RLLIB, WITH_OPENENV = Path(".venv-interop"), Path(".venv-rllib"), Path(".venv-openenv")
"""Virtual environments: of all libraries that can be installed together; of RLlib, which needs an older Gymnasium; and of
OpenEnv, which needs another `mcp` than verifiers."""


@dataclass(frozen=True)
class Library:
    """A library and its test.

    Attributes:
        name: As people know it.
        distributions: Names of its distributions; the version of the first comes first.
        test: The module, whose first line says what is run.
        environment: Virtual environment that holds it.
    """

    name: str
    distributions: tuple[str, ...]
    test: str
    environment: Path = TOGETHER


LIBRARIES = (
    Library("Gymnasium, vector environments", ("gymnasium",), "tests/test_vector.py"),
    Library("PettingZoo", ("pettingzoo",), "tests/test_multi_agent.py"),
    Library("Stable-Baselines3", ("stable-baselines3", "sb3-contrib"), "tests/interop/test_sb3.py"),
    Library("a loop in the style of CleanRL", ("torch",), "tests/interop/test_cleanrl.py"),
    Library("TorchRL", ("torchrl",), "tests/interop/test_torchrl.py"),
    Library("RLlib", ("ray", "gymnasium"), "tests/interop/test_rllib.py", WITH_RLLIB),
    Library("Ray", ("ray",), "tests/interop/test_ray.py"),
    Library("Ray, rollouts of the trainers", ("ray", "torch"), "tests/baselines/test_ray_rollout.py"),
    Library("TRL", ("trl", "transformers"), "tests/interop/test_trl.py"),
    Library("verl", ("verl",), "tests/interop/test_verl.py"),
    Library("SkyRL-Gym", ("skyrl-gym",), "tests/interop/test_skyrl.py"),
    Library("verifiers", ("verifiers",), "tests/interop/test_verifiers.py"),
    Library("mini-swe-agent", ("mini-swe-agent",), "tests/interop/test_mini_swe.py"),
    Library("verifiers, a package for its hub", ("verifiers",), "tests/interop/test_packages.py"),
    Library("OpenEnv", ("openenv",), "tests/interop/test_openenv.py", WITH_OPENENV),
    Library("OpenEnv, a package for its hub", ("openenv",), "tests/interop/test_packages.py", WITH_OPENENV),
)

HEAD = """<!-- Made by `make interop`. -->

# Compatibility

What was run with which version, with Python {python} on {platform}. [Other libraries](libraries.md) says how each is used.

| library | version | what is run | result |
| --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Config:
    """Options of the command."""

    only: tuple[str, ...] = ()
    """Names of libraries, or parts of them, in any case; all by default. The page is written when all are run."""


@dataclass(frozen=True)
class LibraryReport:
    """Result of a library's test.

    Attributes:
        versions: Distribution -> version, of those that are installed.
        passed, failed: Numbers of tests.
        skipped: Why tests were skipped, each reason once.
    """

    versions: dict[str, str]
    passed: int
    failed: int
    skipped: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The outcome in words."""
        parts = [f"{self.passed} passed"] if self.passed or not self.skipped else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"skipped: {reason}" for reason in self.skipped]
        return "; ".join(parts)


def main(config: Config) -> None:
    """Run the tests; exits with 1 where one fails."""
    console = Console(highlight=False)
    chosen = [
        library
        for library in LIBRARIES
        if not config.only or any(part.lower() in library.name.lower() for part in config.only)
    ]
    if not chosen:
        known = ", ".join(library.name for library in LIBRARIES)
        raise ConfigError(f"expected --only among {known}, got {' '.join(config.only)}")
    rows, failed = [], False
    for library in chosen:
        outcome = run(library)
        failed = failed or bool(outcome.failed)
        rows.append(row(library, outcome))
        console.print(f"{library.name}: {outcome.summary}")
    if len(chosen) == len(LIBRARIES):
        python = ".".join(map(str, sys.version_info[:2]))
        write_whole(PAGE, HEAD.format(python=python, platform=sys.platform) + "".join(rows))
    sys.exit(1 if failed else 0)


def run(library: Library) -> LibraryReport:
    """Return the outcome of all tests of a library."""
    python = ROOT / library.environment / "bin" / "python"
    if not python.exists():
        return LibraryReport({}, 0, 0, (f"there is no {library.environment}: `make interop` makes it",))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-m", "slow or not slow", f"--junitxml={report}"]
        command = [str(python), "-m", "pytest", *options, library.test]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
        if not report.exists():
            raise RuntimeError(f"expected pytest to report on {library.test}, it ended with {done.returncode}")
        suite = ElementTree.parse(report).getroot()[0]
    skipped = [reason_of(found) for found in suite.iter("skipped")]
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors")}
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - len(skipped)
    return LibraryReport(versions(python, library.distributions), passed, failed, tuple(dict.fromkeys(skipped)))


def reason_of(skipped: ElementTree.Element) -> str:
    """Return why a test was skipped; for a whole module pytest hides it in a tuple of file, line and reason."""
    message = skipped.get("message", "")
    return (
        str(ast.literal_eval(skipped.text or "")[2]).removeprefix("Skipped: ")
        if message == "collection skipped"
        else message
    )


def versions(python: Path, distributions: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of what is installed in an environment."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "print(json.dumps({d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    installed: dict[str, str] = json.loads(done.stdout)
    return {name: installed[name] for name in distributions if name in installed}


def row(library: Library, outcome: LibraryReport) -> str:
    """Return a line of the page."""
    summary = ast.get_docstring(ast.parse((ROOT / library.test).read_text(encoding="utf-8"))) or ""
    version = ", ".join(
        version if number == 0 else f"{name} {version}"
        for number, (name, version) in enumerate(outcome.versions.items())
    )
    what = " ".join(summary.split("\n\n")[0].split())
    return f"| {library.name} | {version or 'not installed'} | {what} (`{library.test}`) | {outcome.summary} |\n"
