"""The runner inside the sandbox that runs pytest and reports what it saw; it must run with old versions of pytest, too."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,var-annotated"

import gc
import json
import os
import sys

from textagent_gym.envs.swe.grading.runners.in_sandbox import main_of, seed

# --- what follows runs below in_sandbox.py

# No test needs these, and each takes its time: one looks five times for lost garbage at the end.
UNUSED = (
    "cacheprovider", "terminal", "unraisableexception", "threadexception", "faulthandler", "junitxml", "pastebin",
    "stepwise", "setuponly", "setupplan",
)  # fmt: skip


REPLACED = ("_getini_unknown_type",)
"""Names that pytest itself replaces, in its plugin legacypath."""


class Reporter:
    """Collects what pytest tells of each test."""

    def __init__(self, traceback, num_messages, message_length, watch):
        self.watch = watch
        self.traceback, self.num_messages, self.message_length = traceback, num_messages, message_length
        self.outcomes, self.messages, self.broken = {}, {}, []

    def pytest_configure(self, config):
        """Choose the style of failure reports."""
        config.option.tbstyle = self.traceback

    def pytest_sessionstart(self):
        """Give the tests the collector of garbage that they know."""
        gc.enable()

    def pytest_collection_finish(self):
        """Look whether something has been replaced by what was imported."""
        self.watch.check()
        self.watch.check_tests()

    def pytest_runtest_logstart(self):
        """Seed random numbers before each test."""
        seed()

    def pytest_runtest_logreport(self, report):
        """Note that a test has failed if any of its phases did, and passed if its call did."""
        if report.when == "teardown":
            self.watch.check(1)
        known = self.outcomes.get(report.nodeid)
        if report.outcome == "failed":
            self.outcomes[report.nodeid] = "failed"
            if len(self.messages) < self.num_messages:
                self.messages.setdefault(report.nodeid, self.text_of(report))
        elif known is None and (report.when == "call" or report.outcome == "skipped"):
            self.outcomes[report.nodeid] = report.outcome

    def pytest_collectreport(self, report):
        """Note that a file that cannot be collected is broken."""
        if report.outcome == "failed":
            self.broken.append(report.nodeid)
            self.messages.setdefault(report.nodeid, self.text_of(report))

    def text_of(self, report):
        """Return the end of a failure's account."""
        return str(report.longrepr)[-self.message_length :]


def main():
    """Do the job."""
    job = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    watch, write_report = main_of(job)
    here = os.getcwd()
    gc.disable()  # nothing that is imported here can go again, and looking for it takes time
    import pytest

    for plugin in getattr(sys.modules["_pytest.config"], "default_plugins", ()):
        if plugin not in UNUSED:
            __import__("_pytest." + plugin)
    watch.fix("builtins")
    watch.fix("__main__", "pytest", "_pytest", "pluggy", but=REPLACED)
    reporter = Reporter(job["traceback"], job["num_messages"], job["message_length"], watch)
    # Earlier entries win: the repository's folders come before the standard library's, as with PYTHONPATH.
    sys.path[:0] = [os.path.join(here, folder) for folder in job["paths"]]
    arguments = ["-c", os.devnull, "--rootdir", here, "--confcutdir", here, "-o", "addopts="]
    arguments.append("--assert=" + job["assertions"])
    for plugin in UNUSED:
        arguments += ["-p", "no:" + plugin]
    pytest.main(arguments + job["arguments"], plugins=[reporter])
    watch.check()
    watch.check_tests()
    if type(reporter.outcomes) is not dict:
        watch.refuse("replaced")
    lines = [[outcome, test, ""] for test, outcome in reporter.outcomes.items()]
    lines += [["message", test, message] for test, message in reporter.messages.items()]
    lines += [["broken", path, ""] for path in reporter.broken]
    write_report(lines)


main()
