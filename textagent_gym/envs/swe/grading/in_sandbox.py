"""The half of the grader that runs inside the sandbox: runs pytest and reports what it saw, signed.

It is handed over as source text (`python -s -c`), reads its job from standard input, and writes a report signed with a key
that it was told there: what the code under test prints, or leaves in files, counts for nothing. It imports all that it
needs before the repository can be imported, and leaves without running what the repository may have registered for its
exit. It must run on old interpreters and old versions of pytest, too: an image brings its own.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,var-annotated"

import sys

# The folder in which it starts is the repository: nothing may be imported from there yet. Isolated mode (-I) would see to
# that, but takes no seed for hashes either, on whose order the names of some tests depend.
sys.path[:] = [place for place in sys.path if place]

import gc  # noqa: E402
import hashlib  # noqa: E402
import hmac  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402

# No test needs these, and each takes its time: one looks five times for lost garbage at the end.
UNUSED = (
    "cacheprovider", "terminal", "unraisableexception", "threadexception", "faulthandler", "junitxml", "pastebin",
    "stepwise", "setuponly", "setupplan",
)  # fmt: skip


class Reporter:
    """Collects what pytest tells of each test."""

    def __init__(self, traceback, num_messages, message_length):
        self.traceback, self.num_messages, self.message_length = traceback, num_messages, message_length
        self.outcomes, self.messages, self.broken = {}, {}, []

    def pytest_configure(self, config):
        """Choose how failures are told."""
        config.option.tbstyle = self.traceback

    def pytest_sessionstart(self):
        """Give the tests the collector of garbage that they know."""
        gc.enable()

    def pytest_runtest_logreport(self, report):
        """Return a test has failed if any of its phases did, and passed if its call did."""
        known = self.outcomes.get(report.nodeid)
        if report.outcome == "failed":
            self.outcomes[report.nodeid] = "failed"
            if len(self.messages) < self.num_messages:
                self.messages.setdefault(report.nodeid, self.told(report))
        elif known is None and (report.when == "call" or report.outcome == "skipped"):
            self.outcomes[report.nodeid] = report.outcome

    def pytest_collectreport(self, report):
        """Return a file that cannot be collected is broken."""
        if report.outcome == "failed":
            self.broken.append(report.nodeid)
            self.messages.setdefault(report.nodeid, self.told(report))

    def told(self, report):
        """Return the end of a failure's account."""
        return str(report.longrepr)[-self.message_length :]


def plain(text):
    """Return a text that can be written anywhere, with a question mark for each half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def main():
    """Do the job."""
    job = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    key = bytes.fromhex(job["key"])
    leave, encode, digest, sha256 = os._exit, json.dumps, hmac.new, hashlib.sha256
    open_file, write, close = os.open, os.write, os.close
    here = os.getcwd()
    sys.path[:0] = job["before"]
    gc.disable()  # nothing that is imported here can go again, and looking for it takes time
    import pytest

    reporter = Reporter(job["traceback"], job["num_messages"], job["message_length"])
    # Earlier entries win: the repository's folders come before the standard library's, as with PYTHONPATH.
    sys.path[:0] = [os.path.join(here, folder) for folder in job["paths"]]
    arguments = ["-c", os.devnull, "--rootdir", here, "--confcutdir", here, "-o", "addopts="]
    arguments.append("--assert=" + job["assertions"])
    for plugin in UNUSED:
        arguments += ["-p", "no:" + plugin]
    pytest.main(arguments + job["arguments"], plugins=[reporter])
    lines = [[outcome, test, ""] for test, outcome in reporter.outcomes.items()]
    lines += [["message", test, message] for test, message in reporter.messages.items()]
    lines += [["broken", path, ""] for path in reporter.broken]
    body = "".join(encode([plain(text) for text in line]) + "\n" for line in lines).encode("ascii")
    handle = open_file(job["report"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    write(handle, digest(key, body, sha256).hexdigest().encode() + b"\n")
    while body:
        body = body[write(handle, body) :]
    close(handle)
    leave(0)


main()
