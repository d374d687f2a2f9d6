"""Data sets: what rows leave unsaid is filled in, and the scripts made for them run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from textagent_gym.envs.swe.repo.patches import apply_patch, make_patch
from textagent_gym.envs.swe.sources.datasets import SWE_BENCH_REPOS, SWE_GYM_REPOS, adapt, swebench_row
from textagent_gym.envs.swe.sources.formats import from_row, read_instances, write_instances
from textagent_gym.envs.swe.types import TaskInstance

needs_git = pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("bash")), reason="git or bash is not installed"
)

SOURCE = {"x.py": "def f():\n    return 1\n"}
REPAIRED = {"x.py": "def f():\n    return 2\n"}
TESTS = {"tests/test x.py": "def test_old():\n    pass\n", "tests/test_gone.py": "def test_gone():\n    pass\n"}
NEW_TESTS = {
    "tests/test x.py": "from x import f\n\n\ndef test_old():\n    pass\n\n\ndef test_f():\n    assert f() == 2\n",
    "tests/test_new.py": "def test_new():\n    pass\n",
    "tests/data.txt": "text\n",
}


def instance(**changes: object) -> TaskInstance:
    base = TaskInstance(
        instance_id="Project-MONAI__MONAI-12",
        repo="Project-MONAI/MONAI",
        base_commit="HEAD",
        problem_statement="It is 1.",
        patch=make_patch(SOURCE, REPAIRED),
        test_patch=make_patch(TESTS, NEW_TESTS),
        FAIL_TO_PASS=("tests/test x.py::test_f",),
        PASS_TO_PASS=("tests/test x.py::test_old", "tests/test_new.py::test_new"),
        version="1.0",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def real_records(name: str) -> list[TaskInstance]:
    folder = os.environ.get("TEXTAGENT_SWE_ROWS")
    if not folder:
        pytest.skip("TEXTAGENT_SWE_ROWS names no folder with rows of real data sets")
    return read_instances(Path(folder) / name)


def test_swe_gym() -> None:
    adapted = adapt(instance())
    assert adapted.image == "xingyaoww/sweb.eval.x86_64.project-monai_s_monai-12:latest"
    assert adapted.log_parser == "parse_log_pytest"
    command = "pytest --no-header -rA --tb=no -p no:cacheprovider 'tests/test x.py' tests/test_new.py"
    start, ran, end = adapted.eval_script.split("\n")[-6:-3]
    assert (start, ran, end) == (": '>>>>> Start Test Output'", command, ": '>>>>> End Test Output'")
    assert adapt(adapted) == adapted
    own = instance(image="my/image:1", eval_script="true\n", log_parser="parse_log_django")
    assert adapt(own) == own
    assert adapt(instance(origin="rebased")) == instance(origin="rebased")


def test_mypy_runs_cases_by_name() -> None:
    data = {"test-data/unit/check-a.test": "[case testA]\nx\n\n[case testB-xfail]\ny\n"}
    new = {"test-data/unit/check-a.test": "[case testA]\nx\n\n[case testNew]\nz\n\n[case testB-xfail]\ny\n"}
    mypy = instance(
        repo="python/mypy",
        instance_id="python__mypy-1",
        test_patch=make_patch(data, new),
        FAIL_TO_PASS=("mypy/test/testcheck.py::TypeCheckSuite::check-a.test::testNew",),
        PASS_TO_PASS=("mypy/test/testcheck.py::TypeCheckSuite::check-a.test::testA", "mypy/test/testapi.py::test_b[1]"),
    )
    (command,) = [line for line in adapt(mypy).eval_script.split("\n") if line.startswith("pytest")]
    assert command.endswith(" -k 'testA or testNew or testB or test_b'")


def test_swe_bench() -> None:
    """Old rows get an image and no script, rows of swebench 5 stay as they are."""
    old = instance(repo="django/django", instance_id="django__django-1")
    adapted = adapt(old)
    assert adapted == replace(old, image="swebench/sweb.eval.x86_64.django_1776_django-1:latest")
    assert adapt(adapted) == adapted
    with pytest.raises(
        ValueError, match="got django__django-1 without one: take its row from a data set for swebench 5"
    ):
        swebench_row(old)
    new = replace(adapted, eval_script="true\n", log_parser="parse_log_django", extra={"eval_type": "fail_only"})
    assert adapt(new) == new
    assert swebench_row(new)["log_parser"] == "parse_log_django"
    assert swebench_row(new)["eval_type"] == "fail_only"


def test_swe_smith() -> None:
    """The patch of a row is the bug: undone, it is the repair."""
    bug = make_patch(REPAIRED, SOURCE)
    row = {
        "instance_id": "a__b.1fd52536.func_pm_remove__x",
        "repo": "swesmith/a__b.1fd52536",
        "patch": bug,
        "FAIL_TO_PASS": ["tests/test_x.py::test_f"],
        "PASS_TO_PASS": ["tests/test_y.py::TestY::test_z"],
        "image_name": "swebench/swesmith.x86_64.a_1776_b.1fd52536",
        "problem_statement": "It is 1.",
    }
    adapted = adapt(from_row(row))
    assert (adapted.setup_patch, adapted.image, adapted.extra) == (bug, row["image_name"], {})
    broken = {**REPAIRED, **apply_patch(REPAIRED, adapted.setup_patch)}
    assert broken == SOURCE
    assert apply_patch(SOURCE, adapted.patch) == REPAIRED
    assert "cacheprovider tests/test_x.py tests/test_y.py\n" in adapted.eval_script
    assert "git" not in adapted.eval_script.partition("safe.directory")[2]
    assert adapt(adapted) == adapted
    assert swebench_row(adapted)["setup_patch"] == bug
    go = adapt(from_row({**row, "FAIL_TO_PASS": ["TestThing"]}))
    assert (go.eval_script, go.log_parser) == ("", "")
    rebench = adapt(from_row({**row, "repo": "a/b"}))
    assert (rebench.image, rebench.patch, rebench.eval_script) == (row["image_name"], bug, "")


def test_others() -> None:
    other = instance(repo="owner/name")
    assert adapt(other) == other
    with pytest.raises(
        ValueError, match="expected a task that lives in an image, got Project-MONAI__MONAI-12 without one"
    ):
        swebench_row(other)
    assert not SWE_GYM_REPOS & SWE_BENCH_REPOS


@needs_git
def test_the_script_runs(tmp_path: Path) -> None:
    """In a repository made on the spot: the tests run, and the tree is left as it was."""
    for path, text in {**REPAIRED, **TESTS}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def bash(script: str) -> str:
        command = ["bash", "-c", script]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    bash("git init -q && git add -A && git -c user.name=a -c user.email=b@c commit -qm x")
    script = adapt(instance()).eval_script
    for line in ("source /opt/miniconda3/bin/activate", "conda activate testbed", "cd /testbed"):
        assert script.count(f"{line}\n") == 1
        script = script.replace(f"{line}\n", "")
    script = re.sub("git config --global.*\n", "", script)
    pytest_here = f"{sys.executable} -P -m pytest" if sys.version_info >= (3, 11) else f"{sys.executable} -m pytest"
    output = bash(f'exec 2>&1\npytest() {{ PYTHONPATH=. {pytest_here} "$@"; }}\n{script}')
    inside = output.partition(">>>>> Start Test Output")[2].partition(">>>>> End Test Output")[0]
    passed = set(re.findall("^PASSED (.*)$", inside, re.MULTILINE))
    assert passed == {*instance().FAIL_TO_PASS, *instance().PASS_TO_PASS}, output
    assert bash("git status --porcelain") == ""


def test_real_swe_gym_rows() -> None:
    for row in real_records("swegym_rows.jsonl"):
        adapted = adapt(row)
        assert adapted.image.startswith("xingyaoww/sweb.eval.x86_64.")
        assert "__" not in adapted.image
        assert subprocess.run(["bash", "-n"], input=adapted.eval_script, text=True, check=False).returncode == 0
        tests = {test.partition("::")[0] for test in row.FAIL_TO_PASS}
        assert row.repo == "python/mypy" or all(f" {test}" in adapted.eval_script for test in tests)
        assert adapt(adapted) == adapted
        assert swebench_row(row)["eval_type"] == "pass_and_fail"


def test_real_swe_bench_rows() -> None:
    for row in real_records("swebench_verified_rows.jsonl"):
        assert adapt(row).image == f"swebench/sweb.eval.x86_64.{row.instance_id.replace('__', '_1776_')}:latest"
        assert row.extra["difficulty"]


@pytest.mark.slow
def test_swebench_takes_the_rows(tmp_path: Path) -> None:
    pytest.importorskip("swebench", reason="pip install 'textagent-gym[swebench]'")
    from swebench.harness.grading import get_eval_tests_report
    from swebench.harness.log_parsers import PARSER_REGISTRY
    from swebench.harness.utils import make_test_spec
    from swebench.task.checks import check_task_repo, expected_image
    from swebench.task.repo import load_task_repo

    rows = [instance(), *real_records("swegym_rows.jsonl")]
    for task in rows:
        spec = make_test_spec(swebench_row(task))
        assert (spec.image, spec.log_parser) == (adapt(task).image, "parse_log_pytest")
        assert (tuple(spec.FAIL_TO_PASS), tuple(spec.PASS_TO_PASS)) == (task.FAIL_TO_PASS, task.PASS_TO_PASS)
        assert "SWEBENCH_TEST_EXIT_CODE=$?\n: '>>>>> End" in spec.eval_script
        tests = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
        log = "".join(f"PASSED {test}\n" for test in tests)
        statuses = PARSER_REGISTRY[spec.log_parser](log, spec)
        report = get_eval_tests_report(
            statuses, {name: getattr(spec, name) for name in ("FAIL_TO_PASS", "PASS_TO_PASS")} | {"instance_id": "x"}
        )
        if not any(" " in test for test in tests):
            assert not report["FAIL_TO_PASS"]["failure"]
    write_instances([adapt(task) for task in rows], tmp_path / "repo")
    problems = [str(problem) for problem in check_task_repo(tmp_path / "repo")]
    assert len(problems) == len(rows), problems
    assert all("is not the derived name" in problem for problem in problems)
    for row in load_task_repo(tmp_path / "repo"):
        assert make_test_spec(row) == make_test_spec(swebench_row(from_row(row)))
    for task in real_records("swebench_verified_rows.jsonl"):
        assert adapt(task).image == expected_image(task.instance_id)
