"""Code in the runner's process can forge a report: the host reads any bytes, and accepts only what it would write."""

import hashlib
import hmac
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import calc
from textagent_gym.envs.swe.grading.grader import TestSpec, run_grading, unchanged
from textagent_gym.envs.swe.grading.pytest_runs import MAX_REPORT_BYTES, TestReport, read_report, run_tests
from textagent_gym.envs.swe.sandboxes.base import Command, Protection, SandboxResult

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

    def __init__(self, leave: Callable[[Path, bytes], None]) -> None:
        self.leave = leave

    def run(self, command: Command) -> SandboxResult:
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
    assert grading_report.reason == "the tests did not run to their end"


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
    report = read_report(body, 2_000)
    if report is not None:
        entries = [json.loads(line) for line in body.splitlines()]
        assert sum(map(len, (report.outcomes, report.messages, report.broken))) == len(entries)
        assert all(isinstance(part, str) for entry in entries for part in entry)
        assert set(report.outcomes.values()) <= {"passed", "failed", "skipped"}


@given(st.dictionaries(TEXTS, st.sampled_from(["passed", "failed", "skipped"])), st.dictionaries(TEXTS, TEXTS))
def test_an_honest_report_is_read_whole(outcomes: dict[str, str], messages: dict[str, str]) -> None:
    answer = [[outcome, test, ""] for test, outcome in outcomes.items()]
    answer += [["message", test, message] for test, message in messages.items()]
    report = read_report(lines(*answer, ["broken", "tests/x.py", ""]), 2_000)
    assert report is not None
    assert (report.outcomes, report.messages, report.broken) == (outcomes, messages, ("tests/x.py",))
