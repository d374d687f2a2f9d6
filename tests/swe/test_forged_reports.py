"""Code in the runner's process can forge a report: the host reads any bytes, and accepts only what it would write."""

import errno
import hashlib
import hmac
import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import calc
from textagent_gym.envs.swe.grading.grader import TestSpec, forget, grade, run_grading, unchanged
from textagent_gym.envs.swe.grading.pytest_runs import MAX_REPORT_BYTES, TestReport, read_report, run_tests
from textagent_gym.envs.swe.repo import tree as trees
from textagent_gym.envs.swe.sandboxes.base import Command, Protection, Sandbox, SandboxError, SandboxResult

pytestmark = pytest.mark.attack

EXAM = TestSpec(
    start=calc.START,
    tests={calc.TEST_FILE: calc.TESTS},
    groups=(calc.ADD, calc.LARGEST),
    fail_to_pass=frozenset(calc.ADD + calc.LARGEST),
    pass_to_pass=frozenset({calc.MUL}),
    seconds=0.5,
)


class Corrupted:
    """A sandbox in which nothing runs but the attacker, who has read the job."""

    protection = Protection(name="none", detail="a fake")
    python = "python3"
    brings_pytest = True
    identity = "corrupted"

    def __init__(self, leave: Callable[[Path, bytes], None], *ends: SandboxResult) -> None:
        self.leave, self.ends, self.num_runs = leave, list(ends), 0

    def run(self, command: Command) -> SandboxResult:
        self.num_runs += 1
        if self.ends:
            return self.ends.pop(0)
        job = json.loads(command.stdin)
        self.leave(command.worktree / job["report"], bytes.fromhex(job["key"]))
        return SandboxResult(returncode=0, output=b"")


def report_of(leave: Callable[[Path, bytes], None]) -> TestReport:
    return run_tests(calc.START, [calc.TEST_FILE], sandbox=Corrupted(leave), seconds=5)


def signed(body: bytes) -> Callable[[Path, bytes], None]:
    def leave(path: Path, key: bytes) -> None:
        path.write_bytes(hmac.new(key, body, hashlib.sha256).hexdigest().encode() + b"\n" + body)

    return leave


def lines(*entries: object) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


FORGED = {
    "an object": b"{}\n",
    "a list": b"[]\n",
    "no JSON": b"passed\n",
    "an older form": json.dumps({"outcomes": {"x": "passed"}, "messages": {}, "broken": []}).encode() + b"\n",
    "no UTF-8": b'["passed", "\xff", ""]\n',
    "another encoding": '["passed", "x", ""]\n'.encode("utf-16"),
    "deep nesting": b"[" * 10_000 + b"]" * 10_000 + b"\n",
    "a long number": b"9" * 10_000 + b"\n",
    "wrong types": lines(["passed", 1, ""]),
    "nulls": lines([None, None, None]),
    "nested": lines([["passed"], "x", ""]),
    "half a surrogate pair": b'["passed", "\\ud800", ""]\n',
    "an outcome that is none": lines(["resolved", "x", ""]),
    "two outcomes of one test": lines(["failed", "x", ""], ["passed", "x", ""]),
    "four parts": lines(["passed", "x", "", ""]),
    "no end of line": b'["passed", "x", ""]',
    "an empty line": b"\n",
    "a long line": lines(["passed", "x" * 100_000, ""]),
    "a long message": lines(["message", "x", "y" * 2_001]),
    "30 megabytes": b"\n" * (30 << 20),
    "a sparse terabyte": b"",
}


def leave_forged(name: str) -> Callable[[Path, bytes], None]:
    if name != "a sparse terabyte":
        return signed(FORGED[name])

    def leave(path: Path, key: bytes) -> None:
        with open(path, "wb") as file:
            file.truncate(1 << 40)

    return leave


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_report_is_no_report(name: str) -> None:
    tracemalloc.start()
    try:
        report = report_of(leave_forged(name))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not report.complete
    assert report.outcomes == report.messages == {}
    assert peak < 8 * MAX_REPORT_BYTES + (30 << 20) * (
        name == "30 megabytes"
    )  # the attacker's own bytes are counted here
    grading_report = run_grading(EXAM, {calc.SOURCE: b"forged"}, Corrupted(leave_forged(name)))
    assert grading_report.groups_done == unchanged(EXAM).groups_done
    assert grading_report.reason.startswith("the tests did not run to their end: exit status 0, a report ")


def a_folder(path: Path, key: bytes) -> None:
    path.mkdir()


def a_pipe(path: Path, key: bytes) -> None:
    os.mkfifo(path)


def a_link(path: Path, key: bytes) -> None:
    signed(lines(["passed", "x", ""]))(path.with_name("elsewhere"), key)
    path.symlink_to("elsewhere")


def unsigned(path: Path, key: bytes) -> None:
    signed(lines(["passed", "x", ""]))(path, b"?" * 32)


def nothing(path: Path, key: bytes) -> None:
    pass


@pytest.mark.parametrize("leave", [a_folder, a_pipe, a_link, unsigned, nothing])
def test_what_lies_in_the_report_s_place_is_no_report(leave: Callable[[Path, bytes], None]) -> None:
    assert not report_of(leave).complete


def test_the_dearest_report_costs_little_memory() -> None:
    line = lines(["passed", "x", ""])
    body = b"".join(lines(["passed", f"{number:x}", ""]) for number in range(MAX_REPORT_BYTES // (len(line) + 4)))
    assert len(body) < MAX_REPORT_BYTES
    tracemalloc.start()
    try:
        report = report_of(signed(body))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.complete
    assert peak < 64 << 20


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from(["passed", "message", "broken"]),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=4),
    max_leaves=8,
)


@given(st.binary(max_size=200) | st.lists(JSON, max_size=4).map(lambda found: lines(*found)))
def test_any_bytes_are_a_report_of_our_own_form_or_none(body: bytes) -> None:
    try:
        report = read_report(body, 2_000)
    except ValueError:
        return
    entries = [json.loads(line) for line in body.splitlines()]
    assert sum(map(len, (report.outcomes, report.messages, report.broken))) == len(entries)
    assert all(isinstance(part, str) for entry in entries for part in entry)
    assert set(report.outcomes.values()) <= {"passed", "failed", "skipped"}


@given(st.dictionaries(TEXTS, st.sampled_from(["passed", "failed", "skipped"])), st.dictionaries(TEXTS, TEXTS))
def test_an_honest_report_is_read_whole(outcomes: dict[str, str], messages: dict[str, str]) -> None:
    answer = [[outcome, test, ""] for test, outcome in outcomes.items()]
    answer += [["message", test, message] for test, message in messages.items()]
    report = read_report(lines(*answer, ["broken", "tests/x.py", ""]), 2_000)
    assert (report.outcomes, report.messages, report.broken) == (outcomes, messages, ("tests/x.py",))


HONEST = lines(*(["passed", test, ""] for test in calc.ADD))
KILLED = SandboxResult(returncode=128 + 9, output=b"")
ENDED = SandboxResult(returncode=3, output=b"noise\nthe run was ended: gc.get_objects\n")


def grown_too_large(path: Path, key: bytes) -> None:
    os.truncate(path.with_name("README.md"), MAX_REPORT_BYTES + 1)
    path.with_name("README.md").rename(path)


@pytest.mark.parametrize(
    ("sandbox", "lost"),
    [
        (Corrupted(nothing), "exit status 0, no report"),
        (Corrupted(nothing, SandboxResult(returncode=1, output=b"")), "exit status 1, no report"),
        (Corrupted(nothing, SandboxResult(returncode=255, output=b"")), "exit status 255, no report"),
        (Corrupted(nothing, ENDED), "exit status 3 (gc.get_objects), no report"),
        (Corrupted(nothing, KILLED, KILLED), "ended by signal 9, no report"),
        (Corrupted(grown_too_large), "exit status 0, a report that is too large"),
        (Corrupted(leave_forged("a long line")), "exit status 0, a report with a line that is too long"),
        (Corrupted(unsigned), "exit status 0, a report without our signature"),
        (Corrupted(leave_forged("no JSON")), "exit status 0, a report of another form"),
    ],
)
def test_a_lost_report_names_its_reason_and_is_not_remembered(
    sandbox: Corrupted, lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path))
    forget(read_cache=True)
    grading_report = grade(EXAM, {calc.SOURCE: b"lost"}, sandbox)
    assert grading_report.reason == f"the tests did not run to their end: {lost}"
    assert not grading_report.complete
    honest = Corrupted(signed(HONEST))
    assert grade(EXAM, {calc.SOURCE: b"lost"}, honest).complete
    assert honest.num_runs == 1


def test_a_run_that_a_signal_ended_is_tried_once_more() -> None:
    for ends, num_runs in (((), 1), ((KILLED,), 2), ((KILLED, KILLED), 2), ((ENDED,), 1)):
        sandbox = Corrupted(signed(HONEST), *ends)
        report = run_tests(calc.START, [calc.TEST_FILE], sandbox=sandbox, seconds=5)
        assert sandbox.num_runs == num_runs
        assert report.complete == (len(ends) == num_runs - 1)
    stopped = Corrupted(signed(HONEST), replace(KILLED, stopped="memory"))
    assert run_tests(calc.START, [calc.TEST_FILE], sandbox=stopped, seconds=5).ending == "used too much memory"
    assert stopped.num_runs == 1


def test_an_error_of_the_grader_itself_is_no_lost_report(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def no_more(path: str, flags: int, *options: int, **named: int) -> int:
        if "/.report-" in str(path):
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, flags, *options, **named)

    monkeypatch.setattr(trees.os, "open", no_more)
    with pytest.raises(SandboxError, match=r"^the report of a run of tests cannot be read: Too many open files$"):
        report_of(nothing)


def test_tests_may_leave_their_folder(sandbox: Sandbox) -> None:
    leaves = b"import os\n\n\ndef test_leaves():\n    os.chdir('/tmp')\n"
    report = run_tests({"tests/test_leaves.py": leaves}, ["tests/test_leaves.py"], sandbox=sandbox, seconds=20)
    assert report.passed == {"tests/test_leaves.py::test_leaves"}
