"""The half of the grader that runs inside the sandbox: runs pytest and reports what it saw, signed.

It is handed over as source text (`python -I -c`), reads its job from standard input, and writes a report signed with a key
that it was told there: what the code under test prints, or leaves in files, counts for nothing. It imports all that it
needs before the repository can be imported, and leaves without running what the repository may have registered for its
exit. It must run on old interpreters and old versions of pytest, too: an image brings its own.
"""

import hashlib
import hmac
import json
import os
import sys


def main():  # type: ignore[no-untyped-def]
    """Does the job."""
    job = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    key = bytes.fromhex(job["key"])
    leave, encode, digest, sha256 = os._exit, json.dumps, hmac.new, hashlib.sha256
    open_file, write, close = os.open, os.write, os.close
    here = os.getcwd()
    sys.path[:0] = job["before"]
    import pytest

    seen, messages, broken = {}, {}, []  # type: ignore[var-annotated]

    class Reporter:
        def pytest_configure(self, config):  # type: ignore[no-untyped-def]
            config.option.tbstyle = job["traceback"]

        def pytest_runtest_logreport(self, report):  # type: ignore[no-untyped-def]
            before = seen.get(report.nodeid)
            if report.outcome == "failed":
                seen[report.nodeid] = "failed"
                if len(messages) < job["num_messages"]:
                    messages.setdefault(report.nodeid, str(report.longrepr)[-job["message_length"] :])
            elif report.when == "call" and before is None:
                seen[report.nodeid] = report.outcome
            elif report.outcome == "skipped" and before is None:
                seen[report.nodeid] = "skipped"

        def pytest_collectreport(self, report):  # type: ignore[no-untyped-def]
            if report.outcome == "failed":
                broken.append(report.nodeid)
                messages.setdefault(report.nodeid, str(report.longrepr)[-job["message_length"] :])

    # Earlier entries win: the repository's folders come before the standard library's, as with PYTHONPATH.
    sys.path[:0] = [os.path.join(here, folder) for folder in job["paths"]]
    arguments = [
        "-c",
        os.devnull,
        "--rootdir",
        here,
        "--confcutdir",
        here,
        "-p",
        "no:cacheprovider",
        "-p",
        "no:terminal",
        "-o",
        "addopts=",
    ]
    arguments.append("--assert=" + job["assertions"])
    status = pytest.main(arguments + job["arguments"], plugins=[Reporter()])
    report = {"status": int(status), "outcomes": seen, "messages": messages, "broken": broken}
    body = encode(report, sort_keys=True).encode("utf-8")
    handle = open_file(job["report"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    write(handle, digest(key, body, sha256).hexdigest().encode() + b"\n")
    while body:
        body = body[write(handle, body) :]
    close(handle)
    leave(0)


main()  # type: ignore[no-untyped-call]
