"""The grader of an exported Harbor task: a program of its own, `tests/grade.py`, that runs in the task's container.

It copies the repository, puts the task's own tests back, runs those that count, and writes 1 or 0 as the reward. Code under
test shares its process: what `grader` does against forged outcomes, it does not.
"""

import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = Path(os.environ.get("TASK_REPOSITORY", "/app"))
LOGS = Path(os.environ.get("TASK_LOGS", "/logs/verifier"))


class Passed:
    """Ids of the tests that passed, as pytest tells them."""

    def __init__(self) -> None:
        self.tests: set[str] = set()
        self.failed: set[str] = set()

    def pytest_runtest_logstart(self) -> None:
        """Seed random numbers before each test."""
        random.seed(0)

    def pytest_runtest_logreport(self, report) -> None:  # type: ignore[no-untyped-def]
        """Note a test whose call passed, and one of whose phases any failed."""
        if report.outcome == "failed":
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.outcome == "passed":
            self.tests.add(report.nodeid)


def restore_tests(graded: Path, steering: list[str]) -> None:
    """Replace the tests of a copy, and what steers pytest and Python, by those of the task."""
    for path in graded.rglob("*"):
        if path.name in steering and not path.is_dir():
            path.unlink()
    shutil.copytree(HERE / "files", graded, dirs_exist_ok=True)


def main() -> None:
    """Grade the repository."""
    import pytest

    LOGS.mkdir(parents=True, exist_ok=True)
    reward = LOGS / "reward.txt"
    reward.write_text("0\n")
    job = json.loads((HERE / "tests.json").read_text(encoding="utf-8"))
    wanted = {*job["FAIL_TO_PASS"], *job["PASS_TO_PASS"]}
    with tempfile.TemporaryDirectory() as folder:
        graded = Path(folder) / "repository"
        skipped = shutil.ignore_patterns(".git", "__pycache__", "*.pyc")
        shutil.copytree(REPOSITORY, graded, symlinks=True, ignore=skipped)
        restore_tests(graded, job["steering"])
        os.chdir(graded)
        sys.path[:0] = [str(graded / place) for place in ("src", ".", "lib") if (graded / place).is_dir()]
        passed = Passed()
        files = sorted({test.partition("::")[0] for test in wanted})
        options = ["-c", os.devnull, "--rootdir", str(graded), "--confcutdir", str(graded), "-p", "no:cacheprovider"]
        pytest.main([*options, "-q", "--tb=no", *files], plugins=[passed])
        missing = sorted(wanted - (passed.tests - passed.failed))
        os.chdir(HERE)
    sys.stdout.write(f"{len(wanted) - len(missing)} of {len(wanted)} tests pass\n")
    sys.stdout.write("".join(f"failed or missing: {test}\n" for test in missing[:50]))
    if not missing:
        reward.write_text("1\n")


if __name__ == "__main__":
    main()
