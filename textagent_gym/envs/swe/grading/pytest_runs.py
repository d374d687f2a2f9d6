"""Runs of pytest over a tree, in a sandbox of their own: which test did what, told by our reporter and signed."""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textagent_gym.envs.swe.grading.runtime import runtime_folder
from textagent_gym.envs.swe.repo.tree import Tree, scratch_folder, write_tree
from textagent_gym.envs.swe.sandboxes.base import RUNTIME, TESTBED, Limits, Sandbox, Stop

IMPORT_FOLDERS = ("src", ".", "lib")
"""Folders of a repository from which its tests import, where they exist."""

MAX_REPORT_BYTES = 32 << 20

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Variables that keep numerical libraries from reserving memory and a thread for each core, which limits would forbid."""


@dataclass(frozen=True, kw_only=True)
class TestReport:
    """Report of one run of pytest.

    Attributes:
        outcomes: Id of a test -> "passed", "failed" or "skipped".
        messages: Id of a test, or of a file that could not be collected -> how it failed.
        broken: Files that could not be collected.
        output: What the run printed, for people; nothing is concluded from it.
        stopped: The limit that ended the run, or None.
        complete: Whether a signed report came back.
    """

    __test__ = False

    outcomes: Mapping[str, str] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    output: str = ""
    stopped: Stop | None = None
    complete: bool = False

    @property
    def passed(self) -> frozenset[str]:
        """Ids of the tests that passed."""
        return frozenset(test for test, outcome in self.outcomes.items() if outcome == "passed")


def run_tests(
    tree: Tree,
    targets: Sequence[str],
    *,
    sandbox: Sandbox,
    seconds: float,
    num_messages: int = 0,
    message_length: int = 2_000,
    requirements: tuple[str, ...] = (),
) -> TestReport:
    """Run the tests that `targets` name, in a fresh copy of `tree`.

    Args:
        tree: The repository, tests included.
        targets: Files or ids of tests, as pytest takes them.
        sandbox: Where it runs.
        seconds: Wall-clock limit, in seconds.
        num_messages: How many failures are told.
        message_length: The last characters of each that are told.
        requirements: Wheels that the tests need besides pytest, each as "name==version".

    Raises:
        OSError: A wheel cannot be installed.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
    """
    key = secrets.token_bytes(32)  # no draw of the environment: it decides nothing but who could have signed
    report_name = f".report-{secrets.token_hex(8)}"
    job = {
        "key": key.hex(),
        "before": [] if sandbox.brings_pytest else [RUNTIME],
        "paths": import_folders(tree),
        "arguments": list(targets),
        # A failure told in pytest's own style costs a parse of its file, and assertions that tell their values twice the
        # time of a short run; where nobody reads what failed, neither is wanted.
        "traceback": "short" if num_messages else "native",
        "assertions": "rewrite" if num_messages else "plain",
        "report": report_name,
        "num_messages": num_messages,
        "message_length": message_length,
    }
    with scratch_folder() as folder:
        write_tree(tree, folder)
        outcome = sandbox.run(
            [sandbox.python, "-s", "-c", _program()],
            worktree=folder,
            mounts=mounted(sandbox, requirements),
            environment={
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONHASHSEED": "0",
                # An image's plugins are there since its tests need them.
                **({} if sandbox.brings_pytest else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
                **ONE_THREAD,
            },
            stdin=json.dumps(job).encode(),
            limits=Limits(seconds=seconds),
        )
        report = _signed_report(folder / report_name, key)
    output = outcome.output.decode("utf-8", "replace")
    if report is None:
        return TestReport(output=output, stopped=outcome.stopped)
    return TestReport(
        outcomes=report["outcomes"],
        messages=report["messages"],
        broken=tuple(report["broken"]),
        output=output,
        stopped=outcome.stopped,
        complete=True,
    )


def mounted(sandbox: Sandbox, requirements: tuple[str, ...]) -> dict[str, Path]:
    """Return the folders to mount for tests: pytest with `requirements`, unless pytest is inside already.

    Raises:
        OSError: A wheel cannot be installed.
    """
    return {} if sandbox.brings_pytest else {RUNTIME: runtime_folder(requirements)}


def setting(sandbox: Sandbox, requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name for the tests' surroundings that differs if the interpreter or a package does.

    Raises:
        OSError: A wheel cannot be installed.
    """
    return (sandbox.identity,) if sandbox.identity else (sys.version, runtime_folder(requirements).name)


def import_folders(tree: Tree) -> list[str]:
    """Return the folders of `IMPORT_FOLDERS` that this tree has, in their order."""
    return [folder for folder in IMPORT_FOLDERS if folder == "." or any(path.startswith(f"{folder}/") for path in tree)]


def python_environment(tree: Tree, sandbox: Sandbox) -> dict[str, str]:
    """Return variables with which `python -m pytest` in a shell finds pytest and the repository."""
    runtime = [] if sandbox.brings_pytest else [RUNTIME]
    places = [*runtime, *(TESTBED if folder == "." else f"{TESTBED}/{folder}" for folder in import_folders(tree))]
    return {
        "PYTHONPATH": ":".join(places),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "",
        "PAGER": "cat",
        "TERM": "dumb",
        **ONE_THREAD,
    }


@functools.cache
def _program() -> str:
    return Path(__file__).with_name("in_sandbox.py").read_text(encoding="utf-8")


def _signed_report(path: Path, key: bytes) -> dict[str, dict[str, str]] | None:
    """Return the report at `path` if it bears our signature; a link, a pipe or something huge is no report."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        content = file.read(MAX_REPORT_BYTES + 1)
    signature, _, body = content.partition(b"\n")
    expected = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
    if len(content) > MAX_REPORT_BYTES or not hmac.compare_digest(signature, expected):
        return None
    report: dict[str, dict[str, str]] = json.loads(body)
    return report
