"""Parts that rows of public data sets leave out: image, test script and log parser.

| data set | image | script |
| --- | --- | --- |
| SWE-Gym | `xingyaoww/sweb.eval.x86_64.<id, __ as _s_>` | made here: pytest on the files of the test patch |
| SWE-bench, old rows | `swebench/sweb.eval.x86_64.<id, __ as _1776_>` | none: see `swebench_row` |
| SWE-bench, rows of swebench 5 | in the row | in the row |
| SWE-smith | `image_name` of the row | made here, for Python: pytest on the files of the tests |

All images hold the repository in `/testbed`, and have a conda environment `testbed`.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import replace
from typing import Any

from textagent_gym.envs.swe.repo.patches import parse_patch, reverse_patch
from textagent_gym.envs.swe.repo.tree import patch_bytes
from textagent_gym.envs.swe.sources.formats import to_row
from textagent_gym.envs.swe.types import TaskInstance

SWE_GYM_REPOS = frozenset(
    {
        "Project-MONAI/MONAI",
        "bokeh/bokeh",
        "conan-io/conan",
        "dask/dask",
        "facebookresearch/hydra",
        "getmoto/moto",
        "iterative/dvc",
        "modin-project/modin",
        "pandas-dev/pandas",
        "pydantic/pydantic",
        "python/mypy",
    }
)
"""Repositories of SWE-Gym (Pan et al. 2024, arXiv 2412.21139)."""

SWE_BENCH_REPOS = frozenset(
    {
        "astropy/astropy",
        "django/django",
        "marshmallow-code/marshmallow",
        "matplotlib/matplotlib",
        "mwaskom/seaborn",
        "pallets/flask",
        "psf/requests",
        "pvlib/pvlib-python",
        "pydata/xarray",
        "pydicom/pydicom",
        "pylint-dev/astroid",
        "pylint-dev/pylint",
        "pytest-dev/pytest",
        "pyvista/pyvista",
        "scikit-learn/scikit-learn",
        "sphinx-doc/sphinx",
        "sqlfluff/sqlfluff",
        "sympy/sympy",
    }
)
"""Repositories of SWE-bench (Jimenez et al. 2024, arXiv 2310.06770), its Lite and Verified subsets, and its dev split."""

_PARSER = "parse_log_pytest"
_PYTEST = "pytest --no-header -rA --tb=no -p no:cacheprovider"
_START, _END = ": '>>>>> Start Test Output'", ": '>>>>> End Test Output'"
_ACTIVATE = (
    "source /opt/miniconda3/bin/activate",
    "conda activate testbed",
    "cd /testbed",
    "git config --global --add safe.directory /testbed",
)


def adapt(instance: TaskInstance) -> TaskInstance:
    """Return a data set's task with image, test script and log parser as far as they are known; any other task as it is.

    What the instance says already stays as it is, so that a second call changes nothing. A row of SWE-smith has the patch
    that breaks the code: it becomes `setup_patch`, and its reverse `patch`.

    Raises:
        textagent_gym.envs.swe.repo.patches.PatchError: A patch of the row cannot be read.
    """
    if instance.origin != "dataset":
        return instance
    if "image_name" in instance.extra:
        return _adapt_image_name(instance)
    key = instance.instance_id.lower()
    if instance.repo in SWE_GYM_REPOS:
        instance = replace(
            instance, image=instance.image or f"xingyaoww/sweb.eval.x86_64.{key.replace('__', '_s_')}:latest"
        )
        return _with_script(instance)
    if instance.repo in SWE_BENCH_REPOS and not instance.image:
        return replace(instance, image=f"swebench/sweb.eval.x86_64.{key.replace('__', '_1776_')}:latest")
    return instance


def swebench_row(instance: TaskInstance) -> dict[str, Any]:
    """Return the task as a row for `swebench.harness.utils.make_test_spec` of swebench 5, adapted where it is not yet.

    swebench applies a model's patch to the image as it is. A task with a `setup_patch`, as SWE-smith's have, is broken only
    after that patch: swebench's own harness needs an image in which it is applied.

    Raises:
        ValueError: The task has no image, or no test script. A row of SWE-bench from before swebench 5 has none: its script
            depends on tables that only swebench 4 has, and stands in the row of the data sets that swebench 5 reads
            (`SWE-bench/SWE-bench`, `SWE-bench/SWE-bench_Lite`, `SWE-bench/SWE-bench_Verified`).
    """
    instance = adapt(instance)
    if not instance.image:
        raise ValueError(f"expected a task that lives in an image, got {instance.instance_id} without one")
    if not instance.eval_script:
        raise ValueError(
            f"expected a task with a test script, got {instance.instance_id} without one: take its row from a data set for"
            " swebench 5, where it is the column eval_script"
        )
    row = to_row(instance)
    return {
        **row,
        "log_parser": instance.log_parser or _PARSER,
        "eval_type": instance.extra.get("eval_type", "pass_and_fail"),
    }


def _adapt_image_name(instance: TaskInstance) -> TaskInstance:
    extra = {name: value for name, value in instance.extra.items() if name != "image_name"}
    instance = replace(instance, image=instance.image or str(instance.extra["image_name"]), extra=extra)
    if not instance.repo.startswith("swesmith/"):
        return instance
    return _with_script(replace(instance, setup_patch=instance.patch, patch=reverse_patch(instance.patch)))


def _with_script(instance: TaskInstance) -> TaskInstance:
    if instance.eval_script or not all(re.search(r"\.py(::|$)", test) for test in instance.FAIL_TO_PASS):
        return instance
    return replace(instance, eval_script=_eval_script(instance), log_parser=instance.log_parser or _PARSER)


def _eval_script(instance: TaskInstance) -> str:
    """Put the tests in place, run them between swebench's marks, and put the files back."""
    sections = parse_patch(instance.test_patch)
    known = [shlex.quote(section.old) for section in sections if section.old is not None]
    new = [shlex.quote(section.new) for section in sections if section.new not in {None, section.old}]
    reset = [f"git checkout {shlex.quote(instance.base_commit or 'HEAD')} -- {' '.join(known)}"] if known else []
    reset += [f"rm -f {' '.join(new)}"] if new else []
    patch = instance.test_patch if instance.test_patch.endswith("\n") else f"{instance.test_patch}\n"
    mark = f"EOF_{hashlib.sha256(patch_bytes(patch)).hexdigest()[:12]}"
    apply = [f"git apply -v - <<'{mark}'\n{patch}{mark}"] if sections else []
    lines = [
        "#!/bin/bash",
        "set -uxo pipefail",
        *_ACTIVATE,
        *reset,
        *apply,
        _START,
        _test_command(instance),
        _END,
        *reset,
    ]
    return "\n".join(lines) + "\n"


def _test_command(instance: TaskInstance) -> str:
    """Run pytest on the test patch's files, or the tests' own where it has none; for mypy, on the cases by name."""
    tests = instance.FAIL_TO_PASS + instance.PASS_TO_PASS
    if instance.repo == "python/mypy":
        return f"{_PYTEST} -k {shlex.quote(' or '.join(_mypy_cases(instance)))}"
    files = [section.new for section in parse_patch(instance.test_patch) if section.new is not None]
    files = [path for path in files if path.endswith(".py")] or sorted({test.partition("::")[0] for test in tests})
    return " ".join([_PYTEST, *(shlex.quote(path) for path in files)])


def _mypy_cases(instance: TaskInstance) -> list[str]:
    """Names of mypy's cases, which stand in data files as `[case NAME-option]`, and of tests that are functions."""
    shown = re.findall(r"\[case ([^\]\s-]+)", instance.test_patch)
    wanted = [test.rpartition("::")[2] for test in instance.FAIL_TO_PASS + instance.PASS_TO_PASS]
    return list(dict.fromkeys([*shown, *(name.partition("[")[0] for name in wanted)]))
