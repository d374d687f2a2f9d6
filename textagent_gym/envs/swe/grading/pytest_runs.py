"""Runs of pytest over a tree, in a sandbox of their own: results of single tests, reported by our plugin and signed."""

from __future__ import annotations

import functools
import hashlib
import hmac
import io
import json
import re
import secrets
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from textagent_gym.envs.swe.grading.runtime import runtime_folder
from textagent_gym.envs.swe.repo.tree import Tree, read_regular, room_for, scratch_folder, write_tree
from textagent_gym.envs.swe.sandboxes.base import (
    RUNTIME,
    TESTBED,
    Command,
    Limits,
    Sandbox,
    SandboxError,
    SandboxResult,
    Stop,
)

IMPORT_FOLDERS = ("src", ".", "lib")
"""Folders of a repository from which its tests import, where they exist."""

MAX_REPORT_BYTES = 4 << 20
"""Largest report that is read; one of 10,000 tests has a tenth of that."""

MAX_LINE_BYTES = 16 << 10
"""Longest line of a report, but for the failure that it tells."""

MAX_RECORD = 4_000
"""Longest account of the values that a test recorded, in characters."""

ENDED = 3
"""Exit status of a run that the watch has ended, see `runners/in_sandbox.py`."""

_OTHER_FORM = "a report of another form"

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
        complete: True if a signed report came back.
        lost: Why none came back, as "ended by signal 9, no report"; empty where one did.
        seen: What was done to the interpreter that could be an attack on the runner, where nothing was refused.
    """

    __test__ = False

    outcomes: Mapping[str, str] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    output: str = ""
    stopped: Stop | None = None
    complete: bool = False
    lost: str = ""
    seen: frozenset[str] = frozenset()

    @property
    def passed(self) -> frozenset[str]:
        """Ids of the tests that passed."""
        return frozenset(test for test, outcome in self.outcomes.items() if outcome == "passed")

    @property
    def ending(self) -> str:
        """Why the run is not complete: the limit that ended it, or why no report came back."""
        return f"used too much {self.stopped}" if self.stopped else self.lost


def run_tests(
    tree: Tree,
    targets: Sequence[str],
    *,
    sandbox: Sandbox,
    seconds: float,
    num_messages: int = 0,
    message_length: int = 2_000,
    requirements: tuple[str, ...] = (),
    allowed: Collection[str] | None = None,
) -> TestReport:
    """Run the tests that `targets` name with pytest, in a fresh copy of `tree`.

    Args:
        tree: The repository, tests included.
        targets: Files or ids of tests, as pytest takes them.
        sandbox: Where it runs.
        seconds: Wall-clock limit, in seconds.
        num_messages: Number of failures that are reported.
        message_length: Characters at the end of each that are kept.
        requirements: Wheels that the tests need besides pytest, each as "name==version".
        allowed: Of what is done to the interpreter, what does not end the run, see `TestReport.seen`; None to end none.

    Raises:
        OSError: A wheel cannot be installed.
        UnwritableTreeError: The tree cannot be written.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
    """
    job = {
        "before": [] if sandbox.brings_pytest else [RUNTIME],
        "arguments": list(targets),
        "protected": test_files(targets),
        # A failure reported in pytest's own style costs a parse of its file, and assertions that tell their values twice the
        # time of a short run; where nobody reads what failed, neither is wanted.
        "traceback": "short" if num_messages else "native",
        "assertions": "rewrite" if num_messages else "plain",
        "num_messages": num_messages,
        "message_length": message_length,
    }
    mounts = mounted(sandbox, requirements)
    return _run("pytest_runner.py", job, tree, sandbox, mounts, seconds, allowed, message_length)


def run_plainly(
    tree: Tree,
    tests: Sequence[str],
    *,
    sandbox: Sandbox,
    seconds: float,
    requirements: tuple[str, ...] = (),
    allowed: Collection[str] | None = None,
    records: bool = False,
) -> TestReport:
    """Run tests without pytest, in a fresh copy of `tree`; see `runners/plain_runner.py`.

    Args:
        tree: The repository, tests included.
        tests: Ids of test functions, without parameters: such a test passes if it does with all parameters.
        sandbox: Where it runs.
        seconds: Wall-clock limit, in seconds.
        requirements: Wheels that the tests need, each as "name==version".
        allowed: As of `run_tests`.
        records: Whether the messages of tests that pass tell the values that they recorded, and the time that they took.

    Raises:
        OSError: A wheel cannot be installed.
        UnwritableTreeError: The tree cannot be written.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
    """
    needs = bool(requirements) and not sandbox.brings_pytest
    job = {
        "before": [RUNTIME] if needs else [],
        "tests": [test.split("::", 1) for test in tests],
        "records": MAX_RECORD if records else 0,
        "protected": test_files(tests),
    }
    mounts = mounted(sandbox, requirements) if needs else {}
    return _run("plain_runner.py", job, tree, sandbox, mounts, seconds, allowed, MAX_RECORD if records else 0)


def _run(
    runner: str,
    job: Mapping[str, object],
    tree: Tree,
    sandbox: Sandbox,
    mounts: Mapping[str, Path],
    seconds: float,
    allowed: Collection[str] | None,
    message_length: int,
) -> TestReport:
    """Run one of the runners in a fresh copy of a tree, and read its report.

    A run that a signal ended, and no limit, is tried once more: another process of the host may have sent it.
    """
    whole = {**job, "paths": import_folders(tree), "allowed": None if allowed is None else sorted(allowed)}
    limits = Limits(seconds=seconds)
    environment = {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        # An image's plugins are there since its tests need them.
        **({} if sandbox.brings_pytest else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        **ONE_THREAD,
    }

    def run() -> tuple[TestReport, SandboxResult]:
        key = secrets.token_bytes(32)  # no draw of the environment: it decides nothing but who could have signed
        report_name = f".report-{secrets.token_hex(8)}"
        with scratch_folder(*room_for(tree, limits.disk_bytes, limits.num_files)) as folder:
            write_tree(tree, folder)
            outcome = sandbox.run(
                Command(
                    [sandbox.python, "-s", "-c", program(runner)],
                    worktree=folder,
                    mounts=mounts,
                    environment=environment,
                    stdin=json.dumps({**whole, "key": key.hex(), "report": report_name}).encode(),
                    limits=limits,
                )
            )
            try:
                report = read_report(signed_body(folder / report_name, key), message_length)
                if (
                    outcome.returncode
                ):  # another process, which has read the key in the memory of ours, can have written it
                    raise ValueError("not by its own end")
            except ValueError as error:
                report = TestReport(lost=f"{_end_of(outcome)}, {error}")
        output = outcome.output.decode("utf-8", "replace")
        return replace(report, output=output, stopped=outcome.stopped), outcome

    report, outcome = run()
    if report.lost and report.stopped is None and _signal_of(outcome):
        report, _ = run()
    return report


def _signal_of(outcome: SandboxResult) -> int:
    """Return the signal that ended a run, as its exit status tells; 0 for none."""
    return outcome.returncode - 128 if 128 < outcome.returncode <= 128 + 64 else 0


def _end_of(outcome: SandboxResult) -> str:
    """Return how a run ended, in a few words."""
    if signal := _signal_of(outcome):
        return f"ended by signal {signal}"
    said = re.search(rb"^the run was ended: ([\w. ']{1,60})$", outcome.output, re.MULTILINE)
    why = f" ({said[1].decode()})" if said and outcome.returncode == ENDED else ""
    return f"exit status {outcome.returncode}{why}"


def test_files(tests: Iterable[str]) -> list[str]:
    """Return the files of tests, sorted."""
    return sorted({test.partition("::")[0] for test in tests})


def mounted(sandbox: Sandbox, requirements: tuple[str, ...]) -> dict[str, Path]:
    """Return the folders to mount for tests: pytest with `requirements`, unless pytest is inside already.

    Raises:
        OSError: A wheel cannot be installed.
    """
    return {} if sandbox.brings_pytest else {RUNTIME: runtime_folder(requirements)}


def setting(sandbox: Sandbox, requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name for the tests' environment that differs if the interpreter or a package does.

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
def program(name: str) -> str:
    """Return the source of a runner: what both share, and what follows the mark in its own file."""
    folder = Path(__file__).parent / "runners"
    shared, own = ((folder / file).read_text(encoding="utf-8") for file in ("in_sandbox.py", name))
    return shared + own.partition("# --- what follows runs below in_sandbox.py\n")[2]


def signed_body(path: Path, key: bytes) -> bytes:
    """Return what `path` holds below our signature.

    Raises:
        ValueError: It is a link, a folder, a pipe, or something huge or unsigned; the message says so in a few words.
        SandboxError: This process cannot read it.
    """
    try:
        content = read_regular(str(path), MAX_REPORT_BYTES)
    except OSError as error:
        raise SandboxError(f"the report of a run of tests cannot be read: {error.strerror}") from error
    if content is None:
        raise ValueError("no report")
    if len(content) > MAX_REPORT_BYTES:
        raise ValueError("a report that is too large")
    signature, _, body = content.partition(b"\n")
    expected = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(signature, expected):
        raise ValueError("a report without our signature")
    return body


def read_report(body: bytes, message_length: int) -> TestReport:
    """Return the report that a run has written.

    The code under test can have signed it, as it runs where the key lies. So each line is read by itself, and has to be
    a JSON array of three strings: an outcome, "message", "broken" or "seen"; the id of a test or file, or an event; and a
    message.

    Args:
        body: The report, without its signature.
        message_length: Characters of a message at most.

    Raises:
        ValueError: It has any other form than ours.
    """
    outcomes: dict[str, str] = {}
    messages: dict[str, str] = {}
    broken: list[str] = []
    seen: set[str] = set()
    for line in io.BytesIO(body):
        if len(line) > MAX_LINE_BYTES + 12 * message_length:
            raise ValueError("a report with a line that is too long")
        if not line.endswith(b"\n"):
            raise ValueError(_OTHER_FORM)
        try:
            entry = json.loads(line.decode("ascii"))
        except (ValueError, RecursionError) as error:
            raise ValueError(_OTHER_FORM) from error
        if not isinstance(entry, list) or len(entry) != 3 or not all(_is_text(part) for part in entry):
            raise ValueError(_OTHER_FORM)
        kind, name, message = entry
        if kind in ("passed", "failed", "skipped") and not message and name not in outcomes:
            outcomes[name] = kind
        elif kind == "message" and len(message) <= message_length and name not in messages:
            messages[name] = message
        elif kind == "broken" and not message:
            broken.append(name)
        elif kind == "seen" and not message:
            seen.add(name)
        else:
            raise ValueError(_OTHER_FORM)
    return TestReport(outcomes=outcomes, messages=messages, broken=tuple(broken), complete=True, seen=frozenset(seen))


def _is_text(part: object) -> bool:
    """Return whether a part of a report is a string without halves of surrogate pairs, so that it can be written."""
    return isinstance(part, str) and not any("\ud800" <= character <= "\udfff" for character in part)
