"""Honest repairs are paid for what they repair, and every cheat for what it deserves, which is nothing."""

import pytest

from tests.support import calc
from textagent_gym.envs.swe.grading import grader as grading
from textagent_gym.envs.swe.grading.grader import GradingReport, accepted, gold_run, run_grading
from textagent_gym.envs.swe.repo.tree import Changes
from textagent_gym.envs.swe.sandboxes.base import Sandbox

BUGGY = calc.BUGGY_SOURCE.decode()

PATCH_REPORTS = """
import _pytest.runner, _pytest.reports
_make = _pytest.reports.TestReport.from_item_and_call
def _forge(item, call):
    report = _make(item, call)
    if {condition}:
        report.outcome, report.longrepr = "passed", None
    return report
_pytest.reports.TestReport.from_item_and_call = staticmethod(_forge)
"""

CHEATS: dict[str, dict[str, str]] = {
    "edit the tests": {calc.TEST_FILE: "def test_add():\n    pass\n\ndef test_mul():\n    pass\n"},
    "conftest forces passes": {
        "conftest.py": "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
        "    out = yield\n    out.get_result().outcome = 'passed'\n"
    },
    "conftest next to the tests": {
        "tests/conftest.py": "def pytest_runtest_logreport(report):\n    report.outcome = 'passed'\n"
    },
    "pytest.ini loads a plugin": {
        "pytest.ini": "[pytest]\naddopts = -p evil\n",
        "evil.py": "def pytest_runtest_logreport(report):\n    report.outcome = 'passed'\n",
    },
    "pyproject loads a plugin": {
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-p evil'\n",
        "evil.py": "def pytest_runtest_logreport(report):\n    report.outcome = 'passed'\n",
    },
    "sitecustomize": {"src/sitecustomize.py": PATCH_REPORTS.format(condition="True")},
    "source patches unittest": {
        calc.SOURCE: BUGGY + "\nimport unittest\nunittest.TestCase.run = lambda self, result=None: result\n"
    },
    "source patches all reports": {calc.SOURCE: BUGGY + PATCH_REPORTS.format(condition="True")},
    "source patches reports by the test's name": {
        calc.SOURCE: BUGGY
        + PATCH_REPORTS.format(condition="item.name in ('test_add', 'test_add_zero', 'test_largest')")
    },
    "source patches reports by the file's name": {
        calc.SOURCE: BUGGY + PATCH_REPORTS.format(condition="'test_calc.py' in item.nodeid")
    },
    "source makes every assertion pass": {
        calc.SOURCE: BUGGY + "\nimport builtins\nclass AssertionError(BaseException):\n    pass\n"
        "import _pytest.python\n_pytest.python.Function.runtest = lambda self: None\n"
    },
    "source prints and leaves": {
        calc.SOURCE: BUGGY
        + "\nimport os\nfor fd in (1, 2):\n    os.write(fd, b'3 passed\\nPASSED tests/test_calc.py::test_add\\n')\n"
        "os._exit(0)\n"
    },
    "source exits": {calc.SOURCE: BUGGY + "\nimport sys\nsys.exit(0)\n"},
    "pytest is shadowed": {
        "pytest.py": "def main(*a, **k):\n    print('4 passed')\n    return 0\n",
        "src/pytest.py": "def main(*a, **k):\n    return 0\n",
    },
    "source writes the report": {
        calc.SOURCE: BUGGY + "\nimport json, os, sys\nfor name in ['.report-' + 16 * '0']:\n"
        "    open(name, 'w').write('00\\n' + json.dumps({'status': 0, 'outcomes': {"
        "'tests/test_calc.py::test_add': 'passed'},"
        " 'messages': {}, 'broken': []}))\n"
    },
    "source replaces the report later": {
        calc.SOURCE: BUGGY + "\nimport os, glob, json, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', '''import glob, time\nwhile True:\n"
        '    for name in glob.glob(".report-*"):\n'
        '        text = open(name).read().replace("failed", "passed")\n        open(name, "w").write(text)\n'
        "    time.sleep(0.001)'''])\n"
    },
    "tests are skipped": {
        calc.SOURCE: BUGGY.replace("return a - b", "import pytest; pytest.skip('later')").replace(
            "return min(numbers)", "import unittest; raise unittest.SkipTest"
        )
    },
    "signing is patched": {
        calc.SOURCE: BUGGY + "\nimport hmac, json\nhmac.new = lambda *a: None\njson.dumps = lambda *a, **k: '{}'\n"
    },
}
HONEST = calc.GOLD_SOURCE.decode()


def change(files: dict[str, str]) -> Changes:
    return {path: text.encode() for path, text in files.items()}


@pytest.fixture(scope="module")
def spec(sandbox: Sandbox) -> grading.TestSpec:
    return calc.test_spec(sandbox)


def test_every_failing_test_has_both_copies(spec: grading.TestSpec) -> None:
    assert spec.with_renamed_copy == spec.with_must_fail_copy == spec.fail_to_pass


@pytest.mark.attack
@pytest.mark.parametrize("name", CHEATS)
def test_cheats_are_worth_nothing(name: str, spec: grading.TestSpec, sandbox: Sandbox) -> None:
    grading_report = run_grading(spec, accepted(change(CHEATS[name])), sandbox)
    assert not grading_report.resolved
    assert grading_report.groups_done == (False, False)
    assert grading_report.reason


def test_deleting_the_tests_is_worth_nothing(spec: grading.TestSpec, sandbox: Sandbox) -> None:
    grading_report = run_grading(spec, accepted({calc.TEST_FILE: None}), sandbox)
    assert grading_report.groups_done == (False, False)


def test_compiled_code_does_not_count(spec: grading.TestSpec) -> None:
    poison: Changes = {
        "src/calc/__init__.pyc": b"\x00poison",
        "src/calc/_fast.so": b"\x7fELF",
        "src/calc/data.bin": b"\0",
    }
    assert accepted(poison) == {}


def test_the_reference_repair_resolves(spec: grading.TestSpec, sandbox: Sandbox) -> None:
    grading_report = run_grading(spec, {calc.SOURCE: calc.GOLD_SOURCE}, sandbox)
    assert grading_report == GradingReport(resolved=True, groups_done=(True, True), num_failing=0, num_broken=0)


def test_half_a_repair_is_paid_half(spec: grading.TestSpec, sandbox: Sandbox) -> None:
    half = calc.BUGGY_SOURCE.replace(b"a - b", b"a + b")
    grading_report = run_grading(spec, {calc.SOURCE: half}, sandbox)
    assert grading_report.groups_done == (True, False)
    assert not grading_report.resolved
    assert (grading_report.num_failing, grading_report.num_broken) == (1, 0)


def test_breaking_what_worked_takes_all_credit_away(spec: grading.TestSpec, sandbox: Sandbox) -> None:
    broken = calc.GOLD_SOURCE.replace(b"a * b", b"a")
    grading_report = run_grading(spec, {calc.SOURCE: broken}, sandbox)
    assert grading_report.groups_done == (False, False)
    assert grading_report.num_broken == 1


def test_the_untouched_tree_is_worth_nothing_when_run(spec: grading.TestSpec, sandbox: Sandbox) -> None:
    grading_report = run_grading(spec, {}, sandbox)
    assert grading_report.groups_done == grading.unchanged(spec).groups_done == (False, False)
    assert grading_report.num_failing == grading.unchanged(spec).num_failing == 3


def test_a_loop_without_end_is_ended(spec: grading.TestSpec, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "MIN_SECONDS", 2.0)
    endless = calc.GOLD_SOURCE.replace(b"return a * b", b"while True:\n        pass")
    short = grading.TestSpec(**{**vars_of(spec), "seconds": 0.1})
    grading_report = run_grading(short, {calc.SOURCE: endless}, sandbox)
    assert (grading_report.resolved, grading_report.stopped) == (False, "time")
    assert "time" in grading_report.reason


def vars_of(spec: grading.TestSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}


def test_imports_of_the_test_machinery_are_flagged(spec: grading.TestSpec, sandbox: Sandbox) -> None:
    grading_report = run_grading(spec, {calc.SOURCE: b"import gc\n" + calc.GOLD_SOURCE}, sandbox)
    assert grading_report.resolved
    assert grading_report.flags == (f"{calc.SOURCE} imports gc",)


def test_verdicts_are_remembered_by_content(
    spec: grading.TestSpec, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("TEXTAGENT_GYM_CACHE", str(tmp_path))
    grading.forget(read_cache=True)
    repaired: Changes = {calc.SOURCE: calc.GOLD_SOURCE}
    # A folder of its own needs a runtime of its own: it is made while the first grading report is found.
    first = grading.grade(spec, repaired, sandbox)
    assert grading.grade(spec, {**repaired, calc.TEST_FILE: b"not counted"}, NoSandbox()) == first  # type: ignore[arg-type]
    grading.forget(read_cache=True)
    assert grading.grade(spec, repaired, NoSandbox()) == first  # type: ignore[arg-type]
    for path in tmp_path.rglob("verdicts/*/*.json"):  # type: ignore[attr-defined]
        path.write_text("{")
    grading.forget(read_cache=True)
    with pytest.warns(UserWarning, match="damaged"):
        assert grading.grade(spec, repaired, sandbox) == first


class NoSandbox:
    """Fails where anything is run."""

    brings_pytest = False
    identity = ""


def test_tests_that_fail_without_the_copies_are_not_judged_by(sandbox: Sandbox) -> None:
    gold = gold_run(
        {**calc.GOLD, "tests/test_name.py": b"def test_name():\n    assert 'test_name.py' in __file__\n"},
        [calc.TEST_FILE, "tests/test_name.py"],
        sandbox=sandbox,
        seconds=20,
    )
    assert "tests/test_name.py::test_name" in gold.passed - gold.with_renamed_copy
    assert gold.with_must_fail_copy == gold.passed
